/* Element-wise operations, their gradients, copies that move columns, and rotary embedding, on
 * CUDA. An element-wise operation is a functor: x holds its inputs at one element, y takes its results. `map`
 * runs it over chunks of four; all inputs of a chunk are read before its results are written, so the first
 * output may be any input's storage. An operand with fewer elements than the output repeats. */
#include "cuda.cuh"

enum { MAP_THREADS = 256, MAP_BLOCKS = 1 << 16 };

static dim3 map_grid(int64_t threads) {
    return k_grid(k_cuda_clamp(k_cuda_ceil(threads, MAP_THREADS), 1, MAP_BLOCKS));
}

template <class F> struct Map {
    KView x[F::INPUTS], y[F::OUTPUTS];
    int64_t period[F::INPUTS], count;
};

static __device__ inline K4 load_repeated(KView v, int64_t period, int64_t i, int n) {
    const int64_t offset = i % period;
    if (offset + n <= period) return k_load4(v, offset, n);
    K4 x = {{0, 0, 0, 0}};
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (j < n) x.at[j] = k_get(v, (i + j) % period);
    return x;
}

template <class F> __global__ void map_kernel(Map<F> m, F f) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x * 4;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < m.count; i += stride) {
        const int n = k_chunk(i, m.count);
        K4 x[F::INPUTS], y[F::OUTPUTS];
#pragma unroll
        for (int o = 0; o < F::INPUTS; o++)
            x[o] = m.period[o] < m.count ? load_repeated(m.x[o], m.period[o], i, n) : k_load4(m.x[o], i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float from[F::INPUTS], to[F::OUTPUTS];
#pragma unroll
            for (int o = 0; o < F::INPUTS; o++) from[o] = x[o].at[j];
            f(i + j, from, to);
#pragma unroll
            for (int o = 0; o < F::OUTPUTS; o++) y[o].at[j] = to[o];
        }
#pragma unroll
        for (int o = 0; o < F::OUTPUTS; o++) k_store4(m.y[o], i, n, y[o]);
    }
}

template <class F> static void map(F f, const KCtx *cx, const KTensor *out, const KTensor *in) {
    Map<F> m;
    m.count = k_count(&out[0]);
    if (m.count == 0) return;
    for (int o = 0; o < F::INPUTS; o++) m.x[o] = k_view(&in[o]), m.period[o] = k_count(&in[o]);
    for (int o = 0; o < F::OUTPUTS; o++) m.y[o] = k_view(&out[o]);
    K_LAUNCH(map_kernel<F>, map_grid(k_cuda_ceil(m.count, 4)), MAP_THREADS, 0, cx->stream, m, f);
    k_clear_room(cx, &out[0]); /* a cast weight's */
}

template <int IN, int OUT> struct Elements {
    enum { INPUTS = IN, OUTPUTS = OUT };
};

/* KERNEL(name, inputs, outputs) { body } defines k_name with the body applied to every element. */
#define KERNEL(name, inputs, outputs)                                                                        \
    struct name##_elements : Elements<inputs, outputs> {                                                     \
        __device__ void operator()(int64_t element, const float *x, float *y) const;                         \
    };                                                                                                       \
    void k_##name(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,                  \
                  const KAttr *attr) {                                                                       \
        (void)nout, (void)nin, (void)attr;                                                                   \
        map(name##_elements(), cx, out, in);                                                                 \
    }                                                                                                        \
    __device__ inline void name##_elements::operator()([[maybe_unused]] int64_t element, const float *x,     \
                                                       float *y) const

/* ---- arithmetic ---- */

KERNEL(add, 2, 1) {
    y[0] = x[0] + x[1];
}
KERNEL(add_broadcast, 2, 1) {
    y[0] = x[0] + x[1];
}
KERNEL(mul, 2, 1) {
    y[0] = x[0] * x[1];
}
KERNEL(cast, 1, 1) {
    y[0] = x[0];
}

struct ScaleElements : Elements<1, 1> {
    float factor;
    __device__ void operator()(int64_t, const float *x, float *y) const { y[0] = x[0] * factor; }
};
void k_scale(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    ScaleElements f;
    f.factor = (float)attr->factor;
    map(f, cx, out, in);
}

struct DropoutElements : Elements<1, 1> {
    uint64_t key;
    int64_t first; /* of the whole, where this is some of its rows */
    uint32_t threshold;
    float scale;
    __device__ void operator()(int64_t element, const float *x, float *y) const {
        y[0] = k_random24(key, (uint64_t)(first + element)) >= threshold ? x[0] * scale : 0.0f;
    }
};
void k_dropout(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    DropoutElements f;
    f.key = k_random_key(cx->seed, cx->step, cx->micro, attr->rng);
    f.first = attr->element;
    f.threshold = (uint32_t)ceil(attr->p * 16777216.0);
    f.scale = (float)(1.0 / (1.0 - attr->p));
    map(f, cx, out, in);
}

/* ---- activations ---- */

/* 0.5 (1 + tanh(u)) = sigmoid(2 u), with u = sqrt(2/pi) (x + 0.044715 x^3). */
static const float GELU_LINEAR = 1.5957691216057307f; /* 2 sqrt(2/pi) */
static const float GELU_CUBIC = 0.07135481627362502f; /* 0.044715 of it */

static __device__ inline float gelu(float x) {
    return x * k_sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x));
}
static __device__ inline float gelu_slope(float x) {
    const float s = k_sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x));
    return s + x * s * (1.0f - s) * (GELU_LINEAR + 3.0f * GELU_CUBIC * x * x);
}
static __device__ inline float silu_slope(float x) {
    const float s = k_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

KERNEL(gelu, 1, 1) {
    y[0] = gelu(x[0]);
}
KERNEL(gelu_bwd, 2, 1) { /* dy, x -> dx */
    y[0] = x[0] * gelu_slope(x[1]);
}
KERNEL(silu, 1, 1) {
    y[0] = x[0] * k_sigmoid(x[0]);
}
KERNEL(silu_bwd, 2, 1) { /* dy, x -> dx */
    y[0] = x[0] * silu_slope(x[1]);
}
KERNEL(swiglu, 2, 1) { /* g, u -> silu(g) u */
    y[0] = x[0] * k_sigmoid(x[0]) * x[1];
}
KERNEL(swiglu_bwd, 3, 2) { /* dy, g, u -> dg, du */
    y[0] = x[0] * x[2] * silu_slope(x[1]);
    y[1] = x[0] * (x[1] * k_sigmoid(x[1]));
}
KERNEL(bias_gelu, 2, 1) { /* x [.., D], b [D] */
    y[0] = gelu(x[0] + x[1]);
}
KERNEL(bias_gelu_bwd, 3, 1) { /* dy, x [.., D], b [D] -> dx */
    y[0] = x[0] * gelu_slope(x[1] + x[2]);
}

/* ---- columns, rows ---- */

/* to[r, to_first + i] = from[r, from_first + i], i < width */
__global__ void columns_kernel(KView to, int64_t to_stride, int64_t to_first, KView from, int64_t from_stride,
                               int64_t from_first, int64_t width, int64_t rows) {
    const int64_t chunks = (width + 3) / 4, stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows * chunks; i += stride) {
        const int64_t row = i / chunks, column = i % chunks * 4;
        const int n = k_chunk(column, width);
        k_store4(to, row * to_stride + to_first + column, n,
                 k_load4(from, row * from_stride + from_first + column, n));
    }
}
static void copy_columns(const KCtx *cx, const KTensor *to, int64_t to_first, const KTensor *from,
                         int64_t from_first, int64_t width) {
    const int64_t rows = k_rows(to), chunks = rows * k_cuda_ceil(width, 4);
    if (chunks == 0) return;
    K_LAUNCH(columns_kernel, map_grid(chunks), MAP_THREADS, 0, cx->stream, k_view(to), k_last(to), to_first,
             k_view(from), k_last(from), from_first, width, rows);
}

void k_split(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nin, (void)attr;
    for (int i = 0; i < nout; i++) copy_columns(cx, &out[i], 0, &in[0], i * k_last(&out[i]), k_last(&out[i]));
}
void k_concat(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)attr;
    for (int i = 0; i < nin; i++) copy_columns(cx, &out[0], i * k_last(&in[i]), &in[i], 0, k_last(&in[i]));
}
void k_positions(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    copy_columns(cx, &out[0], 0, &in[0], 0, k_last(&out[0]));
}

/* y[i] (+)= x[i] for i < used; zero (+)= 0 after that */
__global__ void positions_bwd_kernel(KView y, KView x, int64_t used, int64_t count, int adds) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        if (i < used)
            k_put(y, i, (adds ? k_get(y, i) : 0.0f) + k_get(x, i));
        else if (!adds)
            k_put(y, i, 0.0f);
    }
}
void k_positions_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    const int64_t count = k_count(&out[0]);
    if (count == 0) return;
    K_LAUNCH(positions_bwd_kernel, map_grid(count), MAP_THREADS, 0, cx->stream, k_view(&out[0]),
             k_view(&in[0]), k_count(&in[0]), count, nin > 1 && k_adds(cx, attr));
}

/* ---- rotary embedding (Su et al. 2021), Llama-3's frequency scaling ---- */

struct Rope {
    double theta, factor, low, high, original, direction;
    int64_t positions, time, heads, half; /* positions: B * T */
};

static __device__ double rope_frequency(Rope r, int64_t pair) {
    const double f = pow(r.theta, -(double)pair / (double)r.half);
    if (r.factor <= 0) return f;
    const double turns = r.original * f / 6.28318530717958647692; /* within the original context */
    if (turns > r.high) return f;
    if (turns < r.low) return f / r.factor;
    const double smooth = (turns - r.low) / (r.high - r.low);
    return (1 - smooth) * f / r.factor + smooth * f;
}

/* x [B, T, H, E]. A thread turns the pair (i, i + E/2) of every head at some (b, t). */
__global__ void rope_kernel(KView y, KView x, Rope r) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; at < r.positions * r.half;
         at += stride) {
        const int64_t position = at / r.half, t = position % r.time, pair = at % r.half;
        double sine, cosine;
        sincos(r.direction * (double)t * rope_frequency(r, pair), &sine, &cosine);
        const float s = (float)sine, c = (float)cosine;
        const int64_t first = position * r.heads * r.half * 2 + pair;
        for (int64_t h = 0; h < r.heads; h++) {
            const int64_t i = first + h * r.half * 2;
            const float a = k_get(x, i), b = k_get(x, i + r.half);
            k_put(y, i, a * c - b * s);
            k_put(y, i + r.half, b * c + a * s);
        }
    }
}
void k_rope(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    const Rope r = {attr->theta,
                    attr->rope_factor,
                    attr->rope_low,
                    attr->rope_high,
                    (double)attr->rope_original,
                    attr->inverse ? -1.0 : 1.0,
                    in->dim[0] * in->dim[1],
                    in->dim[1],
                    in->dim[2],
                    in->dim[3] / 2};
    if (k_count(in) == 0) return;
    K_LAUNCH(rope_kernel, map_grid(r.positions * r.half), MAP_THREADS, 0, cx->stream, k_view(&out[0]),
             k_view(&in[0]), r);
}

/* ---- rows ---- */

/* to[to_first + i] = from[from_first + i], i < count: words of 4 bytes, or of 2 for bf16. */
template <class Word> __global__ void stretch_kernel(Word *to, const Word *from, int64_t count) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) to[i] = from[i];
}
static void copy_stretch(const KCtx *cx, const KTensor *to, int64_t to_first, const KTensor *from,
                         int64_t from_first, int64_t count) {
    if (count == 0) return;
    const dim3 grid = map_grid(k_cuda_ceil(count, 4));
    if (to->dtype == K_BF16)
        K_LAUNCH(stretch_kernel<uint16_t>, grid, MAP_THREADS, 0, cx->stream, (uint16_t *)to->data + to_first,
                 (const uint16_t *)from->data + from_first, count);
    else
        K_LAUNCH(stretch_kernel<uint32_t>, grid, MAP_THREADS, 0, cx->stream, (uint32_t *)to->data + to_first,
                 (const uint32_t *)from->data + from_first, count);
}

void k_slice_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin;
    const int64_t row = k_count(&out[0]) / out[0].dim[0];
    copy_stretch(cx, &out[0], 0, &in[0], attr->begin * row, k_count(&out[0]));
}
void k_join_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)attr;
    int64_t first = 0;
    for (int i = 0; i < nin; first += k_count(&in[i++]))
        copy_stretch(cx, &out[0], first, &in[i], 0, k_count(&in[i]));
}
