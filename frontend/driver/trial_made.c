/* See trial_made.h. In: a lowered file; out: the graphs of its micro-batches and tilings, each made once, and
 * their plans, checked. */
#include "frontend/driver/trial_made.h"

#include "frontend/lower/lower.h"
#include "ir/check.h"
#include "planner/check/check.h"
#include "planner/chain/kinds.h"

#include <inttypes.h>

enum { MOST_CHUNKS = 16, MOST_TILES = 8 };

/* One micro-batch of the file. */
typedef struct Batch {
    int64_t asked; /* 0: the file's */
    Graph *forward;
    uint32_t tilings; /* NONE: not listed yet */
    Tiling tiling[MOST_TILINGS];
} Batch;

/* What was made for one file: graphs with the same micro-batch and tiling are equal, and so is what a search
 * finds for them. */
typedef struct Memos {
    VEC(Batch *) batch;
    VEC(Trial *) trial; /* without results */
    KindMemo *kinds;    /* of the blocks of all of them */
} Memos;

struct Memos *trial_memos_new(const struct Memos *beside, Arena *arena) {
    Memos *memos = NEW(arena, Memos);
    memos->kinds = beside ? beside->kinds : kind_memo_new(arena);
    return memos;
}

TrainRule trial_rule(const Spec *spec, int64_t accumulate) {
    return (TrainRule){.beta1 = spec->beta1,
                       .beta2 = spec->beta2,
                       .eps = spec->eps,
                       .decay = spec->decay,
                       .clip_norm = spec->clip_norm,
                       .accumulate = accumulate,
                       .gradient = spec->gradient,
                       .moment = spec->moment};
}

Graph *trial_check(Graph *g, const char *stage, Arena *arena) {
    const char *broken = graph_check(g, arena);
    if (broken) die("%s graph: %s", stage, broken);
    return g;
}

PlanRequest trial_request(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                          int64_t arena_budget, PlanAsk ask, PlanMemo *memo) {
    return (PlanRequest){.graph = g,
                         .cost = cost,
                         .device = &c->device,
                         .pins = &c->spec.pin,
                         .policy = policy,
                         .budget_bytes = arena_budget,
                         .host_bytes = c->spec.host_bytes,
                         .memo = memo,
                         .kinds = c->memos->kinds,
                         .ask = ask};
}

PlanResult *trial_plan(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                       int64_t arena_budget, PlanAsk ask, PlanMemo *memo) {
    PlanRequest request = trial_request(c, g, cost, policy, arena_budget, ask, memo);
    PlanResult *result = plan_graph(&request, c->arena);
    const char *broken = plan_check(g, &result->plan, c->arena);
    if (broken) die("plan: %s", broken);
    broken = layout_check(g, cost, &result->plan, result->layout, result->feasible ? arena_budget : 0,
                          result->feasible ? c->spec.host_bytes : 0, c->arena);
    if (broken) die("layout: %s", broken);
    return result;
}

Trial trial_of(const Compilation *c, Graph *forward, TileRule tile, Arena *arena) {
    Trial trial = {.tile = tile, .forward = forward, .tiled = forward};
    if (tile.loss_chunks > 1 || tile.mlp_tiles > 1) trial.tiled = tile_tokens(forward, &tile, arena);
    TrainRule rule = trial_rule(&c->spec, forward->accumulate);
    trial.grad = autodiff(trial.tiled, &rule, arena);
    trial.fused = fuse(trial.grad, arena);
    trial.graph = updates_may_move(trial.fused) ? order_updates(trial.fused, arena) : trial.fused;
    if (c->device.cuda) trial.graph = pad_rows(trial.graph, arena);
    trial.cost = cost_graph(trial.graph, &c->device, arena);
    for (NodeId n = 0; n < trial.graph->node.count; n++)
        trial.seconds += trial.cost[n].seconds *
                         (double)(trial.graph->node.at[n].phase == PHASE_UPDATE ? 1 : forward->accumulate);
    return trial;
}

Trial *trial_kept(const Compilation *c, Graph *forward, TileRule tile) {
    Memos *memos = c->memos;
    Trial *trial = NEW(c->arena, Trial), *first = NULL;
    for (uint32_t i = 0; i < memos->trial.count && !first; i++) {
        Trial *made = memos->trial.at[i];
        if (made->forward == forward && made->tile.loss_chunks == tile.loss_chunks &&
            made->tile.mlp_tiles == tile.mlp_tiles)
            first = made;
    }
    if (!first) {
        first = *vec_add(c->arena, &memos->trial) = NEW(c->arena, Trial);
        *first = trial_of(c, forward, tile, c->arena);
        first->memo = plan_memo_new(c->arena);
    }
    *trial = *first;
    return trial;
}

static Batch *batch_of(const Compilation *c, int64_t asked) {
    Memos *memos = c->memos;
    for (uint32_t i = 0; i < memos->batch.count; i++)
        if (memos->batch.at[i]->asked == asked) return memos->batch.at[i];
    Batch *batch = *vec_add(c->arena, &memos->batch) = NEW(c->arena, Batch);
    batch->asked = asked;
    batch->tilings = NONE;
    batch->forward = lower_graph(c->ast, &c->spec, asked, 0, c->diag, c->arena);
    if (!batch->forward) die("batch %" PRId64 " does not lower, though another did", asked);
    return batch;
}

Trial *trial_of_batch(const Compilation *c, int64_t batch) {
    return trial_kept(c, batch_of(c, batch)->forward, (TileRule){1, 1});
}

PlanRequest trial_glance(const Compilation *c, const Trial *trial, int64_t arena_budget) {
    return (PlanRequest){.graph = trial->graph,
                         .cost = trial->cost,
                         .device = &c->device,
                         .kinds = c->memos->kinds,
                         .budget_bytes = arena_budget,
                         .host_bytes = c->spec.host_bytes};
}

double trial_tokens(const Trial *trial) {
    return (double)(trial->graph->batch * trial->graph->context * trial->graph->accumulate);
}

int64_t trial_floor_bytes(const Compilation *c, const Trial *trial) {
    PlanRequest request = trial_glance(c, trial, 0);
    return plan_blocks_bytes(&request, false);
}

static void list_tilings(const Compilation *c, const Trial *whole, Batch *batch) {
    int64_t tokens = whole->graph->batch * whole->graph->context, floor = trial_floor_bytes(c, whole);
    Tiling all[MOST_TILINGS];
    uint32_t found = 0;
    int64_t more_chunks = whole->graph->node.count < MANY_NODES ? 2 : 4;
    int64_t more_tiles = whole->graph->node.count < VERY_MANY_NODES ? 2 : 4;
    Arena *scratch = arena_new();
    for (TileRule tile = {1, 1}; tile.loss_chunks <= MOST_CHUNKS; tile.loss_chunks *= more_chunks)
        for (tile.mlp_tiles = 1; tile.mlp_tiles <= MOST_TILES; tile.mlp_tiles *= more_tiles) {
            bool is_whole = tile.loss_chunks == 1 && tile.mlp_tiles == 1;
            if (is_whole || tokens % tile.loss_chunks || tokens % tile.mlp_tiles) continue;
            arena_reset(scratch);
            Trial trial = trial_of(c, whole->forward, tile, scratch);
            Tiling tiling = {.tile = tile,
                             .seconds = trial.seconds / trial_tokens(whole),
                             .floor_bytes = trial_floor_bytes(c, &trial)};
            uint32_t at = found++;
            for (; at > 0 && all[at - 1].seconds > tiling.seconds; at--) all[at] = all[at - 1];
            all[at] = tiling;
        }
    arena_free(scratch);
    batch->tilings = 0;
    for (uint32_t i = 0; i < found; i++) {
        if (all[i].floor_bytes >= floor) continue;
        floor = all[i].floor_bytes;
        batch->tiling[batch->tilings++] = all[i];
    }
}

uint32_t trial_tilings(const Compilation *c, const Trial *whole, const Tiling **list) {
    Batch *batch = NULL;
    for (uint32_t i = 0; !batch; i++)
        if (c->memos->batch.at[i]->forward == whole->forward) batch = c->memos->batch.at[i];
    if (batch->tilings == NONE) list_tilings(c, whole, batch);
    *list = batch->tiling;
    return batch->tilings;
}
