/* Small graphs, plans and layouts made without the planner, and a machine that runs a plan in simulated
 * memory: the judge of the checkers' tests.
 *
 * The machine's kernels write a hash of what they read into every byte of what they make; each read demands
 * one whole pattern, and compares it with what the graph's own order of execution gives. */
#ifndef REMAT_TESTS_TOY_H
#define REMAT_TESTS_TOY_H

#include "planner/plan.h"

typedef struct Toy {
    Graph *g;
    Cost *cost;
    Plan plan;
    Layout *layout;
} Toy;

Graph *toy_graph(uint64_t *seed, int64_t accumulate, Arena *arena);
/* Runs everything, at random drops and recomputes or offloads and fetches, frees everything. */
Plan toy_plan(const Graph *g, uint64_t *seed, Arena *arena);
/* Lifetimes, most results in place where the rules allow it, packed. Fills the plan's bytes. */
Layout *toy_layout(const Graph *g, const Cost *cost, Plan *plan, uint64_t *seed, Arena *arena);
/* Live bytes and offsets of a layout whose buffers and lifetimes stand. */
void toy_totals(Layout *layout, const Graph *g, Plan *plan, Arena *arena);
Toy toy_new(uint64_t *seed, Arena *arena);

/* NULL when two optimizer steps give what the graph means, else the first difference.
 * With `layout` NULL every storage has memory of its own: the plan alone is judged. */
const char *toy_run(const Graph *g, const Cost *cost, const Plan *plan, const Layout *layout, Arena *arena);

#endif
