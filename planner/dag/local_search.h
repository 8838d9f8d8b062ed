/* Local search on the grid of runs under a budget: ruin and recreate. Seeded and counted, so that the same
 * call gives the same schedule. */
#ifndef REMAT_DAG_LOCAL_SEARCH_H
#define REMAT_DAG_LOCAL_SEARCH_H

#include "planner/problem/deadline.h"
#include "planner/dag/grid.h"

typedef struct Schedule {
    bool found;
    double seconds; /* of the reruns */
    int64_t peak_bytes;
    VEC(uint32_t) cell; /* reruns, ascending */
} Schedule;

typedef struct LocalSearch LocalSearch;
/* `passes`: rows of the grid by time; NULL: one each. Past the deadline everything below ends with what it
 * has. */
LocalSearch *local_search_new(const Problem *p, const uint32_t *passes, const Deadline *deadline,
                              Arena *arena);
bool local_search_is_late(const LocalSearch *local);
const Grid *local_search_grid(const LocalSearch *local); /* which its schedules are on */
void local_search_limit(LocalSearch *local, int64_t budget_bytes);
int64_t local_search_budget(const LocalSearch *local);

/* Starts from `cells`: adds reruns until the budget holds, removes what is not needed, and takes the result
 * into `best` if it is cheaper. False when it could not be made to fit. */
bool local_search_try(LocalSearch *local, const uint32_t *cells, uint32_t count, Schedule *best);
uint64_t local_search_changes(const LocalSearch *local); /* so far: the measure of its work */
/* The same from no reruns, with some luck in what is given up first. */
bool local_search_start(LocalSearch *local, double noise, Schedule *start);
/* Improves `best`, which fits, until its seconds are at most `enough_seconds` or `changes` of the grid were
 * made. Returns the changes made. */
uint64_t local_search_improve(LocalSearch *local, Schedule *best, double enough_seconds, uint64_t changes);

/* Lowers the peak of `least`, which was found, step by step and at most to `target_bytes`. True when it got
 * there. Leaves the budget at the target. */
bool local_search_shrink(LocalSearch *local, Schedule *least, int64_t target_bytes, uint64_t changes);

#endif
