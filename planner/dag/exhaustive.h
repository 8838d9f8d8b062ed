/* Every schedule of a few operations. */
#ifndef REMAT_EXACT_H
#define REMAT_EXACT_H

#include "planner/problem/problem.h"

enum { EXACT_MOST_OPS = 12 };
typedef struct ExactRuns {
    bool exists;
    double seconds;    /* first runs included */
    VEC(uint32_t) run; /* operations in order of execution */
} ExactRuns;

/* The fastest schedule within the budget if it takes less than `upper_seconds`. At most EXACT_MOST_OPS
 * operations and storages, none in place. */
ExactRuns exact_runs(const Problem *p, int64_t budget_bytes, double upper_seconds, Arena *arena);

#endif
