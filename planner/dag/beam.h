/* A schedule built from its end: beam search over the storages demanded at each time. Runs come in any order,
 * as often as needed, so it finds schedules where the grid of runs has none. */
#ifndef REMAT_DAG_BEAM_H
#define REMAT_DAG_BEAM_H

#include "planner/problem/deadline.h"
#include "planner/problem/problem.h"

typedef struct BeamRequest {
    const Problem *p; /* every operation may run again, none in place */
    int64_t budget_bytes;
    double price;             /* seconds a byte over the budget at an earlier time is thought to cost */
    double bytes_weight;      /* of a byte demanded at all, to one over the budget */
    uint32_t width;           /* sets carried from one time to the one before */
    uint32_t enough;          /* sets followed at each time once one got to the time before */
    uint32_t followed;        /* and as long as none did */
    const Deadline *deadline; /* nothing is found after it; NULL: never */
} BeamRequest;

typedef struct BeamRuns {
    bool found;
    VEC(uint32_t) run; /* operations in order of execution, first runs included */
} BeamRuns;

BeamRuns beam_runs(const BeamRequest *request, Arena *arena);

#endif
