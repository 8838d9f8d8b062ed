/* The search for good retentions. In: a problem; out: a front of plans from the fastest to the smallest.
 *
 * 1. Whole families: segments of every length, plain and nested, what dynamic programming over the chain of
 *    blocks finds, and the sets that minimum cuts keep at the highest-live instants, each also mixed with its
 *    neighbour by a prefix of the order.
 * 2. Descent: for peaks from keep-all's down in even steps, the nearest plan of the front, trimmed and
 * filled.
 *
 * Everything tried depends on the problem only. The front holds a plan if none is both faster and smaller. */
#include "planner/search.h"
#include "planner/bound/closure.h"
#include "planner/chain/chain.h"
#include "planner/retain/offload.h"
#include "planner/retain/policy.h"
#include "planner/retain/trim.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

/* Bytes of a storage that is kept, or not, over the boundary between forward and backward pass. */
typedef struct Over {
    uint32_t gap;
    int64_t bytes;
} Over;

typedef struct Search {
    const Problem *p;
    const Blocks *blocks;
    const Keep *pinned;
    Arena *arena; /* the front's */
    Arena *scratch;
    Replay *replay;
    Trimmer *trimmer;
    Offloader *offloader;
    double forward_seconds; /* before the boundary, nothing recomputed */
    Sequence sequence;
    Keep *retain;                                  /* the one being built */
    Candidate start[EFFORT_SEARCH_OFFLOAD_STARTS]; /* with copies, each of another plan (`number`) without;
                                                      retain NULL: none */
    Front front;
    uint32_t replays_left;
    uint32_t number;   /* of the plan being looked at, in the order in which all would be without a goal */
    uint64_t admitted; /* plans that came onto the front */
    int64_t
        floor_bytes; /* once known, nothing smaller is admitted: it is the answer to "how little is enough" */
    VEC(Over) over;  /* where only the smallest plans are asked for */
    int64_t most_bytes; /* what is surely larger was not looked at: up to there the front is exact */
} Search;

/* Puts the last replayed sequence into the front unless a plan there is as fast and as small. */
static void admit(Search *s, const Keep *retain) {
    int64_t peak = s->sequence.peak_bytes;
    double seconds = s->sequence.seconds;
    if (peak < s->floor_bytes) return;
    uint32_t at = 0;
    while (at < s->front.count && s->front.at[at].peak_bytes <= peak) at++;
    if (at > 0 && s->front.at[at - 1].seconds <= seconds) {
        Candidate *as_good = &s->front.at[at - 1]; /* of equals the first stays */
        if (as_good->peak_bytes != peak || as_good->seconds < seconds || as_good->number <= s->number) return;
        memcpy(as_good->retain, retain, sizeof *retain * s->p->gaps);
        as_good->number = s->number;
        return;
    }
    uint32_t first = at, last = at;
    if (first > 0 && s->front.at[first - 1].peak_bytes == peak) first--;
    while (last < s->front.count && s->front.at[last].seconds >= seconds) last++;
    Candidate added = {.peak_bytes = peak, .seconds = seconds, .number = s->number};
    added.retain = arena_alloc_raw(s->arena, sizeof *retain * s->p->gaps);
    memcpy(added.retain, retain, sizeof *retain * s->p->gaps);
    uint32_t count = s->front.count;
    if (first == last) (void)vec_add(s->arena, &s->front);
    memmove(&s->front.at[first + 1], &s->front.at[last], sizeof *s->front.at * (count - last));
    s->front.at[first] = added;
    s->front.count = count - (last - first) + 1;
    s->admitted++;
    if (s->over.count && s->front.count > EFFORT_SEARCH_SPARE &&
        s->front.at[EFFORT_SEARCH_SPARE].peak_bytes < s->most_bytes)
        s->most_bytes = s->front.at[EFFORT_SEARCH_SPARE].peak_bytes;
}

static void obey_pins(const Search *s, Keep *retain) {
    if (!s->pinned) return;
    for (uint32_t gap = 0; gap < s->p->gaps; gap++)
        if (s->pinned[gap].from != NONE) retain[gap] = s->pinned[gap];
}

/* Live bytes at the boundary that a retention keeps from before it for after it: no peak is lower. */
static int64_t surely_bytes(const Search *s, const Keep *retain) {
    int64_t bytes = s->p->persistent_bytes;
    for (uint32_t i = 0; i < s->over.count; i++) {
        uint32_t gap = s->over.at[i].gap;
        if (retain[gap].from <= s->p->gap_begin[gap]) bytes += s->over.at[i].bytes;
    }
    return bytes;
}

static void find_over(Search *s, uint32_t boundary) {
    const Problem *p = s->p;
    for (uint32_t t = 0; t < p->storages; t++)
        for (uint32_t gap = p->gap_first[t]; gap + 1 < p->gap_first[t + 1]; gap++)
            if (p->gap_begin[gap] < boundary && p->gap_end[gap] > boundary)
                *vec_add(s->scratch, &s->over) = (Over){gap, p->bytes[t]};
}

/* Whether the front's first few may be told apart from what was not looked at. */
static bool knows_smallest(const Search *s) {
    uint32_t few = s->front.count < EFFORT_SEARCH_SMALLEST ? s->front.count : EFFORT_SEARCH_SMALLEST;
    if (s->most_bytes < INT64_MAX) few = EFFORT_SEARCH_SMALLEST;
    return s->front.count >= few && (!few || s->front.at[few - 1].peak_bytes <= s->most_bytes);
}

static void consider(Search *s, Keep *retain) {
    obey_pins(s, retain);
    if (s->replays_left) s->replays_left--;
    if (s->most_bytes < INT64_MAX && surely_bytes(s, retain) > s->most_bytes) return;
    replay(s->replay, retain, &s->sequence);
    admit(s, retain);
}

/* What a closure keeps at its instant, as a retention: the rest is kept from when it is made again. */
static void retain_trade(const Problem *p, uint32_t instant, const bool *keep, Keep *retain) {
    retain_all(p, retain);
    for (uint32_t s = 0; s < p->storages; s++) {
        if (p->maker[s] >= instant || keep[s]) continue;
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++)
            if (p->gap_begin[gap] < instant && p->gap_end[gap] > instant && p->may_drop[gap])
                retain[gap] = (Keep){.from = instant + 1};
    }
}

/* Storages made before `time` as in `early`, the others as in `late`. */
static void mix(const Problem *p, const Keep *early, const Keep *late, uint32_t time, Keep *out) {
    for (uint32_t s = 0; s < p->storages; s++) {
        const Keep *from = p->maker[s] < time ? early : late;
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++) out[gap] = from[gap];
    }
}

/* Plans between two: the one that drops more is taken over for a growing prefix, at block borders. */
static void consider_mixes(Search *s, const Keep *more, const Keep *less, uint32_t most) {
    const Problem *p = s->p;
    uint32_t previous = NONE, border = 0, borders = 0, end = p->update_begin;
    if (s->blocks) {
        end = s->blocks->boundary;
        for (uint32_t op = 0; op < end; op++)
            borders += s->blocks->op_block[op] != previous, previous = s->blocks->op_block[op];
    } else {
        borders = end;
    }
    uint32_t stride = borders / (most + 1) + 1;
    previous = NONE;
    for (uint32_t op = 0; op < end && s->replays_left; op++) {
        bool new_border = s->blocks ? s->blocks->op_block[op] != previous : true;
        previous = s->blocks ? s->blocks->op_block[op] : previous;
        if (!new_border || ++border % stride) continue;
        mix(p, less, more, op, s->retain);
        consider(s, s->retain);
    }
}

static void try_segments(Search *s) {
    uint32_t blocks = s->blocks->count;
    for (uint32_t length = 1; length <= blocks; length += length / 8 + 1)
        for (int nested = 0; nested <= 1; nested++) {
            retain_segments(s->p, s->blocks, length, nested, s->retain);
            consider(s, s->retain);
        }
}

static void consider_found(void *search, Keep *retain, uint32_t number) {
    Search *s = search;
    s->number = 1 + number;
    consider(s, retain);
}

static bool is_too_large(void *search, int64_t bytes) {
    Search *s = search;
    if (bytes <= s->most_bytes) return false;
    if (s->replays_left) s->replays_left--;
    return true;
}

/* Where the smallest are asked for, those come first that are likely to be small: what is large is then not
 * looked at. */
static void try_chain(Search *s, int64_t highest) {
    int64_t most_bytes = highest - s->p->persistent_bytes;
    ChainTaker taker = {.context = s, .use = consider_found};
    if (s->over.count && !s->pinned) taker.leaves_out = is_too_large;
    chain_retentions(s->p, s->blocks->boundary, most_bytes, &taker);
    s->number = UINT32_MAX;
}

/* Live bytes of keep-all by operation. */
static int64_t *keep_all_live(Search *s) {
    retain_all(s->p, s->retain);
    consider(s, s->retain);
    int64_t *live = NEW_ARRAY(s->scratch, int64_t, s->p->ops + 1);
    for (uint32_t i = 0; i < s->sequence.run.count; i++)
        if (!s->sequence.run.at[i].again) live[s->sequence.run.at[i].op] = replay_live(s->replay)[i];
    return live;
}

static void try_cuts(Search *s, const int64_t *live, uint32_t instants, uint32_t cuts, uint32_t mixes) {
    uint32_t instant[8];
    uint32_t count = closure_instants(s->p, live, s->p->ops / 50, instant, instants);
    Keep *more = NEW_ARRAY(s->scratch, Keep, s->p->gaps + 1);
    Keep *less = NEW_ARRAY(s->scratch, Keep, s->p->gaps + 1);
    for (uint32_t i = 0; i < count; i++) {
        Trades hull = closure_hull(closure_new(s->p, instant[i], s->scratch), cuts, s->scratch);
        for (uint32_t k = 0; k < hull.count; k++) {
            retain_trade(s->p, instant[i], hull.at[k].keep, less);
            consider(s, less);
            if (k > 0 && i == 0) consider_mixes(s, more, less, mixes);
            Keep *swap = more;
            more = less;
            less = swap;
        }
    }
}

/* ---- host memory ---- */

/* How far copies may lag, as shares of the forward pass: the first keeps little on its way, the second the
 * queues busy. */
static const double lags[] = {1.0 / EFFORT_SEARCH_LAG_SHORT, 1.0 / EFFORT_SEARCH_LAG_MIDDLE,
                              1.0 / EFFORT_SEARCH_LAG_LONG};

/* The least bytes that copies out during the forward pass leave of a peak. */
static int64_t above_bytes(const Search *s, int64_t peak) {
    double copied = s->forward_seconds / s->p->copy_byte_seconds;
    int64_t most = peak - s->p->persistent_bytes;
    return peak - (copied < (double)most ? (int64_t)copied : most);
}

/* Where the next one goes that was made of plan `of`: in the place of another that was, or in a free one, or
 * in the place of the largest. */
static Candidate *start_place(Search *s, uint32_t of) {
    Candidate *place = s->start;
    for (uint32_t i = 0; i < COUNT_OF(s->start); i++)
        if (s->start[i].retain && s->start[i].number == of) return &s->start[i];
    for (uint32_t i = 1; i < COUNT_OF(s->start) && place->retain; i++)
        if (!s->start[i].retain || s->start[i].peak_bytes > place->peak_bytes) place = &s->start[i];
    return place;
}

/* Takes the plan replayed last, with copies, among the smallest few, if it is one: on the front few are. */
static void note_start(Search *s, uint32_t of) {
    Candidate *place = start_place(s, of);
    if (place->retain && place->peak_bytes <= s->sequence.peak_bytes) return;
    if (!place->retain) place->retain = NEW_ARRAY(s->scratch, Keep, s->p->gaps + 1);
    memcpy(place->retain, s->retain, sizeof *s->retain * s->p->gaps);
    place->peak_bytes = s->sequence.peak_bytes;
    place->number = of;
}

/* The plans so far, with what they keep sent to host memory. */
static void try_offload(Search *s, uint32_t most) {
    const Problem *p = s->p;
    if (p->host_bytes <= 0) return;
    uint32_t count = s->front.count, stride = count / most + 1;
    Candidate *before = NEW_ARRAY(s->scratch, Candidate, count);
    memcpy(before, s->front.at, sizeof *before * count);
    for (uint32_t i = 0; i < count; i += stride)
        for (uint32_t k = 0; k <= COUNT_OF(lags); k++) {
            OffloadRule rule = {.host = k < COUNT_OF(lags) ? HOST_EASY : HOST_STAGED};
            if (k < COUNT_OF(lags)) rule.lag_seconds = lags[k] * s->forward_seconds;
            rule.above_bytes =
                k < COUNT_OF(lags) ? above_bytes(s, before[i].peak_bytes) : p->persistent_bytes;
            memcpy(s->retain, before[i].retain, sizeof *s->retain * p->gaps);
            replay(s->replay, s->retain, &s->sequence);
            if (!offload_more(s->offloader, &s->sequence, &rule, s->retain)) continue;
            consider(s, s->retain);
            note_start(s, i);
        }
}

/* Sends more of the plan replayed last to host memory, and keeps again what then fits. */
static void offload_and_fill(Search *s, int64_t target) {
    for (uint32_t k = 0; s->p->host_bytes > 0 && k < COUNT_OF(lags); k++) {
        OffloadRule rule = {.host = HOST_EASY,
                            .lag_seconds = lags[k] * s->forward_seconds,
                            .above_bytes = above_bytes(s, target)};
        if (!offload_more(s->offloader, &s->sequence, &rule, s->retain)) continue;
        replay(s->replay, s->retain, &s->sequence);
        admit(s, s->retain);
        trim_fill(s->trimmer, target, s->retain, &s->sequence);
        admit(s, s->retain);
    }
}

/* The fastest plan of at most `peak` bytes; the smallest one if there is none. */
static const Candidate *nearest(const Search *s, int64_t peak) {
    uint32_t at = 0;
    while (at + 1 < s->front.count && s->front.at[at + 1].peak_bytes <= peak) at++;
    return &s->front.at[at];
}

/* Trims and fills the retention being built towards `target`, then a few times more by keeping too much and
 * trimming again, as long as that helps. */
static bool descend_on(Search *s, int64_t target, uint32_t swings) {
    int64_t room = (target - s->p->persistent_bytes) / 16;
    double best = HUGE_VAL;
    bool reached = false;
    for (uint32_t swing = 0;; swing++) {
        bool fits = trim_to(s->trimmer, target, s->retain, &s->sequence);
        admit(s, s->retain);
        if (!fits) break;
        reached = true;
        trim_fill(s->trimmer, target, s->retain, &s->sequence);
        admit(s, s->retain);
        offload_and_fill(s, target);
        if (swing == swings || s->sequence.seconds >= best) break;
        best = s->sequence.seconds;
        trim_fill(s->trimmer, target + room, s->retain, &s->sequence);
        admit(s, s->retain);
    }
    return reached;
}

/* From the plan that is the fastest at `start` bytes. */
static bool descend(Search *s, int64_t start, int64_t target, uint32_t swings) {
    memcpy(s->retain, nearest(s, start)->retain, sizeof *s->retain * s->p->gaps);
    return descend_on(s, target, swings);
}

/* Even steps from keep-all's peak down to the smallest. */
static void descend_by_levels(Search *s, int64_t highest, uint32_t levels) {
    int64_t lowest = s->front.at[0].peak_bytes, step = (highest - lowest) / levels + 1;
    for (uint32_t k = 1; k <= levels && highest - step * k > lowest; k++) {
        int64_t target = highest - step * k;
        descend(s, target, target, EFFORT_SEARCH_SWINGS);
        descend(s, target + 2 * step, target, EFFORT_SEARCH_SWINGS);
    }
}

enum { FLOOR_STEP = 24 }; /* the part of the transient bytes by which a step down is meant to be smaller */

/* Ever smaller plans, from each of the smallest few, in steps that shrink when they fail, a few times; in a
 * large graph from the smallest alone, until a step fails. False: which those few are is not known. */
static bool descend_to_floor(Search *s, SearchGoal goal, bool small) {
    uint32_t starts = small ? EFFORT_SEARCH_FLOOR_STARTS : 1,
             patience = small ? EFFORT_SEARCH_FLOOR_PATIENCE : 1;
    int64_t divisor = FLOOR_STEP;
    for (uint32_t round = 0, failures = 0; round < EFFORT_SEARCH_FLOOR_ROUNDS && failures < patience;
         round++) {
        if (!knows_smallest(s)) return false;
        int64_t lowest = s->front.at[0].peak_bytes;
        int64_t target = lowest - (lowest - s->p->persistent_bytes) / divisor - 1;
        for (uint32_t k = 0; k < starts && k < s->front.count && s->front.at[0].peak_bytes == lowest; k++)
            descend(s, s->front.at[k].peak_bytes, target, 0);
        if (s->front.at[0].peak_bytes < lowest) continue;
        divisor *= 4;
        failures++;
    }
    s->floor_bytes = s->front.at[0].peak_bytes;
    bool enough = goal.ask == SEARCH_BELOW && s->floor_bytes >= goal.bytes;
    if (!enough)
        descend(s, s->floor_bytes, s->floor_bytes,
                small ? EFFORT_SEARCH_SWINGS : 0); /* what still fits there */
    return knows_smallest(s);
}

/* In a small graph, twice from the same front, by drops that are chosen in either way (trim_singly). */
static bool descend_both_ways(Search *s, SearchGoal goal) {
    Front before = {0};
    for (uint32_t i = 0; i < s->front.count; i++) *vec_add(s->arena, &before) = s->front.at[i];
    bool known = descend_to_floor(s, goal, true);
    Front found = s->front;
    s->front = before;
    s->floor_bytes = 0;
    trim_singly(s->trimmer, true);
    known = descend_to_floor(s, goal, true) && known;
    trim_singly(s->trimmer, false);
    s->floor_bytes = 0;
    for (uint32_t i = 0; i < found.count; i++) {
        memcpy(s->retain, found.at[i].retain, sizeof *s->retain * s->p->gaps);
        s->number = found.at[i].number;
        consider(s, s->retain);
    }
    s->number = UINT32_MAX;
    s->floor_bytes = s->front.at[0].peak_bytes;
    return known;
}

/* Ever smaller plans from one of `peak` bytes, each from the one before. */
static void descend_from(Search *s, Keep *least, int64_t peak) {
    const Problem *p = s->p;
    for (uint32_t round = 0; round < EFFORT_SEARCH_FLOOR_ROUNDS; round++) {
        memcpy(s->retain, least, sizeof *least * p->gaps);
        if (!descend_on(s, peak - (peak - p->persistent_bytes) / FLOOR_STEP - 1, 0)) break;
        peak = s->sequence.peak_bytes;
        memcpy(least, s->retain, sizeof *least * p->gaps);
    }
}

/* The same from the smallest few plans with copies. */
static void descend_from_starts(Search *s) {
    s->floor_bytes = 0; /* what is below counts again */
    for (uint32_t i = 0; i < COUNT_OF(s->start); i++)
        if (s->start[i].retain) descend_from(s, s->start[i].retain, s->start[i].peak_bytes);
    s->floor_bytes = s->front.at[0].peak_bytes;
}

/* Ever smaller plans from the smallest segments in which no dequantised weight is kept. In a block whose
 * weights are larger than its activations the way down from the front stops earlier, with most of them in
 * memory. Each starts from the one before: on the front may be others. */
static void descend_without_dequantized(Search *s) {
    const Problem *p = s->p;
    if (!p->dequantized || !s->blocks || !s->blocks->count) return;
    Keep *least = NEW_ARRAY(s->scratch, Keep, p->gaps + 1);
    int64_t peak = INT64_MAX;
    s->floor_bytes = 0; /* what is below counts again */
    for (uint32_t length = 1; length <= s->blocks->count; length += length / 8 + 1)
        for (int nested = 0; nested <= 1; nested++) {
            retain_segments(p, s->blocks, length, nested, s->retain);
            retain_none_dequantized(p, s->blocks->boundary, s->retain);
            obey_pins(s, s->retain);
            replay(s->replay, s->retain, &s->sequence);
            admit(s, s->retain);
            if (s->sequence.peak_bytes >= peak) continue;
            peak = s->sequence.peak_bytes;
            memcpy(least, s->retain, sizeof *least * p->gaps);
        }
    descend_from(s, least, peak);
    s->floor_bytes = s->front.at[0].peak_bytes;
}

/* Around the floor with the inputs of blocks in host memory: what is smallest is seldom the fastest there. */
static void descend_at_floor(Search *s) {
    if (s->p->host_bytes <= 0 || !s->blocks || !s->blocks->count) return;
    int64_t transient = s->floor_bytes - s->p->persistent_bytes;
    for (int64_t part = EFFORT_SEARCH_AT_FLOOR - 1; part >= 0; part--)
        for (uint32_t host = HOST_STAGED; host <= HOST_NOW; host++) {
            retain_segments(s->p, s->blocks, 1, false, s->retain);
            retain_offload_blocks(s->p, s->blocks, s->retain);
            for (uint32_t gap = 0; gap < s->p->gaps; gap++)
                if (s->retain[gap].host != HOST_NEVER) s->retain[gap].host = host;
            consider(s, s->retain);
            descend_on(s, s->floor_bytes + transient * part / 24, 1);
        }
}

/* For --stats: a phase of the search after another. */
typedef struct Lap {
    double began;
    uint64_t admitted;
} Lap;

static Lap lap_begin(const Search *s) {
    return (Lap){stats_begin(s->p->stats), s->admitted};
}

static void lap_end(const Search *s, Lap *lap, StatsPhase phase) {
    stats_end(s->p->stats, phase, lap->began, s->admitted - lap->admitted);
    *lap = lap_begin(s);
}

/* Whole families of plans: made once, and given to a further search of the same operations. */
static void add_families(Search *s, const int64_t *live, int64_t highest, Front *families) {
    for (uint32_t i = 0; families && i < families->count; i++) {
        memcpy(s->retain, families->at[i].retain, sizeof *s->retain * s->p->gaps);
        consider(s, s->retain);
    }
    if (families && families->count) return;
    Lap lap = lap_begin(s);
    if (EFFORT_SEARCH_SEGMENTS && s->blocks && s->blocks->count) {
        try_segments(s);
        lap_end(s, &lap, STATS_SEGMENTS);
    }
    if (EFFORT_SEARCH_CHAIN && s->blocks) {
        try_chain(s, highest);
        lap_end(s, &lap, STATS_CHAIN);
    }
    if (EFFORT_SEARCH_CUT_INSTANTS) {
        try_cuts(s, live, EFFORT_SEARCH_CUT_INSTANTS, EFFORT_SEARCH_CUTS, EFFORT_SEARCH_CUT_MIXES);
        lap_end(s, &lap, STATS_CUTS);
    }
    for (uint32_t i = 0; families && i < s->front.count; i++) *vec_add(s->arena, families) = s->front.at[i];
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* False: in leaving out what is large, too little was left to tell the smallest. */
static bool search_on(Search *s, SearchGoal goal, Front *families, Front *smallest) {
    const Problem *p = s->p;
    /* effort by size: a replay costs about 0.1 microseconds an operation */
    uint32_t effort = EFFORT_SEARCH_OPS / (p->ops + 1);
    uint32_t levels = larger(effort / 4, EFFORT_SEARCH_LEVELS_LEAST);
    if (levels > EFFORT_SEARCH_LEVELS_MOST) levels = EFFORT_SEARCH_LEVELS_MOST;
    s->replays_left = larger(effort, EFFORT_SEARCH_REPLAYS_LEAST);
    s->most_bytes = INT64_MAX;
    s->floor_bytes = s->front.count = s->number = 0;

    int64_t *live = keep_all_live(s);
    int64_t highest = s->sequence.peak_bytes;
    add_families(s, live, highest, families);
    Lap lap = lap_begin(s);
    if (EFFORT_SEARCH_OFFLOADS && p->host_bytes > 0) {
        try_offload(s, EFFORT_SEARCH_OFFLOADS);
        lap_end(s, &lap, STATS_OFFLOAD);
    }
    bool small = p->ops < EFFORT_SEARCH_SMALL_OPS;
    bool known = small ? descend_both_ways(s, goal) : descend_to_floor(s, goal, false);
    if (known && p->host_bytes > 0) descend_from_starts(s);
    if (known && EFFORT_SEARCH_DEQUANTIZED) {
        descend_without_dequantized(s);
        known = knows_smallest(s);
    }
    lap_end(s, &lap, STATS_FLOOR);
    if (!known) return false;
    if (smallest)
        for (uint32_t i = 0; i < s->front.count && i < EFFORT_SEARCH_SMALLEST; i++)
            *vec_add(s->arena, smallest) = s->front.at[i];
    bool some_fit = goal.ask == SEARCH_WITHIN && goal.bytes >= s->front.at[0].peak_bytes;
    if (goal.ask == SEARCH_ANY || some_fit) {
        lap = lap_begin(s);
        descend_at_floor(s);
        lap_end(s, &lap, STATS_AT_FLOOR);
        if (levels) descend_by_levels(s, highest, levels);
        lap_end(s, &lap, STATS_LEVELS);
    }
    return true;
}

Front search_front(const Problem *p, const Blocks *blocks, const Keep *pinned, SearchGoal goal,
                   Front *families, Front *smallest, Arena *arena) {
    double began = stats_begin(p->stats);
    Search s = {.p = p, .blocks = blocks, .pinned = pinned, .arena = arena};
    s.scratch = arena_new();
    s.replay = replay_new(p, s.scratch);
    s.trimmer = trim_new(p, pinned, s.replay, s.scratch);
    s.offloader = offload_new(p, pinned, s.replay, s.scratch);
    for (uint32_t op = 0; op < p->update_begin && (!blocks || op < blocks->boundary); op++)
        s.forward_seconds += p->seconds[op];
    s.retain = NEW_ARRAY(s.scratch, Keep, p->gaps + 1);
    bool least = goal.ask == SEARCH_LEAST || goal.ask == SEARCH_BELOW;
    if (least && blocks && p->host_bytes <= 0) find_over(&s, blocks->boundary);
    if (!search_on(&s, goal, families, smallest)) {
        s.over.count = 0;
        if (!search_on(&s, goal, families, smallest)) die("the whole search leaves out plans");
    }
    arena_free(s.scratch);
    stats_end(p->stats, STATS_SEARCH, began, s.front.count);
    return s.front;
}
