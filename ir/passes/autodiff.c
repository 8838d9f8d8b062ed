/* Reverse-mode differentiation on the graph, and the optimizer's update.
 *
 * Requires: a forward graph. Produces: a new graph with the same nodes and values first, then backward nodes
 * in reverse order of the forward ones, then the update. What backward nodes read of the forward part is what
 * has to be saved or recomputed. Contributions to one gradient are added in the order they appear. Gradients
 * exist only between the loss and a trained parameter. A loss cut into chunks of tokens is differentiated
 * chunk by chunk: a chunk's forward nodes stand after all others, right before its backward nodes.
 *
 * Griewank, Walther 2008: "Evaluating Derivatives", chapter 3 (reverse accumulation). */
#include "ir/passes/gradient.h"
#include "ir/ops.h"

#include <string.h>

enum { MOST_PIECES = 16 };
enum {
    LEAST_8BIT = 4096
}; /* elements of a weight whose moments are kept in 8 bits, as bitsandbytes has it */

/* Gradients of slices of one value, in order of rows, until they are all there. */
typedef struct Pieces {
    uint32_t wanted, count;
    ValueId grad[MOST_PIECES];
    int64_t begin[MOST_PIECES];
} Pieces;

typedef struct Walk {
    GradContext cx;
    const Graph *forward;
    bool *needed;    /* by forward value: some trained parameter lies under it */
    ValueId *grad;   /* by forward value: its gradient so far */
    Pieces **pieces; /* by forward value: of its slices; NULL without any */
    ValueId
        *rows; /* by forward value: its gradient is the rows of this one from `begin`, not yet taken; NONE */
    int64_t *begin;
    ValueId *grad_in;
    bool *want; /* room for one node's inputs */
} Walk;

/* Everything but the nodes. */
static Graph *copy_graph(const Graph *from, Arena *arena) {
    Graph *g = NEW(arena, Graph);
    *g = *from;
    g->arena = arena;
    memset(&g->node, 0, sizeof g->node);
    memset(&g->value, 0, sizeof g->value);
    memset(&g->param, 0, sizeof g->param);
    memset(&g->block, 0, sizeof g->block);
    vec_room(arena, &g->value, 5 * from->value.count); /* seldom less than there will be */
    vec_room(arena, &g->node, 5 * from->node.count);
    for (uint32_t i = 0; i < from->value.count; i++) *vec_add(arena, &g->value) = from->value.at[i];
    for (uint32_t i = 0; i < from->param.count; i++) *vec_add(arena, &g->param) = from->param.at[i];
    for (uint32_t i = 0; i < from->block.count; i++) *vec_add(arena, &g->block) = from->block.at[i];
    return g;
}

static NodeId copy_node(Graph *g, const Node *from) {
    NodeId id = g->node.count;
    Node *node = vec_add(g->arena, &g->node);
    *node = *from;
    node->in = NEW_ARRAY(g->arena, ValueId, node->nin + node->nout);
    node->out = node->in + node->nin;
    memcpy(node->in, from->in, sizeof(ValueId) * node->nin);
    memcpy(node->out, from->out, sizeof(ValueId) * node->nout);
    for (uint32_t i = 0; i < node->nout; i++) g->value.at[node->out[i]].def = id;
    return id;
}

/* ---- chunks of the loss ---- */

/* For each node the chunk it belongs to, NONE for most; yields how many chunks there are. A chunk is one
 * cross_entropy and what leads to it from slices of rows. */
static uint32_t find_chunks(const Graph *g, uint32_t *chunk, Arena *arena) {
    uint32_t count = 0;
    bool *sliced = NEW_ARRAY(arena, bool, g->node.count);
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        chunk[n] = NONE;
        sliced[n] = node->op == OP_SLICE_ROWS;
        for (uint32_t i = 0; i < node->nin && node->op != OP_JOIN_ROWS; i++) {
            NodeId def = g->value.at[node->in[i]].def;
            if (def != NONE) sliced[n] |= sliced[def];
        }
        if (node->op != OP_CROSS_ENTROPY) continue;
        chunk[n] = count;
        for (NodeId m = n + 1; m-- > 0;) {
            const Node *in_it = &g->node.at[m];
            if (chunk[m] != count || in_it->op == OP_SLICE_ROWS) continue;
            for (uint32_t i = 0; i < in_it->nin; i++) {
                NodeId def = g->value.at[in_it->in[i]].def;
                if (def != NONE && sliced[def] && chunk[def] == NONE) chunk[def] = count;
            }
        }
        count++;
    }
    bool apart = count > 1;
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < g->node.at[n].nin; i++) {
            const Value *value = &g->value.at[g->node.at[n].in[i]];
            bool loss = value->def != NONE && g->node.at[value->def].op == OP_CROSS_ENTROPY;
            if (value->def != NONE && !loss && chunk[value->def] != NONE)
                apart &= chunk[value->def] == chunk[n];
        }
    for (NodeId n = 0; n < g->node.count && !apart; n++) chunk[n] = NONE;
    return apart ? count : 0;
}

/* ---- backward ---- */

/* A cast of several parameters, whose rows it puts one after the other. */
static GradRows rows_of(const Graph *g, const Node *cast, const uint32_t *param, Arena *arena) {
    uint32_t *row = NEW_ARRAY(arena, uint32_t, cast->nin);
    if (cast->nout > 1 || cast->nin > MOST_ROWS) die("'%s' has no gradient rule", cast->name);
    for (uint32_t i = 0; i < cast->nin; i++) {
        row[i] = param[cast->in[i]];
        if (row[i] == NONE) die("'%s' is no trained parameter", g->value.at[cast->in[i]].name);
    }
    return (GradRows){row, cast->nin};
}

/* Which values a gradient is wanted of, and which stand for a parameter. A cast of a parameter is the
 * parameter: its gradient is summed in the gradient's own type, not rounded to the cast's. */
static void mark_needed(Walk *w) {
    const Graph *g = w->forward;
    Arena *arena = w->cx.g->arena;
    uint32_t *param = NEW_ARRAY(arena, uint32_t, g->value.count);
    GradRows *rows = NEW_ARRAY(arena, GradRows, g->value.count);
    w->needed = NEW_ARRAY(arena, bool, g->value.count);
    for (uint32_t v = 0; v < g->value.count; v++) param[v] = NONE;
    for (uint32_t p = 0; p < g->param.count; p++) {
        ValueId v = g->param.at[p].value;
        if (g->value.at[v].kind != VALUE_PARAM) continue;
        param[v] = p;
        w->needed[v] = true;
    }
    w->pieces = NEW_ARRAY(arena, Pieces *, g->value.count);
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        bool any = false;
        for (uint32_t i = 0; i < node->nin; i++) any |= w->needed[node->in[i]];
        for (uint32_t i = 0; i < node->nout; i++) w->needed[node->out[i]] = any;
        if (node->op == OP_CAST && node->nin == 1) param[node->out[0]] = param[node->in[0]];
        if (node->op == OP_CAST && node->nin > 1 && any) rows[node->out[0]] = rows_of(g, node, param, arena);
        if (node->op != OP_SLICE_ROWS || !any) continue;
        Pieces **pieces = &w->pieces[node->in[0]];
        if (!*pieces) *pieces = NEW(arena, Pieces);
        if ((*pieces)->wanted++ == MOST_PIECES)
            die("'%s' is in more than %d slices", g->value.at[node->in[0]].name, MOST_PIECES);
    }
    w->cx.param = param;
    w->cx.rows = rows;
}

/* The gradient of `v` so far. Rows of a larger one are taken here, when they are needed. */
static ValueId settled(Walk *w, ValueId v) {
    if (w->rows[v] != NONE) {
        Graph *g = w->cx.g;
        Type wish = g->value.at[v].type;
        const char *base = arena_printf(g->arena, "%s.bwd_slice", g->value.at[v].name);
        w->grad[v] =
            graph_op_as(g, OP_SLICE_ROWS, &w->rows[v], 1, &wish, &(Attr){.begin = w->begin[v]},
                        PHASE_BACKWARD, w->cx.node.block, grad_name(&w->cx, base, 1), w->cx.node.span);
        w->rows[v] = NONE;
    }
    return w->grad[v];
}

/* Adds `grad` to what the gradient of `v` is so far. */
static void contribute(Walk *w, ValueId v, ValueId grad) {
    GradContext *cx = &w->cx;
    uint32_t p = cx->param[v];
    if (p != NONE) {
        if (cx->sum[p] != grad) grad_weight(cx, OP_SUM_LEADING, &grad, 1, v, "bwd_sum");
    } else if (settled(w, v) == NONE) {
        w->grad[v] = grad;
    } else {
        const char *base = arena_printf(cx->g->arena, "%s.bwd_sum", cx->g->value.at[v].name);
        ValueId both[] = {w->grad[v], grad};
        w->grad[v] = graph_op(cx->g, OP_ADD, both, 2, NULL, PHASE_BACKWARD, cx->node.block,
                              grad_name(cx, base, 1), cx->node.span);
    }
}

/* The gradient of a slice of `v`. Slices cover what they are taken of, each row once: then their gradients,
 * one after the other, are its gradient. */
static void contribute_piece(Walk *w, ValueId v, int64_t begin, ValueId grad) {
    GradContext *cx = &w->cx;
    Graph *g = cx->g;
    Pieces *pieces = w->pieces[v];
    uint32_t at = pieces->count++;
    for (; at > 0 && pieces->begin[at - 1] > begin; at--) {
        pieces->begin[at] = pieces->begin[at - 1];
        pieces->grad[at] = pieces->grad[at - 1];
    }
    pieces->begin[at] = begin;
    pieces->grad[at] = grad;
    if (pieces->count < pieces->wanted) return;
    int64_t rows = 0;
    for (uint32_t i = 0; i < pieces->count; i++) {
        if (pieces->begin[i] != rows) die("slices of '%s' do not cover it", g->value.at[v].name);
        rows += g->value.at[pieces->grad[i]].type.dim[0];
    }
    if (rows != g->value.at[v].type.dim[0]) die("slices of '%s' do not cover it", g->value.at[v].name);
    if (pieces->count > 1) {
        const char *name = grad_name(cx, arena_printf(g->arena, "%s.bwd_join", g->value.at[v].name), 1);
        grad = graph_op(g, OP_JOIN_ROWS, pieces->grad, pieces->count, NULL, PHASE_BACKWARD, cx->node.block,
                        name, cx->node.span);
    }
    contribute(w, v, grad);
}

/* The gradient of piece i of a join: rows of the whole's. */
static void contribute_rows(Walk *w, const Node *join, uint32_t i, ValueId whole) {
    const Graph *g = w->cx.g;
    ValueId v = join->in[i], before = settled(w, v);
    w->grad[v] = NONE;
    w->rows[v] = whole;
    w->begin[v] = 0;
    for (uint32_t k = 0; k < i; k++) w->begin[v] += g->value.at[join->in[k]].type.dim[0];
    if (before != NONE) contribute(w, v, before);
}

static void walk_node(Walk *w, NodeId id) {
    const Node node = w->cx.g->node.at[id];
    ValueId *grad_in = w->grad_in;
    bool *want = w->want;
    bool any_want = false, any_grad = node.op == OP_CROSS_ENTROPY;
    ValueId grad_out[8];
    for (uint32_t i = 0; i < node.nin; i++) any_want |= want[i] = w->needed[node.in[i]];
    if (!any_want) return;
    w->cx.node = node;
    for (uint32_t i = 0; i < node.nout; i++) any_grad |= (grad_out[i] = settled(w, node.out[i])) != NONE;
    if (!any_grad) return;
    op_gradient(&w->cx, id, grad_out, want, grad_in);
    for (uint32_t i = 0; i < node.nin; i++) {
        if (grad_in[i] == NONE) continue;
        if (node.op == OP_JOIN_ROWS)
            contribute_rows(w, &node, i, grad_in[i]);
        else if (node.op == OP_SLICE_ROWS)
            contribute_piece(w, node.in[i], node.attr.begin, grad_in[i]);
        else
            contribute(w, node.in[i], grad_in[i]);
    }
}

/* Lays out the forward nodes, chunks of the loss last, and the backward nodes. */
static void lay_nodes(Walk *w) {
    Graph *g = w->cx.g;
    const Graph *from = w->forward;
    Arena *scratch = arena_new();
    uint32_t *chunk = NEW_ARRAY(scratch, uint32_t, from->node.count + 1);
    uint32_t chunks = find_chunks(from, chunk, scratch), widest = 0;
    for (NodeId n = 0; n < from->node.count; n++) {
        if (from->node.at[n].nin > widest) widest = from->node.at[n].nin;
        if (chunk[n] == NONE) copy_node(g, &from->node.at[n]);
    }
    w->grad_in = NEW_ARRAY(scratch, ValueId, widest);
    w->want = NEW_ARRAY(scratch, bool, widest);
    w->grad = NEW_ARRAY(scratch, ValueId, from->value.count);
    w->rows = NEW_ARRAY(scratch, ValueId, from->value.count);
    w->begin = NEW_ARRAY(scratch, int64_t, from->value.count);
    for (ValueId v = 0; v < from->value.count; v++) w->grad[v] = w->rows[v] = NONE;
    NodeId outside = g->node.count;
    for (uint32_t c = 0; c < chunks; c++) {
        NodeId first = g->node.count;
        for (NodeId n = 0; n < from->node.count; n++)
            if (chunk[n] == c) copy_node(g, &from->node.at[n]);
        for (NodeId n = g->node.count; n-- > first;) walk_node(w, n);
    }
    while (outside-- > 0) walk_node(w, outside);
    for (ValueId v = 0; v < from->value.count; v++)
        if (w->pieces[v] && w->pieces[v]->count && w->pieces[v]->count < w->pieces[v]->wanted)
            die("the loss depends on some slices of '%s' only", from->value.at[v].name);
    arena_free(scratch);
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
    const bool packed = rule->moments_8bit && type_elements(&g->value.at[weight].type) >= LEAST_8BIT;
    param->moment1 = add_state(cx, "m", p, packed ? DT_DYNAMIC8 : rule->moment);
    param->moment2 = add_state(cx, "v", p, packed ? DT_UDYNAMIC8 : rule->moment);
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
                 .decay = param->decays ? rule->decay : 0,
                 .decay_last = rule->moments_8bit && !packed};
    const Op op = packed ? OP_ADAMW8BIT : OP_ADAMW;
    const char *name =
        grad_name(cx, arena_printf(g->arena, "%s.%s", g->value.at[weight].name, op_info[op].name), nmut);
    graph_node(g, op, in, nin, nmut, nmut, &attr, PHASE_UPDATE, NONE, name, (Span){0});
}

/* Parameters in the order their gradients are finished, so that without clipping each gradient dies as soon
 * as it was measured and applied. */
static void update(GradContext *cx) {
    Graph *g = cx->g;
    uint32_t *order = NEW_ARRAY(g->arena, uint32_t, g->param.count), count = 0;
    uint32_t *finishes = NEW_ARRAY(g->arena, uint32_t, g->node.count); /* the first, by node, .. */
    uint32_t *next = NEW_ARRAY(g->arena, uint32_t, g->param.count); /* .. and those after it, by parameter */
    for (uint32_t n = 0; n < g->node.count; n++) finishes[n] = NONE;
    for (uint32_t p = g->param.count; p-- > 0;) {
        if (cx->sum[p] == NONE) continue;
        next[p] = finishes[cx->sum_node[p]];
        finishes[cx->sum_node[p]] = p;
    }
    for (uint32_t n = 0, nodes = g->node.count; n < nodes; n++)
        for (uint32_t p = finishes[n]; p != NONE; p = next[p]) order[count++] = p;

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
    Walk w = {.cx = {.g = g, .rule = rule}, .forward = forward};
    GradContext *cx = &w.cx;
    cx->sum = NEW_ARRAY(arena, ValueId, g->param.count);
    cx->sum_node = NEW_ARRAY(arena, NodeId, g->param.count);
    for (uint32_t p = 0; p < g->param.count; p++) {
        Param *param = &g->param.at[p];
        param->moment1 = param->moment2 = param->master = param->accumulator = NONE;
        cx->sum[p] = NONE;
    }
    Arena *aside = arena_new();
    cx->names = map_new(aside);
    for (uint32_t v = 0; v < g->value.count; v++) map_set(cx->names, g->value.at[v].name, v);
    mark_needed(&w);
    lay_nodes(&w);
    update(cx);
    arena_free(aside);
    return g;
}
