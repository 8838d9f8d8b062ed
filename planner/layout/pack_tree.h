/* Taken bytes by time, for first fit: a segment tree over time with the ranges taken during each part of it.
 * Since packed bytes are mostly contiguous, the sets stay short, and placing n items costs about n log^2 n.
 */
#ifndef REMAT_PACK_TREE_H
#define REMAT_PACK_TREE_H

#include "ir/base.h"

typedef struct Range {
    int64_t beg, end;
} Range;
typedef VEC(Range) RangeSet; /* disjoint, ascending, not touching */

/* Leaf i is compressed time i. `across` of a tree node: bytes of the items that cover its whole span but not
 * its parent's; `within`: bytes of the items placed at it or below. A lifetime meets `across` of the
 * ancestors of its canonical nodes and `within` of those nodes. */
typedef struct Tree {
    Arena *arena;
    uint32_t leaves; /* a power of two */
    RangeSet *across, *within;
    VEC(RangeSet *) used; /* those that may not be empty */
    uint64_t work;        /* sets looked at and ranges passed while fitting */
} Tree;

/* What is placed once so many of an order are, to go on from there in another that begins alike. */
typedef struct Saved {
    uint32_t ranks; /* 0: nothing is saved */
    int64_t height;
    uint64_t work; /* that fitting them took */
    VEC(RangeSet *) set;
    VEC(uint32_t) count;
    VEC(Range) range;
} Saved;

/* Once fitting took TOP_WORK, items are put on top of what is placed: every set that is met then takes one
 * step, where holes that fit nothing would make n items take n^2. */
enum { TOP_WORK = 300000000 };

Tree tree_new(uint32_t times, Arena *arena);
void tree_clear(Tree *tree);
bool tree_is_on_top(const Tree *tree);
/* Bytes [beg, end) are taken during [lo, hi). */
void tree_add(Tree *tree, uint32_t lo, uint32_t hi, int64_t beg, int64_t end);
/* The lowest multiple of `align` with `bytes` free above it during [lo, hi). */
int64_t tree_fit(Tree *tree, uint32_t lo, uint32_t hi, int64_t bytes, int64_t align);
/* `saved` keeps its room from one call to the next; `ranks`, `height` and `work` in it are the caller's. */
void tree_save(const Tree *tree, Saved *saved);
void tree_restore(Tree *tree, const Saved *saved);

#endif
