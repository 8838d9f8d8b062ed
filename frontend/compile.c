/* See compile.h. */
#include "compile.h"

#include "lower.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

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

/* What one micro-batch size leads to. */
typedef struct Trial {
    Graph *forward, *grad, *graph;
    Cost *cost;
    PlanResult *result;
} Trial;

static PlanResult *plan_checked(const Compilation *c, const Graph *g, const Cost *cost, Policy policy,
                                int64_t arena_budget) {
    PlanRequest request = {.graph = g,
                           .cost = cost,
                           .device = &c->device,
                           .spec = &c->spec,
                           .policy = policy,
                           .budget_bytes = arena_budget};
    PlanResult *result = plan_graph(&request, c->arena);
    const char *broken = plan_check(g, &result->plan, c->arena);
    if (broken) die("plan: %s", broken);
    broken =
        layout_check(g, cost, &result->plan, result->layout, result->feasible ? arena_budget : 0, c->arena);
    if (broken) die("layout: %s", broken);
    return result;
}

static Trial try_batch(const Compilation *c, int64_t batch, Policy policy, int64_t arena_budget) {
    Trial trial = {.forward = lower_graph(c->ast, &c->spec, batch, 0, c->diag, c->arena)};
    if (!trial.forward) die("batch %" PRId64 " does not lower, though another did", batch);
    TrainRule rule = train_rule(&c->spec, trial.forward->accumulate);
    trial.grad = checked(autodiff(trial.forward, &rule, c->arena), "gradient", c->arena);
    trial.graph = checked(fuse(trial.grad, c->arena), "fused", c->arena);
    trial.cost = cost_graph(trial.graph, &c->device, c->arena);
    trial.result = plan_checked(c, trial.graph, trial.cost, policy, arena_budget);
    return trial;
}

int64_t compile_arena_budget(const Compilation *c, int64_t budget_bytes) {
    if (!budget_bytes) return 0;
    return budget_bytes > c->device.reserved_bytes ? budget_bytes - c->device.reserved_bytes : -1;
}

static double seconds_per_token(const Trial *trial) {
    const Graph *g = trial->graph;
    return trial->result->plan.seconds / (double)(g->batch * g->context * g->accumulate);
}

/* The micro-batch with the most tokens a second among those that fit; when none fits, the smallest. */
static Trial best_trial(const Compilation *c, Policy policy, int64_t arena_budget) {
    if (!c->spec.batch_auto) return try_batch(c, 0, policy, arena_budget);
    Trial best = {0};
    for (int64_t batch = c->spec.batch_low; batch <= c->spec.batch_high; batch++) {
        if (!lower_batch_fits(&c->spec, batch)) continue;
        Trial trial = try_batch(c, batch, policy, arena_budget);
        if (!best.result ||
            (trial.result->feasible &&
             (!best.result->feasible || seconds_per_token(&trial) < seconds_per_token(&best))))
            best = trial;
        else if (!trial.result->feasible && best.result->smallest_bytes < trial.result->smallest_bytes)
            break; /* larger ones need still more */
    }
    return best;
}

PlanResult *compile_replan(Compilation *c, Policy policy, int64_t budget_bytes) {
    int64_t arena_budget = compile_arena_budget(c, budget_bytes);
    if (arena_budget < 0) return NULL;
    return plan_checked(c, c->request.train.graph, c->request.train.cost, policy, arena_budget);
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
    broken = layout_check(g, cost, &result->plan, result->layout, 0, c->arena);
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
    return variant->forward != NULL;
}

/* The change to one dim that makes the smallest plan fit, found by halving it; NULL when none does. */
static const char *change_that_fits(const Compilation *c, const char *dim, int64_t value) {
    for (int64_t smaller = value / 2; smaller >= 1 && smaller >= value / 1024; smaller /= 2) {
        Compilation other;
        const Graph *g;
        const char *set = arena_printf(c->arena, "%s=%" PRId64, dim, smaller);
        if (!compile_variant(c, &set, 1, &other)) return NULL;
        const PlanResult *result = compile_policy(&other, POLICY_OPTIMAL, c->budget_bytes, &g);
        if (!result->feasible) continue;
        char needs[24];
        return arena_printf(c->arena, "%s = %" PRId64 " (%s)", dim, smaller,
                            format_bytes(result->smallest_bytes + c->device.reserved_bytes, needs));
    }
    return NULL;
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
        result =
            plan_checked(c, trial->graph, trial->cost, POLICY_OPTIMAL, arena_budget > 0 ? arena_budget : 1);
        diag_help(c->diag, "policy optimal needs %s at least",
                  format_bytes(result->smallest_bytes + c->device.reserved_bytes, least));
    } else if (arena_budget > 0) {
        const char *change[2] = {NULL, NULL};
        if (trial->graph->batch > 1 && !c->spec.tokens_per_step)
            change[0] = change_that_fits(c, "B", trial->graph->batch);
        change[1] = change_that_fits(c, "T", trial->graph->context);
        if (change[0] && change[1])
            diag_help(c->diag, "%s would fit; so would %s", change[0], change[1]);
        else if (change[0] || change[1])
            diag_help(c->diag, "%s would fit", change[0] ? change[0] : change[1]);
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
    c->graph = trial.graph;
    c->result = trial.result;
    if (!trial.result->feasible) return infeasible(c, &trial, arena_budget);
    Part train = {.graph = trial.graph,
                  .cost = trial.cost,
                  .plan = &trial.result->plan,
                  .layout = trial.result->layout};
    Graph *one = lower_graph(c->ast, &c->spec, 1, 0, c->diag, c->arena);
    if (!one) die("batch 1 does not lower, though another did");
    c->request = (EmitRequest){.spec = &c->spec,
                               .device = &c->device,
                               .cuda = c->device.cuda,
                               .train = train,
                               .evaluate = forward_part(c, trial.forward, &train, "evaluation"),
                               .sample = forward_part(c, one, &train, "sampling")};
    c->request.arena_bytes = train.layout->height_bytes;
    const Layout *other[] = {c->request.evaluate.layout, c->request.sample.layout};
    for (size_t i = 0; i < COUNT_OF(other); i++)
        if (other[i]->height_bytes > c->request.arena_bytes) c->request.arena_bytes = other[i]->height_bytes;
    return -1;
}
