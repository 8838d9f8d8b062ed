/* The schedule of a DAG from elsewhere: the fastest that fits a budget, as far as a search finds it and
 * bounds prove it. */
#ifndef REMAT_DAG_SOLVE_H
#define REMAT_DAG_SOLVE_H

#include "planner/problem/problem.h"

/* The answer to a budget. */
typedef struct Solution {
    bool feasible;
    VEC(uint32_t) run;      /* nodes in order of execution; the smallest schedule known if infeasible */
    int64_t peak_bytes;     /* of `run` */
    double seconds;         /* of `run` */
    int64_t keep_all_bytes; /* peak of running every node once */
    double keep_all_seconds;
    double lower_bound_seconds; /* no schedule within the budget takes less; INFINITY: there is none */
    bool proved;                /* nothing is faster within the budget, but for rounding */
} Solution;

typedef struct SolveRequest {
    const Problem *problem; /* nothing in it runs in place */
    int64_t budget_bytes;
    uint64_t changes;    /* of the local search; 0: the default */
    double time_seconds; /* give up improving after this long; 0: never. The only thing read from a clock. */
    uint32_t exhaustive_ops; /* problems of at most this many operations are searched exhaustively */
} SolveRequest;
Solution solve_dag(const SolveRequest *request, Arena *arena);

#endif
