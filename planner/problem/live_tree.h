/* Live bytes along a sequence of runs: the highest of a range, and bytes added to a range, in logarithmic
 * time. */
#ifndef REMAT_PROBLEM_LIVE_TREE_H
#define REMAT_PROBLEM_LIVE_TREE_H

#include "ir/base.h"

typedef struct LiveTree {
    Arena *arena;
    uint32_t leaves, capacity; /* leaves: a power of two */
    int64_t *highest;          /* by tree node: of its span, without what ancestors add */
    int64_t *added;            /* by tree node: to its whole span */
} LiveTree;

void live_tree_load(LiveTree *tree, const int64_t *live, uint32_t count);
/* Ranges are half-open, [lo, hi). */
void live_tree_add(LiveTree *tree, uint32_t lo, uint32_t hi, int64_t bytes);
int64_t live_tree_highest(const LiveTree *tree, uint32_t lo, uint32_t hi); /* INT64_MIN when empty */
uint32_t live_tree_peak(const LiveTree *tree, int64_t *bytes);             /* the first highest run */

#endif
