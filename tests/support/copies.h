/* Puts copies to host memory and back into plans that have none, for tests of everything behind the planner.
 */
#ifndef REMAT_TESTS_COPIES_H
#define REMAT_TESTS_COPIES_H

#include "planner/plan.h"

/* The plan with OFFLOAD, FREE and FETCH steps at random valid places: of transient storages that no node
 * writes over, dropped from the device between two of their uses; about one use in `rarity`. One copy may be
 * fetched several times. The seconds stay those of the plan without. */
Plan with_copies(const Graph *g, const Plan *plan, uint64_t *seed, uint32_t rarity, Arena *arena);
/* Its layout; fills the plan's bytes. */
Layout *copies_layout(const Graph *g, const Cost *cost, Plan *plan, Arena *arena);

#endif
