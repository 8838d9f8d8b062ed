/* The update on CUDA: squared gradient norm, clipping factor, AdamW (Loshchilov and Hutter 2019, algorithm
 * 2). The norm's partial sums lie where k_cuda_square_blocks puts them, whatever the device, and the last
 * block to be done adds them in a fixed tree; a small tensor has one block and no partial sums. AdamW loads
 * every operand of a pack, updates it and writes it back. */
#include "codes.h"
#include "packed.h"
#include "cuda.cuh"

constexpr int THREADS = 256;
constexpr int SQUARE_PACKS = 4; /* of a thread, loaded before the first is used */

static __device__ unsigned square_done; /* blocks; 0 between launches */

/* Sum over the block's THREADS, in thread 0; shared: [THREADS]. */
static __device__ inline double sum_of_threads(double x, double *shared) {
    const int me = (int)threadIdx.x;
    shared[me] = x;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (me < half) shared[me] += shared[me + half];
        __syncthreads();
    }
    return shared[0];
}

template <class T> static __device__ inline float pack_squares(KPack<T, K_PACK> x) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < K_PACK; j++) sum += x.get(j) * x.get(j);
    return sum;
}

/* sum (+)= the squares of g: a block sums a stretch, the last one all of them */
template <class T>
__global__ void square_kernel(float *sum, double *partial, const T *g, int64_t count, int adds) {
    K_SHARED(double, shared);
    const int64_t packs = count / K_PACK, blocks = gridDim.x, block = blockIdx.x;
    const int64_t end = packs * (block + 1) / blocks;
    double total = 0;
    for (int64_t c = packs * block / blocks + threadIdx.x; c < end; c += SQUARE_PACKS * THREADS) {
        KPack<T, K_PACK> x[SQUARE_PACKS];
#pragma unroll
        for (int i = 0; i < SQUARE_PACKS; i++) {
            x[i] = {};
            if (c + i * THREADS < end) x[i] = k_load_pack<K_PACK>(g + (c + i * THREADS) * K_PACK);
        }
#pragma unroll
        for (int i = 0; i < SQUARE_PACKS; i++) total += (double)pack_squares(x[i]);
    }
    if (block == blocks - 1) { /* what is left after whole packs */
        const int64_t i = packs * K_PACK + threadIdx.x;
        if (i < count) total += (double)(k_widen(g[i]) * k_widen(g[i]));
    }
    total = sum_of_threads(total, shared);
    if (blocks > 1) {
        if (threadIdx.x == 0) partial[block] = total;
        if (!k_last_block(&square_done, gridDim.x, (int *)shared)) return;
        total = 0;
        for (int64_t i = threadIdx.x; i < blocks; i += THREADS) total += __ldcg(partial + i);
        total = sum_of_threads(total, shared);
    }
    if (threadIdx.x == 0) sum[0] = (float)((adds ? (double)sum[0] : 0.0) + total);
}

/* g, sum [1] (written over) -> sum (+)= |g|^2, as attr.acc says */
void k_square_norm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout, (void)nin;
    const int64_t blocks = k_cuda_square_blocks(k_count(&in[0]));
    const size_t shared_bytes = THREADS * sizeof(double);
    double *partial = (double *)cx->workspace;
    float *sum = (float *)out[0].data;
    const int adds = k_adds(cx, attr);
    k_by_type(in[0].dtype, [&](auto t) {
        using T = decltype(t);
        K_LAUNCH(square_kernel<T>, k_grid(blocks), THREADS, shared_bytes, cx->stream, sum, partial,
                 (const T *)in[0].data, k_count(&in[0]), adds);
    });
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
    float beta1, rest1, beta2, rest2, correct1, correct2, eps, rate, decay, keep;
    int64_t count;
};

/* Eight elements of either type, as they are stored, so that several are on their way at once. */
struct EitherPack {
    KPack<float, K_PACK> f32;
    KPack<KBf16, K_PACK> bf16;

    __device__ void load(KView v, int64_t i) {
        if (v.dtype == K_F32)
            f32 = k_load_pack<K_PACK>((const float *)v.data + i);
        else
            bf16 = k_load_pack<K_PACK>((const KBf16 *)v.data + i);
    }
    __device__ void widen(KView v, float *x) const {
#pragma unroll
        for (int j = 0; j < K_PACK; j++) x[j] = v.dtype == K_F32 ? f32.get(j) : bf16.get(j);
    }
};

/* The weight after a step by the moments. */
static __device__ inline float stepped(const AdamW &p, float w, float m, float v) {
    const float root = sqrtf(v * p.correct2);
    return (w - p.rate * (m * p.correct1 / (root + p.eps) + p.decay * w)) * p.keep;
}

static __device__ inline void adamw_element(const AdamW &p, float scale, float g, float *w, float *m,
                                            float *v) {
    const float slope = g * scale;
    *m = p.beta1 * *m + p.rest1 * slope;
    *v = p.beta2 * *v + p.rest2 * (slope * slope);
    *w = stepped(p, *w, *m, *v);
}

__global__ void adamw_kernel(AdamW p) {
    const float scale = p.scale ? p.scale[0] : 1.0f;
    const KView exact = p.master.data ? p.master : p.w;
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * K_PACK;
    if (i + K_PACK <= p.count) {
        EitherPack packs[4];
        float g[K_PACK], w[K_PACK], m[K_PACK], v[K_PACK];
        packs[0].load(p.g, i);
        packs[1].load(exact, i);
        packs[2].load(p.m, i);
        packs[3].load(p.v, i);
        packs[0].widen(p.g, g);
        packs[1].widen(exact, w);
        packs[2].widen(p.m, m);
        packs[3].widen(p.v, v);
#pragma unroll
        for (int j = 0; j < K_PACK; j++) adamw_element(p, scale, g[j], &w[j], &m[j], &v[j]);
        k_put_pack<K_PACK>(exact, i, w);
        k_put_pack<K_PACK>(p.m, i, m);
        k_put_pack<K_PACK>(p.v, i, v);
        if (p.master.data) k_put_pack<K_PACK>(p.w, i, w);
        return;
    }
    for (int64_t e = i; e < p.count; e++) { /* the last thread's, less than a pack */
        float w = k_get(exact, e), m = k_get(p.m, e), v = k_get(p.v, e);
        adamw_element(p, scale, k_get(p.g, e), &w, &m, &v);
        k_put(exact, e, w);
        k_put(p.m, e, m);
        k_put(p.v, e, v);
        if (p.master.data) k_put(p.w, e, w);
    }
}

/* All but the moments; time is counted from 1. `keep` multiplies the updated weight: 1, unless the decay
 * comes last. */
static AdamW adamw_rule(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr, int decay_last) {
    const double time = (double)(cx->step + 1 - cx->passed_over);
    AdamW p;
    p.g = k_view(&in[0]);
    p.w = k_view(&out[0]);
    p.m = p.v = k_no_view();
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
    p.decay = decay_last ? 0 : (float)attr->decay;
    p.keep = decay_last ? (float)(1 - (double)cx->learning_rate * attr->decay) : 1;
    p.count = k_count(&in[0]);
    return p;
}

/* g, scale [1]?, w, m, v, master? -> w, m, v, master? */
void k_adamw(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    AdamW p = adamw_rule(cx, nout, out, nin, in, attr, attr->decay_last != 0);
    p.m = k_view(&out[1]);
    p.v = k_view(&out[2]);
    if (p.count == 0) return;
    K_LAUNCH(adamw_kernel, k_grid(k_cuda_ceil(p.count, THREADS * K_PACK)), THREADS, 0, cx->stream, p);
}

/* ---- moments in 8 bits ---- */

constexpr int ROUNDS = 8; /* of a block of threads, so that its tables are made once for many elements */
static_assert(32 * K_PACK == K_DYNAMIC_BLOCK, "a warp has a block of elements that share a scale");
static_assert(THREADS == 256, "a thread for each value of a map");

struct Moment {
    unsigned char *code;
    float *scale;
};
struct Moments {
    Moment at[2];
};
struct Tables { /* in shared memory: of each moment */
    float map[2][256], middle[2][256];
};

static __device__ inline void make_tables(Tables *table) {
    const int me = (int)threadIdx.x;
    for (int s = 0; s < 2; s++) table->map[s][me] = k_dynamic_value(s == 0, me);
    __syncthreads();
    for (int s = 0; s < 2; s++)
        if (me < K_DYNAMIC_MIDDLES) table->middle[s][me] = (table->map[s][me] + table->map[s][me + 1]) * 0.5f;
    __syncthreads();
}

/* Eight codes and their scale. */
static __device__ inline void load_moment(const Moment &m, const float *map, int64_t i, int n, float *x) {
    const float scale = m.scale[i / K_DYNAMIC_BLOCK];
    KPack<unsigned char, K_PACK> code = {};
    if (n == K_PACK)
        code = k_load_pack<K_PACK>((const unsigned char *)m.code + i);
    else
        for (int j = 0; j < n; j++) code.at[j] = m.code[i + j];
#pragma unroll
    for (int j = 0; j < K_PACK; j++) x[j] = j < n ? map[code.at[j]] * scale : 0;
}

/* The largest magnitude of the warp's is its scale; a bit pattern of NaN is larger than those of numbers. */
static __device__ inline void store_moment(const Moment &m, const float *middle, int64_t i, int n,
                                           const float *x) {
    unsigned most = 0;
#pragma unroll
    for (int j = 0; j < K_PACK; j++) {
        const unsigned size = __float_as_uint(x[j]) & 0x7fffffffu;
        most = size > most ? size : most;
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const unsigned other = __shfl_xor_sync(0xffffffffu, most, step);
        most = other > most ? other : most;
    }
    const float largest = k_from_bits(most);
    const float scale = largest + (largest - largest), divisor = k_divisor(scale); /* infinity: NaN */
    KPack<unsigned char, K_PACK> code;
#pragma unroll
    for (int j = 0; j < K_PACK; j++) code.at[j] = (unsigned char)k_dynamic_code(middle, x[j] / divisor);
    if (n == K_PACK)
        *(KPack<unsigned char, K_PACK> *)(m.code + i) = code;
    else
        for (int j = 0; j < n; j++) m.code[i + j] = code.at[j];
    if (threadIdx.x % 32 == 0) m.scale[i / K_DYNAMIC_BLOCK] = scale;
}

/* The moments as the host rounds them. */
static __device__ inline void adamw8bit_element(const AdamW &p, float scale, float g, float *w, float *m,
                                                float *v) {
    const float slope = g * scale;
    *m = fmaf(slope, p.rest1, *m * p.beta1);
    *v = fmaf(p.rest2 * slope, slope, *v * p.beta2);
    *w = stepped(p, *w, *m, *v);
}

/* Elements [i, i + n), zeros after them. */
static __device__ inline void get_some(KView v, int64_t i, int n, float *x) {
    if (n == K_PACK) {
        k_get_pack<K_PACK>(v, i, x);
        return;
    }
#pragma unroll
    for (int j = 0; j < K_PACK; j++) x[j] = j < n ? k_get(v, i + j) : 0;
}
static __device__ inline void put_some(KView v, int64_t i, int n, const float *x) {
    if (n == K_PACK)
        k_put_pack<K_PACK>(v, i, x);
    else
        for (int j = 0; j < n; j++) k_put(v, i + j, x[j]);
}

__global__ void adamw8bit_kernel(AdamW p, Moments at) {
    K_SHARED(Tables, table);
    make_tables(table);
    const float scale = p.scale ? p.scale[0] : 1.0f;
    const KView exact = p.master.data ? p.master : p.w;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t i = (((int64_t)blockIdx.x * ROUNDS + round) * THREADS + threadIdx.x) * K_PACK;
        if (i / K_DYNAMIC_BLOCK * K_DYNAMIC_BLOCK >= p.count) return; /* all of the warp */
        const int n = (int)(p.count - i < 0 ? 0 : p.count - i < K_PACK ? p.count - i : K_PACK);
        float g[K_PACK], w[K_PACK], m[K_PACK], v[K_PACK];
        get_some(p.g, i, n, g);
        get_some(exact, i, n, w);
        load_moment(at.at[0], table->map[0], i, n, m);
        load_moment(at.at[1], table->map[1], i, n, v);
#pragma unroll
        for (int j = 0; j < K_PACK; j++) adamw8bit_element(p, scale, g[j], &w[j], &m[j], &v[j]);
        put_some(exact, i, n, w);
        if (p.master.data) put_some(p.w, i, n, w);
        store_moment(at.at[0], table->middle[0], i, n, m);
        store_moment(at.at[1], table->middle[1], i, n, v);
    }
}

static Moment moment_of(const KTensor *t) {
    unsigned char *data = (unsigned char *)t->data;
    return {data, (float *)(data + k_sections(k_packing(t->dtype), k_count(t)).scales)};
}

/* The same with m and v in 8 bits; the weight is updated by the new moments before these are rounded to
 * codes. */
void k_adamw8bit(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    const AdamW p = adamw_rule(cx, nout, out, nin, in, attr, 1);
    const Moments at = {{moment_of(&out[1]), moment_of(&out[2])}};
    if (p.count == 0) return;
    K_LAUNCH(adamw8bit_kernel, k_grid(k_cuda_ceil(p.count, ROUNDS * THREADS * K_PACK)), THREADS,
             sizeof(Tables), cx->stream, p, at);
}
