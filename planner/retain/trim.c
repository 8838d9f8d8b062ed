/* Local changes to a retention. In: a retention, a target; out: one whose peak is lower, or whose
 * recomputation is less. `trim_to` drops idle storages at the highest runs, `trim_fill` keeps dropped ones
 * where there is room; both judge by the last replay and are measured by the next. */
#include "planner/problem/copies.h"
#include "planner/problem/live_tree.h"
#include "planner/retain/trim.h"
#include "planner/effort.h"

#include <stdlib.h>
#include <string.h>

typedef struct Drop {
    double price; /* seconds a byte */
    uint32_t gap, storage;
    Keep keep;             /* what the gap would keep */
    uint32_t begin, until; /* runs between which the storage is not touched; of drops, until: NONE for that */
    uint32_t again_begin, again_until; /* of fills: a second such stretch */
} Drop;

typedef VEC(Drop) Drops;

/* What is live before a run, and when it was touched last. */
typedef struct Scan {
    bool *live;
    uint32_t *touched;
} Scan;

struct Trimmer {
    const Problem *p;
    const Keep *pinned;
    Replay *r;
    bool singly; /* one drop that does alone may take the place of several */
    Arena *arena;
    uint32_t *gap_at;     /* by storage, while scanning */
    uint32_t *touched;    /* by storage: last run that made or read it */
    bool *live;           /* by storage */
    VEC(Scan) scan;       /* on the way to runs that were asked for, ascending */
    uint32_t scans;       /* of them, those of the sequence replayed last */
    uint32_t scan_apart;  /* runs between two of them */
    uint32_t *transit;    /* by storage: its copy if it is on its way to or from host memory, else NONE */
    uint32_t *drop_of;    /* by storage: its drop while it is looked for, NONE otherwise */
    uint32_t *rerun_time; /* by operation: the last time it runs again, NONE if never */
    uint32_t *stamp;      /* by operation: the price query that counted it */
    uint32_t query;
    LiveTree room; /* live bytes by run as changes are chosen */
    Drops drop, sorted;
    uint32_t *ranked; /* storages by what they save a byte; NULL until it is asked for */
    uint32_t *fills;  /* by storage: how many there are, while they are sorted */
    Keep *before;     /* a retention to go back to */
};

Trimmer *trim_new(const Problem *p, const Keep *pinned, Replay *r, Arena *arena) {
    Trimmer *trimmer = NEW(arena, Trimmer);
    trimmer->p = p;
    trimmer->pinned = pinned;
    trimmer->r = r;
    trimmer->arena = trimmer->room.arena = arena;
    trimmer->gap_at = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    trimmer->touched = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    trimmer->live = NEW_ARRAY(arena, bool, p->storages + 1);
    trimmer->transit = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    trimmer->drop_of = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    memset(trimmer->drop_of, 0xff, sizeof *trimmer->drop_of * (p->storages + 1));
    trimmer->rerun_time = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    trimmer->stamp = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    trimmer->before = NEW_ARRAY(arena, Keep, p->gaps + 1);
    return trimmer;
}

void trim_singly(Trimmer *trimmer, bool singly) {
    trimmer->singly = singly;
}

static bool is_free(const Trimmer *trimmer, uint32_t gap) {
    return trimmer->p->may_drop[gap] && (!trimmer->pinned || trimmer->pinned[gap].from == NONE);
}

/* The gap of `s` that holds `time`. */
static uint32_t gap_of(const Problem *p, uint32_t s, uint32_t time) {
    uint32_t low = p->gap_first[s], high = p->gap_first[s + 1];
    while (low + 1 < high) {
        uint32_t middle = (low + high) / 2;
        if (p->gap_begin[middle] <= time)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Seconds to make `s` again at `when`, given what the retention keeps and what runs again anyway. */
static double remake_seconds(Trimmer *trimmer, const Keep *retain, uint32_t s, uint32_t after, uint32_t when,
                             uint32_t depth) {
    const Problem *p = trimmer->p;
    uint32_t maker = p->maker[s];
    if (trimmer->stamp[maker] == trimmer->query) return 0;
    trimmer->stamp[maker] = trimmer->query;
    if (trimmer->rerun_time[maker] != NONE && trimmer->rerun_time[maker] > after) return 0;
    if (!p->rerun[maker] || when >= p->lazy_end[maker]) return 0; /* it is kept for as long as it is needed */
    double seconds = p->seconds[maker];
    if (depth == 0) return seconds;
    for (EACH(i, p->reads, maker)) {
        uint32_t u = p->reads.list[i], gap = gap_of(p, u, when ? when - 1 : 0);
        if (retain[gap].from > p->gap_begin[gap] && retain[gap].until < when)
            seconds += remake_seconds(trimmer, retain, u, after, when, depth - 1);
    }
    return seconds;
}

enum { SCAN_APART = 256, SCANS = 32 };

/* Notes how it stands before the next run of which that is wanted. */
static void scan_note(Trimmer *trimmer) {
    uint32_t storages = trimmer->p->storages, at = trimmer->scans++;
    if (at == trimmer->scan.count)
        *vec_add(trimmer->arena, &trimmer->scan) =
            (Scan){.live = NEW_ARRAY(trimmer->arena, bool, storages),
                   .touched = NEW_ARRAY(trimmer->arena, uint32_t, storages)};
    memcpy(trimmer->scan.at[at].live, trimmer->live, sizeof *trimmer->live * storages);
    memcpy(trimmer->scan.at[at].touched, trimmer->touched, sizeof *trimmer->touched * storages);
}

/* The last run up to `stop` before which it is known how it stands, which it then does. */
static uint32_t scan_begin(Trimmer *trimmer, uint32_t stop) {
    uint32_t storages = trimmer->p->storages, at = stop / trimmer->scan_apart;
    if (!trimmer->scans) {
        memset(trimmer->live, 0, sizeof *trimmer->live * storages);
        memset(trimmer->touched, 0xff, sizeof *trimmer->touched * storages);
        return 0;
    }
    if (at >= trimmer->scans) at = trimmer->scans - 1;
    memcpy(trimmer->live, trimmer->scan.at[at].live, sizeof *trimmer->live * storages);
    memcpy(trimmer->touched, trimmer->scan.at[at].touched, sizeof *trimmer->touched * storages);
    return at * trimmer->scan_apart;
}

/* State after run `stop`'s inputs and outputs are in place: live storages, their gaps and last touches. */
static void scan_to(Trimmer *trimmer, const Sequence *sequence, uint32_t stop) {
    const Problem *p = trimmer->p;
    const Lists *deaths = replay_deaths(trimmer->r);
    for (uint32_t i = scan_begin(trimmer, stop); i <= stop; i++) {
        uint32_t op = sequence->run.at[i].op;
        if (i == trimmer->scans * trimmer->scan_apart) scan_note(trimmer);
        for (EACH(k, p->reads, op)) trimmer->touched[p->reads.list[k]] = i;
        for (EACH(k, p->makes, op))
            trimmer->touched[p->makes.list[k]] = i, trimmer->live[p->makes.list[k]] = true;
        if (i < stop)
            for (EACH(d, *deaths, i)) trimmer->live[deaths->list[d]] = false;
    }
    const Copies *copies = replay_copies(trimmer->r);
    memset(trimmer->transit, 0xff, sizeof *trimmer->transit * p->storages);
    for (uint32_t i = 0; copies && i < copies->copy.count; i++) {
        const Copy *copy = &copies->copy.at[i];
        if (stop <= copy->out_run || stop >= copy->back_run) continue;
        if (copy->free_run <= stop && stop < copy->fetch_run)
            trimmer->live[copy->storage] = false;
        else
            trimmer->transit[copy->storage] = i;
    }
}

static int by_price(const void *a, const void *b) {
    const Drop *x = a, *y = b;
    if (x->price != y->price) return x->price < y->price ? -1 : 1;
    return x->storage < y->storage ? -1 : x->storage > y->storage;
}

/* What a gap keeps once an instance last touched at time `last` goes and none is kept before `from`. */
static Keep dropped(const Problem *p, uint32_t gap, Keep keep, uint32_t last, uint32_t from) {
    if (keep.from <= p->gap_begin[gap]) return (Keep){.until = last, .from = from};
    if (keep.from <= last) return (Keep){.since = keep.since, .until = keep.until, .from = from};
    return (Keep){.since = keep.since, .until = last < keep.until ? last : keep.until, .from = keep.from};
}

/* Waiting for a copy instead of making anything again, where that is cheaper. */
static void consider_waiting(const Trimmer *trimmer, uint32_t at, Drop *drop) {
    if (trimmer->transit[drop->storage] == NONE) return;
    const Copy *copy = &replay_copies(trimmer->r)->copy.at[trimmer->transit[drop->storage]];
    double price = copies_seconds(trimmer->p, drop->storage) / (double)trimmer->p->bytes[drop->storage];
    if (copy->host == HOST_NOW || price >= drop->price) return;
    drop->price = price;
    drop->keep = (Keep){.host = HOST_NOW};
    drop->begin = at < copy->free_run ? copy->out_run + 1 : copy->fetch_run;
    drop->until = at < copy->free_run ? copy->free_run : copy->back_run;
}

/* Copies in the operations' stead: each takes its time, and no more. */
static void consider_moving(const Trimmer *trimmer, const Keep *retain, Drop *drop) {
    const Problem *p = trimmer->p;
    uint32_t s = drop->storage, last = replay_time(trimmer->r)[trimmer->touched[s]];
    if (p->host_bytes <= 0 || p->copies_beside || (p->overwritten && p->overwritten[s])) return;
    if (retain[drop->gap].host != HOST_NEVER || last != p->gap_begin[drop->gap] ||
        retain[drop->gap].from > last)
        return;
    double price = 2 * copies_seconds(p, s) / (double)p->bytes[s];
    if (price >= drop->price) return;
    drop->price = price;
    drop->keep = (Keep){.host = HOST_NOW};
}

/* The drops that would lower the live bytes at run `at`. */
static void find_drops(Trimmer *trimmer, const Sequence *sequence, uint32_t at, const Keep *retain) {
    const Problem *p = trimmer->p;
    uint32_t time = replay_time(trimmer->r)[at];
    const Lists *deaths = replay_deaths(trimmer->r);
    trimmer->drop.count = 0;
    scan_to(trimmer, sequence, at);
    for (EACH(d, *deaths, at)) trimmer->live[deaths->list[d]] = false;
    for (uint32_t s = 0; s < p->storages; s++) {
        if (!trimmer->live[s] || trimmer->touched[s] == at) continue;
        uint32_t gap = gap_of(p, s, time);
        if (p->gap_begin[gap] == time && gap > p->gap_first[s] &&
            replay_time(trimmer->r)[trimmer->touched[s]] < time)
            gap--;
        uint32_t from = p->gap_end[gap] == time ? time : time + 1;
        Keep keep = dropped(p, gap, retain[gap], replay_time(trimmer->r)[trimmer->touched[s]], from);
        if (!is_free(trimmer, gap) || (keep.from <= retain[gap].from && keep.until >= retain[gap].until))
            continue;
        trimmer->query++;
        double seconds = remake_seconds(trimmer, retain, s, time, p->gap_end[gap], EFFORT_TRIM_DEPTH);
        *vec_add(trimmer->arena, &trimmer->drop) = (Drop){.price = (seconds + 1e-12) / (double)p->bytes[s],
                                                          .gap = gap,
                                                          .keep = keep,
                                                          .storage = s,
                                                          .begin = trimmer->touched[s] + 1,
                                                          .until = NONE};
        if (!EFFORT_TRIM_WAITS) continue;
        consider_waiting(trimmer, at, &trimmer->drop.at[trimmer->drop.count - 1]);
        consider_moving(trimmer, retain, &trimmer->drop.at[trimmer->drop.count - 1]);
    }
    if (trimmer->drop.count) qsort(trimmer->drop.at, trimmer->drop.count, sizeof *trimmer->drop.at, by_price);
}

/* Of the first drops, those that last until their storages are touched again: by which run after `at` they
 * are. */
static void find_untils(Trimmer *trimmer, const Sequence *sequence, uint32_t at, uint32_t drops) {
    const Problem *p = trimmer->p;
    uint32_t left = 0, runs = sequence->run.count;
    for (uint32_t d = 0; d < drops; d++) {
        Drop *drop = &trimmer->drop.at[d];
        if (drop->until != NONE) continue;
        trimmer->drop_of[drop->storage] = d;
        drop->until = runs;
        left++;
    }
    for (uint32_t i = at + 1; i < runs && left; i++)
        for (EACH(k, p->reads, sequence->run.at[i].op)) {
            uint32_t *of = &trimmer->drop_of[p->reads.list[k]];
            if (*of == NONE) continue;
            trimmer->drop.at[*of].until = i;
            *of = NONE;
            left--;
        }
    for (uint32_t d = 0; d < drops && left; d++) trimmer->drop_of[trimmer->drop.at[d].storage] = NONE;
}

static void note_reruns(Trimmer *trimmer, const Sequence *sequence) {
    memset(trimmer->rerun_time, 0xff, sizeof *trimmer->rerun_time * trimmer->p->ops);
    for (uint32_t i = 0; i < sequence->run.count; i++)
        if (sequence->run.at[i].again)
            trimmer->rerun_time[sequence->run.at[i].op] = replay_time(trimmer->r)[i];
}

static double drop_seconds(const Trimmer *trimmer, const Drop *drop) {
    return drop->price * (double)trimmer->p->bytes[drop->storage];
}

/* Puts the one of the drops from `first` on that gives so many bytes for the fewest seconds there, if that is
 * fewer than `most`. */
static bool put_single(Trimmer *trimmer, uint32_t first, int64_t bytes, double most) {
    uint32_t best = NONE;
    for (uint32_t d = first; d < trimmer->drop.count; d++) {
        const Drop *drop = &trimmer->drop.at[d];
        if (trimmer->p->bytes[drop->storage] < bytes || drop_seconds(trimmer, drop) >= most) continue;
        best = d;
        most = drop_seconds(trimmer, drop);
    }
    if (best == NONE) return false;
    Drop swap = trimmer->drop.at[first];
    trimmer->drop.at[first] = trimmer->drop.at[best];
    trimmer->drop.at[best] = swap;
    return true;
}

/* How many of the drops, which are sorted by price, are taken to lower the peak by so many bytes: the
 * cheapest a byte, but for the last of them, or for all of them, one that does alone for fewer seconds. */
static uint32_t choose_drops(Trimmer *trimmer, int64_t bytes) {
    uint32_t drops = 0;
    int64_t given = 0;
    double seconds = 0;
    while (drops < trimmer->drop.count && given < bytes) {
        const Drop *drop = &trimmer->drop.at[drops++];
        given += trimmer->p->bytes[drop->storage];
        seconds += drop_seconds(trimmer, drop);
    }
    if (!trimmer->singly || given < bytes || drops == 0) return drops;
    if (put_single(trimmer, 0, bytes, seconds)) return 1;
    const Drop *last = &trimmer->drop.at[drops - 1];
    given -= trimmer->p->bytes[last->storage];
    put_single(trimmer, drops - 1, bytes - given, drop_seconds(trimmer, last));
    return drops;
}

/* Chooses drops at the highest runs above the target. False when there is nothing to drop at one of them. */
static bool lower_peaks(Trimmer *trimmer, int64_t target, const Sequence *sequence, Keep *retain) {
    uint32_t runs = sequence->run.count;
    live_tree_load(&trimmer->room, replay_live(trimmer->r), runs);
    note_reruns(trimmer, sequence);
    trimmer->scans = 0;
    trimmer->scan_apart = SCAN_APART + runs / SCANS;
    for (uint32_t peak = 0; peak < EFFORT_TRIM_PEAKS; peak++) {
        int64_t bytes;
        uint32_t at = live_tree_peak(&trimmer->room, &bytes);
        if (bytes <= target) break;
        find_drops(trimmer, sequence, at, retain);
        if (!trimmer->drop.count) return peak > 0;
        uint32_t drops = choose_drops(trimmer, bytes - target);
        find_untils(trimmer, sequence, at, drops);
        for (uint32_t d = 0; d < drops; d++) {
            const Drop *drop = &trimmer->drop.at[d];
            retain[drop->gap] = drop->keep;
            live_tree_add(&trimmer->room, drop->begin, drop->until, -trimmer->p->bytes[drop->storage]);
        }
    }
    return true;
}

bool trim_to(Trimmer *trimmer, int64_t target_bytes, Keep *retain, Sequence *sequence) {
    replay(trimmer->r, retain, sequence);
    double most = EFFORT_TRIM_TIMES * sequence->seconds; /* beyond, it drops what it needs again and again */
    for (uint32_t round = 0;
         round < EFFORT_TRIM_ROUNDS && sequence->peak_bytes > target_bytes && sequence->seconds <= most;
         round++) {
        if (!lower_peaks(trimmer, target_bytes, sequence, retain)) return false;
        replay(trimmer->r, retain, sequence);
    }
    return sequence->peak_bytes <= target_bytes;
}

/* ---- keeping again ---- */

/* Copies that operations wait for: with memory for twice the time they take, nothing would. */
static void find_rests(Trimmer *trimmer) {
    const Copies *copies = replay_copies(trimmer->r);
    for (uint32_t i = 0; copies && copies->p->copies_beside && i < copies->copy.count; i++) {
        const Copy *copy = &copies->copy.at[i];
        if (copy->host == HOST_EASY || copy->held || !is_free(trimmer, copy->gap)) continue;
        double seconds = copies_seconds(trimmer->p, copy->storage);
        uint32_t gone = copy->free_run, comes = copy->fetch_run;
        while (gone < comes &&
               copies->idle.start.at[gone] < copies->idle.start.at[copy->out_run + 1] + 2 * seconds)
            gone++;
        while (copies->idle.start.at[comes] > copies->idle.start.at[copy->back_run] - 2 * seconds &&
               comes > gone)
            comes--;
        if (gone >= comes) continue;
        *vec_add(trimmer->arena, &trimmer->drop) =
            (Drop){.price = -seconds / (double)trimmer->p->bytes[copy->storage],
                   .gap = copy->gap,
                   .keep = {.host = HOST_EASY},
                   .storage = copy->storage,
                   .begin = copy->free_run,
                   .until = gone,
                   .again_begin = comes,
                   .again_until = copy->fetch_run};
    }
}

static double fill_price(const Problem *p, uint32_t s) {
    return -p->seconds[p->maker[s]] / (double)p->bytes[s];
}

/* Every run that repeats an operation, with the last touch of its outputs before: keeping one of them from
 * there saves the run if it is all the run is for. */
static void find_fills(Trimmer *trimmer, const Sequence *sequence, const Keep *retain) {
    const Problem *p = trimmer->p;
    trimmer->drop.count = 0;
    memset(trimmer->touched, 0xff, sizeof *trimmer->touched * p->storages);
    for (uint32_t i = 0; i < sequence->run.count; i++) {
        Run run = sequence->run.at[i];
        for (EACH(k, p->makes, run.op)) {
            uint32_t s = p->makes.list[k];
            uint32_t last = trimmer->touched[s];
            trimmer->touched[s] = i;
            if (!run.again || last == NONE) continue;
            uint32_t before = replay_time(trimmer->r)[last], now = replay_time(trimmer->r)[i],
                     gap = gap_of(p, s, before);
            if (!is_free(trimmer, gap) || retain[gap].from <= before || before < retain[gap].since) continue;
            Keep keep = retain[gap];
            bool from_start = before <= keep.until || before == p->gap_begin[gap];
            if (keep.from > now && from_start)
                keep.until = now;
            else
                keep.from = before;
            *vec_add(trimmer->arena, &trimmer->drop) = (Drop){.price = fill_price(p, s),
                                                              .gap = gap,
                                                              .keep = keep,
                                                              .storage = s,
                                                              .begin = last + 1,
                                                              .until = i};
        }
        for (EACH(k, p->reads, run.op)) trimmer->touched[p->reads.list[k]] = i;
    }
}

/* By what a storage saves a byte. */
static void rank_storages(Trimmer *trimmer) {
    const Problem *p = trimmer->p;
    Drop *drop = NEW_ARRAY(trimmer->arena, Drop, p->storages + 1);
    for (uint32_t s = 0; s < p->storages; s++) drop[s] = (Drop){.price = fill_price(p, s), .storage = s};
    if (p->storages) qsort(drop, p->storages, sizeof *drop, by_price);
    trimmer->ranked = NEW_ARRAY(trimmer->arena, uint32_t, p->storages + 1);
    trimmer->fills = NEW_ARRAY(trimmer->arena, uint32_t, p->storages + 1);
    for (uint32_t i = 0; i < p->storages; i++) trimmer->ranked[i] = drop[i].storage;
}

/* As qsort by price: fills have their storages' prices, so that they are counted into their places. */
static void sort_fills(Trimmer *trimmer) {
    const Problem *p = trimmer->p;
    uint32_t count = trimmer->drop.count, sum = 0;
    if (!trimmer->ranked) rank_storages(trimmer);
    trimmer->sorted.count = 0;
    vec_room(trimmer->arena, &trimmer->sorted, count);
    memset(trimmer->fills, 0, sizeof *trimmer->fills * p->storages);
    for (uint32_t d = 0; d < count; d++) trimmer->fills[trimmer->drop.at[d].storage]++;
    for (uint32_t i = 0; i < p->storages; i++) {
        uint32_t *fills = &trimmer->fills[trimmer->ranked[i]], begin = sum;
        sum += *fills;
        *fills = begin;
    }
    for (uint32_t d = 0; d < count; d++)
        trimmer->sorted.at[trimmer->fills[trimmer->drop.at[d].storage]++] = trimmer->drop.at[d];
    trimmer->sorted.count = count;
    Drops swap = trimmer->drop;
    trimmer->drop = trimmer->sorted;
    trimmer->sorted = swap;
}

static void find_all_fills(Trimmer *trimmer, const Sequence *sequence, const Keep *retain) {
    find_fills(trimmer, sequence, retain);
    sort_fills(trimmer);
    uint32_t fills = trimmer->drop.count;
    find_rests(trimmer);
    if (trimmer->drop.count > fills)
        qsort(trimmer->drop.at, trimmer->drop.count, sizeof *trimmer->drop.at, by_price);
}

static uint32_t keep_what_fits(Trimmer *trimmer, int64_t target, const Sequence *sequence, uint32_t most,
                               Keep *retain) {
    uint32_t kept = 0;
    live_tree_load(&trimmer->room, replay_live(trimmer->r), sequence->run.count);
    for (uint32_t d = 0; d < trimmer->drop.count && kept < most; d++) {
        const Drop *drop = &trimmer->drop.at[d];
        int64_t bytes = trimmer->p->bytes[drop->storage];
        if (drop->begin < drop->until &&
            live_tree_highest(&trimmer->room, drop->begin, drop->until) + bytes > target)
            continue;
        if (drop->again_begin < drop->again_until &&
            live_tree_highest(&trimmer->room, drop->again_begin, drop->again_until) + bytes > target)
            continue;
        live_tree_add(&trimmer->room, drop->begin, drop->until, bytes);
        live_tree_add(&trimmer->room, drop->again_begin, drop->again_until, bytes);
        retain[drop->gap] = drop->keep;
        kept++;
    }
    return kept;
}

void trim_fill(Trimmer *trimmer, int64_t target_bytes, Keep *retain, Sequence *sequence) {
    uint32_t most = NONE;
    for (uint32_t round = 0; round < EFFORT_TRIM_FILLS; round++) {
        double seconds = sequence->seconds;
        memcpy(trimmer->before, retain, sizeof *retain * trimmer->p->gaps);
        find_all_fills(trimmer, sequence, retain);
        uint32_t kept = keep_what_fits(trimmer, target_bytes, sequence, most, retain);
        if (!kept) return;
        replay_put_aside(trimmer->r, sequence);
        replay(trimmer->r, retain, sequence);
        if (sequence->peak_bytes <= target_bytes && sequence->seconds < seconds) continue;
        memcpy(retain, trimmer->before, sizeof *retain * trimmer->p->gaps);
        if (!replay_take_back(trimmer->r, sequence)) replay(trimmer->r, retain, sequence);
        most = kept / 3;
        if (!most) return;
    }
}
