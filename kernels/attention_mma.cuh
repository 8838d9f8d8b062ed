/* What the kernels of attention on tensor cores share: operands, and what of tiles and products
 * (mma_tiles.cuh) is theirs alone. Rows past the end of the sequence and columns past the width of a head are
 * zero. */
#ifndef REMAT_ATTENTION_MMA_CUH
#define REMAT_ATTENTION_MMA_CUH

#include "attention_mma.h"
#include "mma_tiles.cuh"

/* One token's row of a head, from a column on. */
static __device__ inline uint16_t *row_of(const AttendMma &p, AttendRows x, int b, int t, int head,
                                          int column = 0) {
    return x.at + (((int64_t)b * p.time + t) * x.stride + (head * p.width + column));
}

/* ---- tiles ---- */

/* Rows [t, t + ROWS) of a head: issued, not yet there. */
template <int WIDTH, int ROWS, int THREADS>
static __device__ inline void copy_tile(const AttendMma &p, uint32_t tile, AttendRows from, int b, int t,
                                        int head) {
    copy_rows<WIDTH, ROWS, THREADS>(
        tile, from.stride, [&](int row, int column) { return row_of(p, from, b, t + row, head, column); },
        [&](int row, int column) { return column < p.width ? p.time - t - row : 0; });
}

/* ---- products ---- */

/* A operands: rows [0, 16) of the tile, all of the width. */
template <int WIDTH> static __device__ inline void load_rows(uint32_t (&a)[WIDTH / 16][4], uint32_t tile) {
    const uint32_t corner = corner_of<WIDTH>(tile, true);
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) k_ldmatrix(a[k], corner_at<WIDTH>(corner, 0, k));
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
