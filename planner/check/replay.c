/* See replay.h. */
#include "planner/check/replay.h"

#include "ir/ops.h"

bool check_fail(CheckReplay *r, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    r->error = arena_strdup(r->arena, line);
    return false;
}

bool check_kept(const CheckReplay *r, ValueId home) {
    return r->g->value.at[home].kind != VALUE_ACTIVATION;
}
const char *check_name(const CheckReplay *r, ValueId v) {
    return r->g->value.at[v].name;
}
const char *check_size(const CheckReplay *r, ValueId v) {
    return format_bytes(value_bytes(&r->g->value.at[v]), arena_alloc(r->arena, 24));
}

const char *check_step(const CheckReplay *r, uint32_t s) {
    const Step *step = &r->plan->step.at[s];
    bool runs = step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE;
    static const char *const verb[] = {"run", "recompute", "offload", "fetch", "free"};
    const char *what = runs ? (step->node < r->g->node.count ? r->g->node.at[step->node].name : "?")
                            : (step->value < r->g->value.count ? check_name(r, step->value) : "?");
    return arena_printf(r->arena, "step %u (%s %s)", s, verb[step->kind], what);
}

CheckReplay check_replay(const Graph *g, const Plan *plan, Arena *arena) {
    CheckReplay r = {.g = g, .plan = plan, .arena = arena};
    r.home = NEW_ARRAY(arena, ValueId, g->value.count);
    r.version = NEW_ARRAY(arena, ValueId, g->value.count);
    r.storage = NEW_ARRAY(arena, CheckStorage, g->value.count);
    for (ValueId v = 0; v < g->value.count; v++) r.home[v] = r.version[v] = v;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) {
            r.home[node->out[0]] = r.home[node->in[0]];
            r.version[node->out[0]] = r.version[node->in[0]];
        }
        for (uint32_t i = 1; i <= node->nmut; i++)
            r.home[node->out[node->nout - i]] = r.home[node->in[node->nin - i]];
    }
    for (ValueId v = 0; v < g->value.count; v++)
        r.storage[v] = (CheckStorage){.now = r.home[v] == v && check_kept(&r, v) ? v : NONE,
                                      .host = NONE,
                                      .since = NONE,
                                      .leaves = NONE,
                                      .brings = NONE,
                                      .copied = NONE,
                                      .buffer = NONE,
                                      .host_buffer = NONE};
    return r;
}
