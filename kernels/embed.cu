/* Token embedding and its gradient on CUDA. The gradient sorts the positions by token with a stable radix
 * sort in the workspace, so the rows of one token stay in order of position; the blocks at a token's first
 * position sum its rows in f32, in parts that follow from their number alone, and add the sum to its row of
 * dw: one rounding, no atomics, the same bits every time. Tokens outside the vocabulary read as NaN and
 * receive no gradient: they sort as token V. */
#include "cuda.cuh"

enum { TILE = K_CUDA_SORT_TILE, RADIX = K_CUDA_SORT_TILE, RADIX_BITS = 8, SCAN_THREADS = 1024 };
constexpr int EMBED_THREADS = 256;
constexpr int SUM_GROUPS = 32,
              SUM_PARTS = 8; /* a block of the gradient: groups of columns, parts of the rows */
constexpr int SUM_ROWS = 4;  /* rows of which a thread loads its columns at once */

template <int N, class Y, class W>
__global__ void embed_kernel(Y *y, const int32_t *token, const W *w, int64_t width, int64_t vocabulary) {
    const int64_t row = blockIdx.x, from = token[row];
    const int64_t i = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (i >= width) return;
    float x[N];
    if (from >= 0 && from < vocabulary) {
        const KPack<W, N> pack = k_load_pack<N>(w + from * width + i);
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = pack.get(j);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = NAN;
    }
    k_store_pack<Y, N>(y + row * width + i, x);
}
template <int N>
static void launch_embed(const KCtx *cx, const KTensor *y, const KTensor *token, const KTensor *w) {
    const int64_t width = k_last(y);
    const int threads = k_even_threads(width / N, EMBED_THREADS);
    const dim3 grid = k_grid(k_count(token), k_cuda_ceil(width / N, threads));
    k_by_type(y->dtype, [&](auto a) {
        k_by_type(w->dtype, [&](auto b) {
            using Y = decltype(a);
            using W = decltype(b);
            K_LAUNCH((embed_kernel<N, Y, W>), grid, threads, 0, cx->stream, (Y *)y->data,
                     (const int32_t *)token->data, (const W *)w->data, width, w->dim[0]);
        });
    });
}
void k_embed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    if (k_count(&out[0]) == 0) return;
    if (k_last(&out[0]) % K_PACK == 0)
        launch_embed<K_PACK>(cx, &out[0], &in[0], &in[1]);
    else
        launch_embed<1>(cx, &out[0], &in[0], &in[1]);
}

/* ---- sorting positions by token ---- */

struct Sort {
    const int32_t *token;
    int32_t *count; /* [RADIX, tiles]: positions of a digit in a tile, then where they go */
    int64_t positions, tiles;
    int32_t vocabulary;
};

static __device__ inline uint32_t sort_key(const Sort &s, int64_t position) {
    const int32_t token = s.token[position];
    return (uint32_t)(token >= 0 && token < s.vocabulary ? token : s.vocabulary);
}
/* The tile's digits into shared memory; RADIX past the end. Yields this thread's. */
static __device__ inline int tile_digits(const Sort &s, const int32_t *order, int shift, int *digit) {
    const int64_t at = (int64_t)blockIdx.x * TILE + threadIdx.x;
    int mine = RADIX;
    if (at < s.positions) mine = (int)(sort_key(s, order ? order[at] : at) >> shift) & (RADIX - 1);
    digit[threadIdx.x] = mine;
    __syncthreads();
    return mine;
}
__global__ void sort_count_kernel(Sort s, const int32_t *order, int shift) {
    K_SHARED(int, digit);
    tile_digits(s, order, shift, digit);
    int count = 0;
    for (int i = 0; i < TILE; i++) count += digit[i] == (int)threadIdx.x;
    s.count[threadIdx.x * s.tiles + blockIdx.x] = count;
}
/* count[i] = sum of the counts before i, by one block: a thread sums a stretch, all stretches are scanned. */
__global__ void sort_scan_kernel(int32_t *count, int64_t n) {
    K_SHARED(int, sum);
    const int me = (int)threadIdx.x;
    const int64_t beg = n * me / SCAN_THREADS, end = n * (me + 1) / SCAN_THREADS;
    int mine = 0;
    for (int64_t i = beg; i < end; i++) mine += count[i];
    sum[me] = mine;
    __syncthreads();
    for (int reach = 1; reach < SCAN_THREADS; reach *= 2) {
        const int before = me >= reach ? sum[me - reach] : 0;
        __syncthreads();
        sum[me] += before;
        __syncthreads();
    }
    int start = sum[me] - mine;
    for (int64_t i = beg; i < end; i++) {
        const int here = count[i];
        count[i] = start;
        start += here;
    }
}
__global__ void sort_move_kernel(Sort s, const int32_t *order, int32_t *to, int shift) {
    K_SHARED(int, digit);
    const int64_t at = (int64_t)blockIdx.x * TILE + threadIdx.x;
    const int mine = tile_digits(s, order, shift, digit);
    if (at >= s.positions) return;
    int rank = 0;
    for (int i = 0; i < (int)threadIdx.x; i++) rank += digit[i] == mine;
    to[s.count[mine * s.tiles + blockIdx.x] + rank] = order ? order[at] : (int32_t)at;
}

/* ---- gradient ---- */

/* One past the last position in order whose token is that of `first`: steps twice as long each time, then
 * halves. */
static __device__ inline int64_t token_end(const Sort &s, const int32_t *order, int64_t first,
                                           uint32_t token) {
    int64_t step = 1, in = first; /* the last that is known to be the token's */
    while (in + step < s.positions && sort_key(s, order[in + step]) == token) {
        in += step;
        step *= 2;
    }
    for (; step > 0; step /= 2)
        if (in + step < s.positions && sort_key(s, order[in + step]) == token) in += step;
    return in + 1;
}

/* dw[token] += the sum of dy over the positions of the token, by the blocks of its first one */
template <int N, class T>
__global__ void embed_bwd_kernel(KView dw, const T *dy, Sort s, const int32_t *order, int64_t width) {
    K_SHARED(float, tile); /* [SUM_PARTS, SUM_GROUPS * N] */
    constexpr int COLUMNS = SUM_GROUPS * N, STEP = SUM_PARTS * SUM_ROWS;
    const int64_t first = blockIdx.x;
    const uint32_t token = sort_key(s, order[first]);
    if (token == (uint32_t)s.vocabulary) return;
    if (first > 0 && sort_key(s, order[first - 1]) == token) return;
    const int64_t end = token_end(s, order, first, token);
    const int group = (int)threadIdx.x % SUM_GROUPS, part = (int)threadIdx.x / SUM_GROUPS;
    for (int64_t start = (int64_t)blockIdx.y * COLUMNS; start < width;
         start += (int64_t)gridDim.y * COLUMNS) {
        const int64_t column = start + group * N;
        float sum[N] = {};
        for (int64_t r = first + part; column < width && r < end; r += STEP) {
            KPack<T, N> x[SUM_ROWS];
#pragma unroll
            for (int i = 0; i < SUM_ROWS; i++) {
                x[i] = {};
                if (r + i * SUM_PARTS < end)
                    x[i] = k_load_pack<N>(dy + order[r + i * SUM_PARTS] * width + column);
            }
#pragma unroll
            for (int i = 0; i < SUM_ROWS; i++)
#pragma unroll
                for (int j = 0; j < N; j++) sum[j] += x[i].get(j);
        }
#pragma unroll
        for (int j = 0; j < N; j++) tile[part * COLUMNS + group * N + j] = sum[j];
        __syncthreads();
        const int mine = (int)threadIdx.x; /* COLUMNS is at most the block's threads */
        if (mine < COLUMNS && start + mine < width) {
            const int64_t at = (int64_t)token * width + start + mine;
            float total = 0;
#pragma unroll
            for (int i = 0; i < SUM_PARTS; i++) total += tile[i * COLUMNS + mine];
            k_put(dw, at, total + k_get(dw, at));
        }
        __syncthreads(); /* tile is used again */
    }
}

/* dy [.., D], tokens [..], acc? -> dw [V, D] */
void k_embed_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout;
    const int64_t positions = k_count(&in[1]), width = k_last(&out[0]), vocabulary = out[0].dim[0];
    const size_t element_bytes = out[0].dtype == K_F32 ? 4 : 2;
    if (!(nin > 2 && k_adds(cx, attr)))
        k_cuda_check(cudaMemsetAsync(out[0].data, 0, (size_t)k_count(&out[0]) * element_bytes,
                                     (cudaStream_t)cx->stream),
                     "embed_bwd");
    if (positions * width == 0) return;
    int32_t *order = (int32_t *)cx->workspace, *spare = order + positions;
    const int64_t tiles = k_cuda_sort_tiles(positions);
    const Sort s = {(const int32_t *)in[1].data, spare + positions, positions, tiles, (int32_t)vocabulary};
    const size_t shared_bytes = TILE * sizeof(int);
    for (int shift = 0; shift == 0 || vocabulary >> shift > 0; shift += RADIX_BITS) {
        const int32_t *from = shift ? order : NULL; /* at first in order of position */
        K_LAUNCH(sort_count_kernel, k_grid(tiles), TILE, shared_bytes, cx->stream, s, from, shift);
        K_LAUNCH(sort_scan_kernel, k_grid(1), SCAN_THREADS, SCAN_THREADS * sizeof(int), cx->stream, s.count,
                 RADIX * tiles);
        K_LAUNCH(sort_move_kernel, k_grid(tiles), TILE, shared_bytes, cx->stream, s, from, spare, shift);
        int32_t *swap = order;
        order = spare;
        spare = swap;
    }
    const int64_t columns = SUM_GROUPS * (width % K_PACK ? 1 : K_PACK);
    const int threads = SUM_GROUPS * SUM_PARTS;
    const size_t tile_bytes = SUM_PARTS * (size_t)columns * sizeof(float);
    const dim3 grid = k_grid(positions, k_cuda_clamp(k_cuda_ceil(width, columns), 1, UINT16_MAX));
    k_by_type(in[0].dtype, [&](auto t) {
        using T = decltype(t);
        const T *dy = (const T *)in[0].data;
        if (width % K_PACK == 0)
            K_LAUNCH((embed_bwd_kernel<K_PACK, T>), grid, threads, tile_bytes, cx->stream, k_view(&out[0]),
                     dy, s, (const int32_t *)order, width);
        else
            K_LAUNCH((embed_bwd_kernel<1, T>), grid, threads, tile_bytes, cx->stream, k_view(&out[0]), dy, s,
                     (const int32_t *)order, width);
    });
}
