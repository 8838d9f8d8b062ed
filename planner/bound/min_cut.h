/* Minimum s-t cuts of a fixed network whose capacities change between solves. */
#ifndef REMAT_CUT_H
#define REMAT_CUT_H

#include "ir/base.h"

enum { CUT_SOURCE = 0, CUT_SINK = 1 };  /* the first two vertices */
#define CUT_INFINITE ((int64_t)1 << 61) /* finite capacities must sum to less */

typedef struct Cut Cut;
Cut *cut_new(uint32_t vertices, Arena *arena);
uint32_t cut_arc(Cut *cut, uint32_t from, uint32_t to, int64_t capacity); /* its id; before the first solve */
void cut_capacity(Cut *cut, uint32_t arc, int64_t capacity);
/* Value of a minimum cut. Flow found before is kept where it still fits. */
int64_t cut_solve(Cut *cut);
/* After a solve: whether `vertex` is on the source's side of the smallest minimum cut. */
bool cut_source_side(const Cut *cut, uint32_t vertex);

#endif
