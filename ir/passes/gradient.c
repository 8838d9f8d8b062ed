/* Gradient rules: one a differentiable operation, named in op.def's `gradient` column.
 *
 * In: a forward node and the gradients of its outputs. Out: backward nodes and the gradients of the inputs
 * that are wanted. A rule builds nodes and never computes. Weights come before inputs: the input of a linear
 * layer may then die before the gradient of it is born. */
#include "ir/passes/gradient.h"
#include "ir/ops.h"

#include <string.h>

typedef void GradRule(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx);

/* ---- building backward nodes ---- */

static void claim(GradContext *cx, const char *name, uint32_t nout) {
    map_set(cx->names, name, 1);
    for (uint32_t i = 1; i < nout; i++) map_set(cx->names, arena_printf(cx->g->arena, "%s.%u", name, i), 1);
}

static bool is_free(GradContext *cx, const char *name, uint32_t nout) {
    if (map_get(cx->names, name) != NONE) return false;
    for (uint32_t i = 1; i < nout; i++)
        if (map_get(cx->names, arena_printf(cx->g->arena, "%s.%u", name, i)) != NONE) return false;
    return true;
}

const char *grad_name(GradContext *cx, const char *base, uint32_t nout) {
    const char *name = base;
    for (unsigned n = 2; !is_free(cx, name, nout); n++) name = arena_printf(cx->g->arena, "%s_%u", base, n);
    claim(cx, name, nout);
    return name;
}

NodeId grad_node(GradContext *cx, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                 const Type *wish, const Attr *attr, const char *suffix) {
    const Node *node = &cx->node;
    const char *name = grad_name(cx, arena_printf(cx->g->arena, "%s.%s", node->name, suffix), nout);
    return graph_node_as(cx->g, op, in, nin, nmut, nout, wish, attr, PHASE_BACKWARD, node->block, name,
                         node->span);
}

ValueId grad_op(GradContext *cx, Op op, const ValueId *in, uint32_t nin, const char *suffix) {
    NodeId id = grad_node(cx, op, in, nin, 0, (uint32_t)op_info[op].min_out, NULL, NULL, suffix);
    return cx->g->node.at[id].out[0];
}

/* What the gradient of parameter `p`, of type `type`, is added to; NONE: it begins. */
static ValueId running_sum(GradContext *cx, uint32_t p, Type type, int64_t *acc) {
    Graph *g = cx->g;
    ValueId running = cx->sum[p];
    *acc = running != NONE;
    if (running != NONE || cx->rule->accumulate <= 1) return running;
    const char *of = g->value.at[g->param.at[p].value].name;
    const char *name = grad_name(cx, arena_printf(g->arena, "grad.%s", of), 1);
    *acc = 2;
    return g->param.at[p].accumulator = graph_value(g, type, VALUE_STATE, ROLE_WGRAD, name, (Span){0});
}

ValueId grad_weight(GradContext *cx, Op op, const ValueId *in, uint32_t nin, ValueId weight,
                    const char *suffix) {
    Graph *g = cx->g;
    const GradRows one = {&cx->param[weight], 1}, *rows = cx->rows[weight].count ? &cx->rows[weight] : &one;
    Type wish[MOST_ROWS] = {g->value.at[weight].type};
    if (*rows->param == NONE) {
        NodeId id = grad_node(cx, op, in, nin, 0, 1, wish, NULL, suffix);
        return g->node.at[id].out[0];
    }

    ValueId operand[8 + MOST_ROWS];
    Attr attr = {.acc = 0};
    uint32_t nmut = 0;
    memcpy(operand, in, sizeof *in * nin);
    for (uint32_t i = 0; i < rows->count; i++) {
        int64_t acc;
        wish[i] = g->value.at[g->param.at[rows->param[i]].value].type;
        wish[i].dtype = cx->rule->gradient;
        const ValueId running = running_sum(cx, rows->param[i], wish[i], &acc);
        if (i > 0 && acc != attr.acc) die("gradients of '%s' do not go on alike", g->value.at[weight].name);
        attr.acc = acc;
        if (running != NONE) operand[nin + nmut++] = running;
    }
    NodeId id = grad_node(cx, op, operand, nin + nmut, nmut, rows->count, wish, &attr, suffix);
    for (uint32_t i = 0; i < rows->count; i++) {
        ValueId made = g->node.at[id].out[i];
        g->value.at[made].role = ROLE_WGRAD;
        cx->sum[rows->param[i]] = made;
        cx->sum_node[rows->param[i]] = id;
    }
    return rows == &one ? cx->sum[*one.param] : NONE;
}

static const Type *type_of(const GradContext *cx, ValueId v) {
    return &cx->g->value.at[v].type;
}

/* ---- rules ---- */

static void grad_embed(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in;
    if (want[1]) dx[1] = grad_weight(cx, OP_EMBED_BWD, (ValueId[]){dy[0], in[0]}, 2, in[1], "bwd_w");
}

static void grad_positions(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) dx[0] = grad_weight(cx, OP_POSITIONS_BWD, dy, 1, cx->node.in[0], "bwd_w");
}

static void grad_back_to(GradContext *cx, Op op, ValueId dy, ValueId *dx) {
    Type wish = *type_of(cx, cx->node.in[0]);
    NodeId id = grad_node(cx, op, &dy, 1, 0, 1, &wish, NULL, "bwd");
    dx[0] = cx->g->node.at[id].out[0];
}

static void grad_cast(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) grad_back_to(cx, OP_CAST, dy[0], dx);
}

static void grad_reshape(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) grad_back_to(cx, OP_RESHAPE, dy[0], dx);
}

static int64_t width_of(const GradContext *cx, ValueId v) {
    const Type *type = type_of(cx, v);
    return type->dim[type->rank - 1];
}

/* Zeros as wide as `wanted`, made from a gradient of another width that is live here anyway. */
static ValueId zeros_like(GradContext *cx, ValueId some, ValueId wanted) {
    ValueId zero = grad_op(cx, OP_SCALE, &some, 1, "bwd_zero");
    while (width_of(cx, zero) < width_of(cx, wanted))
        zero = grad_op(cx, OP_CONCAT, (ValueId[]){zero, zero}, 2, "bwd_wider");
    if (width_of(cx, zero) == width_of(cx, wanted)) return zero;
    Type part[2] = {*type_of(cx, wanted), *type_of(cx, wanted)};
    part[1].dim[part[1].rank - 1] = width_of(cx, zero) - width_of(cx, wanted);
    NodeId id = grad_node(cx, OP_SPLIT, &zero, 1, 0, 2, part, NULL, "bwd_narrower");
    return cx->g->node.at[id].out[0];
}

/* A piece the loss does not depend on has gradient zero; pieces of one width share their zeros. */
static void grad_split(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (!want[0]) return;
    const ValueId *part = cx->node.out;
    uint32_t n = cx->node.nout;
    ValueId piece[8], some = NONE;
    for (uint32_t i = 0; i < n && some == NONE; i++) some = dy[i];
    for (uint32_t i = 0; i < n; i++) {
        piece[i] = dy[i];
        for (uint32_t k = 0; k < i && piece[i] == NONE; k++)
            if (dy[k] == NONE && width_of(cx, part[k]) == width_of(cx, part[i])) piece[i] = piece[k];
        if (piece[i] == NONE) piece[i] = zeros_like(cx, some, part[i]);
    }
    dx[0] = grad_op(cx, OP_CONCAT, piece, n, "bwd");
}

static void grad_concat(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    uint32_t n = cx->node.nin;
    Type wish[8] = {{0}};
    for (uint32_t i = 0; i < n; i++) wish[i] = *type_of(cx, cx->node.in[i]);
    NodeId id = grad_node(cx, OP_SPLIT, dy, 1, 0, n, wish, NULL, "bwd");
    for (uint32_t i = 0; i < n; i++)
        if (want[i]) dx[i] = cx->g->node.at[id].out[i];
}

/* A piece of the gradient: autodiff joins the pieces of all slices of one value. */
static void grad_slice_rows(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    (void)cx;
    if (want[0]) dx[0] = dy[0];
}

/* The whole gradient: autodiff takes a piece's rows of it when the piece's turn comes. */
static void grad_join_rows(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    for (uint32_t i = 0; i < cx->node.nin; i++)
        if (want[i]) dx[i] = dy[0];
}

static void grad_linear(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in;
    if (cx->node.attr.factor != 0) die("'%s' is scaled already", cx->node.name);
    if (want[1]) dx[1] = grad_weight(cx, OP_LINEAR_BWD_W, (ValueId[]){dy[0], in[0]}, 2, in[1], "bwd_w");
    if (cx->node.nin > 2 && want[2]) dx[2] = grad_weight(cx, OP_SUM_LEADING, dy, 1, in[2], "bwd_b");
    if (want[0]) dx[0] = grad_op(cx, OP_LINEAR_BWD_X, (ValueId[]){dy[0], in[1]}, 2, "bwd_x");
}

static void grad_layernorm(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in, *out = cx->node.out;
    if (want[1]) {
        ValueId operand[] = {dy[0], in[0], out[1], out[2]};
        dx[1] = grad_weight(cx, OP_LAYERNORM_BWD_G, operand, 4, in[1], "bwd_g");
    }
    if (want[2]) dx[2] = grad_weight(cx, OP_SUM_LEADING, dy, 1, in[2], "bwd_b");
    if (want[0]) {
        ValueId operand[] = {dy[0], in[0], in[1], out[1], out[2]};
        dx[0] = grad_op(cx, OP_LAYERNORM_BWD_X, operand, 5, "bwd_x");
    }
}

static void grad_rmsnorm(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in, *out = cx->node.out;
    if (want[1])
        dx[1] = grad_weight(cx, OP_RMSNORM_BWD_G, (ValueId[]){dy[0], in[0], out[1]}, 3, in[1], "bwd_g");
    if (want[0]) dx[0] = grad_op(cx, OP_RMSNORM_BWD_X, (ValueId[]){dy[0], in[0], in[1], out[1]}, 4, "bwd_x");
}

static void grad_gelu(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) dx[0] = grad_op(cx, OP_GELU_BWD, (ValueId[]){dy[0], cx->node.in[0]}, 2, "bwd");
}

static void grad_silu(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) dx[0] = grad_op(cx, OP_SILU_BWD, (ValueId[]){dy[0], cx->node.in[0]}, 2, "bwd");
}

static void grad_add(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    (void)cx;
    for (int i = 0; i < 2; i++)
        if (want[i]) dx[i] = dy[0];
}

static void grad_add_broadcast(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[1]) dx[1] = grad_weight(cx, OP_SUM_LEADING, dy, 1, cx->node.in[1], "bwd_b");
    if (want[0]) dx[0] = dy[0];
}

static void grad_mul(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in;
    if (want[0]) dx[0] = grad_op(cx, OP_MUL, (ValueId[]){dy[0], in[1]}, 2, "bwd_a");
    if (want[1]) dx[1] = grad_op(cx, OP_MUL, (ValueId[]){dy[0], in[0]}, 2, "bwd_b");
}

static void grad_with_attr(GradContext *cx, Op op, ValueId dy, const Attr *attr, ValueId *dx) {
    NodeId id = grad_node(cx, op, &dy, 1, 0, 1, NULL, attr, "bwd");
    dx[0] = cx->g->node.at[id].out[0];
}

static void grad_scale(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) grad_with_attr(cx, OP_SCALE, dy[0], &cx->node.attr, dx);
}

static void grad_rope(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    Attr attr = cx->node.attr;
    attr.inverse = !attr.inverse;
    ValueId operand[] = {dy[0], cx->node.nin > 1 ? cx->node.in[1] : NONE};
    if (want[0]) {
        NodeId id = grad_node(cx, OP_ROPE, operand, cx->node.nin, 0, 1, NULL, &attr, "bwd");
        dx[0] = cx->g->node.at[id].out[0];
    }
}

/* The same stream draws the same zeros. */
static void grad_dropout(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    if (want[0]) grad_with_attr(cx, OP_DROPOUT, dy[0], &cx->node.attr, dx);
}

static void grad_attend(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    const ValueId *in = cx->node.in, *out = cx->node.out;
    uint32_t documents = cx->node.nin > 3;
    ValueId operand[] = {
        dy[0], in[0], in[1], in[2], out[0], out[1], documents ? in[3] : NONE, documents ? in[4] : NONE};
    NodeId id = grad_node(cx, OP_ATTEND_BWD, operand, documents ? 8 : 6, 0, 3, NULL, &cx->node.attr, "bwd");
    for (int i = 0; i < 3; i++)
        if (want[i]) dx[i] = cx->g->node.at[id].out[i];
}

/* Where gradients start: the loss itself has gradient cx->loss_scale, which the kernel multiplies in. */
static void grad_cross_entropy(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    (void)dy;
    const ValueId *in = cx->node.in;
    uint32_t masked = cx->node.nin == 4;
    ValueId operand[] = {in[0], in[1], cx->node.out[0], masked ? in[2] : NONE};
    if (want[0]) dx[0] = grad_op(cx, OP_CROSS_ENTROPY_BWD, operand, 3 + masked, "bwd");
}

static void grad_none(GradContext *cx, const ValueId *dy, const bool *want, ValueId *dx) {
    (void)dy, (void)want, (void)dx;
    die("%s '%s' has no gradient rule", op_info[cx->node.op].name, cx->node.name);
}

static GradRule *const grad_rule[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           ...)                                                                                              \
    [OP_##NAME] = grad_##gradient,
#include "ir/op.def"
#undef OP
};

void op_gradient(GradContext *cx, NodeId node, const ValueId *grad_out, const bool *want, ValueId *grad_in) {
    cx->node = cx->g->node.at[node];
    for (uint32_t i = 0; i < cx->node.nin; i++) grad_in[i] = NONE;
    grad_rule[cx->node.op](cx, grad_out, want, grad_in);
}
