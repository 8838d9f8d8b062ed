/* Local search on the grid of runs under a budget: ruin and recreate. Seeded and counted, so that the same
 * call gives the same schedule. */
#ifndef REMAT_REFINE_H
#define REMAT_REFINE_H

#include "planner/problem/deadline.h"
#include "planner/dag/grid.h"

typedef struct Schedule {
    bool found;
    double seconds; /* of the reruns */
    int64_t peak_bytes;
    VEC(uint32_t) cell; /* reruns, ascending */
} Schedule;

/* From so many operations on, a problem gets less search and fewer bounds. */
enum { LARGE_OPS = 400 };

typedef struct Refiner Refiner;
/* `passes`: rows of the grid by time; NULL: one each. Past the deadline everything below ends with what it
 * has. */
Refiner *refiner_new(const Problem *p, const uint32_t *passes, const Deadline *deadline, Arena *arena);
bool refiner_is_late(const Refiner *refiner);
const Grid *refiner_grid(const Refiner *refiner); /* which its schedules are on */
void refiner_limit(Refiner *refiner, int64_t budget_bytes);
int64_t refiner_budget(const Refiner *refiner);

/* Starts from `cells`: adds reruns until the budget holds, removes what is not needed, and takes the result
 * into `best` if it is cheaper. False when it could not be made to fit. */
bool refiner_try(Refiner *refiner, const uint32_t *cells, uint32_t count, Schedule *best);
uint64_t refiner_changes(const Refiner *refiner); /* so far: the measure of its work */
/* The same from no reruns, with some luck in what is given up first. */
bool refiner_start(Refiner *refiner, double noise, Schedule *start);
/* Improves `best`, which fits, until its seconds are at most `enough_seconds` or `changes` of the grid were
 * made. Returns the changes made. */
uint64_t refiner_improve(Refiner *refiner, Schedule *best, double enough_seconds, uint64_t changes);

/* Lowers the peak of `least`, which was found, step by step and at most to `target_bytes`. True when it got
 * there. Leaves the budget at the target. */
bool refiner_shrink(Refiner *refiner, Schedule *least, int64_t target_bytes, uint64_t changes);

#endif
