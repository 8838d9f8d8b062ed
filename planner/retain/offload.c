/* Chooses what spends the time between two uses in host memory. In: a retention and its replay; out: more of
 * its gaps marked. A copy costs nothing while the queue it goes through would be idle, and any byte of what
 * is kept past the highest runs is as good as another, so the queues are filled in their own order: going out
 * as soon as storages are ready, coming back as late as they are needed, and nothing that would lag too far
 * behind. */
#include "planner/retain/offload.h"
#include "planner/problem/copies.h"
#include "planner/problem/live_tree.h"

#include <math.h>

/* A stretch that may be spent in host memory. */
typedef struct Chance {
    IdleStretch idle;
    bool chosen;        /* it goes already */
    bool late;          /* it would not be back in time */
    double out_seconds; /* when it would be out */
} Chance;

struct Offloader {
    const Problem *p;
    const Keep *pinned;
    Replay *r;
    Arena *arena;
    IdleStretches idle;
    VEC(Chance) chance; /* in order of going out */
    IdleOrder need;     /* of coming back */
    LiveTree room;
};

Offloader *offload_new(const Problem *p, const Keep *pinned, Replay *r, Arena *arena) {
    Offloader *o = NEW(arena, Offloader);
    o->p = p;
    o->pinned = pinned;
    o->r = r;
    o->arena = o->room.arena = arena;
    o->idle = idle_new(p, arena);
    return o;
}

/* All that go, and all that are kept throughout and may. */
static void find_chances(Offloader *o, const Sequence *sequence, const Keep *retain) {
    idle_find(&o->idle, NULL, sequence, replay_time(o->r));
    o->chance.count = 0;
    for (uint32_t i = 0; i < o->idle.found.count; i++) {
        const IdleStretch *idle = &o->idle.found.at[i];
        const Keep *keep = &retain[idle->gap];
        bool chosen = keep->host != HOST_NEVER, pinned = o->pinned && o->pinned[idle->gap].from != NONE;
        /* what is dropped and made again later is not there when the gap ends */
        bool dropped = keep->from > o->p->gap_begin[idle->gap];
        if (idle->out_run + 2 >= idle->back_run || (!chosen && (pinned || dropped))) continue;
        *vec_add(o->arena, &o->chance) = (Chance){.idle = *idle, .chosen = chosen};
    }
}

static double later(double a, double b) {
    return a > b ? a : b;
}

/* Keeps the chances that both queues have time for. Two passes: out in order, in from the end backwards. */
static void choose(Offloader *o, const OffloadRule *rule) {
    double busy = 0, lag = rule->lag_seconds;
    uint32_t kept = 0;
    o->need.count = 0;
    for (uint32_t i = 0; i < o->chance.count; i++) {
        Chance *x = &o->chance.at[i];
        double seconds = copies_seconds(o->p, x->idle.storage), ready = o->idle.start.at[x->idle.out_run + 1];
        double end = later(busy, ready) + seconds, needed = o->idle.start.at[x->idle.back_run];
        if (!x->chosen) {
            if (rule->host == HOST_EASY && (end - ready > lag + seconds || end + seconds > needed)) continue;
            if (live_tree_highest(&o->room, x->idle.out_run + 1, x->idle.back_run) <= rule->above_bytes)
                continue;
        }
        busy = end;
        x->out_seconds = end;
        o->chance.at[kept++] = *x;
    }
    o->chance.count = kept;
    for (uint32_t i = 0; i < kept; i++) idle_order_add(&o->need, o->chance.at[i].idle.back_run, i, o->arena);
    idle_order_sort(&o->need);
    double free_from = HUGE_VAL;
    for (uint32_t i = kept; i-- > 0;) {
        Chance *x = &o->chance.at[(uint32_t)o->need.at[i]];
        double seconds = copies_seconds(o->p, x->idle.storage), needed = o->idle.start.at[x->idle.back_run];
        double begin = (free_from < needed ? free_from : needed) - seconds;
        bool fits = begin >= x->out_seconds && needed - begin <= lag + seconds;
        x->late = !x->chosen && rule->host == HOST_EASY && !fits;
        if (!x->late) free_from = begin;
    }
}

uint32_t offload_more(Offloader *o, const Sequence *sequence, const OffloadRule *rule, Keep *retain) {
    if (o->p->host_bytes <= 0) return 0;
    find_chances(o, sequence, retain);
    live_tree_load(&o->room, replay_live(o->r), sequence->run.count);
    choose(o, rule);
    uint32_t added = 0;
    for (uint32_t i = 0; i < o->chance.count; i++) {
        const Chance *x = &o->chance.at[i];
        if (x->chosen || x->late) continue;
        retain[x->idle.gap] = (Keep){.host = rule->host};
        added++;
    }
    return added;
}
