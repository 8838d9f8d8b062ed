/* Linear layers: y = x w^T + bias or what is added, dx = dy w (+ add), dw (+)= dy^T x, the last of several
 * weights at once too.
 *
 * C [M, N] is cut into tiles, shared out among threads. A tile sums over the depth a chunk at a time. A's
 * chunk stays in the thread's second-level cache (Goto and van de Geijn 2008), where it lies or as a copy on
 * the stack; B's is copied in strips as wide as panel.h's register block, one after the other, and while one
 * is multiplied the next comes from memory. bf16 is widened in the copies; a bf16 C is summed in f32 and
 * rounded once. A packed B is unpacked in the copies, for each tile anew; what is multiplied is what
 * `dequantize` stores. The chunks depend on the depth only, so neither the number of threads nor the tiles
 * change a bit; it is also why the products are not BLAS calls, whose bits follow the number of threads. */
#include "matmul.h"
#include "panel.h"

#include <omp.h>

enum {
    STRIP = K_PANEL_VECS * K_REG, /* a multiple of K_LANES */
    TILE_ROWS = 264,              /* at most; a multiple of the register block's rows */
    TILE_COLUMNS = 16 * 48,       /* at most; a multiple of STRIP */
    DEPTH = 384,                  /* at most */
    A_STRIDE = DEPTH + K_LANES,   /* rows of the copy of A do not share a cache set */
};

static int64_t pieces(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/* The copy of A: row-major [m, A_STRIDE], or [k, TILE_ROWS] when A is stored transposed. */
static void copy_a(const Product *p, int64_t row, int64_t m, int64_t at, int64_t k, real *to) {
    const int64_t stride = k_last(p->a.x), lines = p->a.transposed ? k : m, n = p->a.transposed ? m : k;
    const int64_t to_stride = p->a.transposed ? TILE_ROWS : A_STRIDE,
                  padded = p->a.transposed ? TILE_ROWS : k;
    for (int64_t r = 0; r < lines; r++) {
        const int64_t first = p->a.transposed ? (at + r) * stride + row : (row + r) * stride + at;
        const real *from = k_load(p->a.x, first, n, to + r * to_stride);
        if (from != to + r * to_stride) memcpy(to + r * to_stride, from, (size_t)n * sizeof(real));
        for (int64_t i = n; i < padded; i++) to[r * to_stride + i] = 0;
    }
    const int64_t whole = (m + K_PANEL_ROWS - 1) / K_PANEL_ROWS * K_PANEL_ROWS;
    if (!p->a.transposed)
        for (int64_t r = m; r < whole; r++) memset(to + r * A_STRIDE, 0, (size_t)k * sizeof(real));
}

/* n <= STRIP columns of B stored [K, N], as [k, STRIP]. */
static void copy_strip(const KTensor *x, int64_t column, int64_t n, int64_t at, int64_t k, real *to) {
    const int64_t stride = k_last(x);
    if (x->dtype == K_F32 && n == STRIP) {
        const real *from = (const real *)x->data + at * stride + column;
        for (int64_t l = 0; l < k; l++, to += STRIP, from += stride)
            for (int j = 0; j < STRIP; j += K_REG) *(KReg *)(to + j) = *(const KReg *)(from + j);
        return;
    }
    for (int64_t l = 0; l < k; l++, to += STRIP) {
        const real *from = k_load(x, (at + l) * stride + column, n, to);
        if (from != to) memcpy(to, from, (size_t)n * sizeof(real));
        for (int64_t j = n; j < STRIP; j++) to[j] = 0;
    }
}

/* n <= K_LANES columns of B stored [N, K], as [k, STRIP]. */
static void transpose_lanes(const KTensor *x, int64_t column, int64_t n, int64_t at, int64_t k, real *to) {
    real square[K_LANES * K_LANES];
    const int64_t stride = k_last(x);
    for (int64_t l = 0; l < k; l += K_LANES) {
        const int64_t lines = k_min(K_LANES, k - l);
        if (x->dtype == K_F32 && n == K_LANES && lines == K_LANES) {
            k_transpose((const real *)x->data + column * stride + at + l, stride, to + l * STRIP, STRIP);
            continue;
        }
        real turned[K_LANES * K_LANES];
        memset(square, 0, sizeof square);
        for (int64_t j = 0; j < n; j++) {
            const real *from = k_load(x, (column + j) * stride + at + l, lines, square + j * K_LANES);
            if (from != square + j * K_LANES)
                memcpy(square + j * K_LANES, from, (size_t)lines * sizeof(real));
        }
        k_transpose(square, K_LANES, turned, K_LANES);
        for (int64_t i = 0; i < lines; i++)
            memcpy(to + (l + i) * STRIP, turned + i * K_LANES, K_LANES * sizeof(real));
    }
}

/* The same copies of a packed B. Its rows are unpacked as they lie; those that have to be turned first come
 * together, K_LANES at a time. */
static void unpack_strip(const Product *p, int64_t column, int64_t n, int64_t at, int64_t k, real *to) {
    const int64_t stride = k_last(p->b.x);
    for (int64_t l = 0; l < k; l++, to += STRIP) {
        k_unpack_stored(p->unpack, p->a.x->dtype, (at + l) * stride + column, n, to);
        for (int64_t j = n; j < STRIP; j++) to[j] = 0;
    }
}

static void unpack_lanes(const Product *p, int64_t column, int64_t n, int64_t at, int64_t k, real *to) {
    _Alignas(64) real line[K_LANES * DEPTH];
    const int64_t stride = k_last(p->b.x);
    const KTensor lines = {.data = line, .dtype = K_F32, .rank = 2, .dim = {K_LANES, DEPTH}};
    for (int64_t j = 0; j < n; j++)
        k_unpack_stored(p->unpack, p->a.x->dtype, (column + j) * stride + at, k, line + j * DEPTH);
    transpose_lanes(&lines, 0, n, 0, k, to);
}

/* The copy of n <= STRIP columns of B: [k, STRIP], zeros past the last one. */
static void copy_b(const Product *p, int64_t column, int64_t n, int64_t at, int64_t k, real *to) {
    if (p->unpack && p->b.transposed)
        unpack_strip(p, column, n, at, k, to);
    else if (p->unpack)
        for (int64_t i = 0; i < STRIP; i += K_LANES)
            unpack_lanes(p, column + i, k_min(K_LANES, n - i), at, k, to + i);
    else if (p->b.transposed)
        copy_strip(p->b.x, column, n, at, k, to);
    else
        for (int64_t i = 0; i < STRIP; i += K_LANES)
            transpose_lanes(p->b.x, column + i, k_min(K_LANES, n - i), at, k, to + i);
}

/* Rows [row, row + n) of an operand, [at, at + k) of the depth. */
typedef struct Piece {
    int64_t row, n, at, k;
} Piece;

/* Part `i` of `count` of a piece that will be read soon comes from memory. */
static void fetch_ahead(const Matrix *matrix, const Piece *x, int64_t i, int64_t count) {
    enum { LINE = 64 };
    const int64_t lines = matrix->transposed ? x->k : x->n, stride = k_last(matrix->x);
    const int64_t bytes = k_operand_bytes(matrix->x, matrix->transposed ? x->n : x->k);
    for (int64_t r = lines * i / count; r < lines * (i + 1) / count; r++) {
        const char *from = k_operand_at(matrix->x, matrix->transposed ? (x->at + r) * stride + x->row
                                                                      : (x->row + r) * stride + x->at);
        for (int64_t byte = 0; byte < bytes; byte += LINE) __builtin_prefetch(from + byte, 0, 2);
    }
}

/* Element (i, l) of A is x[i * row + l * column]; one of the two is 1. */
typedef struct Left {
    const real *x;
    int64_t row, column;
} Left;

/* Rows of f32 are read as they lie, others from a copy. */
static Left left_of(const Product *p, int64_t row, int64_t m, int64_t at, int64_t k, real *copied) {
    const int64_t stride = k_last(p->a.x);
    if (p->a.x->dtype == K_F32 && !p->a.transposed && m % K_PANEL_ROWS == 0)
        return (Left){(const real *)p->a.x->data + row * stride + at, stride, 1};
    copy_a(p, row, m, at, k, copied);
    return p->a.transposed ? (Left){copied, 1, TILE_ROWS} : (Left){copied, A_STRIDE, 1};
}

static void block(const Left *a, int64_t row, int64_t k, const real *b, int adds, real *c, int64_t c_stride) {
    const real *x = a->x + row * a->row;
    if (a->row == 1)
        k_panel_block(K_PANEL_ROWS, K_PANEL_VECS, k, x, 1, TILE_ROWS, b, STRIP, adds, c, c_stride);
    else
        k_panel_block(K_PANEL_ROWS, K_PANEL_VECS, k, x, a->row, 1, b, STRIP, adds, c, c_stride);
}

/* A block that hangs over C's edge. */
static void edge(const Left *a, int64_t row, int64_t k, const real *b, int adds, real *c, int64_t c_stride,
                 int64_t m, int64_t n) {
    real whole[K_PANEL_ROWS * STRIP];
    for (int64_t i = 0; adds && i < m; i++)
        memcpy(whole + i * STRIP, c + i * c_stride, (size_t)n * sizeof(real));
    if (adds) {
        for (int64_t i = 0; i < K_PANEL_ROWS; i++)
            for (int64_t j = i < m ? n : 0; j < STRIP; j++) whole[i * STRIP + j] = 0;
    }
    block(a, row, k, b, adds, whole, STRIP);
    for (int64_t i = 0; i < m; i++) memcpy(c + i * c_stride, whole + i * STRIP, (size_t)n * sizeof(real));
}

/* c (+)= A's rows times B's columns over a stretch of the depth. A strip of B stays in the first-level cache
 * while it meets all of A; meanwhile the next one comes from memory, and bit by bit what A has next along the
 * depth. */
static void multiply(const Product *p, const Left *a, const Piece *rows, const Piece *columns, int adds,
                     real *c, int64_t c_stride) {
    _Alignas(64) real b[DEPTH * STRIP];
    const int64_t m = rows->n, n = columns->n, k = rows->k, blocks = pieces(m, K_PANEL_ROWS);
    const int64_t after = rows->at + k;
    const Piece rows_after = {rows->row, m, after, k_min(p->chunk, p->depth - after)};
    for (int64_t j = 0; j < n; j += STRIP) {
        const int64_t width = k_min(STRIP, n - j);
        Piece next = {columns->row + j + width, k_min(STRIP, n - j - width), columns->at, k};
        if (next.n == 0) next = (Piece){columns->row, k_min(STRIP, n), after, rows_after.k};
        copy_b(p, columns->row + j, width, columns->at, k, b);
        for (int64_t i = 0; i < m; i += K_PANEL_ROWS) {
            const int64_t block_number = i / K_PANEL_ROWS;
            fetch_ahead(&p->b, &next, block_number, blocks);
            fetch_ahead(&p->a, &rows_after, j / STRIP * blocks + block_number, pieces(n, STRIP) * blocks);
            if (i + K_PANEL_ROWS <= m && width == STRIP)
                block(a, i, k, b, adds, c + i * c_stride + j, c_stride);
            else
                edge(a, i, k, b, adds, c + i * c_stride + j, c_stride, k_min(K_PANEL_ROWS, m - i), width);
        }
    }
}

static void tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n) {
    _Alignas(64) real a[TILE_ROWS * A_STRIDE], sums[TILE_ROWS * TILE_COLUMNS];
    const int in_place = p->c->dtype == K_F32 && !p->parts && !p->add;
    real *c = in_place ? (real *)p->c->data + row * p->columns + column : sums;
    const int64_t c_stride = in_place ? p->columns : n;
    const int starts = k_product_start(p, row, column, m, n, c, c_stride);
    for (int64_t at = 0; at < p->depth; at += p->chunk) {
        const Piece rows = {row, m, at, k_min(p->chunk, p->depth - at)}, columns = {column, n, at, rows.k};
        const Left left = left_of(p, row, m, at, rows.k, a);
        multiply(p, &left, &rows, &columns, starts || at > 0, c, c_stride);
    }
    k_product_end(p, row, column, m, n, c, c_stride);
    for (int64_t i = 0; i < m && !in_place; i++) {
        int64_t first;
        const KTensor *to = k_product_row(p, row + i, &first);
        if (to->dtype == K_F32)
            memcpy(k_at(to, first + column), c + i * n, (size_t)n * sizeof(real));
        else
            k_store(to, first + column, n, c + i * n);
    }
}

static int64_t even(int64_t n, int64_t most, int64_t unit) { /* n in equal pieces of at most `most` */
    return n ? pieces(pieces(n, pieces(n, most)), unit) * unit : unit;
}

/* How an arithmetic cuts a product: its tiles are at most so large, and of whole blocks. */
typedef struct Cut {
    int64_t rows, row, columns, column, depth, unit; /* unit: of the depth */
} Cut;

static void multiply_all(Product p) {
    KUnpack unpack;
    if (k_is_packed(p.b.x->dtype)) {
        k_unpack_begin(&unpack, p.b.x);
        p.unpack = &unpack;
    }
    const int dots = k_dots_multiply(&p);
    const Cut cut =
        dots ? (Cut){K_DOTS_ROWS, K_DOTS_BLOCK, p.columns, K_DOTS_BLOCK, K_DOTS_DEPTH, K_DOTS_BLOCK}
             : (Cut){TILE_ROWS, K_PANEL_ROWS, TILE_COLUMNS, STRIP, DEPTH, 1};
    p.chunk = even(p.depth, cut.depth, cut.unit);
    const int64_t m = even(p.rows, cut.rows, cut.row), down = pieces(p.rows, m),
                  threads = omp_get_max_threads();
    /* Every tile copies its rows of A: there are as few across as give each thread as much to do, or nearly.
     */
    int64_t n = even(p.columns, cut.columns, cut.column), across = pieces(p.columns, n);
    while (n > cut.column && down * across % threads && down * across < 8 * threads) {
        n = even(p.columns, n - cut.column, cut.column);
        across = pieces(p.columns, n);
    }
    const int64_t tiles = down * across;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = i / across * m, column = i % across * n;
        (dots ? k_dots_tile : tile)(&p, row, column, k_min(m, p.rows - row), k_min(n, p.columns - column));
    }
}

void k_linear(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nout;
    multiply_all((Product){.rows = k_rows(&in[0]),
                           .columns = k_last(out),
                           .depth = k_last(&in[0]),
                           .a = {&in[0], 0},
                           .b = {&in[1], 0},
                           .c = out,
                           .factor = (real)attr->factor,
                           .bias = k_bias_of(nin, in, out),
                           .add = k_added_to(nin, in, out)});
}

void k_linear_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)cx, (void)nout;
    multiply_all((Product){.rows = k_rows(&in[0]),
                           .columns = k_last(out),
                           .depth = k_last(&in[0]),
                           .a = {&in[0], 0},
                           .b = {&in[1], 1},
                           .c = out,
                           .factor = (real)attr->factor,
                           .add = k_added_to(nin, in, out)});
}

void k_linear_bwd_w(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    multiply_all((Product){.rows = k_last(&in[0]),
                           .columns = k_last(out),
                           .depth = k_rows(&in[0]),
                           .a = {&in[0], 1},
                           .b = {&in[1], 1},
                           .c = out,
                           .parts = nout > 1 ? nout : 0,
                           .adds = nin > 2 && k_adds(cx, attr)});
}
