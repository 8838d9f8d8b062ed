/* The update on CUDA: squared gradient norm, clipping factor, AdamW (Loshchilov and Hutter 2019, algorithm
 * 2). A launch takes many tensors: their addresses are its arguments, and each has blocks of its own. The
 * norm's partial sums lie where k_cuda_square_blocks puts them, whatever the device, and the last block to be
 * done adds them in a fixed tree; a lone small tensor has one block and no partial sums. AdamW loads every
 * operand of a pack, updates it and writes it back. */
#include "blocks.cuh"
#include "codes.h"
#include "packed.h"
#include "cuda.cuh"

constexpr int THREADS = 256;
constexpr int SQUARE_PACKS = 4; /* of a thread, loaded before the first is used */

static __device__ unsigned square_done; /* blocks; 0 between launches */

/* ---- many tensors in one launch ---- */

constexpr int MOST_TENSORS = K_CUDA_MOST_UPDATED, MOST_NORMED = K_CUDA_MOST_NORMED;

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

struct Normed {
    const void *g[MOST_NORMED];
    int64_t count[MOST_NORMED];
    Blocks<MOST_NORMED> blocks;
};
static_assert(sizeof(Normed) + 64 <= 4096, "arguments of a launch");

/* sum (+)= the squares of all tensors: a block sums a stretch of one, the last to be done all of them */
template <class T>
__global__ void square_kernel(float *sum, double *partial, const __grid_constant__ Normed p, int adds) {
    K_SHARED(double, shared);
    const int tensor = p.blocks.tensor_of(blockIdx.x), next = tensor + 1;
    const unsigned begin = p.blocks.first[tensor];
    const int64_t blocks = (next < p.blocks.tensors ? p.blocks.first[next] : gridDim.x) - begin;
    const int64_t block = blockIdx.x - begin, count = p.count[tensor], packs = count / K_PACK;
    const int64_t end = packs * (block + 1) / blocks;
    const T *g = (const T *)p.g[tensor];
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
    if (gridDim.x > 1) {
        if (threadIdx.x == 0) partial[blockIdx.x] = total;
        if (!k_last_block(&square_done, gridDim.x, (int *)shared)) return;
        total = 0;
        for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS) total += __ldcg(partial + i);
        total = sum_of_threads(total, shared);
    }
    if (threadIdx.x == 0) sum[0] = (float)((adds ? (double)sum[0] : 0.0) + total);
}

/* g.., sum [1] (written over) -> sum (+)= |g|^2 of each, as attr.acc says */
void k_square_norm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout;
    const size_t shared_bytes = THREADS * sizeof(double);
    double *partial = (double *)cx->workspace;
    float *sum = (float *)out[0].data;
    int adds = k_adds(cx, attr);
    Normed p = {};
    for (int t = 0; t + 1 < nin; t++) {
        p.g[p.blocks.tensors] = in[t].data;
        p.count[p.blocks.tensors] = k_count(&in[t]);
        p.blocks.add(k_cuda_square_blocks(k_count(&in[t])));
        if (!p.blocks.full() && t + 2 < nin) continue;
        k_by_type(in[0].dtype, [&](auto type) {
            K_LAUNCH(square_kernel<decltype(type)>, k_grid(p.blocks.count), THREADS, shared_bytes, cx->stream,
                     sum, partial, p, adds);
        });
        adds = 1;
        p.blocks = {};
    }
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

/* One weight's gradient, itself and what the optimizer keeps of it. */
struct Weight {
    const void *g;
    void *w, *m, *v, *master; /* master NULL: w is exact */
    int64_t count, scales;    /* scales: of moments in 8 bits, bytes from the codes on */
};

/* What a launch does. The decay is for the first `decayed` tensors. */
struct AdamW {
    const float *scale; /* NULL: 1 */
    const KStep *now;
    double decay;
    float beta1, rest1, beta2, rest2, eps;
    short g_type, w_type, m_type, v_type; /* of all tensors */
    short decayed, decay_last;            /* last: what the update made is multiplied by 1 - rate * decay */
    Blocks<MOST_TENSORS> blocks;
    Weight weight[MOST_TENSORS];

    /* Puts its tensor in `at` and yields the place of this block among the tensor's. */
    __device__ int64_t find(Weight *at, bool *decays) const {
        const int tensor = blocks.tensor_of(blockIdx.x);
        *at = weight[tensor];
        *decays = tensor < decayed;
        return blockIdx.x - blocks.first[tensor];
    }
};
static_assert(sizeof(AdamW) <= 4096, "arguments of a launch");

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

/* The numbers of a step that hold for all of a tensor. */
struct Rule {
    float scale, correct1, correct2, rate, decay, keep; /* keep: multiplies the updated weight */
};
static __device__ inline Rule rule_of(const AdamW &p, bool decays) {
    Rule r = {p.scale ? p.scale[0] : 1.0f, p.now->correct1, p.now->correct2, p.now->learning_rate, 0, 1};
    if (decays && !p.decay_last) r.decay = (float)p.decay;
    if (decays && p.decay_last) r.keep = (float)(1 - (double)r.rate * p.decay);
    return r;
}

/* A tensor's operands as the kernels read and write them. */
struct Views {
    KView g, w, m, v, exact; /* exact: the master copy, where there is one */
    bool rounds;             /* w is its rounding */
    bool decays;
    int64_t block, count, scales;

    __device__ Views(const AdamW &p) {
        Weight at;
        block = p.find(&at, &decays);
        g = {(void *)at.g, p.g_type};
        w = {at.w, p.w_type};
        m = {at.m, p.m_type};
        v = {at.v, p.v_type};
        rounds = at.master;
        exact = rounds ? KView{at.master, K_F32} : w;
        count = at.count;
        scales = at.scales;
    }
    /* All but the moments begin `elements` further on. */
    __device__ void skip(int64_t elements) {
        g.data = (char *)g.data + elements * (g.dtype == K_F32 ? 4 : 2);
        w.data = (char *)w.data + elements * (w.dtype == K_F32 ? 4 : 2);
        exact.data = (char *)exact.data + elements * (exact.dtype == K_F32 ? 4 : 2);
    }
};

/* The weight after a step by the moments. */
static __device__ inline float stepped(const AdamW &p, const Rule &r, float decay, float w, float m,
                                       float v) {
    const float root = sqrtf(v * r.correct2);
    return (w - r.rate * (m * r.correct1 / (root + p.eps) + decay * w)) * r.keep;
}

static __device__ inline void adamw_element(const AdamW &p, const Rule &r, float g, float *w, float *m,
                                            float *v) {
    const float slope = g * r.scale;
    *m = p.beta1 * *m + p.rest1 * slope;
    *v = p.beta2 * *v + p.rest2 * (slope * slope);
    *w = stepped(p, r, r.decay, *w, *m, *v);
}

__global__ void adamw_kernel(const __grid_constant__ AdamW p) {
    if (p.now->passes) return;
    const Views x(p);
    const Rule r = rule_of(p, x.decays);
    const int64_t i = (x.block * THREADS + threadIdx.x) * K_PACK;
    if (i + K_PACK <= x.count) {
        EitherPack packs[4];
        float g[K_PACK], w[K_PACK], m[K_PACK], v[K_PACK];
        packs[0].load(x.g, i);
        packs[1].load(x.exact, i);
        packs[2].load(x.m, i);
        packs[3].load(x.v, i);
        packs[0].widen(x.g, g);
        packs[1].widen(x.exact, w);
        packs[2].widen(x.m, m);
        packs[3].widen(x.v, v);
#pragma unroll
        for (int j = 0; j < K_PACK; j++) adamw_element(p, r, g[j], &w[j], &m[j], &v[j]);
        k_put_pack<K_PACK>(x.exact, i, w);
        k_put_pack<K_PACK>(x.m, i, m);
        k_put_pack<K_PACK>(x.v, i, v);
        if (x.rounds) k_put_pack<K_PACK>(x.w, i, w);
        return;
    }
    for (int64_t e = i; e < x.count; e++) { /* the last thread's, less than a pack */
        float w = k_get(x.exact, e), m = k_get(x.m, e), v = k_get(x.v, e);
        adamw_element(p, r, k_get(x.g, e), &w, &m, &v);
        k_put(x.exact, e, w);
        k_put(x.m, e, m);
        k_put(x.v, e, v);
        if (x.rounds) k_put(x.w, e, w);
    }
}

/* g.., scale [1]?, then w, m, v, master? of each -> these; `launch` for as many at a time as its arguments
 * hold, with a block for `elements` of a tensor. */
template <class Launch>
static void update_each(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr, int decay_last, int64_t elements, Launch launch) {
    const int tensors = k_tensors(attr), states = nout / tensors;
    AdamW p = {};
    p.scale = nin > nout + tensors ? (const float *)in[tensors].data : NULL;
    p.beta1 = (float)attr->beta1;
    p.rest1 = (float)(1 - attr->beta1);
    p.beta2 = (float)attr->beta2;
    p.rest2 = (float)(1 - attr->beta2);
    p.eps = (float)attr->eps;
    p.now = cx->now;
    p.decay = attr->decay;
    p.decay_last = (short)decay_last;
    p.g_type = (short)in[0].dtype;
    p.w_type = (short)out[0].dtype;
    p.m_type = (short)out[1].dtype;
    p.v_type = (short)out[2].dtype;
    for (int t = 0; t < tensors; t++) {
        const KTensor *state = &out[t * states];
        const int64_t count = k_count(&in[t]);
        Weight *weight = &p.weight[p.blocks.tensors];
        *weight = {in[t].data, state[0].data, state[1].data, state[2].data, NULL, count, 0};
        if (states > 3) weight->master = state[3].data;
        if (k_packing(state[1].dtype).code_bits)
            weight->scales = k_sections(k_packing(state[1].dtype), count).scales;
        if (t < k_decayed(attr)) p.decayed = (short)(p.blocks.tensors + 1);
        p.blocks.add(k_cuda_ceil(count, elements));
        if (!p.blocks.full() && t + 1 < tensors) continue;
        if (p.blocks.count) launch(k_grid(p.blocks.count), p);
        p.blocks = {};
        p.decayed = 0;
    }
}

void k_adamw(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    update_each(cx, nout, out, nin, in, attr, attr->decay_last != 0, THREADS * K_PACK,
                [&](dim3 grid, const AdamW &p) { K_LAUNCH(adamw_kernel, grid, THREADS, 0, cx->stream, p); });
}

/* ---- moments in 8 bits ---- */

constexpr int ROUNDED =
    8 * THREADS * K_PACK; /* elements of a block, so that its tables are made once for many */
static_assert(32 * K_PACK == K_DYNAMIC_BLOCK, "a warp has a block of elements that share a scale");
static_assert(THREADS == 256, "a thread for each value of a map");

struct Moment {
    unsigned char *code;
    int64_t to_scales; /* bytes from there, the same for both moments: fewer registers than a pointer each */

    __device__ float *scale(int i) const { return (float *)(code + to_scales) + i / K_DYNAMIC_BLOCK; }
};
/* Of a tensor, from element `first` on, a multiple of K_DYNAMIC_BLOCK; its scales begin `scales` bytes behind
 * the codes. */
static __device__ inline Moment moment_of(KView codes, int64_t scales, int64_t first) {
    unsigned char *data = (unsigned char *)codes.data;
    return {data + first, scales - first + first / K_DYNAMIC_BLOCK * (int64_t)sizeof(float)};
}
struct Tables { /* in shared memory: of each moment; and what would take registers through the whole loop */
    float map[2][256], middle[2][256];
    Rule rule;
};

/* Read anew each time: kept through the loop it would take registers. The decay is in `keep`. */
static __device__ inline Rule read_rule(const volatile Rule *r) {
    return {r->scale, r->correct1, r->correct2, r->rate, 0, r->keep};
}

static __device__ inline void make_tables(Tables *table) {
    const int me = (int)threadIdx.x;
    for (int s = 0; s < 2; s++) table->map[s][me] = k_dynamic_value(s == 0, me);
    __syncthreads();
    for (int s = 0; s < 2; s++)
        if (me < K_DYNAMIC_MIDDLES) table->middle[s][me] = (table->map[s][me] + table->map[s][me + 1]) * 0.5f;
    __syncthreads();
}

/* Eight codes and their scale. */
static __device__ inline void load_moment(const Moment &m, const float *map, int i, int n, float *x) {
    const float scale = *m.scale(i);
    KPack<unsigned char, K_PACK> code = {};
    if (n == K_PACK)
        code = k_load_pack<K_PACK>((const unsigned char *)m.code + i);
    else
        for (int j = 0; j < n; j++) code.at[j] = m.code[i + j];
#pragma unroll
    for (int j = 0; j < K_PACK; j++) x[j] = j < n ? map[code.at[j]] * scale : 0;
}

/* The largest magnitude of the warp's is its scale; a bit pattern of NaN is larger than those of numbers. */
static __device__ inline void store_moment(const Moment &m, const float *middle, int i, int n,
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
    if (threadIdx.x % 32 == 0) *m.scale(i) = scale;
}

/* The moments as the host rounds them. */
static __device__ inline void adamw8bit_element(const AdamW &p, const Rule &r, float g, float *w, float *m,
                                                float *v) {
    const float slope = g * r.scale;
    *m = fmaf(slope, p.rest1, *m * p.beta1);
    *v = fmaf(p.rest2 * slope, slope, *v * p.beta2);
    *w = stepped(p, r, 0.0f, *w, *m, *v);
}

/* Elements [i, i + n), zeros after them. */
static __device__ inline void get_some(KView v, int i, int n, float *x) {
    if (n == K_PACK) {
        k_get_pack<K_PACK>(v, i, x);
        return;
    }
#pragma unroll
    for (int j = 0; j < K_PACK; j++) x[j] = j < n ? k_get(v, i + j) : 0;
}
static __device__ inline void put_some(KView v, int i, int n, const float *x) {
    if (n == K_PACK)
        k_put_pack<K_PACK>(v, i, x);
    else
        for (int j = 0; j < n; j++) k_put(v, i + j, x[j]);
}

__global__ void __launch_bounds__(THREADS, 3) adamw8bit_kernel(const __grid_constant__ AdamW p) {
    K_SHARED(Tables, table);
    if (p.now->passes) return;
    Views x(p);
    if (threadIdx.x == 0) table->rule = rule_of(p, x.decays);
    make_tables(table);
    const int64_t first = x.block * ROUNDED;
    const int left = (int)(x.count - first < ROUNDED ? x.count - first : ROUNDED);
    x.skip(first);
    const Moment moment1 = moment_of(x.m, x.scales, first), moment2 = moment_of(x.v, x.scales, first);
    for (int i = (int)threadIdx.x * K_PACK;
         i / K_DYNAMIC_BLOCK * K_DYNAMIC_BLOCK < left; /* all of the warp */
         i += THREADS * K_PACK) {
        const int n = left - i < 0 ? 0 : left - i < K_PACK ? left - i : K_PACK;
        float g[K_PACK], w[K_PACK], m[K_PACK], v[K_PACK];
        get_some(x.g, i, n, g);
        get_some(x.exact, i, n, w);
        load_moment(moment1, table->map[0], i, n, m);
        load_moment(moment2, table->map[1], i, n, v);
        const Rule r = read_rule(&table->rule);
#pragma unroll
        for (int j = 0; j < K_PACK; j++) adamw8bit_element(p, r, g[j], &w[j], &m[j], &v[j]);
        put_some(x.exact, i, n, w);
        if (x.rounds) put_some(x.w, i, n, w);
        store_moment(moment1, table->middle[0], i, n, m);
        store_moment(moment2, table->middle[1], i, n, v);
    }
}

/* The same with m and v in 8 bits; the weight is updated by the new moments before these are rounded to
 * codes. */
void k_adamw8bit(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    update_each(cx, nout, out, nin, in, attr, 1, ROUNDED, [&](dim3 grid, const AdamW &p) {
        K_LAUNCH(adamw8bit_kernel, grid, THREADS, sizeof(Tables), cx->stream, p);
    });
}
