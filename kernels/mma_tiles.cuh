/* Tiles of bf16 in shared memory, and products of them on tensor cores.
 *
 * A tile is rows of WIDTH bf16, brought by asynchronous copies or stored. Its chunks of 16 bytes are
 * swizzled: chunk c of row r lies where chunk c ^ r % 8 would, so the eight rows of a matrix that ldmatrix
 * reads at once lie in different banks:
 *
 *     row 0   0 1 2 3 4 5 6 7
 *     row 1   1 0 3 2 5 4 7 6
 *     row 2   2 3 0 1 6 7 4 5   ...
 *
 * A warp owns BLOCKS * 16 rows of a product; a block's results are f32 [columns / 8][4], as k_mma leaves
 * them: lane / 4 and lane / 4 + 8 are the rows, 8 n + 2 (lane % 4) and the next the columns. */
#ifndef REMAT_MMA_TILES_CUH
#define REMAT_MMA_TILES_CUH

#include "cuda.cuh"
#include "tensor_core.cuh"

static __device__ inline int lane_of(void) {
    return (int)threadIdx.x % 32;
}
static __device__ inline int warp_of(void) {
    return (int)threadIdx.x / 32;
}

/* ---- tiles ---- */

template <int WIDTH> static __device__ inline uint32_t chunk_address(uint32_t tile, int row, int chunk) {
    return tile + (uint32_t)(row * WIDTH * 2) + (uint32_t)((chunk ^ (row % 8)) * 16);
}

/* ROWS rows, `stride` elements apart: issued, not yet there. Of a thread's first chunk, from(row, column) is
 * where it lies and rows(row, column) how many rows there are from its own on: those after them are zero. */
template <int WIDTH, int ROWS, int THREADS, class From, class Rows>
static __device__ inline void copy_rows(uint32_t tile, int64_t stride, const From &from, const Rows &rows) {
    constexpr int CHUNKS = WIDTH / 8, STEP = THREADS / CHUNKS;
    static_assert(STEP % 8 == 0 && ROWS % STEP == 0, "a thread's rows have one swizzle");
    const int first = (int)threadIdx.x / CHUNKS, chunk = (int)threadIdx.x % CHUNKS;
    const int64_t step = STEP * stride;
    const uint16_t *row = from(first, chunk * 8);
    const uint32_t to = chunk_address<WIDTH>(tile, first, chunk);
    const int left = rows(first, chunk * 8);
#pragma unroll
    for (int i = 0; i < ROWS; i += STEP) {
        k_copy_async(to + (uint32_t)(i * WIDTH * 2), row, i < left);
        row += step;
    }
}

/* Where a lane's row of an ldmatrix lies in the first rows and pair of chunks of a tile. `across`: matrices 0
 * to 3 are rows 0-7 and 8-15 of chunk 0, then of chunk 1 (A operands, and B operands read transposed); else
 * both chunks of rows 0-7, then of rows 8-15 (B operands as they lie). */
template <int WIDTH> static __device__ inline uint32_t corner_of(uint32_t tile, bool across) {
    const int lane = lane_of();
    return across ? chunk_address<WIDTH>(tile, lane % 16, lane / 16)
                  : chunk_address<WIDTH>(tile, lane / 16 * 8 + lane % 8, lane / 8 % 2);
}
/* The same in rows [16 rows, ..) and chunks 2 pair, 2 pair + 1. Tiles begin at multiples of a row's bytes, so
 * the chunk is bits of the address. */
template <int WIDTH> static __device__ inline uint32_t corner_at(uint32_t corner, int rows, int pair) {
    return (corner ^ (uint32_t)(pair * 32)) + (uint32_t)(rows * 16 * WIDTH * 2);
}

/* ---- results ---- */

template <int BLOCKS, int N> static __device__ inline void clear(float (&c)[BLOCKS][N][4]) {
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0;
}

/* The four lanes of a row hold word i of part i', each of four parts: lane i' gets the four words of part i'.
 */
static __device__ inline void turn_quad(uint32_t (&x)[4]) {
    const bool odd = lane_of() % 2 != 0, high = lane_of() % 4 >= 2;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t got = __shfl_xor_sync(0xffffffffu, high ? x[i] : x[i + 2], 2);
        if (high)
            x[i] = got;
        else
            x[i + 2] = got;
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? x[i] : x[i + 1], 1);
        if (odd)
            x[i] = got;
        else
            x[i + 1] = got;
    }
}

#endif
