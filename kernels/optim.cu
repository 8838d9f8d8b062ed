/* The update on CUDA: squared gradient norm, clipping factor, AdamW (Loshchilov and Hutter 2019, algorithm
 * 2). The norm's partial sums lie where k_cuda_square_blocks puts them, whatever the device, and are added in
 * order. AdamW reads every operand of a chunk, updates it and writes it back. */
#include "cuda.cuh"

enum { THREADS = 256, ADAMW_BLOCKS = 1 << 16 };

/* partial[block] = sum of squares of its stretch of g */
__global__ void square_kernel(double *partial, KView g, int64_t count) {
    K_SHARED(double, shared); /* [THREADS] */
    const int me = (int)threadIdx.x;
    const int64_t chunks = (count + 3) / 4, blocks = gridDim.x, block = blockIdx.x;
    double total = 0;
    for (int64_t c = chunks * block / blocks + me; c < chunks * (block + 1) / blocks; c += THREADS) {
        const K4 x = k_load4(g, c * 4, k_chunk(c * 4, count));
        total += (double)((x.at[0] * x.at[0] + x.at[1] * x.at[1]) + (x.at[2] * x.at[2] + x.at[3] * x.at[3]));
    }
    shared[me] = total;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (me < half) shared[me] += shared[me + half];
        __syncthreads();
    }
    if (me == 0) partial[block] = shared[0];
}
__global__ void square_sum_kernel(float *sum, const double *partial, int blocks, int adds) {
    double total = adds ? (double)sum[0] : 0.0;
    for (int i = 0; i < blocks; i++) total += partial[i];
    sum[0] = (float)total;
}

/* g, sum [1] (written over) -> sum (+)= |g|^2, as attr.acc says */
void k_square_norm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout, (void)nin;
    const int64_t blocks = k_cuda_square_blocks(k_count(&in[0]));
    double *partial = (double *)cx->workspace;
    K_LAUNCH(square_kernel, k_grid(blocks), THREADS, THREADS * sizeof(double), cx->stream, partial,
             k_view(&in[0]), k_count(&in[0]));
    K_LAUNCH(square_sum_kernel, k_grid(1), 1, 0, cx->stream, (float *)out[0].data, (const double *)partial,
             (int)blocks, k_adds(cx, attr));
}

__global__ void clip_kernel(float *scale, const float *sum, double max_norm) {
    const double wanted = max_norm / sqrt((double)sum[0]);
    scale[0] = wanted > 1 ? 1.0f : (float)wanted;
}
/* sum [1] -> min(1, max_norm / sqrt(sum)) */
void k_clip_scale(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin;
    K_LAUNCH(clip_kernel, k_grid(1), 1, 0, cx->stream, (float *)out[0].data, (const float *)in[0].data,
             attr->max_norm);
}

struct AdamW {
    KView g, w, m, v, master; /* master.data NULL: w is exact */
    const float *scale;       /* NULL: 1 */
    float beta1, rest1, beta2, rest2, correct1, correct2, eps, rate, decay;
    int64_t count;
};

__global__ void adamw_kernel(AdamW p) {
    const float scale = p.scale ? p.scale[0] : 1.0f;
    const KView exact = p.master.data ? p.master : p.w;
    const int64_t stride = (int64_t)gridDim.x * blockDim.x * 4;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < p.count; i += stride) {
        const int n = k_chunk(i, p.count);
        const K4 g = k_load4(p.g, i, n);
        K4 w = k_load4(exact, i, n), m = k_load4(p.m, i, n), v = k_load4(p.v, i, n);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float slope = g.at[j] * scale;
            m.at[j] = p.beta1 * m.at[j] + p.rest1 * slope;
            v.at[j] = p.beta2 * v.at[j] + p.rest2 * (slope * slope);
            const float root = sqrtf(v.at[j] * p.correct2);
            w.at[j] -= p.rate * (m.at[j] * p.correct1 / (root + p.eps) + p.decay * w.at[j]);
        }
        k_store4(exact, i, n, w);
        k_store4(p.m, i, n, m);
        k_store4(p.v, i, n, v);
        if (p.master.data) k_store4(p.w, i, n, w);
    }
}

/* g, scale [1]?, w, m, v, master? -> w, m, v, master?; time is counted from 1 */
void k_adamw(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    const double time = (double)(cx->step + 1);
    AdamW p;
    p.g = k_view(&in[0]);
    p.w = k_view(&out[0]);
    p.m = k_view(&out[1]);
    p.v = k_view(&out[2]);
    p.master = nout > 3 ? k_view(&out[3]) : k_no_view();
    p.scale = nin > nout + 1 ? (const float *)in[1].data : NULL;
    p.beta1 = (float)attr->beta1;
    p.rest1 = (float)(1 - attr->beta1);
    p.beta2 = (float)attr->beta2;
    p.rest2 = (float)(1 - attr->beta2);
    p.correct1 = (float)(1 / (1 - pow(attr->beta1, time)));
    p.correct2 = (float)(1 / (1 - pow(attr->beta2, time)));
    p.eps = (float)attr->eps;
    p.rate = cx->learning_rate;
    p.decay = (float)attr->decay;
    p.count = k_count(&in[0]);
    if (p.count == 0) return;
    K_LAUNCH(adamw_kernel, k_grid(k_cuda_clamp(k_cuda_ceil(p.count, 4 * THREADS), 1, ADAMW_BLOCKS)), THREADS,
             0, cx->stream, p);
}
