/* The backward pass of a norm, with the gradients of its gain and bias and, where wanted, the sum over rows
 * of the gradient that it makes: one pass over memory. A group of threads has a row of which each thread
 * keeps its packs, ROWS rows at a time; a thread always has the same columns, so it adds up their sums in
 * registers:
 *
 *     rows of a lane     group 0: ROWS rows | group 1: ROWS rows | group 0: the next ..
 *     threads            | 8 columns | 8 columns | ..               lane: the rows of a block
 *
 * Rows that are not aligned, or longer than MOST_THREADS threads hold, take the separate kernels one after
 * the other. Which way follows from the width alone. */
#include "norm_apart.h"
#include "sums.cuh"

constexpr int GROUPED = 256; /* threads that groups fill; a longer row takes up to MOST_THREADS */
constexpr int MOST_THREADS = K_CUDA_NORM_SUMS_WIDTH / K_PACK;
constexpr int MOST_SUMS = 3;

struct NormSums {
    const void *dy, *x;
    KView gain;
    const float *mean, *rstd; /* mean NULL: RMS norm */
    const void *add;          /* NULL: none */
    void *dx;
    KView sum[MOST_SUMS]; /* of the gain, of the bias (layer norm), of dx (where wanted) */
    float *partial;       /* f32 [sums, lanes, width]; NULL: one lane, straight into `sum` */
    int64_t rows, width;
    int across, adds; /* across: threads of a group */
};

template <class T, bool LAYER> struct NormRows {
    static constexpr int ROWS = sizeof(T) == 2 ? 2 : 1, VALUES = ROWS * (1 + LAYER);
    KPack<T, K_PACK> dy[ROWS], x[ROWS], add[ROWS];
    float mean[ROWS], rstd[ROWS];

    /* Rows from `first` on; zeros where there is none. */
    __device__ void load(const NormSums &p, int64_t first, int64_t end, int column) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const bool there = first + r < end;
            const int64_t at = (first + r) * p.width + column;
            mean[r] = LAYER && there ? p.mean[first + r] : 0.0f;
            rstd[r] = there ? p.rstd[first + r] : 0.0f;
            dy[r] = x[r] = add[r] = {};
            if (!there || column >= p.width) continue;
            dy[r] = k_load_pack<K_PACK>((const T *)p.dy + at);
            x[r] = k_load_pack<K_PACK>((const T *)p.x + at);
            if (p.add) add[r] = k_load_pack<K_PACK>((const T *)p.add + at);
        }
    }
    __device__ float normed(int r, int j) const {
        return (x[r].get(j) - mean[r]) * rstd[r];
    }
    /* Of each row: the sum of h xhat, and of h in a layer norm; h = dy gain. */
    __device__ void slopes(const float *gain, float *value) const {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float dot = 0, sum = 0;
#pragma unroll
            for (int j = 0; j < K_PACK; j++) {
                const float h = dy[r].get(j) * gain[j];
                dot += h * normed(r, j);
                sum += h;
            }
            value[r] = dot;
            if (LAYER) value[ROWS + r] = sum;
        }
    }
};

/* The values of the threads of a group, added up, the same bits in each of them. All threads of the block
 * call it. */
template <int VALUES> static __device__ inline void sum_group(float *value, float *scratch, int across) {
    const int warp = (int)threadIdx.x / 32, warps = across / 32, first = warp / warps * warps;
#pragma unroll
    for (int v = 0; v < VALUES; v++) {
        value[v] = k_warp_sum(value[v]);
        if (threadIdx.x % 32 == 0) scratch[warp * VALUES + v] = value[v];
    }
    __syncthreads();
#pragma unroll
    for (int v = 0; v < VALUES; v++) value[v] = 0;
    for (int w = first; w < first + warps; w++)
#pragma unroll
        for (int v = 0; v < VALUES; v++) value[v] += scratch[w * VALUES + v];
}

/* What the block's groups have of sum `s`, added up. */
static __device__ inline void leave_sum(const NormSums &p, int s, const float *total, float *tile) {
    const int column = (int)threadIdx.x % p.across * K_PACK, group = (int)threadIdx.x / p.across;
    const int groups = (int)blockDim.x / p.across;
    __syncthreads(); /* the tile is free */
    if (column < p.width)
#pragma unroll
        for (int j = 0; j < K_PACK; j++) tile[group * p.width + column + j] = total[j];
    __syncthreads();
    for (int64_t c = threadIdx.x; c < p.width; c += blockDim.x) {
        float sum = 0;
        for (int i = 0; i < groups; i++) sum += tile[i * p.width + c];
        if (p.partial)
            p.partial[((int64_t)s * gridDim.x + blockIdx.x) * p.width + c] = sum;
        else
            k_put(p.sum[s], c, p.adds ? k_get(p.sum[s], c) + sum : sum);
    }
}

/* dx = rstd (h - mean(h) - xhat mean(h xhat)) (+ add); RMS norm has no mean(h). INPUT: dx is summed too. */
template <class T, bool LAYER, bool INPUT>
__global__ void __launch_bounds__(MOST_THREADS, 1) norm_sums_kernel(NormSums p) {
    typedef NormRows<T, LAYER> Rows;
    constexpr int ROWS = Rows::ROWS, VALUES = Rows::VALUES;
    K_SHARED(float, shared); /* [2, warps, VALUES]; then [groups, width] */
    const int column = (int)threadIdx.x % p.across * K_PACK, group = (int)threadIdx.x / p.across;
    const int step = (int)blockDim.x / p.across * ROWS;
    const int64_t lanes = gridDim.x, lane = blockIdx.x, end = p.rows * (lane + 1) / lanes;
    float gain[K_PACK] = {}, gain_sum[K_PACK] = {}, bias_sum[K_PACK] = {}, dx_sum[K_PACK] = {};
    if (column < p.width) k_get_pack<K_PACK>(p.gain, column, gain);
    float *scratch = shared, *other = shared + blockDim.x / 32 * VALUES;
    for (int64_t first = p.rows * lane / lanes; first < end; first += step) {
        Rows rows;
        float value[VALUES];
        const int64_t mine = first + group * ROWS;
        rows.load(p, mine, end, column);
        rows.slopes(gain, value);
        sum_group<VALUES>(value, scratch, p.across);
        float *next = other; /* what is read here is written again only behind the next barrier */
        other = scratch;
        scratch = next;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float slope = value[r] / (float)p.width;
            const float mean_h = LAYER ? value[ROWS + r] / (float)p.width : 0.0f;
            float dx[K_PACK];
#pragma unroll
            for (int j = 0; j < K_PACK; j++) {
                const float dy = rows.dy[r].get(j), xhat = rows.normed(r, j);
                dx[j] = rows.rstd[r] * (dy * gain[j] - mean_h - xhat * slope);
                if (p.add) dx[j] += rows.add[r].get(j);
                gain_sum[j] += dy * xhat;
                if (LAYER) bias_sum[j] += dy;
            }
            if (mine + r >= end || column >= p.width) continue;
            const KPack<T, K_PACK> stored =
                k_store_pack<T, K_PACK>((T *)p.dx + (mine + r) * p.width + column, dx);
#pragma unroll
            for (int j = 0; j < K_PACK; j++)
                if (INPUT) dx_sum[j] += stored.get(j);
        }
    }
    leave_sum(p, 0, gain_sum, shared);
    if (LAYER) leave_sum(p, 1, bias_sum, shared);
    if (INPUT) leave_sum(p, 1 + LAYER, dx_sum, shared);
}

/* ---- the lanes ---- */

constexpr int LANE_COLUMNS = 32, LANE_PARTS = 8; /* of a block */

struct Lanes {
    KView sum[MOST_SUMS];
    const float *partial;
    int64_t lanes, width;
    int adds;
};

__global__ void __launch_bounds__(LANE_COLUMNS *LANE_PARTS)
    add_lanes_kernel(const __grid_constant__ Lanes p) {
    K_SHARED(float, tile); /* [LANE_PARTS, LANE_COLUMNS] */
    const int at = (int)threadIdx.x % LANE_COLUMNS, part = (int)threadIdx.x / LANE_COLUMNS;
    const int64_t column = (int64_t)blockIdx.x * LANE_COLUMNS + at;
    const float *from = p.partial + blockIdx.y * p.lanes * p.width + column;
    float sum = 0;
    if (column < p.width)
#pragma unroll 8
        for (int64_t lane = part; lane < p.lanes; lane += LANE_PARTS) sum += from[lane * p.width];
    tile[threadIdx.x] = sum;
    __syncthreads();
    if (part != 0 || column >= p.width) return;
    sum = 0;
#pragma unroll
    for (int i = 0; i < LANE_PARTS; i++) sum += tile[i * LANE_COLUMNS + at];
    const KView to = p.sum[blockIdx.y];
    k_put(to, column, p.adds ? k_get(to, column) + sum : sum);
}

void k_add_lanes(const KCtx *cx, int sums, const KTensor *out, const float *partial, int64_t lanes,
                 int64_t width, int adds) {
    Lanes p = {{}, partial, lanes, width, adds};
    for (int i = 0; i < sums; i++) p.sum[i] = k_view(&out[i]);
    K_LAUNCH(add_lanes_kernel, k_grid(k_cuda_ceil(width, LANE_COLUMNS), sums), LANE_COLUMNS * LANE_PARTS,
             LANE_COLUMNS * LANE_PARTS * sizeof(float), cx->stream, p);
}

/* ---- launches ---- */

template <bool LAYER, bool INPUT> static void one_pass(const KCtx *cx, int dtype, NormSums p) {
    const int64_t lanes = k_cuda_sum_lanes(p.rows);
    p.across = k_even_threads(p.width / K_PACK, MOST_THREADS);
    const int groups = p.across < GROUPED ? GROUPED / p.across : 1, threads = groups * p.across;
    p.partial = lanes > 1 ? (float *)cx->workspace : NULL;
    k_by_type(dtype, [&](auto t) {
        using T = decltype(t);
        const int64_t values = 2 * threads / 32 * NormRows<T, LAYER>::VALUES;
        const size_t shared_bytes = (size_t)k_cuda_most(values, groups * p.width) * sizeof(float);
        K_LAUNCH((norm_sums_kernel<T, LAYER, INPUT>), k_grid(lanes), threads, shared_bytes, cx->stream, p);
    });
}

/* dy, x, g, mean (layer norm), rstd, add if attr.residual, accumulators? -> dx, and the sums */
static void norm_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                      const KAttr *attr, bool layer) {
    const int operands = layer ? 5 : 4;
    const KTensor *add = attr->residual ? &in[operands] : NULL;
    const bool sums_input = nout > 2 + layer;
    if (!k_cuda_norm_sums_at_once(k_last(&in[0]))) {
        k_norm_sums_apart(cx, nout, out, nin, in, attr, layer);
        return;
    }
    NormSums p = {};
    p.dy = in[0].data;
    p.x = in[1].data;
    p.gain = k_view(&in[2]);
    p.mean = layer ? (const float *)in[3].data : NULL;
    p.rstd = (const float *)in[operands - 1].data;
    p.add = add ? add->data : NULL;
    p.dx = out[0].data;
    for (int i = 1; i < nout; i++) p.sum[i - 1] = k_view(&out[i]);
    p.rows = k_rows(&in[0]);
    p.width = k_last(&in[0]);
    p.adds = nin > operands + (add != NULL) && k_adds(cx, attr);
    if (layer && sums_input)
        one_pass<true, true>(cx, in[0].dtype, p);
    else if (layer)
        one_pass<true, false>(cx, in[0].dtype, p);
    else if (sums_input)
        one_pass<false, true>(cx, in[0].dtype, p);
    else
        one_pass<false, false>(cx, in[0].dtype, p);
    const int64_t lanes = k_cuda_sum_lanes(p.rows);
    if (lanes > 1) k_add_lanes(cx, nout - 1, out + 1, (const float *)cx->workspace, lanes, p.width, p.adds);
}

void k_layernorm_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    norm_sums(cx, nout, out, nin, in, attr, true);
}
void k_rmsnorm_bwd_sums(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr) {
    norm_sums(cx, nout, out, nin, in, attr, false);
}
