/* Products of bf16 matrices by instructions that multiply pairs of them and sum in f32: AMX's tiles, or
 * AVX512-BF16 (Intel, Architecture Instruction Set Extensions, chapters "AMX" and "AVX512_BF16").
 *
 * What is multiplied is copied into squares of 16 rows of 16 words, a word two numbers that lie next to each
 * other along the depth: of A a row of C's and 32 of the depth, of B a word's row and 16 of C's columns. A
 * sum runs over the depth in order, so neither threads nor tiles change a bit; denormal numbers count as
 * zero. */
#include "matmul.h"
#include "panel.h"

#if defined __x86_64__ && defined __AVX512BF16__ && defined __AVX512BW__ && defined __AVX512VL__
#include <immintrin.h>
#if defined __AMX_BF16__ && defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
#define HAS_TILES 1
#else
#define HAS_TILES 0
#endif

enum {
    SIDE = 16,            /* rows of a square, and words of a row */
    PAIRS = 2 * SIDE,     /* numbers of a row */
    SQUARE = SIDE * SIDE, /* words */
    A_SQUARES = K_DOTS_ROWS / SIDE * (K_DOTS_DEPTH / PAIRS),
    B_SQUARES = K_DOTS_COLUMNS / SIDE * (K_DOTS_DEPTH / PAIRS)
};

int k_dots_multiply(const Product *p) {
    return !K_REAL_IS_DOUBLE && p->a.x->dtype == K_BF16 && p->b.x->dtype == K_BF16;
}

/* ---- copies ---- */

/* Rows of a stored matrix, from `row` on, `rows` of them, words of the depth [at, at + k); what is past an
 * edge is zero. One square: to[r][w] = (x[row + r][at + 2w], x[row + r][at + 2w + 1]). */
static void copy_rows(const uint16_t *x, int64_t stride, int64_t rows, int64_t k, uint32_t *to) {
    const __mmask32 mask = k >= PAIRS ? ~(__mmask32)0 : ((__mmask32)1 << k) - 1;
    for (int64_t r = 0; r < SIDE; r++) {
        const __m512i words =
            r < rows ? _mm512_maskz_loadu_epi16(mask, x + r * stride) : _mm512_setzero_si512();
        _mm512_storeu_si512(to + r * SIDE, words);
    }
}

/* The same of a matrix that is stored [depth, columns]: to[w][c] = (x[at + 2w][c], x[at + 2w + 1][c]). */
static void copy_pairs(const uint16_t *x, int64_t stride, int64_t columns, int64_t k, uint32_t *to) {
    const __mmask16 mask = columns >= SIDE ? (__mmask16)~0 : (__mmask16)((1u << columns) - 1);
    for (int64_t w = 0; w < SIDE; w++) {
        const int64_t first = 2 * w;
        __m512i low = _mm512_setzero_si512(), high = low;
        if (first < k) low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x + first * stride));
        if (first + 1 < k)
            high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x + (first + 1) * stride));
        _mm512_storeu_si512(to + w * SIDE, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* Words are moved as floats, whose bits a move does not change. */
static void turn(const uint32_t *from, uint32_t *to) {
    k_transpose_square((const float *)(const void *)from, SIDE, (float *)(void *)to, SIDE);
}

/* All squares of an operand: those of 16 rows of C (or columns) one after the other along the depth.
 * `by_rows`: a square's rows are C's, as A wants them; else they are the depth's. */
static void copy(const Matrix *matrix, int64_t first, int64_t count, int64_t at, int64_t k, int by_rows,
                 uint32_t *to) {
    const int64_t stride = k_last(matrix->x),
                  whole = (count + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK * K_DOTS_BLOCK;
    const uint16_t *x = matrix->x->data;
    _Alignas(64) uint32_t square[SQUARE];
    for (int64_t r = 0; r < whole; r += SIDE)
        for (int64_t l = 0; l < k; l += PAIRS, to += SQUARE) {
            const int64_t rows = k_min(SIDE, count - r), depth = k_min(PAIRS, k - l);
            const int as_stored = by_rows != matrix->transposed;
            uint32_t *copied = as_stored ? to : square;
            if (rows <= 0)
                memset(to, 0, SQUARE * sizeof *to);
            else if (matrix->transposed)
                copy_pairs(x + (at + l) * stride + first + r, stride, rows, depth, copied);
            else
                copy_rows(x + (first + r) * stride + at + l, stride, rows, depth, copied);
            if (rows > 0 && !as_stored) turn(square, to);
        }
}

/* ---- blocks ---- */

/* c [32, 32] += the squares of two rows of A and two columns of B, `steps` of each along the depth. */
static void block_vectors(const uint32_t *a, const uint32_t *b, int64_t steps, float *c, int64_t c_stride) {
    for (int half = 0; half < 2; half++)
        for (int64_t r = 0; r < SIDE; r += 8) {
            float *to = c + (half * SIDE + r) * c_stride;
            __m512 sum[8][2];
            K_UNROLL
            for (int i = 0; i < 8; i++) {
                sum[i][0] = _mm512_loadu_ps(to + i * c_stride);
                sum[i][1] = _mm512_loadu_ps(to + i * c_stride + SIDE);
            }
            for (int64_t s = 0; s < steps; s++)
                for (int w = 0; w < SIDE; w++) {
                    const uint32_t *line = a + (half * steps + s) * SQUARE + r * SIDE + w;
                    const __m512bh left = (__m512bh)_mm512_loadu_si512(b + s * SQUARE + w * SIDE);
                    const __m512bh right = (__m512bh)_mm512_loadu_si512(b + (steps + s) * SQUARE + w * SIDE);
                    K_UNROLL
                    for (int i = 0; i < 8; i++) {
                        const __m512bh x = (__m512bh)_mm512_set1_epi32((int)line[i * SIDE]);
                        sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, left);
                        sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, right);
                    }
                }
            K_UNROLL
            for (int i = 0; i < 8; i++) {
                _mm512_storeu_ps(to + i * c_stride, sum[i][0]);
                _mm512_storeu_ps(to + i * c_stride + SIDE, sum[i][1]);
            }
        }
}

#if HAS_TILES
/* Linux hands the tile registers out to who asks (arch_prctl(2)); asking again costs nothing. */
static int tiles_allowed(void) {
    enum { ARCH_REQUEST = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQUEST, TILE_DATA) == 0;
}

/* All eight tiles are whole squares. */
static void tiles_begin(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shape.row_bytes[i] = SIDE * sizeof(uint32_t);
        shape.rows[i] = SIDE;
    }
    _tile_loadconfig(&shape);
}

static void block_tiles(const uint32_t *a, const uint32_t *b, int64_t steps, float *c, int64_t c_stride) {
    enum { ROW = SIDE * sizeof(uint32_t) };
    const size_t stride = (size_t)c_stride * sizeof *c;
    float *below = c + SIDE * c_stride;
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + SIDE, stride);
    _tile_loadd(2, below, stride);
    _tile_loadd(3, below + SIDE, stride);
    for (int64_t s = 0; s < steps; s++) {
        _tile_loadd(4, a + s * SQUARE, ROW);
        _tile_loadd(6, b + s * SQUARE, ROW);
        _tile_loadd(5, a + (steps + s) * SQUARE, ROW);
        _tile_loadd(7, b + (steps + s) * SQUARE, ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, stride);
    _tile_stored(1, c + SIDE, stride);
    _tile_stored(2, below, stride);
    _tile_stored(3, below + SIDE, stride);
}
#endif

/* ---- a tile of C ---- */

static void multiply(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n, float *c,
                     void (*block)(const uint32_t *, const uint32_t *, int64_t, float *, int64_t)) {
    _Alignas(64) uint32_t a[A_SQUARES * SQUARE], b[B_SQUARES * SQUARE];
    for (int64_t at = 0; at < p->depth; at += p->chunk) {
        const int64_t k = k_min(p->chunk, p->depth - at), steps = (k + PAIRS - 1) / PAIRS;
        copy(&p->a, row, m, at, k, 1, a);
        copy(&p->b, column, n, at, k, 0, b);
        for (int64_t j = 0; j < n; j += K_DOTS_BLOCK)
            for (int64_t i = 0; i < m; i += K_DOTS_BLOCK)
                block(a + i / SIDE * steps * SQUARE, b + j / SIDE * steps * SQUARE, steps,
                      c + i * K_DOTS_COLUMNS + j, K_DOTS_COLUMNS);
    }
}

void k_dots_tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n) {
    _Alignas(64) float sums[K_DOTS_ROWS * K_DOTS_COLUMNS];
    real *c = (real *)(void *)sums;
    const int64_t whole = (m + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK * K_DOTS_BLOCK;
    memset(sums, 0, sizeof *sums * K_DOTS_COLUMNS * (size_t)whole);
    k_product_start(p, row, column, m, n, c, K_DOTS_COLUMNS);
#if HAS_TILES
    if (tiles_allowed()) {
        tiles_begin();
        multiply(p, row, column, m, n, sums, block_tiles);
        _tile_release();
    } else
#endif
        multiply(p, row, column, m, n, sums, block_vectors);
    for (int64_t i = 0; i < m; i++) {
        const int64_t first = (row + i) * p->columns + column;
        real *from = c + i * K_DOTS_COLUMNS, *to = k_target(p->c, first, from);
        if (to != from) memcpy(to, from, (size_t)n * sizeof *to);
        k_store(p->c, first, n, to);
    }
}

#else

int k_dots_multiply(const Product *p) {
    (void)p;
    return 0;
}

void k_dots_tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n) {
    (void)p, (void)row, (void)column, (void)m, (void)n;
}

#endif
