/* From a forward graph to a checked plan, and the choice among micro-batches and tilings. */
#ifndef REMAT_TRIAL_H
#define REMAT_TRIAL_H

#include "frontend/driver/compile.h"
#include "ir/passes/passes.h"

/* What one micro-batch size and tiling lead to. */
typedef struct Trial {
    TileRule tile;
    Graph *forward; /* as written */
    Graph *tiled;   /* the same when there are no tiles */
    Graph *grad, *fused, *graph;
    Cost *cost;
    double seconds; /* a step, nothing recomputed */
    PlanMemo *memo;
    PlanResult *result; /* NULL: not planned, as nothing fits or another is better */
    PlanAsk ask;        /* of `result` */
} Trial;

/* The micro-batch and tiling with the most tokens a second among those that fit `arena_budget` (0: no limit);
 * when none fits, what comes nearest. */
Trial trial_best(const Compilation *c, Policy policy, int64_t arena_budget);

/* What needs the least memory of all that `trial_best` would choose from; planned for a budget that nothing
 * fits. */
Trial trial_smallest(const Compilation *c, Policy policy);
/* Its smallest budget alone, found sooner. */
int64_t trial_smallest_bytes(const Compilation *c, Policy policy);

/* The smallest budget of the arena with which the file fits, of the first micro-batch that does, whole or
 * else in its finest tiles; 0: none does. Found sooner than the fastest plan. */
int64_t trial_that_fits(const Compilation *c);

/* Whether each plan of such a graph takes seconds: it is not cut into tiles, and no changes to it are tried.
 */
bool trial_takes_seconds(const Trial *trial);

/* Whether the plan that checkpoints every block fits, one of those the planner chooses from: found at once.
 */
bool trial_surely_fits(const Compilation *c);

/* What it is made of, and serves alone too. */
TrainRule trial_rule(const Spec *spec, int64_t accumulate);
Graph *trial_check(Graph *g, const char *stage, Arena *arena); /* dies where graph_check finds something */
/* Dies where plan_check or layout_check finds something. */
PlanResult *trial_plan(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                       int64_t arena_budget, PlanAsk ask, PlanMemo *memo);
/* `beside`: of the same file with other settings, which lives as long; what was found for its blocks serves
 * too. */
struct Memos *trial_memos_new(const struct Memos *beside, Arena *arena);

#endif
