/* Small random planning problems and their exact optima, for tests of bounds and of the search. */
#ifndef REMAT_BRUTE_H
#define REMAT_BRUTE_H

#include "planner/problem/problem.h"

/* At most `ops` operations, and 12 storages or as many; the same seed, the same problem. `plain`: one output
 * an operation, no workspace, nothing in place, everything may run again. */
Problem *random_problem(uint64_t seed, uint32_t ops, bool plain, Arena *arena);
/* Some of its operations read what the operation of a later time writes over: they may not run again after
 * it. */
void random_ends(Problem *p, uint64_t seed, Arena *arena);
/* Least seconds of any schedule whose live bytes stay within the budget, by exhaustive search over the states
 * (operations run, storages live). INFINITY: there is none. At most 12 storages. */
double brute_seconds(const Problem *p, int64_t budget_bytes, Arena *arena);

#endif
