/* Whether the operands of one operation can be live all at once within a budget, and runs that make them so.
 * Where a budget leaves hardly more than those operands, this decides whether any schedule fits. */
#ifndef REMAT_REACH_H
#define REMAT_REACH_H

#include "problem.h"

typedef struct Reach {
    bool impossible;    /* no sequence of runs makes them all: nothing fits the budget */
    VEC(uint32_t) run;  /* operations, in order; they make the operands from what is `held` */
    VEC(uint32_t) held; /* storages live before, as few bytes as were found */
} Reach;

/* Looks at no more than `states` sets. */
Reach reach_operands(const Problem *p, uint32_t op, int64_t budget_bytes, uint32_t states, Arena *arena);

#endif
