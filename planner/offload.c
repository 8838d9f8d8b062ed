/* Chooses what spends the time between two uses in host memory. In: a retention and its replay; out: more of
 * its gaps marked. A copy costs nothing while the queue it goes through would be idle, and any byte of what
 * is kept past the highest runs is as good as another, so the queues are filled in their own order: going out
 * as soon as storages are ready, coming back as late as they are needed, and nothing that would lag too far
 * behind. */
#include "offload.h"
#include "copies.h"
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A stretch of runs that does not touch a storage, from the start of a gap on. */
typedef struct Stretch {
    uint32_t storage, gap, out_run, back_run;
    bool chosen; /* it goes already */
    double out_seconds, back_seconds;
} Stretch;

struct Offloader {
    const Problem *p;
    const Keep *pinned;
    Replay *r;
    Arena *arena;
    VEC(Stretch) stretch;
    VEC(uint64_t) need; /* back_run and number, as in copies.h */
    VEC(double) start;
    uint32_t *last, *gap; /* by storage */
    Profile room;
};

Offloader *offloader_new(const Problem *p, const Keep *pinned, Replay *r, Arena *arena) {
    Offloader *o = NEW(arena, Offloader);
    o->p = p;
    o->pinned = pinned;
    o->r = r;
    o->arena = o->room.arena = arena;
    o->last = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    o->gap = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    return o;
}

static void touch(Offloader *o, const Keep *retain, uint32_t s, uint32_t i, bool made) {
    const Problem *p = o->p;
    const uint32_t *time = replay_time(o->r);
    uint32_t last = o->last[s], gap = o->gap[s];
    o->last[s] = i;
    if (last == NONE || made || last + 2 >= i || (p->overwritten && p->overwritten[s])) return;
    while (gap + 1 < p->gap_first[s + 1] && p->gap_end[gap] <= time[last]) gap++;
    o->gap[s] = gap;
    if (p->gap_begin[gap] != time[last] || time[i] == time[last]) return;
    bool chosen = retain[gap].host != HOST_NEVER;
    if (!chosen && o->pinned && o->pinned[gap].from != NONE) return;
    /* what is dropped and made again later is not there when the gap ends */
    if (!chosen && retain[gap].from > p->gap_begin[gap]) return;
    *vec_add(o->arena, &o->stretch) =
        (Stretch){.storage = s, .gap = gap, .out_run = last, .back_run = i, .chosen = chosen};
}

static int by_out(const void *a, const void *b) {
    const Stretch *x = a, *y = b;
    if (x->out_run != y->out_run) return x->out_run < y->out_run ? -1 : 1;
    return x->storage < y->storage ? -1 : x->storage > y->storage;
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* All stretches, in order of going out. */
static void find_stretches(Offloader *o, const Sequence *sequence, const Keep *retain) {
    const Problem *p = o->p;
    o->stretch.count = o->start.count = 0;
    memset(o->last, 0xff, sizeof *o->last * p->storages);
    memcpy(o->gap, p->gap_first, sizeof *o->gap * p->storages);
    double now = 0;
    for (uint32_t i = 0; i < sequence->run.count; i++) {
        uint32_t op = sequence->run.at[i].op;
        *vec_add(o->arena, &o->start) = now;
        now += p->seconds[op];
        for (EACH(k, p->reads, op)) touch(o, retain, p->reads.list[k], i, false);
        for (EACH(k, p->makes, op)) touch(o, retain, p->makes.list[k], i, true);
    }
    *vec_add(o->arena, &o->start) = now;
    if (o->stretch.count) qsort(o->stretch.at, o->stretch.count, sizeof *o->stretch.at, by_out);
}

static double later(double a, double b) {
    return a > b ? a : b;
}

/* Keeps the stretches that both queues have time for. Two passes: out in order, in from the end backwards. */
static void choose(Offloader *o, const OffloadRule *rule) {
    double busy = 0, lag = rule->lag_seconds;
    uint32_t kept = 0;
    o->need.count = 0;
    for (uint32_t i = 0; i < o->stretch.count; i++) {
        Stretch *x = &o->stretch.at[i];
        double seconds = copy_seconds(o->p, x->storage), ready = o->start.at[x->out_run + 1];
        double end = later(busy, ready) + seconds, needed = o->start.at[x->back_run];
        if (!x->chosen) {
            if (rule->host == HOST_EASY && (end - ready > lag + seconds || end + seconds > needed)) continue;
            if (profile_highest(&o->room, x->out_run + 1, x->back_run) <= rule->above_bytes) continue;
        }
        busy = end;
        x->out_seconds = end;
        o->stretch.at[kept++] = *x;
    }
    o->stretch.count = kept;
    for (uint32_t i = 0; i < kept; i++)
        *vec_add(o->arena, &o->need) = (uint64_t)o->stretch.at[i].back_run << 32 | i;
    if (kept) qsort(o->need.at, kept, sizeof *o->need.at, by_key);
    double free_from = HUGE_VAL;
    for (uint32_t i = kept; i-- > 0;) {
        Stretch *x = &o->stretch.at[(uint32_t)o->need.at[i]];
        double seconds = copy_seconds(o->p, x->storage), needed = o->start.at[x->back_run];
        double begin = (free_from < needed ? free_from : needed) - seconds;
        bool fits = begin >= x->out_seconds && needed - begin <= lag + seconds;
        if (!x->chosen && rule->host == HOST_EASY && !fits) {
            x->gap = NONE;
            continue;
        }
        free_from = begin;
    }
}

uint32_t offload_more(Offloader *o, const Sequence *sequence, const OffloadRule *rule, Keep *retain) {
    if (o->p->host_bytes <= 0) return 0;
    find_stretches(o, sequence, retain);
    profile_load(&o->room, replay_live(o->r), sequence->run.count);
    choose(o, rule);
    uint32_t added = 0;
    for (uint32_t i = 0; i < o->stretch.count; i++) {
        const Stretch *x = &o->stretch.at[i];
        if (x->chosen || x->gap == NONE) continue;
        retain[x->gap] = (Keep){.host = rule->host};
        added++;
    }
    return added;
}

void retain_offload_blocks(const Problem *p, const Blocks *blocks, Keep *retain) {
    for (uint32_t s = 0; s < p->storages; s++) {
        if (p->maker[s] >= blocks->boundary || (p->overwritten && p->overwritten[s])) continue;
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++) {
            bool over = p->gap_begin[gap] < blocks->boundary && p->gap_end[gap] >= blocks->boundary;
            if (over && p->gap_end[gap] < p->ops && retain[gap].from <= p->gap_begin[gap])
                retain[gap] = (Keep){.host = HOST_STAGED};
        }
    }
}
