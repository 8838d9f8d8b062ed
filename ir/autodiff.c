/* Reverse-mode differentiation on the graph, and the optimizer's update.
 *
 * Requires: a forward graph. Produces: a new graph with the same nodes and values first, then backward nodes
 * in reverse order of the forward ones, then the update. What backward nodes read of the forward part is what
 * has to be saved or recomputed. Contributions to one gradient are added in the order they appear. Gradients
 * exist only between the loss and a trained parameter.
 *
 * Griewank, Walther 2008: "Evaluating Derivatives", chapter 3 (reverse accumulation). */
#include "gradient.h"

#include <string.h>

typedef struct Walk {
    GradContext cx;
    bool *needed;           /* by forward value: some trained parameter lies under it */
    ValueId *grad;          /* by forward value: its gradient so far */
    uint32_t values, nodes; /* of the forward graph */
} Walk;

static Graph *copy_graph(const Graph *from, Arena *arena) {
    Graph *g = NEW(arena, Graph);
    *g = *from;
    g->arena = arena;
    memset(&g->node, 0, sizeof g->node);
    memset(&g->value, 0, sizeof g->value);
    memset(&g->param, 0, sizeof g->param);
    memset(&g->block, 0, sizeof g->block);
    for (uint32_t i = 0; i < from->value.count; i++) {
        Value *value = vec_add(arena, &g->value);
        *value = from->value.at[i];
        value->name = arena_strdup(arena, value->name);
    }
    for (uint32_t i = 0; i < from->node.count; i++) {
        Node *node = vec_add(arena, &g->node);
        *node = from->node.at[i];
        node->name = arena_strdup(arena, node->name);
        node->in = NEW_ARRAY(arena, ValueId, node->nin + node->nout);
        node->out = node->in + node->nin;
        memcpy(node->in, from->node.at[i].in, sizeof(ValueId) * node->nin);
        memcpy(node->out, from->node.at[i].out, sizeof(ValueId) * node->nout);
    }
    for (uint32_t i = 0; i < from->param.count; i++) *vec_add(arena, &g->param) = from->param.at[i];
    for (uint32_t i = 0; i < from->block.count; i++)
        *vec_add(arena, &g->block) = arena_strdup(arena, from->block.at[i]);
    return g;
}

/* Which values a gradient is wanted of, and which stand for a parameter. A cast of a parameter is the
 * parameter: its gradient is summed in the gradient's own type, not rounded to the cast's. */
static void mark_needed(Walk *w) {
    const Graph *g = w->cx.g;
    uint32_t *param = NEW_ARRAY(g->arena, uint32_t, w->values);
    w->needed = NEW_ARRAY(g->arena, bool, w->values);
    for (uint32_t v = 0; v < w->values; v++) param[v] = NONE;
    for (uint32_t p = 0; p < g->param.count; p++) {
        ValueId v = g->param.at[p].value;
        if (g->value.at[v].kind != VALUE_PARAM) continue;
        param[v] = p;
        w->needed[v] = true;
    }
    for (uint32_t n = 0; n < w->nodes; n++) {
        const Node *node = &g->node.at[n];
        bool any = false;
        for (uint32_t i = 0; i < node->nin; i++) any |= w->needed[node->in[i]];
        for (uint32_t i = 0; i < node->nout; i++) w->needed[node->out[i]] = any;
        if (node->op == OP_CAST) param[node->out[0]] = param[node->in[0]];
    }
    w->cx.param = param;
}

/* Adds `grad` to what the gradient of `v` is so far. */
static void contribute(Walk *w, ValueId v, ValueId grad) {
    GradContext *cx = &w->cx;
    uint32_t p = cx->param[v];
    if (p != NONE) {
        if (cx->sum[p] != grad) grad_weight(cx, OP_SUM_LEADING, &grad, 1, v, "bwd_sum");
    } else if (w->grad[v] == NONE) {
        w->grad[v] = grad;
    } else {
        const char *base = arena_printf(cx->g->arena, "%s.bwd_sum", cx->g->value.at[v].name);
        ValueId both[] = {w->grad[v], grad};
        w->grad[v] = graph_op(cx->g, OP_ADD, both, 2, NULL, PHASE_BACKWARD, cx->node.block,
                              grad_name(cx, base, 1), cx->node.span);
    }
}

static void walk_node(Walk *w, NodeId id, ValueId *grad_in, bool *want) {
    const Node node = w->cx.g->node.at[id];
    bool any_want = false, any_grad = node.op == OP_CROSS_ENTROPY;
    ValueId grad_out[8];
    for (uint32_t i = 0; i < node.nin; i++) any_want |= want[i] = w->needed[node.in[i]];
    for (uint32_t i = 0; i < node.nout; i++) any_grad |= (grad_out[i] = w->grad[node.out[i]]) != NONE;
    if (!any_want || !any_grad) return;
    op_gradient(&w->cx, id, grad_out, want, grad_in);
    for (uint32_t i = 0; i < node.nin; i++)
        if (grad_in[i] != NONE) contribute(w, node.in[i], grad_in[i]);
}

static void backward(Walk *w) {
    Graph *g = w->cx.g;
    uint32_t widest = 0;
    for (uint32_t n = 0; n < w->nodes; n++)
        if (g->node.at[n].nin > widest) widest = g->node.at[n].nin;
    ValueId *grad_in = NEW_ARRAY(g->arena, ValueId, widest);
    bool *want = NEW_ARRAY(g->arena, bool, widest);
    w->grad = NEW_ARRAY(g->arena, ValueId, w->values);
    for (uint32_t v = 0; v < w->values; v++) w->grad[v] = NONE;
    for (uint32_t n = w->nodes; n-- > 0;) walk_node(w, n, grad_in, want);
}

/* ---- the update ---- */

static ValueId add_state(GradContext *cx, const char *prefix, uint32_t p, DType dtype) {
    Graph *g = cx->g;
    const Value *weight = &g->value.at[g->param.at[p].value];
    Type type = weight->type;
    type.dtype = dtype;
    const char *name = grad_name(cx, arena_printf(g->arena, "%s.%s", prefix, weight->name), 1);
    return graph_value(g, type, VALUE_STATE, ROLE_OPTIMIZER, name, (Span){0});
}

static ValueId add_square_norm(GradContext *cx, uint32_t p, ValueId sum, bool first) {
    Graph *g = cx->g;
    const char *weight = g->value.at[g->param.at[p].value].name;
    const char *name = grad_name(cx, arena_printf(g->arena, "%s.square_norm", weight), 1);
    ValueId in[] = {cx->sum[p], sum};
    NodeId id = graph_node(g, OP_SQUARE_NORM, in, 2, 1, 1, &(Attr){.acc = !first}, PHASE_UPDATE, NONE, name,
                           (Span){0});
    return g->node.at[id].out[0];
}

static void add_adamw(GradContext *cx, uint32_t p, ValueId scale) {
    Graph *g = cx->g;
    const TrainRule *rule = cx->rule;
    ValueId weight = g->param.at[p].value, in[6];
    uint32_t nin = 0, nmut = 3;
    Param *param = &g->param.at[p];
    param->moment1 = add_state(cx, "m", p, rule->moment);
    param->moment2 = add_state(cx, "v", p, rule->moment);
    if (g->value.at[weight].type.dtype != DT_F32)
        param->master = add_state(cx, "master", p, DT_F32), nmut = 4;
    in[nin++] = cx->sum[p];
    if (scale != NONE) in[nin++] = scale;
    in[nin++] = weight;
    in[nin++] = param->moment1;
    in[nin++] = param->moment2;
    if (nmut == 4) in[nin++] = param->master;
    Attr attr = {.beta1 = rule->beta1,
                 .beta2 = rule->beta2,
                 .eps = rule->eps,
                 .decay = param->decays ? rule->decay : 0};
    const char *name = grad_name(cx, arena_printf(g->arena, "%s.adamw", g->value.at[weight].name), nmut);
    graph_node(g, OP_ADAMW, in, nin, nmut, nmut, &attr, PHASE_UPDATE, NONE, name, (Span){0});
}

/* Parameters in the order their gradients are finished, so that without clipping each gradient dies as soon
 * as it was measured and applied. */
static void update(GradContext *cx) {
    Graph *g = cx->g;
    uint32_t *order = NEW_ARRAY(g->arena, uint32_t, g->param.count), count = 0;
    uint32_t *finishes = NEW_ARRAY(g->arena, uint32_t, g->node.count);
    for (uint32_t n = 0; n < g->node.count; n++) finishes[n] = NONE;
    for (uint32_t p = 0; p < g->param.count; p++)
        if (cx->sum[p] != NONE) finishes[cx->sum_node[p]] = p;
    for (uint32_t n = 0, nodes = g->node.count; n < nodes; n++)
        if (finishes[n] != NONE) order[count++] = finishes[n];

    const Type scalar = {.dtype = DT_F32, .rank = 1, .dim = {1}};
    bool clip = cx->rule->clip_norm > 0;
    ValueId sum, scale = NONE;
    sum = g->norm_sum =
        graph_value(g, scalar, VALUE_STATE, ROLE_METRIC, grad_name(cx, "norm_sum", 1), (Span){0});
    for (uint32_t i = 0; i < count; i++) {
        sum = add_square_norm(cx, order[i], sum, i == 0);
        if (!clip) add_adamw(cx, order[i], NONE);
    }
    if (!clip || !count) return;
    Attr attr = {.max_norm = cx->rule->clip_norm};
    scale = graph_op(g, OP_CLIP_SCALE, &sum, 1, &attr, PHASE_UPDATE, NONE, grad_name(cx, "clip_scale", 1),
                     (Span){0});
    for (uint32_t i = 0; i < count; i++) add_adamw(cx, order[i], scale);
}

Graph *autodiff(const Graph *forward, const TrainRule *rule, Arena *arena) {
    Graph *g = copy_graph(forward, arena);
    g->accumulate = rule->accumulate > 1 ? rule->accumulate : 1;
    Walk w = {.cx = {.g = g, .rule = rule}, .values = g->value.count, .nodes = g->node.count};
    GradContext *cx = &w.cx;
    cx->sum = NEW_ARRAY(arena, ValueId, g->param.count);
    cx->sum_node = NEW_ARRAY(arena, NodeId, g->param.count);
    for (uint32_t p = 0; p < g->param.count; p++) {
        Param *param = &g->param.at[p];
        param->moment1 = param->moment2 = param->master = param->accumulator = NONE;
        cx->sum[p] = NONE;
    }
    cx->names = map_new(arena);
    for (uint32_t v = 0; v < g->value.count; v++) map_set(cx->names, g->value.at[v].name, v);
    mark_needed(&w);
    backward(&w);
    update(cx);
    return g;
}
