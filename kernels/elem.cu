/* Element-wise operations, their gradients, copies that move columns, and rotary embedding, on CUDA. An
 * element-wise operation is a functor: x holds its inputs at one element, y takes its results. All inputs of
 * a pack are read before its results are written, so the first output may be any input's storage. The last
 * input may have fewer elements than the output: it repeats. It may also be of another type (B) than the
 * others and the outputs (A). */
#include "activation.cuh"
#include "blocks.cuh"

constexpr int MAP_THREADS = 256, MAP_PACKS = 2;
constexpr int64_t MOST_Y = UINT16_MAX; /* blocks */

template <class F> struct Map {
    const void *x[F::INPUTS];
    void *y[F::OUTPUTS];
    int64_t count, period; /* period: of the last input */
};

template <int N, class F, class A, class B> struct Packs {
    KPack<A, N> x[F::INPUTS]; /* the last is not used */
    KPack<B, N> last;

    __device__ void load_first(const Map<F> &m, int64_t i) {
#pragma unroll
        for (int o = 0; o + 1 < F::INPUTS; o++) x[o] = k_load_pack<N>((const A *)m.x[o] + i);
    }
    __device__ void load_last(const Map<F> &m, int64_t i) {
        last = k_load_pack<N>((const B *)m.x[F::INPUTS - 1] + i);
    }
    __device__ void apply(const Map<F> &m, const F &f, int64_t i) const {
        float y[F::OUTPUTS][N];
#pragma unroll
        for (int j = 0; j < N; j++) {
            float from[F::INPUTS], to[F::OUTPUTS];
#pragma unroll
            for (int o = 0; o + 1 < F::INPUTS; o++) from[o] = x[o].get(j);
            from[F::INPUTS - 1] = last.get(j);
            f(i + j, from, to);
#pragma unroll
            for (int o = 0; o < F::OUTPUTS; o++) y[o][j] = to[o];
        }
#pragma unroll
        for (int o = 0; o < F::OUTPUTS; o++) k_store_pack<A, N>((A *)m.y[o] + i, y[o]);
    }
};

template <class F, class A, class B> __global__ void map_kernel(Map<F> m, F f) {
    const int64_t block = (int64_t)blockIdx.x * (MAP_THREADS * MAP_PACKS * K_PACK);
    const int64_t first = block + (int64_t)threadIdx.x * K_PACK, step = MAP_THREADS * K_PACK;
    f.begin();
    if (block + MAP_PACKS * step <= m.count) {
        Packs<K_PACK, F, A, B> packs[MAP_PACKS];
#pragma unroll
        for (int p = 0; p < MAP_PACKS; p++) {
            packs[p].load_first(m, first + p * step);
            packs[p].load_last(m, first + p * step);
        }
#pragma unroll
        for (int p = 0; p < MAP_PACKS; p++) packs[p].apply(m, f, first + p * step);
        return;
    }
    for (int64_t i = block + threadIdx.x; i < m.count; i += MAP_THREADS) { /* what is left of the tensor */
        Packs<1, F, A, B> one;
        one.load_first(m, i);
        one.load_last(m, i);
        one.apply(m, f, i);
    }
}

/* Rows of which a thread has N columns each at a time. */
template <int N> constexpr int rows_at_once = N < K_PACK ? 16 : 4;

/* The last input repeats: all others are [rows, period]. A thread has N columns of some rows. */
template <int N, class F, class A, class B> __global__ void map_rows_kernel(Map<F> m, int64_t rows, F f) {
    constexpr int ROWS = rows_at_once<N>;
    const int64_t column = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (column >= m.period) return;
    f.begin();
    Packs<N, F, A, B> packs[ROWS];
    packs[0].load_last(m, column);
#pragma unroll
    for (int r = 1; r < ROWS; r++) packs[r].last = packs[0].last;
    for (int64_t row = (int64_t)blockIdx.y * ROWS; row < rows; row += (int64_t)gridDim.y * ROWS) {
        if (row + ROWS <= rows) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) packs[r].load_first(m, (row + r) * m.period + column);
#pragma unroll
            for (int r = 0; r < ROWS; r++) packs[r].apply(m, f, (row + r) * m.period + column);
            continue;
        }
        for (int64_t r = row; r < rows; r++) {
            packs[0].load_first(m, r * m.period + column);
            packs[0].apply(m, f, r * m.period + column);
        }
    }
}

template <int N, class F, class A, class B> static void launch_rows(const Map<F> &m, F f, const KCtx *cx) {
    const int64_t rows = m.count / m.period, columns = m.period / N;
    const int threads = k_even_threads(columns, MAP_THREADS);
    const dim3 grid =
        k_grid(k_cuda_ceil(columns, threads), k_cuda_clamp(k_cuda_ceil(rows, rows_at_once<N>), 1, MOST_Y));
    K_LAUNCH((map_rows_kernel<N, F, A, B>), grid, threads, 0, cx->stream, m, rows, f);
}
template <class F, class A, class B> static void launch(const Map<F> &m, F f, const KCtx *cx) {
    if constexpr (F::REPEATS) {
        if (m.period % K_PACK == 0)
            launch_rows<K_PACK, F, A, B>(m, f, cx);
        else
            launch_rows<1, F, A, B>(m, f, cx);
    } else {
        const dim3 grid = k_grid(k_cuda_ceil(m.count, MAP_THREADS * MAP_PACKS * K_PACK));
        K_LAUNCH((map_kernel<F, A, B>), grid, MAP_THREADS, 0, cx->stream, m, f);
    }
}

template <class F> static void map(F f, const KCtx *cx, const KTensor *out, const KTensor *in) {
    Map<F> m;
    const KTensor *last = &in[F::INPUTS - 1];
    m.count = k_count(&out[0]);
    m.period = k_count(last);
    if (m.count == 0) return;
    for (int o = 0; o < F::INPUTS; o++) m.x[o] = in[o].data;
    for (int o = 0; o < F::OUTPUTS; o++) m.y[o] = out[o].data;
    k_by_type(out[0].dtype, [&](auto a) {
        using A = decltype(a);
        if constexpr (F::MIXES)
            k_by_type(last->dtype, [&](auto b) { launch<F, A, decltype(b)>(m, f, cx); });
        else
            launch<F, A, A>(m, f, cx);
    });
    k_clear_room(cx, &out[0]); /* a cast weight's */
}

template <int IN, int OUT> struct Elements { /* all of one type and as many elements */
    enum { INPUTS = IN, OUTPUTS = OUT, REPEATS = 0, MIXES = 0 };
    __device__ void begin() {} /* a thread, before its first element */
};
template <int IN, int OUT> struct Repeating : Elements<IN, OUT> {
    enum { REPEATS = 1, MIXES = 1 };
};
template <int IN, int OUT> struct Mixing : Elements<IN, OUT> {
    enum { MIXES = 1 };
};

/* KERNEL(name, kind, inputs, outputs) { body } defines k_name with the body applied to every element. */
#define KERNEL(name, kind, inputs, outputs)                                                                  \
    struct name##_elements : kind<inputs, outputs> {                                                         \
        __device__ void operator()(int64_t element, const float *x, float *y) const;                         \
    };                                                                                                       \
    void k_##name(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,                  \
                  const KAttr *attr) {                                                                       \
        (void)nout, (void)nin, (void)attr;                                                                   \
        map(name##_elements(), cx, out, in);                                                                 \
    }                                                                                                        \
    __device__ inline void name##_elements::operator()([[maybe_unused]] int64_t element, const float *x,     \
                                                       float *y) const

/* ---- arithmetic ---- */

KERNEL(add, Elements, 2, 1) {
    y[0] = x[0] + x[1];
}
KERNEL(add_broadcast, Repeating, 2, 1) {
    y[0] = x[0] + x[1];
}
KERNEL(mul, Elements, 2, 1) {
    y[0] = x[0] * x[1];
}
KERNEL(cast_one, Mixing, 1, 1) {
    y[0] = x[0];
}

struct Casts {
    const void *x[K_CUDA_MOST_CAST];
    void *y[K_CUDA_MOST_CAST];
    int64_t count[K_CUDA_MOST_CAST];
    Blocks<K_CUDA_MOST_CAST> blocks;
};
static_assert(sizeof(Casts) <= 4096, "arguments of a launch");

/* Rows that go behind others may lie at any element: then one is stored after the other. */
template <class A, class B> __global__ void casts_kernel(const __grid_constant__ Casts p) {
    const int t = p.blocks.tensor_of(blockIdx.x);
    const int64_t block = (int64_t)(blockIdx.x - p.blocks.first[t]) * (MAP_THREADS * MAP_PACKS * K_PACK);
    const int64_t count = p.count[t];
    const int64_t whole = (uintptr_t)p.y[t] % sizeof(KPack<A, K_PACK>) == 0 ? count : 0;
    const B *x = (const B *)p.x[t];
    A *y = (A *)p.y[t];
    KPack<B, K_PACK> pack[MAP_PACKS];
#pragma unroll
    for (int i = 0; i < MAP_PACKS; i++) {
        const int64_t at = block + (i * MAP_THREADS + (int)threadIdx.x) * K_PACK;
        if (at + K_PACK <= whole) pack[i] = k_load_pack<K_PACK>(x + at);
    }
#pragma unroll
    for (int i = 0; i < MAP_PACKS; i++) {
        const int64_t at = block + (i * MAP_THREADS + (int)threadIdx.x) * K_PACK;
        float value[K_PACK];
        if (at + K_PACK <= whole) {
#pragma unroll
            for (int j = 0; j < K_PACK; j++) value[j] = pack[i].get(j);
            k_store_pack<A, K_PACK>(y + at, value);
            continue;
        }
        for (int64_t e = at; e < count && e < at + K_PACK; e++) k_narrow(k_widen(x[e]), y + e);
    }
}

static void cast_many(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in) {
    const int64_t bytes = out->dtype == K_F32 ? 4 : 2;
    const KTensor *to = out;
    int64_t at = 0; /* elements of it that are there */
    Casts p = {};
    for (int t = 0; t < nin; t++) {
        const int i = p.blocks.tensors;
        p.x[i] = in[t].data;
        p.y[i] = (char *)to->data + at * bytes;
        p.count[i] = k_count(&in[t]);
        at += p.count[i];
        if (at == k_count(to)) to++, at = 0;
        p.blocks.add(k_cuda_ceil(p.count[i], MAP_THREADS * MAP_PACKS * K_PACK));
        if (!p.blocks.full() && t + 1 < nin) continue;
        k_by_type(out[0].dtype, [&](auto a) {
            k_by_type(in[0].dtype, [&](auto b) {
                K_LAUNCH((casts_kernel<decltype(a), decltype(b)>), k_grid(p.blocks.count), MAP_THREADS, 0,
                         cx->stream, p);
            });
        });
        p.blocks = {};
    }
    for (int t = 0; t < nout; t++) k_clear_room(cx, &out[t]);
}
void k_cast(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    if (nin == 1)
        k_cast_one(cx, nout, out, nin, in, attr);
    else
        cast_many(cx, nout, out, nin, in);
}

struct ScaleElements : Elements<1, 1> {
    float factor;
    __device__ void operator()(int64_t, const float *x, float *y) const { y[0] = x[0] * factor; }
};
void k_scale(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    ScaleElements f;
    f.factor = (float)attr->factor;
    map(f, cx, out, in);
}

struct AddScaledElements : Elements<2, 1> {
    float factor;
    int rounds; /* to bf16 */
    __device__ void operator()(int64_t, const float *x, float *y) const {
        const float scaled = x[1] * factor;
        y[0] = x[0] + (rounds ? k_from_bits(k_bf16_bits(scaled) << 16) : scaled);
    }
};
void k_add_scaled(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin;
    AddScaledElements f;
    f.factor = (float)attr->factor;
    f.rounds = out->dtype == K_BF16;
    map(f, cx, out, in);
}

struct DropoutElements : Elements<1, 1> {
    const KStep *now;
    int64_t stream;
    uint64_t key;
    int64_t first; /* of the whole, where this is some of its rows */
    uint32_t threshold;
    float scale;
    __device__ void begin() { key = k_random_stream(now->random, stream); }
    __device__ void operator()(int64_t element, const float *x, float *y) const {
        y[0] = k_random24(key, (uint64_t)(first + element)) >= threshold ? x[0] * scale : 0.0f;
    }
};
void k_dropout(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin;
    DropoutElements f = {};
    f.now = cx->now;
    f.stream = attr->rng;
    f.first = attr->element;
    f.threshold = (uint32_t)ceil(attr->p * 16777216.0);
    f.scale = (float)(1.0 / (1.0 - attr->p));
    map(f, cx, out, in);
}

/* ---- activations ---- */

KERNEL(gelu, Elements, 1, 1) {
    y[0] = gelu(x[0]);
}
KERNEL(gelu_bwd, Elements, 2, 1) { /* dy, x -> dx */
    y[0] = x[0] * gelu_slope(x[1]);
}
KERNEL(silu, Elements, 1, 1) {
    y[0] = x[0] * k_sigmoid(x[0]);
}
KERNEL(silu_bwd, Elements, 2, 1) { /* dy, x -> dx */
    y[0] = x[0] * silu_slope(x[1]);
}
KERNEL(swiglu, Elements, 2, 1) { /* g, u -> silu(g) u */
    y[0] = x[0] * k_sigmoid(x[0]) * x[1];
}
KERNEL(swiglu_bwd, Elements, 3, 2) { /* dy, g, u -> dg, du */
    y[0] = x[0] * x[2] * silu_slope(x[1]);
    y[1] = x[0] * (x[1] * k_sigmoid(x[1]));
}
KERNEL(bias_gelu, Repeating, 2, 1) { /* x [.., D], b [D] */
    y[0] = gelu(x[0] + x[1]);
}
KERNEL(bias_gelu_bwd, Repeating, 3, 1) { /* dy, x [.., D], b [D] -> dx */
    y[0] = x[0] * gelu_slope(x[1] + x[2]);
}

/* ---- columns ---- */

constexpr int MOST_PIECES = 8;

/* The pieces of [rows, whole_width]: [rows, width] each, in words of up to 16 bytes. */
struct Pieces {
    void *whole, *piece[MOST_PIECES];
    int64_t rows, whole_width, width[MOST_PIECES], column[MOST_PIECES]; /* of the whole, where it begins */
    unsigned block[MOST_PIECES];                                        /* likewise, of the grid */
};

/* A thread has a column of some rows of one piece. */
template <class Word, bool SPLITS> __global__ void pieces_kernel(Pieces p) {
    constexpr int ROWS = rows_at_once<sizeof(Word) / 2>;
    void *chosen = p.piece[0];
    int64_t width = p.width[0], first = 0;
    unsigned block = blockIdx.x;
#pragma unroll
    for (int i = 1; i < MOST_PIECES; i++)
        if (blockIdx.x >= p.block[i]) {
            chosen = p.piece[i];
            width = p.width[i];
            first = p.column[i];
            block = blockIdx.x - p.block[i];
        }
    const int64_t column = (int64_t)block * blockDim.x + threadIdx.x;
    if (column >= width) return;
    Word *piece = (Word *)chosen + column, *whole = (Word *)p.whole + first + column;
    Word *to = SPLITS ? piece : whole;
    const Word *from = SPLITS ? whole : piece;
    const int64_t to_row = SPLITS ? width : p.whole_width, from_row = SPLITS ? p.whole_width : width;
    for (int64_t row = (int64_t)blockIdx.y * ROWS; row < p.rows; row += (int64_t)gridDim.y * ROWS) {
        if (row + ROWS <= p.rows) {
            Word x[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) x[r] = from[(row + r) * from_row];
#pragma unroll
            for (int r = 0; r < ROWS; r++) to[(row + r) * to_row] = x[r];
            continue;
        }
        for (int64_t r = row; r < p.rows; r++) to[r * to_row] = from[r * from_row];
    }
}

/* `bytes` of a row of each piece: words, and blocks for the widest's threads. */
template <class Word, bool SPLITS> static void launch_pieces(const KCtx *cx, Pieces p, const int64_t *bytes) {
    int64_t widest = 0, blocks = 0;
    for (int i = 0; i < MOST_PIECES; i++) {
        p.width[i] = bytes[i] / (int64_t)sizeof(Word);
        p.column[i] = p.whole_width;
        p.whole_width += p.width[i];
        if (p.width[i] > widest) widest = p.width[i];
    }
    const int threads = k_even_threads(widest, MAP_THREADS);
    for (int i = 0; i < MOST_PIECES; i++) {
        p.block[i] = (unsigned)blocks;
        blocks += k_cuda_ceil(p.width[i], threads);
    }
    const int64_t groups = k_cuda_ceil(p.rows, rows_at_once<sizeof(Word) / 2>);
    const dim3 grid = k_grid(blocks, k_cuda_clamp(groups, 1, MOST_Y));
    K_LAUNCH((pieces_kernel<Word, SPLITS>), grid, threads, 0, cx->stream, p);
}
template <bool SPLITS>
static void move_pieces(const KCtx *cx, const KTensor *whole, int pieces, const KTensor *piece) {
    Pieces p = {whole->data, {}, k_rows(whole), 0, {}, {}, {}};
    int64_t bytes[MOST_PIECES] = {0}, any = 0;
    for (int i = 0; i < pieces; i++) {
        p.piece[i] = piece[i].data;
        bytes[i] = k_last(&piece[i]) * (whole->dtype == K_F32 ? 4 : 2);
        any |= bytes[i];
    }
    if (p.rows * any == 0) return;
    if (any % 16 == 0)
        launch_pieces<uint4, SPLITS>(cx, p, bytes);
    else if (any % 4 == 0)
        launch_pieces<uint32_t, SPLITS>(cx, p, bytes);
    else
        launch_pieces<uint16_t, SPLITS>(cx, p, bytes);
}

void k_split(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nin, (void)attr;
    move_pieces<true>(cx, &in[0], nout, out);
}
void k_concat(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)attr;
    move_pieces<false>(cx, &out[0], nin, in);
}

/* ---- rows ---- */

/* Rows are contiguous: the first ones are the first elements. */
void k_positions(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    map(cast_one_elements(), cx, out, in);
}

/* y[i] (+)= x[i] for i < used; zero (+)= 0 after that */
__global__ void positions_bwd_kernel(KView y, KView x, int64_t used, int64_t count, int adds) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        if (i < used)
            k_put(y, i, (adds ? k_get(y, i) : 0.0f) + k_get(x, i));
        else if (!adds)
            k_put(y, i, 0.0f);
    }
}
void k_positions_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                     const KAttr *attr) {
    (void)nout;
    const int64_t count = k_count(&out[0]);
    if (count == 0) return;
    const dim3 grid = k_grid(k_cuda_clamp(k_cuda_ceil(count, MAP_THREADS), 1, 1 << 16));
    K_LAUNCH(positions_bwd_kernel, grid, MAP_THREADS, 0, cx->stream, k_view(&out[0]), k_view(&in[0]),
             k_count(&in[0]), count, nin > 1 && k_adds(cx, attr));
}

/* to[to_first + i] = from[from_first + i], i < count */
static void copy_stretch(const KCtx *cx, const KTensor *to, int64_t to_first, const KTensor *from,
                         int64_t from_first, int64_t count) {
    const int64_t bytes = to->dtype == K_BF16 ? 2 : 4;
    if (count == 0) return;
    k_cuda_check(cudaMemcpyAsync((char *)to->data + to_first * bytes,
                                 (const char *)from->data + from_first * bytes, (size_t)(count * bytes),
                                 cudaMemcpyDeviceToDevice, (cudaStream_t)cx->stream),
                 "a copy of rows");
}

void k_slice_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin;
    const int64_t row = k_count(&out[0]) / out[0].dim[0];
    copy_stretch(cx, &out[0], 0, &in[0], attr->begin * row, k_count(&out[0]));
}
void k_join_rows(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout, (void)attr;
    int64_t first = 0;
    for (int i = 0; i < nin; first += k_count(&in[i++]))
        copy_stretch(cx, &out[0], first, &in[i], 0, k_count(&in[i]));
}

/* ---- rotary embedding (Su et al. 2021), Llama-3's frequency scaling ---- */

struct Rope {
    double theta, factor, low, high, original, direction;
    int64_t batch, time, heads, half;
    int positions;         /* of a block */
    const int32_t *places; /* [B, T]: of each token, where they are no places of the row; else NULL */
};
constexpr int ROPE_TURNS = 2; /* of a thread at once */
constexpr int ROPE_THREADS = 128, ROPE_BLOCKS = 1024;

static __device__ double rope_frequency(Rope r, int64_t pair) {
    const double f = pow(r.theta, -(double)pair / (double)r.half);
    if (r.factor <= 0) return f;
    const double turns = r.original * f / 6.28318530717958647692; /* within the original context */
    if (turns > r.high) return f;
    if (turns < r.low) return f / r.factor;
    const double smooth = (turns - r.low) / (r.high - r.low);
    return (1 - smooth) * f / r.factor + smooth * f;
}

/* Sines, then cosines, of a block's positions; of one batch, where PLACES differ by batch. */
template <bool PLACES>
static __device__ inline void rope_angles(const Rope &r, float *sines, int64_t first, int64_t batch) {
    const int half = (int)r.half, angles = r.positions * half;
    for (int i = (int)threadIdx.x; i < angles; i += (int)blockDim.x) {
        const int64_t t = first + i / half;
        double place = (double)t, sine, cosine;
        if (PLACES && t < r.time) place = r.places[batch * r.time + t];
        if (PLACES && place < 0) place = NAN;
        sincos(r.direction * place * rope_frequency(r, i % half), &sine, &cosine);
        sines[i] = (float)sine;
        sines[i + angles] = (float)cosine;
    }
}

/* The block's positions of `batches` batches, from `from` on gridDim.y apart, by the angles it has. */
template <int N, class T>
static __device__ inline void rope_turn(T *y, const T *x, const Rope &r, const float *sines, int64_t first,
                                        unsigned from, int batches) {
    const int half = (int)r.half, packs = half / N, heads = (int)r.heads;
    const float *cosines = sines + r.positions * half;
    const int here = r.time - first < r.positions ? (int)(r.time - first) : r.positions;
    const int turns = here * heads * packs; /* of a batch */
    const int threads = (int)blockDim.x, all = batches * turns;
    for (int start = (int)threadIdx.x; start < all; start += ROPE_TURNS * threads) {
        KPack<T, N> a[ROPE_TURNS], b[ROPE_TURNS];
        int64_t at[ROPE_TURNS];
#pragma unroll
        for (int k = 0; k < ROPE_TURNS; k++) {
            const int i = start + k * threads, turn = i % turns;
            const int64_t batch = from + (int64_t)(i / turns) * gridDim.y;
            at[k] = ((batch * r.time + first) * heads + turn / packs) * 2 * half + turn % packs * N;
            if (i >= all) continue;
            a[k] = k_load_pack<N>(x + at[k]);
            b[k] = k_load_pack<N>(x + at[k] + half);
        }
#pragma unroll
        for (int k = 0; k < ROPE_TURNS; k++) {
            const int i = start + k * threads, turn = i % turns;
            const int angle = turn / packs / heads * half + turn % packs * N;
            if (i >= all) continue;
            float low[N], high[N];
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float s = sines[angle + j], c = cosines[angle + j];
                low[j] = a[k].get(j) * c - b[k].get(j) * s;
                high[j] = b[k].get(j) * c + a[k].get(j) * s;
            }
            k_store_pack<T, N>(y + at[k], low);
            k_store_pack<T, N>(y + at[k] + half, high);
        }
    }
}

/* x [B, T, H, E]. A block has some positions of the sequence, in every gridDim.y-th batch: its threads share
 * their sines and cosines, then turn N pairs at a time of all heads. */
template <int N, class T>
__global__ void __launch_bounds__(ROPE_THREADS, 8) rope_kernel(T *y, const T *x, Rope r) {
    K_SHARED(float, sines); /* [positions of the block, half], then as many cosines */
    const int64_t first = (int64_t)blockIdx.x * r.positions;
    rope_angles<false>(r, sines, first, 0);
    __syncthreads();
    rope_turn<N>(y, x, r, sines, first, blockIdx.y,
                 (int)((r.batch - blockIdx.y + gridDim.y - 1) / gridDim.y));
}

/* The same where each batch has places of its own: one batch after the other. */
template <int N, class T>
__global__ void __launch_bounds__(ROPE_THREADS, 8) rope_places_kernel(T *y, const T *x, Rope r) {
    K_SHARED(float, sines);
    const int64_t first = (int64_t)blockIdx.x * r.positions;
    for (int64_t batch = blockIdx.y; batch < r.batch; batch += gridDim.y) {
        rope_angles<true>(r, sines, first, batch);
        __syncthreads();
        rope_turn<N>(y, x, r, sines, first, (unsigned)batch, 1);
        __syncthreads(); /* the next batch's angles come where these are */
    }
}
template <int N> static void launch_rope(const KCtx *cx, const KTensor *out, const KTensor *in, Rope r) {
    const int64_t blocks = k_cuda_ceil(r.time, r.positions);
    const dim3 grid = k_grid(
        blocks, k_cuda_clamp(k_cuda_ceil(ROPE_BLOCKS, blocks), 1, r.batch < MOST_Y ? r.batch : MOST_Y));
    const size_t shared_bytes = 2 * (size_t)(r.positions * r.half) * sizeof(float);
    k_by_type(in->dtype, [&](auto t) {
        using T = decltype(t);
        constexpr int PAIRS = N * sizeof(T) > 16 ? N / 2 : N; /* 16 bytes a load: more spills registers */
        K_LAUNCH((r.places ? rope_places_kernel<PAIRS, T> : rope_kernel<PAIRS, T>), grid, ROPE_THREADS,
                 shared_bytes, cx->stream, (T *)out->data, (const T *)in->data, r);
    });
}
void k_rope(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout;
    Rope r = {attr->theta,
              attr->rope_factor,
              attr->rope_low,
              attr->rope_high,
              (double)attr->rope_original,
              attr->inverse ? -1.0 : 1.0,
              in->dim[0],
              in->dim[1],
              in->dim[2],
              in->dim[3] / 2,
              1,
              nin > 1 ? (const int32_t *)in[1].data : NULL};
    if (k_count(in) == 0) return;
    r.positions = (int)k_cuda_clamp(ROPE_THREADS / r.half, 1, ROPE_THREADS);
    if (r.half % K_PACK == 0)
        launch_rope<K_PACK>(cx, out, in, r);
    else
        launch_rope<1>(cx, out, in, r);
}
