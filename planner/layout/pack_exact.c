/* Exact packing by depth-first search over canonical packings.
 *
 * Every packing can be slid down until each item lies on the floor, on another item or at its fixed offset;
 * only such are searched. Time is cut into sections, the maximal sets of items that live at once. `low` of an
 * item is the lowest offset it can still have, `level` of a section the lowest `low` of its unplaced items.
 *
 *     level  3 |     ___        A node takes a section of a valley (a run of equal level between higher
 *            2 |____|   |___    ones) and tries each item that may lie there at that level, then none.
 *            1 |    `valley'    None: they lie on something not yet placed, so each rises to its lowest end.
 *
 * A node is cut when in some section, packing what is left in order of `low` ends above the capacity. What is
 * left is split where no lifetime crosses. Orders of trying take turns under doubling limits of nodes.
 * After Moffitt 2023, "MiniMalloc" (canonical packings, inference by section, splitting); the branching on
 * valleys is that of skyline methods for strip packing.
 *
 * A node that looks at very many items and sections counts as several: a search of thousands of items ends as
 * soon as one of hundreds (EFFORT_PACK_NODE_WORK, _MEMBERS, _TRAIL). */
#include "planner/layout/pack_exact.h"
#include "planner/effort.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE (INT64_MAX / 4) /* the low of a placed item */

typedef struct Slot { /* an old value to put back */
    int64_t *at, old;
} Slot;

typedef struct Tally { /* by section, being counted */
    int64_t *bytes, *level, *ready, *reach;
} Tally;

typedef struct Search {
    Arena *arena;
    const PackExactItem *item;
    uint32_t count, sections;
    bool gaps;
    int64_t capacity;
    uint64_t nodes, limit;
    uint64_t work;      /* items and sections looked at and not counted as nodes yet */
    bool too_many;      /* for a search */
    PackExactRun **run; /* an item's runs of sections */
    uint32_t *runs;     /* how many */
    uint32_t *first;    /* a section's items are member[first[t]..first[t + 1]) */
    uint32_t *member;
    uint32_t *twin; /* an equal item earlier in the array, or NONE */
    uint32_t *rank;
    uint32_t *fixed, fixed_count;
    int64_t *low, *offset; /* by item; low is NOWHERE once placed */
    uint32_t *death;       /* by item: the section after its last */
    /* By section: highest end placed, bytes unplaced; of the unplaced items the lowest low, how many have it,
     * the last death. */
    int64_t *floor, *left, *level, *ready, *reach;
    Tally tally;
    uint32_t *order;             /* items by falling low, as far as the last sorting knew */
    uint32_t dirty_lo, dirty_hi; /* sections whose level may have changed */
    VEC(Slot) trail;
    VEC(uint32_t) stack; /* options of the nodes above */
} Search;

static void set(Search *s, int64_t *at, int64_t value) {
    *vec_add(s->arena, &s->trail) = (Slot){at, *at};
    *at = value;
}

static void undo(Search *s, uint32_t mark) {
    while (s->trail.count > mark) {
        const Slot *slot = &s->trail.at[--s->trail.count];
        *slot->at = slot->old;
    }
}

static int64_t round_up(int64_t bytes, int64_t align) {
    return align > 1 ? (bytes + align - 1) / align * align : bytes;
}

static bool overlap(const Search *s, uint32_t a, uint32_t b) {
    if (s->run[a][0].lo >= s->death[b] || s->run[b][0].lo >= s->death[a]) return false;
    for (uint32_t i = 0; i < s->runs[a]; i++)
        for (uint32_t j = 0; j < s->runs[b]; j++)
            if (s->run[a][i].lo < s->run[b][j].hi && s->run[b][j].lo < s->run[a][i].hi) return true;
    return false;
}

/* Item `i` lies at `to` or higher. */
static bool raise_item(Search *s, uint32_t i, int64_t to) {
    const PackExactItem *item = &s->item[i];
    if (to <= s->low[i]) return true;
    if (item->fixed >= 0) return false;
    to = round_up(to, item->align);
    for (uint32_t k = 0; k < s->fixed_count; k++) {
        uint32_t f = s->fixed[k];
        int64_t beg = s->item[f].fixed, end = beg + s->item[f].bytes;
        if (s->low[f] == NOWHERE || to >= end || to + item->bytes <= beg || !overlap(s, i, f)) continue;
        to = round_up(end, item->align);
        k = UINT32_MAX; /* it may meet one looked at before */
    }
    if (to + item->bytes > s->capacity) return false;
    set(s, &s->low[i], to);
    if (s->run[i][0].lo < s->dirty_lo) s->dirty_lo = s->run[i][0].lo;
    if (s->run[i][s->runs[i] - 1].hi > s->dirty_hi) s->dirty_hi = s->run[i][s->runs[i] - 1].hi;
    return true;
}

/* The unplaced items are those of `order` from here on. Few lows change between two calls: insertion is
 * quick. */
static uint32_t sort_order(Search *s) {
    uint32_t *order = s->order;
    for (uint32_t k = 1; k < s->count; k++) {
        uint32_t i = order[k], at = k;
        int64_t low = s->low[i];
        for (; at && s->low[order[at - 1]] < low; at--) order[at] = order[at - 1];
        order[at] = i;
        s->work += k - at;
    }
    uint32_t placed = 0, high = s->count; /* lows fall: the placed are at the front */
    while (placed < high) {
        uint32_t middle = (placed + high) / 2;
        if (s->low[order[middle]] == NOWHERE)
            placed = middle + 1;
        else
            high = middle;
    }
    return placed;
}

/* Adds item `i`, of the highest low yet to be added, to the sections [lo, hi) it holds bytes in. */
static bool stack_item(Search *s, uint32_t i, uint32_t lo, uint32_t hi) {
    Tally *tally = &s->tally;
    int64_t low = s->low[i], bytes = s->item[i].bytes, room = s->capacity - low, death = s->death[i];
    for (uint32_t r = 0; r < s->runs[i]; r++) {
        uint32_t beg = s->run[i][r].lo > lo ? s->run[i][r].lo : lo;
        uint32_t end = s->run[i][r].hi < hi ? s->run[i][r].hi : hi;
        int64_t over = 0;
        s->work += beg < end ? end - beg : 0;
        for (uint32_t t = beg; t < end; t++) {
            tally->bytes[t] += bytes;
            over |= room - tally->bytes[t];
        }
        if (over < 0) return false;
        for (uint32_t t = beg; t < end; t++) {
            tally->ready[t] = tally->level[t] == low ? tally->ready[t] + 1 : 1;
            tally->level[t] = low;
            tally->reach[t] = tally->reach[t] > death ? tally->reach[t] : death;
        }
    }
    return true;
}

/* Level, ready and reach of the dirty sections. Could the items left in each follow each other below the
 * capacity, none below its low? */
static bool settle(Search *s) {
    uint32_t lo = s->dirty_lo, hi = s->dirty_hi;
    Tally *tally = &s->tally;
    s->dirty_lo = UINT32_MAX;
    s->dirty_hi = 0;
    s->work += s->count + (lo < hi ? hi - lo : 0);
    for (uint32_t t = lo; t < hi; t++) {
        tally->bytes[t] = tally->ready[t] = 0;
        tally->level[t] = NOWHERE;
        tally->reach[t] = t + 1;
    }
    for (uint32_t k = sort_order(s); k < s->count; k++) {
        uint32_t i = s->order[k];
        if (s->run[i][0].lo < hi && s->death[i] > lo && !stack_item(s, i, lo, hi)) return false;
    }
    for (uint32_t t = lo; t < hi; t++) {
        if (s->level[t] != tally->level[t]) set(s, &s->level[t], tally->level[t]);
        if (s->ready[t] != tally->ready[t]) set(s, &s->ready[t], tally->ready[t]);
        if (s->reach[t] != tally->reach[t]) set(s, &s->reach[t], tally->reach[t]);
        if (s->left[t] != tally->bytes[t]) set(s, &s->left[t], tally->bytes[t]);
    }
    return true;
}

/* Item `i` lies at its low. */
static bool place(Search *s, uint32_t i) {
    int64_t top = s->low[i] + s->item[i].bytes;
    s->offset[i] = s->low[i];
    s->dirty_lo = s->run[i][0].lo;
    s->dirty_hi = s->death[i];
    set(s, &s->low[i], NOWHERE);
    for (uint32_t r = 0; r < s->runs[i]; r++)
        for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++) set(s, &s->floor[t], top);
    for (uint32_t k = s->count; k-- > 0;) {
        uint32_t other = s->order[k];
        if (s->low[other] < top && overlap(s, i, other) && !raise_item(s, other, top)) return false;
    }
    return settle(s);
}

/* Item `i` does not lie at its low: it lies on something still to be placed. */
static bool lift(Search *s, uint32_t i) {
    int64_t lowest = NOWHERE;
    s->work += s->count;
    for (uint32_t k = s->count; k-- > 0;) {
        uint32_t other = s->order[k];
        int64_t end = s->low[other] + s->item[other].bytes;
        if (end < lowest && other != i && overlap(s, i, other)) lowest = end;
    }
    return lowest < NOWHERE && raise_item(s, i, lowest);
}

/* Does item `i`, at its low, lie on something placed? */
static bool supported(const Search *s, uint32_t i) {
    int64_t support = 0;
    if (s->item[i].fixed >= 0) return true;
    for (uint32_t r = 0; r < s->runs[i]; r++)
        for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++)
            if (s->floor[t] > support) support = s->floor[t];
    return round_up(support, s->item[i].align) >= s->low[i];
}

/* The section of [lo, hi) to branch on: in a valley, with the fewest options. */
static uint32_t choose(Search *s, uint32_t lo, uint32_t hi) {
    uint32_t best = NONE;
    int64_t lowest = NOWHERE, best_score = INT64_MAX;
    if (s->gaps)
        for (uint32_t t = lo; t < hi; t++)
            if (s->level[t] < lowest) lowest = s->level[t];
    for (uint32_t beg = lo, end; beg < hi; beg = end) {
        int64_t level = s->level[beg];
        for (end = beg + 1; end < hi && s->level[end] == level; end++) {
        }
        if (level == NOWHERE) continue;
        if (s->gaps ? level != lowest
                    : (beg > lo && s->level[beg - 1] < level) || (end < hi && s->level[end] < level))
            continue;
        s->work += end - beg + s->first[end] - s->first[beg];
        for (uint32_t t = beg; t < end; t++) {
            int64_t options = 0;
            for (uint32_t m = s->first[t]; m < s->first[t + 1]; m++) options += s->low[s->member[m]] == level;
            int64_t slack = s->capacity - level - s->left[t];
            int64_t score = options * 2 + (slack > 0);
            if (score >= best_score) continue;
            best_score = score;
            best = t;
        }
    }
    return best;
}

static PackExactAnswer search_parts(Search *s, uint32_t lo, uint32_t hi);

/* Lifts every item of section `t` that might lie at `level` (only those that lie on nothing, if `loose`). */
static bool lift_all(Search *s, uint32_t t, int64_t level, bool loose) {
    s->dirty_lo = UINT32_MAX;
    s->dirty_hi = 0;
    for (uint32_t m = s->first[t]; m < s->first[t + 1]; m++) {
        uint32_t i = s->member[m];
        if (s->low[i] == level && !(loose && supported(s, i)) && !lift(s, i)) return false;
    }
    return settle(s);
}

/* Pushes the items of section `t` that may lie at `level`, in order of rank. False: some of them rose because
 * they lie on nothing. */
static bool push_options(Search *s, uint32_t t, int64_t level) {
    uint32_t bottom = s->stack.count;
    for (uint32_t m = s->first[t]; m < s->first[t + 1]; m++) {
        uint32_t i = s->member[m];
        if (s->low[i] != level) continue;
        if (!supported(s, i)) {
            s->stack.count = bottom;
            return false;
        }
        if (s->twin[i] != NONE && s->low[s->twin[i]] == level) continue;
        (void)vec_add(s->arena, &s->stack);
        uint32_t at = s->stack.count - 1;
        for (; at > bottom && s->rank[s->stack.at[at - 1]] > s->rank[i]; at--)
            s->stack.at[at] = s->stack.at[at - 1];
        s->stack.at[at] = i;
    }
    return true;
}

/* One part: sections [lo, hi), which no unplaced lifetime leaves. Unless found, the caller undoes what was
 * done. */
static PackExactAnswer search_part(Search *s, uint32_t lo, uint32_t hi) {
    for (;;) {
        uint32_t bottom = s->stack.count, t = choose(s, lo, hi);
        int64_t level = s->level[t];
        s->nodes += 1 + s->work / EFFORT_PACK_NODE_WORK;
        s->work %= EFFORT_PACK_NODE_WORK;
        if (s->nodes > s->limit || s->trail.count > EFFORT_PACK_TRAIL) return PACK_EXACT_UNKNOWN;
        bool grounded = push_options(s, t, level);
        for (uint32_t o = bottom, end = s->stack.count; o < end; o++) {
            uint32_t mark = s->trail.count;
            PackExactAnswer answer = PACK_EXACT_IMPOSSIBLE;
            if (place(s, s->stack.at[o])) answer = search_parts(s, lo, hi);
            if (answer != PACK_EXACT_IMPOSSIBLE) {
                s->stack.count = bottom;
                return answer;
            }
            undo(s, mark);
        }
        s->stack.count = bottom;
        if (!lift_all(s, t, level, !grounded)) return PACK_EXACT_IMPOSSIBLE;
    }
}

/* Where the part that begins at section `beg` ends: no unplaced lifetime crosses. */
static uint32_t part_end(const Search *s, uint32_t beg) {
    uint32_t end = beg + 1;
    for (uint32_t t = beg; t < end; t++)
        if (s->reach[t] > end) end = (uint32_t)s->reach[t];
    return end;
}

/* Sections [lo, hi): parts that share no unplaced item. */
static PackExactAnswer search_parts(Search *s, uint32_t lo, uint32_t hi) {
    for (uint32_t beg = lo, end; beg < hi; beg = end) {
        end = part_end(s, beg);
        if (s->level[beg] == NOWHERE) continue;
        PackExactAnswer answer = search_part(s, beg, end);
        if (answer != PACK_EXACT_FOUND) return answer;
    }
    return PACK_EXACT_FOUND;
}

/* ---- sections ---- */

static int time_compare(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

/* How many of `time` (ascending) are below `limit`. */
static uint32_t count_below(const uint32_t *time, uint32_t count, uint32_t limit) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (time[middle] < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First births of the sections: a birth opens one when something died since the birth before. */
static uint32_t *section_begins(const PackExactItem *item, uint32_t count, uint32_t *sections, Arena *arena) {
    uint32_t n = 0, begins = 0;
    for (uint32_t i = 0; i < count; i++) n += item[i].runs;
    uint32_t *birth = NEW_ARRAY(arena, uint32_t, n + 1), *death = NEW_ARRAY(arena, uint32_t, n + 1);
    n = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t r = 0; r < item[i].runs; r++) {
            birth[n] = item[i].run[r].lo;
            death[n++] = item[i].run[r].hi;
        }
    qsort(birth, n, sizeof *birth, time_compare);
    qsort(death, n, sizeof *death, time_compare);
    for (uint32_t b = 0, d = 0; b < n; b++) {
        bool died = false;
        for (; d < n && death[d] <= birth[b]; d++) died = true;
        if (!b || died) birth[begins++] = birth[b];
    }
    *sections = begins;
    return birth;
}

/* False: items and sections are so many that no search could look at them often enough. */
static bool find_sections(Search *s) {
    const PackExactItem *item = s->item;
    uint32_t *begin = section_begins(item, s->count, &s->sections, s->arena);
    uint64_t members = 0;
    s->run = NEW_ARRAY(s->arena, PackExactRun *, s->count + 1);
    s->runs = NEW_ARRAY(s->arena, uint32_t, s->count + 1);
    s->first = NEW_ARRAY(s->arena, uint32_t, s->sections + 2);
    for (uint32_t i = 0; i < s->count; i++) {
        s->run[i] = NEW_ARRAY(s->arena, PackExactRun, item[i].runs + 1);
        for (uint32_t r = 0; r < item[i].runs; r++) {
            PackExactRun run = {count_below(begin, s->sections, item[i].run[r].lo + 1) - 1,
                                count_below(begin, s->sections, item[i].run[r].hi)};
            uint32_t at = s->runs[i];
            if (at && s->run[i][at - 1].hi >= run.lo)
                s->run[i][at - 1].hi = run.hi;
            else
                s->run[i][s->runs[i]++] = run;
        }
        s->gaps |= s->runs[i] > 1;
        for (uint32_t r = 0; r < s->runs[i] && members <= EFFORT_PACK_MEMBERS; r++) {
            members += s->run[i][r].hi - s->run[i][r].lo;
            for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++) s->first[t + 2]++;
        }
    }
    if (members > EFFORT_PACK_MEMBERS) return false;
    s->member = NEW_ARRAY(s->arena, uint32_t, members + 1);
    for (uint32_t t = 0; t < s->sections; t++) s->first[t + 2] += s->first[t + 1];
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t r = 0; r < s->runs[i]; r++)
            for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++) s->member[s->first[t + 1]++] = i;
    return true;
}

/* ---- orders of trying, attempts, heights ---- */

typedef enum Order { ORDER_LIFE, ORDER_LIVE_LIFE, ORDER_BYTES, ORDER_LIVE_BYTES, ORDER_COUNT } Order;

typedef struct Ranked {
    double key[2];
    uint32_t item;
} Ranked;

static int ranked_compare(const void *left, const void *right) {
    const Ranked *a = left, *b = right;
    for (int k = 0; k < 2; k++)
        if (a->key[k] != b->key[k]) return a->key[k] > b->key[k] ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static double life_of(const PackExactItem *item) {
    double life = 0;
    for (uint32_t r = 0; r < item->runs; r++) life += item->run[r].hi - item->run[r].lo;
    return life;
}

/* Ranks by lifetime, by the highest live bytes met, by size. `live`: bytes live in each section. */
static uint32_t *rank_items(const Search *s, Order order, const int64_t *live) {
    uint32_t *rank = NEW_ARRAY(s->arena, uint32_t, s->count);
    Ranked *ranked = NEW_ARRAY(s->arena, Ranked, s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        double life = life_of(&s->item[i]), bytes = (double)s->item[i].bytes, highest = 0;
        for (uint32_t r = 0; r < s->runs[i]; r++)
            for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++)
                if ((double)live[t] > highest) highest = (double)live[t];
        switch (order) {
        case ORDER_LIFE: ranked[i] = (Ranked){{life, bytes}, i}; break;
        case ORDER_LIVE_LIFE: ranked[i] = (Ranked){{highest, life}, i}; break;
        case ORDER_BYTES: ranked[i] = (Ranked){{bytes, life}, i}; break;
        default: ranked[i] = (Ranked){{highest, bytes}, i}; break;
        }
    }
    qsort(ranked, s->count, sizeof *ranked, ranked_compare);
    for (uint32_t k = 0; k < s->count; k++) rank[ranked[k].item] = k;
    return rank;
}

/* Equal items are tried in order of index only. */
static void find_twins(Search *s) {
    s->twin = NEW_ARRAY(s->arena, uint32_t, s->count + 1);
    for (uint32_t i = 0; i < s->count; i++) {
        const PackExactItem *item = &s->item[i];
        s->twin[i] = NONE;
        if (!s->runs[i] || item->fixed >= 0) continue;
        uint32_t t = s->run[i][0].lo;
        for (uint32_t m = s->first[t]; m < s->first[t + 1] && s->member[m] < i; m++) {
            uint32_t k = s->member[m];
            const PackExactItem *other = &s->item[k];
            if (other->bytes == item->bytes && other->align == item->align && other->fixed < 0 &&
                s->runs[k] == s->runs[i] && !memcmp(s->run[k], s->run[i], sizeof **s->run * s->runs[i]))
                s->twin[i] = k;
        }
    }
}

static Search *search_new(const PackExactItem *item, uint32_t count, Arena *arena) {
    Search *s = NEW(arena, Search);
    *s = (Search){.arena = arena, .item = item, .count = count};
    s->too_many = !find_sections(s);
    if (s->too_many) return s;
    find_twins(s);
    s->low = NEW_ARRAY(arena, int64_t, count + 1);
    s->offset = NEW_ARRAY(arena, int64_t, count + 1);
    s->floor = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->left = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->level = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->tally.bytes = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->tally.level = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->tally.ready = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->tally.reach = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->order = NEW_ARRAY(arena, uint32_t, count + 1);
    s->ready = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->reach = NEW_ARRAY(arena, int64_t, s->sections + 1);
    s->death = NEW_ARRAY(arena, uint32_t, count + 1);
    s->fixed = NEW_ARRAY(arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        s->order[i] = i;
        if (s->runs[i]) s->death[i] = s->run[i][s->runs[i] - 1].hi;
        if (s->runs[i] && item[i].fixed >= 0) s->fixed[s->fixed_count++] = i;
        for (uint32_t r = 0; r < s->runs[i]; r++)
            for (uint32_t t = s->run[i][r].lo; t < s->run[i][r].hi; t++) s->left[t] += item[i].bytes;
    }
    return s;
}

/* Items at their fixed offsets, the others as low as those allow; the levels that follow. */
static bool search_begin(Search *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        s->low[i] = -1;
        if (!s->runs[i]) s->low[i] = NOWHERE;
    }
    for (uint32_t k = 0; k < s->fixed_count; k++) s->low[s->fixed[k]] = s->item[s->fixed[k]].fixed;
    for (uint32_t i = 0; i < s->count; i++) {
        const PackExactItem *item = &s->item[i];
        if (s->runs[i] && item->bytes > s->capacity) return false;
        if (item->fixed >= 0 && s->runs[i] && item->fixed + item->bytes > s->capacity) return false;
        if (item->fixed < 0 && !raise_item(s, i, 0)) return false;
    }
    s->dirty_lo = 0;
    s->dirty_hi = s->sections;
    return settle(s);
}

/* The part [lo, hi), no lifetime of which leaves it: the orders take turns, each from the start. */
static PackExactAnswer search_turns(Search *s, uint32_t lo, uint32_t hi, uint32_t *const rank[ORDER_COUNT],
                                    uint64_t nodes) {
    uint64_t end = s->nodes + nodes;
    for (uint64_t turn = 512 + s->count;; turn *= 2)
        for (int order = 0; order < ORDER_COUNT; order++) {
            uint32_t mark = s->trail.count;
            s->rank = rank[order];
            s->limit = s->nodes + turn < end ? s->nodes + turn : end;
            PackExactAnswer answer = search_parts(s, lo, hi);
            if (answer != PACK_EXACT_UNKNOWN) return answer;
            undo(s, mark);
            s->stack.count = 0;
            if (s->nodes >= end) return PACK_EXACT_UNKNOWN;
        }
}

PackExactAnswer pack_exact(PackExactItem *item, uint32_t count, int64_t capacity, uint64_t nodes,
                           uint64_t *used, Arena *scratch) {
    Search *s = search_new(item, count, scratch);
    if (used) *used = 0;
    if (s->too_many) return PACK_EXACT_UNKNOWN;
    uint32_t *rank[ORDER_COUNT];
    int64_t *live = NEW_ARRAY(scratch, int64_t, s->sections + 1);
    memcpy(live, s->left, sizeof *live * s->sections);
    for (int order = 0; order < ORDER_COUNT; order++) rank[order] = rank_items(s, (Order)order, live);
    s->capacity = capacity;
    PackExactAnswer answer = search_begin(s) ? PACK_EXACT_FOUND : PACK_EXACT_IMPOSSIBLE;
    for (uint32_t beg = 0, end; beg < s->sections && answer != PACK_EXACT_IMPOSSIBLE; beg = end) {
        end = part_end(s, beg);
        PackExactAnswer part = search_turns(s, beg, end, rank, nodes > s->nodes ? nodes - s->nodes : 0);
        if (part != PACK_EXACT_FOUND) answer = part; /* another part may still prove it impossible */
    }
    if (used) *used = s->nodes < nodes ? s->nodes : nodes;
    if (answer != PACK_EXACT_FOUND) return answer;
    for (uint32_t i = 0; i < count; i++)
        item[i].offset = s->runs[i] ? s->offset[i] : item[i].fixed >= 0 ? item[i].fixed : 0;
    return PACK_EXACT_FOUND;
}
