/* Products of bf16 matrices by instructions that multiply pairs of them and sum in f32: AMX's tiles, or
 * AVX512-BF16 (Intel, Architecture Instruction Set Extensions, chapters "AMX" and "AVX512_BF16").
 *
 * What is multiplied is copied into squares of 16 rows of 16 words, a word two numbers that lie next to each
 * other along the depth: of A a row of C's and 32 of the depth, of B a word's row and 16 of C's columns. A
 * sum runs over the depth in order, so neither threads nor tiles change a bit; denormal numbers count as
 * zero. Compiled with K_NO_TILES it is without AMX, with K_NO_BF16_PAIRS without both: bf16 is then
 * converted to f32, as on machines that have neither. */
#include "matmul.h"
#include "panel.h"

#if !defined K_NO_BF16_PAIRS && defined __x86_64__ && defined __AVX512BF16__ && defined __AVX512BW__ &&      \
    defined __AVX512VL__
#include <immintrin.h>
#if !defined K_NO_TILES && defined __AMX_BF16__ && defined __linux__
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
    PANEL = 64,
    PANEL_DEPTH = 256, /* B is copied so much at a time */
    B_SQUARES = PANEL / SIDE * (PANEL_DEPTH / PAIRS),
    SUM_COLUMNS = 384,  /* summed at a time where A does not fit whole */
    STREAMED = 1 << 20, /* a C of more numbers is not read again while it lies in a cache */
};

int k_dots_multiply(const Product *p) {
    return !K_REAL_IS_DOUBLE && p->a.x->dtype == K_BF16 && (p->b.x->dtype == K_BF16 || p->unpack);
}

/* ---- copies ---- */

/* One square, whose rows are C's as they lie: to[r][w] = (x[r][2w], x[r][2w + 1]) of `rows` rows and `k`
 * numbers of the depth; what is past an edge is zero. */
static void copy_rows(const uint16_t *x, int64_t stride, int64_t rows, int64_t k, uint32_t *to) {
    const __mmask32 mask = k >= PAIRS ? ~(__mmask32)0 : ((__mmask32)1 << k) - 1;
    for (int64_t r = 0; r < SIDE; r++)
        _mm512_storeu_si512(to + r * SIDE, _mm512_maskz_loadu_epi16(r < rows ? mask : 0, x + r * stride));
}

/* The same turned: to[w][r]. Words are moved as floats, whose bits a move does not change. */
static void turn_words(const uint32_t *x, int64_t stride, uint32_t *to) {
    k_transpose_square((const float *)(const void *)x, stride, (float *)(void *)to, SIDE);
}

/* Of a matrix stored [depth, columns]: to[w][c] = (x[2w][c], x[2w + 1][c]). */
static void copy_pairs(const uint16_t *x, int64_t stride, int64_t columns, int64_t k, uint32_t *to) {
    const __mmask16 mask = columns >= SIDE ? (__mmask16)~0 : (__mmask16)((1u << columns) - 1);
    for (int64_t w = 0; w < SIDE; w++) {
        const uint16_t *from = x + 2 * w * stride;
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(2 * w < k ? mask : 0, from));
        const __m512i high =
            _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(2 * w + 1 < k ? mask : 0, from + stride));
        _mm512_storeu_si512(to + w * SIDE, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* One square of an operand, of C's row (or column) `row` on, and of the depth from `at` on; `rows` and `k` of
 * it lie within the operand. `by_rows`: a square's rows are C's, as A wants them; else they are the depth's.
 */
static inline void copy_square(const Matrix *matrix, int64_t row, int64_t rows, int64_t at, int64_t k,
                               int by_rows, uint32_t *to) {
    const int64_t stride = k_last(matrix->x);
    const uint16_t *x =
        (const uint16_t *)matrix->x->data + (matrix->transposed ? at * stride + row : row * stride + at);
    if (rows <= 0)
        memset(to, 0, SQUARE * sizeof *to);
    else if (by_rows != matrix->transposed && matrix->transposed)
        copy_pairs(x, stride, rows, k, to);
    else if (by_rows != matrix->transposed)
        copy_rows(x, stride, rows, k, to);
    else if (!matrix->transposed && rows == SIDE && k == PAIRS && stride % 2 == 0)
        turn_words((const uint32_t *)(const void *)x, stride / 2, to);
    else {
        _Alignas(64) uint32_t square[SQUARE];
        if (matrix->transposed)
            copy_pairs(x, stride, rows, k, square);
        else
            copy_rows(x, stride, rows, k, square);
        turn_words(square, SIDE, to);
    }
}

/* All squares of `count` rows of C: those of 16 rows one after the other along the depth. They are copied in
 * the order in which they lie in memory. */
static void copy(const Matrix *matrix, int64_t first, int64_t count, int64_t at, int64_t k, int by_rows,
                 uint32_t *to) {
    const int64_t across = (count + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK * K_DOTS_BLOCK / SIDE,
                  along = (k + PAIRS - 1) / PAIRS;
    for (int64_t i = 0; i < across * along; i++) {
        const int64_t r = matrix->transposed ? i % across : i / along,
                      l = matrix->transposed ? i / across : i % along;
        copy_square(matrix, first + r * SIDE, k_min(SIDE, count - r * SIDE), at + l * PAIRS,
                    k_min(PAIRS, k - l * PAIRS), by_rows, to + (r * along + l) * SQUARE);
    }
}

/* ---- blocks ---- */

/* What the next copy of B will read is fetched from memory while a block is multiplied: at each step along
 * the depth `rows` pieces, `row_bytes` apart, of `bytes` each. */
typedef struct Ahead {
    const char *first;
    int64_t rows, row_bytes, step_bytes, bytes;
} Ahead;

static inline void fetch_ahead(const Ahead *ahead, int64_t step) {
    const char *at = ahead->first + step * ahead->step_bytes;
    for (int64_t r = 0; r < ahead->rows; r++, at += ahead->row_bytes)
        for (int64_t byte = 0; byte < ahead->bytes; byte += 64) _mm_prefetch(at + byte, _MM_HINT_T1);
}

/* c [32, 32] (+)= the squares of two rows of A and two columns of B, `steps` of each along the depth; the
 * second row of A lies `below` squares behind the first. */
typedef void Block(const uint32_t *a, int64_t below, const uint32_t *b, int64_t steps, int adds, float *c,
                   int64_t c_stride, const Ahead *ahead);

static void block_vectors(const uint32_t *a, int64_t below, const uint32_t *b, int64_t steps, int adds,
                          float *c, int64_t c_stride, const Ahead *ahead) {
    (void)ahead;
    for (int half = 0; half < 2; half++)
        for (int64_t r = 0; r < SIDE; r += 8) {
            float *to = c + (half * SIDE + r) * c_stride;
            __m512 sum[8][2];
            K_UNROLL
            for (int i = 0; i < 8; i++) {
                sum[i][0] = adds ? _mm512_loadu_ps(to + i * c_stride) : _mm512_setzero_ps();
                sum[i][1] = adds ? _mm512_loadu_ps(to + i * c_stride + SIDE) : _mm512_setzero_ps();
            }
            for (int64_t s = 0; s < steps; s++)
                for (int w = 0; w < SIDE; w++) {
                    const uint32_t *line = a + (half * below + s) * SQUARE + r * SIDE + w;
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

static void block_tiles(const uint32_t *a, int64_t below, const uint32_t *b, int64_t steps, int adds,
                        float *c, int64_t c_stride, const Ahead *ahead) {
    enum { ROW = SIDE * sizeof(uint32_t) };
    const size_t stride = (size_t)c_stride * sizeof *c;
    float *lower = c + SIDE * c_stride;
    if (adds) {
        _tile_loadd(0, c, stride);
        _tile_loadd(1, c + SIDE, stride);
        _tile_loadd(2, lower, stride);
        _tile_loadd(3, lower + SIDE, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t s = 0; s < steps; s++) {
        _tile_loadd(4, a + s * SQUARE, ROW);
        _tile_loadd(6, b + s * SQUARE, ROW);
        _tile_loadd(5, a + (below + s) * SQUARE, ROW);
        _tile_loadd(7, b + (steps + s) * SQUARE, ROW);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        fetch_ahead(ahead, s);
    }
    _tile_stored(0, c, stride);
    _tile_stored(1, c + SIDE, stride);
    _tile_stored(2, lower, stride);
    _tile_stored(3, lower + SIDE, stride);
}
#endif

/* ---- a tile of C ---- */

/* Of B: columns [column, column + n) of C, [at, at + k) of the depth. */
typedef struct Panel {
    int64_t column, n, at, k;
} Panel;

/* The part of `panel` that is fetched while block `i` of `count` is multiplied. */
static Ahead ahead_of(const Matrix *matrix, const Panel *panel, int64_t i, int64_t count) {
    const KTensor *x = matrix->x;
    const int64_t stride = k_last(x), lines = matrix->transposed ? PAIRS : panel->n;
    const int64_t from = lines * i / count, to = lines * (i + 1) / count;
    if (matrix->transposed)
        return (Ahead){k_operand_at(x, (panel->at + from) * stride + panel->column), panel->n ? to - from : 0,
                       k_operand_bytes(x, stride), k_operand_bytes(x, PAIRS * stride),
                       k_operand_bytes(x, panel->n)};
    return (Ahead){k_operand_at(x, (panel->column + from) * stride + panel->at), to - from,
                   k_operand_bytes(x, stride), k_operand_bytes(x, PAIRS), k_operand_bytes(x, PAIRS)};
}

/* The squares of a panel of a packed B. As many lines are unpacked, as they lie, as a square has. */
static void unpack_panel(const Product *p, const Panel *panel, uint32_t *to) {
    _Alignas(64) uint16_t line[SIDE * PANEL_DEPTH];
    const int64_t stride = k_last(p->b.x), along = (panel->k + PAIRS - 1) / PAIRS,
                  across = (panel->n + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK * K_DOTS_BLOCK / SIDE;
    const int turned = p->b.transposed;
    KTensor lines = {.data = line, .dtype = K_BF16, .rank = 2, .dim = {SIDE, PANEL_DEPTH}};
    if (turned) lines.dim[0] = PAIRS, lines.dim[1] = PANEL;
    const Matrix unpacked = {&lines, turned};
    for (int64_t i = 0; i < (turned ? along : across); i++) {
        const int64_t first = i * lines.dim[0], n = turned ? panel->n : panel->k,
                      count = k_min(lines.dim[0], (turned ? panel->k : panel->n) - first);
        for (int64_t r = 0; r < count; r++) {
            const int64_t at = turned ? (panel->at + first + r) * stride + panel->column
                                      : (panel->column + first + r) * stride + panel->at;
            k_unpack_bf16(p->unpack, at, n, line + r * lines.dim[1]);
        }
        for (int64_t j = 0; j < (turned ? across : along); j++) {
            const int64_t r = turned ? j : i, l = turned ? i : j;
            copy_square(&unpacked, turned ? r * SIDE : 0, k_min(SIDE, panel->n - r * SIDE),
                        turned ? 0 : l * PAIRS, k_min(PAIRS, panel->k - l * PAIRS), 0,
                        to + (r * along + l) * SQUARE);
        }
    }
}

/* sums [m, n] += */
static void multiply_panel(const Product *p, const Panel *panel, const Panel *next, int64_t m,
                           const uint32_t *a, int64_t below, int adds, float *c, int64_t c_stride,
                           Block *block) {
    _Alignas(64) uint32_t b[B_SQUARES * SQUARE];
    const int64_t steps = (panel->k + PAIRS - 1) / PAIRS,
                  across = (panel->n + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK,
                  blocks = (m + K_DOTS_BLOCK - 1) / K_DOTS_BLOCK * across;
    if (p->unpack)
        unpack_panel(p, panel, b);
    else
        copy(&p->b, panel->column, panel->n, panel->at, panel->k, 0, b);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t row = i % (blocks / across), column = i / (blocks / across);
        const Ahead ahead = ahead_of(&p->b, next, i, blocks);
        block(a + row * 2 * below * SQUARE, below, b + column * 2 * steps * SQUARE, steps, adds,
              c + row * K_DOTS_BLOCK * c_stride + column * K_DOTS_BLOCK, c_stride, &ahead);
    }
}

/* A tile's sums go to C. They passed through instructions that have no denormal numbers, nor has this one. */
static void finish(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n, const float *sums,
                   int64_t stride) {
    const int streams = p->rows * p->columns > STREAMED && p->columns % PAIRS == 0 && n % PAIRS == 0;
    for (int64_t i = 0; i < m; i++) {
        const float *from = sums + i * stride;
        int64_t first;
        const KTensor *c = k_product_row(p, row + i, &first);
        if (c->dtype == K_F32) {
            memcpy((float *)c->data + first + column, from, (size_t)n * sizeof *from);
            continue;
        }
        uint16_t *to = (uint16_t *)c->data + first + column;
        if (streams) {
            for (int64_t j = 0; j < n; j += PAIRS) {
                const __m512 low = _mm512_loadu_ps(from + j), high = _mm512_loadu_ps(from + j + SIDE);
                _mm512_stream_si512((__m512i *)(void *)(to + j), (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
            continue;
        }
        for (int64_t j = 0; j < n; j += SIDE) {
            const __mmask16 mask = n - j >= SIDE ? (__mmask16)~0 : (__mmask16)((1u << (n - j)) - 1);
            const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + j));
            _mm256_mask_storeu_epi16(to + j, mask, rounded);
        }
    }
}

static void tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n, Block *block) {
    _Alignas(64) uint32_t a[A_SQUARES * SQUARE];
    _Alignas(64) float sums[K_DOTS_ROWS * SUM_COLUMNS];
    const int whole = p->depth <= p->chunk;
    const int64_t most = whole ? PANEL : SUM_COLUMNS, last = column + n;
    if (whole) copy(&p->a, row, m, 0, p->depth, 1, a);
    for (int64_t first = column; first < last; first += most) {
        const int64_t end = k_min(first + most, last);
        const int starts = k_product_start(p, row, first, m, end - first, (real *)(void *)sums, most);
        for (int64_t at = 0; at < p->depth; at += p->chunk) {
            const int64_t k = k_min(p->chunk, p->depth - at);
            if (!whole) copy(&p->a, row, m, at, k, 1, a);
            for (int64_t j = first; j < end; j += PANEL)
                for (int64_t l = 0; l < k; l += PANEL_DEPTH) {
                    const Panel panel = {j, k_min(PANEL, end - j), at + l, k_min(PANEL_DEPTH, k - l)};
                    Panel next = {j, panel.n, at + l + PANEL_DEPTH, k_min(PANEL_DEPTH, k - l - PANEL_DEPTH)};
                    if (next.k <= 0)
                        next = (Panel){j + PANEL, k_min(PANEL, last - j - PANEL), at, k_min(PANEL_DEPTH, k)};
                    if (next.n <= 0) next = panel;
                    multiply_panel(p, &panel, &next, m, a + l / PAIRS * SQUARE, (k + PAIRS - 1) / PAIRS,
                                   starts || at + l > 0, sums + (j - first), most, block);
                }
        }
        k_product_end(p, row, first, m, end - first, (real *)(void *)sums, most);
        finish(p, row, first, m, end - first, sums, most);
    }
    _mm_sfence(); /* what was streamed is there for whoever reads it next */
}

void k_dots_tile(const Product *p, int64_t row, int64_t column, int64_t m, int64_t n) {
#if HAS_TILES
    if (tiles_allowed()) {
        tiles_begin();
        tile(p, row, column, m, n, block_tiles);
        _tile_release();
        return;
    }
#endif
    tile(p, row, column, m, n, block_vectors);
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
