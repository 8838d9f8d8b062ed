/* Token embedding and its gradient on CUDA. The gradient sorts the positions by token with a stable radix
 * sort in the workspace, so the rows of one token stay in order of position; the block at a token's first
 * position sums its rows in f32 and adds the sum to its row of dw: one rounding, no atomics, the same bits
 * every time. Tokens outside the vocabulary read as NaN and receive no gradient: they sort as token V. */
#include "cuda.cuh"

enum { TILE = K_CUDA_SORT_TILE, RADIX = K_CUDA_SORT_TILE, RADIX_BITS = 8, SCAN_THREADS = 1024 };

__global__ void embed_kernel(KView y, const int32_t *token, KView w, int64_t width, int64_t vocabulary) {
    const int64_t row = blockIdx.x, from = token[row];
    const bool valid = from >= 0 && from < vocabulary;
    for (int64_t i = (int64_t)threadIdx.x * 4; i < width; i += (int64_t)blockDim.x * 4) {
        const int n = k_chunk(i, width);
        K4 x = {{NAN, NAN, NAN, NAN}};
        if (valid) x = k_load4(w, from * width + i, n);
        k_store4(y, row * width + i, n, x);
    }
}
void k_embed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    const int64_t rows = k_count(&in[0]), width = k_last(&out[0]);
    if (rows * width == 0) return;
    K_LAUNCH(embed_kernel, k_grid(rows), k_row_threads(width), 0, cx->stream, k_view(&out[0]),
             (const int32_t *)in[0].data, k_view(&in[1]), width, in[1].dim[0]);
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

/* dw[token] += the sum of dy over the positions of the token, by the block of its first one */
__global__ void embed_bwd_kernel(KView dw, KView dy, Sort s, const int32_t *order, int64_t width) {
    const int64_t first = blockIdx.x;
    const uint32_t token = sort_key(s, order[first]);
    if (token == (uint32_t)s.vocabulary) return;
    if (first > 0 && sort_key(s, order[first - 1]) == token) return;
    int64_t end = first + 1;
    while (end < s.positions && sort_key(s, order[end]) == token) end++;
    for (int64_t i = (int64_t)threadIdx.x * 4; i < width; i += (int64_t)blockDim.x * 4) {
        const int n = k_chunk(i, width);
        K4 sum = {{0, 0, 0, 0}};
#pragma unroll 4
        for (int64_t r = first; r < end; r++) {
            const K4 x = k_load4(dy, order[r] * width + i, n);
#pragma unroll
            for (int j = 0; j < 4; j++) sum.at[j] += x.at[j];
        }
        const K4 old = k_load4(dw, token * width + i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) sum.at[j] += old.at[j];
        k_store4(dw, token * width + i, n, sum);
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
    K_LAUNCH(embed_bwd_kernel, k_grid(positions), k_row_threads(width), 0, cx->stream, k_view(&out[0]),
             k_view(&in[0]), s, (const int32_t *)order, width);
}
