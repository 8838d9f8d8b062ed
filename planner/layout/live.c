/* From a plan to buffers. In: steps; out: one buffer for every instance of a storage (instances that share by
 * running in place are one), one for every workspace, one in host memory for every copy made there, and the
 * buffer of each operand of each step. Invariant: the buffers live at a step are exactly what the step needs,
 * what later steps still read, and what a copy may still be reading. */
#include "planner/layout/live.h"

#include "planner/problem/problem.h"

#include <string.h>

typedef struct Analysis {
    const Graph *g;
    const Cost *cost;
    const Plan *plan;
    const Problem *p;
    Arena *arena;
    Layout *layout;
    uint32_t *holder;     /* by storage: the buffer of its current instance; NONE */
    uint32_t *host;       /* by storage: the host buffer of its latest copy; NONE */
    bool *copied;         /* by storage: a copy of its current instance may be in flight until its FREE */
    bool *arriving;       /* by storage: its current instance was fetched and nothing has read it yet */
    uint32_t *persistent; /* by value: its buffer; NONE */
    uint32_t *sharers;    /* by buffer: live storages in it, 1 or, during a run in place, 2 */
} Analysis;

static uint32_t add_buffer(Analysis *a, Buf buf) {
    buf.bytes = (buf.bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
    *vec_add(a->arena, &a->layout->buf) = buf;
    return a->layout->buf.count - 1;
}

static void add_persistent(Analysis *a) {
    for (ValueId v = 0; v < a->g->value.count; v++) {
        a->persistent[v] = NONE;
        const Value *value = &a->g->value.at[v];
        if (value->kind == VALUE_ACTIVATION) continue;
        a->persistent[v] = add_buffer(
            a, (Buf){.value = v, .hi = a->plan->step.count, .bytes = value_bytes(value), .persistent = true});
        a->layout->persistent_bytes += a->layout->buf.at[a->persistent[v]].bytes;
    }
}

/* Whether storage `s` is freed after step `at`, before anything else runs, before it is copied and before
 * `made`, which would take it over, is freed itself. */
static bool freed_next(const Analysis *a, uint32_t at, uint32_t s, uint32_t made) {
    for (uint32_t i = at + 1; i < a->plan->step.count; i++) {
        const Step *step = &a->plan->step.at[i];
        if (step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE) return false;
        if (step->kind == STEP_FREE && step->value == a->p->storage_root[made]) return false;
        if (step->value == a->p->storage_root[s]) return step->kind == STEP_FREE;
    }
    return false;
}

static uint32_t add_instance(Analysis *a, uint32_t at, uint32_t s, BufKind kind) {
    ValueId root = a->p->storage_root[s];
    return add_buffer(a, (Buf){.kind = kind,
                               .value = root,
                               .lo = at,
                               .hi = a->plan->step.count,
                               .bytes = value_bytes(&a->g->value.at[root])});
}

static void make_outputs(Analysis *a, uint32_t at, uint32_t op) {
    const Problem *p = a->p;
    uint32_t taken = NONE;
    for (EACH(k, p->takeover, op)) {
        uint32_t s = p->takeover.list[k], first = p->makes.list[list_begin(&p->makes, op)];
        if (taken == NONE && a->holder[s] != NONE && !a->copied[s] && freed_next(a, at, s, first)) taken = s;
    }
    for (EACH(k, p->makes, op)) {
        uint32_t s = p->makes.list[k];
        if (a->holder[s] != NONE)
            die("step %u makes '%s', which is live", at, a->g->value.at[p->storage_root[s]].name);
        if (taken != NONE) {
            a->holder[s] = a->holder[taken];
            a->sharers[a->holder[s]]++;
            taken = NONE;
        } else {
            a->holder[s] = add_instance(a, at, s, BUF_VALUE);
            a->sharers[a->holder[s]] = 1;
        }
    }
}

static void bind_value(Analysis *a, uint32_t at, ValueId v) {
    uint32_t s = a->p->value_storage[v];
    uint32_t buffer = s == NONE ? a->persistent[a->p->value_root[v]] : a->holder[s];
    if (buffer == NONE) die("step %u needs '%s', which is not live", at, a->g->value.at[v].name);
    *vec_add(a->arena, &a->layout->bind) = buffer;
}

static void run_step(Analysis *a, uint32_t at) {
    NodeId n = a->plan->step.at[at].node;
    const Node *node = &a->g->node.at[n];
    for (uint32_t i = 0; i < node->nin; i++) {
        uint32_t s = a->p->value_storage[node->in[i]];
        if (s != NONE && a->holder[s] == NONE)
            die("step %u reads '%s', which is not live", at, a->g->value.at[node->in[i]].name);
        if (s == NONE || !a->arriving[s]) continue;
        a->layout->buf.at[a->host[s]].hi = at + 1; /* until a later fetch of the same copy */
        a->arriving[s] = false;
    }
    uint32_t op = a->p->node_op[n];
    if (op == NONE) die("step %u runs '%s', a view", at, node->name);
    make_outputs(a, at, op);
    for (uint32_t i = 0; i < node->nout; i++) bind_value(a, at, node->out[i]);
    for (uint32_t i = 0; i < node->nin; i++) bind_value(a, at, node->in[i]);
    uint32_t workspace = NONE;
    if (a->cost[n].workspace_bytes > 0)
        workspace = add_buffer(a, (Buf){.kind = BUF_WORKSPACE,
                                        .value = NONE,
                                        .lo = at,
                                        .hi = at + 1,
                                        .bytes = a->cost[n].workspace_bytes});
    *vec_add(a->arena, &a->layout->bind) = workspace;
}

/* FREE, OFFLOAD, FETCH. */
static void value_step(Analysis *a, uint32_t at) {
    const Step *step = &a->plan->step.at[at];
    const char *kind = step_kind_name[step->kind], *name = a->g->value.at[step->value].name;
    uint32_t s = a->p->value_storage[step->value];
    bool fetches = step->kind == STEP_FETCH;
    if (s == NONE) die("step %u: %s '%s', which is persistent", at, kind, name);
    if (fetches != (a->holder[s] == NONE))
        die("step %u: %s '%s', which is %slive", at, kind, name, fetches ? "" : "not ");
    if (fetches && a->host[s] == NONE) die("step %u: %s '%s', of which there is no copy", at, kind, name);
    if (fetches) {
        a->holder[s] = add_instance(a, at, s, BUF_VALUE);
        a->sharers[a->holder[s]] = 1;
        a->arriving[s] = true;
    }
    if (step->kind == STEP_OFFLOAD) {
        a->host[s] = add_instance(a, at, s, BUF_HOST);
        a->copied[s] = true;
    }
    uint32_t buffer = a->holder[s];
    *vec_add(a->arena, &a->layout->bind) = buffer;
    if (step->kind != STEP_FREE) {
        *vec_add(a->arena, &a->layout->bind) = a->host[s];
        return;
    }
    a->holder[s] = NONE;
    a->copied[s] = a->arriving[s] = false;
    if (--a->sharers[buffer] == 0) a->layout->buf.at[buffer].hi = at + 1;
}

static int64_t highest_live(const Layout *layout, uint32_t steps, Arena *arena) {
    int64_t *change = NEW_ARRAY(arena, int64_t, steps + 2), live = 0, highest = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        if (layout->buf.at[b].kind == BUF_HOST) continue;
        change[layout->buf.at[b].lo] += layout->buf.at[b].bytes;
        change[layout->buf.at[b].hi] -= layout->buf.at[b].bytes;
    }
    for (uint32_t i = 0; i <= steps; i++) {
        live += change[i];
        if (live > highest) highest = live;
    }
    return highest;
}

Layout *live_analyse(const Graph *g, const Cost *cost, const Plan *plan, Arena *arena) {
    Arena *scratch = arena_new();
    Layout *layout = NEW(arena, Layout);
    uint32_t steps = plan->step.count;
    const Problem *p = problem_from_graph(g, cost, scratch);
    Analysis a = {.g = g, .cost = cost, .plan = plan, .p = p, .arena = arena, .layout = layout};
    a.holder = NEW_ARRAY(scratch, uint32_t, p->storages + 1);
    a.persistent = NEW_ARRAY(scratch, uint32_t, g->value.count + 1);
    a.host = NEW_ARRAY(scratch, uint32_t, p->storages + 1);
    a.copied = NEW_ARRAY(scratch, bool, p->storages + 1);
    a.arriving = NEW_ARRAY(scratch, bool, p->storages + 1);
    memset(a.holder, 0xff, sizeof *a.holder * (p->storages + 1));
    memset(a.host, 0xff, sizeof *a.host * (p->storages + 1));
    layout->first = NEW_ARRAY(arena, uint32_t, steps + 1);

    uint32_t most = g->value.count, binds = 0;
    for (uint32_t i = 0; i < steps; i++) {
        StepKind kind = plan->step.at[i].kind;
        bool runs = kind == STEP_RUN || kind == STEP_RECOMPUTE;
        const Node *node = runs ? &g->node.at[plan->step.at[i].node] : NULL;
        most += runs ? node->nout + 1 : 1;
        binds += runs ? node->nout + node->nin + 1 : kind == STEP_FREE ? 1 : 2;
    }
    vec_room(arena, &layout->bind, binds);
    a.sharers = NEW_ARRAY(scratch, uint32_t, most + 1);
    add_persistent(&a);
    for (uint32_t i = 0; i < steps; i++) {
        layout->first[i] = layout->bind.count;
        StepKind kind = plan->step.at[i].kind;
        if (kind == STEP_RUN || kind == STEP_RECOMPUTE)
            run_step(&a, i);
        else
            value_step(&a, i);
    }
    layout->first[steps] = layout->bind.count;
    layout->live_bytes = highest_live(layout, steps, scratch);
    arena_free(scratch);
    return layout;
}

LiveColumn live_column(const Graph *g, ValueId v) {
    const Value *value = &g->value.at[v];
    if (value->kind == VALUE_FROZEN) return LIVE_FROZEN;
    bool dequantized = value->def != NONE && g->node.at[value->def].op == OP_DEQUANTIZE;
    return dequantized ? LIVE_DEQUANTIZED : (LiveColumn)value->role;
}

/* A buffer counts under the column of the value last written to it: in place, a gradient takes over an
 * activation. Host memory does not count. */
int64_t *live_by_column(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena) {
    enum { WIDTH = LIVE_COLUMNS };
    uint32_t steps = plan->step.count;
    int64_t *table = NEW_ARRAY(arena, int64_t, (size_t)(steps + 1) * WIDTH);
    Arena *scratch = arena_new();
    uint32_t *column = NEW_ARRAY(scratch, uint32_t, layout->buf.count + 1);
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind == BUF_HOST) continue;
        column[b] = buf->kind == BUF_WORKSPACE ? LIVE_WORKSPACE : live_column(g, buf->value);
        table[(size_t)buf->lo * WIDTH + column[b]] += buf->bytes;
    }
    for (uint32_t i = 0; i < steps; i++) {
        const Step *step = &plan->step.at[i];
        if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        const Node *node = &g->node.at[step->node];
        for (uint32_t k = 0; k < node->nout - node->nmut; k++) {
            uint32_t b = layout->bind.at[layout->first[i] + k], now = live_column(g, node->out[k]);
            table[(size_t)i * WIDTH + column[b]] -= layout->buf.at[b].bytes;
            table[(size_t)i * WIDTH + now] += layout->buf.at[b].bytes;
            column[b] = now;
        }
    }
    for (uint32_t b = 0; b < layout->buf.count; b++)
        if (layout->buf.at[b].kind != BUF_HOST && layout->buf.at[b].hi < steps)
            table[(size_t)layout->buf.at[b].hi * WIDTH + column[b]] -= layout->buf.at[b].bytes;
    for (size_t i = WIDTH; i < (size_t)steps * WIDTH; i++) table[i] += table[i - WIDTH];
    arena_free(scratch);
    return table;
}

const char *const live_label[LIVE_COLUMNS] = {[ROLE_ACTIVATION] = "activations",
                                              [ROLE_GRADIENT] = "activation gradients",
                                              [ROLE_WGRAD] = "weight gradients",
                                              [ROLE_WEIGHT] = "weights",
                                              [ROLE_OPTIMIZER] = "optimizer",
                                              [ROLE_INPUT] = "inputs",
                                              [ROLE_METRIC] = "metrics",
                                              [ROLE_CACHE] = "keys and values",
                                              [LIVE_WORKSPACE] = "workspace",
                                              [LIVE_FROZEN] = "frozen weights",
                                              [LIVE_DEQUANTIZED] = "dequantised weights"};

const int64_t *live_at_peak(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena) {
    const int64_t *table = live_by_column(g, plan, layout, arena), *peak = table;
    int64_t most = -1;
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const int64_t *row = &table[(size_t)s * LIVE_COLUMNS];
        int64_t total = 0;
        for (int c = 0; c < LIVE_COLUMNS; c++) total += row[c];
        if (total > most) most = total, peak = row;
    }
    return peak;
}
