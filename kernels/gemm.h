/* Row-major matrix products through OpenBLAS in the kernels' arithmetic type:
 *     c[m, n] = alpha op(a)[m, k] op(b)[k, n] + beta c[m, n]
 * The OpenMP build of OpenBLAS uses all threads outside a parallel region and the calling one inside. */
#ifndef REMAT_GEMM_H
#define REMAT_GEMM_H

#include "host.h"

#include <cblas.h>

static inline void k_gemm(int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, real alpha,
                          const real *a, int64_t lda, const real *b, int64_t ldb, real beta, real *c,
                          int64_t ldc) {
    enum CBLAS_TRANSPOSE ta = transpose_a ? CblasTrans : CblasNoTrans,
                         tb = transpose_b ? CblasTrans : CblasNoTrans;
    if (K_REAL_IS_DOUBLE)
        cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, alpha, (const double *)(const void *)a,
                    (int)lda, (const double *)(const void *)b, (int)ldb, beta, (double *)(void *)c, (int)ldc);
    else
        cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, (float)alpha,
                    (const float *)(const void *)a, (int)lda, (const float *)(const void *)b, (int)ldb,
                    (float)beta, (float *)(void *)c, (int)ldc);
}

#endif
