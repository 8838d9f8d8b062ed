/* Packing: an offset for every buffer so that no two that live at once share a byte (dynamic storage
 * allocation).
 *
 * In: items with half-open lifetimes. Out: offsets and the height reached. Lifetimes are compressed to the
 * times at which one begins, the items are split where no lifetime crosses, and each part tries a portfolio
 * of first-fit orders; an order is dropped once it reaches the best height, and the search stops at the
 * liveness bound. What is left above it is placed sooner and sooner, and a small part goes to the exact
 * search. First fit asks a segment tree over time for the bytes taken during a lifetime (pack_tree.h). */
#include "planner/layout/pack_exact.h"
#include "planner/layout/pack_tree.h"
#include "planner/layout/pack.h"
#include "planner/layout/pack_lowest.h"
#include "planner/layout/pack_rest.h"
#include "planner/effort.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts: items between two cuts, with what the orders sort by ---- */

typedef struct Entry {
    uint32_t item;     /* index in the caller's array */
    uint32_t lo, hi;   /* compressed */
    PackExactRun life; /* as given */
    int64_t bytes, align, length, max_live, offset;
    uint32_t turn; /* its place in the best order so far; NONE: it was in none */
    bool at_peak;
} Entry;

/* What placing an entry looks at, by itself: many are passed again and again, in ever another order. */
typedef struct Fit {
    uint32_t lo, hi;
    int64_t bytes, align;
    PackPath path; /* without sets where there are so many that they would take too much memory */
} Fit;

typedef enum Key {
    KEY_TURN,
    KEY_BYTES,
    KEY_AREA,
    KEY_MAX_LIVE,
    KEY_LENGTH,
    KEY_BIRTH,
    KEY_DEATH,
    KEY_AT_PEAK
} Key;
/* Two keys an order; sizes and such descend, birth ascends, death descends. */
static const Key by_turn[2] = {KEY_TURN, KEY_LENGTH};
static const Key portfolio[][2] = {
    {KEY_LENGTH, KEY_BYTES}, {KEY_MAX_LIVE, KEY_DEATH}, {KEY_BYTES, KEY_BIRTH}, {KEY_AREA, KEY_BIRTH},
    {KEY_AT_PEAK, KEY_AREA}, {KEY_MAX_LIVE, KEY_BYTES}, {KEY_BIRTH, KEY_BYTES}, {KEY_AT_PEAK, KEY_BYTES},
};

typedef struct Ranked {
    uint64_t key[2]; /* as `descending` makes them */
    uint32_t entry;
} Ranked;

static int ranked_compare(const void *left, const void *right) {
    const Ranked *a = left, *b = right;
    for (int k = 0; k < 2; k++)
        if (a->key[k] != b->key[k]) return a->key[k] < b->key[k] ? -1 : 1;
    return a->entry < b->entry ? -1 : a->entry > b->entry;
}

static double entry_key(const Entry *e, Key key) {
    switch (key) {
    case KEY_TURN: return -(double)e->turn;
    case KEY_BYTES: return (double)e->bytes;
    case KEY_AREA: return (double)e->bytes * (double)e->length;
    case KEY_MAX_LIVE: return (double)e->max_live;
    case KEY_LENGTH: return (double)e->length;
    case KEY_BIRTH: return -(double)e->lo;
    case KEY_DEATH: return (double)e->hi;
    case KEY_AT_PEAK: return e->at_peak;
    }
    return 0;
}

/* A key as a number whose order is the other way round: the largest key first. */
static uint64_t descending(double key) {
    uint64_t bits;
    memcpy(&bits, &key, sizeof bits);
    return bits >> 63 ? bits : ~bits & ~(UINT64_C(1) << 63);
}

/* The order of ranked_compare by radix sort: stable, from the second key's lowest byte to the first key's
 * highest. Bytes that all have in common, most of them, take no pass. `other` has room for as many. */
static void sort_many(Ranked *ranked, Ranked *other, uint32_t count) {
    Ranked *from = ranked, *to = other;
    for (int k = 1; k >= 0; k--) {
        uint32_t times[8][256] = {{0}};
        for (uint32_t i = 0; i < count; i++)
            for (uint64_t byte = 0, key = from[i].key[k]; byte < 8; byte++)
                times[byte][key >> 8 * byte & 255]++;
        for (uint32_t byte = 0; byte < 8; byte++) {
            uint32_t *at = times[byte], sum = 0;
            if (at[from[0].key[k] >> 8 * byte & 255] == count) continue;
            for (uint32_t b = 0; b < 256; b++) {
                uint32_t here = at[b];
                at[b] = sum;
                sum += here;
            }
            for (uint32_t i = 0; i < count; i++) to[at[from[i].key[k] >> 8 * byte & 255]++] = from[i];
            Ranked *swap = from;
            from = to;
            to = swap;
        }
    }
    if (from != ranked) memcpy(ranked, from, sizeof *ranked * count);
}

/* `ranked` and `other` are room for it. */
static void rank(const Entry *entry, uint32_t count, const Key key[2], Ranked *ranked, Ranked *other,
                 uint32_t *order) {
    enum { FEW = 1000 };
    for (uint32_t i = 0; i < count; i++)
        ranked[i] =
            (Ranked){{descending(entry_key(&entry[i], key[0])), descending(entry_key(&entry[i], key[1]))}, i};
    if (count < FEW)
        qsort(ranked, count, sizeof *ranked, ranked_compare);
    else
        sort_many(ranked, other, count);
    for (uint32_t i = 0; i < count; i++) order[i] = ranked[i].entry;
}

/* Bytes live at each time; the highest. */
static int64_t live_profile(const Entry *entry, uint32_t count, int64_t *live, uint32_t times) {
    memset(live, 0, sizeof *live * (times + 1));
    for (uint32_t i = 0; i < count; i++) {
        live[entry[i].lo] += entry[i].bytes;
        live[entry[i].hi] -= entry[i].bytes;
    }
    int64_t highest = 0;
    for (uint32_t t = 0; t < times; t++) {
        if (t) live[t] += live[t - 1];
        if (live[t] > highest) highest = live[t];
    }
    return highest;
}

/* Fills max_live (highest live bytes during the lifetime) and at_peak, by a table of maxima over powers of
 * two. */
static void measure(Entry *entry, uint32_t count, const int64_t *live, uint32_t times, int64_t highest,
                    Arena *scratch) {
    uint32_t levels = 1;
    while ((1u << levels) <= times) levels++;
    int64_t **table = NEW_ARRAY(scratch, int64_t *, levels);
    table[0] = NEW_ARRAY(scratch, int64_t, times);
    memcpy(table[0], live, sizeof *live * times);
    for (uint32_t k = 1; k < levels; k++) {
        uint32_t half = 1u << (k - 1);
        table[k] = NEW_ARRAY(scratch, int64_t, times);
        for (uint32_t t = 0; t + 2 * half <= times; t++) {
            int64_t a = table[k - 1][t], b = table[k - 1][t + half];
            table[k][t] = a > b ? a : b;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        Entry *e = &entry[i];
        uint32_t k = 0;
        while ((2u << k) <= e->hi - e->lo) k++;
        int64_t a = table[k][e->lo], b = table[k][e->hi - (1u << k)];
        e->max_live = a > b ? a : b;
        e->at_peak = e->max_live == highest;
    }
}

/* States of an order, after 32 entries of it, 64, 128 ... */
typedef struct States {
    PackTreeSaved at[32];
    uint32_t valid; /* the order has the same entries up to that rank as when they were saved */
} States;

enum { FIRST_STATE = 32 };

/* Where placing goes on from: after the most entries whose state is there. */
static const PackTreeSaved *last_state(const States *states, const PackTree *tree) {
    const PackTreeSaved *last = NULL;
    for (uint32_t k = 0; states && k < COUNT_OF(states->at); k++) {
        const PackTreeSaved *saved = &states->at[k];
        if (saved->ranks && saved->ranks <= states->valid && tree->work + saved->work <= EFFORT_PACK_TOP_WORK)
            last = saved;
    }
    return last;
}

static void save_state(States *states, uint32_t ranks, int64_t height, uint64_t work, const PackTree *tree) {
    uint32_t k = 0;
    if (ranks < FIRST_STATE || ranks & (ranks - 1) || pack_tree_is_on_top(tree)) return;
    while ((uint32_t)FIRST_STATE << k < ranks) k++;
    PackTreeSaved *saved = &states->at[k];
    saved->ranks = ranks;
    saved->height = height;
    saved->work = work;
    pack_tree_save(tree, saved);
}

/* Places the entries in one order; the height, or `best` as soon as it cannot be beaten: `stuck` is the rank
 * of the entry that reached it. `states` (may be NULL): of an order before that did not beat `best` either.
 */
static int64_t first_fit(const Fit *fit, uint32_t count, const uint32_t *order, PackTree *tree, int64_t best,
                         int64_t *offset, uint32_t *stuck, States *states) {
    const PackTreeSaved *saved = last_state(states, tree);
    uint64_t before = tree->work;
    int64_t height = 0;
    if (saved) {
        pack_tree_restore(tree, saved);
        tree->work += saved->work;
        height = saved->height;
    } else {
        pack_tree_clear(tree);
    }
    for (uint32_t i = saved ? saved->ranks : 0; i < count; i++) {
        if (states && i > states->valid) save_state(states, i, height, tree->work - before, tree);
        *stuck = i;
        const Fit *e = &fit[order[i]];
        int64_t at = e->path.set ? pack_tree_fit_on(tree, &e->path, e->bytes, e->align)
                                 : pack_tree_fit(tree, e->lo, e->hi, e->bytes, e->align);
        if (at + e->bytes >= best) return best;
        if (at + e->bytes > height) height = at + e->bytes;
        offset[order[i]] = at;
        if (e->path.set)
            pack_tree_add_on(tree, &e->path, at, at + e->bytes);
        else
            pack_tree_add(tree, e->lo, e->hi, at, at + e->bytes);
    }
    return height;
}

/* The exact search after the portfolio: the height reached. */
static int64_t search_lower(Entry *entry, uint32_t count, int64_t height, int64_t goal, Arena *scratch) {
    PackExactItem *item = NEW_ARRAY(scratch, PackExactItem, count);
    PackExactRun *run = NEW_ARRAY(scratch, PackExactRun, count);
    uint64_t nodes = EFFORT_PACK_EXACT_NODES, length = 0;
    for (uint32_t i = 0; i < count; i++) length += entry[i].hi - entry[i].lo;
    if (nodes > EFFORT_PACK_EXACT_WORK / length) nodes = EFFORT_PACK_EXACT_WORK / length;
    if (nodes < count) return height;
    for (uint32_t i = 0; i < count; i++) {
        run[i] = entry[i].life;
        item[i] = (PackExactItem){.run = &run[i],
                                  .runs = 1,
                                  .bytes = entry[i].bytes,
                                  .align = entry[i].align,
                                  .fixed = -1,
                                  .offset = entry[i].offset};
    }
    height =
        pack_lowest(item, count, height, goal, goal / (10 * EFFORT_PACK_EXACT_GAP), nodes, NULL, scratch);
    for (uint32_t i = 0; i < count; i++) entry[i].offset = item[i].offset;
    return height;
}

/* What an order came to. */
static void take_over(Entry *entry, uint32_t count, const uint32_t *order, const int64_t *offset) {
    for (uint32_t i = 0; i < count; i++) {
        entry[order[i]].offset = offset[order[i]];
        entry[order[i]].turn = i;
    }
}

/* Work that is worth looking for lower heights than `best`: the less, the smaller a part of all memory, with
 * what lies below, stands above the goal. */
static uint64_t worth_work(int64_t best, int64_t goal, int64_t below) {
    double share = 1000 * (double)(best - goal) / (double)(goal + below) / EFFORT_PACK_STAKE;
    double least = 1. / EFFORT_PACK_LEAST_SHARE;
    return (uint64_t)(EFFORT_PACK_WORK * (share > 1 ? 1 : share < least ? least : share));
}

/* Moves what is stuck from there on to rank `to`, and what is like it and comes later: in a step of equal
 * blocks it would get stuck next. `rest` is room for as many. */
static void move_sooner(const Entry *entry, uint32_t count, uint32_t *order, uint32_t stuck, uint32_t to,
                        uint32_t *rest) {
    const Entry *like = &entry[order[stuck]];
    uint32_t others = 0;
    for (uint32_t i = to; i < count; i++) {
        const Entry *e = &entry[order[i]];
        if (e->bytes == like->bytes && e->length == like->length)
            order[to++] = order[i];
        else
            rest[others++] = order[i];
    }
    memcpy(&order[to], rest, sizeof *rest * others);
}

/* Orders in which what did not fit comes sooner (squeaky wheel optimisation: Joslin and Clements 1999), from
 * the best of the portfolio on, as long as they find a lower height now and then. */
static int64_t sooner(Entry *entry, const Fit *fit, uint32_t count, uint32_t *order, PackTree *tree,
                      int64_t below, int64_t best, int64_t goal, uint32_t most_failures, int64_t *offset,
                      uint32_t *rest) {
    States states = {0};
    for (uint32_t failures = 0;
         failures < most_failures && best > goal && tree->work < worth_work(best, goal, below);) {
        uint32_t stuck = 0;
        int64_t height = first_fit(fit, count, order, tree, best, offset, &stuck, &states);
        if (height < best) {
            best = height;
            states.valid = 0;
            take_over(entry, count, order, offset);
            continue;
        }
        failures++;
        states.valid = stuck / 2;
        move_sooner(entry, count, order, stuck, stuck / 2, rest);
    }
    return best;
}

enum { MOST_PATHS = 1 << 17 };

static bool packed_before(const Entry *entry, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (entry[i].turn != NONE) return true;
    return false;
}

/* One part: entries whose lifetimes lie in [0, times). Stops at `goal` or its own bound, whichever is higher.
 * `below`: bytes of the same memory that lie under all of them. */
static int64_t pack_part(Entry *entry, uint32_t count, uint32_t times, int64_t below, int64_t goal,
                         Arena *scratch) {
    int64_t *live = NEW_ARRAY(scratch, int64_t, times + 1), *offset = NEW_ARRAY(scratch, int64_t, count);
    Ranked *ranked = NEW_ARRAY(scratch, Ranked, count), *other = NEW_ARRAY(scratch, Ranked, count);
    uint32_t *order = NEW_ARRAY(scratch, uint32_t, count), *rest = NEW_ARRAY(scratch, uint32_t, count);
    Fit *fit = NEW_ARRAY(scratch, Fit, count);
    PackTree tree = pack_tree_new(times, scratch);
    for (uint32_t i = 0; i < count; i++) {
        pack_tree_expect(&tree, entry[i].lo, entry[i].hi);
        fit[i] =
            (Fit){.lo = entry[i].lo, .hi = entry[i].hi, .bytes = entry[i].bytes, .align = entry[i].align};
    }
    for (uint32_t i = 0; i < count && count <= MOST_PATHS; i++)
        fit[i].path = pack_tree_path(&tree, fit[i].lo, fit[i].hi, scratch);
    int64_t highest = live_profile(entry, count, live, times), best = INT64_MAX;
    measure(entry, count, live, times, highest, scratch);
    if (goal < highest) goal = highest;
    if (packed_before(entry, count)) {
        rank(entry, count, by_turn, ranked, other, order);
        best =
            sooner(entry, fit, count, order, &tree, below, goal + 1, goal, EFFORT_PACK_REPAIRS, offset, rest);
        if (best > goal) best = INT64_MAX;
    }
    uint32_t stuck;
    for (uint32_t p = 0; p < COUNT_OF(portfolio) && best > goal && tree.work < worth_work(best, goal, below);
         p++) {
        rank(entry, count, portfolio[p], ranked, other, order);
        int64_t height = first_fit(fit, count, order, &tree, best, offset, &stuck, NULL);
        if (height >= best) continue;
        best = height;
        take_over(entry, count, order, offset);
    }
    if (best > goal) {
        rank(entry, count, by_turn, ranked, other, order);
        best = sooner(entry, fit, count, order, &tree, below, best, goal, EFFORT_PACK_FAILURES, offset, rest);
    }
    if (count <= EFFORT_PACK_EXACT_ITEMS && best - goal > goal / EFFORT_PACK_EXACT_GAP)
        best = search_lower(entry, count, best, goal, scratch);
    return best;
}

/* ---- items to parts ---- */

static int birth_compare(const void *left, const void *right) {
    const Entry *a = left, *b = right;
    if (a->lo != b->lo) return a->lo < b->lo ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* Entries for the items that hold any bytes at any time, by birth. */
static Entry *collect(const PackItem *item, uint32_t count, uint32_t *entries, Arena *scratch) {
    Entry *entry = NEW_ARRAY(scratch, Entry, count);
    uint32_t n = 0;
    bool sorted = true;
    for (uint32_t i = 0; i < count; i++) {
        if (item[i].bytes <= 0 || item[i].lo >= item[i].hi) continue;
        sorted &= !n || entry[n - 1].lo <= item[i].lo;
        entry[n++] = (Entry){.item = i,
                             .lo = item[i].lo,
                             .hi = item[i].hi,
                             .life = {item[i].lo, item[i].hi},
                             .bytes = item[i].bytes,
                             .align = item[i].align > 0 ? item[i].align : 1,
                             .turn = NONE,
                             .length = (int64_t)item[i].hi - item[i].lo};
    }
    if (!sorted) qsort(entry, n, sizeof *entry, birth_compare);
    *entries = n;
    return entry;
}

/* Only births matter: a lifetime becomes the run of distinct births inside it. Returns how many there are. */
static uint32_t compress(Entry *entry, uint32_t count, Arena *scratch) {
    uint32_t *birth = NEW_ARRAY(scratch, uint32_t, count), times = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!times || birth[times - 1] != entry[i].lo) birth[times++] = entry[i].lo;
    for (uint32_t i = 0, at = 0; i < count; i++) {
        while (birth[at] < entry[i].lo) at++;
        uint32_t low = at, high = times; /* first birth at or after the death */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (birth[middle] >= entry[i].hi)
                high = middle;
            else
                low = middle + 1;
        }
        entry[i].lo = at;
        entry[i].hi = low;
    }
    return times;
}

int64_t pack_bound(const PackItem *item, uint32_t count, Arena *scratch) {
    uint32_t n;
    Entry *entry = collect(item, count, &n, scratch);
    uint32_t times = compress(entry, n, scratch);
    return live_profile(entry, n, NEW_ARRAY(scratch, int64_t, times + 1), times);
}

/* The parts one after the other; the height, at least `goal`, at which each may stop. */
static int64_t pack_parts(Entry *entry, uint32_t count, int64_t below, int64_t goal, Arena *scratch) {
    int64_t height = goal;
    for (uint32_t beg = 0, end; beg < count; beg = end) {
        uint32_t base = entry[beg].lo, death = entry[beg].hi;
        for (end = beg + 1; end < count && entry[end].lo < death; end++)
            if (entry[end].hi > death) death = entry[end].hi;
        for (uint32_t i = beg; i < end; i++) {
            entry[i].lo -= base;
            entry[i].hi -= base;
        }
        int64_t reached = pack_part(&entry[beg], end - beg, death - base, below, height, scratch);
        if (reached > height) height = reached;
    }
    return height;
}

/* Entries that live at a time when memory is short; how many. */
static uint32_t select_tight(const Entry *entry, uint32_t count, const bool *is_short, uint32_t times,
                             Entry *tight, Arena *scratch) {
    uint32_t *before = NEW_ARRAY(scratch, uint32_t, times + 1), selected = 0; /* such times before each */
    for (uint32_t t = 0; t < times; t++) before[t + 1] = before[t] + is_short[t];
    for (uint32_t i = 0; i < count; i++)
        if (before[entry[i].lo] < before[entry[i].hi]) tight[selected++] = entry[i];
    return selected;
}

/* Places the entries that were not packed among the `tight` in between them; how many find no room, which are
 * noted as living when memory is short. */
static uint32_t place_rest(Entry *entry, uint32_t count, const Entry *tight, uint32_t selected,
                           int64_t height, bool *is_short, Arena *scratch) {
    PackItem *item = NEW_ARRAY(scratch, PackItem, count);
    for (uint32_t i = 0, next = 0; i < count; i++) {
        bool placed = next < selected && tight[next].item == entry[i].item;
        entry[i].turn = placed ? tight[next].turn : NONE;
        item[i] = (PackItem){.lo = entry[i].lo,
                             .hi = entry[i].hi,
                             .bytes = entry[i].bytes,
                             .align = entry[i].align,
                             .offset = placed ? tight[next++].offset : -1};
    }
    uint32_t left = pack_rest(item, count, height, scratch);
    for (uint32_t i = 0; i < count; i++) {
        entry[i].offset = item[i].offset;
        if (item[i].offset < 0) entry[i].turn = selected / 2; /* sooner, as what gets stuck comes */
        for (uint32_t t = entry[i].lo; item[i].offset < 0 && t < entry[i].hi; t++) is_short[t] = true;
    }
    return left;
}

/* Packs those that live where memory is short, as if they were all, and then the others in between: a step
 * that runs its blocks again and again has many of these. What finds no room is packed with the first the
 * next time. The height, or INT64_MAX: most are among the first. */
static int64_t pack_tight_first(Entry *entry, uint32_t count, const int64_t *live, uint32_t times,
                                int64_t below, int64_t highest, Arena *scratch) {
    enum { ROUNDS = 8 };
    bool *is_short = NEW_ARRAY(scratch, bool, times);
    Entry *tight = NEW_ARRAY(scratch, Entry, count);
    int64_t height = highest;
    for (uint32_t t = 0; t < times; t++)
        is_short[t] = (double)live[t] * 1000 > (double)highest * EFFORT_PACK_TIGHT;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t selected = select_tight(entry, count, is_short, times, tight, scratch);
        if (selected > count / 4 * 3) break;
        compress(tight, selected, scratch);
        height = pack_parts(tight, selected, below, height, scratch);
        if (!place_rest(entry, count, tight, selected, height, is_short, scratch)) return height;
    }
    return INT64_MAX;
}

/* In one of two ways: with all entries together each order takes longer, and ends higher where many live. */
static int64_t pack_entries(Entry *entry, uint32_t count, uint32_t times, int64_t below, Arena *scratch) {
    int64_t *live = NEW_ARRAY(scratch, int64_t, times + 1);
    int64_t highest = live_profile(entry, count, live, times), height = INT64_MAX;
    if (EFFORT_PACK_TIGHT && count > EFFORT_PACK_EXACT_ITEMS)
        height = pack_tight_first(entry, count, live, times, below, highest, scratch);
    if (height < INT64_MAX) return height;
    for (uint32_t i = 0; i < count; i++) entry[i].turn = NONE;
    return pack_parts(entry, count, below, highest, scratch);
}

int64_t pack_items(PackItem *item, uint32_t count, int64_t below, Arena *scratch) {
    uint32_t n;
    Entry *entry = collect(item, count, &n, scratch);
    int64_t height = pack_entries(entry, n, compress(entry, n, scratch), below, scratch);
    for (uint32_t i = 0; i < count; i++) item[i].offset = 0;
    for (uint32_t i = 0; i < n; i++) item[entry[i].item].offset = entry[i].offset;
    return height;
}
