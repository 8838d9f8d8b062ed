/* What a file's micro-batches and tilings lead to, made once and planned: for frontend/driver/batch_search.c, which
 * chooses. */
#ifndef REMAT_TRIAL_MADE_H
#define REMAT_TRIAL_MADE_H

#include "frontend/driver/batch_search.h"

/* Of graphs of many operations fewer cuts are tried, and fewer numbers of chunks listed; of those of very
 * many fewer numbers of tiles too: all of that takes seconds there. */
enum { MANY_NODES = 4000, VERY_MANY_NODES = 6000 };

/* Everything up to the costs, in `arena`; the graphs are checked when they are planned. */
Trial trial_of(const Compilation *c, Graph *forward, TileRule tile, Arena *arena);
/* The same, kept: not planned, with the memo of all that are made of these graphs. */
Trial *trial_kept(const Compilation *c, Graph *forward, TileRule tile);
Trial *trial_of_batch(const Compilation *c, int64_t batch); /* whole; 0: the file's */
double trial_tokens(const Trial *trial);                    /* a step's */

/* Live bytes where every block is checkpointed: cheap, and near enough to rank by. */
int64_t trial_floor_bytes(const Compilation *c, const Trial *trial);
/* For all that is found without a plan. */
PlanRequest trial_glance(const Compilation *c, const Trial *trial, int64_t arena_budget);
PlanRequest trial_request(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                          int64_t arena_budget, PlanAsk ask, PlanMemo *memo);

enum { MOST_TILINGS = 20 };

/* A way to cut a graph into tiles. */
typedef struct Tiling {
    TileRule tile;
    double seconds; /* a token, nothing recomputed */
    int64_t floor_bytes;
} Tiling;

/* The tilings of a whole trial that no other beats in both time and bytes, fastest first; how many. */
uint32_t trial_tilings(const Compilation *c, const Trial *whole, const Tiling **list);

#endif
