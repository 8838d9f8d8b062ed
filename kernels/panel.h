/* Products of small tiles that lie in cache, with no packing: c [m, n] (+)= a [m, k] b [k, n] where element
 * (i, l) of a is a[i * a_row + l * a_column], rows of b and c are contiguous, and n is a multiple of K_LANES.
 * Every element sums over l in order, whatever the shape of the register block. */
#ifndef REMAT_PANEL_H
#define REMAT_PANEL_H

#include "host.h"

#ifdef __AVX512F__
enum { K_PANEL_ROWS = 8, K_PANEL_VECS = 2 };
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
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++)
            sum[i][j] = adds ? *(const KVec *)(c + i * c_stride + j * K_LANES) : (KVec){0};
    for (int64_t l = 0; l < k; l++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vecs; j++)
                sum[i][j] += a[i * a_row + l * a_column] * *(const KVec *)(b + l * b_stride + j * K_LANES);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++) *(KVec *)(c + i * c_stride + j * K_LANES) = sum[i][j];
}

static inline void k_panel(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_column,
                           const real *b, int64_t b_stride, int adds, real *c, int64_t c_stride) {
    int64_t j = 0;
    for (; j + K_PANEL_VECS * K_LANES <= n; j += K_PANEL_VECS * K_LANES) {
        int64_t i = 0;
        for (; i + K_PANEL_ROWS <= m; i += K_PANEL_ROWS)
            k_panel_block(K_PANEL_ROWS, K_PANEL_VECS, k, a + i * a_row, a_row, a_column, b + j, b_stride,
                          adds, c + i * c_stride + j, c_stride);
        for (; i < m; i++)
            k_panel_block(1, K_PANEL_VECS, k, a + i * a_row, a_row, a_column, b + j, b_stride, adds,
                          c + i * c_stride + j, c_stride);
    }
    for (; j < n; j += K_LANES) {
        int64_t i = 0;
        for (; i + K_PANEL_ROWS <= m; i += K_PANEL_ROWS)
            k_panel_block(K_PANEL_ROWS, 1, k, a + i * a_row, a_row, a_column, b + j, b_stride, adds,
                          c + i * c_stride + j, c_stride);
        for (; i < m; i++)
            k_panel_block(1, 1, k, a + i * a_row, a_row, a_column, b + j, b_stride, adds,
                          c + i * c_stride + j, c_stride);
    }
}

#endif
