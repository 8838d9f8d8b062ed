/* What the kernels of attention on tensor cores share: operands, tiles in shared memory, products.
 *
 * A tile is rows of WIDTH bf16 in shared memory, brought by asynchronous copies; rows past the end of the
 * sequence and columns past the width of a head are zero. Its chunks of 16 bytes are swizzled: chunk c of row
 * r lies where chunk c ^ r % 8 would, so the eight rows of a matrix that ldmatrix reads at once lie in
 * different banks:
 *
 *     row 0   0 1 2 3 4 5 6 7
 *     row 1   1 0 3 2 5 4 7 6
 *     row 2   2 3 0 1 6 7 4 5   ...
 *
 * A warp owns BLOCKS * 16 rows of a product; a block's results are f32 [columns / 8][4], as k_mma leaves
 * them: lane / 4 and lane / 4 + 8 are the rows, 8 n + 2 (lane % 4) and the next the columns. */
#ifndef REMAT_ATTENTION_MMA_CUH
#define REMAT_ATTENTION_MMA_CUH

#include "attention_mma.h"
#include "tensor_core.cuh"

static __device__ inline int lane_of(void) {
    return (int)threadIdx.x % 32;
}
static __device__ inline int warp_of(void) {
    return (int)threadIdx.x / 32;
}

/* One token's row of a head, from a column on. */
static __device__ inline uint16_t *row_of(const AttendMma &p, AttendRows x, int b, int t, int head,
                                          int column = 0) {
    return x.at + (((int64_t)b * p.time + t) * x.stride + (head * p.width + column));
}

/* ---- tiles ---- */

template <int WIDTH> static __device__ inline uint32_t chunk_address(uint32_t tile, int row, int chunk) {
    return tile + (uint32_t)(row * WIDTH * 2) + (uint32_t)((chunk ^ (row % 8)) * 16);
}

/* Rows [t, t + ROWS) of a head: issued, not yet there. */
template <int WIDTH, int ROWS, int THREADS>
static __device__ inline void copy_tile(const AttendMma &p, uint32_t tile, AttendRows from, int b, int t,
                                        int head) {
    constexpr int CHUNKS = WIDTH / 8, STEP = THREADS / CHUNKS;
    static_assert(STEP % 8 == 0 && ROWS % STEP == 0, "a thread's rows have one swizzle");
    const int first = (int)threadIdx.x / CHUNKS, chunk = (int)threadIdx.x % CHUNKS;
    const int64_t step = STEP * from.stride;
    const uint16_t *row = row_of(p, from, b, t + first, head, chunk * 8);
    const uint32_t to = chunk_address<WIDTH>(tile, first, chunk);
    const int rows = chunk * 8 < p.width ? p.time - t - first : 0;
#pragma unroll
    for (int i = 0; i < ROWS; i += STEP) {
        k_copy_async(to + (uint32_t)(i * WIDTH * 2), row, i < rows);
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

/* ---- products ---- */

/* A operands: rows [0, 16) of the tile, all of the width. */
template <int WIDTH> static __device__ inline void load_rows(uint32_t (&a)[WIDTH / 16][4], uint32_t tile) {
    const uint32_t corner = corner_of<WIDTH>(tile, true);
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) k_ldmatrix(a[k], corner_at<WIDTH>(corner, 0, k));
}

template <int BLOCKS, int N> static __device__ inline void clear(float (&c)[BLOCKS][N][4]) {
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0;
}

/* score += a times the tile's rows: [16 BLOCKS, WIDTH] [ROWS, WIDTH]^T */
template <int WIDTH, int ROWS, int BLOCKS>
static __device__ inline void score_tile(float (&score)[BLOCKS][ROWS / 8][4],
                                         const uint32_t (&a)[BLOCKS][WIDTH / 16][4], uint32_t tile) {
    const uint32_t corner = corner_of<WIDTH>(tile, false);
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++)
#pragma unroll
        for (int n = 0; n < ROWS / 16; n++) {
            uint32_t b[4];
            k_ldmatrix(b, corner_at<WIDTH>(corner, n, k));
#pragma unroll
            for (int m = 0; m < BLOCKS; m++) {
                k_mma(score[m][2 * n], a[m][k], b[0], b[1]);
                k_mma(score[m][2 * n + 1], a[m][k], b[2], b[3]);
            }
        }
}

/* The same with a read from rows [0, 16 BLOCKS) of a tile as it is needed. */
template <int WIDTH, int ROWS, int BLOCKS>
static __device__ inline void score_tiles(float (&score)[BLOCKS][ROWS / 8][4], uint32_t a_tile,
                                          uint32_t tile) {
    const uint32_t corner = corner_of<WIDTH>(tile, false), a_corner = corner_of<WIDTH>(a_tile, true);
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        uint32_t a[BLOCKS][4];
#pragma unroll
        for (int m = 0; m < BLOCKS; m++) k_ldmatrix(a[m], corner_at<WIDTH>(a_corner, m, k));
#pragma unroll
        for (int n = 0; n < ROWS / 16; n++) {
            uint32_t b[4];
            k_ldmatrix(b, corner_at<WIDTH>(corner, n, k));
#pragma unroll
            for (int m = 0; m < BLOCKS; m++) {
                k_mma(score[m][2 * n], a[m], b[0], b[1]);
                k_mma(score[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* sum += weight, rounded to bf16, times the tile: [16 BLOCKS, ROWS] [ROWS, WIDTH]. The lane's weights of
 * columns [16 k, 16 k + 16) are made by make(m, n, i) for all of weight[m][n][i], n = 2 k or 2 k + 1, while
 * the tensor cores use those of the 16 columns before. */
template <int WIDTH, int ROWS, int BLOCKS, class Make>
static __device__ inline void add_weighted(float (&sum)[BLOCKS][WIDTH / 8][4],
                                           const float (&weight)[BLOCKS][ROWS / 8][4], uint32_t tile,
                                           const Make &make) {
    constexpr int STEPS = WIDTH / 16, ALL = 8 * BLOCKS, EACH = ALL / STEPS;
    static_assert(ALL % STEPS == 0, "as many weights in every step");
    const uint32_t corner = corner_of<WIDTH>(tile, true);
#pragma unroll
    for (int e = 0; e < ALL; e++) make(e / 4 % BLOCKS, e / (4 * BLOCKS), e % 4);
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++) {
        uint32_t a[BLOCKS][4];
#pragma unroll
        for (int m = 0; m < BLOCKS; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] =
                    k_pack_bf16(weight[m][2 * k + i / 2][i % 2 * 2], weight[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < STEPS; n++) {
            uint32_t b[4];
            k_ldmatrix_transposed(b, corner_at<WIDTH>(corner, k, n));
#pragma unroll
            for (int m = 0; m < BLOCKS; m++) {
                k_mma(sum[m][2 * n], a[m], b[0], b[1]);
                k_mma(sum[m][2 * n + 1], a[m], b[2], b[3]);
            }
#pragma unroll
            for (int e = n * EACH; k + 1 < ROWS / 16 && e < (n + 1) * EACH; e++)
                make(e / 4 % BLOCKS, 2 * (k + 1) + e / (4 * BLOCKS), e % 4);
        }
    }
}

/* ---- results ---- */

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

/* A warp's rows [t, t + 16 BLOCKS) of a head, times factor[m][0] for rows lane / 4, [1] for the other eight.
 */
template <int WIDTH, int BLOCKS>
static __device__ inline void store_rows(const AttendMma &p, AttendRows to, int b, int t, int head,
                                         const float (&sum)[BLOCKS][WIDTH / 8][4],
                                         const float (&factor)[BLOCKS][2]) {
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = t + 16 * m + 8 * half + lane_of() / 4;
            const float f = factor[m][half];
            uint16_t *at = row_of(p, to, b, row, head);
#pragma unroll
            for (int n = 0; n < WIDTH / 8; n += 4) {
                uint32_t x[4];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    x[i] = k_pack_bf16(sum[m][n + i][2 * half] * f, sum[m][n + i][2 * half + 1] * f);
                turn_quad(x);
                const int column = (n + lane_of() % 4) * 8;
                if (row < p.time && column < p.width)
                    *(uint4 *)(at + column) = make_uint4(x[0], x[1], x[2], x[3]);
            }
        }
}

#endif
