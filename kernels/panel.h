/* The register blocks under every matrix product here, in GNU C vectors.
 *
 * k_panel: products of small tiles that lie in cache, with no packing: c [m, n] (+)= a [m, k] b [k, n] where
 * element (i, l) of a is a[i * a_row + l * a_column], rows of b and c are contiguous, and n is a multiple of
 * K_LANES. Every element is one sum over l in order, then added to c: which block it falls in changes no
 * bits. */
#ifndef REMAT_PANEL_H
#define REMAT_PANEL_H

#include "host.h"

/* rows x (vecs K_LANES) accumulators, vecs numbers of b and one of a fill the vector registers. */
#ifdef __AVX512F__
enum { K_PANEL_ROWS = 8, K_PANEL_VECS = 3 };
#else
enum { K_PANEL_ROWS = 6, K_PANEL_VECS = 1 };
#endif

/* rows and vecs are constants at every call, so the block stays in registers. */
static inline __attribute__((always_inline)) void
k_panel_block(const int rows, const int vecs, int64_t k, const real *a, int64_t a_row, int64_t a_column,
              const real *b, int64_t b_stride, int adds, real *c, int64_t c_stride) {
    KVec sum[K_PANEL_ROWS][K_PANEL_VECS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vecs; j++) sum[i][j] = (KVec){0};
    for (int64_t l = 0; l < k; l++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
            for (int j = 0; j < vecs; j++)
                sum[i][j] += a[i * a_row + l * a_column] * *(const KVec *)(b + l * b_stride + j * K_LANES);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vecs; j++) {
            KVec *to = (KVec *)(c + i * c_stride + j * K_LANES);
            if (adds) sum[i][j] += *to;
            *to = sum[i][j];
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
    int64_t left = n / K_LANES;
    for (; left >= K_PANEL_VECS && left != K_PANEL_VECS + 1; left -= K_PANEL_VECS) {
        k_panel_columns(K_PANEL_VECS, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
        b += K_PANEL_VECS * K_LANES, c += K_PANEL_VECS * K_LANES;
    }
#ifdef __AVX512F__
    for (; left >= 2; left -= 2) {
        k_panel_columns(2, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
        b += 2 * K_LANES, c += 2 * K_LANES;
    }
#endif
    for (; left > 0; left--) {
        k_panel_columns(1, m, k, a, a_row, a_column, b, b_stride, adds, c, c_stride);
        b += K_LANES, c += K_LANES;
    }
}

/* to[j][i] = from[i][j] of K_LANES x K_LANES numbers: four rounds of merging row i with row i + 8. */
static inline void k_transpose(const real *from, int64_t from_stride, real *to, int64_t to_stride) {
    KVec x[K_LANES], y[K_LANES];
#pragma GCC unroll 16
    for (int i = 0; i < K_LANES; i++) x[i] = *(const KVec *)(from + i * from_stride);
#pragma GCC unroll 4
    for (int round = 0; round < 4; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < K_LANES / 2; i++) {
            const KVec low = x[i], high = x[i + K_LANES / 2];
            y[2 * i] =
                __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            y[2 * i + 1] = __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                                   14, 30, 15, 31);
        }
#pragma GCC unroll 16
        for (int i = 0; i < K_LANES; i++) x[i] = y[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < K_LANES; i++) *(KVec *)(to + i * to_stride) = x[i];
}

#endif
