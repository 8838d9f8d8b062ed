/* Expressions of a model: names, operators, `as`, and calls of operations and blocks.
 *
 * In: an Expr and the variables in scope. Out: an Operand; the nodes it takes have been appended to the
 * graph. Whatever does not fit is reported once, with both shapes, where the operand came from and which
 * other value in scope would fit, and becomes poison. */
#include "frontend/lower/lower_parts.h"

#include <string.h>

/* ---- limits: a hostile file gets an answer, not the machine ---- */

enum { MAX_VARIABLES = 10000, MAX_DEPTH = 1000 };

void too_large(Lower *l, Span span, const char *what) {
    if (!l->too_large) diag_error(l->diag, E0320, span, "the model is too large: %s", what);
    l->too_large = true;
}

bool depth_enter(Lower *l, Span span) {
    if (l->depth < MAX_DEPTH && !l->too_large) {
        l->depth++;
        return true;
    }
    too_large(l, span, "nested more than 1000 deep");
    return false;
}

/* ---- operands and variables ---- */

Operand poison(void) {
    return (Operand){.kind = OPERAND_POISON};
}

Operand tensor_of(Lower *l, ValueId value, const Shape *shape) {
    return (Operand){.kind = OPERAND_TENSOR,
                     .value = value,
                     .dtype = l->graph->value.at[value].type.dtype,
                     .shape = *shape};
}

Variable *variable_find(Lower *l, const char *name) {
    for (uint32_t i = l->variable.count; i-- > l->frame;)
        if (!strcmp(l->variable.at[i].name, name)) return &l->variable.at[i];
    return NULL;
}

static void check_read(Lower *l, const Variable *v) {
    if (v->used || v->name[0] == '_' || v->operand.kind == OPERAND_POISON || diag_errors(l->diag)) return;
    diag_error(l->diag, E0209, v->span, "'%s' is never used", v->name);
    diag_help(l->diag, "a name that begins with '_' may stay unused");
}

void variable_set(Lower *l, Name name, Operand operand) {
    if (!name.text) return;
    if (dims_find(l, name.text) || !strncmp(name.text, "data.", 5)) {
        diag_error(l->diag, E0206, name.span, "'%s' is already the name of a %s", name.text,
                   dims_find(l, name.text) ? "dimension" : "batch input");
        operand = poison();
    }
    Variable *v = variable_find(l, name.text);
    if (!v && l->variable.count - l->frame >= MAX_VARIABLES) {
        too_large(l, name.span, "more than 10000 variables");
        return;
    }
    if (v)
        check_read(l, v);
    else
        v = vec_add(l->arena, &l->variable);
    *v = (Variable){.name = name.text, .span = name.span, .operand = operand};
}

void variables_drop(Lower *l, uint32_t first) {
    for (uint32_t i = first; i < l->variable.count; i++) check_read(l, &l->variable.at[i]);
    l->variable.count = first;
}

/* ---- saying things ---- */

const char *expr_text(Lower *l, const Expr *expr) {
    const char *source = l->ast->source + expr->span.beg;
    uint32_t length = expr->span.end - expr->span.beg, limit = 48;
    Text out = {.arena = l->arena};
    bool blank = false;
    for (uint32_t i = 0; i < length && out.length < limit; i++) {
        bool space = source[i] == ' ' || source[i] == '\n' || source[i] == '\t' || source[i] == '\r';
        if (space && !blank) text_add(&out, " ");
        if (!space) text_add_n(&out, &source[i], 1);
        blank = space;
    }
    if (out.length >= limit) text_add(&out, "..");
    return arena_printf(l->arena, "'%s'", out.at ? out.at : "");
}

void note_defined(Lower *l, const Expr *expr) {
    if (expr->kind == EXPR_AS) expr = expr->left;
    if (expr->kind != EXPR_NAME) return;
    const Variable *v = variable_find(l, expr->text);
    if (v) diag_note(l->diag, v->span, "'%s' is defined here", expr->text);
}

void note_operand(Lower *l, const Expr *expr, const Operand *operand) {
    diag_note(l->diag, NO_SPAN, "%s has shape %s", expr_text(l, expr), shape_text(l, &operand->shape));
}

void help_fitting(Lower *l, const Expr *instead, const Shape *want, bool last_only) {
    for (int unread = 1; unread >= 0; unread--)
        for (uint32_t i = l->variable.count; i-- > l->frame;) {
            const Variable *v = &l->variable.at[i];
            if (v->operand.kind != OPERAND_TENSOR || v->used == (bool)unread ||
                expr_is_name(instead, v->name))
                continue;
            const Shape *have = &v->operand.shape;
            const Dim *last = &have->dim[have->rank - 1];
            if (last_only ? dim_match(last, &want->dim[want->rank - 1]) : shape_match(have, want)) continue;
            diag_help(l->diag, "'%s' has shape %s; did you mean that?", v->name, shape_symbols(l, have));
            return;
        }
}

void coincidence(Lower *l, Span span, const char *what, const Shape *a, const Shape *b) {
    diag_error(l->diag, E0313, span, "%s: %s and %s are equal here, but not by definition", what,
               shape_symbols(l, a), shape_symbols(l, b));
    for (int i = 0; i < a->rank && i < b->rank; i++) {
        if (dim_match(&a->dim[i], &b->dim[i]) != DIM_COINCIDE) continue;
        diag_note(l->diag, NO_SPAN, "%s and %s are both %lld now; another value of one would break the model",
                  dim_text(l, &a->dim[i]), dim_text(l, &b->dim[i]), (long long)a->dim[i].value);
        diag_help(l->diag, "if they belong together, define one by the other in dims");
        return;
    }
}

/* ---- names ---- */

static const char *const batch_input[3] = {"data.tokens", "data.targets", "data.loss_mask"};

Operand batch_tensor(Lower *l, ValueId *id, DType dtype, const char *name, Span span) {
    const NamedDim *b = dims_find(l, "B"), *t = dims_find(l, "T");
    if (!b || !t || b->state != DIM_KNOWN || t->state != DIM_KNOWN) return poison();
    Shape shape = {2, {b->dim, t->dim}};
    if (*id == NONE)
        *id = graph_value(l->graph, shape_type(&shape, dtype), VALUE_INPUT, ROLE_INPUT, name, span);
    return tensor_of(l, *id, &shape);
}

static Operand batch_operand(Lower *l, const Expr *expr) {
    Graph *g = l->graph;
    int which = 0;
    while (which < 3 && strcmp(expr->text, batch_input[which])) which++;
    if (which == 3) {
        diag_error(l->diag, E0201, expr->span, "the batch has no '%s'", expr->text);
        if (!diag_suggest(l->diag, expr->text, batch_input, 3))
            diag_help(l->diag, "it has data.tokens, data.targets and data.loss_mask");
        return poison();
    }
    ValueId *id = which == 0 ? &g->tokens : which == 1 ? &g->targets : &g->mask;
    return batch_tensor(l, id, which == 2 ? DT_F32 : DT_I32, batch_input[which], expr->span);
}

static Operand name_lower(Lower *l, const Expr *expr) {
    if (!strncmp(expr->text, "data.", 5)) return batch_operand(l, expr);
    Variable *v = variable_find(l, expr->text);
    if (v) {
        v->used = true;
        return v->operand;
    }
    if (dims_find(l, expr->text)) {
        Dim d;
        if (!dim_eval(l, expr, &d)) return poison();
        return (Operand){.kind = OPERAND_NUMBER, .number = (double)d.value};
    }
    uint32_t count = 0, room = l->variable.count - l->frame + l->dim.count;
    const char **names = NEW_ARRAY(l->arena, const char *, room + 1);
    for (uint32_t i = l->frame; i < l->variable.count; i++) names[count++] = l->variable.at[i].name;
    for (uint32_t i = 0; i < l->dim.count; i++) names[count++] = l->dim.at[i].name.text;
    diag_error(l->diag, E0201, expr->span, "nothing here is called '%s'", expr->text);
    diag_suggest(l->diag, expr->text, names, count);
    return poison();
}

/* ---- operators ---- */

static Operand no_operator(Lower *l, const Expr *expr, const char *why) {
    diag_error(l->diag, E0303, expr->span, "%s", why);
    return poison();
}

static Operand scaled(Lower *l, const Operand *x, double factor, Span span) {
    return node_same(l, OP_SCALE, x, 1, &(Attr){.factor = factor}, NULL, span);
}

/* S of [.., S]: the last `rank` dims. */
static Shape shape_tail(const Shape *s, int rank) {
    Shape out = {.rank = rank};
    memcpy(out.dim, &s->dim[s->rank - rank], sizeof out.dim[0] * (size_t)rank);
    return out;
}

static Operand operands_differ(Lower *l, const Expr *expr, const Operand *a, const Operand *b) {
    diag_error(l->diag, E0310, expr->span, "%c: shapes %s and %s do not match", expr->op,
               shape_symbols(l, &a->shape), shape_symbols(l, &b->shape));
    note_operand(l, expr->left, a);
    note_operand(l, expr->right, b);
    note_defined(l, expr->right);
    help_fitting(l, expr->right, &a->shape, false);
    return poison();
}

static Operand tensors_combine(Lower *l, const Expr *expr, const Operand *a, const Operand *b) {
    if (expr->op == '/')
        return no_operator(l, expr, "a value can be divided by a number, not by another value");
    if (a->dtype == DT_I32 || b->dtype == DT_I32)
        return no_operator(l, expr,
                           "tokens and targets are whole numbers: only embed and cross_entropy take them");
    const Operand *big = a->shape.rank >= b->shape.rank ? a : b, *small = big == a ? b : a;
    Shape tail = shape_tail(&big->shape, small->shape.rank);
    DimMatch match = shape_match(&tail, &small->shape);
    if (match == DIM_DIFFERENT || (expr->op == '*' && big->shape.rank != small->shape.rank))
        return operands_differ(l, expr, a, b);
    if (match == DIM_COINCIDE) {
        coincidence(l, expr->span, (char[2]){expr->op, 0}, &tail, &small->shape);
        return poison();
    }
    Operand side[2] = {*a, *b};
    if (expr->op == '-') side[1] = scaled(l, b, -1, expr->span);
    if (side[1].kind != OPERAND_TENSOR) return poison();
    if (expr->op == '*') return node_same(l, OP_MUL, side, 2, NULL, NULL, expr->span);
    if (big->shape.rank == small->shape.rank) return node_same(l, OP_ADD, side, 2, NULL, NULL, expr->span);
    Operand pair[2] = {side[big == b], side[big == a]};
    return node_same(l, OP_ADD_BROADCAST, pair, 2, NULL, NULL, expr->span);
}

static Operand binary_lower(Lower *l, const Expr *expr) {
    Operand a = expr_lower(l, expr->left), b = expr_lower(l, expr->right);
    if (a.kind == OPERAND_POISON || b.kind == OPERAND_POISON) return poison();
    if (a.kind == OPERAND_NUMBER && b.kind == OPERAND_NUMBER) {
        Operand out = {.kind = OPERAND_NUMBER};
        return number_eval(l, expr, &out.number) ? out : poison();
    }
    if (a.kind == OPERAND_TENSOR && b.kind == OPERAND_TENSOR) return tensors_combine(l, expr, &a, &b);
    if (a.kind == OPERAND_NUMBER && b.kind == OPERAND_TENSOR && expr->op == '*')
        return scaled(l, &b, a.number, expr->span);
    if (a.kind == OPERAND_TENSOR && b.kind == OPERAND_NUMBER) {
        if (expr->op == '*') return scaled(l, &a, b.number, expr->span);
        if (expr->op == '/' && b.number != 0) return scaled(l, &a, 1 / b.number, expr->span);
        if (expr->op == '/') return no_operator(l, expr, "division by zero");
    }
    if (a.kind == OPERAND_LOSS || b.kind == OPERAND_LOSS)
        return no_operator(l, expr, "the loss is the end of the model: nothing can be computed from it");
    if (a.kind == OPERAND_MANY || b.kind == OPERAND_MANY)
        return no_operator(l, expr,
                           "this has several results; name them first, as in q, k = rope(q, k, theta = 1e4)");
    return no_operator(l, expr,
                       "a number can multiply or divide a value, not be added to it or divided by it");
}

/* ---- as ---- */

static Operand as_lower(Lower *l, const Expr *expr) {
    Operand x = expr_tensor(l, expr->left);
    Shape shape;
    if (!shape_eval(l, expr->right, &shape) || x.kind != OPERAND_TENSOR) return poison();
    Dim from = dim_of_number(l, 1), to = from;
    for (int i = 0; i < x.shape.rank; i++) from = dim_combine(l, '*', from, x.shape.dim[i]);
    for (int i = 0; i < shape.rank; i++) to = dim_combine(l, '*', to, shape.dim[i]);
    if (from.value != to.value) {
        diag_error(l->diag, E0314, expr->span, "as: %s does not have as many elements as %s",
                   shape_symbols(l, &shape), shape_symbols(l, &x.shape));
        diag_note(l->diag, NO_SPAN, "%s has shape %s: %lld elements", expr_text(l, expr->left),
                  shape_text(l, &x.shape), (long long)from.value);
        diag_note(l->diag, NO_SPAN, "%s has %lld", shape_text(l, &shape), (long long)to.value);
        note_defined(l, expr->left);
        return poison();
    }
    if (dim_match(&from, &to) == DIM_COINCIDE) {
        coincidence(l, expr->span, "as", &x.shape, &shape);
        return poison();
    }
    Type wish = shape_type(&shape, x.dtype);
    NodeId node = node_add(l, OP_RESHAPE, &x.value, 1, 0, 1, &wish, NULL, node_name(l, "as", 1), expr->span);
    return node == NONE ? poison() : tensor_of(l, l->graph->node.at[node].out[0], &shape);
}

/* ---- everything ---- */

static Operand call_lower(Lower *l, const Expr *expr) {
    if (op_known(expr->callee.text)) return op_lower(l, expr);
    uint32_t block = block_find(l, expr->callee.text);
    if (block != NONE) return block_call(l, expr, block);
    if (!strcmp(expr->callee.text, "sqrt")) {
        Operand out = {.kind = OPERAND_NUMBER};
        return number_eval(l, expr, &out.number) ? out : poison();
    }
    diag_error(l->diag, E0202, expr->callee.span, "no operation or block is called '%s'", expr->callee.text);
    op_suggest(l, expr->callee.text);
    return poison();
}

const char *expr_is(const Expr *expr) {
    switch (expr->kind) {
    case EXPR_SIZE: return "a size in bytes";
    case EXPR_STRING: return "text";
    case EXPR_SHAPE: return "a shape";
    case EXPR_TUPLE: return "a list";
    case EXPR_RANGE: return "a range";
    default: return "an expression";
    }
}

static Operand kind_lower(Lower *l, const Expr *expr) {
    switch (expr->kind) {
    case EXPR_NAME: return name_lower(l, expr);
    case EXPR_INT:
    case EXPR_FLOAT: return (Operand){.kind = OPERAND_NUMBER, .number = expr->number};
    case EXPR_BINARY: return binary_lower(l, expr);
    case EXPR_NEGATE: {
        Operand x = expr_lower(l, expr->left);
        if (x.kind == OPERAND_NUMBER) return (Operand){.kind = OPERAND_NUMBER, .number = -x.number};
        if (x.kind == OPERAND_TENSOR && x.dtype != DT_I32) return scaled(l, &x, -1, expr->span);
        return x.kind == OPERAND_POISON ? x : no_operator(l, expr, "'-' takes a value or a number");
    }
    case EXPR_AS: return as_lower(l, expr);
    case EXPR_CALL: return call_lower(l, expr);
    default:
        diag_error(l->diag, E0302, expr->span,
                   "%s is %s; a name, a number or the result of an operation is wanted here",
                   expr_text(l, expr), expr_is(expr));
        return poison();
    }
}

Operand expr_lower(Lower *l, const Expr *expr) {
    if (!depth_enter(l, expr->span)) return poison();
    Operand out = kind_lower(l, expr);
    l->depth--;
    return out;
}

Operand expr_tensor(Lower *l, const Expr *expr) {
    Operand x = expr_lower(l, expr);
    if (x.kind == OPERAND_TENSOR || x.kind == OPERAND_POISON) return x;
    const char *is = x.kind == OPERAND_NUMBER ? "is a number"
                     : x.kind == OPERAND_LOSS ? "is the loss"
                                              : "has several results";
    diag_error(l->diag, E0302, expr->span, "%s %s: a value with a shape is wanted", expr_text(l, expr), is);
    return poison();
}
