/* How the CUDA kernels cut their work, and so the workspace they need: functions of shapes and types alone,
 * never of the device, shared by the kernels and by k_workspace. Sums that several blocks share leave one
 * partial result a lane in the workspace, which the last block to be done adds in order. */
#ifndef REMAT_CUDA_SIZES_H
#define REMAT_CUDA_SIZES_H

#include "kernels.h"

enum {
    K_CUDA_SQUARE_BLOCKS = 1024,   /* most lanes of a squared norm */
    K_CUDA_SQUARE_RUN = 8192,      /* elements a lane takes at least */
    K_CUDA_ROW_BLOCKS = 264,       /* of a sum over rows that lanes share, about */
    K_CUDA_NORM_SUMS_WIDTH = 4096, /* most of a norm's row whose backward pass and sums are one pass */
    K_CUDA_NORM_PACKS = 4,         /* of eight numbers of a norm's row, most that a thread keeps */
    K_CUDA_SORT_TILE = 256,        /* positions a block of the radix sort ranks; also its number of digits */
    K_CUDA_SORT_BITS = 8,          /* of a digit */
    K_CUDA_MOST_PARTS = 8,         /* weights whose gradient is one product */
    K_CUDA_MOST_CAST = 128,        /* tensors of a launch that casts, */
    K_CUDA_MOST_NORMED = 192,      /* that sums squares, */
    K_CUDA_MOST_UPDATED = 62,      /* and of AdamW: arguments take 4096 bytes at most */
};

static inline int64_t k_cuda_ceil(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit;
}
static inline int64_t k_cuda_clamp(int64_t n, int64_t low, int64_t high) {
    return n < low ? low : n > high ? high : n;
}
static inline size_t k_cuda_aligned(size_t bytes) {
    return (bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
}

/* A sum over rows [rows, width] -> [width]: lanes of rows, f32 [lanes, width] in the workspace when there is
 * more than one. About 512 blocks, each for 32 packs of eight columns, or of one where rows are not aligned;
 * no lane under 32 rows. */
static inline int64_t k_cuda_row_columns(int64_t width) {
    return width % 8 == 0 ? 256 : 32;
}
static inline int64_t k_cuda_row_lanes(int64_t rows, int64_t width) {
    const int64_t across = k_cuda_ceil(width, k_cuda_row_columns(width)), most = K_CUDA_ROW_BLOCKS;
    return k_cuda_clamp(most / k_cuda_clamp(across, 1, most), 1, k_cuda_clamp(rows / 64, 1, most));
}
static inline size_t k_cuda_row_lanes_bytes(int64_t rows, int64_t width) {
    int64_t lanes = k_cuda_row_lanes(rows, width);
    return lanes > 1 ? (size_t)(lanes * width) * sizeof(float) : 0;
}

/* Sums over rows beside other work (sums.cuh): f32 [sums, lanes, width] in the workspace when there is more
 * than one lane; no lane under 16 rows. */
static inline int64_t k_cuda_sum_lanes(int64_t rows) {
    return k_cuda_clamp(rows / 16, 1, K_CUDA_ROW_BLOCKS);
}
static inline size_t k_cuda_sum_lanes_bytes(int64_t rows, int64_t width, int64_t sums) {
    const int64_t lanes = k_cuda_sum_lanes(rows);
    return lanes > 1 ? (size_t)(sums * lanes * width) * sizeof(float) : 0;
}
/* Whether the backward pass of a norm and its sums are one pass over memory. */
static inline int k_cuda_norm_sums_at_once(int64_t width) {
    return width % 8 == 0 && width <= K_CUDA_NORM_SUMS_WIDTH;
}
static inline size_t k_cuda_norm_sums_bytes(int64_t rows, int64_t width, int64_t sums) {
    return k_cuda_norm_sums_at_once(width) ? k_cuda_sum_lanes_bytes(rows, width, sums)
                                           : k_cuda_row_lanes_bytes(rows, width);
}

/* A norm's row that the threads of a warp can keep: packs of each; 0: another row. */
static inline int k_cuda_norm_warp_packs(int64_t width) {
    const int64_t packs = k_cuda_ceil(width, 8 * 32);
    return width % 8 == 0 && packs >= 1 && packs <= K_CUDA_NORM_PACKS ? (int)packs : 0;
}

static inline int64_t k_cuda_square_blocks(int64_t count) {
    return k_cuda_clamp(k_cuda_ceil(count, K_CUDA_SQUARE_RUN), 1, K_CUDA_SQUARE_BLOCKS);
}

/* Attention, for heads up to a width; the first row that fits is used. F32(width, queries, keys forwards,
 * queries, keys backwards): on f32 units, any storage type and width. Tiles on tensor cores, where all
 * operands are bf16 and rows begin at multiples of 16 bytes, stand in variant.def. */
#define K_CUDA_ATTEND_TILES(F32)                                                                             \
    F32(64, 64, 64, 32, 64)                                                                                  \
    F32(128, 64, 32, 32, 32)                                                                                 \
    F32(256, 32, 32, 16, 16)

static inline int k_cuda_attend_tensor_cores(int dtype, int64_t width) {
    return dtype == K_BF16 && width % 8 == 0 && width <= 128;
}

/* f32 rows of width + 4 numbers, and a tile of scores either way round. */
static inline int64_t k_cuda_attend_forward_bytes(int64_t width, int64_t queries, int64_t keys) {
    return ((queries + keys) * (width + 4) + queries * (keys + 4)) * (int64_t)sizeof(float);
}
static inline int64_t k_cuda_attend_backward_bytes(int64_t width, int64_t queries, int64_t keys) {
    const int64_t scores = queries > keys ? queries * keys + 4 * queries : queries * keys + 4 * keys;
    return (2 * (queries + keys) * (width + 4) + scores) * (int64_t)sizeof(float);
}
/* bf16: a tile of each operand that stays, two of each of the two that are walked through. */
static inline int64_t k_cuda_attend_mma_bytes(int64_t width, int64_t stays, int64_t rows, int64_t walks) {
    return (stays * rows + 4 * walks) * width * 2;
}
/* dk and dv: lse and delta of two tiles of queries besides. */
static inline int64_t k_cuda_attend_dkv_bytes(int64_t width, int64_t keys, int64_t queries) {
    return k_cuda_attend_mma_bytes(width, 2, keys, queries) + 4 * queries * (int64_t)sizeof(float);
}
/* dq: lse and delta of its queries besides. */
static inline int64_t k_cuda_attend_dq_bytes(int64_t width, int64_t queries, int64_t keys) {
    return k_cuda_attend_mma_bytes(width, 2, queries, keys) + 2 * queries * (int64_t)sizeof(float);
}
static inline int64_t k_cuda_most(int64_t a, int64_t b) {
    return a > b ? a : b;
}
/* Shared memory a block of attention needs, both ways and in whatever variant, for heads of this type and
 * width; the device must have it. */
static inline int64_t k_cuda_attend_mma_shared_bytes(int64_t width) {
    int64_t wide = 0, bytes = 0; /* wide: of the variants for heads of this width */
#define K_CUDA_COUNTS(most, one, other)                                                                      \
    if (width <= most && (!wide || wide == most)) {                                                          \
        wide = most;                                                                                         \
        bytes = k_cuda_most(bytes, k_cuda_most(one, other));                                                 \
    }
#define CUDA_ATTEND(when, family, name, most, queries, keys, ...)                                            \
    K_CUDA_COUNTS(most, k_cuda_attend_mma_bytes(most, 1, queries, keys), 0)
#include "variant.def"
    wide = 0;
#define CUDA_ATTEND_BWD(when, family, name, most, dkv_keys, dkv_queries, dkv_span, dkv_warps, dkv_resident,  \
                        dq_queries, dq_keys, ...)                                                            \
    K_CUDA_COUNTS(most, k_cuda_attend_dkv_bytes(most, dkv_keys, dkv_queries),                                \
                  k_cuda_attend_dq_bytes(most, dq_queries, dq_keys))
#include "variant.def"
#undef K_CUDA_COUNTS
    return bytes;
}
static inline int64_t k_cuda_attend_shared_bytes(int dtype, int64_t width) {
#define F32(most, forward_queries, forward_keys, backward_queries, backward_keys)                            \
    if (width <= most)                                                                                       \
        return k_cuda_most(k_cuda_attend_forward_bytes(most, forward_queries, forward_keys),                 \
                           k_cuda_attend_backward_bytes(most, backward_queries, backward_keys));
    if (k_cuda_attend_tensor_cores(dtype, width)) return k_cuda_attend_mma_shared_bytes(width);
    K_CUDA_ATTEND_TILES(F32)
#undef F32
    return INT64_MAX;
}

/* embed_bwd: two orders of the positions, then digit counts [256, tiles]. */
static inline int64_t k_cuda_sort_tiles(int64_t positions) {
    return k_cuda_ceil(positions, K_CUDA_SORT_TILE);
}
static inline size_t k_cuda_sort_bytes(int64_t positions) {
    return (size_t)(2 * positions + K_CUDA_SORT_TILE * k_cuda_sort_tiles(positions)) * sizeof(int32_t);
}

/* C[rows, columns] = op(A) op(B) over `depth`, as it runs: padding of logits included (kernels.h). A is
 * stored [depth, rows] when transposed. */
typedef struct KProduct {
    int64_t rows, columns, depth;
} KProduct;
static inline KProduct k_cuda_product(const KTensor *a, int transpose_a, const KTensor *c) {
    const int64_t width = k_last(a), count = width ? k_count(a) / width : 0;
    KProduct p = {count, 0, 0};
    if (count == 0 || k_last(c) == 0) return p;
    p.rows = transpose_a ? k_pitch(a) : count;
    p.columns = transpose_a ? k_last(c) : k_pitch(c);
    p.depth = transpose_a ? count : k_pitch(a);
    return p;
}
/* A matrix product. Products too small to fill a device are split over the depth by cuBLASLt, which keeps f32
 * partial results: room for enough of them to make about 128 tiles of 128 x 128, and never less than 1 MiB.
 */
static inline size_t k_cuda_blas_bytes(int64_t rows, int64_t columns) {
    const int64_t elements = k_cuda_clamp(rows * columns, 1, INT64_C(1) << 62);
    const int64_t parts = k_cuda_clamp(k_cuda_ceil(INT64_C(1) << 21, elements), 1, 32);
    const size_t bytes = parts > 1 ? (size_t)(parts * elements) * sizeof(float) : 0;
    return k_cuda_aligned(bytes < 1 << 20 ? 1 << 20 : bytes);
}
/* A product whose weight is in 4 bits, in tiles of so many rows and columns (matmul_packed.cu): shared memory
 * for two tiles of the weight, 64 deep, and for each stage one of the other operand and its codes. */
static inline int64_t k_cuda_packed_bytes(int64_t rows, int64_t columns, int64_t stages) {
    return 64 * (2 * 2 * columns + stages * (2 * rows + columns / 2));
}
/* cuBLASLt has no bf16 result of f32 operands, and none that is `parts` tensors: the product is made in f32
 * behind its workspace, and then stored. */
static inline int k_cuda_product_is_apart(const KTensor *a, int parts, const KTensor *c) {
    return parts > 1 || (a->dtype == K_F32 && c->dtype == K_BF16);
}
static inline size_t k_cuda_product_bytes(const KTensor *a, int transpose_a, int parts, const KTensor *c) {
    const KProduct p = k_cuda_product(a, transpose_a, c);
    const size_t bytes = k_cuda_aligned((size_t)(p.rows * p.columns) * sizeof(float));
    return k_cuda_blas_bytes(p.rows, p.columns) + (k_cuda_product_is_apart(a, parts, c) ? bytes : 0);
}

#endif
