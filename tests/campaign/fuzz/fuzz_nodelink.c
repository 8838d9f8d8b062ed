/* A DAG in node-link JSON: read, and, where it is small, planned under a budget that its bytes choose. What
 * is planned replays as told. */
#include "exits.h"
#include "frontend/verbs/nodelink.h"
#include "planner/dag/solve.h"
#include "planner/effort.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { MOST_NODES = 12 }; /* planned: many inputs matter more than long searches */

static const char *input;
static size_t length;

static void plan(const NodeLink *graph, Arena *arena) {
    Problem *p = dag_problem(graph->nodes, graph->seconds, graph->bytes, graph->link, graph->links, arena);
    p->persistent_bytes = graph->persistent_bytes;
    double share = (double)(hash_bytes(HASH_SEED, input, length) % 120) / 100;
    SolveRequest request = {.problem = p, .changes = 300, .exhaustive_ops = EFFORT_DAG_EXHAUSTIVE_OPS};
    request.budget_bytes = (int64_t)(share * (double)dag_keep_all(p));
    Solution solution = solve_dag(&request, arena);
    MUST(!dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes, solution.seconds, arena));
    MUST(!solution.feasible || solution.peak_bytes <= request.budget_bytes);
    MUST(!solution.feasible || !(solution.seconds < solution.lower_bound_seconds * (1 - 1e-9)));
}

static void read_and_plan(void *arena) {
    NodeLink graph;
    int line, column;
    if (nodelink_read(input, length, &graph, &line, &column, arena)) return;
    MUST(graph.nodes > 0 && graph.nodes <= DAG_MOST_NODES);
    for (uint32_t i = 0; i < graph.links; i++)
        MUST(graph.link[i].from < graph.link[i].to && graph.link[i].to < graph.nodes);
    if (graph.nodes <= MOST_NODES) plan(&graph, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes;
    length = count;
    Arena *arena = arena_new();
    run_to_exit(read_and_plan, arena);
    arena_free(arena);
    return 0;
}
