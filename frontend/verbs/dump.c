/* The verb `dump`: one stage of the pipeline as text. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/infeasible.h"

#include "frontend/driver/command.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "ir/check.h"
#include "ir/ops.h"
#include "ir/text.h"

#include <inttypes.h>
#include <string.h>

static void dump_cost(const Part *part, Text *out) {
    text_add(out, "# seconds, operations, bytes, bytes of workspace; rates from\n");
    for (NodeId n = 0; n < part->graph->node.count; n++) {
        const Cost *cost = &part->cost[n];
        text_add(out, "%.3e %.4g %.4g %" PRId64 " %s %s; %s\n", cost->seconds, cost->flops, cost->bytes,
                 cost->workspace_bytes, op_info[part->graph->node.at[n].op].name,
                 part->graph->node.at[n].name, cost->source ? cost->source : "nothing to do");
    }
}

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

static Stage stage_of(const char *word) {
    int stage = 0;
    while (strcmp(stage_name[stage], word)) stage++;
    return (Stage)stage;
}

int verb_dump(Compilation *c) {
    Stage stage = c->options->stage ? stage_of(c->options->stage) : STAGE_GRAPH;
    if (ends_in(c->options->file, ".graph")) {
        if (stage >= STAGE_GRAPH && stage < STAGE_COST) return dump_graph_text(c);
        return message_fail(c->options, EXIT_USAGE, "a .graph file has the stages %s to %s only",
                            stage_name[STAGE_GRAPH], stage_name[STAGE_COST - 1]);
    }
    int code = compile_parse(c);
    Planned planned = {0};
    if (code < 0 && stage > STAGE_AST) code = compile_lower(c);
    if (code < 0 && stage > STAGE_GRAPH) code = infeasible_or_plan(c, &planned);
    if (code >= 0) return code;
    Text out = {.arena = c->arena};
    switch (stage) {
    case STAGE_AST: ast_print(c->ast, &out); break;
    case STAGE_GRAPH: graph_print(c->forward, &out); break;
    case STAGE_COST: dump_cost(&planned.request.train, &out); break;
    case STAGE_PLAN: dump_plan(&planned.request.train, &out); break;
    case STAGE_LAYOUT: dump_layout(&planned.request.train, &out); break;
    default: graph_print(planned.train.made[stage], &out);
    }
    return output_print(c->options, &out);
}
