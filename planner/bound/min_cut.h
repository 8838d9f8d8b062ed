/* Minimum s-t cuts of a fixed network whose capacities change between solves. */
#ifndef REMAT_BOUND_MIN_CUT_H
#define REMAT_BOUND_MIN_CUT_H

#include "ir/base.h"

enum { MIN_CUT_SOURCE = 0, MIN_CUT_SINK = 1 }; /* the first two vertices */
#define MIN_CUT_INFINITE ((int64_t)1 << 61)    /* finite capacities must sum to less */

typedef struct MinCut MinCut;
MinCut *min_cut_new(uint32_t vertices, Arena *arena);
uint32_t min_cut_arc(MinCut *cut, uint32_t from, uint32_t to,
                     int64_t capacity); /* its id; before the first solve */
void min_cut_capacity(MinCut *cut, uint32_t id, int64_t capacity);
/* Value of a minimum cut. Flow found before is kept where it still fits. */
int64_t min_cut_solve(MinCut *cut);
/* After a solve: whether `vertex` is on the source's side of the smallest minimum cut. */
bool min_cut_source_side(const MinCut *cut, uint32_t vertex);

#endif
