/* A plan and its layout, through both checkers: NULL, or what the first one of them finds wrong. */
#ifndef REMAT_TESTS_BOTH_CHECKS_H
#define REMAT_TESTS_BOTH_CHECKS_H

#include "planner/check/check.h"

static inline const char *both_checks(const Graph *g, const Cost *cost, const Plan *plan,
                                      const Layout *layout, const Budget *budget, Arena *arena) {
    const char *wrong = plan_check(g, plan, arena);
    return wrong ? wrong : layout_check(g, cost, plan, layout, budget, arena);
}

#endif
