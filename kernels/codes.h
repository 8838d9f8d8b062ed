/* What the codes of packed types stand for (packed.h says how they lie), and how numbers become codes.
 *
 * NF4 and double quantisation: Dettmers et al. 2023, "QLoRA". The dynamic map: Dettmers et al. 2022, "8-bit
 * Optimizers via Block-wise Quantization". */
#ifndef REMAT_CODES_H
#define REMAT_CODES_H

#include "both.h"

#include <stdint.h>

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
static inline K_BOTH K_CONSTEXPR float k_dynamic_point(int k, int j) {
    const int n = 1 << k;
    const double step = (double)((1.0f - 0.1f) / (float)n);
    return j < (n + 1) / 2 ? (float)((double)0.1f + step * j) : (float)(1.0 - step * (n - j));
}

/* Of the seven decades up to 1 the values are the means of neighbouring points: 1, 2, 4 .. 64 of them where
 * the map has negative ones as well, else 2, 4 .. 128. Then there are 0 and 1. */
static inline K_BOTH K_CONSTEXPR float k_dynamic_value(int is_signed, int code) {
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

/* The largest magnitude, which is the scale of a block; NaN where one is no finite number. */
static inline float k_largest(const float *x, int64_t count) {
    float most = 0, spoilt = 0;
#pragma omp simd reduction(max : most) reduction(+ : spoilt)
    for (int64_t i = 0; i < count; i++) {
        const float size = x[i] < 0 ? -x[i] : x[i];
        most = size > most ? size : most;
        spoilt += x[i] * 0.0f;
    }
    return most + spoilt;
}

/* What to divide a block's elements by: its scale, or where that is 0 or near it a number with a reciprocal.
 */
static inline K_BOTH float k_divisor(float scale) {
    return scale < 1e-38f ? 1e-38f : scale;
}

enum { K_DYNAMIC_BLOCK = 256 };
/* k_dynamic_code of at most so many numbers at once. */
static inline void k_dynamic_codes(const float *x, int64_t count, const float *middle, unsigned char *code) {
    int32_t found[K_DYNAMIC_BLOCK] = {0};
    for (int step = 128; step; step /= 2) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) found[i] += x[i] > middle[found[i] + step - 1] ? step : 0;
    }
    for (int64_t i = 0; i < count; i++) code[i] = (unsigned char)found[i];
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
