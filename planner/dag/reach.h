/* Whether the operands of one operation can be live all at once within a budget. Where a budget leaves hardly
 * more than those operands, this decides whether any schedule fits. */
#ifndef REMAT_DAG_REACH_H
#define REMAT_DAG_REACH_H

#include "planner/problem/problem.h"

/* False: no sequence of runs makes them all, so nothing fits the budget. True as well where that was not
 * settled after `states` sets. */
bool reach_operands(const Problem *p, uint32_t op, int64_t budget_bytes, uint32_t states);

#endif
