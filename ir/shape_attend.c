/* Shape rules of attention: apart, over caches, packed, and backward. */
#include "ir/shape_attend.h"

/* q [B, T, H, E], k, v [B, T, K, E]; H a multiple of K. */
static const char *check_heads(Shape *s, const Type *q, const Type *k, const Type *v) {
    TRY(expect_float(s, "the query", q));
    if (q->rank != 4) return arena_printf(s->arena, "the query must be [B, T, H, E], is %s", say_type(s, q));
    if (!type_equal(k, v))
        return arena_printf(s->arena, "key %s and value %s differ", say_type(s, k), say_type(s, v));
    if (k->dtype != q->dtype || k->rank != 4 || k->dim[0] != q->dim[0] || k->dim[1] != q->dim[1] ||
        k->dim[3] != q->dim[3])
        return arena_printf(s->arena, "key %s does not match query %s", say_type(s, k), say_type(s, q));
    if (q->dim[2] % k->dim[2])
        return arena_printf(s->arena, "%lld query heads do not divide over %lld key heads",
                            (long long)q->dim[2], (long long)k->dim[2]);
    return NULL;
}

/* What each token of q sees and is seen by, behind `operands` others. */
static const char *check_key_ranges(Shape *s, uint32_t operands, const Type *q) {
    if (s->nin == operands) return NULL;
    if (s->nin != operands + 2) return "the first key comes with the last query";
    TRY(expect_per_token(s, "the first key of each token", &s->in[operands], q));
    return expect_per_token(s, "the last query of each token", &s->in[operands + 1], q);
}

static Type attend_lse(const Type *q) {
    return (Type){.dtype = DT_F32, .rank = 3, .dim = {q->dim[0], q->dim[2], q->dim[1]}};
}

const char *shape_attend(Shape *s) {
    TRY(check_heads(s, &s->in[0], &s->in[1], &s->in[2]));
    TRY(check_key_ranges(s, 3, &s->in[0]));
    TRY(give(s, 0, s->in[0]));
    return give(s, 1, attend_lse(&s->in[0]));
}

/* x [B, n, .., E]: of what `cache` [B, T, .., E] has for T tokens. */
static const char *check_cached(Shape *s, const char *what, const Type *x, const Type *cache) {
    if (cache->rank == 4 && x->rank == 4 && x->dtype == cache->dtype && x->dim[0] == cache->dim[0] &&
        x->dim[1] <= cache->dim[1] && x->dim[3] == cache->dim[3])
        return NULL;
    return arena_printf(s->arena, "%s %s does not go with the cache %s", what, say_type(s, x),
                        say_type(s, cache));
}

const char *shape_cache_rows(Shape *s) {
    for (uint32_t i = 0; i < 2; i++) {
        const Type *x = &s->in[i], *cache = &s->in[3 + i];
        TRY(expect_float(s, "the cache", cache));
        TRY(check_cached(s, i ? "the value" : "the key", x, cache));
        if (x->dim[1] != s->in[0].dim[1]) return "keys and values are of other tokens";
        if (x->dim[2] != cache->dim[2])
            return arena_printf(s->arena, "%s and the cache %s differ in heads", say_type(s, x),
                                say_type(s, cache));
        TRY(give(s, i, *cache));
    }
    if (!type_equal(&s->in[3], &s->in[4])) return "the caches of keys and of values differ";
    return expect_per_token(s, "the position of each token", &s->in[2], &s->in[0]);
}

const char *shape_attend_cached(Shape *s) {
    const Type *q = &s->in[0], *k = &s->in[1];
    TRY(expect_float(s, "the query", q));
    if (!type_equal(k, &s->in[2])) return "the caches of keys and of values differ";
    TRY(check_cached(s, "the query", q, k));
    if (q->dim[1] != 1) return arena_printf(s->arena, "the query %s is of more than a token", say_type(s, q));
    if (q->dim[2] % k->dim[2])
        return arena_printf(s->arena, "%lld query heads do not divide over %lld key heads",
                            (long long)q->dim[2], (long long)k->dim[2]);
    TRY(expect_per_token(s, "the position of each token", &s->in[3], q));
    return give(s, 0, *q);
}

const char *shape_attend_bwd(Shape *s) {
    const Type *q = &s->in[1];
    TRY(check_heads(s, q, &s->in[2], &s->in[3]));
    TRY(expect(s, "the gradient", &s->in[0], *q));
    TRY(expect(s, "the output", &s->in[4], *q));
    TRY(expect(s, "the log-sum-exp", &s->in[5], attend_lse(q)));
    TRY(check_key_ranges(s, 6, q));
    for (uint32_t i = 0; i < 3; i++) TRY(give(s, i, s->in[1 + i]));
    return NULL;
}

/* q, k and v of heads like o's, side by side. */
static const char *check_packed(Shape *s, const Type *qkv, const Type *o) {
    if (o->rank != 4) return "packed attention needs the heads of its result";
    const int64_t heads = last(qkv) / o->dim[3], kv_heads = (heads - o->dim[2]) / 2;
    if (qkv->rank == 3 && qkv->dtype == o->dtype && qkv->dim[0] == o->dim[0] && qkv->dim[1] == o->dim[1] &&
        kv_heads > 0 && last(qkv) == (o->dim[2] + 2 * kv_heads) * o->dim[3] && o->dim[2] % kv_heads == 0)
        return NULL;
    return arena_printf(s->arena, "%s are no queries, keys and values for %s", say_type(s, qkv),
                        say_type(s, o));
}

const char *shape_attend_packed(Shape *s) {
    const Type *o = &s->out[0];
    TRY(check_packed(s, &s->in[0], o));
    TRY(check_key_ranges(s, 1, o));
    return give(s, 1, attend_lse(o));
}

const char *shape_attend_packed_bwd(Shape *s) {
    const Type *dout = &s->in[0];
    TRY(check_packed(s, &s->in[1], dout));
    TRY(expect(s, "the output", &s->in[2], *dout));
    TRY(expect(s, "the log-sum-exp", &s->in[3], attend_lse(dout)));
    TRY(check_key_ranges(s, 4, dout));
    return give(s, 0, s->in[1]);
}
