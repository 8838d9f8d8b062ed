/* What the host kernels share: the arithmetic type, storage types <-> arithmetic, elementary functions the
 * compiler can vectorise, and fixed-lane sums.
 *
 * A kernel works on runs of at most K_RUN elements. k_load yields a run as `real`: the tensor's own memory
 * when it already holds that type, else the caller's buffer, filled. k_target yields where to put results,
 * and k_store finishes it. With in-place operands loads and stores of one run may alias: element i is read
 * before element i is written. Sums go to the K_LANES lanes of a KVec, so the bits depend on neither address
 * nor vector width. NaN passes through every function here. */
#ifndef REMAT_HOST_H
#define REMAT_HOST_H

#include "kernels.h"

#include <math.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef K_REAL real;
enum { K_REAL_IS_DOUBLE = sizeof(real) == sizeof(double), K_RUN = 1024 };

/* K_LANES numbers in a row; dereferencing an unaligned real pointer through it is fine. */
typedef real KVec __attribute__((vector_size(K_LANES * sizeof(real)), aligned(sizeof(real)), may_alias));

static inline size_t k_element_bytes(int dtype) {
    return dtype == K_F32 ? sizeof(real) : dtype == K_BF16 ? sizeof(uint16_t) : sizeof(int32_t);
}
static inline void *k_at(const KTensor *t, int64_t element) {
    return (char *)t->data + (size_t)element * k_element_bytes(t->dtype);
}
static inline int64_t k_rows(const KTensor *t) {
    return k_last(t) ? k_count(t) / k_last(t) : 0;
}
static inline int64_t k_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- storage types ---- */

static inline float k_from_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
/* Nearest, ties to even; NaN stays NaN. */
static inline uint16_t k_to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* The same of many numbers. Where the machine rounds by an instruction, it does so 32 at a time; the
 * instruction takes denormal numbers for zero, so that those with one among them go the long way. */
static inline void k_widen(real *to, const uint16_t *from, int64_t n) {
    int64_t i = 0;
#if defined __AVX512F__
    for (; !K_REAL_IS_DOUBLE && i + 16 <= n; i += 16) {
        const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)(from + i));
        _mm512_storeu_si512(to + i, _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
#endif
#pragma omp simd
    for (int64_t j = i; j < n; j++) to[j] = k_from_bf16(from[j]);
}
static inline void k_round(uint16_t *to, const real *from, int64_t n) {
    int64_t i = 0;
#if defined __AVX512BF16__ && defined __AVX512DQ__
    enum { DENORMAL = 0x20 };
    for (; !K_REAL_IS_DOUBLE && i + 32 <= n; i += 32) {
        const __m512 low = _mm512_loadu_ps(from + i), high = _mm512_loadu_ps(from + i + 16);
        if (_mm512_fpclass_ps_mask(low, DENORMAL) | _mm512_fpclass_ps_mask(high, DENORMAL))
            for (int64_t j = i; j < i + 32; j++) to[j] = k_to_bf16((float)from[j]);
        else
            _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
#endif
#pragma omp simd
    for (int64_t j = i; j < n; j++) to[j] = k_to_bf16((float)from[j]);
}

/* Elements [first, first + n) of an f32 or bf16 tensor as `real`; `buffer` has room for n. */
static inline const real *k_load(const KTensor *t, int64_t first, int64_t n, real *buffer) {
    if (t->dtype == K_F32) return (const real *)t->data + first;
    k_widen(buffer, (const uint16_t *)t->data + first, n);
    return buffer;
}
static inline real *k_target(const KTensor *t, int64_t first, real *buffer) {
    return t->dtype == K_F32 ? (real *)t->data + first : buffer;
}
/* `from` is what k_target gave. */
static inline void k_store(const KTensor *t, int64_t first, int64_t n, const real *from) {
    if (t->dtype == K_BF16) k_round((uint16_t *)t->data + first, from, n);
}
static inline real k_get(const KTensor *t, int64_t i) {
    return t->dtype == K_F32 ? ((const real *)t->data)[i] : (real)k_from_bf16(((const uint16_t *)t->data)[i]);
}
static inline void k_put(const KTensor *t, int64_t i, real x) {
    if (t->dtype == K_F32)
        ((real *)t->data)[i] = x;
    else
        ((uint16_t *)t->data)[i] = k_to_bf16((float)x);
}
/* What x becomes once stored in `dtype`. */
static inline real k_as_stored(int dtype, real x) {
    return dtype == K_BF16 ? (real)k_from_bf16(k_to_bf16((float)x)) : x;
}

/* ---- sums ---- */

static inline real k_lane_sum(const KVec *v) {
    real lane[K_LANES];
    memcpy(lane, v, sizeof lane);
    for (int half = K_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* A sum over rows [rows, width] -> [width]: how many lanes of rows hold partial sums in the workspace
 * (real [lanes, width]); 0 when the columns are shared out instead. */
static inline int k_row_lanes(int64_t rows, int64_t width) {
    return rows > K_LANES && width <= 8192 ? K_LANES : 0;
}
/* sum[i] = partial[0][i] + partial[1][i] + ...; n columns of rows `stride` apart. */
static inline void k_sum_lanes(const real *partial, int64_t stride, int lanes, int64_t n, real *sum) {
    memcpy(sum, partial, (size_t)n * sizeof(real));
    for (int lane = 1; lane < lanes; lane++) {
        const real *x = partial + lane * stride;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[i] += x[i];
    }
}
/* y[first + i] = x[i], or += when `adds`: how a gradient sum reaches its storage; n is at most K_RUN. */
static inline void k_accumulate(const KTensor *y, int64_t first, int64_t n, const real *x, int adds) {
    real old_buffer[K_RUN], new_buffer[K_RUN];
    const real *old = adds ? k_load(y, first, n, old_buffer) : NULL;
    real *to = k_target(y, first, new_buffer);
    if (adds) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = old[i] + x[i];
    } else {
        memcpy(to, x, (size_t)n * sizeof(real));
    }
    k_store(y, first, n, to);
}

/* ---- elementary functions: float by polynomial (about 2 ulp), double by libm ---- */

/* exp(x) = 2^n (1 + p): n = round(x log2 e), p = expm1 of the rest by a minimax polynomial on |r| <= ln 2
 * / 2. */
static inline float k_exp_split(float x, float *p) {
    const float shifter = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    float n = (x * 1.44269504f + shifter) - shifter;
    float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    float q = 0x1.a1a18ap-13f;
    q = q * r + 0x1.6d748cp-10f;
    q = q * r + 0x1.11109p-7f;
    q = q * r + 0x1.5554aep-5f;
    q = q * r + 0x1.555556p-3f;
    q = q * r + 0.5f;
    *p = q * r * r + r;
    return n;
}
/* 2^n for an integer -126 <= n <= 127; anything for NaN. */
static inline float k_power_of_two(float n) {
    float shifted = n + (12582912.0f + 127.0f);
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}

static inline real k_exp(real x) {
    if (K_REAL_IS_DOUBLE) return (real)exp((double)x);
    float f = (float)x, p;
    f = f > 89.0f ? 89.0f : f;
    f = f < -104.0f ? -104.0f : f;
    float n = k_exp_split(f, &p);
    float half = ((n * 0.5f) + 12582912.0f) - 12582912.0f; /* two factors, so that neither leaves the range */
    float scale = k_power_of_two(half);
    return (real)((scale + scale * p) * k_power_of_two(n - half));
}

/* tanh |x| = m / (m + 2) with m = expm1(2 |x|); tanh is 1 to the last bit beyond 10. */
static inline real k_tanh(real x) {
    if (K_REAL_IS_DOUBLE) return (real)tanh((double)x);
    float f = (float)x, p;
    float a = fabsf(f);
    a = a > 10.0f ? 10.0f : a;
    float scale = k_power_of_two(k_exp_split(2.0f * a, &p));
    float m = scale * p + (scale - 1.0f);
    return (real)copysignf(m / (m + 2.0f), f);
}

static inline real k_sigmoid(real x) {
    return (real)1 / ((real)1 + k_exp(-x));
}

#endif
