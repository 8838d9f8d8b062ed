/* The lowest packing of items with gaps, alignments and fixed offsets: liveness bound, first fit in a few
 * orders, then exact searches at heights between what is proved and what is reached.
 *
 * In: items. Out: their offsets, the height, the height below which there is proved to be no packing. */
#include "planner/layout/pack_lowest.h"

#include <stdlib.h>
#include <string.h>

/* ---- bound ---- */

typedef struct Event {
    uint32_t time;
    int64_t bytes; /* deaths are negative and come first */
} Event;

static int event_compare(const void *left, const void *right) {
    const Event *a = left, *b = right;
    if (a->time != b->time) return a->time < b->time ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* The highest sum of live bytes, each item's rounded up to `grain`. */
static int64_t highest_sum(const PackExactItem *item, uint32_t count, int64_t grain, Arena *scratch) {
    uint32_t n = 0;
    int64_t live = 0, highest = 0;
    for (uint32_t i = 0; i < count; i++) n += 2 * item[i].runs;
    Event *event = NEW_ARRAY(scratch, Event, n + 1);
    n = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t r = 0; r < item[i].runs; r++) {
            int64_t bytes = (item[i].bytes + grain - 1) / grain * grain;
            event[n++] = (Event){item[i].run[r].lo, bytes};
            event[n++] = (Event){item[i].run[r].hi, -bytes};
        }
    }
    qsort(event, n, sizeof *event, event_compare);
    for (uint32_t e = 0; e < n; e++) {
        live += event[e].bytes;
        if (live > highest) highest = live;
    }
    return highest;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t pack_lowest_live(const PackExactItem *item, uint32_t count, Arena *scratch) {
    int64_t highest = highest_sum(item, count, 1, scratch);
    for (uint32_t i = 0; i < count; i++)
        if (item[i].runs && item[i].fixed >= 0 && item[i].fixed + item[i].bytes > highest)
            highest = item[i].fixed + item[i].bytes;
    return highest;
}

/* Where all begin at multiples of some bytes, each takes up as many of them as it touches, but for the
 * topmost. */
int64_t pack_lowest_bound(const PackExactItem *item, uint32_t count, Arena *scratch) {
    int64_t live = pack_lowest_live(item, count, scratch), grain = 0, most_over = 0;
    for (uint32_t i = 0; i < count; i++)
        if (item[i].runs) grain = common_divisor(item[i].align > 1 ? item[i].align : 1, grain);
    if (grain <= 1) return live;
    for (uint32_t i = 0; i < count; i++) {
        int64_t over = (item[i].bytes + grain - 1) / grain * grain - item[i].bytes;
        if (item[i].runs && over > most_over) most_over = over;
    }
    int64_t aligned = highest_sum(item, count, grain, scratch) - most_over;
    return aligned > live ? aligned : live;
}

/* ---- first fit ---- */

typedef struct Place {
    double key[2];
    uint32_t item;
    int64_t beg, end;
} Place;

static int key_compare(const void *left, const void *right) {
    const Place *a = left, *b = right;
    for (int k = 0; k < 2; k++)
        if (a->key[k] != b->key[k]) return a->key[k] > b->key[k] ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static int begin_compare(const void *left, const void *right) {
    const Place *a = left, *b = right;
    if (a->beg != b->beg) return a->beg < b->beg ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static bool meet(const PackExactItem *a, const PackExactItem *b) {
    for (uint32_t i = 0, j = 0; i < a->runs && j < b->runs;) {
        if (a->run[i].lo < b->run[j].hi && b->run[j].lo < a->run[i].hi) return true;
        if (a->run[i].hi < b->run[j].hi)
            i++;
        else
            j++;
    }
    return false;
}

/* The lowest offset for `item` beside those placed, which are in order of begin. */
static int64_t lowest_fit(const PackExactItem *item, const PackExactItem *all, const Place *placed,
                          uint32_t count) {
    int64_t at = 0, align = item->align > 1 ? item->align : 1;
    for (uint32_t p = 0; p < count && placed[p].beg < at + item->bytes; p++)
        if (placed[p].end > at && meet(item, &all[placed[p].item]))
            at = (placed[p].end + align - 1) / align * align;
    return at;
}

static int64_t height_of(const PackExactItem *item, uint32_t count) {
    int64_t height = 0;
    for (uint32_t i = 0; i < count; i++)
        if (item[i].runs && item[i].offset + item[i].bytes > height) height = item[i].offset + item[i].bytes;
    return height;
}

static void fit_in_order(PackExactItem *item, uint32_t count, Place *order, Place *placed) {
    for (uint32_t k = 0; k < count; k++) {
        PackExactItem *next = &item[order[k].item];
        next->offset = next->fixed >= 0 ? next->fixed : 0;
        if (!next->runs) continue;
        if (next->fixed < 0) next->offset = lowest_fit(next, item, placed, k);
        uint32_t at = k;
        Place here = {.item = order[k].item, .beg = next->offset, .end = next->offset + next->bytes};
        for (; at && begin_compare(&placed[at - 1], &here) > 0; at--) placed[at] = placed[at - 1];
        placed[at] = here;
    }
}

int64_t pack_lowest_first_fit(PackExactItem *item, uint32_t count, Arena *scratch) {
    Place *order = NEW_ARRAY(scratch, Place, count + 1), *placed = NEW_ARRAY(scratch, Place, count + 1);
    int64_t *offset = NEW_ARRAY(scratch, int64_t, count + 1), best = INT64_MAX;
    for (int kind = 0; kind < 3; kind++) {
        for (uint32_t i = 0; i < count; i++) {
            double life = 0, bytes = (double)item[i].bytes;
            for (uint32_t r = 0; r < item[i].runs; r++) life += item[i].run[r].hi - item[i].run[r].lo;
            order[i] = (Place){.key = {kind == 0   ? life
                                       : kind == 1 ? bytes
                                                   : life * bytes,
                                       bytes},
                               .item = i};
            /* empty ones first, then the fixed: they are in nobody's way, or in everybody's */
            if (!item[i].runs || item[i].fixed >= 0) order[i].key[0] = item[i].runs ? 1e300 : 1e301;
        }
        qsort(order, count, sizeof *order, key_compare);
        memset(placed, 0, sizeof *placed * count);
        fit_in_order(item, count, order, placed);
        int64_t height = height_of(item, count);
        if (height >= best) continue;
        best = height;
        for (uint32_t i = 0; i < count; i++) offset[i] = item[i].offset;
    }
    for (uint32_t i = 0; i < count; i++) item[i].offset = offset[i];
    return count ? best : 0;
}

/* ---- between the two ---- */

/* Every end of a canonical packing is a multiple of this. */
static int64_t grain_of(const PackExactItem *item, uint32_t count) {
    int64_t grain = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!item[i].runs) continue;
        grain = common_divisor(item[i].bytes, grain);
        if (item[i].align > 1) grain = common_divisor(item[i].align, grain);
        if (item[i].fixed > 0) grain = common_divisor(item[i].fixed, grain);
    }
    return grain ? grain : 1;
}

int64_t pack_lowest(PackExactItem *item, uint32_t count, int64_t height, int64_t goal, int64_t slack,
                    uint64_t nodes, PackLowestProof *proof, Arena *scratch) {
    Arena *arena = arena_new();
    int64_t *offset = NEW_ARRAY(scratch, int64_t, count + 1), grain = grain_of(item, count);
    int64_t proved = pack_lowest_bound(item, count, scratch);
    uint64_t left = nodes, used;
    proved = (proved + grain - 1) / grain * grain;
    if (goal < proved) goal = proved;
    for (uint32_t i = 0; i < count; i++) offset[i] = item[i].offset;
    /* The goal itself is the likeliest height, and gets half; the rest halves what lies between. */
    for (bool first = true; left && goal < height && height - goal > slack; first = false) {
        int64_t middle = first ? goal : goal + (height - goal) / 2 / grain * grain;
        uint64_t share = first ? (left + 1) / 2 : (left + 3) / 4;
        if (share < 512 + count)
            share = 512 + count < left ? 512 + count : left; /* enough to place them all */
        arena_reset(arena);
        PackExactAnswer answer = pack_exact(item, count, middle, share, &used, arena);
        left -= used < left ? used : left;
        if (answer == PACK_EXACT_FOUND) {
            height = height_of(item, count);
            for (uint32_t i = 0; i < count; i++) offset[i] = item[i].offset;
            continue;
        }
        goal = middle + grain;
        if (answer == PACK_EXACT_IMPOSSIBLE) proved = goal;
    }
    for (uint32_t i = 0; i < count; i++) item[i].offset = offset[i];
    arena_free(arena);
    if (proof) *proof = (PackLowestProof){proved < height ? proved : height, nodes - left};
    return height;
}
