/* Attention over [B, T, heads, E] without a T x T matrix: a tile of queries meets the keys a tile at a time
 * (Dao et al. 2022, FlashAttention: running maximum and sum forwards, probabilities again from lse
 * backwards).
 *
 * Scores are kept transposed, S^T [key, query], so that the softmax runs down columns with queries in the
 * vector lanes, and only Q^T (and dO^T) need packing: every other operand is read as it lies (panel.h). A
 * tile that is all masked is skipped, and what lies before the first key or behind the last that a tile of
 * queries sees where tokens see only some (documents). Forward: one task a (batch, head, query tile).
 * Backward: one a (batch, kv head), which sums dK and dV over its query heads and tiles in order. Heads whose
 * width is no multiple of the vector, and bf16, go through padded copies; their dK and dV are summed in the
 * workspace (attention.h).
 */
#include "attention.h"
#include "panel.h"
#include "variant.h"

/* Of keys, in every variant of the forward pass; what holds for any is a constant of each. */
enum { KEYS = 64, MAX_WIDTH = K_MOST_HEAD_WIDTH };

typedef struct Heads {
    int64_t batch, time, query_heads, kv_heads, width, padded; /* B, T, H, K, E, E rounded up to K_LANES */
    real scale;
    int causal;
    const int32_t *first_key, *last_query; /* [B, T]; NULL: all keys are seen, but for causal */
} Heads;

typedef struct Keys { /* that some query of a tile sees: [begin, end) */
    int64_t begin, end;
} Keys;

typedef struct Operands {
    KHeads q, k, v, out, dout, dq, dk, dv;
    real *lse; /* [B, H, T] */
} Operands;

typedef struct Block { /* rows of E numbers, padded with zeros when copied */
    const real *data;
    int64_t stride;
} Block;

/* `sight`: first key and last query; NULL: none. */
static Heads heads_of(const KTensor *q, const KTensor *k, const KTensor *sight, const KAttr *attr) {
    Heads h = {.batch = q->dim[0], .time = q->dim[1], .query_heads = q->dim[2], .kv_heads = k->dim[2]};
    h.width = q->dim[3];
    h.padded = k_attend_padded(h.width);
    h.scale = (real)(1 / sqrt((double)h.width));
    h.causal = attr->causal != 0;
    if (sight) h.first_key = sight[0].data, h.last_query = sight[1].data;
    if (h.width > MAX_WIDTH) {
        fprintf(stderr, "attend: heads of more than %d numbers are not supported\n", MAX_WIDTH);
        exit(70);
    }
    return h;
}

/* The element at which token t's numbers of a head begin. */
static int64_t place_of(const Heads *h, const KHeads *x, int64_t b, int64_t t, int64_t head) {
    return (b * h->time + t) * x->stride + x->first + head * h->width;
}

/* Rows [t, t + n) of a head; `copy` has room for n * padded numbers. */
static Block block_load(const Heads *h, const KHeads *x, int64_t b, int64_t t, int64_t head, int64_t n,
                        real *copy) {
    const int64_t first = place_of(h, x, b, t, head);
    if (k_attend_direct(&x->of)) return (Block){(const real *)x->of.data + first, x->stride};
    for (int64_t r = 0; r < n; r++) {
        real *to = copy + r * h->padded;
        const real *from = k_load(&x->of, first + r * x->stride, h->width, to);
        if (from != to) memcpy(to, from, (size_t)h->width * sizeof(real));
        for (int64_t i = h->width; i < h->padded; i++) to[i] = 0;
    }
    return (Block){copy, h->padded};
}

static void block_store(const Heads *h, const KHeads *x, int64_t b, int64_t t, int64_t head, int64_t n,
                        const real *from, int64_t from_stride) {
    const int64_t first = place_of(h, x, b, t, head);
    for (int64_t r = 0; r < n; r++) {
        if (x->of.dtype == K_F32)
            memcpy((real *)x->of.data + first + r * x->stride, from + r * from_stride,
                   (size_t)h->width * sizeof(real));
        else
            k_store(&x->of, first + r * x->stride, h->width, from + r * from_stride);
    }
}

/* What follows is for tiles of `queries` columns and at most `most` keys, constants at every call. */
#define FOR_TILES static inline __attribute__((always_inline)) void
enum { MOST_QUERIES = 64 };

/* x [n, padded] -> xt [padded, queries], columns from n on zero. */
FOR_TILES block_transpose(const Heads *h, Block x, const int64_t queries, int64_t n, real *xt) {
    for (int64_t i = 0; i < queries; i += K_LANES)
        for (int64_t e = 0; e < h->padded; e += K_LANES) {
            const real *from = x.data + i * x.stride + e;
            real *to = xt + e * queries + i;
            if (i + K_LANES <= n)
                k_transpose(from, x.stride, to, queries);
            else
                for (int64_t j = 0; j < K_LANES * K_LANES; j++) {
                    const int64_t row = j % K_LANES, column = j / K_LANES;
                    to[column * queries + row] = i + row < n ? from[row * x.stride + column] : 0;
                }
        }
}

/* s [keys, queries] = rows of x times xt [padded, queries] */
FOR_TILES block_scores(const Heads *h, Block x, int64_t keys, const real *xt, const int64_t queries,
                       real *s) {
    k_panel(keys, queries, h->padded, x.data, x.stride, 1, xt, queries, 0, s, queries);
}

/* Of queries [t, t + n). */
static Keys keys_seen(const Heads *h, int64_t b, int64_t t, int64_t n) {
    Keys keys = {0, h->causal ? t + n : h->time};
    if (!h->first_key) return keys;
    const int32_t *first = h->first_key + b * h->time + t, *last = h->last_query + b * h->time + t;
    int64_t low = t, high = 0;
    for (int64_t i = 0; i < n; i++) {
        low = k_min(low, first[i]);
        high = last[i] > high ? last[i] : high;
    }
    keys.begin = low > 0 ? low : 0;
    if (!h->causal) keys.end = k_min(h->time, high + 1);
    return keys;
}

/* Scores of keys that a query does not see become -infinity, those of a first key that is none NaN; key and
 * query are the positions of s[0]. */
FOR_TILES mask_scores(const Heads *h, const int64_t queries, int64_t b, real *s, int64_t keys, int64_t key,
                      int64_t query) {
    for (int64_t j = 0; h->causal && j < keys; j++)
        for (int64_t i = 0; i < k_min(queries, key + j - query); i++) s[j * queries + i] = (real)-INFINITY;
    if (!h->first_key) return;
    const int32_t *first = h->first_key + b * h->time + query, *last = h->last_query + b * h->time + query;
    for (int64_t i = 0; i < k_min(queries, h->time - query); i++) {
        const int64_t before = first[i] < 0 ? keys : k_min(keys, first[i] - key);
        const real hidden = first[i] < 0 ? (real)NAN : (real)-INFINITY;
        for (int64_t j = 0; j < before; j++) s[j * queries + i] = hidden;
        for (int64_t j = last[i] + 1 > key ? last[i] + 1 - key : 0; !h->causal && j < keys; j++)
            s[j * queries + i] = (real)-INFINITY;
    }
}

/* Whether some of the scores of keys [key, key + keys) are masked. */
static int masks(const Heads *h, int64_t key, int64_t keys, int64_t query) {
    return h->first_key || (h->causal && key + keys > query);
}

/* One tile of the running softmax: s becomes exp(s scale - maximum); the sums so far are multiplied by
 * `fade`. A query that has seen no key yet has a maximum of -infinity, which is not subtracted from itself.
 */
FOR_TILES soften(const Heads *h, const int64_t queries, real *s, int64_t keys, real *maximum, real *sum,
                 real *fade) {
    real top[MOST_QUERIES];
    memcpy(top, maximum, (size_t)queries * sizeof *top);
    for (int64_t j = 0; j < keys; j++) {
        real *row = s + j * queries;
#pragma omp simd
        for (int64_t i = 0; i < queries; i++) {
            row[i] *= h->scale;
            top[i] = row[i] > top[i] ? row[i] : top[i];
        }
    }
#pragma omp simd
    for (int64_t i = 0; i < queries; i++) {
        const real highest = top[i];
        top[i] = highest == (real)-INFINITY ? 0 : highest;
        fade[i] = k_exp(maximum[i] - top[i]);
        maximum[i] = highest;
        sum[i] *= fade[i];
    }
    for (int64_t j = 0; j < keys; j++) {
        real *row = s + j * queries;
#pragma omp simd
        for (int64_t i = 0; i < queries; i++) {
            row[i] = k_exp(row[i] - top[i]);
            sum[i] += row[i];
        }
    }
}

/* o [n, padded], each row by a factor of its own */
static void scale_rows(const Heads *h, int64_t n, const real *factor, real *o) {
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int64_t e = 0; e < h->padded; e++) o[i * h->padded + e] *= factor[i];
}

/* o [n, padded] += s^T, s [keys, queries], times rows of v */
FOR_TILES add_values(const Heads *h, Block v, int64_t keys, const real *s, const int64_t queries, int64_t n,
                     real *o) {
    k_panel(n, h->padded, keys, s, 1, queries, v.data, v.stride, 1, o, h->padded);
}

/* Numbers of a tile's scratch, as many as a constant says. */
#define FORWARD_ROOM(queries) (MAX_WIDTH * 2 * (queries) + KEYS * ((queries) + MAX_WIDTH))

FOR_TILES attend_tile(const Heads *h, const Operands *op, const int64_t queries, int64_t b, int64_t head,
                      int64_t t, real *room) {
    real *qt = room, *o = qt + MAX_WIDTH * queries, *s = o + MAX_WIDTH * queries, *copy = s + KEYS * queries;
    real maximum[MOST_QUERIES], sum[MOST_QUERIES] = {0}, fade[MOST_QUERIES];
    const int64_t n = k_min(queries, h->time - t), kv = head / (h->query_heads / h->kv_heads);
    const Keys seen = keys_seen(h, b, t, n);

    /* o is made later */
    block_transpose(h, block_load(h, &op->q, b, t, head, n, o), queries, n, qt);
    memset(o, 0, (size_t)(n * h->padded) * sizeof(real));
    for (int64_t i = 0; i < queries; i++) maximum[i] = (real)-INFINITY;
    for (int64_t key = seen.begin; key < seen.end; key += KEYS) {
        const int64_t keys = k_min(KEYS, seen.end - key);
        block_scores(h, block_load(h, &op->k, b, key, kv, keys, copy), keys, qt, queries, s);
        if (masks(h, key, keys, t)) mask_scores(h, queries, b, s, keys, key, t);
        soften(h, queries, s, keys, maximum, sum, fade);
        if (key > seen.begin) scale_rows(h, n, fade, o);
        add_values(h, block_load(h, &op->v, b, key, kv, keys, copy), keys, s, queries, n, o);
    }
    real *lse = op->lse + (b * h->query_heads + head) * h->time + t;
    for (int64_t i = 0; i < n; i++) lse[i] = maximum[i] + (real)log((double)sum[i]);
    for (int64_t i = 0; i < n; i++) fade[i] = 1 / sum[i];
    scale_rows(h, n, fade, o);
    block_store(h, &op->out, b, t, head, n, o, h->padded);
}

/* A variant (variant.def); `tile` NULL: it is not compiled. */
typedef struct Forward {
    int64_t queries;
    void (*tile)(const Heads *h, const Operands *op, int64_t b, int64_t head, int64_t t);
} Forward;
#define HOST_ATTEND(when, name, queries, keys)                                                               \
    _Static_assert(keys == KEYS && queries <= MOST_QUERIES && queries % K_LANES == 0, "tiles of attention"); \
    static void tile_##name(const Heads *h, const Operands *op, int64_t b, int64_t head, int64_t t) {        \
        _Alignas(64) real room[FORWARD_ROOM(queries)];                                                       \
        if (K_HAS(when, name)) attend_tile(h, op, queries, b, head, t, room);                                \
    }
#include "variant.def"

static Forward forward_of(int variant) {
#define HOST_ATTEND(when, name, queries, keys)                                                               \
    if (K_HAS(when, name) && K_WANTS(when, name, variant)) return (Forward){queries, tile_##name};
#include "variant.def"
    k_variant_missing("attend", variant);
    return (Forward){0};
}

static void attend(const KCtx *cx, const Heads *h, const Operands *op) {
    const Forward f = forward_of(cx->variant);
    const int64_t tiles = (h->time + f.queries - 1) / f.queries, heads = h->batch * h->query_heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < heads * tiles; task++) {
        const int64_t tile = tiles - 1 - task / heads, head = task % heads; /* the longest tiles first */
        f.tile(h, op, head / h->query_heads, head % h->query_heads, tile * f.queries);
    }
}

void k_attend(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout;
    const Heads h = heads_of(&in[0], &in[1], nin > 3 ? &in[3] : NULL, attr);
    const Operands op = {.q = k_heads(&in[0]),
                         .k = k_heads(&in[1]),
                         .v = k_heads(&in[2]),
                         .out = k_heads(&out[0]),
                         .lse = out[1].data};
    attend(cx, &h, &op);
}

/* qkv, first key and last query? -> o, lse */
void k_attend_packed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    KHeads part[3];
    k_packed_heads(&in[0], &out[0], part);
    const Heads h = heads_of(&part[0].of, &part[1].of, nin > 1 ? &in[1] : NULL, attr);
    const Operands op = {
        .q = part[0], .k = part[1], .v = part[2], .out = k_heads(&out[0]), .lse = out[1].data};
    attend(cx, &h, &op);
}

/* ---- one query a sequence, over keys and values of earlier tokens ---- */

/* k, v [B, n, K, E], positions [B, n], caches [B, T, K, E] -> caches */
void k_cache_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)cx, (void)nout, (void)nin, (void)attr;
    const int32_t *position = in[2].data;
    const int64_t time = out->dim[1], width = out->dim[2] * out->dim[3], rows = k_count(&in[2]);
    const size_t bytes = (size_t)width * k_element_bytes(out->dtype);
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t r = 0; r < rows; r++) {
        if (position[r] < 0 || position[r] >= time) continue;
        const int64_t to = (r / in->dim[1] * time + position[r]) * width;
        for (int i = 0; i < 2; i++) memcpy(k_at(&out[i], to), k_at(&in[i], r * width), bytes);
    }
}

/* Query heads [first, first + n), which share a head of the caches, are the columns of a tile: each goes the
 * way that it goes among the tokens of attend_tile. `queries`: h with heads for tokens. */
static void attend_cached_tile(const Heads *h, const Heads *queries, const Operands *op, int64_t b,
                               int64_t first, int64_t n, int64_t keys_end) {
    _Alignas(64) real qt[MAX_WIDTH * K_LANES], s[KEYS * K_LANES], o[K_LANES * MAX_WIDTH];
    _Alignas(64) real copy[KEYS * MAX_WIDTH];
    real maximum[K_LANES], sum[K_LANES] = {0}, fade[K_LANES];
    const int64_t kv = first / (h->query_heads / h->kv_heads);

    block_transpose(h, block_load(queries, &op->q, b, first, 0, n, copy), K_LANES, n, qt);
    memset(o, 0, (size_t)(n * h->padded) * sizeof(real));
    for (int64_t i = 0; i < K_LANES; i++) maximum[i] = (real)-INFINITY;
    for (int64_t key = 0; key < keys_end; key += KEYS) {
        const int64_t keys = k_min(KEYS, keys_end - key);
        block_scores(h, block_load(h, &op->k, b, key, kv, keys, copy), keys, qt, K_LANES, s);
        soften(h, K_LANES, s, keys, maximum, sum, fade);
        if (key > 0) scale_rows(h, n, fade, o);
        add_values(h, block_load(h, &op->v, b, key, kv, keys, copy), keys, s, K_LANES, n, o);
    }
    for (int64_t i = 0; i < n; i++) fade[i] = keys_end > 0 ? 1 / sum[i] : (real)NAN;
    scale_rows(h, n, fade, o);
    block_store(queries, &op->out, b, first, 0, n, o, h->padded);
}

/* q [B, 1, H, E], caches [B, T, K, E], position [B, 1] -> o */
void k_attend_cached(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    Heads h = heads_of(&in[0], &in[1], NULL, attr), queries = h;
    h.time = in[1].dim[1];
    queries.time = h.query_heads;
    Operands op = {.q = k_heads(&in[0]), .k = k_heads(&in[1]), .v = k_heads(&in[2]), .out = k_heads(&out[0])};
    op.q.stride = op.out.stride = h.width; /* from head to head */
    const int32_t *position = in[3].data;
    const int64_t group = h.query_heads / h.kv_heads, tiles = (group + K_LANES - 1) / K_LANES;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < h.batch * h.kv_heads * tiles; task++) {
        const int64_t b = task / tiles / h.kv_heads, kv = task / tiles % h.kv_heads,
                      at = task % tiles * K_LANES;
        const int64_t keys_end = position[b] >= 0 && position[b] < h.time ? position[b] + 1 : 0;
        attend_cached_tile(&h, &queries, &op, b, kv * group + at, k_min(K_LANES, group - at), keys_end);
    }
}

/* ---- backward: dV = P^T dO, dS = P (dO V^T - D), D = rows of dO . O, dQ = dS K scale, dK = dS^T Q scale
 * ---- */

typedef struct Sums { /* where dK and dV of one kv head are summed: [T, stride] */
    real *dk, *dv;
    int64_t stride;
} Sums;

/* p and dp [keys, queries] hold scores and dO V^T; they become P and dS scale. */
FOR_TILES score_gradient(const Heads *h, const int64_t queries, real *p, real *dp, int64_t keys,
                         const real *lse, const real *dot) {
    for (int64_t j = 0; j < keys; j++) {
        real *pj = p + j * queries, *dpj = dp + j * queries;
#pragma omp simd
        for (int64_t i = 0; i < queries; i++) {
            pj[i] = k_exp(pj[i] * h->scale - lse[i]);
            dpj[i] = pj[i] * (dpj[i] - dot[i]) * h->scale;
        }
    }
}

/* lse and D of a tile's queries. Those past the end get lse = infinity: P and dS are zero there. */
static void row_terms(const Heads *h, const Operands *op, int64_t queries, int64_t b, int64_t head, int64_t t,
                      int64_t n, Block dout, real *lse, real *dot) {
    real copy[MAX_WIDTH];
    const real *from = op->lse + (b * h->query_heads + head) * h->time + t;
    for (int64_t i = 0; i < queries; i++) {
        lse[i] = i < n ? from[i] : (real)INFINITY;
        dot[i] = 0;
        if (i >= n) continue;
        const real *o = block_load(h, &op->out, b, t + i, head, 1, copy).data,
                   *d = dout.data + i * dout.stride;
        KVec sum = {0};
        for (int64_t e = 0; e < h->padded; e += K_LANES)
            sum += *(const KVec *)(o + e) * *(const KVec *)(d + e);
        dot[i] = k_lane_sum(&sum);
    }
}

#define BACKWARD_ROOM(queries, keys) (MAX_WIDTH * (5 * (queries) + (keys)) + 2 * (queries) * (keys))

FOR_TILES attend_bwd_tile(const Heads *h, const Operands *op, const Sums *sums, const int64_t queries,
                          const int64_t most, int64_t b, int64_t kv, int64_t head, int64_t t, real *room) {
    real *qt = room, *dot_t = qt + MAX_WIDTH * queries, *q_copy = dot_t + MAX_WIDTH * queries;
    real *d_copy = q_copy + MAX_WIDTH * queries, *dq = d_copy + MAX_WIDTH * queries;
    real *p = dq + MAX_WIDTH * queries, *dp = p + most * queries, *copy = dp + most * queries;
    real lse[MOST_QUERIES], dot[MOST_QUERIES];
    const int64_t n = k_min(queries, h->time - t);
    const Keys seen = keys_seen(h, b, t, n);

    const Block q = block_load(h, &op->q, b, t, head, n, q_copy),
                d = block_load(h, &op->dout, b, t, head, n, d_copy);
    block_transpose(h, q, queries, n, qt);
    block_transpose(h, d, queries, n, dot_t);
    row_terms(h, op, queries, b, head, t, n, d, lse, dot);
    memset(dq, 0, (size_t)(n * h->padded) * sizeof(real));
    for (int64_t key = seen.begin; key < seen.end; key += most) {
        const int64_t keys = k_min(most, seen.end - key), width = h->padded;
        real *dk = sums->dk + key * sums->stride, *dv = sums->dv + key * sums->stride;
        block_scores(h, block_load(h, &op->v, b, key, kv, keys, copy), keys, dot_t, queries, dp);
        const Block k = block_load(h, &op->k, b, key, kv, keys, copy);
        block_scores(h, k, keys, qt, queries, p);
        if (masks(h, key, keys, t)) mask_scores(h, queries, b, p, keys, key, t);
        score_gradient(h, queries, p, dp, keys, lse, dot);
        k_panel(keys, width, n, p, queries, 1, d.data, d.stride, 1, dv, sums->stride);
        k_panel(keys, width, n, dp, queries, 1, q.data, q.stride, 1, dk, sums->stride);
        k_panel(n, width, keys, dp, 1, queries, k.data, k.stride, 1, dq, width);
    }
    block_store(h, &op->dq, b, t, head, n, dq, h->padded);
}

/* A variant (variant.def). */
typedef struct Backward {
    int64_t queries;
    void (*tile)(const Heads *h, const Operands *op, const Sums *sums, int64_t b, int64_t kv, int64_t head,
                 int64_t t);
} Backward;
#define HOST_ATTEND_BWD(when, name, queries, keys)                                                           \
    _Static_assert(queries <= MOST_QUERIES && queries % K_LANES == 0, "tiles of attention");                 \
    static void tile_##name(const Heads *h, const Operands *op, const Sums *sums, int64_t b, int64_t kv,     \
                            int64_t head, int64_t t) {                                                       \
        _Alignas(64) real room[BACKWARD_ROOM(queries, keys)];                                                \
        if (K_HAS(when, name)) attend_bwd_tile(h, op, sums, queries, keys, b, kv, head, t, room);            \
    }
#include "variant.def"

static Backward backward_of(int variant) {
#define HOST_ATTEND_BWD(when, name, queries, keys)                                                           \
    if (K_HAS(when, name) && K_WANTS(when, name, variant)) return (Backward){queries, tile_##name};
#include "variant.def"
    k_variant_missing("attend_bwd", variant);
    return (Backward){0};
}

/* dK and dV of a head are summed in their own storage when it is f32 of a vector's multiple, else in the
 * workspace: first all of dK, then all of dV, [B, K, T, padded] each. */
static Sums sums_of(const KCtx *cx, const Heads *h, const Operands *op, int64_t b, int64_t kv) {
    Sums s;
    const int64_t size = h->time * h->padded, index = b * h->kv_heads + kv;
    if (k_attend_direct(&op->dk.of)) {
        s = (Sums){(real *)op->dk.of.data + place_of(h, &op->dk, b, 0, kv),
                   (real *)op->dv.of.data + place_of(h, &op->dv, b, 0, kv), op->dk.stride};
    } else {
        real *workspace = cx->workspace;
        s = (Sums){workspace + index * size, workspace + (h->batch * h->kv_heads + index) * size, h->padded};
    }
    for (int64_t t = 0; t < h->time; t++) {
        memset(s.dk + t * s.stride, 0, (size_t)h->padded * sizeof(real));
        memset(s.dv + t * s.stride, 0, (size_t)h->padded * sizeof(real));
    }
    return s;
}

static void attend_bwd(const KCtx *cx, const Heads *h, const Operands *op) {
    const Backward back = backward_of(cx->variant);
    const int64_t group = h->query_heads / h->kv_heads;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < h->batch * h->kv_heads; task++) {
        const int64_t b = task / h->kv_heads, kv = task % h->kv_heads;
        const Sums sums = sums_of(cx, h, op, b, kv);
        for (int64_t head = kv * group; head < (kv + 1) * group; head++)
            for (int64_t t = 0; t < h->time; t += back.queries) back.tile(h, op, &sums, b, kv, head, t);
        if (!k_attend_direct(&op->dk.of)) {
            block_store(h, &op->dk, b, 0, kv, h->time, sums.dk, sums.stride);
            block_store(h, &op->dv, b, 0, kv, h->time, sums.dv, sums.stride);
        }
    }
}

void k_attend_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout;
    const Heads h = heads_of(&in[1], &in[2], nin > 6 ? &in[6] : NULL, attr);
    const Operands op = {.dout = k_heads(&in[0]),
                         .q = k_heads(&in[1]),
                         .k = k_heads(&in[2]),
                         .v = k_heads(&in[3]),
                         .out = k_heads(&in[4]),
                         .lse = in[5].data,
                         .dq = k_heads(&out[0]),
                         .dk = k_heads(&out[1]),
                         .dv = k_heads(&out[2])};
    attend_bwd(cx, &h, &op);
}

/* do, qkv, o, lse, first key and last query? -> dqkv */
void k_attend_packed_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                         const KAttr *attr) {
    (void)nout;
    KHeads part[3], made[3];
    k_packed_heads(&in[1], &in[0], part);
    k_packed_heads(&out[0], &in[0], made);
    const Heads h = heads_of(&part[0].of, &part[1].of, nin > 4 ? &in[4] : NULL, attr);
    const Operands op = {.dout = k_heads(&in[0]),
                         .q = part[0],
                         .k = part[1],
                         .v = part[2],
                         .out = k_heads(&in[2]),
                         .lse = in[3].data,
                         .dq = made[0],
                         .dk = made[1],
                         .dv = made[2]};
    attend_bwd(cx, &h, &op);
}
