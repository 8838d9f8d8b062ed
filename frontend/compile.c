/* See compile.h. */
#include "compile.h"

#include "../ir/glob.h"
#include "../kernels/cuda_sizes.h"

#include "lower.h"
#include "message.h"
#include "trial.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int source_errors(const Compilation *c) {
    return message_fail_source(c->options, EXIT_SOURCE, c->diag);
}

int compile_parse(Compilation *c) {
    const Options *options = c->options;
    size_t length;
    char *text = read_file_head(c->arena, options->file, AST_LARGEST_BYTES + 1, &length);
    if (!text)
        return message_fail(c->options, EXIT_IO, "cannot read '%s': %s", options->file, strerror(errno));
    c->diag = diag_new(c->arena, options->file, text, length);
    c->ast = ast_parse(c->arena, options->file, text, length, c->diag);
    if (!c->ast) return source_errors(c);
    for (uint32_t i = 0; i < options->set.count; i++)
        if (!ast_override(c->ast, options->set.at[i], c->diag)) return source_errors(c);
    if (options->device && !ast_override_option(c->ast, "device", options->device, c->diag))
        return source_errors(c);
    if (options->budget && !ast_override_option(c->ast, "budget", options->budget, c->diag))
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
        if (strcmp(target, "host") && strcmp(target, "cuda"))
            return message_fail(c->options, EXIT_USAGE, "--target is host or cuda, not '%s'", target);
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
            const char *near = diag_nearest(c->options->policy, policy_name, POLICY_COUNT);
            return message_fail_help(
                c->options, EXIT_USAGE,
                near ? arena_printf(c->arena, "did you mean '%s'?", near)
                     : "known: none, every-block, sqrt, offload-blocks, heuristic, optimal",
                "--policy: there is no policy '%s'", c->options->policy);
        }
    }
    c->budget_bytes = c->spec.budget_bytes ? c->spec.budget_bytes : c->device.memory_bytes;
    return -1;
}

/* Pins are matched against what is planned: operations that were fused into others and views have no memory
 * that could be kept or freed. False, and said, where a pin fits nothing else. */
static bool pins_fit(const Compilation *c) {
    if (!c->spec.pin.count) return true;
    TrainRule rule = trial_rule(&c->spec, c->forward->accumulate);
    const Graph *g = fuse(autodiff(c->forward, &rule, c->arena), c->arena);
    bool all = true;
    for (uint32_t i = 0; i < c->spec.pin.count; i++) {
        const Pin *pin = &c->spec.pin.at[i];
        bool any = false;
        Glob *glob = glob_new(c->arena, pin->pattern);
        for (uint32_t n = 0; n < g->node.count && !any; n++) {
            const Node *node = &g->node.at[n];
            any = node->phase == PHASE_FORWARD && !(op_info[node->op].flags & OPF_VIEW) &&
                  glob_matches(glob, node->name);
        }
        if (any) continue;
        diag_error(c->diag, E0208, pin->span,
                   "'%s' names only views and operations that become part of the next one", pin->pattern);
        diag_help(c->diag, "`rematc dump --stage fuse` lists the names that are left");
        all = false;
    }
    return all;
}

/* Whether the device has the shared memory that attention keeps its tiles in. */
static bool heads_fit(const Compilation *c) {
    int64_t has = c->device.cuda ? device_block_bytes(&c->device) : INT64_MAX;
    bool all = true;
    for (uint32_t n = 0; n < c->forward->node.count; n++) {
        const Node *node = &c->forward->node.at[n];
        if (node->op != OP_ATTEND) continue;
        int64_t width = c->forward->value.at[node->in[0]].type.dim[3], most = width;
        if (k_cuda_attend_shared_bytes(width) <= has) continue;
        while (most > 1 && k_cuda_attend_shared_bytes(most) > has) most--;
        diag_error(c->diag, E0326, node->span,
                   "attend: heads of %" PRId64 " numbers take %" PRId64
                   " bytes of shared memory a block, and %s has %" PRId64,
                   width, k_cuda_attend_shared_bytes(width), c->device.name, has);
        diag_help(c->diag, "heads of at most %" PRId64 " numbers fit it", most);
        all = false;
    }
    return all;
}

int compile_lower(Compilation *c) {
    bool fine = lower_spec(c->ast, c->diag, c->arena, &c->spec);
    c->forward = lower_graph(c->ast, &c->spec, 0, 0, c->diag, c->arena);
    c->memos = trial_memos_new(c->arena);
    if (!fine || !c->forward) return source_errors(c);
    const char *broken = graph_check(c->forward, c->arena);
    if (broken) die("lowered graph: %s", broken);
    if (!pins_fit(c)) return source_errors(c);
    int code = find_device(c);
    if (code >= 0) return code;
    if (!heads_fit(c)) return source_errors(c);
    if (diag_warnings(c->diag) && !c->options->warned) message_diagnostics(c->options, c->diag);
    diag_mark_shown(c->diag);
    return -1;
}

int64_t compile_arena_budget(const Compilation *c, int64_t budget_bytes) {
    if (!budget_bytes) return 0;
    return budget_bytes > c->device.reserved_bytes ? budget_bytes - c->device.reserved_bytes : -1;
}

PlanResult *compile_replan(Compilation *c, Policy policy, int64_t budget_bytes) {
    int64_t arena_budget = compile_arena_budget(c, budget_bytes);
    if (arena_budget < 0) return NULL;
    return trial_plan(c, c->request.train.graph, c->request.train.cost, policy, arena_budget, true, c->memo);
}

PlanResult *compile_policy(const Compilation *c, Policy policy, int64_t budget_bytes, const Graph **graph) {
    int64_t arena_budget = compile_arena_budget(c, budget_bytes);
    Trial trial = trial_best(c, policy, arena_budget < 0 ? 1 : arena_budget);
    *graph = trial.graph;
    return trial.result;
}

/* Evaluation and sampling: forward only, inside the training arena. */
static Part forward_part(const Compilation *c, const Graph *forward, const Part *train, const char *stage) {
    Graph *g = trial_check(
        fuse(trial_check(graph_forward_only(forward, c->arena), stage, c->arena), c->arena), stage, c->arena);
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
        fine = ast_override_option(variant->ast, "device", options->device, variant->diag);
    for (uint32_t i = 0; fine && i < count; i++) fine = ast_override(variant->ast, set[i], variant->diag);
    if (!fine || !lower_spec(variant->ast, variant->diag, c->arena, &variant->spec)) return false;
    variant->forward = lower_graph(variant->ast, &variant->spec, 0, 0, variant->diag, c->arena);
    variant->memos = trial_memos_new(c->arena);
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

static const int64_t ENOUGH = INT64_MAX;
/* The smallest budget of the arena that the file needs with one dim at `value`: 0 where that is too much,
 * ENOUGH where it fits and `roughly` asks for no more, -1 where the file is then in error. */
static int64_t bytes_with(const Compilation *c, const char *dim, int64_t value, bool roughly) {
    Compilation other;
    const char *set = arena_printf(c->arena, "%s=%" PRId64, dim, value);
    if (value < 1 || !compile_variant(c, &set, 1, &other)) return -1;
    if (weight_bytes(other.forward) > c->budget_bytes) return 0;
    return roughly && trial_surely_fits(&other) ? ENOUGH : trial_that_fits(&other);
}

/* The change to one dim that makes the smallest plan fit: the fewest halvings, at most ten; NULL when none
 * does. The first guess is right where all that is not persistent halves too; then the nearest one on the
 * other side is tried, or the most of all, since often nothing helps; then bisection finds it. */
static const char *change_that_fits(const Compilation *c, const Trial *trial, int64_t arena_budget,
                                    const char *dim, int64_t value) {
    int64_t persistent = trial->result->layout->persistent_bytes, fits = 0;
    int64_t more = trial->result->smallest_bytes - persistent, room = arena_budget - persistent;
    int least = 1, most = 10, guess = 1, found = 0;
    while (most > 1 && value >> most < 1) most--;
    while (guess < most && more >> guess > room) guess++;
    for (int tries = 0; least <= most; tries++) {
        int halvings = tries == 0 ? guess : tries == 1 ? most : (least + most) / 2;
        int64_t bytes = bytes_with(c, dim, value >> halvings, tries > 0);
        if (bytes > 0) fits = bytes, found = halvings;
        if (bytes == 0)
            least = halvings + 1;
        else
            most = halvings - 1;
    }
    if (!found) return NULL;
    if (fits == ENOUGH) fits = bytes_with(c, dim, value >> found, false);
    char needs[24];
    return arena_printf(c->arena, "%s = %" PRId64 " (%s)", dim, value >> found,
                        format_bytes(fits + c->device.reserved_bytes, needs));
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

/* Whether the command line, not the file, says what the budget is. */
static bool budget_overridden(const Options *options) {
    for (uint32_t i = 0; i < options->set.count; i++)
        if (!strncmp(options->set.at[i], "budget=", 7)) return true;
    return options->budget != NULL;
}

static int infeasible(Compilation *c, const Trial *trial, int64_t arena_budget) {
    char budget[24], least[24], reserved[24];
    const PlanResult *result = trial->result;
    format_bytes(c->budget_bytes, budget);
    format_bytes(result->smallest_bytes + c->device.reserved_bytes, least);
    Span span = c->spec.budget_bytes && !budget_overridden(c->options) ? c->spec.budget_span : NO_SPAN;
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
        result = trial_plan(c, trial->graph, trial->cost, POLICY_OPTIMAL, arena_budget > 0 ? arena_budget : 1,
                            false, trial->memo);
        diag_help(c->diag, "policy optimal needs %s at least",
                  format_bytes(result->smallest_bytes + c->device.reserved_bytes, least));
    } else if (arena_budget > result->layout->persistent_bytes) {
        Text changes = {.arena = c->arena};
        const char *change[3] = {NULL, NULL, host_that_fits(c)};
        if (trial->graph->batch > 1 && !c->spec.tokens_per_step)
            change[0] = change_that_fits(c, trial, arena_budget, "B", trial->graph->batch);
        change[1] = change_that_fits(c, trial, arena_budget, "T", trial->graph->context);
        for (size_t i = 0; i < COUNT_OF(change); i++)
            if (change[i])
                text_add(&changes, "%s%s%s", changes.length ? "; so would " : "", change[i],
                         changes.length ? "" : " would fit");
        if (changes.length) diag_help(c->diag, "%s", changes.at);
    }
    message_diagnostics(c->options, c->diag);
    return EXIT_INFEASIBLE;
}

int compile_plan(Compilation *c) {
    int64_t arena_budget = compile_arena_budget(c, c->budget_bytes);
    /* with nothing left, an arena of one byte says the same: nothing fits */
    Trial trial = trial_best(c, c->policy, arena_budget < 0 ? 1 : arena_budget);
    c->forward = trial.forward;
    c->grad = trial.grad;
    c->fused = trial.fused;
    c->graph = trial.graph;
    c->result = trial.result;
    c->tile = trial.tile;
    c->memo = trial.memo;
    if (!trial.result->feasible) return infeasible(c, &trial, arena_budget);
    if (c->device.memory_bytes && c->budget_bytes > c->device.memory_bytes) {
        char budget[24], memory[24];
        message_warn(c->options, "the budget of %s is more than %s has, %s",
                     format_bytes(c->budget_bytes, budget), c->device.name,
                     format_bytes(c->device.memory_bytes, memory));
    }
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
