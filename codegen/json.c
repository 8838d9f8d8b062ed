/* The plan as JSON: what an emitted folder says of itself to other programs. Read it with `rematc plan
 * --json` for the summary; this file has every step and every buffer. */
#include "emit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *steps_json(const Part *part) {
    json_t *steps = json_array();
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        const Step *step = &part->plan->step.at[s];
        json_t *row = json_object();
        json_object_set_new(row, "step", json_string(step_kind_name[step->kind]));
        if (step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE) {
            const Node *node = &part->graph->node.at[step->node];
            json_object_set_new(row, "node", json_string(node->name));
            json_object_set_new(row, "op", json_string(op_info[node->op].name));
            json_object_set_new(row, "phase", json_string(phase_name[node->phase]));
        } else {
            json_object_set_new(row, "value", json_string(part->graph->value.at[step->value].name));
        }
        json_array_append_new(steps, row);
    }
    return steps;
}

static json_t *buffers_json(const Part *part) {
    json_t *buffers = json_array();
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        json_t *row = json_object();
        json_object_set_new(row, "value",
                            buf->kind == BUF_WORKSPACE ? json_string("workspace")
                                                       : json_string(part->graph->value.at[buf->value].name));
        json_object_set_new(row, "memory", json_string(buf->kind == BUF_HOST ? "host" : "device"));
        json_object_set_new(row, "lower", json_integer(buf->lo));
        json_object_set_new(row, "upper", json_integer(buf->hi));
        json_object_set_new(row, "size", json_integer(buf->bytes));
        json_object_set_new(row, "offset", json_integer(buf->offset));
        json_object_set_new(row, "persistent", json_boolean(buf->persistent));
        json_array_append_new(buffers, row);
    }
    return buffers;
}

static json_t *part_json(const Part *part) {
    json_t *object = json_object();
    json_object_set_new(object, "batch", json_integer(part->graph->batch));
    json_object_set_new(object, "context", json_integer(part->graph->context));
    json_object_set_new(object, "accumulate", json_integer(part->graph->accumulate));
    json_object_set_new(object, "peak_bytes", json_integer(part->layout->height_bytes));
    json_object_set_new(object, "host_bytes", json_integer(part->layout->host_bytes));
    json_object_set_new(object, "live_bytes", json_integer(part->layout->live_bytes));
    json_object_set_new(object, "persistent_bytes", json_integer(part->layout->persistent_bytes));
    json_object_set_new(object, "seconds", json_real(part->plan->seconds));
    json_object_set_new(object, "recompute_seconds", json_real(part->plan->recompute_seconds));
    json_object_set_new(object, "wait_seconds", json_real(part->plan->wait_seconds));
    json_object_set_new(object, "update_begin", json_integer(part->plan->update_begin));
    json_object_set_new(object, "steps", steps_json(part));
    json_object_set_new(object, "buffers", buffers_json(part));
    return object;
}

void emit_plan_json(const EmitRequest *request, Text *out) {
    json_t *root = json_object();
    json_object_set_new(root, "model", json_string(request->spec->model));
    json_object_set_new(root, "source", json_string(request->spec->path));
    json_object_set_new(root, "device", json_string(request->device->name));
    json_object_set_new(root, "memory_pretended", json_boolean(request->device->memory_pretended));
    json_object_set_new(root, "target", json_string(request->cuda ? "cuda" : "host"));
    json_object_set_new(root, "policy", json_string(policy_name[request->train.plan->policy]));
    json_object_set_new(root, "arena_bytes", json_integer(request->arena_bytes));
    json_object_set_new(root, "train", part_json(&request->train));
    json_object_set_new(root, "evaluate", part_json(&request->evaluate));
    json_object_set_new(root, "sample", part_json(&request->sample));
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    if (!text) die("the plan has no JSON form");
    text_add_n(out, text, strlen(text));
    text_add_n(out, "\n", 1);
    free(text); /* jansson's own allocation */
    json_decref(root);
}
