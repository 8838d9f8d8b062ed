/* What shape rules are made of: a rule checks everything the kernels of its operation rely on, and settles
 * the types of the outputs. Rules answer NULL, or what does not fit, in the arena. */
#ifndef REMAT_SHAPE_H
#define REMAT_SHAPE_H

#include "ir/ops.h"

typedef struct Shape {
    Op op;
    const Type *in;
    uint32_t nin;
    const Attr *attr;
    Type *out; /* wishes on entry (rank 0: none), results on return */
    uint32_t nout;
    Arena *arena;
} Shape;

typedef const char *ShapeRule(Shape *s);

static inline bool is_float(const Type *t) {
    return t->dtype == DT_F32 || t->dtype == DT_BF16;
}

static inline int64_t last(const Type *t) {
    return t->rank ? t->dim[t->rank - 1] : 1;
}

static inline Type vector(DType dtype, int64_t n) {
    return (Type){.dtype = dtype, .rank = 1, .dim = {n}};
}

static inline Type matrix(DType dtype, int64_t rows, int64_t columns) {
    return (Type){.dtype = dtype, .rank = 2, .dim = {rows, columns}};
}

/* x [.., D] -> f32 [..]; a lone row keeps one element. */
static inline Type per_row(const Type *x) {
    Type t = *x;
    t.dtype = DT_F32;
    if (t.rank > 1)
        t.dim[--t.rank] = 0;
    else
        t.dim[0] = 1;
    return t;
}

static inline Type with_last(const Type *x, int64_t width) {
    Type t = *x;
    t.dim[t.rank - 1] = width;
    return t;
}

static inline bool same_dims(const Type *a, const Type *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

/* Are b's dims the last dims of x? */
static inline bool is_suffix(const Type *x, const Type *b) {
    if (b->rank > x->rank) return false;
    for (int i = 0; i < b->rank; i++)
        if (x->dim[x->rank - b->rank + i] != b->dim[i]) return false;
    return true;
}

static inline const char *say_type(Shape *s, const Type *t) {
    return type_text(s->arena, t);
}

static inline const char *expect(Shape *s, const char *what, const Type *got, Type want) {
    if (type_equal(got, &want)) return NULL;
    return arena_printf(s->arena, "%s is %s, must be %s", what, say_type(s, got), say_type(s, &want));
}

static inline const char *expect_float(Shape *s, const char *what, const Type *got) {
    return is_float(got)
               ? NULL
               : arena_printf(s->arena, "%s is %s, must be of a float type", what, say_type(s, got));
}

/* [n] of any float type: gains and biases keep the type that parameters are stored in. */
static inline const char *expect_vector(Shape *s, const char *what, const Type *got, int64_t n) {
    if (is_float(got)) return expect(s, what, got, vector(got->dtype, n));
    return expect_float(s, what, got);
}

static inline const char *expect_tokens(Shape *s, const char *what, const Type *got) {
    if (got->dtype == DT_I32) return NULL;
    return arena_printf(s->arena, "%s are %s, must be i32", what, say_type(s, got));
}

/* Settles output i: what the rule computed, or the wish when that is the same. */
static inline const char *give(Shape *s, uint32_t i, Type made) {
    Type *out = &s->out[i];
    if (out->rank && !type_equal(out, &made))
        return arena_printf(s->arena, "makes %s, not %s", say_type(s, &made), say_type(s, out));
    *out = made;
    return NULL;
}

/* A number of each token of x [B, T, ..]. */
static inline const char *expect_per_token(Shape *s, const char *what, const Type *got, const Type *x) {
    return expect(s, what, got, matrix(DT_I32, x->dim[0], x->dim[1]));
}

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        const char *wrong_ = (call);                                                                         \
        if (wrong_) return wrong_;                                                                           \
    } while (0)

#endif
