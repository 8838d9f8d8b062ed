/* Layer norm and RMS norm, their gradients, and sums over rows, on CUDA. RMS norm is layer norm with a mean
 * of zero and no bias. A block has a row: its threads meet at the sums, then each writes the chunks it alone
 * has read, so every operand may be written in place. The fused residual + norm is the same kernel with one
 * more part in front: s is stored, rounded to its type, and read again by the thread that wrote it. */
#include "cuda.cuh"

enum { SUM_COLUMNS = 32, SUM_ROWS = 8 };

struct Norm {
    KView a, b;                         /* a.data NULL: no sum in front */
    KView x, gain, bias, y, mean, rstd; /* mean.data NULL: RMS norm; bias.data NULL: none */
    int64_t width;
    double eps;
};

__global__ void norm_kernel(Norm p) {
    K_SHARED(float, scratch);
    const int64_t row = blockIdx.x, first = row * p.width;
    const int beg = (int)threadIdx.x * 4, step = (int)blockDim.x * 4;
    if (p.a.data)
        for (int64_t i = beg; i < p.width; i += step) {
            const int n = k_chunk(i, p.width);
            const K4 a = k_load4(p.a, first + i, n), b = k_load4(p.b, first + i, n);
            K4 s;
#pragma unroll
            for (int j = 0; j < 4; j++) s.at[j] = a.at[j] + b.at[j];
            k_store4(p.x, first + i, n, s);
        }
    float mean = 0;
    if (p.mean.data) {
        float sum = 0;
        for (int64_t i = beg; i < p.width; i += step) {
            const K4 x = k_load4(p.x, first + i, k_chunk(i, p.width));
            sum += (x.at[0] + x.at[1]) + (x.at[2] + x.at[3]);
        }
        mean = k_block_sum(sum, scratch) / (float)p.width;
    }
    float squares = 0;
    for (int64_t i = beg; i < p.width; i += step) {
        const int n = k_chunk(i, p.width);
        const K4 x = k_load4(p.x, first + i, n);
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (j < n) squares += (x.at[j] - mean) * (x.at[j] - mean);
    }
    squares = k_block_sum(squares, scratch);
    const float rstd = (float)(1.0 / sqrt((double)(squares / (float)p.width) + p.eps));
    for (int64_t i = beg; i < p.width; i += step) {
        const int n = k_chunk(i, p.width);
        const K4 x = k_load4(p.x, first + i, n), gain = k_load4(p.gain, i, n);
        K4 y, bias = {{0, 0, 0, 0}};
        if (p.bias.data) bias = k_load4(p.bias, i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) y.at[j] = (x.at[j] - mean) * rstd * gain.at[j] + bias.at[j];
        k_store4(p.y, first + i, n, y);
    }
    if (threadIdx.x != 0) return;
    if (p.mean.data) k_put(p.mean, row, mean);
    k_put(p.rstd, row, rstd);
}

static void norm_rows(const KCtx *cx, const KTensor *x, const Norm &norm) {
    if (k_count(x) == 0) return;
    K_LAUNCH(norm_kernel, k_grid(k_rows(x)), k_row_threads(norm.width), 32 * sizeof(float), cx->stream, norm);
}

void k_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in,
              {k_no_view(), k_no_view(), k_view(&in[0]), k_view(&in[1]), k_view(&in[2]), k_view(&out[0]),
               k_view(&out[1]), k_view(&out[2]), k_last(in), attr->eps});
}
void k_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in,
              {k_no_view(), k_no_view(), k_view(&in[0]), k_view(&in[1]), k_no_view(), k_view(&out[0]),
               k_no_view(), k_view(&out[1]), k_last(in), attr->eps});
}
void k_add_layernorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in,
              {k_view(&in[0]), k_view(&in[1]), k_view(&out[0]), k_view(&in[2]), k_view(&in[3]),
               k_view(&out[1]), k_view(&out[2]), k_view(&out[3]), k_last(in), attr->eps});
}
void k_add_rmsnorm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout, (void)nin;
    norm_rows(cx, in,
              {k_view(&in[0]), k_view(&in[1]), k_view(&out[0]), k_view(&in[2]), k_no_view(), k_view(&out[1]),
               k_no_view(), k_view(&out[2]), k_last(in), attr->eps});
}

/* ---- gradient of the input ---- */

struct NormBack {
    KView dy, x, gain, mean, rstd, add, dx; /* mean.data NULL: RMS norm; add.data NULL: none */
    int64_t width;
};

/* With h = dy gain and xhat = (x - mean) rstd: dx = rstd (h - mean(h) - xhat mean(h xhat)); RMS norm has no
 * mean(h). */
__global__ void norm_back_kernel(NormBack p) {
    K_SHARED(float, scratch);
    const int64_t row = blockIdx.x, first = row * p.width;
    const int beg = (int)threadIdx.x * 4, step = (int)blockDim.x * 4;
    const float mean = p.mean.data ? k_get(p.mean, row) : 0.0f, rstd = k_get(p.rstd, row);
    float sum = 0, dot = 0;
    for (int64_t i = beg; i < p.width; i += step) {
        const int n = k_chunk(i, p.width);
        const K4 dy = k_load4(p.dy, first + i, n), x = k_load4(p.x, first + i, n), g = k_load4(p.gain, i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float h = dy.at[j] * g.at[j];
            sum += h;
            if (j < n) dot += h * ((x.at[j] - mean) * rstd);
        }
    }
    const float mean_h = p.mean.data ? k_block_sum(sum, scratch) / (float)p.width : 0.0f;
    const float slope = k_block_sum(dot, scratch) / (float)p.width;
    for (int64_t i = beg; i < p.width; i += step) {
        const int n = k_chunk(i, p.width);
        const K4 dy = k_load4(p.dy, first + i, n), x = k_load4(p.x, first + i, n), g = k_load4(p.gain, i, n);
        K4 dx, add = {{0, 0, 0, 0}};
        if (p.add.data) add = k_load4(p.add, first + i, n);
#pragma unroll
        for (int j = 0; j < 4; j++)
            dx.at[j] = rstd * (dy.at[j] * g.at[j] - mean_h - (x.at[j] - mean) * rstd * slope) + add.at[j];
        k_store4(p.dx, first + i, n, dx);
    }
}

static void norm_back(const KCtx *cx, const KTensor *x, const NormBack &back) {
    if (k_count(x) == 0) return;
    K_LAUNCH(norm_back_kernel, k_grid(k_rows(x)), k_row_threads(back.width), 32 * sizeof(float), cx->stream,
             back);
}

void k_layernorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout, (void)attr;
    norm_back(cx, in,
              {k_view(&in[0]), k_view(&in[1]), k_view(&in[2]), k_view(&in[3]), k_view(&in[4]),
               nin > 5 ? k_view(&in[5]) : k_no_view(), k_view(&out[0]), k_last(in)});
}
void k_rmsnorm_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)attr;
    norm_back(cx, in,
              {k_view(&in[0]), k_view(&in[1]), k_view(&in[2]), k_no_view(), k_view(&in[3]),
               nin > 4 ? k_view(&in[4]) : k_no_view(), k_view(&out[0]), k_last(in)});
}

/* ---- sums over rows: gradients of gains, biases and whatever was broadcast ---- */

struct RowSum {
    KView dy, x, mean, rstd, y; /* x.data NULL: dy alone is summed; mean.data NULL: RMS norm */
    float *partial;             /* f32 [lanes, width]; NULL: one lane, straight into y */
    int64_t rows, width;
    int adds;
};

static __device__ inline void row_sum_finish(const RowSum &p, int64_t column, float sum) {
    k_put(p.y, column, p.adds ? k_get(p.y, column) + sum : sum);
}

/* Lane blockIdx.y sums its rows of dy, or of dy (x - mean) rstd, for 32 columns. */
__global__ void row_sum_kernel(RowSum p) {
    K_SHARED(float, tile); /* [SUM_ROWS, SUM_COLUMNS] */
    const int x = (int)threadIdx.x % SUM_COLUMNS, part = (int)threadIdx.x / SUM_COLUMNS;
    const int64_t column = (int64_t)blockIdx.x * SUM_COLUMNS + x, lanes = gridDim.y, lane = blockIdx.y;
    float sum = 0;
    if (column < p.width)
        for (int64_t r = p.rows * lane / lanes + part; r < p.rows * (lane + 1) / lanes; r += SUM_ROWS) {
            const float dy = k_get(p.dy, r * p.width + column);
            if (p.x.data) {
                const float mean = p.mean.data ? k_get(p.mean, r) : 0.0f;
                sum += dy * ((k_get(p.x, r * p.width + column) - mean) * k_get(p.rstd, r));
            } else {
                sum += dy;
            }
        }
    tile[threadIdx.x] = sum;
    __syncthreads();
    if (part != 0 || column >= p.width) return;
    for (int i = 1; i < SUM_ROWS; i++) sum += tile[i * SUM_COLUMNS + x];
    if (p.partial)
        p.partial[lane * p.width + column] = sum;
    else
        row_sum_finish(p, column, sum);
}

__global__ void row_sum_lanes_kernel(RowSum p, int lanes) {
    const int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= p.width) return;
    float sum = 0;
    for (int lane = 0; lane < lanes; lane++) sum += p.partial[lane * p.width + column];
    row_sum_finish(p, column, sum);
}

static void row_sum(const KCtx *cx, RowSum p) {
    if (p.width == 0) return;
    const int64_t lanes = k_cuda_row_lanes(p.rows, p.width);
    p.partial = lanes > 1 ? (float *)cx->workspace : NULL;
    K_LAUNCH(row_sum_kernel, k_grid(k_cuda_ceil(p.width, SUM_COLUMNS), lanes), SUM_ROWS * SUM_COLUMNS,
             SUM_ROWS * SUM_COLUMNS * sizeof(float), cx->stream, p);
    if (p.partial)
        K_LAUNCH(row_sum_lanes_kernel, k_grid(k_cuda_ceil(p.width, 256)), 256, 0, cx->stream, p, (int)lanes);
}

void k_sum_leading(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout;
    const int64_t width = k_count(&out[0]);
    row_sum(cx, {k_view(&in[0]), k_no_view(), k_no_view(), k_no_view(), k_view(&out[0]), NULL,
                 width ? k_count(&in[0]) / width : 0, width, nin > 1 && k_adds(cx, attr)});
}
void k_layernorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                       const KAttr *attr) {
    (void)nout;
    row_sum(cx, {k_view(&in[0]), k_view(&in[1]), k_view(&in[2]), k_view(&in[3]), k_view(&out[0]), NULL,
                 k_rows(&in[0]), k_last(&in[0]), nin > 4 && k_adds(cx, attr)});
}
void k_rmsnorm_bwd_g(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    row_sum(cx, {k_view(&in[0]), k_view(&in[1]), k_no_view(), k_view(&in[2]), k_view(&out[0]), NULL,
                 k_rows(&in[0]), k_last(&in[0]), nin > 3 && k_adds(cx, attr)});
}
