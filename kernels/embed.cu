/* Token embedding and its gradient on CUDA. The gradient sorts the positions by token with a stable radix
 * sort in the workspace, so the rows of one token stay in order of position. They are summed in f32, by a
 * warp where they are few and by a block where they are many, in an order that follows from their number
 * alone, and the sum is added to the token's row of dw: one rounding, no atomics, the same bits every time.
 * Tokens outside the vocabulary read as NaN and receive no gradient: they sort as token V. */
#include "cuda.cuh"

enum {
    TILE = K_CUDA_SORT_TILE,
    RADIX = K_CUDA_SORT_TILE,
    RADIX_BITS = K_CUDA_SORT_BITS,
    SCAN_THREADS = 1024,
    SCAN_AT_ONCE = 8
};
constexpr int EMBED_THREADS = 256;
constexpr int SUM_GROUPS = 32,
              SUM_PARTS = 8; /* a block of the gradient: groups of columns, parts of the rows */
constexpr int SUM_ROWS = 8;  /* rows of which a thread loads its columns at once */

template <int N, class Y, class W>
__global__ void embed_kernel(Y *y, const int32_t *token, const W *w, int64_t width, int64_t vocabulary) {
    const int64_t row = blockIdx.x, from = token[row];
    const int64_t i = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (i >= width) return;
    float x[N];
    if (from >= 0 && from < vocabulary) {
        const KPack<W, N> pack = k_load_pack<N>(w + from * width + i);
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = pack.get(j);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = NAN;
    }
    k_store_pack<Y, N>(y + row * width + i, x);
}
template <int N>
static void launch_embed(const KCtx *cx, const KTensor *y, const KTensor *token, const KTensor *w) {
    const int64_t width = k_last(y);
    const int threads = k_even_threads(width / N, EMBED_THREADS);
    const dim3 grid = k_grid(k_count(token), k_cuda_ceil(width / N, threads));
    k_by_type(y->dtype, [&](auto a) {
        k_by_type(w->dtype, [&](auto b) {
            using Y = decltype(a);
            using W = decltype(b);
            K_LAUNCH((embed_kernel<N, Y, W>), grid, threads, 0, cx->stream, (Y *)y->data,
                     (const int32_t *)token->data, (const W *)w->data, width, w->dim[0]);
        });
    });
}
void k_embed(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    if (k_count(&out[0]) == 0) return;
    if (k_last(&out[0]) % K_PACK == 0)
        launch_embed<K_PACK>(cx, &out[0], &in[0], &in[1]);
    else
        launch_embed<1>(cx, &out[0], &in[0], &in[1]);
}

/* ---- sorting positions by token ---- */

struct Sort {
    const int32_t *token;
    int32_t *count; /* [RADIX, tiles]: positions of a digit in a tile, then where they go */
    int64_t positions, tiles;
    int32_t vocabulary;
};

static __device__ inline uint32_t sort_key(const Sort &s, int64_t position) {
    const int32_t token = s.token[position];
    return (uint32_t)(token >= 0 && token < s.vocabulary ? token : s.vocabulary);
}
/* The tile's digits into shared memory; RADIX past the end. Yields this thread's. */
static __device__ inline uint32_t tile_digits(const Sort &s, const int32_t *order, int shift,
                                              uint32_t *digit) {
    const int64_t at = (int64_t)blockIdx.x * TILE + threadIdx.x;
    uint32_t mine = RADIX;
    if (at < s.positions) mine = sort_key(s, order ? order[at] : at) >> shift & (RADIX - 1);
    digit[threadIdx.x] = mine;
    __syncthreads();
    return mine;
}
__global__ void sort_count_kernel(Sort s, const int32_t *order, int shift) {
    K_SHARED(uint32_t, digit);
    tile_digits(s, order, shift, digit);
    int count = 0;
    const uint32_t wanted = threadIdx.x;
#pragma unroll 8
    for (int i = 0; i < TILE; i += 4) {
        const uint4 four = *(const uint4 *)(digit + i);
        count += (four.x == wanted) + (four.y == wanted) + (four.z == wanted) + (four.w == wanted);
    }
    s.count[threadIdx.x * s.tiles + blockIdx.x] = count;
}
/* count[i] = sum of the counts before i, by one block: a thread sums a stretch, all stretches are scanned. */
__global__ void sort_scan_kernel(int32_t *count, int64_t n) {
    K_SHARED(int, sum);
    const int me = (int)threadIdx.x;
    const int64_t beg = n * me / SCAN_THREADS, end = n * (me + 1) / SCAN_THREADS;
    int mine = 0;
#pragma unroll 8
    for (int64_t i = beg; i < end; i++) mine += count[i];
    sum[me] = mine;
    __syncthreads();
    for (int reach = 1; reach < SCAN_THREADS; reach *= 2) {
        const int before = me >= reach ? sum[me - reach] : 0;
        __syncthreads();
        sum[me] += before;
        __syncthreads();
    }
    int start = sum[me] - mine;
    for (int64_t i = beg; i < end; i += SCAN_AT_ONCE) {
        int here[SCAN_AT_ONCE];
#pragma unroll
        for (int k = 0; k < SCAN_AT_ONCE; k++) here[k] = i + k < end ? count[i + k] : 0;
#pragma unroll
        for (int k = 0; k < SCAN_AT_ONCE; k++) {
            if (i + k < end) count[i + k] = start;
            start += here[k];
        }
    }
}
__global__ void sort_move_kernel(Sort s, const int32_t *order, int32_t *to, int shift) {
    K_SHARED(uint32_t, digit);
    const int64_t at = (int64_t)blockIdx.x * TILE + threadIdx.x;
    const uint32_t mine = tile_digits(s, order, shift, digit);
    if (at >= s.positions) return;
    const int me = (int)threadIdx.x;
    int rank = 0;
#pragma unroll 8
    for (int i = 0; i < TILE; i += 4) {
        const uint4 four = *(const uint4 *)(digit + i);
        rank += (four.x == mine && i < me) + (four.y == mine && i + 1 < me) + (four.z == mine && i + 2 < me) +
                (four.w == mine && i + 3 < me);
    }
    to[s.count[mine * s.tiles + blockIdx.x] + rank] = order ? order[at] : (int32_t)at;
}

/* ---- gradient ---- */

/* All blocks of the gradient take COLUMNS<N> columns. The first ones look for frequent tokens, those with
 * more than RARE positions, of which at most one begins in RARE places of the order: all threads sum its
 * rows. The others have WINDOW places each, and a warp sums the rows of a rare token that begins at one of
 * them. */
constexpr int RARE = 32, RARE_ROWS = 4; /* ROWS: of which a thread loads its columns at once */
constexpr int WINDOW = 2 * SUM_PARTS, ENTRIES = 1 + WINDOW + RARE;
template <int N> constexpr int COLUMNS = SUM_GROUPS *N;

struct Gradient {
    KView dw;
    const void *dy;
    Sort sort;
    const int32_t *order;
    int64_t width, frequent; /* frequent: blocks that look for such tokens */
    int adds;
};
struct Place {
    uint32_t token; /* the vocabulary's size or more: none */
    int32_t position;
};

static __device__ inline Place place_at(const Gradient &p, int64_t place) {
    if (place < 0 || place >= p.sort.positions) return {UINT32_MAX, 0};
    const int32_t position = p.order[place];
    return {sort_key(p.sort, position), position};
}

/* sum += N columns of every STEP-th of `rows` rows from the first, ROWS of them at once */
template <int N, class T, int ROWS, int STEP, class Position>
static __device__ inline void sum_rows(const T *dy, int64_t width, int64_t first, int64_t rows,
                                       Position position, float *sum) {
    for (int64_t r = first; r < rows; r += ROWS * STEP) {
        KPack<T, N> x[ROWS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            x[i] = {};
            if (r + i * STEP < rows) x[i] = k_load_pack<N>(dy + position(r + i * STEP) * width);
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < N; j++) sum[j] += x[i].get(j);
    }
}

template <int N, class T>
static __device__ inline void sum_rare(const Gradient &p, int64_t window, int64_t start) {
    K_SHARED(Place, places); /* [ENTRIES], from the one before the window */
    const int me = (int)threadIdx.x;
    if (me < ENTRIES) places[me] = place_at(p, window * WINDOW + me - 1);
    __syncthreads();
    const int64_t column = start + me % SUM_GROUPS * N;
    if (column >= p.width) return;
    for (int i = me / SUM_GROUPS; i < WINDOW; i += SUM_PARTS) {
        const Place *first = places + 1 + i;
        const uint32_t token = first->token;
        if (token >= (uint32_t)p.sort.vocabulary) continue;
        if (first[-1].token == token || first[RARE].token == token) continue;
        const int64_t at = (int64_t)token * p.width + column;
        float sum[N] = {}, held[N] = {};
        if (p.adds) k_get_pack<N>(p.dw, at, held);
        int rows = 1;
        while (first[rows].token == token) rows++;
        sum_rows<N, T, RARE_ROWS, 1>((const T *)p.dy + column, p.width, 0, rows,
                                     [&](int64_t r) { return (int64_t)first[r].position; }, sum);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] += held[j];
        k_put_pack<N>(p.dw, at, sum);
    }
}

/* One past the last place of a token, of which `first` is one: every round the threads look at as many places
 * of those that are left. */
static __device__ inline int64_t token_end(const Gradient &p, int64_t first, uint32_t token,
                                           int64_t *shared) {
    int64_t in = first, left = p.sort.positions - first;
    while (left > 1) {
        left = (left + SUM_GROUPS * SUM_PARTS - 1) / (SUM_GROUPS * SUM_PARTS);
        const int64_t mine = in + threadIdx.x * left;
        if (place_at(p, mine).token == token && place_at(p, mine + left).token != token) *shared = mine;
        __syncthreads();
        in = *shared;
        __syncthreads();
    }
    return in + 1;
}

template <int N, class T>
static __device__ inline void sum_frequent(const Gradient &p, int64_t window, int64_t start) {
    K_SHARED(float, tile); /* [SUM_PARTS, COLUMNS], then a place */
    int64_t *shared = (int64_t *)(tile + SUM_PARTS * COLUMNS<N>);
    const int me = (int)threadIdx.x, group = me % SUM_GROUPS, part = me / SUM_GROUPS;
    if (me == 0) *shared = -1;
    __syncthreads();
    if (me < RARE) {
        const int64_t place = window * RARE + me;
        const uint32_t token = place_at(p, place).token;
        if (token < (uint32_t)p.sort.vocabulary && place_at(p, place - 1).token != token &&
            place_at(p, place + RARE).token == token)
            *shared = place;
    }
    __syncthreads();
    const int64_t first = *shared;
    __syncthreads(); /* it is used again */
    if (first < 0) return;
    const uint32_t token = place_at(p, first).token;
    const int64_t end = token_end(p, first, token, shared), column = start + group * N;
    float sum[N] = {};
    if (column < p.width)
        sum_rows<N, T, SUM_ROWS, SUM_PARTS>((const T *)p.dy + column, p.width, first + part, end,
                                            [&](int64_t r) { return (int64_t)p.order[r]; }, sum);
#pragma unroll
    for (int j = 0; j < N; j++) tile[part * COLUMNS<N> + group * N + j] = sum[j];
    __syncthreads();
    if (me >= COLUMNS<N> || start + me >= p.width) return; /* COLUMNS is at most the block's threads */
    const int64_t at = (int64_t)token * p.width + start + me;
    float total = 0;
#pragma unroll
    for (int i = 0; i < SUM_PARTS; i++) total += tile[i * COLUMNS<N> + me];
    k_put(p.dw, at, total + (p.adds ? k_get(p.dw, at) : 0.0f));
}

/* dw[token] (+)= the sum of dy over the positions of the token */
template <int N, class T> __global__ void embed_bwd_kernel(Gradient p) {
    const int64_t start = (int64_t)blockIdx.y * COLUMNS<N>;
    if (blockIdx.x < p.frequent)
        sum_frequent<N, T>(p, blockIdx.x, start);
    else
        sum_rare<N, T>(p, blockIdx.x - p.frequent, start);
}

template <int N, class T> static void launch_bwd(const KCtx *cx, const Gradient &p) {
    const dim3 grid =
        k_grid(p.frequent + k_cuda_ceil(p.sort.positions, WINDOW), k_cuda_ceil(p.width, COLUMNS<N>));
    const size_t tile_bytes = SUM_PARTS * COLUMNS<N> * sizeof(float) + sizeof(int64_t);
    const size_t shared_bytes = tile_bytes > ENTRIES * sizeof(Place) ? tile_bytes : ENTRIES * sizeof(Place);
    K_LAUNCH((embed_bwd_kernel<N, T>), grid, SUM_GROUPS * SUM_PARTS, shared_bytes, cx->stream, p);
}

/* dy [.., D], tokens [..], acc? -> dw [V, D] */
void k_embed_bwd(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    (void)nout;
    const int64_t positions = k_count(&in[1]), width = k_last(&out[0]), vocabulary = out[0].dim[0];
    const size_t element_bytes = out[0].dtype == K_F32 ? 4 : 2;
    const int adds = nin > 2 && k_adds(cx, attr);
    if (!adds)
        k_cuda_check(cudaMemsetAsync(out[0].data, 0, (size_t)k_count(&out[0]) * element_bytes,
                                     (cudaStream_t)cx->stream),
                     "embed_bwd");
    if (positions * width == 0) return;
    int32_t *order = (int32_t *)cx->workspace, *spare = order + positions;
    const int64_t tiles = k_cuda_sort_tiles(positions);
    const Sort s = {(const int32_t *)in[1].data, spare + positions, positions, tiles, (int32_t)vocabulary};
    const size_t shared_bytes = TILE * sizeof(int);
    for (int shift = 0; shift == 0 || vocabulary >> shift > 0; shift += RADIX_BITS) {
        const int32_t *from = shift ? order : NULL; /* at first in order of position */
        K_LAUNCH(sort_count_kernel, k_grid(tiles), TILE, shared_bytes, cx->stream, s, from, shift);
        K_LAUNCH(sort_scan_kernel, k_grid(1), SCAN_THREADS, SCAN_THREADS * sizeof(int), cx->stream, s.count,
                 RADIX * tiles);
        K_LAUNCH(sort_move_kernel, k_grid(tiles), TILE, shared_bytes, cx->stream, s, from, spare, shift);
        int32_t *swap = order;
        order = spare;
        spare = swap;
    }
    const Gradient p = {k_view(&out[0]), in[0].data, s, order, width, k_cuda_ceil(positions, RARE), adds};
    k_by_type(in[0].dtype, [&](auto t) {
        if (width % K_PACK == 0)
            launch_bwd<K_PACK, decltype(t)>(cx, p);
        else
            launch_bwd<1, decltype(t)>(cx, p);
    });
}
