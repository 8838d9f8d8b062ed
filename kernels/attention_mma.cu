/* Attention over [B, T, heads, E] in bf16 on tensor cores, without a T x T matrix (Dao 2023,
 * FlashAttention-2: a warp owns rows of a tile of scores, so that a row's maximum and sum never leave it;
 * probabilities go from accumulators straight into the next product).
 *
 * Forward and dq: a block owns a tile of queries of a head and walks the keys; dq also makes delta, for the
 * kernel after it. dk and dv: a block owns a tile of keys of a kv head and walks its query heads and their
 * tiles in order; it computes S^T = K Q^T and dP^T = V dO^T, so that P^T and dS^T are A operands of dv += P^T
 * dO and dk += dS^T Q as they stand. What is walked through comes in two tiles: while one is used, the next
 * is copied; backwards, the scores of SPAN of its rows are in registers at a time. Probabilities are powers
 * of two of scores times scale * log2(e); P and dS are rounded to bf16 as operands, sums are f32. Nothing is
 * shared between blocks, so the bits never change. Blocks with the longest rows come first. Of documents
 * (SIGHT), a block walks the tiles that some row of its own sees, or is seen by; the others compile as if
 * there were none. */
#include "attention_mma.cuh"
#include "variant.h"

static constexpr float LOG2_E = 1.44269504088896340736f;

/* Columns of the sequence that row `row` sees begin at 0 and end before this. */
static __device__ inline int keys_seen(const AttendMma &p, int row) {
    return p.causal && row < p.time ? row + 1 : p.time;
}

/* Which tile, batch and head a block has; the slowest index is the tile. */
struct Place {
    int tile, b, head;
};
static __device__ inline Place place_of(const AttendMma &p, int heads) {
    const int block = (int)blockIdx.x, all = p.batch * heads;
    return {block / all, block % all / heads, block % heads};
}

/* The first and the last of some rows' first keys, or last queries. */
struct Range {
    int low, high;
};
template <bool SIGHT>
static __device__ inline Range range_of(const AttendMma &p, const int32_t *of, int b, int row, int rows) {
    if (!SIGHT || row >= p.time) return {0, p.time - 1};
    const int32_t *from = of + (int64_t)b * p.time + row;
    const int count = p.time - row < rows ? p.time - row : rows;
    return {k_lowest(from, count), k_highest(from, count)};
}

/* Tiles of KEYS keys that begin in [begin, end): those that a block's queries [t, t + queries) see. */
template <bool SIGHT, int KEYS>
static __device__ inline int keys_begin(const AttendMma &p, int b, int t, int queries) {
    if (!SIGHT) return 0;
    const int low = range_of<SIGHT>(p, p.sight.first_key, b, t, queries).low;
    return low > 0 ? low / KEYS * KEYS : 0;
}
template <bool SIGHT> static __device__ inline int keys_end(const AttendMma &p, int b, int t, int queries) {
    return range_of<SIGHT>(p, p.sight.last_query, b, t, queries).high + 1;
}

/* Keys from key0 on that a row of the warp's scores sees too much of become -infinity, by what documents say;
 * a row of which nobody said it, NaN. */
template <int BLOCKS, int N>
static __device__ inline void mask_sight(const AttendMma &p, float (&score)[BLOCKS][N][4], int b, int row0,
                                         int key0) {
    const int column = lane_of() % 4 * 2;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = row0 + 16 * m + 8 * half + lane_of() / 4;
            if (row >= p.time) continue;
            const int first = p.sight.first_key[(int64_t)b * p.time + row];
            const int last = p.causal ? p.time : p.sight.last_query[(int64_t)b * p.time + row];
            const float hidden = first < 0 ? NAN : -INFINITY;
            const int begin = (first < 0 ? p.time : first) - key0 - column, end = last - key0 - column;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i < begin || 8 * n + i > end) score[m][n][2 * half + i] = hidden;
        }
}

/* Keys from key0 on that a row of the warp's scores does not see become -infinity. */
template <int BLOCKS, int N>
static __device__ inline void mask_keys(const AttendMma &p, float (&score)[BLOCKS][N][4], int row0,
                                        int key0) {
    const int column = lane_of() % 4 * 2;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int seen = keys_seen(p, row0 + 16 * m + 8 * half + lane_of() / 4) - key0 - column;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i >= seen) score[m][n][2 * half + i] = -INFINITY;
        }
}

/* Sum or maximum over the four lanes of a row. */
static __device__ inline float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
static __device__ inline float quad_maximum(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

/* ---- forward ---- */

/* A row's probabilities are relative to a maximum of its scores so far. It is replaced only by one more than
 * this power of two above it, so that the sums so far are seldom scaled; f32 has room, and the rounding of P
 * to bf16 is relative. */
static constexpr float SLACK = 8;

/* The maxima the probabilities of a tile are relative to; the sums so far are scaled to them. `total` is this
 * lane's share of the row's sum. */
template <int BLOCKS, int N, int COLUMNS>
static __device__ inline void raise_maxima(const float (&score)[BLOCKS][N][4],
                                           float (&sum)[BLOCKS][COLUMNS][4], float (&maximum)[BLOCKS][2],
                                           float (&total)[BLOCKS][2], float scale) {
    float fade[BLOCKS][2];
    bool raised = false;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = maximum[m][half];
#pragma unroll
            for (int n = 0; n < N; n++)
                top = fmaxf(top, fmaxf(score[m][n][2 * half], score[m][n][2 * half + 1]));
            top = quad_maximum(top);
            fade[m][half] = 1;
            if ((top - maximum[m][half]) * scale > SLACK) {
                fade[m][half] = k_exp2((maximum[m][half] - top) * scale);
                maximum[m][half] = top;
                raised = true;
            }
        }
    if (!raised) return;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            total[m][half] *= fade[m][half];
#pragma unroll
            for (int n = 0; n < COLUMNS; n++) {
                sum[m][n][2 * half] *= fade[m][half];
                sum[m][n][2 * half + 1] *= fade[m][half];
            }
        }
}

template <bool SIGHT, int WIDTH, int QUERIES, int KEYS, int WARPS, int RESIDENT>
__global__ void __launch_bounds__(32 * WARPS, RESIDENT) attend_mma_kernel(AttendMma p) {
    K_SHARED(uint16_t, shared);
    constexpr int THREADS = 32 * WARPS, BLOCKS = QUERIES / WARPS / 16, KEY_BYTES = KEYS * WIDTH * 2;
    constexpr bool KEEP = BLOCKS * WIDTH <= 128; /* q in registers */
    const uint32_t q_tile = k_shared_address(shared), kv_tiles = q_tile + QUERIES * WIDTH * 2;
    const uint32_t q_rows = q_tile + (uint32_t)(warp_of() * BLOCKS * 16 * WIDTH * 2);
    const Place at = place_of(p, p.heads);
    const int t = ((p.time - 1) / QUERIES - at.tile) * QUERIES, kv_head = at.head / (p.heads / p.kv_heads);
    const int last = p.causal && t + QUERIES < p.time ? t + QUERIES : p.time;
    const int begin = keys_begin<SIGHT, KEYS>(p, at.b, t, QUERIES);
    const int end = SIGHT && !p.causal ? keys_end<SIGHT>(p, at.b, t, QUERIES) : last;
    const int row0 = t + warp_of() * 16 * BLOCKS; /* the warp's */
    const Range firsts = range_of<SIGHT>(p, p.sight.first_key, at.b, row0, 16 * BLOCKS);
    const float scale = p.scale * LOG2_E;

    copy_tile<WIDTH, QUERIES, THREADS>(p, q_tile, p.q, at.b, t, at.head);
    copy_tile<WIDTH, KEYS, THREADS>(p, kv_tiles, p.k, at.b, begin, kv_head);
    copy_tile<WIDTH, KEYS, THREADS>(p, kv_tiles + KEY_BYTES, p.v, at.b, begin, kv_head);
    k_copy_commit();
    k_copy_wait<0>();
    __syncthreads();
    uint32_t q[BLOCKS][WIDTH / 16][4];
    float sum[BLOCKS][WIDTH / 8][4], maximum[BLOCKS][2], total[BLOCKS][2];
    clear(sum);
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) {
        if (KEEP) load_rows<WIDTH>(q[m], q_rows + (uint32_t)(m * 16 * WIDTH * 2));
        maximum[m][0] = maximum[m][1] = -INFINITY;
        total[m][0] = total[m][1] = 0;
    }
    uint32_t now = kv_tiles, next = kv_tiles + 2 * KEY_BYTES;
    for (int s = begin; s < end; s += KEYS) {
        k_copy_wait<0>();
        __syncthreads();
        if (s + KEYS < end) {
            copy_tile<WIDTH, KEYS, THREADS>(p, next, p.k, at.b, s + KEYS, kv_head);
            copy_tile<WIDTH, KEYS, THREADS>(p, next + KEY_BYTES, p.v, at.b, s + KEYS, kv_head);
            k_copy_commit();
        }
        /* else the warp sees none of these keys */
        if ((!p.causal || s < row0 + 16 * BLOCKS) && (!SIGHT || s + KEYS > firsts.low)) {
            float score[BLOCKS][KEYS / 8][4];
            clear(score);
            if constexpr (KEEP)
                score_tile<WIDTH, KEYS>(score, q, now);
            else
                score_tiles<WIDTH, KEYS>(score, q_rows, now);
            if (s + KEYS > keys_seen(p, row0)) mask_keys(p, score, row0, s);
            if (SIGHT && (!p.causal || s < firsts.high || firsts.low < 0))
                mask_sight(p, score, at.b, row0, s);
            raise_maxima(score, sum, maximum, total, scale);
            float shift[BLOCKS][2];
#pragma unroll
            for (int m = 0; m < BLOCKS; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    shift[m][half] = maximum[m][half] * scale;
                    if (SIGHT && maximum[m][half] == -INFINITY)
                        shift[m][half] = 0; /* it has seen no key yet */
                }
            add_weighted<WIDTH, KEYS>(sum, score, now + KEY_BYTES, [&](int m, int n, int i) {
                score[m][n][i] = k_exp2(score[m][n][i] * scale - shift[m][i / 2]);
                total[m][i / 2] += score[m][n][i];
            });
        }
        const uint32_t used = now;
        now = next;
        next = used;
    }
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = row0 + 16 * m + 8 * half + lane_of() / 4;
            const float all = quad_sum(total[m][half]);
            total[m][half] = 1.0f / all;
            if (lane_of() % 4 == 0 && row < p.time)
                p.lse[((int64_t)at.b * p.heads + at.head) * p.time + row] =
                    maximum[m][half] * p.scale + logf(all);
        }
    store_rows<WIDTH>(p, p.o, at.b, row0, at.head, sum, total);
}

/* ---- backward ---- */

/* The rows of o that a lane needs for delta, of a block's queries: issued before the copies are waited for.
 * WIDTH / 8 lanes have a row. */
template <int WIDTH, int ROWS, int THREADS>
static __device__ inline void load_outputs(const AttendMma &p, uint4 (&o)[ROWS * WIDTH / 8 / THREADS], int b,
                                           int t, int head) {
    constexpr int LANES = WIDTH / 8, STEP = THREADS / LANES;
    const int first = t + (int)threadIdx.x / LANES, column = (int)threadIdx.x % LANES * 8;
    const int rows = column < p.width ? p.time - first : 0;
    const uint16_t *row = row_of(p, p.o, b, first, head, column);
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++) {
        o[i] = make_uint4(0, 0, 0, 0);
        if (i * STEP < rows) o[i] = *(const uint4 *)row;
        row += STEP * p.o.stride;
    }
}

/* -delta of the block's queries into shared memory, and delta = do . o into its place, for the kernel of dk
 * and dv. */
template <int WIDTH, int ROWS, int THREADS>
static __device__ inline void store_deltas(const AttendMma &p, const uint4 (&o)[ROWS * WIDTH / 8 / THREADS],
                                           const uint16_t *dout_tile, float *minus_delta, int b, int t,
                                           int head) {
    constexpr int LANES = WIDTH / 8, STEP = THREADS / LANES;
    const int first = (int)threadIdx.x / LANES, chunk = (int)threadIdx.x % LANES;
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++) {
        const int row = first + i * STEP;
        const uint4 dout = *(const uint4 *)(dout_tile + chunk_address<WIDTH>(0, row, chunk) / 2);
        const uint32_t x[4] = {dout.x, dout.y, dout.z, dout.w}, y[4] = {o[i].x, o[i].y, o[i].z, o[i].w};
        float sum = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sum += k_from_bits(x[j] << 16) * k_from_bits(y[j] << 16);
            sum += k_from_bits(x[j] & 0xffff0000u) * k_from_bits(y[j] & 0xffff0000u);
        }
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (chunk == 0) minus_delta[row] = -sum;
        if (chunk == 0 && t + row < p.time) p.delta[((int64_t)b * p.heads + head) * p.time + t + row] = sum;
    }
}

template <bool SIGHT, int WIDTH, int QUERIES, int KEYS, int SPAN, int WARPS, int RESIDENT>
__global__ void __launch_bounds__(32 * WARPS, RESIDENT) attend_mma_dq_kernel(AttendMma p) {
    K_SHARED(uint16_t, shared);
    constexpr int THREADS = 32 * WARPS, BLOCKS = QUERIES / WARPS / 16, KEY_BYTES = KEYS * WIDTH * 2;
    /* q, and do, fit in registers beside all sums */
    constexpr bool KEEP_Q = BLOCKS * (WIDTH * 3 / 4 + SPAN) <= 192,
                   KEEP_DOUT = BLOCKS * (WIDTH + SPAN) <= 192;
    const uint32_t q_tile = k_shared_address(shared), dout_tile = q_tile + QUERIES * WIDTH * 2;
    const uint32_t kv_tiles = dout_tile + QUERIES * WIDTH * 2;
    const uint32_t rows = (uint32_t)(warp_of() * BLOCKS * 16 * WIDTH * 2); /* the warp's, in a tile */
    const Place at = place_of(p, p.heads);
    const int t = ((p.time - 1) / QUERIES - at.tile) * QUERIES, kv_head = at.head / (p.heads / p.kv_heads);
    const int last = p.causal && t + QUERIES < p.time ? t + QUERIES : p.time;
    const int begin = keys_begin<SIGHT, KEYS>(p, at.b, t, QUERIES);
    const int end = SIGHT && !p.causal ? keys_end<SIGHT>(p, at.b, t, QUERIES) : last;
    const int row0 = t + warp_of() * 16 * BLOCKS;
    const Range firsts = range_of<SIGHT>(p, p.sight.first_key, at.b, row0, 16 * BLOCKS);
    const float scale = p.scale * LOG2_E;
    /* lse, -delta [QUERIES]; lse is infinity past the end, so that P and dS are zero there */
    float *terms = (float *)(shared + (2 * QUERIES + 4 * KEYS) * WIDTH);
    const float *lse = terms + row0 - t + lane_of() / 4,
                *minus_delta = lse + QUERIES; /* the lane's first row */

    copy_tile<WIDTH, QUERIES, THREADS>(p, q_tile, p.q, at.b, t, at.head);
    copy_tile<WIDTH, QUERIES, THREADS>(p, dout_tile, p.dout, at.b, t, at.head);
    copy_tile<WIDTH, KEYS, THREADS>(p, kv_tiles, p.k, at.b, begin, kv_head);
    copy_tile<WIDTH, KEYS, THREADS>(p, kv_tiles + KEY_BYTES, p.v, at.b, begin, kv_head);
    k_copy_commit();
    uint4 o[QUERIES * WIDTH / 8 / THREADS];
    load_outputs<WIDTH, QUERIES, THREADS>(p, o, at.b, t, at.head);
#pragma unroll
    for (int first = 0; first < QUERIES; first += THREADS) {
        const int i = first + (int)threadIdx.x;
        const int64_t of = ((int64_t)at.b * p.heads + at.head) * p.time + t + i;
        if (i < QUERIES) terms[i] = t + i < p.time ? p.lse[of] * LOG2_E : INFINITY;
    }
    k_copy_wait<0>();
    __syncthreads();
    store_deltas<WIDTH, QUERIES, THREADS>(p, o, shared + QUERIES * WIDTH, terms + QUERIES, at.b, t, at.head);
    float sum[BLOCKS][WIDTH / 8][4];
    clear(sum);
    uint32_t q[BLOCKS][WIDTH / 16][4], dout[BLOCKS][WIDTH / 16][4];
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) {
        if (KEEP_Q) load_rows<WIDTH>(q[m], q_tile + rows + (uint32_t)(m * 16 * WIDTH * 2));
        if (KEEP_DOUT) load_rows<WIDTH>(dout[m], dout_tile + rows + (uint32_t)(m * 16 * WIDTH * 2));
    }
    uint32_t now = kv_tiles, next = kv_tiles + 2 * KEY_BYTES;
    for (int s = begin; s < end; s += KEYS) {
        k_copy_wait<0>();
        __syncthreads();
        if (s + KEYS < end) {
            copy_tile<WIDTH, KEYS, THREADS>(p, next, p.k, at.b, s + KEYS, kv_head);
            copy_tile<WIDTH, KEYS, THREADS>(p, next + KEY_BYTES, p.v, at.b, s + KEYS, kv_head);
            k_copy_commit();
        }
#pragma unroll
        for (int from = 0; from < KEYS; from += SPAN) {
            const int key0 = s + from;
            if (p.causal && row0 + 16 * BLOCKS <= key0) continue; /* the warp sees none of these keys */
            if (SIGHT && key0 + SPAN <= firsts.low) continue;
            const uint32_t k = now + (uint32_t)(from * WIDTH * 2), v = k + KEY_BYTES;
            float score[BLOCKS][SPAN / 8][4], dscore[BLOCKS][SPAN / 8][4], shift[BLOCKS][2];
            clear(score);
            if constexpr (KEEP_Q)
                score_tile<WIDTH, SPAN>(score, q, k);
            else
                score_tiles<WIDTH, SPAN>(score, q_tile + rows, k);
            if (key0 + SPAN > keys_seen(p, row0)) mask_keys(p, score, row0, key0);
            if (SIGHT && (!p.causal || key0 < firsts.high || firsts.low < 0))
                mask_sight(p, score, at.b, row0, key0);
#pragma unroll
            for (int m = 0; m < BLOCKS; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const float x = minus_delta[16 * m + 8 * half];
#pragma unroll
                    for (int n = 0; n < SPAN / 8; n++)
                        dscore[m][n][2 * half] = dscore[m][n][2 * half + 1] = x;
                }
            if constexpr (KEEP_DOUT)
                score_tile<WIDTH, SPAN>(dscore, dout, v);
            else
                score_tiles<WIDTH, SPAN>(dscore, dout_tile + rows, v);
#pragma unroll
            for (int m = 0; m < BLOCKS; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) shift[m][half] = lse[16 * m + 8 * half];
            add_weighted<WIDTH, SPAN>(sum, dscore, k, [&](int m, int n, int i) {
                dscore[m][n][i] *= k_exp2(score[m][n][i] * scale - shift[m][i / 2]);
            });
        }
        const uint32_t used = now;
        now = next;
        next = used;
    }
    float factor[BLOCKS][2];
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) factor[m][0] = factor[m][1] = p.scale;
    store_rows<WIDTH>(p, p.dq, at.b, row0, at.head, sum, factor);
}

/* Queries from query0 on that a key of the warp's scores [key, query] is hidden from: -infinity. */
template <int BLOCKS, int N>
static __device__ inline void mask_queries(float (&score)[BLOCKS][N][4], int key0, int query0) {
    const int column = lane_of() % 4 * 2;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int hidden = key0 + 16 * m + 8 * half + lane_of() / 4 - query0 - column;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i < hidden) score[m][n][2 * half + i] = -INFINITY;
        }
}

/* The same by what documents say. */
template <int BLOCKS, int N>
static __device__ inline void mask_seen_by(const AttendMma &p, float (&score)[BLOCKS][N][4], int b, int key0,
                                           int query0) {
    const int column = lane_of() % 4 * 2;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int key = key0 + 16 * m + 8 * half + lane_of() / 4;
            if (key >= p.time) continue;
            const int first = p.causal ? 0 : p.sight.first_key[(int64_t)b * p.time + key];
            const int begin = first - query0 - column;
            const int end = p.sight.last_query[(int64_t)b * p.time + key] - query0 - column;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i < begin || 8 * n + i > end) score[m][n][2 * half + i] = -INFINITY;
        }
}

/* lse and -delta of a tile's queries, one number a thread: the first QUERIES threads have lse, the next
 * -delta. Queries past the end get lse = infinity, so that P and dS are zero there. */
template <int QUERIES> static __device__ inline float row_term(const AttendMma &p, int b, int t, int head) {
    const bool of_lse = (int)threadIdx.x < QUERIES;
    const int row = t + (int)threadIdx.x % QUERIES;
    const int64_t at = ((int64_t)b * p.heads + head) * p.time + row;
    if ((int)threadIdx.x >= 2 * QUERIES) return 0;
    if (row >= p.time) return of_lse ? INFINITY : 0.0f;
    return of_lse ? p.lse[at] * LOG2_E : -p.delta[at];
}

template <bool SIGHT, int WIDTH, int KEYS, int QUERIES, int SPAN, int WARPS, int RESIDENT>
__global__ void __launch_bounds__(32 * WARPS, RESIDENT) attend_mma_dkv_kernel(AttendMma p) {
    K_SHARED(uint16_t, shared);
    constexpr int THREADS = 32 * WARPS, BLOCKS = KEYS / WARPS / 16, QUERY_BYTES = QUERIES * WIDTH * 2;
    constexpr bool KEEP =
        !SIGHT && BLOCKS * (WIDTH * 3 / 2 + SPAN) <= 224; /* k and v fit in registers, beside all sums */
    static_assert(2 * QUERIES <= THREADS, "lse and delta are one number a thread");
    const uint32_t k_tile = k_shared_address(shared), v_tile = k_tile + KEYS * WIDTH * 2;
    const uint32_t q_tiles = v_tile + KEYS * WIDTH * 2;
    float *terms = (float *)(shared + (2 * KEYS + 4 * QUERIES) * WIDTH); /* two tiles' lse, delta [QUERIES] */
    const Place at = place_of(p, p.kv_heads);
    const int s = at.tile * KEYS, key0 = s + warp_of() * 16 * BLOCKS, group = p.heads / p.kv_heads;
    const int first = p.causal ? s / QUERIES * QUERIES : 0; /* of the queries that see the keys */
    const int end = SIGHT ? range_of<SIGHT>(p, p.sight.last_query, at.b, s, KEYS).high + 1 : p.time;
    const int tiles = (end - first + QUERIES - 1) / QUERIES;
    const Range lasts = range_of<SIGHT>(p, p.sight.last_query, at.b, key0, 16 * BLOCKS);
    const int column = lane_of() % 4 * 2; /* of the lane, in an accumulator's eight */
    const float scale = p.scale * LOG2_E;

    int head = at.head * group, t = first;
    copy_tile<WIDTH, KEYS, THREADS>(p, k_tile, p.k, at.b, s, at.head);
    copy_tile<WIDTH, KEYS, THREADS>(p, v_tile, p.v, at.b, s, at.head);
    copy_tile<WIDTH, QUERIES, THREADS>(p, q_tiles, p.q, at.b, t, head);
    copy_tile<WIDTH, QUERIES, THREADS>(p, q_tiles + QUERY_BYTES, p.dout, at.b, t, head);
    k_copy_commit();
    if ((int)threadIdx.x < 2 * QUERIES) terms[threadIdx.x] = row_term<QUERIES>(p, at.b, t, head);
    k_copy_wait<0>();
    __syncthreads();
    const uint32_t rows = (uint32_t)(warp_of() * BLOCKS * 16 * WIDTH * 2); /* the warp's, in a tile */
    uint32_t k[BLOCKS][WIDTH / 16][4], v[BLOCKS][WIDTH / 16][4];
#pragma unroll
    for (int m = 0; KEEP && m < BLOCKS; m++) {
        load_rows<WIDTH>(k[m], k_tile + rows + (uint32_t)(m * 16 * WIDTH * 2));
        load_rows<WIDTH>(v[m], v_tile + rows + (uint32_t)(m * 16 * WIDTH * 2));
    }
    float dk[BLOCKS][WIDTH / 8][4], dv[BLOCKS][WIDTH / 8][4];
    clear(dk);
    clear(dv);
    for (int step = 0; step < group * tiles; step++) {
        const uint32_t now = q_tiles + (step % 2 ? 2 * QUERY_BYTES : 0);
        const uint32_t next = q_tiles + (step % 2 ? 0 : 2 * QUERY_BYTES);
        const float *term = terms + step % 2 * 2 * QUERIES;
        const int query0 = t;
        const bool more = step + 1 < group * tiles;
        float next_term = 0;
        k_copy_wait<0>();
        __syncthreads();
        if (more) {
            t += QUERIES;
            if (t >= (SIGHT ? end : p.time)) { /* `end` would take a register that there is not */
                t = first;
                head++;
            }
            copy_tile<WIDTH, QUERIES, THREADS>(p, next, p.q, at.b, t, head);
            copy_tile<WIDTH, QUERIES, THREADS>(p, next + QUERY_BYTES, p.dout, at.b, t, head);
            k_copy_commit();
            next_term = row_term<QUERIES>(p, at.b, t, head);
        }
#pragma unroll
        for (int from = 0; from < QUERIES; from += SPAN) {
            if (p.causal && query0 + from + SPAN <= key0) continue; /* no query sees the warp's keys */
            if (SIGHT && query0 + from > lasts.high) continue;
            const uint32_t q = now + (uint32_t)(from * WIDTH * 2), dout = q + QUERY_BYTES;
            const float *lse = term + from + column, *minus_delta = lse + QUERIES;
            float score[BLOCKS][SPAN / 8][4], dscore[BLOCKS][SPAN / 8][4]; /* [key, query] */
            clear(score);
            if constexpr (KEEP)
                score_tile<WIDTH, SPAN>(score, k, q);
            else
                score_tiles<WIDTH, SPAN>(score, k_tile + rows, q);
            if (p.causal && query0 + from < key0 + 16 * BLOCKS - 1) mask_queries(score, key0, query0 + from);
            if (SIGHT && (!p.causal || query0 + from + SPAN - 1 > lasts.low))
                mask_seen_by(p, score, at.b, key0, query0 + from);
#pragma unroll
            for (int n = 0; n < SPAN / 8; n++) {
                const float2 x = *(const float2 *)(minus_delta + 8 * n);
#pragma unroll
                for (int m = 0; m < BLOCKS; m++)
#pragma unroll
                    for (int i = 0; i < 4; i++) dscore[m][n][i] = i % 2 ? x.y : x.x;
            }
            if constexpr (KEEP)
                score_tile<WIDTH, SPAN>(dscore, v, dout);
            else
                score_tiles<WIDTH, SPAN>(dscore, v_tile + rows, dout);
            float2 shift = {};
            add_weighted<WIDTH, SPAN>(dv, score, dout, [&](int m, int n, int i) {
                if (m == 0 && i == 0) shift = *(const float2 *)(lse + 8 * n);
                score[m][n][i] = k_exp2(score[m][n][i] * scale - (i % 2 ? shift.y : shift.x));
            });
            add_weighted<WIDTH, SPAN>(dk, dscore, q,
                                      [&](int m, int n, int i) { dscore[m][n][i] *= score[m][n][i]; });
        }
        if (more && (int)threadIdx.x < 2 * QUERIES)
            terms[(step + 1) % 2 * 2 * QUERIES + threadIdx.x] = next_term;
    }
    float factor[BLOCKS][2];
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) factor[m][0] = factor[m][1] = 1;
    store_rows<WIDTH>(p, p.dv, at.b, key0, at.head, dv, factor);
#pragma unroll
    for (int m = 0; m < BLOCKS; m++) factor[m][0] = factor[m][1] = p.scale;
    store_rows<WIDTH>(p, p.dk, at.b, key0, at.head, dk, factor);
}

/* ---- host side ---- */

/* One kernel of a block a tile of `rows`, and head. More than 48 KiB of shared memory has to be asked for. */
template <class Kernel>
static void launch(Kernel kernel, void *stream, const AttendMma *p, int rows, int heads, int warps,
                   int64_t bytes) {
    k_cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention needs more shared memory than this device has");
    K_LAUNCH(kernel, k_grid(k_cuda_ceil(p->time, rows) * p->batch * heads), 32 * warps, (size_t)bytes, stream,
             *p);
}

template <int WIDTH, int QUERIES, int KEYS, int WARPS, int RESIDENT>
static void forward(void *stream, const AttendMma *p) {
    launch(p->sight.first_key ? attend_mma_kernel<true, WIDTH, QUERIES, KEYS, WARPS, RESIDENT>
                              : attend_mma_kernel<false, WIDTH, QUERIES, KEYS, WARPS, RESIDENT>,
           stream, p, QUERIES, p->heads, WARPS, k_cuda_attend_mma_bytes(WIDTH, 1, QUERIES, KEYS));
}
/* What documents say takes registers that scores of a whole span would spill. */
static constexpr int sight_span(int span) {
    return span > 16 ? span / 2 : span;
}
template <int WIDTH, int KEYS, int QUERIES, int SPAN, int WARPS, int RESIDENT>
static void backward_kv(void *stream, const AttendMma *p) {
    launch(p->sight.first_key
               ? attend_mma_dkv_kernel<true, WIDTH, KEYS, QUERIES, sight_span(SPAN), WARPS, RESIDENT>
               : attend_mma_dkv_kernel<false, WIDTH, KEYS, QUERIES, SPAN, WARPS, RESIDENT>,
           stream, p, KEYS, p->kv_heads, WARPS, k_cuda_attend_dkv_bytes(WIDTH, KEYS, QUERIES));
}
template <int WIDTH, int QUERIES, int KEYS, int SPAN, int WARPS, int RESIDENT>
static void backward_q(void *stream, const AttendMma *p) {
    launch(p->sight.first_key
               ? attend_mma_dq_kernel<true, WIDTH, QUERIES, KEYS, sight_span(SPAN), WARPS, RESIDENT>
               : attend_mma_dq_kernel<false, WIDTH, QUERIES, KEYS, SPAN, WARPS, RESIDENT>,
           stream, p, QUERIES, p->heads, WARPS, k_cuda_attend_dq_bytes(WIDTH, QUERIES, KEYS));
}

/* A variant is launched where it is compiled. */
template <bool HAS, int... TILE> static void attend_in(void *stream, const AttendMma *p) {
    if constexpr (HAS)
        forward<TILE...>(stream, p);
    else
        k_variant_missing("attend", p->variant);
}
void k_attend_mma(void *stream, const AttendMma *p) {
#define CUDA_ATTEND(when, family, name, most, ...)                                                           \
    if (p->width <= most && K_WANTS(when, name, p->variant))                                                 \
        return attend_in<K_HAS(when, name), most, __VA_ARGS__>(stream, p);
#include "variant.def"
    k_variant_missing("attend", p->variant);
}

template <bool HAS, int WIDTH, int DKV_KEYS, int DKV_QUERIES, int DKV_SPAN, int DKV_WARPS, int DKV_RESIDENT,
          int... DQ>
static void attend_bwd_in(void *stream, const AttendMma *p) {
    if constexpr (HAS) {
        backward_q<WIDTH, DQ...>(stream, p); /* and delta */
        backward_kv<WIDTH, DKV_KEYS, DKV_QUERIES, DKV_SPAN, DKV_WARPS, DKV_RESIDENT>(stream, p);
    } else {
        k_variant_missing("attend_bwd", p->variant);
    }
}
void k_attend_mma_bwd(void *stream, const AttendMma *p) {
#define CUDA_ATTEND_BWD(when, family, name, most, ...)                                                       \
    if (p->width <= most && K_WANTS(when, name, p->variant))                                                 \
        return attend_bwd_in<K_HAS(when, name), most, __VA_ARGS__>(stream, p);
#include "variant.def"
    k_variant_missing("attend_bwd", p->variant);
}
