/* The two checkers: is a plan right, and is a layout right for it? NULL when it is, else the first thing
 * wrong, naming step, node and bytes. They share no code with the planner: they see the graph and what was
 * planned, nothing else. */
#ifndef REMAT_CHECK_CHECK_H
#define REMAT_CHECK_CHECK_H

#include "planner/plan.h"

/* Every read sees the right version of the right value, and every node runs. */
const char *plan_check(const Graph *g, const Plan *plan, Arena *arena);
/* Of a plan that passes plan_check: no two live buffers share a byte, lifetimes and heights are exact, and
 * the layout keeps to `budget`; NULL: to none. */
const char *layout_check(const Graph *g, const Cost *cost, const Plan *plan, const Layout *layout,
                         const Budget *budget, Arena *arena);

#endif
