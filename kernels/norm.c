/* Layer norm and RMS norm with their gradients on the host. RMS norm is layer norm with a mean of zero and no
 * bias, so both share the row functions below. Sums over a row go to K_LANES lanes, in runs of K_RUN
 * elements; a row is read whole before any of it is written, which makes every operand fit for writing in
 * place. The fused residual + norm stores s = a + b first and normalises what it stored, through the same row
 * function (never inlined), hence with the same bits as the separate pair. */
#include "host.h"
#include "norm_apart.h"

enum { SERIAL_ELEMENTS = 16384 };

typedef struct Norm {
    const KTensor *x, *g, *b, *y, *mean, *rstd; /* b and mean: NULL for RMS norm */
    double eps;
} Norm;

static void lanes_sum(const real *x, int64_t n, KVec *sum) {
    KVec a = *sum;
    int64_t whole = n - n % K_LANES;
    for (int64_t i = 0; i < whole; i += K_LANES) a += *(const KVec *)(x + i);
    for (int64_t i = whole; i < n; i++) a[i - whole] += x[i];
    *sum = a;
}

static void lanes_squares(const real *x, int64_t n, real mean, KVec *sum) {
    KVec a = *sum;
    int64_t whole = n - n % K_LANES;
    for (int64_t i = 0; i < whole; i += K_LANES) {
        KVec d = *(const KVec *)(x + i) - mean;
        a += d * d;
    }
    for (int64_t i = whole; i < n; i++) a[i - whole] += (x[i] - mean) * (x[i] - mean);
    *sum = a;
}

/* sum += dy g, dot += dy g (x - mean) rstd */
static void lanes_slopes(const real *dy, const real *x, const real *g, int64_t n, real mean, real rstd,
                         KVec *sum, KVec *dot) {
    KVec a = *sum, b = *dot;
    int64_t whole = n - n % K_LANES;
    for (int64_t i = 0; i < whole; i += K_LANES) {
        KVec h = *(const KVec *)(dy + i) * *(const KVec *)(g + i);
        a += h;
        b += h * ((*(const KVec *)(x + i) - mean) * rstd);
    }
    for (int64_t i = whole; i < n; i++) {
        real h = dy[i] * g[i];
        a[i - whole] += h;
        b[i - whole] += h * ((x[i] - mean) * rstd);
    }
    *sum = a;
    *dot = b;
}

__attribute__((noinline)) static void norm_row(const Norm *op, int64_t row) {
    real x_buffer[K_RUN], g_buffer[K_RUN], b_buffer[K_RUN], y_buffer[K_RUN];
    const int64_t width = k_last(op->x), first = row * width;
    real mean = 0;
    KVec sum = {0};
    if (op->mean) {
        for (int64_t at = 0; at < width; at += K_RUN) {
            int64_t n = k_min(K_RUN, width - at);
            lanes_sum(k_load(op->x, first + at, n, x_buffer), n, &sum);
        }
        mean = k_lane_sum(&sum) / (real)width;
        k_put(op->mean, row, mean);
    }
    sum = (KVec){0};
    for (int64_t at = 0; at < width; at += K_RUN) {
        int64_t n = k_min(K_RUN, width - at);
        lanes_squares(k_load(op->x, first + at, n, x_buffer), n, mean, &sum);
    }
    const real rstd = (real)(1.0 / sqrt((double)(k_lane_sum(&sum) / (real)width) + op->eps));
    k_put(op->rstd, row, rstd);
    for (int64_t at = 0; at < width; at += K_RUN) {
        int64_t n = k_min(K_RUN, width - at);
        const real *x = k_load(op->x, first + at, n, x_buffer), *g = k_load(op->g, at, n, g_buffer);
        real *y = k_target(op->y, first + at, y_buffer);
        if (op->b) {
            const real *b = k_load(op->b, at, n, b_buffer);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * g[i] + b[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = x[i] * rstd * g[i];
        }
        k_store(op->y, first + at, n, y);
    }
}

static void norm_rows(const Norm *op) {
    const int64_t rows = k_rows(op->x);
#pragma omp parallel for schedule(static) if (k_count(op->x) > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) norm_row(op, r);
}

static void add_row(const KTensor *s, const KTensor *a, const KTensor *b, int64_t first, int64_t width) {
    real a_buffer[K_RUN], b_buffer[K_RUN], s_buffer[K_RUN];
    for (int64_t at = first; at < first + width; at += K_RUN) {
        int64_t n = k_min(K_RUN, first + width - at);
        const real *x = k_load(a, at, n, a_buffer), *y = k_load(b, at, n, b_buffer);
        real *to = k_target(s, at, s_buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = x[i] + y[i];
        k_store(s, at, n, to);
    }
}

static void add_norm_rows(const Norm *op, const KTensor *a, const KTensor *b) {
    const int64_t width = k_last(op->x), rows = k_rows(op->x);
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        add_row(op->x, a, b, r * width, width);
        norm_row(op, r);
    }
}

void k_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    norm_rows(&(Norm){&in[0], &in[1], &in[2], &out[0], &out[1], &out[2], attr->eps});
}

void k_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    norm_rows(&(Norm){&in[0], &in[1], NULL, &out[0], NULL, &out[1], attr->eps});
}

void k_add_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    add_norm_rows(&(Norm){&out[0], &in[2], &in[3], &out[1], &out[2], &out[3], attr->eps}, &in[0], &in[1]);
}

void k_add_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    add_norm_rows(&(Norm){&out[0], &in[2], NULL, &out[1], NULL, &out[2], attr->eps}, &in[0], &in[1]);
}

/* ---- gradient of the input ---- */

typedef struct NormBack {
    const KTensor *dy, *x, *g, *mean, *rstd, *add, *dx; /* mean: NULL for RMS norm; add: NULL when absent */
} NormBack;

/* With h = dy g and xhat = (x - mean) rstd: dx = rstd (h - mean(h) - xhat mean(h xhat)); RMS norm
 * has no mean(h). */
static void norm_back_row(const NormBack *op, int64_t row) {
    real dy_buffer[K_RUN], x_buffer[K_RUN], g_buffer[K_RUN], add_buffer[K_RUN], dx_buffer[K_RUN];
    const int64_t width = k_last(op->x), first = row * width;
    const real mean = op->mean ? k_get(op->mean, row) : (real)0, rstd = k_get(op->rstd, row);
    KVec sum = {0}, dot = {0};
    for (int64_t at = 0; at < width; at += K_RUN) {
        int64_t n = k_min(K_RUN, width - at);
        lanes_slopes(k_load(op->dy, first + at, n, dy_buffer), k_load(op->x, first + at, n, x_buffer),
                     k_load(op->g, at, n, g_buffer), n, mean, rstd, &sum, &dot);
    }
    const real mean_h = op->mean ? k_lane_sum(&sum) / (real)width : (real)0;
    const real slope = k_lane_sum(&dot) / (real)width;
    for (int64_t at = 0; at < width; at += K_RUN) {
        int64_t n = k_min(K_RUN, width - at);
        const real *dy = k_load(op->dy, first + at, n, dy_buffer);
        const real *x = k_load(op->x, first + at, n, x_buffer), *g = k_load(op->g, at, n, g_buffer);
        real *dx = k_target(op->dx, first + at, dx_buffer);
        if (op->add) {
            const real *add = k_load(op->add, first + at, n, add_buffer);
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                dx[i] = rstd * (dy[i] * g[i] - mean_h - (x[i] - mean) * rstd * slope) + add[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                dx[i] = rstd * (dy[i] * g[i] - mean_h - (x[i] - mean) * rstd * slope);
        }
        k_store(op->dx, first + at, n, dx);
    }
}

static void norm_back_rows(const NormBack *op) {
    const int64_t rows = k_rows(op->x);
#pragma omp parallel for schedule(static) if (k_count(op->x) > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) norm_back_row(op, r);
}

void k_layernorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    norm_back_rows(&(NormBack){&in[0], &in[1], &in[2], &in[3], &in[4], nin > 5 ? &in[5] : NULL, &out[0]});
}

void k_rmsnorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    norm_back_rows(&(NormBack){&in[0], &in[1], &in[2], NULL, &in[3], nin > 4 ? &in[4] : NULL, &out[0]});
}

/* ---- gradient of the gain ---- */

/* sum[i] += dy[i] (x[i] - mean) rstd for columns [at, at + n) of rows [beg, end) */
static void gain_rows(const NormBack *op, int64_t beg, int64_t end, int64_t at, int64_t n, real *sum) {
    real dy_buffer[K_RUN], x_buffer[K_RUN];
    const int64_t width = k_last(op->x);
    for (int64_t r = beg; r < end; r++) {
        const real mean = op->mean ? k_get(op->mean, r) : (real)0, rstd = k_get(op->rstd, r);
        const real *dy = k_load(op->dy, r * width + at, n, dy_buffer);
        const real *x = k_load(op->x, r * width + at, n, x_buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[i] += dy[i] * ((x[i] - mean) * rstd);
    }
}

/* A lane sums rows / K_LANES rows into the workspace; few rows or wide ones go a run of columns at a
 * time. */
static void gain_sums(const KCtx *cx, const NormBack *op, const KTensor *dg, int adds) {
    const int64_t width = k_last(op->x), rows = k_rows(op->x), runs = (width + K_RUN - 1) / K_RUN;
    const int lanes = k_row_lanes(rows, width);
    real *partial = cx->workspace; /* [lanes, width] */
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int lane = 0; lane < lanes; lane++) {
        real *sum = partial + lane * width;
        memset(sum, 0, (size_t)width * sizeof(real));
        int64_t beg = rows * lane / lanes, end = rows * (lane + 1) / lanes;
        for (int64_t r = beg; r < end; r++)
            for (int64_t at = 0; at < width; at += K_RUN)
                gain_rows(op, r, r + 1, at, k_min(K_RUN, width - at), sum + at);
    }
#pragma omp parallel for schedule(static) if (!lanes && rows * width > SERIAL_ELEMENTS)
    for (int64_t run = 0; run < runs; run++) {
        real sum[K_RUN] = {0};
        int64_t at = run * K_RUN, n = k_min(K_RUN, width - at);
        if (lanes)
            k_sum_lanes(partial + at, width, lanes, n, sum);
        else
            gain_rows(op, 0, rows, at, n, sum);
        k_accumulate(dg, at, n, sum, adds);
    }
}

void k_layernorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout;
    gain_sums(cx, &(NormBack){.dy = &in[0], .x = &in[1], .mean = &in[2], .rstd = &in[3]}, &out[0],
              nin > 4 && k_adds(cx, attr));
}

void k_rmsnorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    gain_sums(cx, &(NormBack){.dy = &in[0], .x = &in[1], .rstd = &in[2]}, &out[0],
              nin > 3 && k_adds(cx, attr));
}

/* ---- both, and sums over rows ---- */

/* sum[i] += x[first + i] of a row */
static void add_row_to(const KTensor *x, int64_t first, int64_t width, real *sum) {
    real buffer[K_RUN];
    for (int64_t at = 0; at < width; at += K_RUN) {
        const int64_t n = k_min(K_RUN, width - at);
        const real *from = k_load(x, first + at, n, buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[at + i] += from[i];
    }
}

/* What a lane of rows leaves in the workspace: of the gain, of the bias in a layer norm, of dx where wanted.
 */
static void sums_lane(const NormBack *op, int sums, int layer, int64_t beg, int64_t end, real *sum) {
    const int64_t width = k_last(op->x);
    memset(sum, 0, (size_t)(sums * width) * sizeof(real));
    for (int64_t r = beg; r < end; r++) {
        for (int64_t at = 0; at < width; at += K_RUN)
            gain_rows(op, r, r + 1, at, k_min(K_RUN, width - at), sum + at);
        if (layer) add_row_to(op->dy, r * width, width, sum + width);
        norm_back_row(op, r); /* dx may be what it is made of */
        if (sums > 1 + layer) add_row_to(op->dx, r * width, width, sum + (1 + layer) * width);
    }
}

/* Rows are taken once, a lane's one after the other; few or wide ones by the separate kernels, sum by sum. */
static int sums_at_once(const KCtx *cx, const NormBack *op, int nout, const KTensor *out, int layer,
                        int adds) {
    const int64_t width = k_last(op->x), rows = k_rows(op->x), runs = (width + K_RUN - 1) / K_RUN;
    const int lanes = k_row_lanes(rows, width), sums = nout - 1;
    real *partial = cx->workspace; /* [lanes, sums, width] */
    if (!lanes) return 0;
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int lane = 0; lane < lanes; lane++)
        sums_lane(op, sums, layer, rows * lane / lanes, rows * (lane + 1) / lanes,
                  partial + lane * sums * width);
    for (int s = 0; s < sums; s++)
        for (int64_t run = 0; run < runs; run++) {
            real sum[K_RUN];
            const int64_t at = run * K_RUN, n = k_min(K_RUN, width - at);
            k_sum_lanes(partial + s * width + at, sums * width, lanes, n, sum);
            k_accumulate(&out[1 + s], at, n, sum, adds);
        }
    return 1;
}

static void norm_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                      const KAttr *attr, int layer) {
    const int operands = layer ? 5 : 4, more = attr->residual != 0,
              adds = nin > operands + more && k_adds(cx, attr);
    const NormBack op = {.dy = &in[0],
                         .x = &in[1],
                         .g = &in[2],
                         .mean = layer ? &in[3] : NULL,
                         .rstd = &in[operands - 1],
                         .add = more ? &in[operands] : NULL,
                         .dx = &out[0]};
    if (!sums_at_once(cx, &op, nout, out, layer, adds))
        k_norm_sums_apart(cx, nout, out, nin, in, attr, layer);
}

void k_layernorm_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    norm_sums(cx, nout, out, nin, in, attr, 1);
}
void k_rmsnorm_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr) {
    norm_sums(cx, nout, out, nin, in, attr, 0);
}
