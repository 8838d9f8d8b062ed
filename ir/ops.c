/* The table of operations and their shape rules. See op.def, one row an operation.
 *
 * In: types of the inputs, attributes, and for a few operations the wished output type. Out: the types of the
 * outputs, or what does not fit, in words a user can act on. A rule checks everything the kernels rely on. */
#include "ir/ops.h"
#include "ir/limits.h"
#include "ir/shape_attend.h"

#include <math.h>
#include <string.h>

/* ---- rules: forward ---- */

static const char *shape_embed(Shape *s) {
    const Type *tokens = &s->in[0], *w = &s->in[1];
    TRY(expect_tokens(s, "tokens", tokens));
    TRY(expect_float(s, "the table", w));
    if (w->rank != 2 || tokens->rank >= MAX_RANK)
        return arena_printf(s->arena, "the table must be [V, D], is %s", say_type(s, w));
    Type made = *tokens;
    made.dtype = s->out[0].rank && is_float(&s->out[0]) ? s->out[0].dtype : w->dtype;
    made.dim[made.rank++] = w->dim[1];
    return give(s, 0, made);
}

static const char *shape_positions(Shape *s) {
    const Type *w = &s->in[0];
    Type made = *w;
    TRY(expect_float(s, "the table", w));
    if (w->rank != 2) return arena_printf(s->arena, "the table must be [P, D], is %s", say_type(s, w));
    if (s->out[0].rank == 2) {
        made.dim[0] = s->out[0].dim[0];
        if (is_float(&s->out[0])) made.dtype = s->out[0].dtype;
    }
    if (made.dim[0] > w->dim[0])
        return arena_printf(s->arena, "the table has %lld positions, %lld are needed", (long long)w->dim[0],
                            (long long)made.dim[0]);
    return give(s, 0, made);
}

/* Rows behind those of `made`. */
static const char *add_rows(Shape *s, Type *made, const Type *rows) {
    Type as_first = *rows;
    as_first.dim[0] = made->dim[0];
    if (!type_equal(&as_first, made))
        return arena_printf(s->arena, "pieces %s and %s differ in more than rows", say_type(s, made),
                            say_type(s, rows));
    if (__builtin_add_overflow(made->dim[0], rows->dim[0], &made->dim[0]))
        return "the pieces have too many rows";
    return NULL;
}

/* The wishes say which type to make, and where there are fewer of them than inputs, how many rows: those of
 * one input after the other. */
static const char *shape_cast(Shape *s) {
    uint32_t taken = 0;
    for (uint32_t i = 0; i < s->nin; i++) {
        TRY(expect_float(s, "the input", &s->in[i]));
        if (s->in[i].dtype != s->in[0].dtype) return "what is cast together has one type, and gets one";
    }
    for (uint32_t i = 0; i < s->nout && taken < s->nin; i++) {
        Type made = s->in[taken++];
        if (!s->out[i].rank) return "cast needs the type to cast to";
        while (s->nin - taken > s->nout - i - 1 && made.dim[0] < s->out[i].dim[0])
            TRY(add_rows(s, &made, &s->in[taken++]));
        made.dtype = s->out[i].dtype;
        TRY(expect_float(s, "the result", &made));
        if (made.dtype != s->out[0].dtype) return "what is cast together has one type, and gets one";
        TRY(give(s, i, made));
    }
    if (taken == s->nin && s->nout <= s->nin) return NULL;
    return arena_printf(s->arena, "%u inputs do not go with %u outputs", s->nin, s->nout);
}

static bool is_nf4(const Type *t) {
    return t->dtype == DT_NF4 || t->dtype == DT_NF4_F32;
}

static const char *shape_dequantize(Shape *s) {
    Type made = s->in[0];
    if (!is_nf4(&made))
        return arena_printf(s->arena, "the input is %s, must be of an nf4 type", say_type(s, &made));
    if (!s->out[0].rank) return "dequantize needs the type to give";
    made.dtype = s->out[0].dtype;
    TRY(expect_float(s, "the result", &made));
    return give(s, 0, made);
}

/* The wish's dims alone count. */
static const char *shape_reshape(Shape *s) {
    Type made = s->out[0];
    if (!made.rank) return "reshape needs the shape to give";
    made.dtype = s->in[0].dtype;
    if (type_elements(&made) != type_elements(&s->in[0]))
        return arena_printf(s->arena, "%s has %lld elements, %s has %lld", say_type(s, &s->in[0]),
                            (long long)type_elements(&s->in[0]), say_type(s, &made),
                            (long long)type_elements(&made));
    s->out[0] = made;
    return NULL;
}

/* The wishes say how wide the parts are; without any they are equal. */
static const char *shape_split(Shape *s) {
    const Type *x = &s->in[0];
    int64_t sum = 0;
    TRY(expect_float(s, "the input", x));
    if (!s->out[0].rank && last(x) % s->nout)
        return arena_printf(s->arena, "last dimension %lld of %s does not divide into %u", (long long)last(x),
                            say_type(s, x), s->nout);
    for (uint32_t i = 0; i < s->nout; i++) {
        int64_t width = s->out[i].rank ? last(&s->out[i]) : last(x) / s->nout;
        if (width < 1 || width > last(x) - sum)
            return arena_printf(s->arena, "last dimension %lld of %s has no room for part %u, %lld wide",
                                (long long)last(x), say_type(s, x), i + 1, (long long)width);
        TRY(give(s, i, with_last(x, width)));
        sum += width;
    }
    if (sum == last(x)) return NULL;
    return arena_printf(s->arena, "the parts take %lld of the last dimension %lld of %s", (long long)sum,
                        (long long)last(x), say_type(s, x));
}

static const char *shape_concat(Shape *s) {
    int64_t sum = 0;
    TRY(expect_float(s, "the input", &s->in[0]));
    for (uint32_t i = 0; i < s->nin; i++) {
        Type as_first = with_last(&s->in[i], last(&s->in[0]));
        if (!type_equal(&as_first, &s->in[0]))
            return arena_printf(s->arena, "pieces %s and %s differ in more than the last dimension",
                                say_type(s, &s->in[0]), say_type(s, &s->in[i]));
        if (__builtin_add_overflow(sum, last(&s->in[i]), &sum)) return "the pieces are too wide";
    }
    return give(s, 0, with_last(&s->in[0], sum));
}

/* The wish says how many rows; begin says from where. */
static const char *shape_slice_rows(Shape *s) {
    const Type *x = &s->in[0];
    Type made = *x;
    int64_t begin = s->attr->begin;
    if (!s->out[0].rank) return "slice_rows needs the shape to give";
    made.dim[0] = s->out[0].dim[0];
    if (begin < 0 || made.dim[0] > x->dim[0] || begin > x->dim[0] - made.dim[0])
        return arena_printf(s->arena, "%s has no rows %lld to %lld", say_type(s, x), (long long)begin,
                            (long long)(begin + made.dim[0]));
    return give(s, 0, made);
}

static const char *shape_join_rows(Shape *s) {
    Type made = s->in[0];
    for (uint32_t i = 1; i < s->nin; i++) TRY(add_rows(s, &made, &s->in[i]));
    return give(s, 0, made);
}

static const char *shape_linear(Shape *s) {
    const Type *x = &s->in[0], *w = &s->in[1];
    TRY(expect_float(s, "the input", x));
    if (x->rank < 2) return arena_printf(s->arena, "the input must have rows, is %s", say_type(s, x));
    if (w->rank != 2) return arena_printf(s->arena, "the weight must be [O, I], is %s", say_type(s, w));
    if (last(x) != w->dim[1])
        return arena_printf(s->arena, "input width %lld does not match weight [%lld, %lld]",
                            (long long)last(x), (long long)w->dim[0], (long long)w->dim[1]);
    if (w->dtype != x->dtype && !is_nf4(w))
        return arena_printf(s->arena, "input %s and weight %s differ in type", say_type(s, x),
                            say_type(s, w));
    const Type y = with_last(x, w->dim[0]);
    if (s->nin > 2 && s->in[2].rank == y.rank) {
        TRY(expect(s, "what is added", &s->in[2], y));
    } else if (s->nin > 2) {
        TRY(expect_vector(s, "the bias", &s->in[2], w->dim[0]));
        if (s->attr->factor != 0) return "a product with a bias is not scaled";
    }
    return give(s, 0, y);
}

static const char *shape_layernorm(Shape *s) {
    const Type *x = &s->in[0];
    TRY(expect_float(s, "the input", x));
    TRY(expect_vector(s, "the gain", &s->in[1], last(x)));
    TRY(expect_vector(s, "the bias", &s->in[2], last(x)));
    TRY(give(s, 0, *x));
    TRY(give(s, 1, per_row(x)));
    return give(s, 2, per_row(x));
}

static const char *shape_rmsnorm(Shape *s) {
    const Type *x = &s->in[0];
    TRY(expect_float(s, "the input", x));
    TRY(expect_vector(s, "the gain", &s->in[1], last(x)));
    TRY(give(s, 0, *x));
    return give(s, 1, per_row(x));
}

static const char *shape_same(Shape *s) {
    const Type *x = &s->in[0];
    TRY(expect_float(s, "the input", x));
    for (uint32_t i = 1; i < s->nin; i++)
        if (!type_equal(&s->in[i], x))
            return arena_printf(s->arena, "operands %s and %s differ", say_type(s, x),
                                say_type(s, &s->in[i]));
    if (s->op == OP_DROPOUT && !(s->attr->p >= 0 && s->attr->p < 1))
        return "the probability must be in [0, 1)";
    if (s->op == OP_CLIP_SCALE) TRY(expect(s, "the squared norm", x, vector(DT_F32, 1)));
    return give(s, 0, *x);
}

static const char *shape_rope(Shape *s) {
    const Type *x = &s->in[0];
    TRY(expect_float(s, "the input", x));
    if (x->rank != 4 || last(x) % 2)
        return arena_printf(s->arena, "the input must be [B, T, H, E] with E even, is %s", say_type(s, x));
    if (!(s->attr->theta > 0)) return "theta must be above 0";
    if (s->nin > 1) TRY(expect_per_token(s, "the position of each token", &s->in[1], x));
    return give(s, 0, *x);
}

static const char *shape_broadcast(Shape *s) {
    const Type *x = &s->in[0], *b = &s->in[1];
    TRY(expect_float(s, "the input", x));
    if (s->op == OP_BIAS_GELU) TRY(expect_vector(s, "the bias", b, last(x)));
    if ((s->op != OP_BIAS_GELU && b->dtype != x->dtype) || !is_suffix(x, b))
        return arena_printf(s->arena, "%s cannot be added to %s: its dimensions must be the last ones",
                            say_type(s, b), say_type(s, x));
    return give(s, 0, *x);
}

/* logits [.., V] with what stands beside each row of them */
static const char *check_loss_rows(Shape *s, const Type *targets, const Type *mask) {
    const Type *logits = &s->in[0];
    Type rows = per_row(logits);
    TRY(expect_float(s, "the logits", logits));
    TRY(expect_tokens(s, "targets", targets));
    if (logits->rank < 2 || !same_dims(targets, &rows))
        return arena_printf(s->arena, "targets %s do not match logits %s", say_type(s, targets),
                            say_type(s, logits));
    return mask ? expect(s, "the mask", mask, rows) : NULL;
}

static const char *shape_cross_entropy(Shape *s) {
    const Type *loss = &s->in[s->nin - 1];
    TRY(check_loss_rows(s, &s->in[1], s->nin == 4 ? &s->in[2] : NULL));
    TRY(expect(s, "the loss sum", loss, vector(DT_F32, 1)));
    TRY(give(s, 0, per_row(&s->in[0])));
    return give(s, 1, *loss);
}

/* ---- rules: backward and update ---- */

/* Gradients of weights: the wish says which weight's shape and in which type to sum. */
static const char *begin_sum(Shape *s) {
    uint32_t operands = (uint32_t)op_info[s->op].min_in;
    if (s->nin > operands) TRY(give(s, 0, s->in[operands]));
    if (!s->out[0].rank) return "a sum of gradients needs the type to sum in";
    TRY(expect_float(s, "the gradient", &s->in[0]));
    return expect_float(s, "the sum", &s->out[0]);
}

static const char *end_sum(Shape *s, bool fits) {
    if (fits) return NULL;
    return arena_printf(s->arena, "%s cannot be summed into %s", say_type(s, &s->in[0]),
                        say_type(s, &s->out[0]));
}

static const char *shape_embed_bwd(Shape *s) {
    const Type *dy = &s->in[0], *out = &s->out[0];
    TRY(begin_sum(s));
    TRY(expect_tokens(s, "tokens", &s->in[1]));
    Type rows = per_row(dy);
    return end_sum(s,
                   dy->rank > 1 && same_dims(&s->in[1], &rows) && out->rank == 2 && out->dim[1] == last(dy));
}

static const char *shape_positions_bwd(Shape *s) {
    const Type *dy = &s->in[0], *out = &s->out[0];
    TRY(begin_sum(s));
    return end_sum(s,
                   dy->rank == 2 && out->rank == 2 && out->dim[1] == last(dy) && out->dim[0] >= dy->dim[0]);
}

static const char *shape_sum_leading(Shape *s) {
    TRY(begin_sum(s));
    return end_sum(s, is_suffix(&s->in[0], &s->out[0]));
}

/* dy's columns are rows of the weights, one weight after the other. */
static const char *shape_linear_bwd_w(Shape *s) {
    const Type *dy = &s->in[0], *x = &s->in[1], dx = with_last(dy, last(x));
    const uint32_t operands = (uint32_t)op_info[s->op].min_in;
    if (s->nin > operands && s->nin != operands + s->nout)
        return arena_printf(s->arena, "%u inputs do not go with %u outputs", s->nin, s->nout);
    int64_t rows = 0;
    bool fits = type_equal(&dx, x);
    TRY(begin_sum(s));
    for (uint32_t i = 0; i < s->nout; i++) {
        const Type *out = &s->out[i];
        if (s->nin > operands) TRY(give(s, i, s->in[operands + i]));
        if (!out->rank) return "a sum of gradients needs the type to sum in";
        Type want = matrix(s->out[0].dtype, out->dim[0], last(x));
        fits = fits && type_equal(out, &want) && out->dim[0] <= last(dy) - rows;
        if (fits) rows += out->dim[0];
    }
    return end_sum(s, fits && rows == last(dy));
}

/* The gain of a norm: dy, x, then f32 [..] statistics. */
static const char *shape_norm_bwd_g(Shape *s) {
    const Type *dy = &s->in[0], *out = &s->out[0];
    TRY(begin_sum(s));
    for (uint32_t i = 2; i < (uint32_t)op_info[s->op].min_in; i++)
        TRY(expect(s, "a row statistic", &s->in[i], per_row(dy)));
    Type want = vector(out->dtype, last(dy));
    return end_sum(s, type_equal(&s->in[1], dy) && type_equal(out, &want));
}

static const char *shape_linear_bwd_x(Shape *s) {
    const Type *dy = &s->in[0], *w = &s->in[1];
    TRY(expect_float(s, "the gradient", dy));
    if (w->rank != 2 || (w->dtype != dy->dtype && !is_nf4(w)) || w->dim[0] != last(dy))
        return arena_printf(s->arena, "gradient %s does not match weight %s", say_type(s, dy),
                            say_type(s, w));
    const Type dx = with_last(dy, w->dim[1]);
    if (s->nin > 2) TRY(expect(s, "the gradient to add", &s->in[2], dx));
    return give(s, 0, dx);
}

/* dy, x, then g and statistics (norms) or a bias (gelu), then a residual gradient to add: out like dy */
static const char *check_first(Shape *s) {
    const Type *dy = &s->in[0];
    TRY(expect_float(s, "the gradient", dy));
    TRY(expect(s, "the input", &s->in[1], *dy));
    uint32_t operands = (uint32_t)op_info[s->op].min_in;
    if (operands > 2) TRY(expect_vector(s, "the gain or bias", &s->in[2], last(dy)));
    for (uint32_t i = 3; i < operands; i++) TRY(expect(s, "a row statistic", &s->in[i], per_row(dy)));
    return NULL;
}

static const char *shape_first(Shape *s) {
    const uint32_t operands = (uint32_t)op_info[s->op].min_in;
    TRY(check_first(s));
    if (s->nin > operands) TRY(expect(s, "the gradient to add", &s->in[operands], s->in[0]));
    return give(s, 0, s->in[0]);
}

/* The last outputs, sums over rows: where attr.acc is set, over as many accumulators behind the operands. */
static const char *give_sums(Shape *s, uint32_t operands) {
    const uint32_t sums = op_sums(s->op, s->nout), first = s->nout - sums, over = s->attr->acc ? sums : 0;
    if (s->nin != operands + over)
        return arena_printf(s->arena, "%u inputs do not go with %u outputs", s->nin, s->nout);
    for (uint32_t i = 0; i < sums; i++) {
        if (over) TRY(give(s, first + i, s->in[operands + i]));
        if (!s->out[first + i].rank) return "a sum of gradients needs the type to sum in";
        TRY(expect_vector(s, "a sum", &s->out[first + i], last(&s->in[0])));
    }
    return NULL;
}

static const char *shape_first_sums(Shape *s) {
    const uint32_t more = s->attr->residual != 0, operands = (uint32_t)op_info[s->op].min_in + more;
    TRY(check_first(s));
    if (more && s->nin >= operands) TRY(expect(s, "the gradient to add", &s->in[operands - 1], s->in[0]));
    TRY(give(s, 0, s->in[0]));
    return give_sums(s, operands);
}

static const char *shape_cross_entropy_bwd(Shape *s) {
    TRY(check_loss_rows(s, &s->in[1], s->nin == 4 ? &s->in[3] : NULL));
    TRY(expect(s, "the log-sum-exp", &s->in[2], per_row(&s->in[0])));
    return give(s, 0, s->in[0]);
}

static const char *shape_cross_entropy_both(Shape *s) {
    const Type *loss = &s->in[s->nin - 1];
    TRY(check_loss_rows(s, &s->in[1], s->nin == 4 ? &s->in[2] : NULL));
    TRY(expect(s, "the loss sum", loss, vector(DT_F32, 1)));
    TRY(give(s, 0, s->in[0]));
    return give(s, 1, *loss);
}

static const char *shape_square_norm(Shape *s) {
    const Type *sum = &s->in[s->nin - 1];
    for (uint32_t i = 0; i + 1 < s->nin; i++) {
        TRY(expect_float(s, "the gradient", &s->in[i]));
        if (s->in[i].dtype != s->in[0].dtype) return "takes gradients of one storage type";
    }
    TRY(expect(s, "the sum", sum, vector(DT_F32, 1)));
    return give(s, 0, *sum);
}

/* w, m, v, master? of one weight, inputs from `first` on, and its gradient */
static const char *check_states(Shape *s, const Type *gradient, uint32_t first, uint32_t states) {
    const Type *w = &s->in[first];
    for (uint32_t i = 0; i < states; i++) {
        const Type *state = &s->in[first + i];
        const bool is_moment = i == 1 || i == 2;
        const DType packed = i == 1 ? DT_DYNAMIC8 : DT_UDYNAMIC8;
        if (!is_moment || s->op == OP_ADAMW)
            TRY(expect_float(s, "an operand", state));
        else if (state->dtype != packed)
            return arena_printf(s->arena, "a moment is %s, must be in %s", say_type(s, state),
                                dtype_name[packed]);
        if (!same_dims(state, w))
            return arena_printf(s->arena, "state %s does not match weight %s", say_type(s, state),
                                say_type(s, w));
    }
    TRY(expect_float(s, "an operand", gradient));
    if (!same_dims(gradient, w))
        return arena_printf(s->arena, "gradient %s does not match weight %s", say_type(s, gradient),
                            say_type(s, w));
    if (states == 4 && s->in[first + 3].dtype != DT_F32)
        return arena_printf(s->arena, "the master copy is %s, must be f32", say_type(s, &s->in[first + 3]));
    return NULL;
}

/* g.., scale [1]?, then w, m, v, master? of each, which are written over */
static const char *shape_adamw(Shape *s) {
    const int64_t count = s->attr->tensors > 1 ? s->attr->tensors : 1;
    const uint32_t tensors = count < s->nin ? (uint32_t)count : s->nin, states = s->nout / tensors;
    const uint32_t first = s->nin - s->nout;
    if (states * tensors != s->nout || states < 3 || states > 4 || s->nin < s->nout + tensors ||
        s->nin > s->nout + tensors + 1)
        return arena_printf(s->arena, "%u inputs do not go with %u outputs", s->nin, s->nout);
    if (s->attr->decayed < 0 || s->attr->decayed > count) return "decays more weights than there are";
    if (first > tensors) TRY(expect(s, "the scale", &s->in[tensors], vector(DT_F32, 1)));
    for (uint32_t t = 0; t < tensors; t++) {
        TRY(check_states(s, &s->in[t], first + t * states, states));
        bool alike = s->in[t].dtype == s->in[0].dtype;
        for (uint32_t i = 0; i < states; i++)
            alike &= s->in[first + t * states + i].dtype == s->in[first + i].dtype;
        if (!alike) return "takes weights whose storage types are alike";
    }
    for (uint32_t i = 0; i < s->nout; i++) TRY(give(s, i, s->in[first + i]));
    return NULL;
}

/* ---- rules: fused ---- */

static const char *shape_swiglu_bwd(Shape *s) {
    TRY(expect_float(s, "the gradient", &s->in[0]));
    for (uint32_t i = 1; i < 3; i++) TRY(expect(s, "an operand", &s->in[i], s->in[0]));
    TRY(give(s, 0, s->in[0]));
    return give(s, 1, s->in[0]);
}

static const char *shape_swiglu_bwd_sums(Shape *s) {
    TRY(shape_swiglu_bwd(s));
    return give_sums(s, (uint32_t)op_info[s->op].min_in);
}

static const char *shape_add_norm(Shape *s) {
    const Type *a = &s->in[0];
    TRY(expect_float(s, "the input", a));
    TRY(expect(s, "the second input", &s->in[1], *a));
    for (uint32_t i = 2; i < s->nin; i++) TRY(expect_vector(s, "the gain or bias", &s->in[i], last(a)));
    for (uint32_t i = 0; i < s->nout; i++) TRY(give(s, i, i < 2 ? *a : per_row(a)));
    return NULL;
}

/* ---- the table ---- */

const OpInfo op_info[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, ...)                       \
    [OP_##NAME] = {#name, min_in, max_in, min_out, max_out, OPF_##place | (flags), OVER_##over, NAN_##nan},
#include "ir/op.def"
#undef OP
};

static ShapeRule *const shape_rule[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, ...)                \
    [OP_##NAME] = shape_##shape,
#include "ir/op.def"
#undef OP
};

uint32_t op_sums(Op op, uint32_t nout) {
    return op_info[op].over == OVER_SUMS ? nout - 1 : op_info[op].over == OVER_PAIR_SUMS ? nout - 2 : 0;
}

uint32_t op_tensors(const Node *node) {
    switch (op_info[node->op].over) {
    case OVER_STATES: return node->attr.tensors > 1 ? (uint32_t)node->attr.tensors : 1;
    case OVER_NORM: return node->nin - 1;
    default: return 1;
    }
}

bool scaling_is_exact(double factor) {
    int exponent;
    return fabs(frexp(factor, &exponent)) == 0.5;
}

bool node_may_share(const Graph *g, const Node *node, uint32_t i) {
    return op_may_share(&op_info[node->op], i, g->value.at[node->in[i]].type.rank,
                        g->value.at[node->out[0]].type.rank);
}

bool op_takes(Op op, uint32_t nin, uint32_t nout) {
    const OpInfo *info = &op_info[op];
    return nin >= (uint32_t)info->min_in && (info->max_in < 0 || nin <= (uint32_t)info->max_in) &&
           nout >= (uint32_t)info->min_out && (info->max_out < 0 || nout <= (uint32_t)info->max_out);
}

Op op_find(const char *name) {
    for (int op = 0; op < OP_COUNT; op++)
        if (!strcmp(op_info[op].name, name)) return (Op)op;
    return OP_COUNT;
}

const char *type_wrong(const Type *t, const char *what, Arena *arena) {
    if (t->rank < 1 || t->rank > MAX_RANK) return arena_printf(arena, "%s has rank %d", what, t->rank);
    int64_t room = (int64_t)1 << 56;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 1)
            return arena_printf(arena, "%s has a dimension of %lld", what, (long long)t->dim[i]);
        if (t->dim[i] > room) return arena_printf(arena, "%s is too large", what);
        room /= t->dim[i];
    }
    return NULL;
}

const char *op_infer(Op op, const Type *in, uint32_t nin, const Attr *attr, Type *out, uint32_t nout,
                     Arena *arena) {
    const OpInfo *info = &op_info[op];
    if (!op_takes(op, nin, (uint32_t)info->min_out))
        return arena_printf(arena, "takes %d to %d inputs, not %u", info->min_in, info->max_in, nin);
    if (!op_takes(op, (uint32_t)info->min_in, nout))
        return arena_printf(arena, "makes %d to %d outputs, not %u", info->min_out, info->max_out, nout);
    for (uint32_t i = 0; i < nin; i++) TRY(type_wrong(&in[i], "an input", arena));
    for (uint32_t i = 0; i < nout; i++)
        if (out[i].rank) TRY(type_wrong(&out[i], "an output", arena));
    static const Attr no_attr;
    Shape s = {op, in, nin, attr ? attr : &no_attr, out, nout, arena};
    TRY(shape_rule[op](&s));
    TRY(op_limit(op, in, nin, arena));
    for (uint32_t i = 0; i < nout; i++) TRY(type_wrong(&out[i], "an output", arena));
    return NULL;
}
