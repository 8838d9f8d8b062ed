/* rematc: one verb a run. Results go to stdout, messages to stderr. */
#include "frontend/driver/compile.h"
#include "codegen/picture/dot.h"
#include "codegen/json_tree.h"
#include "frontend/verbs/devices.h"
#include "frontend/verbs/import.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/report.h"
#include "frontend/verbs/pack.h"
#include "frontend/verbs/solve.h"
#include "frontend/verbs/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- check ---- */

static int verb_check(Compilation *c) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    int64_t parameters = graph_parameters(c->forward);
    Text out = {.arena = c->arena};
    if (c->options->json) {
        text_add(&out, "{\"model\": ");
        text_add_json(&out, c->spec.model);
        text_add(&out,
                 ", \"parameters\": %" PRId64 ", \"batch\": %" PRId64 ", \"context\": %" PRId64
                 ", \"operations\": %u, \"warnings\": ",
                 parameters, c->forward->batch, c->forward->context, c->forward->node.count);
        diag_print_json_list(c->diag, &out);
        text_add(&out, "}\n");
    } else {
        text_add_printable(&out, c->options->file, "");
        text_add(&out,
                 ": fine; %s has %" PRId64 " parameters and %u forward operations on [%" PRId64 ", %" PRId64
                 "] tokens\n",
                 c->spec.model, parameters, c->forward->node.count, c->forward->batch, c->forward->context);
    }
    return output_print(c->options, &out);
}

/* ---- plan ---- */

static int planned(Compilation *c) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code < 0) code = compile_plan(c);
    return code;
}

static CompareRow compare_row(const Compilation *c, Policy policy) {
    Compilation roomy = *c; /* where the file gives no host memory, what the policy would take of it */
    if (policy == POLICY_OFFLOAD_BLOCKS && !c->spec.host_bytes) roomy.spec.host_bytes = INT64_MAX;
    PolicyPlan plan = compile_policy(&roomy, policy, c->budget_bytes);
    const PlanResult *result = plan.result;
    const Graph *g = plan.graph;
    CompareRow row = {.policy = policy,
                      .feasible = plan.feasible,
                      .peak_bytes = plan.peak_bytes,
                      .host_bytes = result->plan.host_bytes,
                      .seconds = result->plan.seconds,
                      .tokens_per_second =
                          (double)(g->batch * g->context * g->accumulate) / result->plan.seconds,
                      .keep_all_bytes = result->keep_all_bytes,
                      .keep_all_seconds = result->keep_all_seconds,
                      .batch = g->batch,
                      .reason = result->reason.at,
                      .reasons = result->reason.count};
    if (result->plan.host_bytes <= c->spec.host_bytes) return row;
    char bytes[24];
    const char **reason = NEW_ARRAY(c->arena, const char *, row.reasons + 1);
    for (uint32_t i = 0; i < row.reasons; i++) reason[i] = row.reason[i];
    reason[row.reasons++] =
        arena_printf(c->arena, "takes %s of host memory, and the file gives %s",
                     format_bytes(result->plan.host_bytes, bytes),
                     c->spec.host_bytes ? "less" : "none: write `host SIZE` beside the budget");
    row.reason = reason;
    row.feasible = false;
    return row;
}

static int compare(Compilation *c) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    Comparison all = {.spec = &c->spec,
                      .device = &c->device,
                      .budget_bytes = c->budget_bytes,
                      .smallest_bytes = compile_smallest(c, POLICY_OPTIMAL),
                      .rows = POLICY_COUNT};
    bool any = false;
    for (int p = 0; p < POLICY_COUNT; p++) {
        all.row[p] = compare_row(c, (Policy)p);
        any |= all.row[p].feasible;
    }
    compile_warn_capped(c);
    Text out = {.arena = c->arena};
    if (c->options->json)
        report_compare_json(&all, &out);
    else
        report_compare(&all, &out);
    code = output_print(c->options, &out);
    if (any || code != EXIT_FINE) return code;
    char budget[24], least[24];
    message_error(c->options, "no policy fits %s; the smallest feasible budget is %s",
                  format_bytes(c->budget_bytes, budget), format_bytes_up(all.smallest_bytes, least));
    return EXIT_INFEASIBLE;
}

static int verb_plan(Compilation *c) {
    if (c->options->compare && (c->options->policy || c->options->why))
        return message_fail(c->options, EXIT_USAGE,
                            "--compare shows every policy; it goes without --policy and --why");
    if (c->options->why && c->options->json)
        return message_fail(c->options, EXIT_USAGE, "--why answers in text; it goes without --json");
    if (c->options->compare) return compare(c);
    int code = planned(c);
    if (code >= 0) return code;
    PlanReport report = {
        .request = &c->request, .result = c->result, .tile = c->tile, .budget_bytes = c->budget_bytes};
    /* where everything is kept, more memory buys nothing */
    if (c->budget_bytes && c->policy == POLICY_OPTIMAL &&
        c->result->plan.seconds > c->result->keep_all_seconds) {
        report.more_bytes = (int64_t)512 << 20;
        if (report.more_bytes > c->budget_bytes / 10) report.more_bytes = c->budget_bytes / 10;
        PlanResult *more = compile_replan(c, POLICY_OPTIMAL, c->budget_bytes + report.more_bytes);
        if (more && more->feasible && more->plan.seconds < c->result->plan.seconds)
            report.more_seconds = more->plan.seconds;
    }
    if (!c->options->why) report.smallest_bytes = compile_smallest(c, c->policy);
    Text out = {.arena = c->arena};
    if (c->options->why) {
        if (report_why(&report, c->options->why, &out)) return output_print(c->options, &out);
        const Graph *g = c->graph;
        const char **names = NEW_ARRAY(c->arena, const char *, g->node.count + 1);
        for (uint32_t n = 0; n < g->node.count; n++) names[n] = g->node.at[n].name;
        const char *near = diag_nearest(c->options->why, names, g->node.count);
        return message_fail(c->options, EXIT_USAGE, "no forward operation is called '%s'%s%s%s",
                            c->options->why, near ? "; did you mean '" : "", near ? near : "",
                            near ? "'?" : "");
    }
    if (c->options->json)
        report_plan_json(&report, &out);
    else
        report_plan(&report, &out);
    return output_print(c->options, &out);
}

/* ---- dump ---- */

static void dump_plan(const Part *part, Text *out) {
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        const Step *step = &part->plan->step.at[s];
        if (s == part->plan->update_begin) text_add(out, "update\n");
        bool runs = step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE;
        text_add(out, "%u %s %s\n", s, step_kind_name[step->kind],
                 runs ? part->graph->node.at[step->node].name : part->graph->value.at[step->value].name);
    }
    text_add(out, "peak %" PRId64 " bytes\n", part->plan->peak_bytes);
}

static void dump_layout(const Part *part, Text *out) {
    text_add(out, "# offset bytes [from, to) value\n");
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        text_add(out, "%" PRId64 " %" PRId64 " [%u, %u) %s%s\n", buf->offset, buf->bytes, buf->lo, buf->hi,
                 buf->kind == BUF_WORKSPACE ? "workspace" : part->graph->value.at[buf->value].name,
                 buf->persistent         ? " persistent"
                 : buf->kind == BUF_HOST ? " host"
                                         : "");
    }
    text_add(out, "height %" PRId64 " bytes, live %" PRId64 " bytes", part->layout->height_bytes,
             part->layout->live_bytes);
    if (part->layout->host_bytes) text_add(out, ", host %" PRId64 " bytes", part->layout->host_bytes);
    text_add(out, "\n");
}

/* A graph in text form is read, checked and printed again. */
static int dump_graph_text(Compilation *c) {
    size_t length;
    char *text = read_file(c->arena, c->options->file, &length);
    if (!text)
        return message_fail(c->options, EXIT_IO, "cannot read '%s': %s", c->options->file, read_file_error());
    const char *error = NULL;
    Graph *g = graph_read(text, c->arena, &error);
    if (g) error = graph_check(g, c->arena);
    if (error) return message_fail_at(c->options, EXIT_SOURCE, c->options->file, 0, 0, "%s", error);
    Text out = {.arena = c->arena};
    graph_print(g, &out);
    return output_print(c->options, &out);
}

static int verb_dump(Compilation *c) {
    static const char *const stages[] = {"ast", "graph", "grad", "fuse", "order", "plan", "layout"};
    const char *stage = c->options->stage ? c->options->stage : "graph";
    size_t s = 0;
    while (s < COUNT_OF(stages) && strcmp(stage, stages[s])) s++;
    if (s == COUNT_OF(stages))
        return message_fail(c->options, EXIT_USAGE,
                            "--stage is ast, graph, grad, fuse, order, plan or layout, not '%s'", stage);
    size_t name_length = strlen(c->options->file);
    if (name_length > 6 && !strcmp(c->options->file + name_length - 6, ".graph")) {
        if (s >= 1 && s <= 4) return dump_graph_text(c);
        return message_fail(c->options, EXIT_USAGE,
                            "a .graph file has the stages graph, grad, fuse and order only");
    }
    int code = compile_parse(c);
    Text out = {.arena = c->arena};
    if (code < 0 && s == 0) {
        ast_print(c->ast, &out);
        return output_print(c->options, &out);
    }
    if (code < 0) code = compile_lower(c);
    if (code < 0 && s > 1) code = compile_plan(c);
    if (code >= 0) return code;
    switch (s) {
    case 1: graph_print(c->forward, &out); break;
    case 2: graph_print(c->grad, &out); break;
    case 3: graph_print(c->fused, &out); break;
    case 4: graph_print(c->graph, &out); break;
    case 5: dump_plan(&c->request.train, &out); break;
    default: dump_layout(&c->request.train, &out); break;
    }
    return output_print(c->options, &out);
}

/* ---- emit, build, run ---- */

/* "examples/bytes-gpt.remat" -> "bytes-gpt.train" */
static const char *default_dir(const Compilation *c) {
    const char *slash = strrchr(c->options->file, '/'), *base = slash ? slash + 1 : c->options->file;
    const char *dot = strrchr(base, '.');
    if (c->imported || !strcmp(base, "-")) base = c->spec.model, dot = NULL;
    return arena_printf(c->arena, "%.*s.train", dot ? (int)(dot - base) : (int)strlen(base), base);
}

static int emitted(Compilation *c, const char **dir) {
    const char *wanted = c->options->output;
    if (wanted && (!*wanted || !strcmp(wanted, "-")))
        return message_fail(c->options, EXIT_USAGE, "-o '%s' names no folder%s", wanted,
                            *wanted ? "; one that is called so is './-'" : "");
    int code = planned(c);
    if (code >= 0) return code;
    *dir = wanted ? wanted : default_dir(c);
    EmitPlace place = {.dir = *dir, .input = c->options->file, .force = c->options->force};
    const char *error = NULL;
    FolderAnswer answer = emit_program(&c->request, &place, c->arena, &error);
    if (answer == FOLDER_WRITTEN) return -1;
    return message_fail_help(c->options, answer == FOLDER_IS_INPUT ? EXIT_USAGE : EXIT_IO,
                             answer == FOLDER_REFUSED ? "--force replaces them" : NULL, "%s", error);
}

static int verb_emit(Compilation *c) {
    const char *dir = NULL;
    int code = emitted(c, &dir);
    if (code >= 0) return code;
    char peak[24];
    Text out = {.arena = c->arena};
    text_add_printable(&out, dir, "");
    text_add(&out, ": %s for %s, peak %s\n", c->request.cuda ? "train.cu" : "train.c",
             device_text(&c->device, c->arena), format_bytes(c->request.arena_bytes, peak));
    return output_print(c->options, &out);
}

static int built(Compilation *c, const char **dir) {
    int code = emitted(c, dir);
    if (code >= 0) return code;
    BuildFailure failure;
    if (build_program(*dir, c->request.cuda, c->options->quiet, c->arena, &failure)) return -1;
    return message_fail_help(c->options, failure.code, failure.help, "%s", failure.error);
}

static int verb_build(Compilation *c) {
    const char *dir = NULL;
    int code = built(c, &dir);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    text_add(&out, "%s/train\n", dir);
    return output_print(c->options, &out);
}

static int verb_run(Compilation *c) {
    const char *dir = NULL;
    int code = built(c, &dir);
    if (code >= 0) return code;
    char **argv = NEW_ARRAY(c->arena, char *, c->options->rest_count + 2);
    argv[0] = arena_printf(c->arena, "%s/train", dir);
    if (!strchr(argv[0], '/')) argv[0] = arena_printf(c->arena, "./%s", argv[0]);
    for (int i = 0; i < c->options->rest_count; i++) argv[i + 1] = c->options->rest[i];
    fflush(NULL);
    execv(argv[0], argv);
    return message_fail(c->options, EXIT_ENVIRONMENT, "cannot run '%s': %s", argv[0], strerror(errno));
}

/* ---- fmt, explain, devices ---- */

static int verb_fmt(Compilation *c) {
    if (c->options->check && c->options->write)
        return message_fail(c->options, EXIT_USAGE,
                            "fmt --check looks and --write changes: name one of them");
    int code = compile_parse(c);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    fmt_print(c->ast, &out);
    if (c->options->check) {
        bool same = c->ast->length == out.length && !memcmp(c->ast->source, out.at, out.length);
        if (same) return EXIT_FINE;
        return message_fail_at(c->options, EXIT_SOURCE, c->options->file, 0, 0,
                               "not in canonical form; `rematc fmt --write` changes it");
    }
    if (!c->options->write) return output_print(c->options, &out);
    return output_write(c->options, c->options->file, &out);
}

static int verb_explain(Compilation *c) {
    Text out = {.arena = c->arena};
    if (!c->options->file) {
        for (int i = 0; i < CODE_COUNT; i++) text_add(&out, "%s  %s\n", code_name[i], code_title[i]);
        return output_print(c->options, &out);
    }
    Code code = code_find(c->options->file);
    if (code == CODE_COUNT) {
        const char *near = diag_nearest(c->options->file, code_name, CODE_COUNT);
        return message_fail_help(c->options, EXIT_USAGE,
                                 near ? arena_printf(c->arena, "did you mean '%s'?", near)
                                      : "`rematc explain` lists them all",
                                 "there is no error code '%s'", c->options->file);
    }
    text_add(&out, "%s: %s\n\n%s\n", code_name[code], code_title[code], code_text[code]);
    return output_print(c->options, &out);
}

static int verb_devices(Compilation *c) {
    return devices_print(c->options, c->arena);
}

/* ---- graph ---- */

static int verb_graph(Compilation *c) {
    static const char *const formats[] = {"svg", "png", "pdf", "dot"};
    const char *path = c->options->output, *format = c->options->format;
    if (!path) return message_fail(c->options, EXIT_USAGE, "graph needs -o FILE.svg, .png, .pdf or .dot");
    const char *dot = strrchr(path, '.');
    if (!format) format = dot ? dot + 1 : "";
    size_t f = 0;
    while (f < COUNT_OF(formats) && strcmp(format, formats[f])) f++;
    if (f == COUNT_OF(formats))
        return message_fail(c->options, EXIT_USAGE,
                            "a picture is svg, png, pdf or dot, not '%s'; name it so, or use --format",
                            format);
    int code = output_not_input(c->options);
    if (code < 0) code = planned(c);
    if (code >= 0) return code;
    const Part *train = &c->request.train;
    if (c->options->layer >= (int64_t)train->graph->block.count)
        return message_fail(c->options, EXIT_USAGE, "there is no layer %" PRId64 "; %s has %u",
                            c->options->layer, c->spec.model, train->graph->block.count);
    char peak[24];
    const char *error = NULL;
    char *title = arena_printf(c->arena, "%s on %s, policy %s, peak %s", c->spec.model,
                               device_text(&c->device, c->arena), policy_name[c->policy],
                               format_bytes(c->request.arena_bytes, peak));
    Text out = {.arena = c->arena};
    DotRequest request = {.g = train->graph,
                          .plan = train->plan,
                          .layout = train->layout,
                          .cost = train->cost,
                          .title = title,
                          .layer = (int)c->options->layer,
                          .format = format};
    DotAnswer answer = dot_draw(&request, &out, &error);
    if (answer == DOT_DRAWN) return output_write(c->options, path, &out);
    return message_fail(c->options, answer == DOT_REFUSED ? EXIT_IO : EXIT_INTERNAL, "%s", error);
}

static int verb_pack(Compilation *c) {
    return pack_outside(c->options, c->arena);
}

static int verb_solve(Compilation *c) {
    return solve_outside(c->options, c->arena);
}

int main(int argc, char **argv) {
    static int (*const verb[VERB_COUNT])(Compilation *) = {
        [VERB_CHECK] = verb_check,     [VERB_PLAN] = verb_plan,      [VERB_DUMP] = verb_dump,
        [VERB_EMIT] = verb_emit,       [VERB_BUILD] = verb_build,    [VERB_RUN] = verb_run,
        [VERB_GRAPH] = verb_graph,     [VERB_FMT] = verb_fmt,        [VERB_EXPLAIN] = verb_explain,
        [VERB_DEVICES] = verb_devices, [VERB_SWEEP] = verb_sweep,    [VERB_SOLVE] = verb_solve,
        [VERB_PACK] = verb_pack,       [VERB_IMPORT] = import_write,
    };
    output_begin();
    json_tree_begin();
    Arena *arena = arena_new();
    Options options;
    int code = options_parse(&options, arena, argc, argv);
    if (code < 0) {
        Compilation compilation = {.arena = arena, .options = &options};
        code = verb[options.verb](&compilation);
    }
    arena_free(arena);
    return output_end(&options, code);
}
