/* Softmax cross-entropy over the last dimension on CUDA. A block reads a row once, keeping a running maximum
 * and the sum of exponentials relative to it (Milakov and Gimelshein 2018); the rows' losses wait in the
 * workspace for one block that sums them in double. A row whose target is outside the vocabulary counts as
 * masked. */
#include "cuda.cuh"

enum { SUM_THREADS = 256 };

struct Loss {
    KView logits, lse;
    const int32_t *target;
    const float *mask; /* NULL: every row counts once */
    double *row_loss;  /* [rows] */
    int64_t rows, width;
};

/* sum exp(x - maximum); maximum -inf with sum 0 is nothing yet */
struct Running {
    float maximum, sum;
};
static __device__ inline float relative(float x, float maximum) {
    return expf(x - (maximum == -INFINITY ? 0.0f : maximum));
}
static __device__ inline Running merge(Running a, Running b) {
    Running r;
    r.maximum = fmaxf(a.maximum, b.maximum);
    r.sum = a.sum * relative(a.maximum, r.maximum) + b.sum * relative(b.maximum, r.maximum);
    return r;
}
static __device__ inline Running warp_merge(Running r) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        Running other;
        other.maximum = __shfl_xor_sync(0xffffffffu, r.maximum, step);
        other.sum = __shfl_xor_sync(0xffffffffu, r.sum, step);
        /* one order for both sides, so that all threads hold the same bits */
        r = (threadIdx.x & step) == 0 ? merge(r, other) : merge(other, r);
    }
    return r;
}
static __device__ inline float row_weight(const Loss &p, int64_t row) {
    const int32_t target = p.target[row];
    if (target < 0 || target >= p.width) return 0;
    return p.mask ? p.mask[row] : 1.0f;
}

__global__ void cross_entropy_kernel(Loss p) {
    K_SHARED(Running, scratch); /* [32] */
    const int64_t row = blockIdx.x, first = row * p.width;
    Running mine = {-INFINITY, 0};
    for (int64_t i = (int64_t)threadIdx.x * 4; i < p.width; i += (int64_t)blockDim.x * 4) {
        const int n = k_chunk(i, p.width);
        const K4 x = k_load4(p.logits, first + i, n);
        float maximum = mine.maximum;
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (j < n) maximum = fmaxf(maximum, x.at[j]);
        mine.sum *= relative(mine.maximum, maximum);
        mine.maximum = maximum;
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (j < n) mine.sum += relative(x.at[j], maximum);
    }
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)blockDim.x / 32;
    mine = warp_merge(mine);
    if (lane == 0) scratch[warp] = mine;
    __syncthreads();
    Running whole = {-INFINITY, 0};
    if (lane < warps) whole = scratch[lane];
    whole = warp_merge(whole);
    if (threadIdx.x != 0) return;
    const float lse = (whole.maximum == -INFINITY ? 0.0f : whole.maximum) + logf(whole.sum);
    k_put(p.lse, row, lse);
    const float weight = row_weight(p, row);
    p.row_loss[row] =
        weight != 0 ? (double)weight * ((double)lse - (double)k_get(p.logits, first + p.target[row])) : 0.0;
}

__global__ void loss_sum_kernel(float *loss, const double *row_loss, int64_t rows) {
    K_SHARED(double, partial); /* [SUM_THREADS] */
    const int me = (int)threadIdx.x;
    double sum = 0;
    for (int64_t r = me; r < rows; r += SUM_THREADS) sum += row_loss[r];
    partial[me] = sum;
    __syncthreads();
    for (int half = SUM_THREADS / 2; half > 0; half /= 2) {
        if (me < half) partial[me] += partial[me + half];
        __syncthreads();
    }
    if (me == 0) loss[0] = (float)((double)loss[0] + partial[0]);
}

void k_cross_entropy(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)attr;
    const Loss p = {k_view(&in[0]),
                    k_view(&out[0]),
                    (const int32_t *)in[1].data,
                    nin > 3 ? (const float *)in[2].data : NULL,
                    (double *)cx->workspace,
                    k_rows(&in[0]),
                    k_last(&in[0])};
    if (p.rows == 0) return;
    K_LAUNCH(cross_entropy_kernel, k_grid(p.rows), k_row_threads(p.width), 32 * sizeof(Running), cx->stream,
             p);
    K_LAUNCH(loss_sum_kernel, k_grid(1), SUM_THREADS, SUM_THREADS * sizeof(double), cx->stream,
             (float *)out[1].data, (const double *)p.row_loss, p.rows);
}

/* (exp(logits - lse) - onehot) mask loss_scale */
__global__ void cross_entropy_bwd_kernel(KView dx, Loss p, float loss_scale) {
    const int64_t row = blockIdx.x, first = row * p.width;
    const float weight = row_weight(p, row), scale = weight * loss_scale, lse = k_get(p.lse, row);
    const int64_t target = p.target[row];
    for (int64_t i = (int64_t)threadIdx.x * 4; i < p.width; i += (int64_t)blockDim.x * 4) {
        const int n = k_chunk(i, p.width);
        K4 x = k_load4(p.logits, first + i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float probability = expf(x.at[j] - lse);
            x.at[j] = weight == 0 ? 0.0f : (i + j == target ? probability - 1.0f : probability) * scale;
        }
        k_store4(dx, first + i, n, x);
    }
}
void k_cross_entropy_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                         const KAttr *attr) {
    (void)nout, (void)attr;
    const Loss p = {k_view(&in[0]),
                    k_view(&in[2]),
                    (const int32_t *)in[1].data,
                    nin > 3 ? (const float *)in[3].data : NULL,
                    NULL,
                    k_rows(&in[0]),
                    k_last(&in[0])};
    if (p.rows == 0) return;
    K_LAUNCH(cross_entropy_bwd_kernel, k_grid(p.rows), k_row_threads(p.width), 0, cx->stream, k_view(&out[0]),
             p, cx->loss_scale);
}
