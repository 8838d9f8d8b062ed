/* Packed storage types: an element is a code, a block of elements shares a scale. This file says how many
 * bytes n elements take and where they lie; planner, kernels, trainer and checkpoints all ask it.
 *
 *     nf4      | codes (n + 1) / 2 | scale codes, one a block | group scales f32, one a group | offset f32 |
 *     nf4_f32  | codes (n + 1) / 2 | scales f32, one a block  |
 *
 * A block is 64 elements in row-major order, a group 256 blocks, the last ones perhaps fewer; every section
 * begins at a multiple of 16 bytes. Of two codes in a byte the first is in the high half. An element is
 * nf4[code] * scale, and with groups a scale is map[scale code] * group scale + offset, each operation
 * rounded to f32.
 *
 * NF4 and double quantisation: Dettmers et al. 2023, "QLoRA". The dynamic map: Dettmers et al. 2022, "8-bit
 * Optimizers via Block-wise Quantization". */
#ifndef REMAT_PACKED_H
#define REMAT_PACKED_H

#include "both.h"

#include <stdint.h>

/* ---- layout ---- */

typedef struct KPacking {
    int code_bits; /* 0: not a packed type */
    int block;     /* elements that share a scale */
    int group;     /* blocks whose scales share a scale; 0: scales are f32 */
} KPacking;

static inline KPacking k_packing(int dtype) {
    static const KPacking packing[] = {
#define DTYPE(name, NAME, bytes)                    {0, 0, 0},
#define PACKED(name, NAME, code_bits, block, group) {code_bits, block, group},
#include "dtype.def"
#undef DTYPE
    };
    return packing[dtype];
}

typedef struct KSections {  /* byte offsets from the tensor's start, where the codes lie */
    int64_t blocks, groups; /* how many */
    int64_t scales, group_scales, end;
} KSections;

static inline KSections k_sections(KPacking packing, int64_t elements) {
    const int64_t code_bytes = (elements * packing.code_bits + 7) / 8;
    KSections at = {0, 0, (code_bytes + 15) / 16 * 16, 0, 0};
    at.blocks = (elements + packing.block - 1) / packing.block;
    at.end = at.scales + at.blocks * (int64_t)sizeof(float);
    if (!packing.group) return at;
    at.groups = (at.blocks + packing.group - 1) / packing.group;
    at.group_scales = (at.scales + at.blocks + 15) / 16 * 16;
    at.end = at.group_scales + (at.groups + 1) * (int64_t)sizeof(float);
    return at;
}

/* Bytes that so many elements take in storage, whatever the type. */
static inline int64_t k_storage_bytes(int dtype, int64_t elements) {
    static const int64_t element_bytes[] = {
#define DTYPE(name, NAME, bytes) bytes,
#include "dtype.def"
#undef DTYPE
    };
    const KPacking packing = k_packing(dtype);
    return packing.code_bits ? k_sections(packing, elements).end : elements * element_bytes[dtype];
}

/* ---- NF4 ---- */

enum { K_NF4_CODES = 16 };
/* Quantiles of a normal distribution, scaled to [-1, 1]. */
#define K_NF4_VALUES                                                                                         \
    {                                                                                                        \
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,     \
            -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,  \
            0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,           \
            0.7229568362236023f, 1.0f                                                                        \
    }

/* ---- the dynamic map: 256 values of 8-bit codes, ascending ---- */

/* Point j of 2^k + 1 evenly from 0.1 to 1, in f32 but for the product, which is exact. */
static inline K_BOTH float k_dynamic_point(int k, int j) {
    const int n = 1 << k;
    const double step = (double)((1.0f - 0.1f) / (float)n);
    return j < (n + 1) / 2 ? (float)((double)0.1f + step * j) : (float)(1.0 - step * (n - j));
}

/* Of the seven decades up to 1 the values are the means of neighbouring points: 1, 2, 4 .. 64 of them where
 * the map has negative ones as well, else 2, 4 .. 128. Then there are 0 and 1. */
static inline K_BOTH float k_dynamic_value(int is_signed, int code) {
    const float decade[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    const int zero = is_signed ? 127 : 0, place = code < zero ? zero - code : code - zero;
    if (place == 0) return 0;
    if (code == 255) return 1;
    int k = is_signed ? 0 : 1, first = 1; /* place of the decade's first value */
    while (place >= first + (1 << k)) first += 1 << k++;
    const float mean = (k_dynamic_point(k, place - first) + k_dynamic_point(k, place - first + 1)) * 0.5f;
    const float value = decade[is_signed ? k : k - 1] * mean;
    return code < zero ? -value : value;
}

enum { K_DYNAMIC_MIDDLES = 255 };
/* Between each value and the next. */
static inline void k_dynamic_middles(int is_signed, float *middle) {
    for (int c = 0; c < K_DYNAMIC_MIDDLES; c++)
        middle[c] = (k_dynamic_value(is_signed, c) + k_dynamic_value(is_signed, c + 1)) * 0.5f;
}

/* The code of the nearest value, of two the lower. */
static inline K_BOTH int k_dynamic_code(const float *middle, float x) {
    int code = 0;
    for (int step = 128; step; step /= 2)
        if (x > middle[code + step - 1]) code += step;
    return code;
}

/* The scale of a block of an `nf4` tensor. The product is rounded by itself: compilers would merge it with
 * the sum. */
static inline K_BOTH float k_grouped_scale(float map_value, float group_scale, float offset) {
#ifdef __CUDA_ARCH__
    return __fadd_rn(__fmul_rn(map_value, group_scale), offset);
#else
    const volatile float product = map_value * group_scale;
    return product + offset;
#endif
}

#endif
