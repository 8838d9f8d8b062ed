/* Products of bf16 rows with 4-bit weights, which are dequantised on their way to the tensor cores: y = x w^T
 * (+ bias, or what is added) and, backwards, y = x w (+ add), of w [N, K] in an nf4 type. The weight is read
 * as codes, once for every tile of rows; no bf16 copy of it is in memory.
 *
 * A block has a tile of y and walks the depth 64 at a time, which along a row of w is a block of codes with
 * one scale. Of each step it needs a tile of x [ROWS, 64] and one of w, COLUMNS blocks of codes:
 *
 *     forward    w [COLUMNS rows, 64]: one block a row, B operands as they lie
 *     backward   w [64 rows, COLUMNS]: COLUMNS / 64 blocks a row, B operands read transposed
 *
 * x and the codes come by asynchronous copies, STAGES - 1 steps ahead. Meanwhile the tensor cores use a tile
 * of w, every thread makes its part of the next one: half a block. What the 16 codes of a block stand for, in
 * bf16, it has in eight registers, low bytes and high bytes; byte permutations look them up, four codes each.
 * One barrier a step.
 *
 * An element is what `dequantize` stores of it: nf4[code] * scale in f32, rounded to bf16. Sums are f32, in
 * the order of the depth, by one warp each: the bits never change. Beside a product of the dequantised weight
 * they are added in another order, and a bias that is not bf16 is added as it is, where that is rounded
 * first. */
#include "matmul_packed.h"
#include "mma_tiles.cuh"
#include "packed.cuh"
#include "variant.h"

enum { DEPTH = 64, WARPS_DOWN = 2, WARPS_ACROSS = 4, THREADS = 32 * WARPS_DOWN * WARPS_ACROSS };
enum { GROUP = 8 };      /* tiles of columns whose codes are used together by all tiles of rows */
enum { NO_BLOCK = 256 }; /* no scale code */

/* The signed dynamic map, of scale codes. */
struct DynamicMap {
    float at[256];
};
static constexpr DynamicMap dynamic_map_made(void) {
    DynamicMap map = {};
    for (int c = 0; c < 256; c++) map.at[c] = k_dynamic_value(1, c);
    return map;
}
static __device__ const DynamicMap dynamic_map = dynamic_map_made();

struct PackedProduct {
    const uint16_t *x, *add; /* add: in rows as y's, which it may be; NULL: none */
    uint16_t *y;
    int64_t x_stride, y_stride; /* elements from a row to the next */
    int rows, columns, depth;   /* of the product */
    int width;                  /* blocks of a row of w */
    Packed w;
    KView bias; /* data NULL: none */
    float factor;
};

/* ---- scales ---- */

/* What a block's scale is made of, on its way. */
struct Scale {
    uint32_t code; /* bits of the scale itself, where there are no groups */
    float group;

    __device__ void load(const Packed &w, int block, bool there) {
        group = 0;
        if (!w.scale_codes) {
            code = there ? __float_as_uint(w.scale[block]) : 0;
            return;
        }
        code = there ? w.scale_codes[block] : (uint32_t)NO_BLOCK;
        if (there) group = w.scale[block >> w.group_bits];
    }
    /* 0 where there is no block, so that all its elements are. */
    __device__ float value(const Packed &w, float offset) const {
        if (!w.scale_codes) return k_from_bits(code);
        return code == NO_BLOCK ? 0 : k_grouped_scale(dynamic_map.at[code], group, offset);
    }
};

/* ---- codes to bf16 ---- */

/* What codes 4 i to 4 i + 3 of a block stand for: their low bytes, and their high ones. */
struct Meaning {
    uint32_t low[4], high[4];

    __device__ Meaning(float scale) {
        constexpr float value[K_NF4_CODES] = K_NF4_VALUES;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t first = k_pack_bf16(value[4 * i] * scale, value[4 * i + 1] * scale);
            const uint32_t second = k_pack_bf16(value[4 * i + 2] * scale, value[4 * i + 3] * scale);
            low[i] = __byte_perm(first, second, 0x6420);
            high[i] = __byte_perm(first, second, 0x7531);
        }
    }
    /* Four codes below 8 and above, one a nibble; `which` of both: the place, and the code's highest bit. */
    static __device__ uint32_t look_up(const uint32_t (&bytes)[4], uint32_t code, uint32_t which) {
        return __byte_perm(__byte_perm(bytes[0], bytes[1], code), __byte_perm(bytes[2], bytes[3], code),
                           which);
    }
    /* Of eight codes: of two in a byte the first is in the high half. */
    __device__ uint4 of(uint32_t codes) const {
        uint32_t code = codes & 0x77777777u, which = (codes >> 1 & 0x44444444u) | 0x32103210u, x[4];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint32_t l = look_up(low, code, which), h = look_up(high, code, which);
            x[2 * half] = __byte_perm(l, h, 0x4051);
            x[2 * half + 1] = __byte_perm(l, h, 0x6273);
            code >>= 16, which >>= 16;
        }
        return make_uint4(x[0], x[1], x[2], x[3]);
    }
};

/* ---- the kernel ---- */

/* Which tile of y a block has: GROUP tiles of columns go through all rows before the next ones do. */
struct Tile {
    int row, column;
};
template <int ROWS, int COLUMNS> static __device__ inline Tile tile_of(const PackedProduct &p) {
    const int down = (p.rows - 1) / ROWS + 1, across = (p.columns - 1) / COLUMNS + 1;
    const int block = (int)blockIdx.x, first = block / (GROUP * down) * GROUP, within = block - first * down;
    const int width = across - first < GROUP ? across - first : GROUP;
    return {within / width * ROWS, (first + within % width) * COLUMNS};
}

/* The half of a block of codes that a thread dequantises, in the tiles of w. */
template <bool BACKWARD, int COLUMNS> struct Half {
    int block, step; /* its block of w in step 0, and from a step to the next */
    int row;         /* of w, in step 0 */
    bool inside;     /* there are such columns */
    int chunk;       /* where its first 8 elements lie in the tile: the others at chunk ^ 16 i */
    int half;

    __device__ Half(const PackedProduct &p, int column) {
        const int mine = (int)threadIdx.x / 2;
        half = (int)threadIdx.x % 2;
        if constexpr (BACKWARD) {
            const int across = column / DEPTH + mine / DEPTH;
            row = mine % DEPTH;
            inside = across < p.width;
            block = row * p.width + across;
            step = DEPTH * p.width;
            chunk = (int)chunk_address<COLUMNS>(0, row, mine / DEPTH * 8 + half * 4);
        } else {
            row = column + mine;
            inside = row < p.columns;
            block = row * p.width;
            step = 1;
            chunk = (int)chunk_address<DEPTH>(0, mine, half * 4);
        }
    }
    __device__ bool there(const PackedProduct &p, int s) const {
        return inside && (BACKWARD ? s * DEPTH + row < p.depth : s * DEPTH < p.depth);
    }
};

/* sum += the warp's rows of x times its columns of w: [16 BLOCKS, DEPTH] [DEPTH, 8 N]; corners of both tiles.
 * `beside` is called once, while the tensor cores are busy. */
template <bool BACKWARD, int WIDTH, int BLOCKS, int N, class Beside>
static __device__ inline void multiply(float (&sum)[BLOCKS][N][4], uint32_t a_tile, uint32_t b_tile,
                                       const Beside &beside) {
#pragma unroll
    for (int k = 0; k < DEPTH / 16; k++) {
        uint32_t b[N / 2][4];
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            if constexpr (BACKWARD)
                k_ldmatrix_transposed(b[n], corner_at<WIDTH>(b_tile, k, n));
            else
                k_ldmatrix(b[n], corner_at<WIDTH>(b_tile, n, k));
        }
        if (k == 0) beside();
#pragma unroll
        for (int m = 0; m < BLOCKS; m++) {
            uint32_t a[4];
            k_ldmatrix(a, corner_at<DEPTH>(a_tile, m, k));
#pragma unroll
            for (int n = 0; n < N / 2; n++) {
                k_mma(sum[m][2 * n], a, b[n][0], b[n][1]);
                k_mma(sum[m][2 * n + 1], a, b[n][2], b[n][3]);
            }
        }
    }
}

/* A warp's rows from `row` on and columns from `column` on. */
template <int BLOCKS, int N>
static __device__ inline void store_tile(const PackedProduct &p, int row, int column,
                                         const float (&sum)[BLOCKS][N][4]) {
    static_assert(N == 4, "a row's four lanes store 8 columns each");
    float bias[N][2];
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int of = column + 8 * n + lane_of() % 4 * 2 + i;
            bias[n][i] = p.bias.data && of < p.columns ? k_get(p.bias, of) : 0;
        }
    column += lane_of() % 4 * 8;
#pragma unroll
    for (int m = 0; m < BLOCKS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = row + 16 * m + 8 * half + lane_of() / 4;
            const bool there = at < p.rows && column < p.columns;
            uint32_t x[N], add[N] = {0, 0, 0, 0};
            if (p.add) {
                const uint4 eight = there ? *(const uint4 *)(p.add + at * p.y_stride + column) : uint4{};
                add[0] = eight.x, add[1] = eight.y, add[2] = eight.z, add[3] = eight.w;
                turn_quad(add); /* as the sums lie: turning twice changes nothing */
            }
#pragma unroll
            for (int n = 0; n < N; n++)
                x[n] = k_pack_bf16(sum[m][n][2 * half] * p.factor + bias[n][0] + k_from_bits(add[n] << 16),
                                   sum[m][n][2 * half + 1] * p.factor + bias[n][1] +
                                       k_from_bits(add[n] & 0xffff0000u));
            turn_quad(x);
            if (there) *(uint4 *)(p.y + at * p.y_stride + column) = make_uint4(x[0], x[1], x[2], x[3]);
        }
}

template <bool BACKWARD, int ROWS, int COLUMNS, int STAGES, int RESIDENT>
__global__ void __launch_bounds__(THREADS, RESIDENT)
    packed_product_kernel(const __grid_constant__ PackedProduct p) {
    K_SHARED(unsigned char, shared);
    constexpr int X_BYTES = ROWS * DEPTH * 2, W_BYTES = COLUMNS * DEPTH * 2, CODE_BYTES = COLUMNS * DEPTH / 2;
    constexpr int WARP_ROWS = ROWS / WARPS_DOWN, WARP_COLUMNS = COLUMNS / WARPS_ACROSS;
    constexpr int BLOCKS = WARP_ROWS / 16, PAIRS = WARP_COLUMNS / 16, WIDTH = BACKWARD ? COLUMNS : DEPTH;
    static_assert(CODE_BYTES == 16 * THREADS, "a thread has half a block");
    const Tile tile = tile_of<ROWS, COLUMNS>(p);
    const int down = warp_of() / WARPS_ACROSS, across = warp_of() % WARPS_ACROSS;
    const int steps = (p.depth - 1) / DEPTH + 1;

    /* in shared memory: two tiles of w, the stages' tiles of x, their codes */
    const uint32_t w_tiles = k_shared_address(shared), x_tiles = w_tiles + 2 * W_BYTES;
    uint4 *codes = (uint4 *)(shared + 2 * W_BYTES + STAGES * X_BYTES) + threadIdx.x;
    const uint32_t code_tiles = k_shared_address(codes);
    const uint32_t a_corner = corner_of<DEPTH>(x_tiles, true) + (uint32_t)(down * WARP_ROWS * DEPTH * 2);
    const uint32_t b_corner = BACKWARD
                                  ? corner_at<WIDTH>(corner_of<WIDTH>(w_tiles, true), 0, across * PAIRS)
                                  : corner_at<WIDTH>(corner_of<WIDTH>(w_tiles, false), across * PAIRS, 0);

    const Half<BACKWARD, COLUMNS> mine(p, tile.column);
    const float offset = p.w.scale_codes ? p.w.scale[p.w.groups] : 0;
    const auto copy_codes = [&](int s, int stage) {
        k_copy_async(code_tiles + (uint32_t)(stage * CODE_BYTES),
                     p.w.codes + (int64_t)(mine.block + s * mine.step) * (DEPTH / 2) + mine.half * 16,
                     mine.there(p, s));
    };
    /* x of a step, and the codes of the one after it */
    const auto copy_step = [&](int s, int stage) {
        const int column0 = s * DEPTH;
        if (s < steps)
            copy_rows<DEPTH, ROWS, THREADS>(
                x_tiles + (uint32_t)(stage * X_BYTES), p.x_stride,
                [&](int row, int column) { return p.x + ((tile.row + row) * p.x_stride + column0 + column); },
                [&](int row, int column) {
                    return column0 + column < p.depth ? p.rows - tile.row - row : 0;
                });
        if (s + 1 < steps) copy_codes(s + 1, stage + 1 < STAGES ? stage + 1 : 0);
        k_copy_commit();
    };
    const auto dequantise = [&](unsigned char *w_tile, float scale, uint4 codes_of) {
        const Meaning meaning(scale);
        const uint32_t eight[4] = {codes_of.x, codes_of.y, codes_of.z, codes_of.w};
#pragma unroll
        for (int i = 0; i < 4; i++) *(uint4 *)(w_tile + (mine.chunk ^ (16 * i))) = meaning.of(eight[i]);
    };

    copy_codes(0, 0);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) copy_step(s, s);
    Scale next; /* of the step after the one that is multiplied */
    next.load(p.w, mine.block, mine.there(p, 0));
    k_copy_wait<STAGES - 2>();
    dequantise(shared, next.value(p.w, offset), *codes);
    next.load(p.w, mine.block + mine.step, mine.there(p, 1));
    float sum[BLOCKS][2 * PAIRS][4];
    clear(sum);
    int stage = 0;
    for (int s = 0; s < steps; s++) {
        const int ahead = stage + 1 < STAGES ? stage + 1 : 0, last = stage > 0 ? stage - 1 : STAGES - 1;
        const float scale = next.value(p.w, offset);
        next.load(p.w, mine.block + (s + 2) * mine.step, mine.there(p, s + 2));
        k_copy_wait<STAGES - 2>();
        __syncthreads();
        copy_step(s + STAGES - 1, last);
        unsigned char *made = shared + (s % 2 ? 0 : W_BYTES);
        const uint32_t a_tile = a_corner + (uint32_t)(stage * X_BYTES);
        const uint32_t b_tile = b_corner + (s % 2 ? W_BYTES : 0);
        multiply<BACKWARD, WIDTH>(sum, a_tile, b_tile, [&] {
            dequantise(made, scale, codes[ahead * THREADS]); /* behind the last step: of no codes */
        });
        stage = ahead;
    }
    store_tile(p, tile.row + down * WARP_ROWS, tile.column + across * WARP_COLUMNS, sum);
}

/* ---- host side ---- */

template <int ROWS, int COLUMNS, int STAGES, int RESIDENT>
static void launch(const KCtx *cx, int backward, const PackedProduct &p) {
    const auto kernel = backward ? packed_product_kernel<true, ROWS, COLUMNS, STAGES, RESIDENT>
                                 : packed_product_kernel<false, ROWS, COLUMNS, STAGES, RESIDENT>;
    const int bytes = (int)k_cuda_packed_bytes(ROWS, COLUMNS, STAGES);
    k_cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                 "a product with a 4-bit weight needs more shared memory than this device has");
    K_LAUNCH(kernel, k_grid(k_cuda_ceil(p.rows, ROWS) * k_cuda_ceil(p.columns, COLUMNS)), THREADS,
             (size_t)bytes, cx->stream, p);
}

/* A variant is launched where it is compiled. */
template <bool HAS, int... TILE>
static void product_in(const KCtx *cx, int backward, const PackedProduct &p) {
    if constexpr (HAS)
        launch<TILE...>(cx, backward, p);
    else
        k_variant_missing("linear", cx->variant);
}

void k_product_packed(const KCtx *cx, const KTensor *x, const KTensor *w, int backward, const KTensor *bias,
                      double factor, const KTensor *add, const KTensor *y) {
    const KTensor in[] = {*x, *w};
    if (!k_takes_packed_product(y, in)) {
        fprintf(stderr, "train: error: a product of these shapes does not take its weight in 4 bits\n");
        exit(K_EXIT_INTERNAL);
    }
    PackedProduct p;
    p.x = (const uint16_t *)x->data;
    p.add = add ? (const uint16_t *)add->data : NULL;
    p.y = (uint16_t *)y->data;
    p.x_stride = k_pitch(x);
    p.y_stride = k_pitch(y);
    p.rows = (int)k_rows(x);
    p.columns = (int)k_last(y);
    p.depth = (int)k_last(x);
    p.width = (int)(w->dim[1] / DEPTH);
    p.w = packed_of(w);
    p.bias = bias ? k_view(bias) : k_no_view();
    p.factor = factor != 0 ? (float)factor : 1.0f;
    if (p.rows == 0) return;
#define CUDA_WEIGHT(when, name, ...)                                                                         \
    if (K_WANTS(when, name, cx->variant)) return product_in<K_HAS(when, name), __VA_ARGS__>(cx, backward, p);
#include "variant.def"
    k_variant_missing("linear", cx->variant);
}
