/* Taken bytes by time, for first fit: a segment tree over time with the ranges taken during each part of it.
 * Since packed bytes are mostly contiguous, the sets stay short, and placing n items costs about n log^2 n.
 */
#ifndef REMAT_LAYOUT_PACK_TREE_H
#define REMAT_LAYOUT_PACK_TREE_H

#include "ir/base.h"

typedef struct PackRange {
    int64_t beg, end;
} PackRange;
/* Disjoint, ascending, not touching; a VEC whose first lie where it lies itself: sets are many, most are
 * small, and looking for one elsewhere takes longer than looking at it. */
enum { PACK_NEAR = 1 };
typedef struct PackRangeSet {
    PackRange *at;
    uint32_t count, capacity;
    PackRange near[PACK_NEAR];
} PackRangeSet;

/* Leaf i is compressed time i. `across` of a tree node: bytes of the items that cover its whole span but not
 * its parent's; `within`: bytes of the items placed at it or below. A lifetime meets `across` of the
 * ancestors of its canonical nodes and `within` of those nodes: only nodes that are canonical for some
 * lifetime ever hold anything that is asked for, and most are not. */
typedef struct PackNode {
    PackRangeSet across, within;
} PackNode;
typedef struct PackTree {
    Arena *arena;
    uint32_t leaves; /* a power of two */
    PackNode *node;
    uint64_t *canonical;      /* a bit a node */
    VEC(PackRangeSet *) used; /* those that may not be empty */
    uint64_t work;            /* sets looked at and ranges passed while fitting */
} PackTree;

/* The sets that a lifetime meets, and those that what is placed in it comes into: two after the number of a
 * node, its `across` and its `within`. */
typedef struct PackPath {
    uint32_t *set; /* first those it meets */
    uint32_t met, count;
} PackPath;

/* What is placed once so many of an order are, to go on from there in another that begins alike. */
typedef struct PackTreeSaved {
    uint32_t ranks; /* 0: nothing is saved */
    int64_t height;
    uint64_t work; /* that fitting them took */
    VEC(PackRangeSet *) set;
    VEC(uint32_t) count;
    VEC(PackRange) range;
} PackTreeSaved;

PackTree pack_tree_new(uint32_t times, Arena *arena);
/* Said once of every lifetime [lo, hi) that will be asked about or added, before the first is. */
void pack_tree_expect(PackTree *tree, uint32_t lo, uint32_t hi);
void pack_tree_clear(PackTree *tree);
/* Once fitting took EFFORT_PACK_TOP_WORK, items are put on top of what is placed: every set that is met then
 * takes one step, where holes that fit nothing would make n items take n^2. */
bool pack_tree_is_on_top(const PackTree *tree);
/* Bytes [beg, end) are taken during [lo, hi). */
void pack_tree_add(PackTree *tree, uint32_t lo, uint32_t hi, int64_t beg, int64_t end);
/* The lowest multiple of `align` with `bytes` free above it during [lo, hi). */
int64_t pack_tree_fit(PackTree *tree, uint32_t lo, uint32_t hi, int64_t bytes, int64_t align);
/* Both by sets that were found before: an item is placed again and again, in ever another order. */
PackPath pack_tree_path(const PackTree *tree, uint32_t lo, uint32_t hi, Arena *arena);
void pack_tree_add_on(PackTree *tree, const PackPath *path, int64_t beg, int64_t end);
int64_t pack_tree_fit_on(PackTree *tree, const PackPath *path, int64_t bytes, int64_t align);
/* `saved` keeps its room from one call to the next; `ranks`, `height` and `work` in it are the caller's. */
void pack_tree_save(const PackTree *tree, PackTreeSaved *saved);
void pack_tree_restore(PackTree *tree, const PackTreeSaved *saved);

#endif
