/* See trial.h. In: a lowered file, a policy and a budget; out: the graph, checked and planned, of the
 * micro-batch and the tiling that serve it best. */
#include "trial.h"

#include "lower.h"

#include <inttypes.h>
#include <math.h>

/* Graphs of one file with the same micro-batch and tiling are equal, and so is what a search finds for
 * them. */
typedef struct Memos {
    VEC(struct {
        int64_t batch;
        TileRule tile;
        PlanMemo *memo;
    })
    of;
} Memos;

struct Memos *trial_memos_new(Arena *arena) {
    return NEW(arena, Memos);
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

PlanResult *trial_plan(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                       int64_t arena_budget, PlanMemo *memo) {
    PlanRequest request = {.graph = g,
                           .cost = cost,
                           .device = &c->device,
                           .spec = &c->spec,
                           .policy = policy,
                           .budget_bytes = arena_budget,
                           .host_bytes = c->spec.host_bytes,
                           .memo = memo};
    PlanResult *result = plan_graph(&request, c->arena);
    const char *broken = plan_check(g, &result->plan, c->arena);
    if (broken) die("plan: %s", broken);
    broken = layout_check(g, cost, &result->plan, result->layout, result->feasible ? arena_budget : 0,
                          result->feasible ? c->spec.host_bytes : 0, c->arena);
    if (broken) die("layout: %s", broken);
    return result;
}

/* Everything up to the costs; the graphs are checked when they are planned. */
static Trial trial_of(const Compilation *c, Graph *forward, TileRule tile) {
    Trial trial = {.tile = tile, .forward = forward, .tiled = forward};
    if (tile.loss_chunks > 1 || tile.mlp_tiles > 1) trial.tiled = tile_tokens(forward, &tile, c->arena);
    TrainRule rule = trial_rule(&c->spec, forward->accumulate);
    trial.grad = autodiff(trial.tiled, &rule, c->arena);
    trial.fused = fuse(trial.grad, c->arena);
    trial.graph = order_updates(trial.fused, c->arena);
    trial.cost = cost_graph(trial.graph, &c->device, c->arena);
    for (NodeId n = 0; n < trial.graph->node.count; n++)
        trial.seconds += trial.cost[n].seconds *
                         (double)(trial.graph->node.at[n].phase == PHASE_UPDATE ? 1 : forward->accumulate);
    return trial;
}

static PlanMemo *memo_of(const Compilation *c, const Trial *trial) {
    Memos *memos = c->memos;
    int64_t batch = trial->graph->batch;
    for (uint32_t i = 0; i < memos->of.count; i++)
        if (memos->of.at[i].batch == batch && memos->of.at[i].tile.loss_chunks == trial->tile.loss_chunks &&
            memos->of.at[i].tile.mlp_tiles == trial->tile.mlp_tiles)
            return memos->of.at[i].memo;
    (void)vec_add(c->arena, &memos->of);
    memos->of.at[memos->of.count - 1].batch = batch;
    memos->of.at[memos->of.count - 1].tile = trial->tile;
    return memos->of.at[memos->of.count - 1].memo = plan_memo_new(c->arena);
}

static void add_plan(const Compilation *c, Trial *trial, Policy policy, int64_t arena_budget) {
    if (trial->tiled != trial->forward) trial_check(trial->tiled, "tiled", c->arena);
    trial_check(trial->grad, "gradient", c->arena);
    trial_check(trial->fused, "fused", c->arena);
    trial_check(trial->graph, "ordered", c->arena);
    trial->memo = memo_of(c, trial);
    bool smallest = c->any_that_fits && arena_budget > 0; /* which a plan without a budget finds as well */
    trial->result =
        trial_plan(c, trial->graph, trial->cost, policy, smallest ? 0 : arena_budget, trial->memo);
    if (smallest) trial->result->feasible = trial->result->smallest_bytes <= arena_budget;
}

static const TileRule no_tiles = {1, 1};
static Trial trial_of_batch(const Compilation *c, int64_t batch) {
    Graph *forward = lower_graph(c->ast, &c->spec, batch, 0, c->diag, c->arena);
    if (!forward) die("batch %" PRId64 " does not lower, though another did", batch);
    return trial_of(c, forward, no_tiles);
}

static double tokens_of(const Trial *trial) {
    return (double)(trial->graph->batch * trial->graph->context * trial->graph->accumulate);
}

static double seconds_per_token(const Trial *trial) {
    return trial->result->plan.seconds / tokens_of(trial);
}

/* Fits and is faster, or nothing fits and it comes nearer. */
static bool is_better(const Trial *trial, const Trial *than) {
    if (!than->result || trial->result->feasible != than->result->feasible)
        return !than->result || trial->result->feasible;
    return trial->result->feasible ? seconds_per_token(trial) < seconds_per_token(than)
                                   : trial->result->smallest_bytes < than->result->smallest_bytes;
}

/* ---- tiles of tokens ---- */

/* Graphs of many operations are cut more coarsely and tried less often: each try takes seconds there. */
enum { MOST_CHUNKS = 16, MOST_TILES = 8, MOST_TILINGS = 20, NEAREST = 3, MANY_NODES = 6000 };
/* With B left to the planner, and so the order of sums too, tiles are also tried where the graph fits whole,
 * if recomputation takes more than this share of a step ... */
static const double much_recomputation = 0.25;
/* ... and taken, like another micro-batch in tiles, if a token costs that much less; where the graph fits
 * whole with host memory only, if it costs less at all. */
static const double worthwhile = 0.02;

/* What a tiling needs when every block is checkpointed: cheap, and near enough to rank by. */
static int64_t floor_bytes(const Compilation *c, const Trial *trial) {
    PlanRequest request = {
        .graph = trial->graph, .cost = trial->cost, .device = &c->device, .policy = POLICY_EVERY_BLOCK};
    Arena *scratch = arena_new();
    int64_t bytes = plan_graph(&request, scratch)->plan.peak_bytes;
    arena_free(scratch);
    return bytes;
}

typedef struct Tiling {
    TileRule tile;
    double seconds;
    int64_t floor_bytes;
    Trial trial; /* once it was planned: its result is there */
} Tiling;

/* The tilings of a forward graph that no other beats in both time and bytes, fastest first. */
static uint32_t list_tilings(const Compilation *c, const Trial *whole, Tiling list[MOST_TILINGS]) {
    int64_t tokens = whole->graph->batch * whole->graph->context, floor = floor_bytes(c, whole);
    Tiling all[MOST_TILINGS];
    uint32_t found = 0, count = 0;
    int64_t finer = whole->graph->node.count < MANY_NODES ? 2 : 4;
    for (TileRule tile = no_tiles; tile.loss_chunks <= MOST_CHUNKS; tile.loss_chunks *= finer)
        for (tile.mlp_tiles = 1; tile.mlp_tiles <= MOST_TILES; tile.mlp_tiles *= finer) {
            bool is_whole = tile.loss_chunks == 1 && tile.mlp_tiles == 1;
            if (is_whole || tokens % tile.loss_chunks || tokens % tile.mlp_tiles) continue;
            Trial trial = trial_of(c, whole->forward, tile);
            Tiling tiling = {.tile = tile, .seconds = trial.seconds, .floor_bytes = floor_bytes(c, &trial)};
            uint32_t at = found++;
            for (; at > 0 && all[at - 1].seconds > tiling.seconds; at--) all[at] = all[at - 1];
            all[at] = tiling;
        }
    for (uint32_t i = 0; i < found; i++) {
        if (all[i].floor_bytes >= floor) continue;
        floor = all[i].floor_bytes;
        list[count++] = all[i];
    }
    return count;
}

static Trial try_tiling(const Compilation *c, const Trial *whole, Tiling *tiling, int64_t arena_budget) {
    if (tiling->trial.result) return tiling->trial;
    tiling->trial = trial_of(c, whole->forward, tiling->tile);
    add_plan(c, &tiling->trial, POLICY_OPTIMAL, arena_budget);
    return tiling->trial;
}

/* Whether a bound leaves the chance of fewer seconds a token than `enough`. */
static bool may_be_faster(const Compilation *c, const Trial *trial, int64_t arena_budget, double enough) {
    PlanRequest request = {.graph = trial->graph,
                           .cost = trial->cost,
                           .device = &c->device,
                           .budget_bytes = arena_budget,
                           .host_bytes = c->spec.host_bytes};
    return plan_bound(&request) / tokens_of(trial) < enough;
}

static bool may_be_enough(const Compilation *c, const Trial *whole, Tiling *tiling, int64_t arena_budget,
                          double enough) {
    if (enough == INFINITY) return true;
    Trial trial = tiling->trial.result ? tiling->trial : trial_of(c, whole->forward, tiling->tile);
    return may_be_faster(c, &trial, arena_budget, enough);
}

/* The fastest tiling that fits, if it takes fewer than `enough` seconds a token. Tilings are in order of time
 * and, the other way round, of bytes: where nothing is known to fit, the first that does is found by
 * bisection; those after it are tried while they are faster. */
static Trial best_tiling(const Compilation *c, const Trial *whole, int64_t arena_budget, double enough) {
    Trial best = *whole;
    Tiling list[MOST_TILINGS];
    uint32_t count = list_tilings(c, whole, list), low = 0, high = count;
    if (count == 0) return best;
    if (!whole->result->feasible && enough == INFINITY) {
        /* the estimate ranks only nearly: the last one need not be what comes nearest */
        uint32_t tries = whole->graph->node.count < MANY_NODES ? NEAREST : 1;
        while (!best.result->feasible && high > 0 && tries-- > 0) {
            Trial trial = try_tiling(c, whole, &list[--high], arena_budget);
            if (is_better(&trial, &best)) best = trial;
        }
        if (!best.result->feasible || c->any_that_fits) return best;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            Trial trial = try_tiling(c, whole, &list[middle], arena_budget);
            if (is_better(&trial, &best)) best = trial;
            if (trial.result->feasible)
                high = middle;
            else
                low = middle + 1;
        }
        low++; /* it was tried */
    }
    for (uint32_t i = low, worse = 0; i < count && worse < 2; i++) {
        double most = best.result->feasible ? seconds_per_token(&best) : enough;
        if (list[i].seconds / tokens_of(whole) >= most) break;
        if (!may_be_enough(c, whole, &list[i], arena_budget, most)) continue;
        Trial trial = try_tiling(c, whole, &list[i], arena_budget);
        bool better = is_better(&trial, &best);
        worse = better || !trial.result->feasible ? 0 : worse + 1;
        if (better) best = trial;
    }
    return best;
}

/* For one B, tiles are for what does not fit whole, or only with host memory: every budget that does has the
 * same bits, and host memory never stands in the way of a tiling that would be faster. */
static bool wants_tiles(const Compilation *c, const Trial *trial, Policy policy, int64_t arena_budget) {
    const PlanResult *result = trial->result;
    if (policy != POLICY_OPTIMAL || arena_budget <= 0) return false;
    if (!result->feasible || result->needs_host) return true;
    return c->spec.batch_auto && result->plan.seconds > (1 + much_recomputation) * result->keep_all_seconds;
}

static void explain_tiles(const Compilation *c, const Trial *whole, Trial *best) {
    Text text = {.arena = c->arena};
    char bytes[24];
    const TileRule *tile = &best->tile;
    if (tile->loss_chunks == 1 && tile->mlp_tiles == 1) return;
    if (tile->loss_chunks > 1)
        text_add(&text, "the loss head runs in %" PRId64 " chunks of tokens", tile->loss_chunks);
    if (tile->mlp_tiles > 1)
        text_add(&text, "%s in %" PRId64 " tiles", text.length ? ", MLPs" : "MLPs run", tile->mlp_tiles);
    if (whole->result->feasible)
        text_add(&text, ": whole, a step would take %.1f%% longer",
                 100 * (seconds_per_token(whole) / seconds_per_token(best) - 1));
    else
        text_add(&text, ": whole, the smallest budget would be %s",
                 format_bytes(whole->result->smallest_bytes + c->device.reserved_bytes, bytes));
    *vec_add(c->arena, &best->result->reason) = text.at;
}

/* Whether another micro-batch is proved faster than one that surely fits: no need to plan that. */
static bool is_beaten(const Compilation *c, const Trial *trial, const Trial *best, Policy policy,
                      int64_t arena_budget) {
    if (policy != POLICY_OPTIMAL || arena_budget <= 0 || c->spec.pin.count || !best->result->feasible)
        return false;
    return floor_bytes(c, trial) <= arena_budget &&
           !may_be_faster(c, trial, arena_budget, seconds_per_token(best));
}

/* The micro-batch and tiling with the most tokens a second among those that fit; when none fits, what comes
 * nearest. Tiles are tried for those up to the smallest that do not fit whole without host memory, and, among
 * several, for the fastest that fits only by much recomputation. */
Trial trial_best(const Compilation *c, Policy policy, int64_t arena_budget) {
    int64_t low = c->spec.batch_auto ? c->spec.batch_low : 0,
            high = c->spec.batch_auto ? c->spec.batch_high : 0;
    Trial best = {0}, best_whole = {0};
    VEC(Trial) tried = {0};
    uint32_t misses = 0;
    for (int64_t batch = low; batch <= high; batch++) {
        if (batch && !lower_batch_fits(&c->spec, batch)) continue;
        Trial trial = trial_of_batch(c, batch);
        if (best.result && is_beaten(c, &trial, &best, policy, arena_budget)) continue;
        add_plan(c, &trial, policy, arena_budget);
        *vec_add(c->arena, &tried) = trial;
        bool needs_more = best.result && !trial.result->feasible &&
                          best.result->smallest_bytes < trial.result->smallest_bytes;
        if (is_better(&trial, &best)) best = best_whole = trial;
        misses = needs_more ? misses + 1 : 0;
        if (misses == (wants_tiles(c, &trial, policy, arena_budget) ? 2 : 1)) break; /* as larger ones do */
    }
    for (uint32_t i = 0; i < tried.count; i++) {
        const Trial *whole = &tried.at[i];
        bool is_chosen = whole->result == best_whole.result;
        if (!wants_tiles(c, whole, policy, arena_budget) ||
            (whole->result->feasible && !whole->result->needs_host && !is_chosen))
            continue;
        double less = whole->result->needs_host ? 0 : worthwhile;
        double enough = best.result->feasible ? seconds_per_token(&best) * (1 - less) : INFINITY;
        if (whole->seconds / tokens_of(whole) >= enough) continue;
        Trial trial = best_tiling(c, whole, arena_budget, enough);
        if (trial.result->feasible ? seconds_per_token(&trial) < enough : is_better(&trial, &best))
            best = trial, best_whole = *whole;
        if (!whole->result->feasible) break;
    }
    explain_tiles(c, &best_whole, &best);
    return best;
}

bool trial_surely_fits(const Compilation *c) {
    int64_t arena_budget = compile_arena_budget(c, c->budget_bytes);
    if (c->spec.pin.count || arena_budget <= 0) return false;
    Trial trial = trial_of(c, c->forward, no_tiles);
    return floor_bytes(c, &trial) <= arena_budget;
}
