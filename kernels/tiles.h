/* How the host's matrix products are cut when an operand is bf16: tiles are widened into the planned
 * workspace and multiplied there. f32 operands are used where they lie, and a product of f32 operands is one
 * tile. Shared by the kernels and by k_workspace, so that both count the same bytes.
 *
 *     C[M, N] (+)= op(A)[M, K] op(B)[K, N]      tile of C: m x n, summed over tiles of k */
#ifndef REMAT_TILES_H
#define REMAT_TILES_H

#include "host.h"

typedef struct KProduct {
    int64_t rows, columns, depth; /* M, N, K */
    const KTensor *a, *b, *c;
    int transpose_a, transpose_b; /* A is stored [K, M]; B is stored [N, K] */
} KProduct;

typedef struct KTiles {
    int64_t m, n, k;
    size_t a_bytes, b_bytes, c_bytes; /* of workspace, in this order; 0 where the operand is used in place */
} KTiles;

enum { K_TILE_ROWS = 512, K_TILE_DEPTH = 1024 };

static inline size_t k_aligned(size_t bytes) {
    return (bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
}

/* op: 'y' linear, 'x' linear_bwd_x, 'w' linear_bwd_w; operands as ir/op.def orders them. */
static inline KProduct k_product(char op, const KTensor *out, const KTensor *in) {
    KProduct p = {.a = &in[0], .b = &in[1], .c = out};
    int64_t leading = k_rows(&in[0]);
    p.rows = op == 'w' ? k_last(&in[0]) : leading;
    p.columns = k_last(out);
    p.depth = op == 'w' ? leading : k_last(&in[0]);
    p.transpose_a = op == 'w';
    p.transpose_b = op == 'y';
    return p;
}

static inline KTiles k_tiles(const KProduct *p) {
    int wide_a = p->a->dtype != K_BF16, wide_b = p->b->dtype != K_BF16, wide_c = p->c->dtype != K_BF16;
    KTiles t = {.m = p->rows, .n = p->columns, .k = p->depth};
    if (wide_a && wide_b && wide_c) return t;
    t.m = k_min(t.m, K_TILE_ROWS);
    t.n = k_min(t.n, K_TILE_ROWS);
    t.k = k_min(t.k, K_TILE_DEPTH);
    t.a_bytes = wide_a ? 0 : k_aligned((size_t)(t.m * t.k) * sizeof(real));
    t.b_bytes = wide_b ? 0 : k_aligned((size_t)(t.k * t.n) * sizeof(real));
    t.c_bytes = wide_c ? 0 : k_aligned((size_t)(t.m * t.n) * sizeof(real));
    return t;
}

#endif
