/* Attention of one query a sequence over keys and values that are kept, on CUDA; and the rows that are added
 * to them. In: positions, in the device's memory, so that one launch does every token. A block has a query
 * head; its warps take AT_ONCE keys each in turn, a running maximum and sum to each warp (Dao et al. 2022),
 * and are added in their order: what a warp takes follows from the key alone, so the bits never change. */
#include "cuda.cuh"

enum { WARPS = 8, AT_ONCE = 4, CHUNKS = K_MOST_HEAD_WIDTH / 128, COPY_THREADS = 128 };

struct Cached {
    KView q, k, v, o; /* [B, H, E], [B, T, K, E] twice, [B, H, E] */
    const int32_t *position;
    int64_t time, heads, kv_heads;
    int width;
    float scale;
};

/* What a lane holds of a head: columns 4 lane + 128 g. */
struct Columns {
    K4 at[CHUNKS];
};

static __device__ inline Columns columns_of(KView x, int64_t row, int width) {
    Columns c;
#pragma unroll
    for (int g = 0; g < CHUNKS; g++) {
        const int column = (int)threadIdx.x % 32 * 4 + 128 * g;
        c.at[g] = {{0, 0, 0, 0}};
        if (column < width) c.at[g] = k_load4(x, row + column, k_chunk(column, width));
    }
    return c;
}

static __device__ inline float dot(const Columns &a, const Columns &b) {
    float sum = 0;
#pragma unroll
    for (int g = 0; g < CHUNKS; g++)
        sum += (a.at[g].at[0] * b.at[g].at[0] + a.at[g].at[1] * b.at[g].at[1]) +
               (a.at[g].at[2] * b.at[g].at[2] + a.at[g].at[3] * b.at[g].at[3]);
    return k_warp_sum(sum);
}

/* sum = sum * factor + weight * x */
static __device__ inline void fold(Columns &sum, float factor, float weight, const Columns &x) {
#pragma unroll
    for (int g = 0; g < CHUNKS; g++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum.at[g].at[j] = sum.at[g].at[j] * factor + weight * x.at[g].at[j];
}

/* exp(x - top); a score or maximum of -infinity weighs nothing, a NaN stays one */
static __device__ inline float weight_of(float x, float top) {
    return x == -INFINITY ? 0.0f : expf(x - top);
}

struct Running {
    Columns sum;
    float maximum, total;
};

/* Keys 0 .. last of the block's head, those of this warp. */
static __device__ inline Running walk(const Cached &p, const Columns &q, int64_t b, int64_t kv_head,
                                      int64_t last) {
    Running r;
    r.maximum = -INFINITY;
    r.total = 0;
#pragma unroll
    for (int g = 0; g < CHUNKS; g++) r.sum.at[g] = {{0, 0, 0, 0}};
    for (int64_t key = (int64_t)(threadIdx.x / 32) * AT_ONCE; key <= last; key += WARPS * AT_ONCE) {
        float score[AT_ONCE], top = r.maximum;
        Columns value[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const int64_t at = key + i <= last ? key + i : last; /* past the last: again, weightless */
            const int64_t row = ((b * p.time + at) * p.kv_heads + kv_head) * p.width;
            value[i] = columns_of(p.v, row, p.width);
            score[i] = dot(q, columns_of(p.k, row, p.width)) * p.scale;
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            if (key + i > last) score[i] = -INFINITY;
            top = fmaxf(top, score[i]);
        }
        const float factor = weight_of(r.maximum, top);
        r.total *= factor;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const float weight = weight_of(score[i], top);
            fold(r.sum, i == 0 ? factor : 1.0f, weight, value[i]);
            r.total += weight;
        }
        r.maximum = top;
    }
    return r;
}

__global__ void __launch_bounds__(32 * WARPS) attend_cached_kernel(Cached p) {
    K_SHARED(float, shared); /* sums [WARPS, E], then a maximum and a total of each warp */
    const int64_t head = blockIdx.x % p.heads, b = blockIdx.x / p.heads;
    const int64_t row = (b * p.heads + head) * p.width;
    const int32_t position = p.position[b];
    const bool there = position >= 0 && position < p.time;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    float *maximum = shared + WARPS * p.width, *total = maximum + WARPS;

    const Running r = walk(p, columns_of(p.q, row, p.width), b, head / (p.heads / p.kv_heads),
                           there ? (int64_t)position : -1);
#pragma unroll
    for (int g = 0; g < CHUNKS; g++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int column = lane * 4 + 128 * g + j;
            if (column < p.width) shared[warp * p.width + column] = r.sum.at[g].at[j];
        }
    if (lane == 0) maximum[warp] = r.maximum, total[warp] = r.total;
    __syncthreads();
    float top = maximum[0];
    for (int w = 1; w < WARPS; w++) top = fmaxf(top, maximum[w]);
    for (int e = (int)threadIdx.x; e < p.width; e += 32 * WARPS) {
        float sum = 0, all = 0;
        for (int w = 0; w < WARPS; w++) {
            const float weight = weight_of(maximum[w], top);
            sum += weight * shared[w * p.width + e];
            all += weight * total[w];
        }
        k_put(p.o, row + e, there ? sum / all : NAN);
    }
}

/* The row of both caches that belongs to the block's token; N numbers a thread. */
template <int N>
__global__ void cache_rows_kernel(KView k, KView v, KView k_cache, KView v_cache, const int32_t *position,
                                  int64_t tokens, int64_t time, int64_t width) {
    const int64_t r = blockIdx.x, i = ((int64_t)blockIdx.y * COPY_THREADS + threadIdx.x) * N;
    const int64_t at = position[r];
    if (i >= width || at < 0 || at >= time) return;
    const int64_t to = (r / tokens * time + at) * width + i;
    float x[N], y[N];
    k_get_pack<N>(k, r * width + i, x);
    k_get_pack<N>(v, r * width + i, y);
    k_put_pack<N>(k_cache, to, x);
    k_put_pack<N>(v_cache, to, y);
}

template <int N> static void copy_rows(const KCtx *cx, const KTensor *out, const KTensor *in) {
    const int64_t width = out->dim[2] * out->dim[3];
    K_LAUNCH(cache_rows_kernel<N>, k_grid(k_count(&in[2]), k_cuda_ceil(width, COPY_THREADS * N)),
             COPY_THREADS, 0, cx->stream, k_view(&in[0]), k_view(&in[1]), k_view(&out[0]), k_view(&out[1]),
             (const int32_t *)in[2].data, in->dim[1], out->dim[1], width);
}

/* k, v [B, n, K, E], positions [B, n], caches [B, T, K, E] -> caches */
void k_cache_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    if (k_count(&in[0]) == 0) return;
    if (out->dim[2] * out->dim[3] % K_PACK == 0)
        copy_rows<K_PACK>(cx, out, in);
    else
        copy_rows<1>(cx, out, in);
}

/* q [B, 1, H, E], caches [B, T, K, E], position [B, 1] -> o */
void k_attend_cached(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    const KTensor *q = &in[0];
    Cached p = {};
    p.q = k_view(q);
    p.k = k_view(&in[1]);
    p.v = k_view(&in[2]);
    p.o = k_view(&out[0]);
    p.position = (const int32_t *)in[3].data;
    p.time = in[1].dim[1];
    p.heads = q->dim[2];
    p.kv_heads = in[1].dim[2];
    p.width = (int)q->dim[3];
    p.scale = (float)(1 / sqrt((double)p.width));
    if (p.width > K_MOST_HEAD_WIDTH) {
        fprintf(stderr, "train: error: attend: heads of %lld numbers; at most %d are supported\n",
                (long long)p.width, (int)K_MOST_HEAD_WIDTH);
        exit(K_EXIT_INTERNAL);
    }
    if (k_count(q) == 0) return;
    K_LAUNCH(attend_cached_kernel, k_grid(q->dim[0] * p.heads), 32 * WARPS,
             (int)((WARPS * (p.width + 2)) * sizeof(float)), cx->stream, p);
}
