/* Several local searches and their offspring: schedules from different starts, and crosses of two of them
 * improved in turn, so that one start's valley does not decide. */
#ifndef REMAT_DAG_MEMETIC_H
#define REMAT_DAG_MEMETIC_H

#include "planner/dag/local_search.h"

/* Improves `best`, which fits, until its seconds are at most `enough_seconds`, about `changes` of the grid
 * were made, it is late, or several searches end at the same schedule. */
void memetic_improve(const Problem *p, LocalSearch *local, Schedule *best, double enough_seconds,
                     uint64_t changes, Arena *arena);

#endif
