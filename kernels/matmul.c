/* Linear layers: y = x w^T + bias, dx = dy w, dw (+)= dy^T x, each a BLAS product of [rows, width] matrices.
 *
 * f32 operands go to BLAS as they lie, in one call. bf16 operands are widened a tile at a time into the
 * workspace (tiles.h), summed in f32 over the whole depth, and rounded once. A bias, or the old contents of
 * an accumulator, is what the sum starts from. */
#include "gemm.h"
#include "tiles.h"

/* One operand's tile: rows and columns as stored. */
typedef struct Tile {
    const real *data;
    int64_t stride;
} Tile;

static Tile tile_load(const KTensor *t, int64_t row, int64_t column, int64_t rows, int64_t columns,
                      real *scratch) {
    int64_t stride = k_last(t);
    if (t->dtype == K_F32) return (Tile){(const real *)t->data + row * stride + column, stride};
    const uint16_t *from = (const uint16_t *)t->data + row * stride + column;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) k_widen(scratch + r * columns, from + r * stride, columns);
    return (Tile){scratch, columns};
}

/* What a tile of C starts from: its bias, its old contents, or nothing. */
static void tile_start(const KProduct *p, const KTensor *bias, int adds, real *c, int64_t stride, int64_t row,
                       int64_t column, int64_t rows, int64_t columns) {
    if (!bias && !(adds && p->c->dtype == K_BF16)) return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        real *to = c + r * stride;
        if (!bias)
            k_widen(to, (const uint16_t *)p->c->data + (row + r) * p->columns + column, columns);
        else if (bias->dtype == K_BF16)
            k_widen(to, (const uint16_t *)bias->data + column, columns);
        else
            memcpy(to, (const real *)bias->data + column, (size_t)columns * sizeof(real));
    }
}

static void tile_finish(const KTensor *c, const real *from, int64_t row, int64_t column, int64_t rows,
                        int64_t columns) {
    uint16_t *to = (uint16_t *)c->data + row * k_last(c) + column;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) k_round(to + r * k_last(c), from + r * columns, columns);
}

static void product(const KCtx *cx, const KProduct *p, const KTensor *bias, int adds) {
    const KTiles t = k_tiles(p);
    char *workspace = cx->workspace;
    real *a_scratch = (real *)(void *)workspace;
    real *b_scratch = (real *)(void *)(workspace + t.a_bytes);
    real *c_scratch = (real *)(void *)(workspace + t.a_bytes + t.b_bytes);

    for (int64_t row = 0; row < p->rows; row += t.m) {
        int64_t m = k_min(t.m, p->rows - row);
        for (int64_t column = 0; column < p->columns; column += t.n) {
            int64_t n = k_min(t.n, p->columns - column);
            int wide = p->c->dtype == K_F32;
            real *c = wide ? (real *)p->c->data + row * p->columns + column : c_scratch;
            int64_t stride = wide ? p->columns : n;
            tile_start(p, bias, adds, c, stride, row, column, m, n);
            for (int64_t depth = 0; depth < p->depth; depth += t.k) {
                int64_t k = k_min(t.k, p->depth - depth);
                Tile a = p->transpose_a ? tile_load(p->a, depth, row, k, m, a_scratch)
                                        : tile_load(p->a, row, depth, m, k, a_scratch);
                Tile b = p->transpose_b ? tile_load(p->b, column, depth, n, k, b_scratch)
                                        : tile_load(p->b, depth, column, k, n, b_scratch);
                real beta = depth > 0 || bias || adds;
                k_gemm(p->transpose_a, p->transpose_b, m, n, k, 1, a.data, a.stride, b.data, b.stride, beta,
                       c, stride);
            }
            if (!wide) tile_finish(p->c, c, row, column, m, n);
        }
    }
}

void k_linear(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)attr;
    KProduct p = k_product('y', &out[0], in);
    product(cx, &p, nin > 2 ? &in[2] : NULL, 0);
}

void k_linear_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    KProduct p = k_product('x', &out[0], in);
    product(cx, &p, NULL, 0);
}

void k_linear_bwd_w(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)nout;
    KProduct p = k_product('w', &out[0], in);
    product(cx, &p, NULL, nin > 2 && k_adds(cx, attr));
}
