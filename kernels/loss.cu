/* Softmax cross-entropy over the last dimension on CUDA, at the speed of memory. A block reads a row once,
 * keeping a running maximum and the sum of exponentials relative to it (Milakov and Gimelshein 2018); the
 * rows' losses wait in the workspace for one block that sums them in double. A row whose target is outside
 * the vocabulary counts as masked. Loss and gradient at once: what a thread has read first of its row stays
 * in its registers, the rest is read again while the row is in the second cache, of which few blocks make use
 * at a time.
 *
 * Threads move packs of 16 bytes, BATCH of them at a time, all loaded before the first is used:
 *
 *     pack of a row:   0 1 .. threads-1 | threads .. | ..          thread t: t, t + threads, .. of each batch
 *
 * Rows may lie further apart than they are wide (kernels.h). Where they do not begin at multiples of 16 bytes
 * the forward kernel loads the same packs element by element: the order of a sum depends on the width alone.
 * The gradient has no sums, so its packs begin at the multiple of 16 bytes at or before the row. Exponentials
 * are powers of two of scaled arguments. */
#include "cuda.cuh"

enum { ROW_THREADS = 256, SUM_THREADS = 1024, ALONE = 4, PACK_BYTES = 16 }; /* ALONE: the batch of one pass */

/* What is in memory of a row, and how it becomes f32 and back. */
struct F32Row {
    typedef float Element;
    enum { PACK = PACK_BYTES / sizeof(Element) };
    static __device__ inline float one(const Element *at) { return *at; }
    static __device__ inline void put(Element *at, float x) { *at = x; }
    typedef float4 Pack;
    static __device__ inline void widen(const Pack &v, float *x) {
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    }
    static __device__ inline void load(const Element *at, float *x) { widen(*(const Pack *)at, x); }
    static __device__ inline void store(Element *at, const float *x) {
        *(float4 *)at = make_float4(x[0], x[1], x[2], x[3]);
    }
};
struct Bf16Row {
    typedef uint16_t Element;
    enum { PACK = PACK_BYTES / sizeof(Element) };
    static __device__ inline float one(const Element *at) { return k_from_bits((uint32_t)*at << 16); }
    static __device__ inline void put(Element *at, float x) { *at = (uint16_t)k_bf16_bits(x); }
    typedef uint4 Pack;
    static __device__ inline void widen(const Pack &v, float *x) {
        const uint32_t word[] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[2 * i] = k_from_bits(word[i] << 16);
            x[2 * i + 1] = k_from_bits(word[i] & 0xffff0000u);
        }
    }
    static __device__ inline void load(const Element *at, float *x) {
        widen(*(const Pack *)at, x);
    }
    static __device__ inline uint32_t two(const float *x) {
        return k_bf16_bits(x[0]) | k_bf16_bits(x[1]) << 16;
    }
    static __device__ inline void store(Element *at, const float *x) {
        *(uint4 *)at = make_uint4(two(x), two(x + 2), two(x + 4), two(x + 6));
    }
};

/* BATCH packs of a row of `width`: those that begin at i, i + stride, ..; `beyond` outside the row, before
 * which i may lie. */
template <class Row, int BATCH>
static __device__ inline void load_batch(const typename Row::Element *row, int64_t i, int64_t stride,
                                         int64_t width, bool packed, float beyond, float (*x)[Row::PACK]) {
    if (packed && i >= 0 && i + (BATCH - 1) * stride + Row::PACK <= width) {
#pragma unroll
        for (int b = 0; b < BATCH; b++) Row::load(row + i + b * stride, x[b]);
        return;
    }
#pragma unroll
    for (int b = 0; b < BATCH; b++, i += stride) {
        if (packed && i >= 0 && i + Row::PACK <= width) {
            Row::load(row + i, x[b]);
        } else {
#pragma unroll
            for (int j = 0; j < Row::PACK; j++)
                x[b][j] = i + j >= 0 && i + j < width ? Row::one(row + i + j) : beyond;
        }
    }
}

/* The same packs, up to the row's pitch. */
template <class Row, int BATCH>
static __device__ inline void store_batch(typename Row::Element *row, int64_t i, int64_t stride,
                                          int64_t pitch, bool packed, const float (*x)[Row::PACK]) {
    if (packed && i >= 0 && i + (BATCH - 1) * stride + Row::PACK <= pitch) {
#pragma unroll
        for (int b = 0; b < BATCH; b++) Row::store(row + i + b * stride, x[b]);
        return;
    }
#pragma unroll
    for (int b = 0; b < BATCH; b++, i += stride) {
        if (packed && i >= 0 && i + Row::PACK <= pitch) {
            Row::store(row + i, x[b]);
        } else {
#pragma unroll
            for (int j = 0; j < Row::PACK; j++)
                if (i + j >= 0 && i + j < pitch) Row::put(row + i + j, x[b][j]);
        }
    }
}

struct Loss {
    const void *logits;
    const float *lse_of; /* [rows]; what is read, backwards */
    float *lse;          /* what is written, forwards */
    const int32_t *target;
    const float *mask; /* NULL: every row counts once */
    double *row_loss;  /* [rows] */
    int64_t rows, width, pitch;
    bool packed; /* rows begin at multiples of PACK_BYTES */
};

/* sum 2^(x log2(e) - maximum), maximum of x log2(e); -inf with sum 0 is nothing yet */
struct Running {
    float maximum, sum;
};
static __device__ inline float log2_e() {
    return 1.44269504f;
}
/* What is taken from exponents: a row of -inf alone has no maximum. */
static __device__ inline float offset_of(float maximum) {
    return maximum == -INFINITY ? 0.0f : maximum;
}
static __device__ inline Running merge(Running a, Running b) {
    Running r;
    r.maximum = fmaxf(a.maximum, b.maximum);
    const float offset = offset_of(r.maximum);
    r.sum = a.sum * exp2f(a.maximum - offset) + b.sum * exp2f(b.maximum - offset);
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

/* With some packs more. */
template <class Row, int PACKS>
static __device__ inline void take_in(Running *mine, const float (*x)[Row::PACK]) {
    float largest = -INFINITY;
#pragma unroll
    for (int b = 0; b < PACKS; b++)
#pragma unroll
        for (int j = 0; j < Row::PACK; j++) largest = fmaxf(largest, x[b][j]);
    const float maximum = fmaxf(mine->maximum, largest * log2_e()), offset = offset_of(maximum);
    mine->sum *= exp2f(mine->maximum - offset);
    mine->maximum = maximum;
#pragma unroll
    for (int b = 0; b < PACKS; b++)
#pragma unroll
        for (int j = 0; j < Row::PACK; j++) mine->sum += exp2f(fmaf(x[b][j], log2_e(), -offset));
}

/* Packs of a row from `first` on. */
template <class Row, int BATCH>
static __device__ inline Running row_part(const typename Row::Element *row, int64_t first, int64_t width,
                                          bool packed) {
    Running mine = {-INFINITY, 0};
    const int64_t stride = (int64_t)blockDim.x * Row::PACK;
    for (; first < width; first += BATCH * stride) {
        float x[BATCH][Row::PACK];
        load_batch<Row, BATCH>(row, first, stride, width, packed, -INFINITY, x);
        take_in<Row, BATCH>(&mine, x);
    }
    return mine;
}

/* Of the threads of the block, the same in each of them; scratch: [32]. */
static __device__ inline Running whole_row(Running mine, Running *scratch) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)blockDim.x / 32;
    mine = warp_merge(mine);
    if (lane == 0) scratch[warp] = mine;
    __syncthreads();
    Running whole = {-INFINITY, 0};
    if (lane < warps) whole = scratch[lane];
    return warp_merge(whole);
}
static __device__ inline float log_sum_exp(Running whole) {
    return fmaf(offset_of(whole.maximum), 0.693147181f, logf(whole.sum));
}

template <class Row> __global__ void __launch_bounds__(ROW_THREADS) cross_entropy_kernel(Loss p) {
    K_SHARED(Running, scratch); /* [32] */
    const int64_t index = blockIdx.x;
    const typename Row::Element *row = (const typename Row::Element *)p.logits + index * p.pitch;
    const Running mine = row_part<Row, ALONE>(row, (int64_t)threadIdx.x * Row::PACK, p.width, p.packed);
    const float lse = log_sum_exp(whole_row(mine, scratch));
    if (threadIdx.x != 0) return;
    p.lse[index] = lse;
    const float weight = row_weight(p, index);
    p.row_loss[index] =
        weight != 0 ? (double)weight * ((double)lse - (double)Row::one(row + p.target[index])) : 0.0;
}

__global__ void __launch_bounds__(SUM_THREADS)
    loss_sum_kernel(float *loss, const double *row_loss, int64_t rows) {
    K_SHARED(double, partial); /* [SUM_THREADS] */
    const int me = (int)threadIdx.x;
    double sum = 0;
#pragma unroll 4
    for (int64_t r = me; r < rows; r += SUM_THREADS) sum += row_loss[r];
    partial[me] = sum;
    __syncthreads();
    for (int half = SUM_THREADS / 2; half > 0; half /= 2) {
        if (me < half) partial[me] += partial[me + half];
        __syncthreads();
    }
    if (me == 0) loss[0] = (float)((double)loss[0] + partial[0]);
}

/* What becomes of the logits of a row: (exp(logits - lse) - onehot) mask loss_scale, zeros in the row's
 * padding. */
struct Slope {
    int64_t target, width;
    float offset, scale; /* lse log2(e) */

    /* A pack that begins at i, in place. */
    template <int PACK> __device__ void apply(int64_t i, float *x) const {
#pragma unroll
        for (int j = 0; j < PACK; j++) x[j] = exp2f(fmaf(x[j], log2_e(), -offset));
        if (target >= i && target < i + PACK)
#pragma unroll
            for (int j = 0; j < PACK; j++) x[j] -= i + j == target ? 1.0f : 0.0f;
#pragma unroll
        for (int j = 0; j < PACK; j++) x[j] *= scale;
        if (i + PACK > width)
#pragma unroll
            for (int j = 0; j < PACK; j++)
                if (i + j >= width) x[j] = 0;
    }
};

/* Packs of a row from `first` on, `read` or not: what the logits of a masked row are does not matter. A batch
 * is stored after the thread has loaded it: `to` may be the row itself. */
template <class Row, int BATCH>
static __device__ inline void slope_part(typename Row::Element *to, int64_t to_pitch, bool read,
                                         const typename Row::Element *row, int64_t first, bool packed,
                                         const Slope &slope) {
    const int64_t stride = (int64_t)blockDim.x * Row::PACK;
    for (; first < to_pitch; first += BATCH * stride) {
        float x[BATCH][Row::PACK] = {};
        if (read) {
            load_batch<Row, BATCH>(row, first, stride, slope.width, packed, 0.0f, x);
#pragma unroll
            for (int b = 0; b < BATCH; b++) slope.apply<Row::PACK>(first + b * stride, x[b]);
        }
        store_batch<Row, BATCH>(to, first, stride, to_pitch, packed, x);
    }
}

template <class Row>
__global__ void __launch_bounds__(ROW_THREADS)
    cross_entropy_bwd_kernel(void *y, int64_t y_pitch, Loss p, const KStep *now) {
    const int64_t index = blockIdx.x;
    const typename Row::Element *row = (const typename Row::Element *)p.logits + index * p.pitch;
    typename Row::Element *to = (typename Row::Element *)y + index * y_pitch;
    const float weight = row_weight(p, index);
    const Slope slope = {p.target[index], p.width, p.lse_of[index] * log2_e(), weight * now->loss_scale};
    const int before = (int)(index * y_pitch % Row::PACK); /* elements from an aligned address to the row */
    const bool packed = index * p.pitch % Row::PACK == before;
    slope_part<Row, ALONE>(to, y_pitch, weight != 0, row, (int64_t)threadIdx.x * Row::PACK - before, packed,
                           slope);
}

/* Loss and gradient. Packs of aligned rows that a thread reads first stay in its registers. */
enum { BOTH_THREADS = 512, BOTH_BLOCKS = 2, KEPT = 6, AGAIN = 2 };

template <class Row>
__global__ void __launch_bounds__(BOTH_THREADS, BOTH_BLOCKS)
    cross_entropy_both_kernel(void *y, int64_t y_pitch, Loss p, const KStep *now) {
    K_SHARED(Running, scratch); /* [32] */
    typedef typename Row::Element Element;
    const int64_t index = blockIdx.x, target = p.target[index];
    const Element *row = (const Element *)p.logits + index * p.pitch;
    Element *to = (Element *)y + index * y_pitch;
    const float weight = row_weight(p, index);
    const int64_t first = (int64_t)threadIdx.x * Row::PACK, stride = (int64_t)blockDim.x * Row::PACK;
    if (weight == 0) {
        slope_part<Row, AGAIN>(to, y_pitch, false, row, first, p.packed, {});
        if (threadIdx.x == 0) p.row_loss[index] = 0;
        return;
    }
    typename Row::Pack kept[KEPT];
    Running mine = {-INFINITY, 0};
    const float hot = threadIdx.x == 0 ? Row::one(row + target) : 0.0f; /* before anything is written */
    int64_t rest = first;
    if (p.packed) {
        rest += KEPT * stride;
#pragma unroll
        for (int k = 0; k < KEPT; k++)
            if (first + k * stride < p.width)
                kept[k] = *(const typename Row::Pack *)(row + first + k * stride);
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            const int64_t i = first + k * stride;
            float x[1][Row::PACK];
            if (i >= p.width) continue;
            Row::widen(kept[k], x[0]);
#pragma unroll
            for (int j = 0; j < Row::PACK; j++)
                if (i + j >= p.width) x[0][j] = -INFINITY;
            take_in<Row, 1>(&mine, x);
        }
    }
    mine = merge(mine, row_part<Row, AGAIN>(row, rest, p.width, p.packed));
    const float lse = log_sum_exp(whole_row(mine, scratch));
    if (threadIdx.x == 0) p.row_loss[index] = (double)weight * ((double)lse - (double)hot);
    const Slope slope = {target, p.width, lse * log2_e(), weight * now->loss_scale};
    if (p.packed) {
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            const int64_t i = first + k * stride;
            float x[Row::PACK] = {};
            if (i >= y_pitch) continue;
            if (i < p.width) {
                Row::widen(kept[k], x);
                slope.apply<Row::PACK>(i, x);
            }
            Row::store(to + i, x);
        }
    }
    slope_part<Row, AGAIN>(to, y_pitch, true, row, rest, p.packed, slope);
}

/* ---- launches ---- */

static bool is_packed(const KTensor *t) {
    return k_pitch(t) * (t->dtype == K_F32 ? (int64_t)sizeof(float) : 2) % PACK_BYTES == 0;
}

static Loss loss_of(const KTensor *logits, const KTensor *targets, const KTensor *mask) {
    Loss p = {};
    p.logits = logits->data;
    p.target = (const int32_t *)targets->data;
    p.mask = mask ? (const float *)mask->data : NULL;
    p.rows = k_rows(logits);
    p.width = k_last(logits);
    p.pitch = p.rows ? k_pitch(logits) : p.width;
    p.packed = p.rows && is_packed(logits);
    return p;
}

/* One batch of packs a thread, up to ROW_THREADS. */
template <class Row> static int row_threads(int64_t width, int most) {
    return (int)k_cuda_clamp(k_cuda_ceil(width, 32 * ALONE * Row::PACK), 1, most / 32) * 32;
}

template <class Row> static void forward(const KCtx *cx, const Loss &p) {
    K_LAUNCH(cross_entropy_kernel<Row>, k_grid(p.rows), row_threads<Row>(p.width, ROW_THREADS),
             32 * sizeof(Running), cx->stream, p);
}

template <class Row> static void backward(const KCtx *cx, const Loss &p, const KTensor *y) {
    K_LAUNCH(cross_entropy_bwd_kernel<Row>, k_grid(p.rows), row_threads<Row>(p.width, ROW_THREADS), 0,
             cx->stream, y->data, k_pitch(y), p, cx->now);
}

static void sum_losses(const KCtx *cx, const KTensor *loss, const Loss &p) {
    K_LAUNCH(loss_sum_kernel, k_grid(1), SUM_THREADS, SUM_THREADS * sizeof(double), cx->stream,
             (float *)loss->data, (const double *)p.row_loss, p.rows);
}

void k_cross_entropy(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout, (void)attr;
    Loss p = loss_of(&in[0], &in[1], nin > 3 ? &in[2] : NULL);
    p.lse = (float *)out[0].data;
    p.row_loss = (double *)cx->workspace;
    if (p.rows == 0) return;
    if (in[0].dtype == K_F32)
        forward<F32Row>(cx, p);
    else
        forward<Bf16Row>(cx, p);
    sum_losses(cx, &out[1], p);
}

template <class Row> static void both(const KCtx *cx, const Loss &p, const KTensor *y) {
    K_LAUNCH(cross_entropy_both_kernel<Row>, k_grid(p.rows), row_threads<Row>(p.width, BOTH_THREADS),
             32 * sizeof(Running), cx->stream, y->data, k_pitch(y), p, cx->now);
}

/* logits, targets, mask?, loss -> dlogits, loss */
void k_cross_entropy_both(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                          const KAttr *attr) {
    (void)nout, (void)attr;
    Loss p = loss_of(&in[0], &in[1], nin > 3 ? &in[2] : NULL);
    p.row_loss = (double *)cx->workspace;
    if (p.rows == 0) return;
    p.packed &= is_packed(&out[0]);
    if (in[0].dtype == K_F32)
        both<F32Row>(cx, p, &out[0]);
    else
        both<Bf16Row>(cx, p, &out[0]);
    sum_losses(cx, &out[1], p);
}

void k_cross_entropy_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                         const KAttr *attr) {
    (void)nout, (void)attr;
    Loss p = loss_of(&in[0], &in[1], nin > 3 ? &in[3] : NULL);
    p.lse_of = (const float *)in[2].data;
    if (p.rows == 0) return;
    if (in[0].dtype == K_F32)
        backward<F32Row>(cx, p, &out[0]);
    else
        backward<Bf16Row>(cx, p, &out[0]);
}
