/* Element-wise operations, their gradients, copies that move columns, and sums over leading dimensions, on
 * the host. An element-wise kernel is a body over one run of `real`s; `map` cuts the tensors into runs of
 * K_RUN elements, always at the same places, and spreads them over the threads. Every body reads element i
 * of all operands before it writes element i of an output, so the first output may be any input's storage.
 * An operand with fewer elements than the output repeats: b[S] against x[.., S]. */
#include "host.h"
#include "random.h"

enum { SERIAL_ELEMENTS = 16384, MAX_OPERANDS = 3, MAX_RESULTS = 2 };

typedef struct Run {
    real *y[MAX_RESULTS];
    const real *x[MAX_OPERANDS];
    int64_t first, n;
} Run;
typedef void Body(const Run *run, const KCtx *cx, const KAttr *attr);

/* Elements [first, first + n) of b repeated. */
static const real *load_repeated(const KTensor *b, int64_t period, int64_t first, int64_t n, real *buffer) {
    int64_t offset = first % period;
    if (offset + n <= period) return k_load(b, offset, n, buffer);
    for (int64_t done = 0; done < n;) {
        int64_t piece = k_min(n - done, period - offset);
        const real *from = k_load(b, offset, piece, buffer + done);
        if (from != buffer + done) memcpy(buffer + done, from, (size_t)piece * sizeof(real));
        done += piece;
        offset = 0;
    }
    return buffer;
}

static void map_run(Body *body, const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr, int64_t first, int64_t n) {
    real loaded[MAX_OPERANDS][K_RUN], stored[MAX_RESULTS][K_RUN];
    Run run = {.first = first, .n = n};
    int64_t total = k_count(&out[0]);
    for (int i = 0; i < nin; i++) {
        int64_t period = k_count(&in[i]);
        run.x[i] = period < total ? load_repeated(&in[i], period, first, n, loaded[i])
                                  : k_load(&in[i], first, n, loaded[i]);
    }
    for (int i = 0; i < nout; i++) run.y[i] = k_target(&out[i], first, stored[i]);
    body(&run, cx, attr);
    for (int i = 0; i < nout; i++) k_store(&out[i], first, n, run.y[i]);
}

static void map(Body *body, const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                const KAttr *attr) {
    int64_t n = k_count(&out[0]), runs = (n + K_RUN - 1) / K_RUN;
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < runs; r++)
        map_run(body, cx, nout, out, nin, in, attr, r * K_RUN, k_min(K_RUN, n - r * K_RUN));
}

/* KERNEL names the kernel and opens its body; EACH runs over its elements: x0, x1, x2 in, y0, y1 out. */
#define KERNEL(name)                                                                                         \
    static Body body_##name;                                                                                 \
    void k_##name(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,                  \
                  const KAttr *attr) {                                                                       \
        map(body_##name, cx, nout, out, nin, in, attr);                                                      \
    }                                                                                                        \
    static void body_##name(const Run *run, const KCtx *cx, const KAttr *attr)
#define OPERANDS                                                                                             \
    (void)cx;                                                                                                \
    (void)attr;                                                                                              \
    const real *x0 = run->x[0], *x1 = run->x[1], *x2 = run->x[2];                                            \
    real *y0 = run->y[0], *y1 = run->y[1];                                                                   \
    (void)x1, (void)x2, (void)y1;                                                                            \
    const int64_t n = run->n
#define EACH _Pragma("omp simd") for (int64_t i = 0; i < n; i++)

KERNEL(add) {
    OPERANDS;
    EACH y0[i] = x0[i] + x1[i];
}

KERNEL(add_broadcast) {
    OPERANDS;
    EACH y0[i] = x0[i] + x1[i];
}

KERNEL(mul) {
    OPERANDS;
    EACH y0[i] = x0[i] * x1[i];
}

KERNEL(scale) {
    OPERANDS;
    const real factor = (real)attr->factor;
    EACH y0[i] = x0[i] * factor;
}

static void body_add_scaled(const Run *run, const KCtx *cx, const KAttr *attr) {
    OPERANDS;
    const real factor = (real)attr->factor;
    EACH y0[i] = x0[i] + x1[i] * factor;
}
static void body_add_scaled_rounded(const Run *run, const KCtx *cx, const KAttr *attr) {
    OPERANDS;
    const real factor = (real)attr->factor;
    real scaled[K_RUN];
    uint16_t rounded[K_RUN];
    EACH scaled[i] = x1[i] * factor;
    k_round(rounded, scaled, n);
    EACH y0[i] = x0[i] + k_from_bf16(rounded[i]);
}
void k_add_scaled(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    map(out->dtype == K_BF16 ? body_add_scaled_rounded : body_add_scaled, cx, nout, out, nin, in, attr);
}

static void body_cast(const Run *run, const KCtx *cx, const KAttr *attr) {
    OPERANDS;
    EACH y0[i] = x0[i];
}
void k_cast(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout;
    int64_t at = 0;
    for (int i = 0; i < nin; i++) {
        KTensor part = in[i];
        part.dtype = out->dtype;
        part.data = k_at(out, at);
        map(body_cast, cx, 1, &part, 1, &in[i], attr);
        at += k_count(&part);
        if (at == k_count(out)) out++, at = 0;
    }
}

/* ---- activations ---- */

/* 1 / (1 + exp(-x)). Up to 88 the exponential stays in range, so that one factor 2^n will do; beyond it the
 * result is 0 (below 1e-38). */
static inline real sigmoid(real x) {
    if (K_REAL_IS_DOUBLE) return k_sigmoid(x);
    float f = (float)-x, p;
    f = f > 88.0f ? 88.0f : f;
    f = f < -87.0f ? -87.0f : f;
    float scale = k_power_of_two(k_exp_split(f, &p));
    float s = 1.0f / (1.0f + (scale + scale * p));
    return (real)(f >= 88.0f ? 0.0f : s);
}

/* 0.5 (1 + tanh(u)) = sigmoid(2 u), with u = sqrt(2/pi) (x + 0.044715 x^3). */
static const real gelu_linear = (real)1.5957691216057307117597842397375; /* 2 sqrt(2/pi) */
static const real gelu_cubic = (real)(0.044715 * 1.5957691216057307117597842397375);

static inline real gelu(real x) {
    return x * sigmoid(x * (gelu_linear + gelu_cubic * x * x));
}
static inline real gelu_slope(real x) {
    real s = sigmoid(x * (gelu_linear + gelu_cubic * x * x));
    return s + x * s * ((real)1 - s) * (gelu_linear + (real)3 * gelu_cubic * x * x);
}
static inline real silu(real x) {
    return x * sigmoid(x);
}
static inline real silu_slope(real x) {
    real s = sigmoid(x);
    return s * ((real)1 + x * ((real)1 - s));
}

KERNEL(gelu) {
    OPERANDS;
    EACH y0[i] = gelu(x0[i]);
}

KERNEL(gelu_bwd) { /* dy, x -> dx */
    OPERANDS;
    EACH y0[i] = x0[i] * gelu_slope(x1[i]);
}

KERNEL(silu) {
    OPERANDS;
    EACH y0[i] = silu(x0[i]);
}

KERNEL(silu_bwd) { /* dy, x -> dx */
    OPERANDS;
    EACH y0[i] = x0[i] * silu_slope(x1[i]);
}

KERNEL(swiglu) { /* g, u -> silu(g) u */
    OPERANDS;
    EACH y0[i] = silu(x0[i]) * x1[i];
}

KERNEL(swiglu_bwd) { /* dy, g, u -> dg, du */
    OPERANDS;
    EACH {
        real dy = x0[i], g = x1[i], u = x2[i];
        real s = sigmoid(g);
        y0[i] = dy * u * (s * ((real)1 + g * ((real)1 - s)));
        y1[i] = dy * (g * s);
    }
}

KERNEL(bias_gelu) { /* x [.., D], b [D] */
    OPERANDS;
    EACH y0[i] = gelu(x0[i] + x1[i]);
}

KERNEL(bias_gelu_bwd) { /* dy, x [.., D], b [D] -> dx */
    OPERANDS;
    EACH y0[i] = x0[i] * gelu_slope(x1[i] + x2[i]);
}

KERNEL(dropout) {
    OPERANDS;
    const uint64_t key = k_random_key(cx->seed, cx->step, cx->micro, attr->rng);
    const uint32_t threshold = (uint32_t)ceil(attr->p * 16777216.0);
    const real scale = (real)(1.0 / (1.0 - attr->p));
    uint32_t draw[K_RUN];
    EACH draw[i] = k_random24(key, (uint64_t)(attr->element + run->first + i));
    EACH y0[i] = draw[i] >= threshold ? x0[i] * scale : (real)0;
}

/* ---- columns, rows ---- */

/* n elements, whatever the two storage types. */
static void copy(const KTensor *to, int64_t to_first, const KTensor *from, int64_t from_first, int64_t n) {
    if (to->dtype == from->dtype) {
        memcpy(k_at(to, to_first), k_at(from, from_first), (size_t)n * k_element_bytes(to->dtype));
        return;
    }
    real loaded[K_RUN], stored[K_RUN];
    for (int64_t at = 0; at < n; at += K_RUN) {
        int64_t piece = k_min(K_RUN, n - at);
        const real *x = k_load(from, from_first + at, piece, loaded);
        real *y = k_target(to, to_first + at, stored);
        memcpy(y, x, (size_t)piece * sizeof(real));
        k_store(to, to_first + at, piece, y);
    }
}

/* Columns of `whole` [rows, sum of widths] from or to the `parts` [rows, width] side by side. */
static void columns(const KTensor *whole, int count, const KTensor *parts, int to_parts) {
    const int64_t width = k_last(whole), rows = k_rows(whole);
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0, column = 0; i < count; i++) {
            int64_t part_width = k_last(&parts[i]);
            if (to_parts)
                copy(&parts[i], r * part_width, whole, r * width + column, part_width);
            else
                copy(whole, r * width + column, &parts[i], r * part_width, part_width);
            column += part_width;
        }
}

void k_split(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nin, (void)attr;
    columns(&in[0], nout, out, 1);
}

void k_concat(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    columns(&out[0], nin, in, 0);
}

/* Rows [first, first + n) of `to` or `from` are one stretch of elements. */
static void copy_stretch(const KTensor *to, int64_t to_first, const KTensor *from, int64_t from_first,
                         int64_t n) {
    const int64_t runs = (n + K_RUN - 1) / K_RUN;
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < runs; r++)
        copy(to, to_first + r * K_RUN, from, from_first + r * K_RUN, k_min(K_RUN, n - r * K_RUN));
}

void k_slice_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    const int64_t row = k_count(&out[0]) / out[0].dim[0];
    copy_stretch(&out[0], 0, &in[0], attr->begin * row, k_count(&out[0]));
}

void k_join_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    for (int64_t i = 0, first = 0; i < nin; first += k_count(&in[i++]))
        copy_stretch(&out[0], first, &in[i], 0, k_count(&in[i]));
}

void k_positions(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)cx, (void)nout, (void)nin, (void)attr;
    const int64_t rows = out[0].dim[0], width = k_last(&out[0]);
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) copy(&out[0], r * width, &in[0], r * width, width);
}

void k_positions_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    const int64_t total = k_count(&out[0]), used = k_count(&in[0]), runs = (total + K_RUN - 1) / K_RUN;
    const int adds = nin > 1 && k_adds(cx, attr);
#pragma omp parallel for schedule(static) if (total > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < runs; r++) {
        real loaded[K_RUN];
        int64_t first = r * K_RUN, end = k_min(first + K_RUN, total);
        int64_t given = k_min(used, end) - first;
        if (given > 0) k_accumulate(&out[0], first, given, k_load(&in[0], first, given, loaded), adds);
        if (given < 0) given = 0;
        if (!adds && first + given < end)
            memset(k_at(&out[0], first + given), 0,
                   (size_t)(end - first - given) * k_element_bytes(out[0].dtype));
    }
}

/* ---- sums over leading dimensions ---- */

static void add_rows(const KTensor *dy, int64_t first, int64_t stride, int64_t rows, int64_t n, real *sum) {
    real loaded[K_RUN];
    for (int64_t r = 0; r < rows; r++) {
        const real *x = k_load(dy, first + r * stride, n, loaded);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[i] += x[i];
    }
}

/* dy [N, S] -> [S]. A lane sums N / K_LANES rows; few rows or wide ones go a run of columns at a time. */
void k_sum_leading(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout;
    const int64_t width = k_count(&out[0]), rows = width ? k_count(&in[0]) / width : 0;
    const int64_t runs = (width + K_RUN - 1) / K_RUN;
    const int adds = nin > 1 && k_adds(cx, attr);
    const int lanes = k_row_lanes(rows, width);
    real *partial = cx->workspace; /* [lanes, width] */
    if (lanes) {
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
        for (int lane = 0; lane < lanes; lane++) {
            int64_t beg = rows * lane / lanes, end = rows * (lane + 1) / lanes;
            real *sum = partial + lane * width;
            memset(sum, 0, (size_t)width * sizeof(real));
            for (int64_t r = beg; r < end; r++)
                for (int64_t at = 0; at < width; at += K_RUN)
                    add_rows(&in[0], r * width + at, width, 1, k_min(K_RUN, width - at), sum + at);
        }
    }
#pragma omp parallel for schedule(static) if (!lanes && rows * width > SERIAL_ELEMENTS)
    for (int64_t run = 0; run < runs; run++) {
        real sum[K_RUN] = {0};
        int64_t at = run * K_RUN, n = k_min(K_RUN, width - at);
        if (lanes)
            k_sum_lanes(partial + at, width, lanes, n, sum);
        else
            add_rows(&in[0], at, width, rows, n, sum);
        k_accumulate(&out[0], at, n, sum, adds);
    }
}

/* An operation over rows of `operands` inputs, and the sums over rows of its `sums` first outputs, which
 * stand behind those; accumulators stand behind its inputs. Rows are taken once, a lane's one after the
 * other. */
static void map_and_sum(Body *body, const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr, int operands) {
    const int sums = nout / 2, adds = nin > operands && k_adds(cx, attr);
    const int64_t width = k_last(&in[0]), rows = k_rows(&in[0]), runs = (width + K_RUN - 1) / K_RUN;
    const int lanes = k_row_lanes(rows, width);
    real *partial = cx->workspace; /* [sums, lanes, width] */
    if (!lanes) {
        map(body, cx, sums, out, operands, in, attr);
        for (int s = 0; s < sums; s++) {
            const KTensor of[] = {out[s], nin > operands ? in[operands + s] : out[s]};
            k_sum_leading(cx, 1, &out[sums + s], nin > operands ? 2 : 1, of, attr);
        }
        return;
    }
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_ELEMENTS)
    for (int lane = 0; lane < lanes; lane++) {
        for (int s = 0; s < sums; s++)
            memset(partial + (s * lanes + lane) * width, 0, (size_t)width * sizeof(real));
        for (int64_t r = rows * lane / lanes; r < rows * (lane + 1) / lanes; r++)
            for (int64_t at = 0; at < width; at += K_RUN) {
                const int64_t n = k_min(K_RUN, width - at);
                map_run(body, cx, sums, out, operands, in, attr, r * width + at, n);
                for (int s = 0; s < sums; s++)
                    add_rows(&out[s], r * width + at, width, 1, n, partial + (s * lanes + lane) * width + at);
            }
    }
    for (int64_t run = 0; run < sums * runs; run++) {
        real sum[K_RUN];
        const int64_t s = run / runs, at = run % runs * K_RUN, n = k_min(K_RUN, width - at);
        k_sum_lanes(partial + s * lanes * width + at, width, lanes, n, sum);
        k_accumulate(&out[sums + s], at, n, sum, adds);
    }
}

/* dy, x, b, acc? -> dx, its sum over rows */
void k_bias_gelu_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    map_and_sum(body_bias_gelu_bwd, cx, nout, out, nin, in, attr, 3);
}
/* dy, g, u, acc..? -> dg, du, their sums over rows */
void k_swiglu_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    map_and_sum(body_swiglu_bwd, cx, nout, out, nin, in, attr, 3);
}
