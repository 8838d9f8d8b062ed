/* The plan as JSON: what an emitted folder says of itself to other programs. Read it with `rematc plan
 * --json` for the summary; this file has every step and every buffer. */
#include "codegen/emit.h"
#include "codegen/json_tree.h"
#include "ir/ops.h"

static json_t *steps_json(const Part *part) {
    json_t *steps = json_array();
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        const Step *step = &part->plan->step.at[s];
        json_t *row = json_object();
        json_set(row, "step", json_text(step_kind_name[step->kind]));
        if (step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE) {
            const Node *node = &part->graph->node.at[step->node];
            json_set(row, "node", json_text(node->name));
            json_set(row, "op", json_text(op_info[node->op].name));
            json_set(row, "phase", json_text(phase_name[node->phase]));
        } else {
            json_set(row, "value", json_text(part->graph->value.at[step->value].name));
        }
        json_add(steps, row);
    }
    return steps;
}

static json_t *buffers_json(const Part *part) {
    json_t *buffers = json_array();
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        json_t *row = json_object();
        json_set(row, "value",
                 buf->kind == BUF_WORKSPACE ? json_text("workspace")
                                            : json_text(part->graph->value.at[buf->value].name));
        json_set(row, "memory", json_text(buf->kind == BUF_HOST ? "host" : "device"));
        json_set(row, "lower", json_integer(buf->lo));
        json_set(row, "upper", json_integer(buf->hi));
        json_set(row, "size", json_integer(buf->bytes));
        json_set(row, "offset", json_integer(buf->offset));
        json_set(row, "persistent", json_boolean(buf->persistent));
        json_add(buffers, row);
    }
    return buffers;
}

static json_t *part_json(const Part *part) {
    json_t *object = json_object();
    json_set(object, "batch", json_integer(part->graph->batch));
    json_set(object, "context", json_integer(part->graph->context));
    json_set(object, "accumulate", json_integer(part->graph->accumulate));
    json_set(object, "peak_bytes", json_integer(part->layout->height_bytes));
    json_set(object, "host_bytes", json_integer(part->layout->host_bytes));
    json_set(object, "live_bytes", json_integer(part->layout->live_bytes));
    json_set(object, "persistent_bytes", json_integer(part->layout->persistent_bytes));
    json_set(object, "seconds", json_number(part->plan->seconds));
    json_set(object, "recompute_seconds", json_number(part->plan->recompute_seconds));
    json_set(object, "wait_seconds", json_number(part->plan->wait_seconds));
    json_set(object, "update_begin", json_integer(part->plan->update_begin));
    json_set(object, "steps", steps_json(part));
    json_set(object, "buffers", buffers_json(part));
    return object;
}

void emit_plan_json(const EmitRequest *request, Text *out) {
    json_t *root = json_object();
    json_set(root, "model", json_text(request->spec->model));
    json_set(root, "source", json_text(request->spec->path));
    json_set(root, "device", json_text(request->device->name));
    json_set(root, "memory_pretended", json_boolean(request->device->memory_pretended));
    json_set(root, "target", json_text(request->cuda ? "cuda" : "host"));
    json_set(root, "policy", json_text(policy_name[request->train.plan->policy]));
    json_set(root, "arena_bytes", json_integer(request->arena_bytes));
    json_set(root, "train", part_json(&request->train));
    json_set(root, "evaluate", part_json(&request->evaluate));
    json_set(root, "sample", part_json(&request->sample));
    if (request->step.graph) json_set(root, "step", part_json(&request->step));
    json_tree_print(root, 1, out);
}
