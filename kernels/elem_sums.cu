/* Gradients of activations with their sums over rows, the gradients of biases, in one pass over memory; what
 * is summed is what is stored. */
#include "activation.cuh"
#include "sums.cuh"

constexpr int MOST_THREADS = 256;

/* A thread has N columns of the rows of a lane. */
template <class F> struct RowSums {
    const void *x[F::ROW_INPUTS];
    KView bias; /* of F::BIASED: one more input, for all rows */
    void *y[F::OUTPUTS];
    KView sum[F::OUTPUTS];
    float *partial; /* f32 [outputs, lanes, width]; NULL: one lane, straight into `sum` */
    int64_t rows, width;
    int adds;
};

struct BiasGeluSlopes { /* dy, x, b -> dx */
    enum { ROW_INPUTS = 2, OUTPUTS = 1, BIASED = 1, ROWS = 4 };
    static __device__ void apply(const float *x, float bias, float *y) {
        y[0] = x[0] * gelu_slope(x[1] + bias);
    }
};
struct SwigluSlopes { /* dy, g, u -> dg, du */
    enum { ROW_INPUTS = 3, OUTPUTS = 2, BIASED = 0, ROWS = 2 };
    static __device__ void apply(const float *x, float, float *y) {
        y[0] = x[0] * x[2] * silu_slope(x[1]);
        y[1] = x[0] * (x[1] * k_sigmoid(x[1]));
    }
};

template <int N, class T, class F> __global__ void row_sums_kernel(RowSums<F> p) {
    constexpr int ROWS = F::ROWS, OUTPUTS = F::OUTPUTS;
    const int64_t column = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    const int64_t lanes = gridDim.y, lane = blockIdx.y, end = p.rows * (lane + 1) / lanes;
    if (column >= p.width) return;
    float bias[N] = {}, sum[OUTPUTS][N] = {};
    if (F::BIASED) k_get_pack<N>(p.bias, column, bias);
    for (int64_t row = p.rows * lane / lanes; row < end; row += ROWS) {
        KPack<T, N> x[ROWS][F::ROW_INPUTS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int i = 0; i < F::ROW_INPUTS; i++) {
                x[r][i] = {};
                if (row + r < end) x[r][i] = k_load_pack<N>((const T *)p.x[i] + (row + r) * p.width + column);
            }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float y[OUTPUTS][N];
            if (row + r >= end) continue;
#pragma unroll
            for (int j = 0; j < N; j++) {
                float from[F::ROW_INPUTS], to[OUTPUTS];
#pragma unroll
                for (int i = 0; i < F::ROW_INPUTS; i++) from[i] = x[r][i].get(j);
                F::apply(from, bias[j], to);
#pragma unroll
                for (int o = 0; o < OUTPUTS; o++) y[o][j] = to[o];
            }
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) {
                const KPack<T, N> stored =
                    k_store_pack<T, N>((T *)p.y[o] + (row + r) * p.width + column, y[o]);
#pragma unroll
                for (int j = 0; j < N; j++) sum[o][j] += stored.get(j);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++)
#pragma unroll
        for (int j = 0; j < N; j++) {
            const KView to = p.sum[o];
            if (p.partial)
                p.partial[(o * lanes + lane) * p.width + column + j] = sum[o][j];
            else
                k_put(to, column + j, p.adds ? k_get(to, column + j) + sum[o][j] : sum[o][j]);
        }
}

/* Accumulators stand behind the operands; sums, behind what they are of. */
template <class F>
static void row_sums(const KCtx *cx, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    constexpr int OPERANDS = F::ROW_INPUTS + F::BIASED;
    RowSums<F> p = {};
    for (int i = 0; i < F::ROW_INPUTS; i++) p.x[i] = in[i].data;
    if (F::BIASED) p.bias = k_view(&in[F::ROW_INPUTS]);
    for (int o = 0; o < F::OUTPUTS; o++) {
        p.y[o] = out[o].data;
        p.sum[o] = k_view(&out[F::OUTPUTS + o]);
    }
    p.rows = k_rows(&in[0]);
    p.width = k_last(&in[0]);
    p.adds = nin > OPERANDS && k_adds(cx, attr);
    const int64_t lanes = k_cuda_sum_lanes(p.rows);
    if (lanes > 1) p.partial = (float *)cx->workspace;
    const auto launch = [&]<int N, class T>() {
        const int threads = k_even_threads(p.width / N, MOST_THREADS);
        K_LAUNCH((row_sums_kernel<N, T, F>), k_grid(k_cuda_ceil(p.width / N, threads), lanes), threads, 0,
                 cx->stream, p);
    };
    k_by_type(in[0].dtype, [&](auto t) {
        using T = decltype(t);
        if (p.width % K_PACK == 0)
            launch.template operator()<K_PACK, T>();
        else
            launch.template operator()<1, T>();
    });
    if (lanes > 1) k_add_lanes(cx, F::OUTPUTS, &out[F::OUTPUTS], p.partial, lanes, p.width, p.adds);
}

void k_bias_gelu_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    (void)nout;
    row_sums<BiasGeluSlopes>(cx, out, nin, in, attr);
}
void k_swiglu_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout;
    row_sums<SwigluSlopes>(cx, out, nin, in, attr);
}
