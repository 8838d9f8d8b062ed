/* Layer norm and RMS norm, their gradients, and sums over rows, on CUDA. RMS norm is layer norm with a mean
 * of zero and no bias. A warp has a short row, a block a longer one: each thread keeps its packs of the row
 * in registers, all threads meet at the sums, then each writes the packs it alone has read, so every operand
 * may be written in place. Rows too long for that are read again for each pass. The fused residual + norm is
 * the same kernel with one more part in front: s is stored, rounded to its type, and normalised as stored. */
#include "cuda.cuh"
#include "variant.h"

constexpr int WARP_ROWS = 4;       /* rows of a block where a warp has one, unless a variant says otherwise */
constexpr int BLOCK_THREADS = 512; /* most, where a block has a row */
constexpr int ROW_PACKS = K_CUDA_NORM_PACKS; /* most packs of a thread that are kept */
constexpr int ROW_SINGLES = 8;               /* the same where rows are not aligned: packs of one */

/* WARPS: of a block, a row each; 0: a block has one row. Threads of a block, at most; the least blocks of
 * them that a multiprocessor shall hold bound the registers. */
template <int WARPS> constexpr int ROW_THREADS = WARPS ? WARPS * 32 : BLOCK_THREADS;
template <class T, int WARPS>
constexpr int NORM_BLOCKS = WARPS ? (sizeof(T) == 2 ? 8 : 4) * WARP_ROWS / WARPS : 1;
template <class T, int PACKS> constexpr int BACK_BLOCKS = sizeof(T) == 2 ? (PACKS < 4 ? 8 : 6) : 3;

/* Where a thread's packs of a row lie: pack k of a tile starts at at(tile, k). */
template <int N, int PACKS, int WARPS> struct RowPart {
    int64_t width, row, first; /* first: element of the tensor at which the row starts */
    int threads, me;

    __device__ RowPart(int64_t width_)
        : width(width_), row(WARPS ? (int64_t)blockIdx.x * WARPS + threadIdx.x / 32 : blockIdx.x),
          first(row * width_), threads(WARPS ? 32 : (int)blockDim.x),
          me(WARPS ? (int)threadIdx.x % 32 : (int)threadIdx.x) {}
    __device__ int64_t tile() const { return (int64_t)PACKS * threads * N; }
    __device__ bool kept() const { return width <= tile(); } /* one tile is the row */
    __device__ int64_t at(int64_t tile, int k) const { return tile + (int64_t)(k * threads + me) * N; }
    template <class T> __device__ void load(KPack<T, N> *x, const T *from, int64_t tile) const {
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            x[k] = {};
            if (at(tile, k) < width) x[k] = k_load_pack<N>(from + first + at(tile, k));
        }
    }
    __device__ float sum(float x, float *scratch) const {
        return WARPS ? k_warp_sum(x) : k_block_sum(x, scratch);
    }
};

/* launch<T, N, PACKS, WARPS>(grid, threads) for rows of this type and width that a warp can hold: WARPS of a
 * block have one each; where there are none, a block has one, in so many packs a thread. */
template <int WARPS, int PACKS, class Launch>
static void by_short_row(int dtype, int64_t rows, int64_t width, Launch launch) {
    k_by_type(dtype, [&](auto t) {
        using T = decltype(t);
        if constexpr (WARPS) {
            const dim3 grid = k_grid(k_cuda_ceil(rows, WARPS));
            switch (k_cuda_norm_warp_packs(width)) {
            case 1: launch.template operator()<T, K_PACK, 1, WARPS>(grid, WARPS * 32); break;
            case 2: launch.template operator()<T, K_PACK, 2, WARPS>(grid, WARPS * 32); break;
            case 3: launch.template operator()<T, K_PACK, 3, WARPS>(grid, WARPS * 32); break;
            default: launch.template operator()<T, K_PACK, ROW_PACKS, WARPS>(grid, WARPS * 32);
            }
        } else {
            launch.template operator()<T, K_PACK, PACKS, 0>(
                k_grid(rows), k_even_threads(k_cuda_ceil(width / K_PACK, PACKS), BLOCK_THREADS));
        }
    });
}
/* The same for other rows. */
template <class Launch> static void by_long_row(int dtype, int64_t rows, int64_t width, Launch launch) {
    k_by_type(dtype, [&](auto t) {
        using T = decltype(t);
        if (width % K_PACK == 0)
            launch.template operator()<T, K_PACK, ROW_PACKS, 0>(
                k_grid(rows), k_even_threads(k_cuda_ceil(width / K_PACK, ROW_PACKS), BLOCK_THREADS));
        else
            launch.template operator()<T, 1, ROW_SINGLES, 0>(
                k_grid(rows), k_even_threads(k_cuda_ceil(width, ROW_SINGLES), BLOCK_THREADS));
    });
}

struct Norm {
    const void *a, *b; /* a NULL: no sum in front */
    void *x;
    KView gain, bias; /* bias.data NULL: none */
    void *y;
    float *mean, *rstd; /* mean NULL: RMS norm */
    int64_t rows, width;
    float eps;
};

template <class T, int N, int PACKS, int WARPS>
__global__ void __launch_bounds__(ROW_THREADS<WARPS>, NORM_BLOCKS<T, WARPS>) norm_kernel(Norm p) {
    K_SHARED(float, scratch);
    const RowPart<N, PACKS, WARPS> part(p.width);
    if (part.row >= p.rows) return;
    KPack<T, N> x[PACKS];
    float sum = 0, squares = 0;
    for (int64_t tile = 0; tile < p.width; tile += part.tile()) {
        part.load(x, (const T *)(p.a ? p.a : p.x), tile);
        if (p.a) {
            KPack<T, N> b[PACKS];
            part.load(b, (const T *)p.b, tile);
#pragma unroll
            for (int k = 0; k < PACKS; k++) {
                float s[N];
#pragma unroll
                for (int j = 0; j < N; j++) s[j] = x[k].get(j) + b[k].get(j);
                if (part.at(tile, k) < p.width)
                    x[k] = k_store_pack<T, N>((T *)p.x + part.first + part.at(tile, k), s);
            }
        }
#pragma unroll
        for (int k = 0; k < PACKS; k++)
#pragma unroll
            for (int j = 0; j < N; j++) sum += x[k].get(j);
    }
    const float mean = p.mean ? part.sum(sum, scratch) / (float)p.width : 0.0f;
    for (int64_t tile = 0; tile < p.width; tile += part.tile()) {
        if (!part.kept()) part.load(x, (const T *)p.x, tile);
#pragma unroll
        for (int k = 0; k < PACKS; k++)
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float far = x[k].get(j) - mean;
                if (part.at(tile, k) < p.width) squares += far * far;
            }
    }
    const float rstd = 1.0f / sqrtf(part.sum(squares, scratch) / (float)p.width + p.eps);
    for (int64_t tile = 0; tile < p.width; tile += part.tile()) {
        if (!part.kept()) part.load(x, (const T *)p.x, tile);
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            const int64_t i = part.at(tile, k);
            if (i >= p.width) continue;
            float gain[N], bias[N] = {}, y[N];
            k_get_pack<N>(p.gain, i, gain);
            if (p.bias.data) k_get_pack<N>(p.bias, i, bias);
#pragma unroll
            for (int j = 0; j < N; j++) y[j] = (x[k].get(j) - mean) * rstd * gain[j] + bias[j];
            k_store_pack<T, N>((T *)p.y + part.first + i, y);
        }
    }
    if (part.me != 0) return;
    if (p.mean) p.mean[part.row] = mean;
    p.rstd[part.row] = rstd;
}

/* Launches a variant, where it is compiled. */
template <bool HAS, int WARPS, int PACKS, class Launch>
static void norm_short_rows(const KCtx *cx, int dtype, const Norm &p, Launch launch) {
    if constexpr (HAS)
        by_short_row<WARPS, PACKS>(dtype, p.rows, p.width, launch);
    else
        k_variant_missing("norm", cx->variant);
}

static void norm_rows(const KCtx *cx, const KTensor *x, const KAttr *attr, Norm p) {
    p.rows = k_rows(x);
    p.width = k_last(x);
    p.eps = (float)attr->eps;
    if (p.rows * p.width == 0) return;
    const auto launch = [&]<class T, int N, int PACKS, int WARPS>(dim3 grid, int threads) {
        K_LAUNCH((norm_kernel<T, N, PACKS, WARPS>), grid, threads, 32 * sizeof(float), cx->stream, p);
    };
    if (!k_cuda_norm_warp_packs(p.width)) return by_long_row(x->dtype, p.rows, p.width, launch);
#define CUDA_NORM(when, name, warps, packs)                                                                  \
    if (K_WANTS(when, name, cx->variant))                                                                    \
        return norm_short_rows<K_HAS(when, name), warps, packs>(cx, x->dtype, p, launch);
#include "variant.def"
    k_variant_missing("norm", cx->variant);
}

void k_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in, attr,
              {NULL, NULL, in[0].data, k_view(&in[1]), k_view(&in[2]), out[0].data, (float *)out[1].data,
               (float *)out[2].data, 0, 0, 0});
}
void k_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in, attr,
              {NULL, NULL, in[0].data, k_view(&in[1]), k_no_view(), out[0].data, NULL, (float *)out[1].data,
               0, 0, 0});
}
void k_add_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in, attr,
              {in[0].data, in[1].data, out[0].data, k_view(&in[2]), k_view(&in[3]), out[1].data,
               (float *)out[2].data, (float *)out[3].data, 0, 0, 0});
}
void k_add_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in, attr,
              {in[0].data, in[1].data, out[0].data, k_view(&in[2]), k_no_view(), out[1].data, NULL,
               (float *)out[2].data, 0, 0, 0});
}

/* ---- gradient of the input ---- */

struct NormBack {
    const void *dy, *x;
    KView gain;
    const float *mean, *rstd; /* mean NULL: RMS norm */
    const void *add;          /* NULL: none */
    void *dx;
    int64_t rows, width;
};

/* With h = dy gain and xhat = (x - mean) rstd: dx = rstd (h - mean(h) - xhat mean(h xhat)); RMS norm has no
 * mean(h). */
template <class T, int N, int PACKS, int WARPS>
__global__ void __launch_bounds__(ROW_THREADS<WARPS>, WARPS ? BACK_BLOCKS<T, PACKS> : 1)
    norm_back_kernel(NormBack p) {
    K_SHARED(float, scratch);
    const RowPart<N, PACKS, WARPS> part(p.width);
    if (part.row >= p.rows) return;
    const float mean = p.mean ? p.mean[part.row] : 0.0f, rstd = p.rstd[part.row];
    KPack<T, N> dy[PACKS], x[PACKS], add[PACKS];
    float sum = 0, dot = 0;
    for (int64_t tile = 0; tile < p.width; tile += part.tile()) {
        part.load(dy, (const T *)p.dy, tile);
        part.load(x, (const T *)p.x, tile);
        if (p.add) part.load(add, (const T *)p.add, tile);
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            if (part.at(tile, k) >= p.width) continue;
            float gain[N];
            k_get_pack<N>(p.gain, part.at(tile, k), gain);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float h = dy[k].get(j) * gain[j];
                sum += h;
                dot += h * ((x[k].get(j) - mean) * rstd);
            }
        }
    }
    const float mean_h = p.mean ? part.sum(sum, scratch) / (float)p.width : 0.0f;
    const float slope = part.sum(dot, scratch) / (float)p.width;
    for (int64_t tile = 0; tile < p.width; tile += part.tile()) {
        if (!part.kept()) {
            part.load(dy, (const T *)p.dy, tile);
            part.load(x, (const T *)p.x, tile);
            if (p.add) part.load(add, (const T *)p.add, tile);
        }
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            const int64_t i = part.at(tile, k);
            if (i >= p.width) continue;
            float gain[N], dx[N];
            k_get_pack<N>(p.gain, i, gain);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float xhat = (x[k].get(j) - mean) * rstd;
                dx[j] = rstd * (dy[k].get(j) * gain[j] - mean_h - xhat * slope);
                if (p.add) dx[j] += add[k].get(j);
            }
            k_store_pack<T, N>((T *)p.dx + part.first + i, dx);
        }
    }
}

static void norm_back(const KCtx *cx, const KTensor *x, NormBack p) {
    p.rows = k_rows(x);
    p.width = k_last(x);
    if (p.rows * p.width == 0) return;
    const auto launch = [&]<class T, int N, int PACKS, int WARPS>(dim3 grid, int threads) {
        K_LAUNCH((norm_back_kernel<T, N, PACKS, WARPS>), grid, threads, 32 * sizeof(float), cx->stream, p);
    };
    if (k_cuda_norm_warp_packs(p.width))
        by_short_row<WARP_ROWS, 0>(x->dtype, p.rows, p.width, launch);
    else
        by_long_row(x->dtype, p.rows, p.width, launch);
}

void k_layernorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout, (void)attr;
    norm_back(cx, in,
              {in[0].data, in[1].data, k_view(&in[2]), (const float *)in[3].data, (const float *)in[4].data,
               nin > 5 ? in[5].data : NULL, out[0].data, 0, 0});
}
void k_rmsnorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)attr;
    norm_back(cx, in,
              {in[0].data, in[1].data, k_view(&in[2]), NULL, (const float *)in[3].data,
               nin > 4 ? in[4].data : NULL, out[0].data, 0, 0});
}

/* ---- sums over rows: gradients of gains, biases and whatever was broadcast ---- */

constexpr int SUM_GROUPS = 32;              /* of N columns, of a block */
constexpr int SUM_ROWS = 4;                 /* rows of which a thread loads its columns at once */
constexpr int MANY_ROWS = 16, FEW_ROWS = 4; /* parts of a block's rows: where lanes share them, where not */

/* Blocks of the same columns that are done, where lanes share the rows; 0 between launches. */
static __device__ unsigned row_sum_done[K_CUDA_ROW_BLOCKS];

struct RowSum {
    const void *dy, *x;       /* x: not read where dy alone is summed */
    const float *mean, *rstd; /* mean NULL: RMS norm */
    KView y;
    float *partial; /* f32 [lanes, width]; NULL: one lane, straight into y */
    int64_t rows, width;
    int adds;
};

/* N columns of a row, or of dy (x - mean) rstd; zeros where there is no row */
template <class T, int N, bool GAIN> struct SumRow {
    KPack<T, N> dy, x;
    float mean, rstd;

    __device__ void load(const RowSum &p, int64_t row, int64_t end, int64_t column) {
        dy = x = {};
        mean = rstd = 0;
        if (row >= end) return;
        dy = k_load_pack<N>((const T *)p.dy + row * p.width + column);
        if (!GAIN) return;
        x = k_load_pack<N>((const T *)p.x + row * p.width + column);
        if (p.mean) mean = p.mean[row];
        rstd = p.rstd[row];
    }
    __device__ void add(float *sum) const {
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += GAIN ? dy.get(j) * ((x.get(j) - mean) * rstd) : dy.get(j);
    }
};

/* Sum of each of the block's columns over what its parts hold, [parts, columns], in order: into `to`, or
 * without it into y. */
template <int COLUMNS>
static __device__ inline void sum_parts(const RowSum &p, const float *tile, int parts, float *to) {
    const int64_t first = (int64_t)blockIdx.x * COLUMNS;
    for (int c = (int)threadIdx.x; c < COLUMNS && first + c < p.width; c += (int)blockDim.x) {
        float sum = 0;
#pragma unroll 4
        for (int i = 0; i < parts; i++) sum += tile[i * COLUMNS + c];
        if (to)
            to[first + c] = sum;
        else
            k_put(p.y, first + c, p.adds ? k_get(p.y, first + c) + sum : sum);
    }
}

/* The block's columns over all lanes, by the last block of them to be done; M columns an access. Others wrote
 * the lanes meanwhile, so they are read past the first cache. */
template <int COLUMNS, int M, int THREADS>
static __device__ inline void sum_lanes(const RowSum &p, float *tile) {
    constexpr int ACROSS = COLUMNS / M, PARTS = THREADS / ACROSS;
    const int at = (int)threadIdx.x % ACROSS * M, part = (int)threadIdx.x / ACROSS;
    const int64_t column = (int64_t)blockIdx.x * COLUMNS + at;
    float sum[M] = {};
    if (column < p.width) {
#pragma unroll 8
        for (int lane = part; lane < (int)gridDim.y; lane += PARTS) {
            float x[M];
            k_load_written<M>(p.partial + lane * p.width + column, x);
#pragma unroll
            for (int j = 0; j < M; j++) sum[j] += x[j];
        }
    }
#pragma unroll
    for (int j = 0; j < M; j++) tile[part * COLUMNS + at + j] = sum[j];
    __syncthreads();
    sum_parts<COLUMNS>(p, tile, PARTS, NULL);
}

/* Lane blockIdx.y sums its rows for SUM_GROUPS * N columns; part i of it every PARTS-th row from i. */
template <class T, int N, bool GAIN, int PARTS>
__global__ void __launch_bounds__(SUM_GROUPS *PARTS, PARTS == MANY_ROWS && sizeof(T) == 2 ? 2 : 1)
    row_sum_kernel(RowSum p) {
    K_SHARED(float, tile); /* [PARTS, COLUMNS] */
    constexpr int COLUMNS = SUM_GROUPS * N, STEP = PARTS * SUM_ROWS;
    const int group = (int)threadIdx.x % SUM_GROUPS, part = (int)threadIdx.x / SUM_GROUPS;
    const int64_t column = (int64_t)blockIdx.x * COLUMNS + group * N;
    const int64_t lanes = gridDim.y, lane = blockIdx.y, end = p.rows * (lane + 1) / lanes;
    float sum[N] = {};
    if (column < p.width) {
        SumRow<T, N, GAIN> row[SUM_ROWS];
        for (int64_t r = p.rows * lane / lanes + part; r < end; r += STEP) {
#pragma unroll
            for (int i = 0; i < SUM_ROWS; i++) row[i].load(p, r + i * PARTS, end, column);
#pragma unroll
            for (int i = 0; i < SUM_ROWS; i++) row[i].add(sum);
        }
    }
#pragma unroll
    for (int j = 0; j < N; j++) tile[part * COLUMNS + group * N + j] = sum[j];
    __syncthreads();
    sum_parts<COLUMNS>(p, tile, PARTS, p.partial ? p.partial + lane * p.width : NULL);
    if (PARTS != MANY_ROWS || !p.partial) return;
    if (k_last_block(&row_sum_done[blockIdx.x], gridDim.y, (int *)tile))
        sum_lanes<COLUMNS, N == 1 ? 1 : 4, SUM_GROUPS * PARTS>(p, tile);
}

template <bool GAIN> static void row_sum(const KCtx *cx, const KTensor *dy, RowSum p) {
    if (p.width == 0) return;
    const int64_t lanes = k_cuda_row_lanes(p.rows, p.width), columns = k_cuda_row_columns(p.width);
    const int parts = lanes > 1 ? MANY_ROWS : FEW_ROWS;
    const size_t shared_bytes = (size_t)(parts * columns) * sizeof(float);
    const dim3 grid = k_grid(k_cuda_ceil(p.width, columns), lanes);
    p.partial = lanes > 1 ? (float *)cx->workspace : NULL;
    const auto launch = [&]<class T, int N>() {
        if (lanes > 1)
            K_LAUNCH((row_sum_kernel<T, N, GAIN, MANY_ROWS>), grid, parts * SUM_GROUPS, shared_bytes,
                     cx->stream, p);
        else
            K_LAUNCH((row_sum_kernel<T, N, GAIN, FEW_ROWS>), grid, parts * SUM_GROUPS, shared_bytes,
                     cx->stream, p);
    };
    k_by_type(dy->dtype, [&](auto t) {
        using T = decltype(t);
        if (p.width % K_PACK == 0)
            launch.template operator()<T, K_PACK>();
        else
            launch.template operator()<T, 1>();
    });
}

void k_sum_leading(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout;
    const int64_t width = k_count(&out[0]);
    row_sum<false>(cx, in,
                   {in[0].data, NULL, NULL, NULL, k_view(&out[0]), NULL, width ? k_count(&in[0]) / width : 0,
                    width, nin > 1 && k_adds(cx, attr)});
}
void k_layernorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout;
    row_sum<true>(cx, in,
                  {in[0].data, in[1].data, (const float *)in[2].data, (const float *)in[3].data,
                   k_view(&out[0]), NULL, k_rows(&in[0]), k_last(&in[0]), nin > 4 && k_adds(cx, attr)});
}
void k_rmsnorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    row_sum<true>(cx, in,
                  {in[0].data, in[1].data, NULL, (const float *)in[2].data, k_view(&out[0]), NULL,
                   k_rows(&in[0]), k_last(&in[0]), nin > 3 && k_adds(cx, attr)});
}
