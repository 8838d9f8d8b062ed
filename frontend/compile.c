/* See compile.h. */
#include "compile.h"

#include "lower.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

/* Graphs of one file with the same micro-batch and tiling are equal, and so is what a search finds for them.
 */
typedef struct Memos {
    VEC(struct {
        int64_t batch;
        TileRule tile;
        PlanMemo *memo;
    })
    of;
} Memos;

void compile_messages(const Compilation *c) {
    Text text = {.arena = c->arena};
    text_add_n(&text, "", 0);
    if (c->options->json_diagnostics)
        diag_print_json(c->diag, &text);
    else
        diag_print(c->diag, &text, isatty(STDERR_FILENO) && !getenv("NO_COLOR"));
    fwrite(text.at, 1, text.length, stderr);
}

static int source_errors(const Compilation *c) {
    compile_messages(c);
    return EXIT_SOURCE;
}

int compile_parse(Compilation *c) {
    const Options *options = c->options;
    size_t length;
    char *text = read_file(c->arena, options->file, &length);
    if (!text) {
        fprintf(stderr, "rematc: cannot read '%s': %s\n", options->file, strerror(errno));
        return EXIT_IO;
    }
    c->diag = diag_new(c->arena, options->file, text, length);
    c->ast = ast_parse(c->arena, options->file, text, length, c->diag);
    if (!c->ast) return source_errors(c);
    for (uint32_t i = 0; i < options->set.count; i++)
        if (!ast_override(c->ast, options->set.at[i], c->diag)) return source_errors(c);
    if (options->device &&
        !ast_override(c->ast, arena_printf(c->arena, "device=%s", options->device), c->diag))
        return source_errors(c);
    if (options->budget &&
        !ast_override(c->ast, arena_printf(c->arena, "budget=%s", options->budget), c->diag))
        return source_errors(c);
    return -1;
}

static int find_device(Compilation *c) {
    const Device *device = device_find(c->spec.device);
    if (!device) {
        uint32_t count;
        const Device *known = device_list(&count);
        const char **names = NEW_ARRAY(c->arena, const char *, count);
        Text list = {.arena = c->arena};
        for (uint32_t i = 0; i < count; i++) {
            names[i] = known[i].name;
            text_add(&list, "%s%s", i ? ", " : "", names[i]);
        }
        diag_error(c->diag, E0702, c->spec.device_span, "unknown device '%s'", c->spec.device);
        diag_note(c->diag, NO_SPAN, "known devices: %s", list.at);
        diag_suggest(c->diag, c->spec.device, names, count);
        return source_errors(c);
    }
    c->device = *device;
    const char *target = c->options->target;
    if (target) {
        if (strcmp(target, "host") && strcmp(target, "cuda")) {
            fprintf(stderr, "rematc: --target is host or cuda, not '%s'\n", target);
            return EXIT_USAGE;
        }
        c->device.cuda = !strcmp(target, "cuda");
    }
    if (c->device.flops_per_second[c->spec.compute] <= 0) {
        diag_error(c->diag, E0703, c->spec.device_span, "device '%s' has no arithmetic in %s", c->device.name,
                   dtype_name[c->spec.compute]);
        return source_errors(c);
    }
    c->policy = POLICY_OPTIMAL;
    if (c->options->policy) {
        c->policy = policy_find(c->options->policy);
        if (c->policy == POLICY_COUNT) {
            fprintf(stderr, "rematc: unknown policy '%s'\n", c->options->policy);
            const char *near = diag_nearest(c->options->policy, policy_name, POLICY_COUNT);
            if (near)
                fprintf(stderr, "help: did you mean '%s'?\n", near);
            else
                fprintf(stderr, "help: known: none, every-block, sqrt, heuristic, optimal\n");
            return EXIT_USAGE;
        }
    }
    c->budget_bytes = c->spec.budget_bytes ? c->spec.budget_bytes : c->device.memory_bytes;
    return -1;
}

static TrainRule train_rule(const Spec *spec, int64_t accumulate) {
    return (TrainRule){.beta1 = spec->beta1,
                       .beta2 = spec->beta2,
                       .eps = spec->eps,
                       .decay = spec->decay,
                       .clip_norm = spec->clip_norm,
                       .accumulate = accumulate,
                       .gradient = spec->gradient,
                       .moment = spec->moment};
}

/* Pins are matched against what is planned: operations that were fused into others and views have no memory
 * that could be kept or freed. False, and said, where a pin fits nothing else. */
static bool pins_fit(const Compilation *c) {
    if (!c->spec.pin.count) return true;
    TrainRule rule = train_rule(&c->spec, c->forward->accumulate);
    const Graph *g = fuse(autodiff(c->forward, &rule, c->arena), c->arena);
    bool all = true;
    for (uint32_t i = 0; i < c->spec.pin.count; i++) {
        const Pin *pin = &c->spec.pin.at[i];
        bool any = false;
        for (uint32_t n = 0; n < g->node.count && !any; n++) {
            const Node *node = &g->node.at[n];
            any = node->phase == PHASE_FORWARD && !(op_info[node->op].flags & OPF_VIEW) &&
                  glob_match(pin->pattern, node->name);
        }
        if (any) continue;
        diag_error(c->diag, E0208, pin->span,
                   "'%s' names only views and operations that become part of the next one", pin->pattern);
        diag_help(c->diag, "`rematc dump --stage fuse` lists the names that are left");
        all = false;
    }
    return all;
}

int compile_lower(Compilation *c) {
    bool fine = lower_spec(c->ast, c->diag, c->arena, &c->spec);
    c->forward = lower_graph(c->ast, &c->spec, 0, 0, c->diag, c->arena);
    c->memos = NEW(c->arena, Memos);
    if (!fine || !c->forward) return source_errors(c);
    const char *broken = graph_check(c->forward, c->arena);
    if (broken) die("lowered graph: %s", broken);
    if (!pins_fit(c)) return source_errors(c);
    return find_device(c);
}

static Graph *checked(Graph *g, const char *stage, Arena *arena) {
    const char *broken = graph_check(g, arena);
    if (broken) die("%s graph: %s", stage, broken);
    return g;
}

/* What one micro-batch size and tiling lead to. */
typedef struct Trial {
    TileRule tile;
    Graph *forward; /* as written */
    Graph *tiled;   /* the same when there are no tiles */
    Graph *grad, *fused, *graph;
    Cost *cost;
    double seconds; /* a step, nothing recomputed */
    PlanMemo *memo;
    PlanResult *result;
} Trial;

static PlanResult *plan_checked(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
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
                          c->spec.host_bytes, c->arena);
    if (broken) die("layout: %s", broken);
    return result;
}

/* Everything up to the costs; the graphs are checked when they are planned. */
static Trial trial_of(const Compilation *c, Graph *forward, TileRule tile) {
    Trial trial = {.tile = tile, .forward = forward, .tiled = forward};
    if (tile.loss_chunks > 1 || tile.mlp_tiles > 1) trial.tiled = tile_tokens(forward, &tile, c->arena);
    TrainRule rule = train_rule(&c->spec, forward->accumulate);
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

static void plan_trial(const Compilation *c, Trial *trial, Policy policy, int64_t arena_budget) {
    if (trial->tiled != trial->forward) checked(trial->tiled, "tiled", c->arena);
    checked(trial->grad, "gradient", c->arena);
    checked(trial->fused, "fused", c->arena);
    checked(trial->graph, "ordered", c->arena);
    trial->memo = memo_of(c, trial);
    bool smallest = c->any_that_fits && arena_budget > 0; /* which a plan without a budget finds as well */
    trial->result =
        plan_checked(c, trial->graph, trial->cost, policy, smallest ? 0 : arena_budget, trial->memo);
    if (smallest) trial->result->feasible = trial->result->smallest_bytes <= arena_budget;
}

static Trial try_batch(const Compilation *c, int64_t batch, TileRule tile, Policy policy,
                       int64_t arena_budget) {
    Graph *forward = lower_graph(c->ast, &c->spec, batch, 0, c->diag, c->arena);
    if (!forward) die("batch %" PRId64 " does not lower, though another did", batch);
    Trial trial = trial_of(c, forward, tile);
    plan_trial(c, &trial, policy, arena_budget);
    return trial;
}

int64_t compile_arena_budget(const Compilation *c, int64_t budget_bytes) {
    if (!budget_bytes) return 0;
    return budget_bytes > c->device.reserved_bytes ? budget_bytes - c->device.reserved_bytes : -1;
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

enum { MOST_CHUNKS = 16, MOST_TILES = 8, MOST_TILINGS = 20 };
static const TileRule no_tiles = {1, 1};
/* With B left to the planner, and so the order of sums too, tiles are also tried where the graph fits whole,
 * if recomputation takes more than this share of a step ... */
static const double much_recomputation = 0.25;
/* ... and taken, like another micro-batch in tiles, if a token costs that much less. */
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
    for (TileRule tile = no_tiles; tile.loss_chunks <= MOST_CHUNKS; tile.loss_chunks *= 2)
        for (tile.mlp_tiles = 1; tile.mlp_tiles <= MOST_TILES; tile.mlp_tiles *= 2) {
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
    plan_trial(c, &tiling->trial, POLICY_OPTIMAL, arena_budget);
    return tiling->trial;
}

/* Whether a bound leaves a tiling the chance of fewer seconds a token than `enough`. */
static bool may_be_enough(const Compilation *c, const Trial *whole, Tiling *tiling, int64_t arena_budget,
                          double enough) {
    if (enough == INFINITY) return true;
    Trial trial = tiling->trial.result ? tiling->trial : trial_of(c, whole->forward, tiling->tile);
    PlanRequest request = {.graph = trial.graph,
                           .cost = trial.cost,
                           .device = &c->device,
                           .budget_bytes = arena_budget,
                           .host_bytes = c->spec.host_bytes};
    return plan_bound(&request) / tokens_of(whole) < enough;
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
        Trial least = try_tiling(c, whole, &list[count - 1], arena_budget);
        if (is_better(&least, &best)) best = least;
        if (!least.result->feasible || c->any_that_fits) return best;
        high = count - 1;
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

/* For one B, tiles are for what does not fit whole: every budget that does has the same bits. */
static bool wants_tiles(const Compilation *c, const Trial *trial, Policy policy, int64_t arena_budget) {
    const PlanResult *result = trial->result;
    if (policy != POLICY_OPTIMAL || arena_budget <= 0) return false;
    if (!result->feasible) return true;
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

/* The micro-batch and tiling with the most tokens a second among those that fit; when none fits, what comes
 * nearest. Tiles are tried for the smallest that does not fit whole, and, among several, for the fastest that
 * fits only by much recomputation. */
static Trial best_trial(const Compilation *c, Policy policy, int64_t arena_budget) {
    int64_t low = c->spec.batch_auto ? c->spec.batch_low : 0,
            high = c->spec.batch_auto ? c->spec.batch_high : 0;
    Trial best = {0}, best_whole = {0};
    VEC(Trial) tried = {0};
    uint32_t misses = 0;
    for (int64_t batch = low; batch <= high; batch++) {
        if (batch && !lower_batch_fits(&c->spec, batch)) continue;
        Trial trial = try_batch(c, batch, no_tiles, policy, arena_budget);
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
        if (!wants_tiles(c, whole, policy, arena_budget) || (whole->result->feasible && !is_chosen)) continue;
        double enough = best.result->feasible ? seconds_per_token(&best) * (1 - worthwhile) : INFINITY;
        if (whole->seconds / tokens_of(whole) >= enough) continue;
        Trial trial = best_tiling(c, whole, arena_budget, enough);
        if (trial.result->feasible ? seconds_per_token(&trial) < enough : is_better(&trial, &best))
            best = trial, best_whole = *whole;
        if (!whole->result->feasible) break;
    }
    explain_tiles(c, &best_whole, &best);
    return best;
}

PlanResult *compile_replan(Compilation *c, Policy policy, int64_t budget_bytes) {
    int64_t arena_budget = compile_arena_budget(c, budget_bytes);
    if (arena_budget < 0) return NULL;
    return plan_checked(c, c->request.train.graph, c->request.train.cost, policy, arena_budget, c->memo);
}

PlanResult *compile_policy(const Compilation *c, Policy policy, int64_t budget_bytes, const Graph **graph) {
    int64_t arena_budget = compile_arena_budget(c, budget_bytes);
    Trial trial = best_trial(c, policy, arena_budget < 0 ? 1 : arena_budget);
    *graph = trial.graph;
    return trial.result;
}

/* Evaluation and sampling: forward only, inside the training arena. */
static Part forward_part(const Compilation *c, const Graph *forward, const Part *train, const char *stage) {
    Graph *g = checked(fuse(checked(graph_forward_only(forward, c->arena), stage, c->arena), c->arena), stage,
                       c->arena);
    Cost *cost = cost_graph(g, &c->device, c->arena);
    PlanResult *result = plan_forward(g, cost, c->arena);
    const char *broken = plan_check(g, &result->plan, c->arena);
    if (broken) die("%s plan: %s", stage, broken);
    pack_forward(result->layout, g, train->layout, train->graph, c->arena);
    result->plan.peak_bytes = result->layout->height_bytes;
    broken = layout_check(g, cost, &result->plan, result->layout, 0, 0, c->arena);
    if (broken) die("%s layout: %s", stage, broken);
    return (Part){.graph = g, .cost = cost, .plan = &result->plan, .layout = result->layout};
}

bool compile_variant(const Compilation *c, const char *const *set, uint32_t count, Compilation *variant) {
    const Options *options = c->options;
    *variant = *c;
    variant->diag = diag_new(c->arena, c->ast->path, c->ast->source, c->ast->length);
    variant->ast = ast_parse(c->arena, c->ast->path, c->ast->source, c->ast->length, variant->diag);
    bool fine = variant->ast != NULL;
    for (uint32_t i = 0; fine && i < options->set.count; i++)
        fine = ast_override(variant->ast, options->set.at[i], variant->diag);
    if (fine && options->device)
        fine =
            ast_override(variant->ast, arena_printf(c->arena, "device=%s", options->device), variant->diag);
    for (uint32_t i = 0; fine && i < count; i++) fine = ast_override(variant->ast, set[i], variant->diag);
    if (!fine || !lower_spec(variant->ast, variant->diag, c->arena, &variant->spec)) return false;
    variant->forward = lower_graph(variant->ast, &variant->spec, 0, 0, variant->diag, c->arena);
    variant->memos = NEW(c->arena, Memos);
    return variant->forward != NULL;
}

/* In tiles only where it would need more than training does. */
static Part evaluation_part(const Compilation *c, const Trial *trial, const Part *train) {
    Part part = forward_part(c, trial->forward, train, "evaluation");
    if (trial->tiled == trial->forward || part.layout->height_bytes <= train->layout->height_bytes)
        return part;
    return forward_part(c, trial->tiled, train, "evaluation");
}

/* One sequence, with all its logits: where they do not fit, of half the context, and so on. */
static Part sampling_part(const Compilation *c, const Part *train, int64_t arena_budget) {
    Graph *one = lower_graph(c->ast, &c->spec, 1, 0, c->diag, c->arena);
    if (!one) die("batch 1 does not lower, though another did");
    Part part = forward_part(c, one, train, "sampling");
    for (int64_t context = one->context / 2;
         context >= 1 && arena_budget > 0 && part.layout->height_bytes > arena_budget; context /= 2) {
        Diag *diag = diag_new(c->arena, c->ast->path, c->ast->source, c->ast->length);
        one = lower_graph(c->ast, &c->spec, 1, context, diag, c->arena);
        if (!one) break;
        part = forward_part(c, one, train, "sampling");
    }
    return part;
}

static int64_t weight_bytes(const Graph *g) {
    int64_t bytes = 0;
    for (uint32_t p = 0; p < g->param.count; p++)
        bytes += type_bytes(&g->value.at[g->param.at[p].value].type);
    return bytes;
}

/* Whether the plan that checkpoints every block fits, one of those the planner chooses from. */
static bool surely_fits(const Compilation *c) {
    int64_t arena_budget = compile_arena_budget(c, c->budget_bytes);
    if (c->spec.pin.count || arena_budget <= 0) return false;
    Trial trial = trial_of(c, c->forward, no_tiles);
    return floor_bytes(c, &trial) <= arena_budget;
}

/* The change to one dim that makes the smallest plan fit: the fewest halvings, at most ten, found by
 * bisection, the most first, since often nothing helps; NULL when none does. */
static const char *change_that_fits(const Compilation *c, const char *dim, int64_t value) {
    int64_t found = 0;
    const PlanResult *result = NULL; /* of `found`, unless it fits without a look */
    Compilation other, fits;
    const Graph *g;
    int least = 1, most = 10;
    while (most > 1 && value >> most < 1) most--;
    for (int halvings = most; least <= most; halvings = (least + most) / 2) {
        int64_t smaller = value >> halvings;
        const char *set = arena_printf(c->arena, "%s=%" PRId64, dim, smaller);
        if (smaller < 1 || !compile_variant(c, &set, 1, &other)) break;
        if (weight_bytes(other.forward) > c->budget_bytes) break;
        other.any_that_fits = true;
        const PlanResult *tried =
            surely_fits(&other) ? NULL : compile_policy(&other, POLICY_OPTIMAL, c->budget_bytes, &g);
        if (tried && !tried->feasible) {
            if (!found) return NULL;
            least = halvings + 1;
            continue;
        }
        found = smaller, result = tried, fits = other;
        most = halvings - 1;
    }
    if (!found) return NULL;
    if (!result) result = compile_policy(&fits, POLICY_OPTIMAL, c->budget_bytes, &g);
    char needs[24];
    return arena_printf(c->arena, "%s = %" PRId64 " (%s)", dim, found,
                        format_bytes(result->smallest_bytes + c->device.reserved_bytes, needs));
}

/* The host memory with which the file fits, rounded up to MiB or GiB; NULL when none does or it has some. */
static const char *host_that_fits(const Compilation *c) {
    const char *set = "host=64TB";
    Compilation other;
    const Graph *g;
    if (c->spec.host_bytes || !c->device.copies_beside || !compile_variant(c, &set, 1, &other)) return NULL;
    const PlanResult *result = compile_policy(&other, POLICY_OPTIMAL, c->budget_bytes, &g);
    if (!result->feasible) return NULL;
    int64_t mib = (result->plan.host_bytes + (1 << 20) - 1) >> 20;
    return mib < 2048 ? arena_printf(c->arena, "host %" PRId64 "MiB", mib)
                      : arena_printf(c->arena, "host %" PRId64 "GiB", (mib + 1023) >> 10);
}

static int infeasible(Compilation *c, const Trial *trial, int64_t arena_budget) {
    char budget[24], least[24], reserved[24];
    const PlanResult *result = trial->result;
    format_bytes(c->budget_bytes, budget);
    format_bytes(result->smallest_bytes + c->device.reserved_bytes, least);
    Span span = c->spec.budget_bytes && !c->options->budget ? c->spec.budget_span : NO_SPAN;
    if (c->policy == POLICY_OPTIMAL)
        diag_error(c->diag, E0701, span, "no plan fits %s on %s; the smallest feasible budget is %s", budget,
                   c->device.name, least);
    else
        diag_error(c->diag, E0701, span, "policy %s needs %s, which does not fit %s on %s",
                   policy_name[c->policy],
                   format_bytes(result->plan.peak_bytes + c->device.reserved_bytes, reserved), budget,
                   c->device.name);
    const int64_t *roles = live_at_peak(trial->graph, &result->plan, result->layout, c->arena);
    Text floor = {.arena = c->arena};
    for (int r = 0; r < LIVE_COLUMNS; r++) {
        char size[24];
        if (roles[r] >= 1 << 10)
            text_add(&floor, "%s%s %s", floor.length ? " + " : "", live_label[r],
                     format_bytes(roles[r], size));
    }
    if (c->device.reserved_bytes)
        text_add(&floor, " + context %s", format_bytes(c->device.reserved_bytes, reserved));
    diag_note(c->diag, NO_SPAN, "floor = %s   (B = %" PRId64 ")", floor.at, trial->graph->batch);
    if (c->policy != POLICY_OPTIMAL) {
        result = plan_checked(c, trial->graph, trial->cost, POLICY_OPTIMAL,
                              arena_budget > 0 ? arena_budget : 1, trial->memo);
        diag_help(c->diag, "policy optimal needs %s at least",
                  format_bytes(result->smallest_bytes + c->device.reserved_bytes, least));
    } else if (arena_budget > result->layout->persistent_bytes) {
        Text changes = {.arena = c->arena};
        const char *change[3] = {NULL, NULL, host_that_fits(c)};
        if (trial->graph->batch > 1 && !c->spec.tokens_per_step)
            change[0] = change_that_fits(c, "B", trial->graph->batch);
        change[1] = change_that_fits(c, "T", trial->graph->context);
        for (size_t i = 0; i < COUNT_OF(change); i++)
            if (change[i])
                text_add(&changes, "%s%s%s", changes.length ? "; so would " : "", change[i],
                         changes.length ? "" : " would fit");
        if (changes.length) diag_help(c->diag, "%s", changes.at);
    }
    compile_messages(c);
    return EXIT_INFEASIBLE;
}

int compile_plan(Compilation *c) {
    int64_t arena_budget = compile_arena_budget(c, c->budget_bytes);
    /* with nothing left, an arena of one byte says the same: nothing fits */
    Trial trial = best_trial(c, c->policy, arena_budget < 0 ? 1 : arena_budget);
    c->forward = trial.forward;
    c->grad = trial.grad;
    c->fused = trial.fused;
    c->graph = trial.graph;
    c->result = trial.result;
    c->tile = trial.tile;
    c->memo = trial.memo;
    if (!trial.result->feasible) return infeasible(c, &trial, arena_budget);
    Part train = {.graph = trial.graph,
                  .cost = trial.cost,
                  .plan = &trial.result->plan,
                  .layout = trial.result->layout};
    c->request = (EmitRequest){.spec = &c->spec,
                               .device = &c->device,
                               .cuda = c->device.cuda,
                               .train = train,
                               .evaluate = evaluation_part(c, &trial, &train),
                               .sample = sampling_part(c, &train, arena_budget)};
    c->request.arena_bytes = train.layout->height_bytes;
    const Layout *other[] = {c->request.evaluate.layout, c->request.sample.layout};
    for (size_t i = 0; i < COUNT_OF(other); i++)
        if (other[i]->height_bytes > c->request.arena_bytes) c->request.arena_bytes = other[i]->height_bytes;
    return -1;
}
