/* The choice among micro-batches and tilings: calls the stages (stages.h) for those worth trying. */
#ifndef REMAT_BATCH_SEARCH_H
#define REMAT_BATCH_SEARCH_H

#include "frontend/driver/stages.h"

/* The training program of the micro-batch and tiling with the most tokens a second among those that fit the
 * arena's budget; when none fits, of what comes nearest. `told`: the plan's reasons say why there are tiles,
 * for which the whole is planned too. */
Program batch_search(const Compilation *c, Policy policy, Budget budget, bool told);

/* What is there in every micro-batch and tiling: weights, the optimizer's states and, where each of them adds
 * gradients up, these. Nothing fits an arena that is smaller, as the second says. */
int64_t batch_search_surely_bytes(const Compilation *c);
bool batch_search_never_fits(const Compilation *c, Budget budget);

/* What needs the least memory of all that `batch_search` would choose from. `bytes_alone`: of several that
 * need as much, whichever is found soonest. */
Program batch_search_least(const Compilation *c, Policy policy, bool bytes_alone);

/* The smallest budget of the arena with which the file fits, of the first micro-batch that does, whole or
 * else in its finest tiles; 0: none does. Found sooner than the fastest plan. */
int64_t batch_search_fitting_bytes(const Compilation *c);
/* Whether the plan that checkpoints every block fits, one of those the planner chooses from: found at once.
 */
bool batch_search_surely_fits(const Compilation *c);

const Program *batch_search_whole(const Compilation *c); /* of the smallest micro-batch */
/* Whether each plan of such a program takes seconds: it is not cut into tiles, and no changes to it are
 * tried. */
bool batch_search_takes_seconds(const Program *program);

#endif
