/* Every schedule of a few operations. */
#ifndef REMAT_DAG_EXHAUSTIVE_H
#define REMAT_DAG_EXHAUSTIVE_H

#include "planner/problem/problem.h"

enum { EXHAUSTIVE_MOST_OPS = 16 };
typedef struct ExhaustiveRuns {
    bool exists;
    double seconds;    /* of reruns */
    VEC(uint32_t) run; /* operations in order of execution */
} ExhaustiveRuns;

/* The fastest schedule within the budget if its reruns take less than `upper_seconds`. At most
 * EXHAUSTIVE_MOST_OPS operations and storages, none in place. */
ExhaustiveRuns exhaustive_runs(const Problem *p, int64_t budget_bytes, double upper_seconds, Arena *arena);

#endif
