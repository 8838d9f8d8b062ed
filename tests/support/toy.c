/* Random graphs, plans and layouts; see toy.h. Shapes mean nothing here: nodes are added without shape rules.
 */
#include "tests/support/toy.h"
#include "ir/ops.h"
#include "planner/layout/layout.h"

#include <string.h>

static uint32_t below(uint64_t *seed, uint32_t n) {
    return (uint32_t)(random_next(seed) % n);
}

/* ---- graphs ---- */

typedef struct Maker {
    Graph *g;
    uint64_t *seed;
    VEC(ValueId) pool; /* what a node may read */
} Maker;

static ValueId leaf(Graph *g, int64_t elements, ValueKind kind, const char *name) {
    Type type = {DT_F32, 1, {elements}};
    return graph_value(g, type, kind, ROLE_WEIGHT, name, (Span){0, 0});
}

/* Adds a node; its last `nmut` outputs are versions of its last inputs, the others have `elements`. */
static ValueId *add(Graph *g, Op op, Phase phase, const ValueId *in, uint32_t nin, uint32_t nmut,
                    uint32_t nout, int64_t elements) {
    NodeId n = g->node.count;
    Node *node = vec_add(g->arena, &g->node);
    *node = (Node){.op = op, .nin = nin, .nout = nout, .nmut = nmut, .phase = phase, .block = NONE};
    node->name = arena_printf(g->arena, "n%u.%s", n, op_info[op].name);
    node->in = NEW_ARRAY(g->arena, ValueId, nin);
    node->out = NEW_ARRAY(g->arena, ValueId, nout);
    memcpy(node->in, in, sizeof *in * nin);
    for (uint32_t i = 0; i < nout; i++) {
        int64_t e = i >= nout - nmut ? type_elements(&g->value.at[in[nin - (nout - i)]].type)
                    : i              ? 8
                                     : elements;
        ValueId v = leaf(g, e, VALUE_ACTIVATION, arena_printf(g->arena, "n%u.%u", n, i));
        g->value.at[v].def = n;
        g->value.at[v].out_index = i;
        node->out[i] = v;
    }
    return node->out;
}

static ValueId pick(Maker *m) {
    uint32_t recent = m->pool.count < 6 ? m->pool.count : 6;
    uint32_t at =
        below(m->seed, 3) ? m->pool.count - 1 - below(m->seed, recent) : below(m->seed, m->pool.count);
    return m->pool.at[at];
}

static int64_t size(Maker *m) {
    return (int64_t[]){64, 64, 96, 150}[below(m->seed, 4)];
}

static void forward_node(Maker *m, Phase phase) {
    Graph *g = m->g;
    ValueId in[3] = {pick(m), pick(m), pick(m)}, *out;
    int64_t same = type_elements(&g->value.at[in[0]].type);
    switch (below(m->seed, 7)) {
    case 0: out = add(g, OP_RESHAPE, phase, in, 1, 0, 1, same); break;
    case 1: out = add(g, OP_LINEAR, phase, in, 2, 0, 1, size(m)); break;
    case 2: out = add(g, OP_LAYERNORM, phase, in, 3, 0, 3, same); break;
    case 3: out = add(g, OP_ATTEND, phase, in, 3, 0, 2, same); break;
    case 4: out = add(g, OP_GELU, phase, in, 1, 0, 1, same); break;
    case 5: out = add(g, OP_LINEAR_BWD_X, phase, in, 3, 0, 1, type_elements(&g->value.at[in[2]].type)); break;
    default: out = add(g, OP_ADD, phase, in, 2, 0, 1, same); break;
    }
    for (uint32_t i = 0; i < g->node.at[g->node.count - 1].nout; i++) *vec_add(g->arena, &m->pool) = out[i];
}

static void update(Graph *g, ValueId gradient, ValueId param, ValueId moment) {
    ValueId scale = add(g, OP_CLIP_SCALE, PHASE_UPDATE, &gradient, 1, 0, 1, 1)[0];
    ValueId step[4] = {gradient, scale, param, moment};
    add(g, OP_ADAMW, PHASE_UPDATE, step, 4, 2, 2, 1);
}

Graph *toy_graph(uint64_t *seed, int64_t accumulate, Arena *arena) {
    Maker m = {.g = graph_new(arena), .seed = seed};
    Graph *g = m.g;
    enum { PARAMS = 2 };
    ValueId param[PARAMS], moment[PARAMS], gradient[PARAMS];
    g->accumulate = accumulate;
    g->tokens = leaf(g, 16, VALUE_INPUT, "tokens");
    *vec_add(arena, &m.pool) = g->tokens;
    for (int i = 0; i < PARAMS; i++) {
        param[i] = leaf(g, 64 + 32 * i, VALUE_PARAM, i ? "p1" : "p0");
        moment[i] = leaf(g, 64 + 32 * i, VALUE_STATE, i ? "m1" : "m0");
        *vec_add(arena, &m.pool) = param[i];
    }
    g->loss_sum = leaf(g, 1, VALUE_STATE, "loss_sum");
    for (uint32_t i = 4 + below(seed, 8); i--;) forward_node(&m, PHASE_FORWARD);
    ValueId loss[2] = {pick(&m), g->loss_sum};
    ValueId lse = add(g, OP_CROSS_ENTROPY, PHASE_FORWARD, loss, 2, 1, 2, 16)[0];
    *vec_add(arena, &m.pool) = lse;
    for (uint32_t i = 4 + below(seed, 8); i--;) forward_node(&m, PHASE_BACKWARD);
    bool early = accumulate == 1 && below(seed, 2);
    for (int i = 0; i < PARAMS; i++) {
        /* Two contributions to each gradient: the second is added to the first, here or in an accumulator. */
        ValueId first[3] = {pick(&m), pick(&m)}, second[3] = {pick(&m), pick(&m)};
        if (accumulate > 1) first[2] = leaf(g, 64 + 32 * i, VALUE_STATE, i ? "g1" : "g0");
        second[2] = add(g, OP_LINEAR_BWD_W, PHASE_BACKWARD, first, accumulate > 1 ? 3 : 2, accumulate > 1, 1,
                        64 + 32 * i)[0];
        forward_node(&m, PHASE_BACKWARD);
        gradient[i] = add(g, OP_LINEAR_BWD_W, PHASE_BACKWARD, second, 3, 1, 1, 64 + 32 * i)[0];
        if (!early) continue;
        update(g, gradient[i], param[i], moment[i]);
        for (uint32_t k = 0; k < m.pool.count; k++) /* from here on, nothing reads what it was */
            if (graph_root(g, m.pool.at[k]) == param[i]) m.pool.at[k] = g->tokens;
    }
    for (int i = 0; i < PARAMS && !early; i++) update(g, gradient[i], param[i], moment[i]);
    return g;
}

/* ---- plans ---- */

typedef struct Planner {
    const Graph *g;
    Arena *arena;
    uint64_t *seed;
    Plan plan;
    bool *live, *offloaded, *again; /* per root; `again`: its first version can be made once more */
    bool *written;                  /* some node before the update makes further versions of it */
    uint32_t *reads;                /* first runs that still read it */
} Planner;

static void push(Planner *p, StepKind kind, NodeId node, ValueId value) {
    *vec_add(p->arena, &p->plan.step) = (Step){kind, node, value};
    if (kind == STEP_FREE) p->live[value] = false;
}

static void run(Planner *p, NodeId n, bool first);

static void ensure(Planner *p, ValueId v) {
    ValueId root = graph_root(p->g, v);
    if (p->live[root]) return;
    if (p->offloaded[root]) {
        push(p, STEP_FETCH, NONE, root);
        p->live[root] = true;
        return;
    }
    const Node *node = &p->g->node.at[p->g->value.at[root].def];
    for (uint32_t i = 0; i < node->nout; i++)
        if (p->live[node->out[i]]) push(p, STEP_FREE, NONE, node->out[i]);
    run(p, p->g->value.at[root].def, false);
}

/* The inputs of a node at the moment it runs: making one may have freed another, so all are asked until none
 * moves. */
static void run(Planner *p, NodeId n, bool first) {
    const Node *node = &p->g->node.at[n];
    for (uint32_t before = NONE; before != p->plan.step.count;) {
        before = p->plan.step.count;
        for (uint32_t i = 0; i < node->nin; i++) ensure(p, node->in[i]);
    }
    for (uint32_t i = 0; i < node->nout; i++) {
        ValueId root = graph_root(p->g, node->out[i]);
        if (root == node->out[i] && p->live[root]) push(p, STEP_FREE, NONE, root); /* a recomputed sibling */
        if (root != node->out[i]) p->offloaded[root] = false;                      /* of another version */
        p->live[root] = true;
    }
    push(p, first ? STEP_RUN : STEP_RECOMPUTE, n, NONE);
}

/* The first node of the update after all others. */
static NodeId update_begin(const Graph *g) {
    NodeId n = g->node.count;
    while (n > 0 && g->node.at[n - 1].phase == PHASE_UPDATE) n--;
    return n;
}

/* Which storages can be made again from what never changes before the update? */
static void find_again(Planner *p) {
    bool *written = p->written = NEW_ARRAY(p->arena, bool, p->g->value.count);
    for (NodeId n = 0; n < p->g->node.count; n++)
        for (uint32_t i = 0; i < p->g->node.at[n].nmut; i++)
            if (n < update_begin(p->g))
                written[graph_root(p->g, p->g->node.at[n].in[p->g->node.at[n].nin - 1 - i])] = true;
    for (NodeId n = 0; n < p->g->node.count; n++) {
        const Node *node = &p->g->node.at[n];
        bool again = node->nmut == 0 && node->phase != PHASE_UPDATE;
        for (uint32_t i = 0; i < node->nin; i++) {
            ValueId root = graph_root(p->g, node->in[i]);
            again &= !written[root] && (value_persistent(p->g, root) || p->again[root]);
        }
        for (uint32_t i = 0; i < node->nout; i++)
            if (graph_root(p->g, node->out[i]) == node->out[i])
                p->again[node->out[i]] = again && !written[node->out[i]];
    }
}

/* The next step after `s` that names the value or, with `reads`, reads it; the number of steps when none
 * does. */
static uint32_t next_of(const Graph *g, const Plan *plan, uint32_t s, bool reads) {
    ValueId v = plan->step.at[s].value;
    for (uint32_t t = s + 1; t < plan->step.count; t++) {
        const Step *step = &plan->step.at[t];
        if (step->value == v) return t;
        if (step->kind > STEP_RECOMPUTE || !reads) continue;
        const Node *node = &g->node.at[step->node];
        for (uint32_t i = 0; i < node->nin; i++)
            if (graph_root(g, node->in[i]) == v) return t;
    }
    return plan->step.count;
}

/* Takes out fetches that nothing reads, with their FREE, then copies that nothing fetches. */
static void drop_idle_copies(const Graph *g, Plan *plan) {
    for (int pass = STEP_FETCH; pass >= STEP_OFFLOAD; pass--) {
        bool *idle = NEW_ARRAY(g->arena, bool, plan->step.count + 1);
        uint32_t kept = 0, begin = plan->update_begin;
        for (uint32_t s = 0; s < plan->step.count; s++) {
            if ((int)plan->step.at[s].kind != pass) continue;
            uint32_t next = next_of(g, plan, s, true);
            if (pass == STEP_FETCH) {
                idle[s] = plan->step.at[next].kind == STEP_FREE;
                idle[next] |= idle[s];
                continue;
            }
            for (next = s; next < plan->step.count; next = next_of(g, plan, next, false))
                if (next > s && plan->step.at[next].kind <= STEP_FETCH) break;
            idle[s] = next >= plan->step.count || plan->step.at[next].kind == STEP_OFFLOAD;
        }
        for (uint32_t s = 0; s < plan->step.count; s++) {
            if (idle[s] && s < begin) plan->update_begin--;
            if (!idle[s]) plan->step.at[kept++] = plan->step.at[s];
        }
        plan->step.count = kept;
    }
}

static void offload(Planner *p, ValueId v) {
    push(p, STEP_OFFLOAD, NONE, v);
    p->offloaded[v] = true;
}

Plan toy_plan(const Graph *g, uint64_t *seed, Arena *arena) {
    uint32_t count = g->value.count;
    Planner p = {.g = g, .arena = arena, .seed = seed};
    p.live = NEW_ARRAY(arena, bool, count);
    p.offloaded = NEW_ARRAY(arena, bool, count);
    p.again = NEW_ARRAY(arena, bool, count);
    p.reads = NEW_ARRAY(arena, uint32_t, count);
    p.plan.update_begin = NONE;
    for (ValueId v = 0; v < count; v++) p.live[v] = graph_root(g, v) == v && value_persistent(g, v);
    find_again(&p);
    for (NodeId n = 0; n < g->node.count; n++)
        if (!(op_info[g->node.at[n].op].flags & OPF_VIEW))
            for (uint32_t i = 0; i < g->node.at[n].nin; i++) p.reads[graph_root(g, g->node.at[n].in[i])]++;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) continue;
        if (n >= update_begin(g) && p.plan.update_begin == NONE) p.plan.update_begin = p.plan.step.count;
        run(&p, n, true);
        for (uint32_t i = 0; i < node->nin; i++) p.reads[graph_root(g, node->in[i])]--;
        for (ValueId v = 0; v < count; v++) {
            if (!p.live[v] || value_persistent(g, v)) continue;
            bool last = p.reads[v] == 0, early = !last && !p.written[v] && !p.offloaded[v] && !below(seed, 6);
            if (early) offload(&p, v); /* and not yet freed */
            if (!last && (node->phase == PHASE_UPDATE || below(seed, 5))) continue;
            if (!last && !p.offloaded[v] && (!p.again[v] || below(seed, 2))) offload(&p, v);
            push(&p, STEP_FREE, NONE, v);
        }
    }
    drop_idle_copies(g, &p.plan);
    return p.plan;
}

/* ---- layouts ---- */

typedef struct Holder {
    uint32_t buffer; /* NONE when not live */
    uint32_t owners; /* of a buffer: storages not yet freed in it */
} Holder;

/* Does any step after `s` read the storage before it is freed? */
static bool read_later(const Graph *g, const Plan *plan, uint32_t s, ValueId root) {
    for (uint32_t t = s + 1; t < plan->step.count; t++) {
        const Step *step = &plan->step.at[t];
        if (step->kind == STEP_FREE && step->value == root) return false;
        if (step->kind == STEP_OFFLOAD && step->value == root) return true;
        if (step->kind > STEP_RECOMPUTE) continue;
        const Node *node = &g->node.at[step->node];
        for (uint32_t i = 0; i < node->nin; i++)
            if (graph_root(g, node->in[i]) == root) return true;
    }
    return true;
}

/* Was a copy of the instance live at step `s` begun? */
static bool leaves(const Plan *plan, uint32_t s, ValueId root) {
    while (s-- > 0)
        if (plan->step.at[s].value == root) return plan->step.at[s].kind == STEP_OFFLOAD;
    return false;
}

static ValueId in_place_input(const Graph *g, const Plan *plan, uint32_t s, const Node *node) {
    for (uint32_t i = 0; i < node->nin; i++) {
        ValueId root = graph_root(g, node->in[i]);
        bool shares = true;
        for (uint32_t k = 0; k < node->nin; k++)
            shares &= graph_root(g, node->in[k]) != root || node_may_share(g, node, k);
        if (shares && !value_persistent(g, root) &&
            type_equal(&g->value.at[root].type, &g->value.at[node->out[0]].type) &&
            !read_later(g, plan, s, root) && !leaves(plan, s, root))
            return root;
    }
    return NONE;
}

static uint32_t buffer(Layout *layout, Arena *arena, BufKind kind, ValueId v, uint32_t lo, uint32_t hi,
                       int64_t bytes) {
    *vec_add(arena, &layout->buf) = (Buf){.kind = kind,
                                          .value = v,
                                          .lo = lo,
                                          .hi = hi,
                                          .bytes = (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN};
    return layout->buf.count - 1;
}

void toy_totals(Layout *layout, const Graph *g, Plan *plan, Arena *arena) {
    uint32_t steps = plan->step.count;
    int64_t *live = NEW_ARRAY(arena, int64_t, steps + 1);
    layout->live_bytes = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++)
        for (uint32_t s = layout->buf.at[b].lo; s < layout->buf.at[b].hi; s++)
            if (layout->buf.at[b].kind != BUF_HOST) live[s] += layout->buf.at[b].bytes;
    for (uint32_t s = 0; s < steps; s++)
        if (live[s] > layout->live_bytes) layout->live_bytes = live[s];
    pack_layout(layout, g, NULL, arena);
    plan->live_bytes = layout->live_bytes;
    plan->peak_bytes = layout->height_bytes;
    plan->host_bytes = layout->host_bytes;
}

/* One past the first step that reads what the last fetch of the copy made by step `s` brought back. */
static uint32_t copy_end(const Graph *g, const Plan *plan, uint32_t s) {
    uint32_t end = s + 1;
    bool fetched = false;
    for (uint32_t t = s + 1; t < plan->step.count; t++) {
        const Step *step = &plan->step.at[t];
        if (step->kind == STEP_OFFLOAD && step->value == plan->step.at[s].value) break;
        if (step->kind == STEP_FETCH && step->value == plan->step.at[s].value) fetched = true;
        if (step->kind > STEP_RECOMPUTE || !fetched) continue;
        const Node *node = &g->node.at[step->node];
        for (uint32_t i = 0; i < node->nin && fetched; i++)
            if (graph_root(g, node->in[i]) == plan->step.at[s].value) end = t + 1, fetched = false;
    }
    return end;
}

Layout *toy_layout(const Graph *g, const Cost *cost, Plan *plan, uint64_t *seed, Arena *arena) {
    Layout *layout = NEW(arena, Layout);
    uint32_t steps = plan->step.count, *at = NEW_ARRAY(arena, uint32_t, g->value.count);
    uint32_t *host = NEW_ARRAY(arena, uint32_t, g->value.count);
    layout->first = NEW_ARRAY(arena, uint32_t, steps + 1);
    for (ValueId v = 0; v < g->value.count; v++) {
        at[v] = NONE;
        if (graph_root(g, v) != v || !value_persistent(g, v)) continue;
        at[v] = buffer(layout, arena, BUF_VALUE, v, 0, steps, type_bytes(&g->value.at[v].type));
        layout->buf.at[at[v]].persistent = true;
    }
    for (uint32_t s = 0; s < steps; s++) {
        const Step *step = &plan->step.at[s];
        layout->first[s] = layout->bind.count;
        if (step->kind > STEP_RECOMPUTE) {
            if (step->kind == STEP_FETCH)
                at[step->value] = buffer(layout, arena, BUF_VALUE, step->value, s, steps,
                                         type_bytes(&g->value.at[step->value].type));
            if (step->kind == STEP_OFFLOAD)
                host[step->value] = buffer(layout, arena, BUF_HOST, step->value, s, copy_end(g, plan, s),
                                           type_bytes(&g->value.at[step->value].type));
            *vec_add(arena, &layout->bind) = at[step->value];
            if (step->kind != STEP_FREE) *vec_add(arena, &layout->bind) = host[step->value];
            if (step->kind == STEP_FREE && at[step->value] != NONE)
                layout->buf.at[at[step->value]].hi = s + 1;
            continue;
        }
        const Node *node = &g->node.at[step->node];
        ValueId over = below(seed, 4) ? in_place_input(g, plan, s, node) : NONE;
        uint32_t taken = over == NONE ? NONE : at[over];
        for (uint32_t i = 0; i < node->nin; i++) { /* reserve the outputs' places, then the inputs */
            if (!i)
                for (uint32_t o = 0; o < node->nout; o++) (void)vec_add(arena, &layout->bind);
            *vec_add(arena, &layout->bind) = at[graph_root(g, node->in[i])];
        }
        for (uint32_t i = 0; i < node->nout; i++) {
            ValueId root = graph_root(g, node->out[i]);
            if (i < node->nout - node->nmut)
                at[root] = i == 0 && taken != NONE ? taken
                                                   : buffer(layout, arena, BUF_VALUE, root, s, steps,
                                                            type_bytes(&g->value.at[root].type));
            layout->bind.at[layout->first[s] + i] = at[root];
        }
        if (over != NONE) at[over] = NONE;
        int64_t workspace = cost[step->node].workspace_bytes;
        uint32_t w = workspace ? buffer(layout, arena, BUF_WORKSPACE, NONE, s, s + 1, workspace) : NONE;
        *vec_add(arena, &layout->bind) = w;
    }
    layout->first[steps] = layout->bind.count;
    toy_totals(layout, g, plan, arena);
    return layout;
}

Toy toy_new(uint64_t *seed, Arena *arena) {
    Toy toy = {.g = toy_graph(seed, 1 + below(seed, 2), arena)};
    toy.cost = NEW_ARRAY(arena, Cost, toy.g->node.count);
    for (NodeId n = 0; n < toy.g->node.count; n++)
        if (toy.g->node.at[n].op == OP_LINEAR || toy.g->node.at[n].op == OP_ATTEND)
            toy.cost[n].workspace_bytes = PLAN_ALIGN * (int64_t)below(seed, 3);
    toy.plan = toy_plan(toy.g, seed, arena);
    toy.layout = toy_layout(toy.g, toy.cost, &toy.plan, seed, arena);
    return toy;
}
