/* A product of two matrices as matmul.c cuts it into tiles, and the arithmetic that does them in bf16 where
 * the machine has one (matmul_dots.c). */
#ifndef REMAT_MATMUL_H
#define REMAT_MATMUL_H

#include "unpack.h"

/* op(X)[rows, depth] of a stored matrix; transposed: X is stored [depth, rows]. */
typedef struct Matrix {
    const KTensor *x;
    int transposed;
} Matrix;

typedef struct Product {
    int64_t rows, columns, depth, chunk; /* M, N, K, and how much of K is summed at a time */
    Matrix a, b;                         /* b is op(B)^T: [N, K] unless transposed */
    const KTensor *c, *bias, *add; /* add: of C's shape and type, C itself perhaps; added to the product */
    const KUnpack
        *unpack; /* of B, where it is packed: what it holds counts as stored in A's type; else NULL */
    int parts;   /* C is so many tensors, whose rows follow each other; 0: one, of any rank */
    int adds;    /* C's old contents count */
    real factor; /* of the result; 0: it stays as it is */
} Product;

/* The bytes from element `first` on of an operand that is stored as it is multiplied, or packed; for fetching
 * ahead. */
static inline const char *k_operand_at(const KTensor *x, int64_t first) {
    return k_is_packed(x->dtype) ? (const char *)x->data + first / 2 : k_at(x, first);
}
static inline int64_t k_operand_bytes(const KTensor *x, int64_t elements) {
    return k_is_packed(x->dtype) ? elements / 2 : elements * (int64_t)k_element_bytes(x->dtype);
}

/* The tensor that holds a row of C; its first element there. */
static inline const KTensor *k_product_row(const Product *p, int64_t row, int64_t *first) {
    const KTensor *c = p->c;
    for (int i = 1; i < p->parts && row >= c->dim[0]; i++) row -= c++->dim[0];
    *first = row * p->columns;
    return c;
}

/* The sum starts from the bias or the old contents. Is there anything to start from? */
static inline int k_product_start(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n,
                                  real *c, int64_t c_stride) {
    for (int64_t i = 0; i < m && (p->bias || p->adds); i++) {
        real *to = c + i * c_stride;
        int64_t first;
        const KTensor *old = k_product_row(p, row + i, &first);
        const real *from = p->bias ? k_load(p->bias, column, n, to) : k_load(old, first + column, n, to);
        if (from != to) memcpy(to, from, (size_t)n * sizeof(real));
    }
    return p->bias || p->adds;
}

/* Sums of elements [row, row + m) x [column, column + n) of C are whole: the factor, and what is added. */
static inline void k_product_end(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n, real *c,
                                 int64_t c_stride) {
    const real factor = p->factor;
    for (int64_t i = 0; i < m && factor != 0; i++) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) c[i * c_stride + j] *= factor;
    }
    for (int64_t i = 0; i < m && p->add; i++) {
        real buffer[K_RUN];
        for (int64_t first = 0; first < n; first += K_RUN) {
            const int64_t count = k_min(K_RUN, n - first);
            const real *x = k_load(p->add, (row + i) * p->columns + column + first, count, buffer);
            real *to = c + i * c_stride + first;
#pragma omp simd
            for (int64_t j = 0; j < count; j++) to[j] += x[j];
        }
    }
}

/* ---- matmul_dots.c ---- */
enum { K_DOTS_BLOCK = 32, K_DOTS_ROWS = K_PRODUCT_ROWS, K_DOTS_DEPTH = 1024 };
/* Whether this machine multiplies bf16 numbers, and both operands are of them, or B is packed. */
int k_dots_multiply(const Product *p);
/* Elements [row, row + m) x [column, column + n) of C, at most K_DOTS_ROWS rows; p->chunk is at most
 * K_DOTS_DEPTH. Requires k_dots_multiply. */
void k_dots_tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n);

#endif
