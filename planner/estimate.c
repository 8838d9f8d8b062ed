/* What a request comes to without a search. In: a graph with costs; out: what one fixed policy needs, whether
 * a bound proves that nothing fits, and about what the best plan takes. */
#include "planner/plan.h"

#include "planner/chain/chain.h"
#include "planner/layout/live.h"
#include "planner/layout/layout.h"
#include "planner/retain/policy.h"

#include <math.h>

/* How high the last sequence replayed is once it is packed. */
static int64_t packed_bytes(const PlanRequest *request, Replay *r, const Sequence *sequence, Arena *scratch) {
    Plan plan = {0};
    replay_plan(r, sequence, scratch, &plan);
    Layout *layout = live_analyse(request->graph, request->cost, &plan, scratch);
    pack_layout(layout, request->graph, request->known, scratch);
    return layout->height_bytes;
}

/* POLICY_EVERY_BLOCK, replayed. */
typedef struct BlocksRun {
    Blocks blocks;
    Replay *replay;
    Sequence sequence;
} BlocksRun;

static BlocksRun run_blocks(const PlanRequest *request, Arena *scratch) {
    const Problem *p = problem_from_graph(request->graph, request->cost, scratch);
    BlocksRun run = {.blocks = problem_blocks(request->graph, p, scratch), .replay = replay_new(p, scratch)};
    Keep *retain = NEW_ARRAY(scratch, Keep, p->gaps + 1);
    retain_segments(p, &run.blocks, 1, false, retain);
    replay(run.replay, retain, &run.sequence);
    return run;
}

int64_t plan_blocks_bytes(const PlanRequest *request, bool packed) {
    Arena *scratch = arena_new();
    BlocksRun run = run_blocks(request, scratch);
    int64_t bytes =
        packed ? packed_bytes(request, run.replay, &run.sequence, scratch) : run.sequence.peak_bytes;
    arena_free(scratch);
    return bytes;
}

PlanFloor plan_floor(const PlanRequest *request) {
    Arena *scratch = arena_new();
    BlocksRun run = run_blocks(request, scratch);
    PlanFloor floor = {0, 0};
    for (uint32_t i = 0; i < run.sequence.run.count; i++) {
        bool outside = run.blocks.op_block[run.sequence.run.at[i].op] == NONE;
        int64_t live = replay_live(run.replay)[i], *highest = outside ? &floor.outside : &floor.in_blocks;
        if (live > *highest) *highest = live;
    }
    arena_free(scratch);
    return floor;
}

/* What the largest operation alone takes: no plan has a lower peak. */
static int64_t operations_bytes(const Problem *p) {
    int64_t most = 0;
    for (uint32_t op = 0; op < p->ops; op++) {
        int64_t bytes = problem_operation_bytes(p, op);
        if (bytes > most) most = bytes;
    }
    return p->persistent_bytes + most;
}

int64_t plan_operations_bytes(const PlanRequest *request) {
    Arena *scratch = arena_new();
    int64_t bytes = operations_bytes(problem_from_graph(request->graph, request->cost, scratch));
    arena_free(scratch);
    return bytes;
}

bool plan_never_fits(const PlanRequest *request) {
    return request->budget.limited && plan_operations_bytes(request) > request->budget.device_bytes;
}

double plan_estimate(const PlanRequest *request) {
    double began = stats_begin(request->stats);
    Arena *scratch = arena_new();
    Problem *p = problem_from_graph(request->graph, request->cost, scratch);
    p->known = request->known;
    p->stats = request->stats;
    double seconds = 0;
    for (uint32_t op = 0; op < p->ops; op++) seconds += p->seconds[op];
    if (request->budget.limited) {
        Blocks blocks = problem_blocks(request->graph, p, scratch);
        int64_t room = request->budget.device_bytes - p->persistent_bytes;
        seconds += operations_bytes(p) > request->budget.device_bytes
                       ? HUGE_VAL
                       : chain_seconds(p, blocks.boundary, room);
    }
    arena_free(scratch);
    stats_end(request->stats, STATS_ESTIMATE, began, seconds < HUGE_VAL);
    return seconds;
}
