/* See pack_tree.h. In: lifetimes and the bytes they take, one after the other; out: where bytes are free. */
#include "planner/layout/pack_tree.h"
#include "planner/effort.h"

#include <string.h>

PackTree pack_tree_new(uint32_t times, Arena *arena) {
    PackTree tree = {.arena = arena, .leaves = 1};
    while (tree.leaves < times) tree.leaves *= 2;
    tree.node = NEW_ARRAY(arena, PackNode, tree.leaves * 2);
    tree.canonical = NEW_ARRAY(arena, uint64_t, tree.leaves * 2 / 64 + 1);
    return tree;
}

static bool is_canonical(const PackTree *tree, uint32_t node) {
    return tree->canonical[node / 64] >> node % 64 & 1;
}

void pack_tree_expect(PackTree *tree, uint32_t lo, uint32_t hi) {
    for (uint32_t l = lo + tree->leaves, h = hi + tree->leaves; l < h; l /= 2, h /= 2) {
        if (l & 1) tree->canonical[l / 64] |= UINT64_C(1) << l % 64, l++;
        if (h & 1) h--, tree->canonical[h / 64] |= UINT64_C(1) << h % 64;
    }
}

void pack_tree_clear(PackTree *tree) {
    for (uint32_t i = 0; i < tree->used.count; i++) tree->used.at[i]->count = 0;
    tree->used.count = 0;
}

/* Index of the first range that ends after `at`; no earlier one than `from` does. Looks near `from` first. */
static uint32_t range_after(const PackRangeSet *set, int64_t at, uint32_t from) {
    uint32_t low = from, high = from, step = 1;
    while (high < set->count && set->at[high].end <= at) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    if (high > set->count) high = set->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (set->at[middle].end > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool pack_tree_is_on_top(const PackTree *tree) {
    return tree->work > EFFORT_PACK_TOP_WORK;
}

static void range_add(PackTree *tree, PackRangeSet *set, int64_t beg, int64_t end) {
    if (!set->count) *vec_add(tree->arena, &tree->used) = set;
    if (!set->at) set->at = set->near, set->capacity = PACK_NEAR;
    if (pack_tree_is_on_top(tree) && set->count) { /* only the highest end is asked for from here on */
        if (set->at[set->count - 1].end < end) set->at[set->count - 1].end = end;
        return;
    }
    uint32_t count = set->count; /* mostly it comes on top */
    if (count && beg >= set->at[0].beg && end <= set->at[0].end) return;
    PackRange *top = count ? &set->at[count - 1] : NULL;
    if (top && beg >= top->beg && beg <= top->end) {
        if (end > top->end) top->end = end;
        return;
    }
    uint32_t first = count && set->at[count - 1].end < beg ? count : range_after(set, beg - 1, 0),
             last = first; /* [first, last) overlap or touch the new one */
    while (last < set->count && set->at[last].beg <= end) last++;
    if (first < last) {
        if (set->at[first].beg < beg) beg = set->at[first].beg;
        if (set->at[last - 1].end > end) end = set->at[last - 1].end;
    } else {
        (void)vec_add(tree->arena, set);
        tree->work += (set->count - first) / 16; /* what is moved costs less than what is looked at */
        memmove(&set->at[first + 1], &set->at[first], sizeof(PackRange) * (set->count - 1 - first));
        set->at[first] = (PackRange){beg, end};
        return;
    }
    set->at[first] = (PackRange){beg, end};
    memmove(&set->at[first + 1], &set->at[last], sizeof(PackRange) * (set->count - last));
    set->count -= last - first - 1;
}

void pack_tree_save(const PackTree *tree, PackTreeSaved *saved) {
    uint32_t used = tree->used.count;
    saved->set.count = saved->count.count = saved->range.count = 0;
    vec_room(tree->arena, &saved->set, used);
    vec_room(tree->arena, &saved->count, used);
    saved->set.count = saved->count.count = used;
    for (uint32_t i = 0; i < used; i++) {
        PackRangeSet *set = saved->set.at[i] = tree->used.at[i];
        saved->count.at[i] = set->count;
        vec_room(tree->arena, &saved->range, set->count);
        memcpy(&saved->range.at[saved->range.count], set->at, sizeof *set->at * set->count);
        saved->range.count += set->count;
    }
}

void pack_tree_restore(PackTree *tree, const PackTreeSaved *saved) {
    pack_tree_clear(tree);
    const PackRange *from = saved->range.at;
    vec_room(tree->arena, &tree->used, saved->set.count);
    tree->used.count = saved->set.count;
    for (uint32_t i = 0; i < saved->set.count; i++) {
        PackRangeSet *set = tree->used.at[i] = saved->set.at[i];
        set->count = saved->count.at[i];
        memcpy(set->at, from, sizeof *from * set->count);
        from += set->count;
    }
}

enum { VISIT_MAX = 160 }; /* two paths of at most 32 levels, canonical nodes and ancestors */

enum { ACROSS, WITHIN };
static uint32_t set_number(uint32_t node, int which) {
    return 2 * node + (uint32_t)which;
}

static PackRangeSet *set_of(const PackTree *tree, uint32_t number) {
    PackNode *node = &tree->node[number / 2];
    return number % 2 == WITHIN ? &node->within : &node->across;
}

/* The range sets that a lifetime [lo, hi) meets; how many. */
static uint32_t sets_met(const PackTree *tree, uint32_t lo, uint32_t hi, uint32_t set[VISIT_MAX]) {
    uint32_t count = 0, low_leaf = lo + tree->leaves, high_leaf = hi - 1 + tree->leaves;
    for (uint32_t l = low_leaf, h = high_leaf + 1; l < h; l /= 2, h /= 2) {
        if (l & 1) set[count++] = set_number(l++, WITHIN);
        if (h & 1) set[count++] = set_number(--h, WITHIN);
    }
    /* Every ancestor of both end leaves; those inside a canonical node only repeat what it holds. */
    for (uint32_t l = low_leaf, h = high_leaf; l; l /= 2, h /= 2) {
        if (is_canonical(tree, l)) set[count++] = set_number(l, ACROSS);
        if (h != l && is_canonical(tree, h)) set[count++] = set_number(h, ACROSS);
    }
    return count;
}

/* Those that what is placed in it comes into. */
static uint32_t sets_filled(const PackTree *tree, uint32_t lo, uint32_t hi, uint32_t set[VISIT_MAX]) {
    uint32_t count = 0, low_leaf = lo + tree->leaves, high_leaf = hi - 1 + tree->leaves;
    for (uint32_t l = low_leaf, h = high_leaf + 1; l < h; l /= 2, h /= 2) {
        if (l & 1) set[count++] = set_number(l, ACROSS), set[count++] = set_number(l++, WITHIN);
        if (h & 1) h--, set[count++] = set_number(h, ACROSS), set[count++] = set_number(h, WITHIN);
    }
    /* Ancestors: exactly those nodes above the end leaves whose span holds a canonical node. */
    for (uint32_t l = low_leaf / 2, h = high_leaf / 2, span = 2; l; l /= 2, h /= 2, span *= 2) {
        uint32_t first = l * span - tree->leaves, other = h * span - tree->leaves;
        if (is_canonical(tree, l) && (lo > first || hi < first + span)) set[count++] = set_number(l, WITHIN);
        if (h != l && is_canonical(tree, h) && (lo > other || hi < other + span))
            set[count++] = set_number(h, WITHIN);
    }
    return count;
}

PackPath pack_tree_path(const PackTree *tree, uint32_t lo, uint32_t hi, Arena *arena) {
    uint32_t set[2 * VISIT_MAX], met = sets_met(tree, lo, hi, set);
    uint32_t count = met + sets_filled(tree, lo, hi, set + met);
    PackPath path = {.set = arena_alloc_raw(arena, sizeof *set * count), .met = met, .count = count};
    memcpy(path.set, set, sizeof *set * count);
    return path;
}

void pack_tree_add_on(PackTree *tree, const PackPath *path, int64_t beg, int64_t end) {
    for (uint32_t i = path->met; i < path->count; i++) range_add(tree, set_of(tree, path->set[i]), beg, end);
}

enum { FEW = 4 }; /* ranges that are looked at one after the other */

int64_t pack_tree_fit_on(PackTree *tree, const PackPath *path, int64_t bytes, int64_t align) {
    const PackRangeSet *visit[VISIT_MAX];
    uint32_t count = 0, agreed = 0, next[VISIT_MAX];
    int64_t at = 0;
    for (uint32_t i = 0; i < path->met; i++) {
        visit[count] = set_of(tree, path->set[i]);
        count += visit[count]->count > 0;
    }
    for (uint32_t i = 0; pack_tree_is_on_top(tree) && i < count; i++)
        if (visit[i]->at[visit[i]->count - 1].end > at) at = visit[i]->at[visit[i]->count - 1].end;
    if (pack_tree_is_on_top(tree)) return (at + align - 1) / align * align;
    memset(next, 0, sizeof *next * count);
    for (uint32_t i = 0; agreed < count; i = i + 1 < count ? i + 1 : 0) {
        const PackRangeSet *set = visit[i];
        uint32_t r = next[i], near = r + FEW < set->count ? r + FEW : set->count;
        bool moved = false;
        while (r < near && set->at[r].end <= at) r++;
        if (r == near && near < set->count) r = range_after(set, at, r);
        tree->work++;
        for (; r < set->count && set->at[r].beg < at + bytes; r++) {
            tree->work++;
            at = (set->at[r].end + align - 1) / align * align;
            moved = true;
        }
        next[i] = r;
        agreed = moved ? 1 : agreed + 1;
    }
    return at;
}

void pack_tree_add(PackTree *tree, uint32_t lo, uint32_t hi, int64_t beg, int64_t end) {
    uint32_t set[VISIT_MAX];
    PackPath path = {.set = set, .count = sets_filled(tree, lo, hi, set)};
    pack_tree_add_on(tree, &path, beg, end);
}

int64_t pack_tree_fit(PackTree *tree, uint32_t lo, uint32_t hi, int64_t bytes, int64_t align) {
    uint32_t set[VISIT_MAX];
    PackPath path = {.set = set, .met = sets_met(tree, lo, hi, set)};
    return pack_tree_fit_on(tree, &path, bytes, align);
}
