/* Attention over [B, T, heads, E] without a T x T matrix, on CUDA (Dao et al. 2022, FlashAttention: tiles,
 * running maximum and sum forwards, probabilities again from lse backwards). Where k_cuda_attend_tensor_cores
 * says so, the kernels of attention_mma.cu do it; the ones here take any storage type and width, on f32
 * units.
 *
 * 256 threads are a 16 x 16 grid (ty, tx) over a tile of scores: thread (ty, tx) holds rows ty + 16 i and
 * columns tx + 16 j, so the 16 threads of a row are half a warp. Tiles of q, k, v, do lie in shared memory as
 * f32 rows of STRIDE numbers, zero where there is no row; results of width E are held as chunks of four
 * columns, tx * 4 + 64 g. Forward and dq: a block has (b, head, query tile) and walks the keys. dk and dv: a
 * block has (b, kv head, key tile) and walks its query heads and their tiles in order. Of documents, only the
 * tiles that some row of the block's sees, or is seen by, are walked. Nothing is shared between blocks, so
 * the bits never change. */
#include "attention_mma.h"
#include "heads.h"
#include "cuda.cuh"

#include <initializer_list>

enum { THREADS = 256 };

struct Rows { /* of a tensor's heads (heads.h) */
    KView view;
    int64_t stride, first;
};
struct Attend {
    Rows q, k, v, o, dout, dq, dk, dv;
    float *lse, *delta; /* [B, H, T]; delta = rowsum(do * o) */
    KSight sight;
    int64_t batch, time, heads, kv_heads;
    int width, padded; /* E, E rounded up to chunks */
    float scale;
    int causal;
};

/* Heads up to WIDTH wide in tiles of QUERIES x KEYS. Rows are 4 numbers apart from a multiple of 32 banks. */
template <int WIDTH_, int QUERIES_, int KEYS_> struct Tiles {
    static constexpr int WIDTH = WIDTH_, QUERIES = QUERIES_, KEYS = KEYS_;
    static constexpr int STRIDE = WIDTH + 4, ROWS = QUERIES / 16, COLUMNS = KEYS / 16, GROUPS = WIDTH / 64;
    static constexpr int SCORE_STRIDE = KEYS + 4, TURNED_STRIDE = QUERIES + 4;
    static constexpr int QUERY_TILE = QUERIES * STRIDE, KEY_TILE = KEYS * STRIDE;
};

/* A token's numbers of a head: where they begin. */
static __device__ inline int64_t row_at(const Attend &p, const Rows &x, int64_t b, int64_t t, int64_t head) {
    return (b * p.time + t) * x.stride + x.first + head * p.width;
}

/* Rows [t, t + rows) of a head into shared memory; zeros past the end of the sequence and of the row. */
template <int STRIDE>
static __device__ inline void load_tile(const Attend &p, float *to, const Rows &from, int64_t b, int64_t t,
                                        int64_t head, int rows) {
    const int chunks = p.padded / 4;
    for (int i = (int)threadIdx.x; i < rows * chunks; i += THREADS) {
        const int row = i / chunks, column = i % chunks * 4;
        K4 x = {{0, 0, 0, 0}};
        if (t + row < p.time)
            x = k_load4(from.view, row_at(p, from, b, t + row, head) + column, k_chunk(column, p.width));
        *(float4 *)(to + row * STRIDE + column) = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
    }
}

/* score[i][j] = row ty + 16 i of a . row tx + 16 j of b, over the padded width */
template <int ROWS, int COLUMNS, int STRIDE>
static __device__ inline void dot_tile(float (&score)[ROWS][COLUMNS], const float *a, const float *b,
                                       int padded) {
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) score[i][j] = 0;
    for (int e = 0; e < padded; e += 4) {
        float4 x[ROWS], y[COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) x[i] = *(const float4 *)(a + (ty + 16 * i) * STRIDE + e);
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) y[j] = *(const float4 *)(b + (tx + 16 * j) * STRIDE + e);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                score[i][j] += (x[i].x * y[j].x + x[i].y * y[j].y) + (x[i].z * y[j].z + x[i].w * y[j].w);
    }
}

/* sum[i][g] += row ty + 16 i of weight [.., DEPTH] times rows of b [DEPTH, E], columns tx * 4 + 64 g */
template <int ROWS, int GROUPS, int DEPTH, int WEIGHT_STRIDE, int STRIDE>
static __device__ inline void add_product(float4 (&sum)[ROWS][GROUPS], const float *weight, const float *b,
                                          int padded) {
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
    for (int k = 0; k < DEPTH; k++) {
        float w[ROWS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) w[i] = weight[(ty + 16 * i) * WEIGHT_STRIDE + k];
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            const int column = tx * 4 + 64 * g;
            if (column >= padded) continue;
            const float4 y = *(const float4 *)(b + k * STRIDE + column);
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                sum[i][g].x += w[i] * y.x;
                sum[i][g].y += w[i] * y.y;
                sum[i][g].z += w[i] * y.z;
                sum[i][g].w += w[i] * y.w;
            }
        }
    }
}

/* Rows t + ty + 16 i of a head from the threads' chunks, times factor[i]. */
template <int ROWS, int GROUPS>
static __device__ inline void store_tile(const Attend &p, const Rows &to, const float4 (&sum)[ROWS][GROUPS],
                                         const float (&factor)[ROWS], int64_t b, int64_t t, int64_t head) {
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            const int64_t row = t + ty + 16 * i;
            const int column = tx * 4 + 64 * g;
            if (row >= p.time || column >= p.width) continue;
            const float4 x = sum[i][g];
            const float f = factor[i];
            k_store4(to.view, row_at(p, to, b, row, head) + column, k_chunk(column, p.width),
                     {{x.x * f, x.y * f, x.z * f, x.w * f}});
        }
}

template <int ROWS, int GROUPS> static __device__ inline void clear(float4 (&sum)[ROWS][GROUPS]) {
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int g = 0; g < GROUPS; g++) sum[i][g] = make_float4(0, 0, 0, 0);
}

/* Keys [low, high) that a query sees; low < 0: nobody said. */
struct Seen {
    int64_t low, high;
};
static __device__ inline Seen keys_seen(const Attend &p, int64_t b, int64_t query) {
    const int64_t end = p.causal && query < p.time ? query + 1 : p.time;
    if (!p.sight.first_key || query >= p.time) return {0, end};
    const int64_t at = b * p.time + query;
    return {p.sight.first_key[at], p.causal ? end : (int64_t)p.sight.last_query[at] + 1};
}
static __device__ inline bool attends(Seen seen, int64_t key) {
    return key >= seen.low && key < seen.high && seen.low >= 0;
}

/* Tiles of keys that a tile of queries sees begin in [begin, end). */
struct Walk {
    int64_t begin, end;
};
template <class S> static __device__ inline Walk walk_keys(const Attend &p, int64_t b, int64_t t) {
    Walk walk = {0, p.causal && t + S::QUERIES < p.time ? t + S::QUERIES : p.time};
    if (!p.sight.first_key) return walk;
    const int rows = (int)(p.time - t < S::QUERIES ? p.time - t : S::QUERIES);
    const int low = k_lowest(p.sight.first_key + b * p.time + t, rows);
    walk.begin = low > 0 ? low / S::KEYS * S::KEYS : 0;
    if (!p.causal) walk.end = (int64_t)k_highest(p.sight.last_query + b * p.time + t, rows) + 1;
    return walk;
}

/* Sum or maximum over the 16 threads of a row of scores. */
static __device__ inline float row_sum(float x) {
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}
static __device__ inline float row_maximum(float x) {
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

/* ---- forward ---- */

template <class S> __global__ void __launch_bounds__(THREADS, 2) attend_kernel(Attend p) {
    K_SHARED(float, shared);
    float *q = shared, *kv = q + S::QUERY_TILE, *weight = kv + S::KEY_TILE; /* [QUERIES, SCORE_STRIDE] */
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
    const int64_t tiles = (p.time + S::QUERIES - 1) / S::QUERIES;
    /* long rows of causal tiles first */
    const int64_t t = (tiles - 1 - blockIdx.x % tiles) * S::QUERIES, head = blockIdx.x / tiles % p.heads;
    const int64_t b = blockIdx.x / tiles / p.heads, kv_head = head / (p.heads / p.kv_heads);
    const Walk walk = walk_keys<S>(p, b, t);

    float4 sum[S::ROWS][S::GROUPS];
    float maximum[S::ROWS], total[S::ROWS], factor[S::ROWS];
    clear(sum);
#pragma unroll
    for (int i = 0; i < S::ROWS; i++) maximum[i] = -INFINITY, total[i] = 0;
    load_tile<S::STRIDE>(p, q, p.q, b, t, head, S::QUERIES);
    for (int64_t s = walk.begin; s < walk.end; s += S::KEYS) {
        load_tile<S::STRIDE>(p, kv, p.k, b, s, kv_head, S::KEYS);
        __syncthreads();
        float score[S::ROWS][S::COLUMNS];
        dot_tile<S::ROWS, S::COLUMNS, S::STRIDE>(score, q, kv, p.padded);
#pragma unroll
        for (int i = 0; i < S::ROWS; i++) {
            const Seen seen = keys_seen(p, b, t + ty + 16 * i);
            const float hidden = seen.low < 0 ? NAN : -INFINITY;
            float top = maximum[i];
#pragma unroll
            for (int j = 0; j < S::COLUMNS; j++) {
                score[i][j] = attends(seen, s + tx + 16 * j) ? score[i][j] * p.scale : hidden;
                top = fmaxf(top, score[i][j]);
            }
            top = row_maximum(top);
            factor[i] = top == -INFINITY ? 0.0f : expf(maximum[i] - top); /* the row has seen no key yet */
            maximum[i] = top;
            float here = 0;
#pragma unroll
            for (int j = 0; j < S::COLUMNS; j++) {
                const float e = score[i][j] == -INFINITY ? 0.0f : expf(score[i][j] - top);
                weight[(ty + 16 * i) * S::SCORE_STRIDE + tx + 16 * j] = e;
                here += e;
            }
            total[i] = total[i] * factor[i] + row_sum(here);
#pragma unroll
            for (int g = 0; g < S::GROUPS; g++) {
                sum[i][g].x *= factor[i];
                sum[i][g].y *= factor[i];
                sum[i][g].z *= factor[i];
                sum[i][g].w *= factor[i];
            }
        }
        __syncthreads();
        load_tile<S::STRIDE>(p, kv, p.v, b, s, kv_head, S::KEYS);
        __syncthreads();
        add_product<S::ROWS, S::GROUPS, S::KEYS, S::SCORE_STRIDE, S::STRIDE>(sum, weight, kv, p.padded);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < S::ROWS; i++) {
        const int64_t row = t + ty + 16 * i;
        factor[i] = 1.0f / total[i];
        if (tx == 0 && row < p.time) p.lse[(b * p.heads + head) * p.time + row] = maximum[i] + logf(total[i]);
    }
    store_tile(p, p.o, sum, factor, b, t, head);
}

/* ---- backward ---- */

/* delta[b, h, t] = do . o of the row; a warp a row */
__global__ void attend_delta_kernel(Attend p) {
    const int64_t row = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; /* of [B, T, H] */
    if (row >= p.batch * p.time * p.heads) return;
    float sum = 0;
    for (int e = (int)threadIdx.x % 32; e < p.width; e += 32)
        sum += k_get(p.dout.view, row * p.width + e) * k_get(p.o.view, row * p.width + e);
    sum = k_warp_sum(sum);
    const int64_t head = row % p.heads, t = row / p.heads % p.time, b = row / p.heads / p.time;
    if (threadIdx.x % 32 == 0) p.delta[(b * p.heads + head) * p.time + t] = sum;
}

/* The probability of score[i][j], and the score's gradient in its place of dp[i][j]. */
template <int ROWS, int COLUMNS>
static __device__ inline void softmax_back(const Attend &p, float (&score)[ROWS][COLUMNS],
                                           float (&dp)[ROWS][COLUMNS], int64_t b, int64_t head, int64_t t,
                                           int64_t s) {
    const int64_t row_of_head = (b * p.heads + head) * p.time;
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int64_t row = t + ty + 16 * i;
        const bool there = row < p.time;
        const float lse = there ? p.lse[row_of_head + row] : 0.0f;
        const float delta = there ? p.delta[row_of_head + row] : 0.0f;
        const Seen seen = keys_seen(p, b, row);
        const float hidden = seen.low < 0 ? NAN : 0.0f;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            const bool sees = there && attends(seen, s + tx + 16 * j);
            score[i][j] = sees ? expf(score[i][j] * p.scale - lse) : hidden;
            dp[i][j] = sees ? score[i][j] * (dp[i][j] - delta) * p.scale : hidden;
        }
    }
}

/* to[row][column] or, turned, to[column][row] */
template <int ROWS, int COLUMNS>
static __device__ inline void put_scores(float *to, int row_stride, int column_stride,
                                         const float (&score)[ROWS][COLUMNS]) {
    const int ty = (int)threadIdx.x / 16, tx = (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            to[(ty + 16 * i) * row_stride + (tx + 16 * j) * column_stride] = score[i][j];
}

template <class S> __global__ void __launch_bounds__(THREADS, 2) attend_dq_kernel(Attend p) {
    K_SHARED(float, shared);
    float *q = shared, *dout = q + S::QUERY_TILE, *k = dout + S::QUERY_TILE, *v = k + S::KEY_TILE;
    float *dscore = v + S::KEY_TILE; /* [QUERIES, SCORE_STRIDE] */
    const int64_t tiles = (p.time + S::QUERIES - 1) / S::QUERIES;
    const int64_t t = (tiles - 1 - blockIdx.x % tiles) * S::QUERIES, head = blockIdx.x / tiles % p.heads;
    const int64_t b = blockIdx.x / tiles / p.heads, kv_head = head / (p.heads / p.kv_heads);
    const Walk walk = walk_keys<S>(p, b, t);

    float4 sum[S::ROWS][S::GROUPS];
    clear(sum);
    load_tile<S::STRIDE>(p, q, p.q, b, t, head, S::QUERIES);
    load_tile<S::STRIDE>(p, dout, p.dout, b, t, head, S::QUERIES);
    for (int64_t s = walk.begin; s < walk.end; s += S::KEYS) {
        load_tile<S::STRIDE>(p, k, p.k, b, s, kv_head, S::KEYS);
        load_tile<S::STRIDE>(p, v, p.v, b, s, kv_head, S::KEYS);
        __syncthreads();
        float score[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
        dot_tile<S::ROWS, S::COLUMNS, S::STRIDE>(score, q, k, p.padded);
        dot_tile<S::ROWS, S::COLUMNS, S::STRIDE>(dp, dout, v, p.padded);
        softmax_back(p, score, dp, b, head, t, s);
        put_scores(dscore, S::SCORE_STRIDE, 1, dp);
        __syncthreads();
        add_product<S::ROWS, S::GROUPS, S::KEYS, S::SCORE_STRIDE, S::STRIDE>(sum, dscore, k, p.padded);
        __syncthreads();
    }
    float one[S::ROWS];
#pragma unroll
    for (int i = 0; i < S::ROWS; i++) one[i] = 1;
    store_tile(p, p.dq, sum, one, b, t, head);
}

template <class S> __global__ void __launch_bounds__(THREADS, 2) attend_dkv_kernel(Attend p) {
    K_SHARED(float, shared);
    float *q = shared, *dout = q + S::QUERY_TILE, *k = dout + S::QUERY_TILE, *v = k + S::KEY_TILE;
    float *turned = v + S::KEY_TILE; /* [KEYS, TURNED_STRIDE] */
    const int64_t tiles = (p.time + S::KEYS - 1) / S::KEYS, group = p.heads / p.kv_heads;
    const int64_t s = blockIdx.x % tiles * S::KEYS, kv_head = blockIdx.x / tiles % p.kv_heads;
    const int64_t b = blockIdx.x / tiles / p.kv_heads;
    const int64_t first = p.causal ? s / S::QUERIES * S::QUERIES : 0;
    int64_t end = p.time; /* of the queries that see these keys */
    if (p.sight.last_query)
        end = (int64_t)k_highest(p.sight.last_query + b * p.time + s,
                                 (int)(p.time - s < S::KEYS ? p.time - s : S::KEYS)) +
              1;

    float4 dk[S::COLUMNS][S::GROUPS], dv[S::COLUMNS][S::GROUPS];
    clear(dk);
    clear(dv);
    load_tile<S::STRIDE>(p, k, p.k, b, s, kv_head, S::KEYS);
    load_tile<S::STRIDE>(p, v, p.v, b, s, kv_head, S::KEYS);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (int64_t t = first; t < end; t += S::QUERIES) {
            load_tile<S::STRIDE>(p, q, p.q, b, t, head, S::QUERIES);
            load_tile<S::STRIDE>(p, dout, p.dout, b, t, head, S::QUERIES);
            __syncthreads();
            float score[S::ROWS][S::COLUMNS], dp[S::ROWS][S::COLUMNS];
            dot_tile<S::ROWS, S::COLUMNS, S::STRIDE>(score, q, k, p.padded);
            dot_tile<S::ROWS, S::COLUMNS, S::STRIDE>(dp, dout, v, p.padded);
            softmax_back(p, score, dp, b, head, t, s);
            put_scores(turned, 1, S::TURNED_STRIDE, score);
            __syncthreads();
            add_product<S::COLUMNS, S::GROUPS, S::QUERIES, S::TURNED_STRIDE, S::STRIDE>(dv, turned, dout,
                                                                                        p.padded);
            __syncthreads();
            put_scores(turned, 1, S::TURNED_STRIDE, dp);
            __syncthreads();
            add_product<S::COLUMNS, S::GROUPS, S::QUERIES, S::TURNED_STRIDE, S::STRIDE>(dk, turned, q,
                                                                                        p.padded);
            __syncthreads();
        }
    float one[S::COLUMNS];
#pragma unroll
    for (int i = 0; i < S::COLUMNS; i++) one[i] = 1;
    store_tile(p, p.dk, dk, one, b, s, kv_head);
    store_tile(p, p.dv, dv, one, b, s, kv_head);
}

/* ---- host side ---- */

/* `sight`: first key and last query, or NULL. */
static Rows rows_of(const KHeads &x) {
    return {k_view(&x.of), x.stride, x.first};
}
static Attend attend_of(const KHeads &q, const KHeads &k, const KHeads &v, const KTensor *sight,
                        const KAttr *attr) {
    Attend p = {};
    if (sight) p.sight = {(const int32_t *)sight[0].data, (const int32_t *)sight[1].data};
    p.q = rows_of(q);
    p.k = rows_of(k);
    p.v = rows_of(v);
    p.batch = q.of.dim[0];
    p.time = q.of.dim[1];
    p.heads = q.of.dim[2];
    p.kv_heads = k.of.dim[2];
    p.width = (int)q.of.dim[3];
    p.padded = (p.width + 3) / 4 * 4;
    p.scale = (float)(1 / sqrt((double)p.width));
    p.causal = attr->causal != 0;
    if (p.width > K_MOST_HEAD_WIDTH) {
        fprintf(stderr, "train: error: attend: heads of %lld numbers; at most %d are supported\n",
                (long long)p.width, (int)K_MOST_HEAD_WIDTH);
        exit(K_EXIT_INTERNAL);
    }
    return p;
}

/* More than 48 KiB of shared memory has to be asked for. */
template <class Kernel> static void allow_shared(Kernel kernel, int bytes) {
    k_cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                 "attention needs more shared memory than this device has");
}

template <class S> static void forward(const KCtx *cx, const Attend &p) {
    const int bytes = (int)k_cuda_attend_forward_bytes(S::WIDTH, S::QUERIES, S::KEYS);
    allow_shared(attend_kernel<S>, bytes);
    K_LAUNCH(attend_kernel<S>, k_grid(k_cuda_ceil(p.time, S::QUERIES) * p.heads * p.batch), THREADS, bytes,
             cx->stream, p);
}
template <class S> static void backward(const KCtx *cx, const Attend &p) {
    const int bytes = (int)k_cuda_attend_backward_bytes(S::WIDTH, S::QUERIES, S::KEYS);
    allow_shared(attend_dq_kernel<S>, bytes);
    allow_shared(attend_dkv_kernel<S>, bytes);
    K_LAUNCH(attend_dkv_kernel<S>, k_grid(k_cuda_ceil(p.time, S::KEYS) * p.kv_heads * p.batch), THREADS,
             bytes, cx->stream, p);
    K_LAUNCH(attend_dq_kernel<S>, k_grid(k_cuda_ceil(p.time, S::QUERIES) * p.heads * p.batch), THREADS, bytes,
             cx->stream, p);
}

#define F32(width, forward_queries, forward_keys, backward_queries, backward_keys)                           \
    typedef Tiles<width, forward_queries, forward_keys> Forward##width;                                      \
    typedef Tiles<width, backward_queries, backward_keys> Backward##width;
K_CUDA_ATTEND_TILES(F32)
#undef F32

/* Tensor cores, where all heads are bf16. */
static bool on_tensor_cores(const Attend &p, std::initializer_list<const Rows *> of) {
    bool all = true;
    for (const Rows *x : of) all = all && k_cuda_attend_tensor_cores(x->view.dtype, p.width);
    return all;
}
static AttendRows mma_rows(const Rows &x) {
    return {(uint16_t *)x.view.data + x.first, x.stride};
}
static AttendMma mma_of(const KCtx *cx, const Attend &p) {
    AttendMma m = {};
    m.variant = cx->variant;
    m.q = mma_rows(p.q);
    m.k = mma_rows(p.k);
    m.v = mma_rows(p.v);
    m.o = mma_rows(p.o);
    m.lse = p.lse;
    m.delta = p.delta;
    m.sight = p.sight;
    m.batch = (int)p.batch;
    m.time = (int)p.time;
    m.heads = (int)p.heads;
    m.kv_heads = (int)p.kv_heads;
    m.width = p.width;
    m.causal = p.causal;
    m.scale = p.scale;
    return m;
}

static void attend(const KCtx *cx, const Attend &p) {
    if (p.batch * p.time * p.heads * p.width == 0) return;
    if (on_tensor_cores(p, {&p.q, &p.k, &p.v, &p.o})) {
        const AttendMma m = mma_of(cx, p);
        k_attend_mma(cx->stream, &m);
    } else if (p.width <= 64) {
        forward<Forward64>(cx, p);
    } else if (p.width <= 128) {
        forward<Forward128>(cx, p);
    } else {
        forward<Forward256>(cx, p);
    }
}

static void attend_bwd(const KCtx *cx, Attend p) {
    p.delta = (float *)cx->workspace;
    if (p.batch * p.time * p.heads * p.width == 0) return;
    if (on_tensor_cores(p, {&p.q, &p.k, &p.v, &p.o, &p.dout, &p.dq, &p.dk, &p.dv})) {
        AttendMma m = mma_of(cx, p);
        m.dout = mma_rows(p.dout);
        m.dq = mma_rows(p.dq);
        m.dk = mma_rows(p.dk);
        m.dv = mma_rows(p.dv);
        return k_attend_mma_bwd(cx->stream, &m);
    }
    const int64_t rows = p.batch * p.time * p.heads;
    K_LAUNCH(attend_delta_kernel, k_grid(k_cuda_ceil(rows, THREADS / 32)), THREADS, 0, cx->stream, p);
    if (p.width <= 64)
        backward<Backward64>(cx, p);
    else if (p.width <= 128)
        backward<Backward128>(cx, p);
    else
        backward<Backward256>(cx, p);
}

void k_attend(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout;
    Attend p = attend_of(k_heads(&in[0]), k_heads(&in[1]), k_heads(&in[2]), nin > 3 ? &in[3] : NULL, attr);
    p.o = rows_of(k_heads(&out[0]));
    p.lse = (float *)out[1].data;
    attend(cx, p);
}

/* qkv, first key and last query? -> o, lse */
void k_attend_packed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    KHeads part[3];
    k_packed_heads(&in[0], &out[0], part);
    Attend p = attend_of(part[0], part[1], part[2], nin > 1 ? &in[1] : NULL, attr);
    p.o = rows_of(k_heads(&out[0]));
    p.lse = (float *)out[1].data;
    attend(cx, p);
}

/* do, q, k, v, o, lse, first key and last query? -> dq, dk, dv */
void k_attend_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout;
    Attend p = attend_of(k_heads(&in[1]), k_heads(&in[2]), k_heads(&in[3]), nin > 6 ? &in[6] : NULL, attr);
    p.dout = rows_of(k_heads(&in[0]));
    p.o = rows_of(k_heads(&in[4]));
    p.lse = (float *)in[5].data;
    p.dq = rows_of(k_heads(&out[0]));
    p.dk = rows_of(k_heads(&out[1]));
    p.dv = rows_of(k_heads(&out[2]));
    attend_bwd(cx, p);
}

/* do, qkv, o, lse, first key and last query? -> dqkv */
void k_attend_packed_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                         const KAttr *attr) {
    (void)nout;
    KHeads part[3], made[3];
    k_packed_heads(&in[1], &in[0], part);
    k_packed_heads(&out[0], &in[0], made);
    Attend p = attend_of(part[0], part[1], part[2], nin > 4 ? &in[4] : NULL, attr);
    p.dout = rows_of(k_heads(&in[0]));
    p.o = rows_of(k_heads(&in[2]));
    p.lse = (float *)in[3].data;
    p.dq = rows_of(made[0]);
    p.dk = rows_of(made[1]);
    p.dv = rows_of(made[2]);
    attend_bwd(cx, p);
}
