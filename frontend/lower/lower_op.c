/* The operations that a file can call: how each is called (CALL_..), and a function that checks shapes by
 * symbol and by number and appends the nodes.
 *
 * In: a call. Out: an Operand. A name in quotes names the operation's weight and the node: scope + name;
 * other nodes are called scope + block + operation, numbered from the second on. */
#include "frontend/lower/lower_parts.h"
#include "ir/ops.h"

#include <string.h>

typedef struct Call {
    Op op;
    const Expr *expr;
    Operand tensor[MAX_TENSORS];
    const Expr *tensor_expr[MAX_TENSORS];
    uint32_t tensors;
    Shape shape;
    const Expr *shape_expr, *name;
    double number;
    const Expr *number_expr, *parts_expr;
    bool flag;
} Call;

typedef Operand Lowering(Lower *l, Call *call);

/* kinds of positional arguments: t tensor, s shape, w weight name, n number, p number or list of widths; '+'
 * repeats the last */
typedef struct Signature {
    const char *name, *kinds, *flag;
    const char *named[3];
    const char *form; /* shown where a call does not fit */
    Lowering *lower;
} Signature;

/* Name of a node with a weight: scope + "attn.qkv". The second use of a tied name is numbered. */
static const char *weighted_name(Lower *l, const Expr *name, uint32_t nout) {
    return unique_name(l, arena_printf(l->arena, "%s%s", l->scope, name->text), nout);
}

static bool is_float(Lower *l, const Call *call, uint32_t i) {
    if (call->tensor[i].dtype != DT_I32) return true;
    diag_error(l->diag, E0325, call->tensor_expr[i]->span, "%s: %s holds whole numbers (i32), not values",
               call->expr->callee.text, expr_text(l, call->tensor_expr[i]));
    return false;
}

/* eps = 1e-5 and the like; false after an error. */
static bool named_number(Lower *l, const Call *call, const char *name, double low, double high, double *out) {
    const Arg *arg = call_named(call->expr, name);
    if (!arg) return true;
    if (!number_eval(l, arg->value, out)) return false;
    if (*out >= low && *out <= high) return true;
    diag_error(l->diag, E0402, arg->span, "%s: %s = %g is out of range (%g to %g)", call->expr->callee.text,
               name, *out, low, high);
    return false;
}

/* ---- documents: what tells them apart is part of the batch ---- */

static bool has_documents(const Lower *l) {
    return data_has_documents(l->spec->train_format);
}

static Operand document_positions(Lower *l, Span span) {
    return batch_tensor(l, &l->graph->positions, DT_I32, "data.positions", span);
}

/* ---- weights ---- */

static bool table_shape(Lower *l, const Call *call, const char *is) {
    if (call->shape.rank == 2) return true;
    diag_error(l->diag, E0323, call->shape_expr->span, "%s: the weight must be %s, not %s",
               call->expr->callee.text, is, shape_symbols(l, &call->shape));
    return false;
}

/* The rows of the call's table that `index` names. */
static Operand lookup(Lower *l, const Call *call, const Operand *index) {
    Shape shape = index->shape;
    shape.dim[shape.rank++] = call->shape.dim[1];
    ValueId in[2] = {index->value,
                     weight_get(l, call->name, ".weight", &call->shape, INIT_NORMAL, 0.02, USE_ANY)};
    if (in[1] == NONE) return poison();
    Type wish = shape_type(&shape, l->spec->compute);
    NodeId node =
        node_add(l, OP_EMBED, in, 2, 0, 1, &wish, NULL, weighted_name(l, call->name, 1), call->expr->span);
    return first_output(l, node, &shape);
}

static Operand lower_embed(Lower *l, Call *call) {
    const Operand *tokens = &call->tensor[0];
    if (!table_shape(l, call, "[vocabulary, width]")) return poison();
    if (tokens->dtype != DT_I32) {
        diag_error(l->diag, E0325, call->tensor_expr[0]->span,
                   "embed: %s is no token: embed looks up data.tokens", expr_text(l, call->tensor_expr[0]));
        return poison();
    }
    l->embedding = call->shape;
    return lookup(l, call, tokens);
}

static Operand lower_positions(Lower *l, Call *call) {
    const NamedDim *t = dims_find(l, "T");
    if (!table_shape(l, call, "[positions, width]") || !t || t->state != DIM_KNOWN) return poison();
    if (call->shape.dim[0].value < t->dim.value) {
        diag_error(l->diag, E0321, call->shape_expr->span,
                   "positions: the table has %s = %lld rows, the context T = %lld needs more",
                   dim_text(l, &call->shape.dim[0]), (long long)call->shape.dim[0].value,
                   (long long)t->dim.value);
        return poison();
    }
    if (has_documents(l)) {
        const Operand place = document_positions(l, call->expr->span);
        return lookup(l, call, &place);
    }
    ValueId weight = weight_get(l, call->name, ".weight", &call->shape, INIT_NORMAL, 0.02, USE_ANY);
    if (weight == NONE) return poison();
    Shape shape = {2, {t->dim, call->shape.dim[1]}};
    Type wish = shape_type(&shape, l->spec->compute);
    NodeId node = node_add(l, OP_POSITIONS, &weight, 1, 0, 1, &wish, NULL, weighted_name(l, call->name, 1),
                           call->expr->span);
    return first_output(l, node, &shape);
}

static Operand linear_mismatch(Lower *l, const Call *call) {
    const Shape *x = &call->tensor[0].shape, *w = &call->shape;
    const Dim *width = &x->dim[x->rank - 1], *takes = &w->dim[1];
    const Expr *from = call->tensor_expr[0];
    diag_error(l->diag, E0312, call->expr->span, "linear: input width %lld does not match weight %s",
               (long long)width->value, shape_symbols(l, w));
    diag_note(l->diag, NO_SPAN, "input %s has shape %s; its last dimension is %s = %lld", expr_text(l, from),
              shape_text(l, x), dim_text(l, width), (long long)width->value);
    diag_note(l->diag, NO_SPAN, "weight '%s' is %s; it multiplies a last dimension %s = %lld",
              call->name->text, shape_text(l, w), dim_text(l, takes), (long long)takes->value);
    note_defined(l, from);
    help_fitting(l, from, &(Shape){1, {*takes}}, true);
    return poison();
}

static Operand lower_linear(Lower *l, Call *call) {
    const Operand *x = &call->tensor[0];
    if (!is_float(l, call, 0) || !table_shape(l, call, "[out, in]")) return poison();
    Shape width = {1, {x->shape.dim[x->shape.rank - 1]}}, takes = {1, {call->shape.dim[1]}};
    DimMatch match = shape_match(&width, &takes);
    if (match == DIM_DIFFERENT) return linear_mismatch(l, call);
    if (match == DIM_COINCIDE) {
        coincidence(l, call->expr->span, "linear", &width, &takes);
        return poison();
    }
    const char *base = arena_printf(l->arena, "%s%s", l->scope, call->name->text);
    /* what two operations share is stored for both */
    WeightUse use = makes_logits(l, &call->shape) || tie_of(l, base) ? USE_ANY : USE_MATRIX;
    ValueId in[3] = {x->value, weight_get(l, call->name, ".weight", &call->shape, INIT_NORMAL, 0.02, use),
                     NONE};
    Shape out = {1, {call->shape.dim[0]}};
    if (call->flag) in[2] = weight_get(l, call->name, ".bias", &out, INIT_CONSTANT, 0, USE_ANY);
    if (in[1] == NONE || (call->flag && in[2] == NONE)) return poison();
    const char *name = weighted_name(l, call->name, 1);
    in[1] = cast_to_compute(l, in[1], name, call->expr->span);
    if (in[1] == NONE) return poison();
    Shape shape = shape_with_last(&x->shape, call->shape.dim[0]);
    Operand y = first_output(
        l, node_add(l, OP_LINEAR, in, call->flag ? 3 : 2, 0, 1, NULL, NULL, name, call->expr->span), &shape);
    return adapt_linear(l, base, x, &call->shape, y, call->expr->span);
}

static Operand lower_norm(Lower *l, Call *call) {
    const Operand *x = &call->tensor[0];
    Attr attr = {.eps = 1e-5};
    if (!is_float(l, call, 0) || !named_number(l, call, "eps", 1e-20, 1, &attr.eps)) return poison();
    Shape width = {1, {x->shape.dim[x->shape.rank - 1]}};
    ValueId in[3] = {x->value, weight_get(l, call->name, ".weight", &width, INIT_CONSTANT, 1, USE_ANY), NONE};
    uint32_t n = (uint32_t)op_info[call->op].min_in; /* x, gain, bias or none; as many results */
    if (n == 3) in[2] = weight_get(l, call->name, ".bias", &width, INIT_CONSTANT, 0, USE_ANY);
    if (in[1] == NONE || (n == 3 && in[2] == NONE)) return poison();
    return first_output(
        l, node_add(l, call->op, in, n, 0, n, NULL, &attr, weighted_name(l, call->name, n), call->expr->span),
        &x->shape);
}

/* ---- element-wise ---- */

static Operand lower_unary(Lower *l, Call *call) {
    return is_float(l, call, 0) ? node_same(l, call->op, call->tensor, 1, NULL, NULL, call->expr->span)
                                : poison();
}

static Operand lower_scale(Lower *l, Call *call) {
    Attr attr = {.factor = call->number};
    return is_float(l, call, 0) ? node_same(l, OP_SCALE, call->tensor, 1, &attr, NULL, call->expr->span)
                                : poison();
}

static Operand lower_dropout(Lower *l, Call *call) {
    if (!is_float(l, call, 0)) return poison();
    if (!(call->number >= 0 && call->number < 1)) {
        diag_error(l->diag, E0402, call->number_expr->span, "dropout: the probability %g is not in [0, 1)",
                   call->number);
        return poison();
    }
    Attr attr = {.p = call->number, .rng = ++l->dropouts};
    return call->number > 0 ? node_same(l, OP_DROPOUT, call->tensor, 1, &attr, NULL, call->expr->span)
                            : call->tensor[0];
}

/* ---- shapes ---- */

static Operand many(Lower *l, uint32_t count) {
    return (Operand){.kind = OPERAND_MANY, .item = NEW_ARRAY(l->arena, Operand, count), .items = count};
}

static Dim last_dim(const Operand *x) {
    return x->shape.dim[x->shape.rank - 1];
}

static bool bad_split(Lower *l, const Call *call, const char *what) {
    diag_error(l->diag, E0315, call->expr->span, "split: %s", what);
    note_operand(l, call->tensor_expr[0], &call->tensor[0]);
    note_defined(l, call->tensor_expr[0]);
    return false;
}

/* split(x, 3) */
static bool equal_parts(Lower *l, const Call *call, Dim *width, uint32_t *parts) {
    Dim last = last_dim(&call->tensor[0]);
    int64_t n = call->number >= 2 && call->number <= MAX_TENSORS ? (int64_t)call->number : 0;
    if (!n || (double)n != call->number) {
        diag_error(l->diag, E0402, call->number_expr->span, "split: into 2 to %d parts, not %g", MAX_TENSORS,
                   call->number);
        return false;
    }
    if (last.value % n)
        return bad_split(l, call,
                         arena_printf(l->arena, "last dimension %s = %lld does not divide into %lld parts",
                                      dim_text(l, &last), (long long)last.value, (long long)n));
    for (int64_t i = 0; i < n; i++) width[i] = dim_combine(l, '/', last, dim_of_number(l, n));
    *parts = (uint32_t)n;
    return true;
}

/* split(x, [H*E, K*E, K*E]) */
static bool listed_parts(Lower *l, const Call *call, Dim *width, uint32_t *parts) {
    const Expr *list = call->parts_expr;
    Shape last = {1, {last_dim(&call->tensor[0])}}, sum = {1, {dim_of_number(l, 0)}};
    uint32_t n = list->items.count;
    if (n < 2 || n > MAX_TENSORS) {
        diag_error(l->diag, E0402, list->span, "split: into 2 to %d parts, not %u", MAX_TENSORS, n);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!dim_eval_size(l, list->items.at[i], &width[i])) return false;
        sum.dim[0] = dim_combine(l, '+', sum.dim[0], width[i]);
    }
    DimMatch match = shape_match(&sum, &last);
    if (match == DIM_DIFFERENT)
        return bad_split(l, call,
                         arena_printf(l->arena, "the parts %s take %lld of the last dimension %s = %lld",
                                      expr_text(l, list), (long long)sum.dim->value, dim_text(l, last.dim),
                                      (long long)last.dim->value));
    if (match == DIM_COINCIDE) coincidence(l, call->expr->span, "split", &sum, &last);
    *parts = n;
    return match == DIM_SAME;
}

static Operand lower_split(Lower *l, Call *call) {
    const Operand *x = &call->tensor[0];
    Dim width[MAX_TENSORS];
    Shape shape[MAX_TENSORS];
    Type wish[MAX_TENSORS];
    uint32_t n;
    if (!is_float(l, call, 0)) return poison();
    if (!(call->parts_expr ? listed_parts : equal_parts)(l, call, width, &n)) return poison();
    for (uint32_t i = 0; i < n; i++) {
        shape[i] = shape_with_last(&x->shape, width[i]);
        wish[i] = shape_type(&shape[i], x->dtype);
    }
    NodeId node =
        node_add(l, OP_SPLIT, &x->value, 1, 0, n, wish, NULL, node_name(l, "split", n), call->expr->span);
    if (node == NONE) return poison();
    Operand out = many(l, n);
    for (uint32_t i = 0; i < n; i++) out.item[i] = tensor_of(l, l->graph->node.at[node].out[i], &shape[i]);
    return out;
}

static Operand lower_concat(Lower *l, Call *call) {
    const Operand *first = &call->tensor[0];
    Shape shape = first->shape;
    ValueId in[MAX_TENSORS];
    for (uint32_t i = 0; i < call->tensors; i++) {
        const Operand *piece = &call->tensor[i];
        if (!is_float(l, call, i)) return poison();
        in[i] = piece->value;
        if (!i) continue;
        Shape alike = shape_with_last(&piece->shape, last_dim(first));
        DimMatch match = shape_match(&alike, &first->shape);
        if (match == DIM_COINCIDE) coincidence(l, call->expr->span, "concat", &piece->shape, &first->shape);
        if (match == DIM_DIFFERENT) {
            diag_error(l->diag, E0310, call->expr->span,
                       "concat: %s and %s differ in more than the last dimension",
                       expr_text(l, call->tensor_expr[0]), expr_text(l, call->tensor_expr[i]));
            note_operand(l, call->tensor_expr[0], first);
            note_operand(l, call->tensor_expr[i], piece);
        }
        if (match != DIM_SAME) return poison();
        shape = shape_with_last(&shape,
                                dim_combine(l, '+', last_dim(&(Operand){.shape = shape}), last_dim(piece)));
    }
    if (call->tensors < 2) {
        diag_error(l->diag, E0301, call->expr->span, "concat: two values or more are wanted");
        diag_help(l->diag, "write concat(a, b)");
        return poison();
    }
    NodeId node = node_add(l, OP_CONCAT, in, call->tensors, 0, 1, NULL, NULL, node_name(l, "concat", 1),
                           call->expr->span);
    return first_output(l, node, &shape);
}

/* ---- attention ---- */

static Operand lower_rope(Lower *l, Call *call) {
    Attr attr = {.theta = 1e4};
    if (!named_number(l, call, "theta", 1, 1e12, &attr.theta)) return poison();
    const Arg *scaling = call_named(call->expr, "scaling");
    if (scaling && !rope_scaling(l, scaling->value, &attr)) return poison();
    Operand out = many(l, call->tensors);
    for (uint32_t i = 0; i < call->tensors; i++) {
        const Operand *x = &call->tensor[i];
        if (!is_float(l, call, i)) return poison();
        if (x->shape.rank != 4 || x->shape.dim[3].value % 2) {
            diag_error(l->diag, E0316, call->tensor_expr[i]->span,
                       "rope: %s must be [B, T, heads, width], width even",
                       expr_text(l, call->tensor_expr[i]));
            note_operand(l, call->tensor_expr[i], x);
            note_defined(l, call->tensor_expr[i]);
            return poison();
        }
        Operand in[2] = {*x};
        if (has_documents(l)) in[1] = document_positions(l, call->expr->span);
        out.item[i] = node_same(l, OP_ROPE, in, has_documents(l) ? 2 : 1, &attr, NULL, call->expr->span);
        if (out.item[i].kind == OPERAND_POISON) return poison();
    }
    return call->tensors == 1 ? out.item[0] : out;
}

static Operand attend_mismatch(Lower *l, const Call *call, const char *what) {
    diag_error(l->diag, E0316, call->expr->span, "attend: %s", what);
    for (uint32_t i = 0; i < 3; i++) note_operand(l, call->tensor_expr[i], &call->tensor[i]);
    diag_help(l->diag, "attend takes q [B, T, H, E], k and v [B, T, K, E], H a multiple of K");
    return poison();
}

static Operand lower_attend(Lower *l, Call *call) {
    const Shape *q = &call->tensor[0].shape, *k = &call->tensor[1].shape, *v = &call->tensor[2].shape;
    for (uint32_t i = 0; i < 3; i++)
        if (!is_float(l, call, i)) return poison();
    if (q->rank != 4 || k->rank != 4 || v->rank != 4)
        return attend_mismatch(l, call, "q, k and v must have four dimensions");
    Shape expected = *q;
    expected.dim[2] = k->dim[2];
    DimMatch keys = shape_match(k, &expected), values = shape_match(v, k);
    if (keys == DIM_DIFFERENT) return attend_mismatch(l, call, "keys and queries do not match");
    if (values == DIM_DIFFERENT) return attend_mismatch(l, call, "keys and values do not match");
    if (keys == DIM_COINCIDE || values == DIM_COINCIDE) {
        coincidence(l, call->expr->span, "attend", keys ? k : v, keys ? &expected : k);
        return poison();
    }
    if (q->dim[2].value % k->dim[2].value)
        return attend_mismatch(l, call,
                               arena_printf(l->arena,
                                            "%s = %lld query heads do not divide over %s = %lld key heads",
                                            dim_text(l, &q->dim[2]), (long long)q->dim[2].value,
                                            dim_text(l, &k->dim[2]), (long long)k->dim[2].value));
    ValueId in[5] = {call->tensor[0].value, call->tensor[1].value, call->tensor[2].value};
    uint32_t n = 3;
    if (has_documents(l)) {
        in[n++] = batch_tensor(l, &l->graph->first_key, DT_I32, "data.first_key", call->expr->span).value;
        in[n++] = batch_tensor(l, &l->graph->last_query, DT_I32, "data.last_query", call->expr->span).value;
    }
    NodeId node = node_add(l, OP_ATTEND, in, n, 0, 2, NULL, &(Attr){.causal = call->flag},
                           node_name(l, "attend", 2), call->expr->span);
    return first_output(l, node, q);
}

/* ---- the loss ---- */

static Operand rows_mismatch(Lower *l, const Call *call, const Expr *expr, const Operand *rows) {
    diag_error(l->diag, E0324, expr->span, "cross_entropy: %s does not go with the logits",
               expr_text(l, expr));
    note_operand(l, call->tensor_expr[0], &call->tensor[0]);
    note_operand(l, expr, rows);
    return poison();
}

static Operand lower_cross_entropy(Lower *l, Call *call) {
    Graph *g = l->graph;
    const Operand *logits = &call->tensor[0], *targets = &call->tensor[1];
    const Arg *mask_arg = call_named(call->expr, "mask");
    Operand mask = poison();
    if (!is_float(l, call, 0)) return poison();
    Shape rows = logits->shape;
    rows.rank--;
    if (targets->value != g->targets || shape_match(&rows, &targets->shape) != DIM_SAME)
        return rows_mismatch(l, call, call->tensor_expr[1], targets);
    if (mask_arg) {
        mask = expr_tensor(l, mask_arg->value);
        if (mask.kind != OPERAND_TENSOR) return poison();
        if (mask.value != g->mask || shape_match(&rows, &mask.shape) != DIM_SAME)
            return rows_mismatch(l, call, mask_arg->value, &mask);
    }
    if (has_documents(l) && !mask_arg) {
        diag_error(l->diag, E0406, call->expr->span,
                   "cross_entropy: the data are documents with a loss mask, and the loss does not take it");
        diag_help(l->diag, "write cross_entropy(logits, data.targets, mask = data.loss_mask)");
        return poison();
    }
    if (g->loss_sum != NONE) {
        diag_error(l->diag, E0211, call->expr->span, "the model already has a loss");
        return poison();
    }
    Shape wide = {1, {logits->shape.dim[rows.rank]}}, vocabulary = {1, {l->embedding.dim[0]}};
    if (l->embedding.rank && shape_match(&wide, &vocabulary) == DIM_DIFFERENT) {
        diag_error(l->diag, E0324, call->expr->span,
                   "cross_entropy: logits over %s = %lld tokens, but the embedding has %s = %lld",
                   dim_text(l, wide.dim), (long long)wide.dim->value, dim_text(l, vocabulary.dim),
                   (long long)vocabulary.dim->value);
        note_operand(l, call->tensor_expr[0], logits);
        return poison();
    }
    g->logits = logits->value;
    g->loss_sum = graph_value(g, (Type){.dtype = DT_F32, .rank = 1, .dim = {1}}, VALUE_STATE, ROLE_METRIC,
                              "loss_sum", call->expr->span);
    ValueId in[4] = {logits->value, targets->value};
    uint32_t n = 2;
    if (mask_arg) in[n++] = mask.value;
    in[n++] = g->loss_sum;
    NodeId node = node_add(l, OP_CROSS_ENTROPY, in, n, 1, 2, NULL, NULL, node_name(l, "cross_entropy", 2),
                           call->expr->span);
    return node == NONE ? poison() : (Operand){.kind = OPERAND_LOSS};
}

/* ---- the table, and fitting calls to it ---- */

/* What the column `call` of ir/op.def says. Operations with `none` are made by operators (lower_expr.c), or
 * not by files at all. */
#define CALL_none(name)                                                                                      \
    { 0 }
#define CALL_unary(name)                                                                                     \
    { name, "t", NULL, {0}, name "(x)", lower_unary }
#define CALL_embed(name)                                                                                     \
    { name, "tsw", NULL, {0}, name "(tokens, [V, D], \"name\")", lower_embed }
#define CALL_positions(name)                                                                                 \
    { name, "sw", NULL, {0}, name "([P, D], \"name\")", lower_positions }
#define CALL_linear(name)                                                                                    \
    {                                                                                                        \
        name, "tsw", "bias", {0}, name "(x, [out, in], \"name\") or " name "(x, [out, in], \"name\", bias)", \
            lower_linear                                                                                     \
    }
#define CALL_norm(name)                                                                                      \
    { name, "tw", NULL, {"eps"}, name "(x, \"name\", eps = 1e-5)", lower_norm }
#define CALL_scale(name)                                                                                     \
    { name, "tn", NULL, {0}, name "(x, 0.5)", lower_scale }
#define CALL_dropout(name)                                                                                   \
    { name, "tn", NULL, {0}, name "(x, 0.1)", lower_dropout }
#define CALL_split(name)                                                                                     \
    { name, "tp", NULL, {0}, name "(x, 3) or " name "(x, [H*E, K*E, K*E])", lower_split }
#define CALL_concat(name)                                                                                    \
    { name, "t+", NULL, {0}, name "(a, b)", lower_concat }
#define CALL_rope(name)                                                                                      \
    { name, "t+", NULL, {"theta", "scaling"}, name "(q, k, theta = 1e4)", lower_rope }
#define CALL_attend(name)                                                                                    \
    { name, "ttt", "causal", {0}, name "(q, k, v, causal)", lower_attend }
#define CALL_cross_entropy(name)                                                                             \
    { name, "tt", NULL, {"mask"}, name "(logits, data.targets, mask = data.loss_mask)", lower_cross_entropy }

static const Signature signature[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, token, call, ...)                                                                           \
    [OP_##NAME] = CALL_##call(#name),
#include "ir/op.def"
#undef OP
};

static const Signature *signature_find(const char *name) {
    Op op = op_find(name);
    return op < OP_COUNT && signature[op].lower ? &signature[op] : NULL;
}

bool op_known(const char *name) {
    return signature_find(name);
}

void op_suggest(Lower *l, const char *name) {
    const char **names = NEW_ARRAY(l->arena, const char *, OP_COUNT + l->ast->block.count);
    uint32_t count = 0;
    for (int op = 0; op < OP_COUNT; op++)
        if (signature[op].lower) names[count++] = signature[op].name;
    for (uint32_t i = 0; i < l->ast->block.count; i++) names[count++] = l->ast->block.at[i]->name.text;
    diag_suggest(l->diag, name, names, count);
}

static bool misuse(Lower *l, const Signature *s, Span span, const char *what) {
    diag_error(l->diag, E0301, span, "%s: %s", s->name, what);
    diag_help(l->diag, "write %s", s->form);
    return false;
}

static bool fit_named(Lower *l, const Signature *s, const Arg *arg) {
    uint32_t known = 0;
    for (; known < COUNT_OF(s->named) && s->named[known]; known++)
        if (!strcmp(s->named[known], arg->name.text)) return true;
    diag_error(l->diag, E0204, arg->name.span, "%s knows no '%s'", s->name, arg->name.text);
    if (!diag_suggest(l->diag, arg->name.text, s->named, known)) diag_help(l->diag, "write %s", s->form);
    return false;
}

static bool fit_positional(Lower *l, const Signature *s, char kind, const Expr *e, Call *call) {
    if (kind == 'p' && e->kind == EXPR_SHAPE) {
        call->parts_expr = e;
        return true;
    }
    switch (kind) {
    case 't':
        if (call->tensors == MAX_TENSORS) return misuse(l, s, e->span, "too many values");
        call->tensor_expr[call->tensors] = e;
        call->tensor[call->tensors] = expr_tensor(l, e);
        return call->tensor[call->tensors++].kind == OPERAND_TENSOR;
    case 's':
        if (e->kind != EXPR_SHAPE) return misuse(l, s, e->span, "a weight's shape is wanted here");
        call->shape_expr = e;
        return shape_eval(l, e, &call->shape);
    case 'w':
        if (e->kind != EXPR_STRING) return misuse(l, s, e->span, "a weight's name in quotes is wanted here");
        call->name = e;
        if (*e->text) return true;
        return misuse(l, s, e->span, "a weight's name is not empty");
    default: {
        bool number = e->kind != EXPR_SHAPE && e->kind != EXPR_TUPLE && e->kind != EXPR_STRING &&
                      e->kind != EXPR_SIZE && e->kind != EXPR_RANGE;
        if (!number) {
            return misuse(
                l, s, e->span,
                arena_printf(l->arena, "a number is wanted here, not %s: %s", expr_is(e), expr_text(l, e)));
        }
        call->number_expr = e;
        Operand n = expr_lower(l, e);
        call->number = n.number;
        if (n.kind == OPERAND_NUMBER || n.kind == OPERAND_POISON) return n.kind == OPERAND_NUMBER;
        return misuse(l, s, e->span, "a number is wanted here");
    }
    }
}

Operand op_lower(Lower *l, const Expr *expr) {
    const Signature *s = signature_find(expr->callee.text);
    Call call = {.expr = expr, .op = (Op)(s - signature)};
    const char *kind = s->kinds;
    uint32_t given = 0;
    bool ok = true;
    for (uint32_t i = 0; i < expr->args.count; i++) {
        const Arg *arg = &expr->args.at[i];
        if (arg->name.text) {
            ok &= fit_named(l, s, arg);
        } else if (!*kind && s->flag && expr_is_name(arg->value, s->flag)) {
            call.flag = true;
        } else if (!*kind) {
            return misuse(l, s, arg->span, "one argument too many"), poison();
        } else {
            ok &= fit_positional(l, s, *kind, arg->value, &call);
            given++;
            if (kind[1] != '+') kind++;
        }
    }
    if (!ok) return poison();
    if (*kind && !(kind[1] == '+' && given))
        return misuse(l, s, expr->span, "arguments are missing"), poison();
    return s->lower(l, &call);
}
