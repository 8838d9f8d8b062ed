/* The register blocks under every matrix product here, in GNU C vectors.
 *
 * k_panel: products of small tiles that lie in cache, with no packing: c [m, n] (+)= a [m, k] b [k, n] where
 * element (i, l) of a is a[i * a_row + l * a_column], rows of b and c are contiguous, and n is a multiple of
 * K_LANES. Every element is one sum over l in order, then added to c: which block it falls in changes no
 * bits. */
#ifndef REMAT_PANEL_H
#define REMAT_PANEL_H

#include "host.h"

/* The next loop, of a constant and small number of rounds, is unrolled whole. */
#ifdef __clang__
#define K_UNROLL _Pragma("unroll")
#else
#define K_UNROLL _Pragma("GCC unroll 16")
#endif

/* K_REG numbers fill a vector register; rows x vecs sums, vecs registers of b and one number of a fill them
 * all. A block is a multiple of K_LANES wide. */
#if defined __AVX512F__
enum { K_REG_BYTES = 64, K_PANEL_ROWS = 8, K_FLOAT_VECS = 3 };
#elif defined __AVX__
enum { K_REG_BYTES = 32, K_PANEL_ROWS = 6, K_FLOAT_VECS = 2 };
#else
enum { K_REG_BYTES = 16, K_PANEL_ROWS = 2, K_FLOAT_VECS = 4 };
#endif
enum { K_REG = K_REG_BYTES / sizeof(real), K_PANEL_VECS = K_REAL_IS_DOUBLE ? K_LANES / K_REG : K_FLOAT_VECS };
typedef real KReg __attribute__((vector_size(K_REG_BYTES), aligned(sizeof(real)), may_alias));

/* rows and vecs are constants at every call, so the block stays in registers. */
static inline __attribute__((always_inline)) void
k_panel_block(const int rows, const int vecs, int64_t k, const real *a, int64_t a_row, int64_t a_column,
              const real *b, int64_t b_stride, int adds, real *c, int64_t c_stride) {
    KReg sum[K_PANEL_ROWS][K_PANEL_VECS];
    K_UNROLL
    for (int i = 0; i < rows; i++) {
        K_UNROLL
        for (int j = 0; j < vecs; j++) sum[i][j] = (KReg){0};
    }
    for (int64_t l = 0; l < k; l++) {
        K_UNROLL
        for (int i = 0; i < rows; i++) {
            K_UNROLL
            for (int j = 0; j < vecs; j++)
                sum[i][j] += a[i * a_row + l * a_column] * *(const KReg *)(b + l * b_stride + j * K_REG);
        }
    }
    K_UNROLL
    for (int i = 0; i < rows; i++) {
        K_UNROLL
        for (int j = 0; j < vecs; j++) {
            KReg *to = (KReg *)(c + i * c_stride + j * K_REG);
            if (adds) sum[i][j] += *to;
            *to = sum[i][j];
        }
    }
}

/* vecs vectors of columns, all rows. */
static inline __attribute__((always_inline)) void
k_panel_columns(const int vecs, int64_t m, int64_t k, const real *a, int64_t a_row, int64_t a_column,
                const real *b, int64_t b_stride, int adds, real *c, int64_t c_stride) {
    int64_t i = 0;
    for (; i + K_PANEL_ROWS <= m; i += K_PANEL_ROWS)
        k_panel_block(K_PANEL_ROWS, vecs, k, a + i * a_row, a_row, a_column, b, b_stride, adds,
                      c + i * c_stride, c_stride);
    for (; i < m; i++)
        k_panel_block(1, vecs, k, a + i * a_row, a_row, a_column, b, b_stride, adds, c + i * c_stride,
                      c_stride);
}

static inline void k_panel(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_column,
                           const real *b, int64_t b_stride, int adds, real *c, int64_t c_stride) {
    enum { WIDE = K_PANEL_VECS, LESS = K_PANEL_VECS > 2 ? 2 : 1 };
    int64_t left = n / K_REG;
    for (; left >= WIDE && left != WIDE + 1; left -= WIDE, b += WIDE * K_REG, c += WIDE * K_REG)
        k_panel_columns(WIDE, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
    for (; left >= LESS; left -= LESS, b += LESS * K_REG, c += LESS * K_REG)
        k_panel_columns(LESS, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
    for (; left > 0; left--, b += K_REG, c += K_REG)
        k_panel_columns(1, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
}

/* A square of as many floats a side as fill a register, turned. */
enum { K_SIDE = K_REG_BYTES / sizeof(float) };
#if defined __AVX512F__
/* Four columns at a time are loaded to where they belong, row 4 lane + j to its lane, and turned within the
 * lanes. */
static inline void k_transpose_square(const float *from, int64_t from_stride, float *to, int64_t to_stride) {
    for (int64_t column = 0; column < K_SIDE; column += 4, from += 4, to += 4 * to_stride) {
        __m512 row[4];
        K_UNROLL
        for (int j = 0; j < 4; j++) {
            row[j] = _mm512_castps128_ps512(_mm_loadu_ps(from + j * from_stride));
            K_UNROLL
            for (int lane = 1; lane < 4; lane++)
                row[j] = _mm512_mask_broadcast_f32x4(row[j], (__mmask16)(0xf << 4 * lane),
                                                     _mm_loadu_ps(from + (4 * lane + j) * from_stride));
        }
        const __m512d low[2] = {(__m512d)_mm512_unpacklo_ps(row[0], row[1]),
                                (__m512d)_mm512_unpacklo_ps(row[2], row[3])};
        const __m512d high[2] = {(__m512d)_mm512_unpackhi_ps(row[0], row[1]),
                                 (__m512d)_mm512_unpackhi_ps(row[2], row[3])};
        _mm512_storeu_ps(to, (__m512)_mm512_unpacklo_pd(low[0], low[1]));
        _mm512_storeu_ps(to + to_stride, (__m512)_mm512_unpackhi_pd(low[0], low[1]));
        _mm512_storeu_ps(to + 2 * to_stride, (__m512)_mm512_unpacklo_pd(high[0], high[1]));
        _mm512_storeu_ps(to + 3 * to_stride, (__m512)_mm512_unpackhi_pd(high[0], high[1]));
    }
}
#else
/* log2(side) rounds of merging row i with row i + side/2 */
typedef float KFloats __attribute__((vector_size(K_REG_BYTES), aligned(sizeof(float)), may_alias));
#if defined __AVX__
enum { K_SIDE_ROUNDS = 3 };
#define K_MERGE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define K_MERGE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
enum { K_SIDE_ROUNDS = 2 };
#define K_MERGE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define K_MERGE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

static inline void k_transpose_square(const float *from, int64_t from_stride, float *to, int64_t to_stride) {
    KFloats x[K_SIDE], y[K_SIDE];
    K_UNROLL
    for (int i = 0; i < K_SIDE; i++) x[i] = *(const KFloats *)(from + i * from_stride);
    K_UNROLL
    for (int round = 0; round < K_SIDE_ROUNDS; round++) {
        K_UNROLL
        for (int i = 0; i < K_SIDE / 2; i++) {
            y[2 * i] = K_MERGE_LOW(x[i], x[i + K_SIDE / 2]);
            y[2 * i + 1] = K_MERGE_HIGH(x[i], x[i + K_SIDE / 2]);
        }
        K_UNROLL
        for (int i = 0; i < K_SIDE; i++) x[i] = y[i];
    }
    K_UNROLL
    for (int i = 0; i < K_SIDE; i++) *(KFloats *)(to + i * to_stride) = x[i];
}
#endif

/* to[j][i] = from[i][j] of K_LANES x K_LANES numbers. */
static inline void k_transpose(const real *from, int64_t from_stride, real *to, int64_t to_stride) {
    const int step = K_REAL_IS_DOUBLE ? 1 : K_SIDE;
    for (int i = 0; i < K_LANES; i += step)
        for (int j = 0; j < K_LANES; j += step) {
            const real *x = from + i * from_stride + j;
            real *y = to + j * to_stride + i;
            if (K_REAL_IS_DOUBLE)
                *y = *x;
            else
                k_transpose_square((const float *)(const void *)x, from_stride, (float *)(void *)y,
                                   to_stride);
        }
}

#endif
