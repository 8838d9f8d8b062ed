/* Token embedding and its gradient on the host. The gradient sorts the positions by token (a stable radix
 * sort in the workspace, so rows of one token stay in order of position) and sums each token's rows in
 * arithmetic precision before it touches the row of dw: one rounding a step, and only used rows are read
 * and written. Threads share out columns, so the bits do not depend on their number. Tokens outside the
 * vocabulary read as NaN and receive no gradient. */
#include "host.h"

enum { SERIAL_ELEMENTS = 16384, COLUMNS = 128, RADIX_BITS = 8, RADIX = 1 << RADIX_BITS };

static inline int in_vocabulary(int32_t token, int64_t vocabulary) {
    return token >= 0 && token < vocabulary;
}

void k_embed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nout, (void)nin, (void)attr;
    const int32_t *token = in[0].data;
    const int64_t rows = k_count(&in[0]), width = k_last(&out[0]), vocabulary = in[1].dim[0];
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        const int valid = in_vocabulary(token[r], vocabulary);
        const int64_t row = valid ? token[r] : 0;
        for (int64_t at = 0; at < width; at += K_RUN) {
            real loaded[K_RUN], stored[K_RUN];
            const int64_t n = k_min(K_RUN, width - at);
            const real *w = k_load(&in[1], row * width + at, n, loaded);
            real *y = k_target(&out[0], r * width + at, stored);
            const real unit = valid ? (real)1 : (real)NAN;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = w[i] * unit;
            k_store(&out[0], r * width + at, n, y);
        }
    }
}

/* Positions 0..n-1 in order of (token, position); `order` and `spare` hold n each. Returns the one that
 * holds the result. */
static int32_t *sort_positions(const int32_t *token, int64_t n, int64_t vocabulary, int32_t *order,
                               int32_t *spare) {
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    for (int shift = 0; (vocabulary - 1) >> shift > 0; shift += RADIX_BITS) {
        int64_t start[RADIX + 1] = {0};
        for (int64_t i = 0; i < n; i++) start[(((uint32_t)token[i] >> shift) & (RADIX - 1)) + 1]++;
        for (int digit = 0; digit < RADIX; digit++) start[digit + 1] += start[digit];
        for (int64_t i = 0; i < n; i++)
            spare[start[((uint32_t)token[order[i]] >> shift) & (RADIX - 1)]++] = order[i];
        int32_t *swap = order;
        order = spare;
        spare = swap;
    }
    return order;
}

static void zero(const KTensor *t) {
    enum { BLOCK_BYTES = 1 << 20 };
    const int64_t bytes = k_count(t) * (int64_t)k_element_bytes(t->dtype);
    const int64_t blocks = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t b = 0; b < blocks; b++)
        memset((char *)t->data + b * BLOCK_BYTES, 0, (size_t)k_min(BLOCK_BYTES, bytes - b * BLOCK_BYTES));
}

/* dw[token] += the sum of dy over the positions of the token, for columns [at, at + n). */
static void add_columns(const KTensor *dw, const KTensor *dy, const int32_t *token, const int32_t *order,
                        int64_t count, int64_t at, int64_t n) {
    const int64_t width = k_last(dw), vocabulary = dw->dim[0];
    real dy_buffer[COLUMNS], sum[COLUMNS];
    for (int64_t beg = 0, end; beg < count; beg = end) {
        const int32_t t = token[order[beg]];
        for (end = beg + 1; end < count && token[order[end]] == t;) end++;
        if (!in_vocabulary(t, vocabulary)) continue;
        memset(sum, 0, sizeof sum);
        for (int64_t i = beg; i < end; i++) {
            const real *x = k_load(dy, order[i] * width + at, n, dy_buffer);
#pragma omp simd
            for (int64_t c = 0; c < n; c++) sum[c] += x[c];
        }
        k_accumulate(dw, t * width + at, n, sum, 1);
    }
}

/* dy [.., D], tokens [..], acc? -> dw [V, D] */
void k_embed_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout;
    const int32_t *token = in[1].data;
    const int64_t rows = k_count(&in[1]), width = k_last(&out[0]), blocks = (width + COLUMNS - 1) / COLUMNS;
    int32_t *scratch = cx->workspace; /* [2, rows] */
    const int32_t *order = sort_positions(token, rows, out[0].dim[0], scratch, scratch + rows);
    if (!(nin > 2 && k_adds(cx, attr))) zero(&out[0]);
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int64_t b = 0; b < blocks; b++)
        add_columns(&out[0], &in[0], token, order, rows, b * COLUMNS, k_min(COLUMNS, width - b * COLUMNS));
}
