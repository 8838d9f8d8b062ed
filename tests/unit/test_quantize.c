/* NF4 and 8-bit moments as bitsandbytes has them: the same maps, codes, scales and elements, to the bit, by
 * numbers that its own code made (quantized.def). The offset is a mean whose order of summation is the
 * library's own: within 2 ulp, and what depends on it is compared with the library's. */
#include "ir/base.h"
#include "kernels/kernels.h"
#include "runtime/quantize.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- tensors, as quantized.py makes them ---- */

typedef void Numbers(float *x, int64_t count);

static void numbers(float *x, int64_t count, uint64_t seed, int bits, bool cubed) {
    uint64_t state = seed;
    const double half = (double)((uint64_t)1 << (bits - 1));
    for (int64_t i = 0; i < count; i++) {
        const float u = (float)((double)(random_next(&state) >> (64 - bits)) / half - 1);
        x[i] = cubed ? u * u * u : u;
    }
}

static void NUMBERS_24(float *x, int64_t count) {
    numbers(x, count, 1, 24, true);
}
static void NUMBERS_11(float *x, int64_t count) { /* f16 holds them */
    numbers(x, count, 1, 11, false);
}
static void NUMBERS_8(float *x, int64_t count) { /* bf16 does */
    numbers(x, count, 1, 8, false);
}
/* A block of zeros, one with a tie at every midpoint, one of numbers below the smallest scale. */
static void SPECIAL(float *x, int64_t count) {
    static const float code[] = K_NF4_VALUES;
    NUMBERS_24(x, count);
    memset(x + 64, 0, 128 * sizeof *x);
    x[128] = 1;
    for (int c = 0; c < 15; c++) x[129 + c] = (code[c] + code[c + 1]) / 2;
    for (int i = 192; i < 256; i++) x[i] *= 1e-39f;
}

/* ---- against the library ---- */

static uint64_t hash_of(const void *bytes, int64_t count) {
    return hash_bytes(HASH_SEED, bytes, (size_t)count);
}

static void test_maps(void **state) {
    (void)state;
    static const struct {
        int is_signed;
        uint64_t hash;
    } row[] = {
#define MAP(is_signed, hash) {is_signed, hash},
#define CODES(...)
#define ADAMW(...)
#include "tests/unit/quantized.def"
#undef MAP
#undef CODES
#undef ADAMW
    };
    for (size_t i = 0; i < COUNT_OF(row); i++) {
        float map[256], middle[K_DYNAMIC_MIDDLES];
        for (int c = 0; c < 256; c++) map[c] = k_dynamic_value(row[i].is_signed, c);
        assert_true(hash_of(map, sizeof map) == row[i].hash);
        k_dynamic_middles(row[i].is_signed, middle);
        for (int c = 0; c < 256; c++) { /* a value has its own code, a tie the lower one */
            assert_int_equal(k_dynamic_code(middle, map[c]), c);
            if (c < 255) assert_int_equal(k_dynamic_code(middle, middle[c]), c);
            if (c < 255) assert_int_equal(k_dynamic_code(middle, nextafterf(middle[c], 2)), c + 1);
        }
        assert_int_equal(k_dynamic_code(middle, -2), 0);
        assert_int_equal(k_dynamic_code(middle, 2), 255);
    }
}

typedef struct Expected {
    Numbers *numbers;
    int64_t count;
    uint32_t offset;
    uint64_t codes, scales, scale_codes, group_scales, single, grouped, bf16;
} Expected;

static const Expected expected[] = {
#define MAP(...)
#define ADAMW(...)
#define CODES(...) {__VA_ARGS__},
#include "tests/unit/quantized.def"
#undef MAP
#undef CODES
#undef ADAMW
};

static uint64_t hash_of_elements(int dtype, const void *storage, int to, int64_t count) {
    const int64_t bytes = k_storage_bytes(to, count);
    void *elements = malloc((size_t)bytes);
    const KTensor w = {.data = (void *)(uintptr_t)storage, .dtype = dtype, .rank = 1, .dim = {count}};
    const KTensor y = {.data = elements, .dtype = to, .rank = 1, .dim = {count}};
    const KCtx cx = {.seed = 0};
    const KAttr attr = {.eps = 0};
    k_dequantize(&cx, 1, &y, 1, &w, &attr);
    const uint64_t hash = hash_of(elements, bytes);
    free(elements);
    return hash;
}

static void check(const Expected *e, const float *x, unsigned char *storage) {
    const KSections at = k_sections(k_packing(K_NF4), e->count),
                    plain = k_sections(k_packing(K_NF4_F32), e->count);
    float *scale = malloc((size_t)at.blocks * sizeof *scale), offset;
    float *group = (float *)(void *)(storage + at.group_scales);
    memcpy(&offset, &e->offset, sizeof offset);
    rt_nf4_quantize(x, e->count, storage, scale);
    assert_true(hash_of(storage, (e->count + 1) / 2) == e->codes);
    assert_true(hash_of(scale, at.blocks * (int64_t)sizeof *scale) == e->scales);
    assert_true(fabsf(rt_nf4_offset(scale, at.blocks) - offset) <= 2 * (nextafterf(offset, 2) - offset));
    rt_nf4_group(scale, at.blocks, offset, storage + at.scales, group);
    group[at.groups] = offset;
    assert_true(hash_of(storage + at.scales, at.blocks) == e->scale_codes);
    assert_true(hash_of(group, at.groups * (int64_t)sizeof *group) == e->group_scales);
    assert_true(hash_of_elements(K_NF4, storage, K_F32, e->count) == e->grouped);
    assert_true(hash_of_elements(K_NF4, storage, K_BF16, e->count) == e->bf16);
    memcpy(storage + plain.scales, scale, (size_t)at.blocks * sizeof *scale);
    assert_true(hash_of_elements(K_NF4_F32, storage, K_F32, e->count) == e->single);
    free(scale);
}

static void test_nf4(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        float *x = malloc((size_t)expected[i].count * sizeof *x);
        void *storage = malloc((size_t)(k_storage_bytes(K_NF4, expected[i].count) +
                                        k_storage_bytes(K_NF4_F32, expected[i].count)));
        expected[i].numbers(x, expected[i].count);
        check(&expected[i], x, storage);
        free(storage);
        free(x);
    }
}

/* ---- 8-bit AdamW ---- */

typedef struct Block { /* of 256 elements, after ten steps */
    int64_t count;     /* of all blocks */
    int m_sum, v_sum;  /* of codes */
    float m_scale, v_scale;
    double w_sum;
} Block;

static const Block block[] = {
#define MAP(...)
#define CODES(...)
#define ADAMW(...) {__VA_ARGS__},
#include "tests/unit/quantized.def"
#undef MAP
#undef CODES
#undef ADAMW
};
enum { ADAMW_COUNT = 256 * 16 + 77, ADAMW_STEPS = 10 };

/* Ten steps by gradients of very different sizes. */
static void run_adamw(float *w, unsigned char *m, unsigned char *v) {
    static float g[ADAMW_COUNT];
    const KAttr attr = {.eps = 1e-8, .beta1 = 0.9, .beta2 = 0.999, .decay = 0.1};
    KTensor of[4] = {{g, K_F32, 1, {ADAMW_COUNT}, 0},
                     {w, K_F32, 1, {ADAMW_COUNT}, 0},
                     {m, K_DYNAMIC8, 1, {ADAMW_COUNT}, 0},
                     {v, K_UDYNAMIC8, 1, {ADAMW_COUNT}, 0}};
    NUMBERS_24(w, ADAMW_COUNT);
    for (int step = 0; step < ADAMW_STEPS; step++) {
        const KCtx cx = {.step = step, .learning_rate = 0.01f};
        numbers(g, ADAMW_COUNT, (uint64_t)step + 2, 24, true);
        for (int i = 0; i < ADAMW_COUNT; i++) g[i] = g[i] * g[i] * g[i];
        k_adamw8bit(&cx, 3, of + 1, 4, of, &attr);
    }
}

/* The same codes as the library's, but for one in ten thousand, which may be the next. */
static void test_adamw(void **state) {
    (void)state;
    const int64_t bytes = k_storage_bytes(K_DYNAMIC8, ADAMW_COUNT);
    const KSections at = k_sections(k_packing(K_DYNAMIC8), ADAMW_COUNT);
    static float w[ADAMW_COUNT];
    unsigned char *m = calloc(1, (size_t)bytes), *v = calloc(1, (size_t)bytes);
    const float *m_scale = (float *)(void *)(m + at.scales), *v_scale = (float *)(void *)(v + at.scales);
    run_adamw(w, m, v);
    assert_int_equal(at.blocks, COUNT_OF(block));
    int apart = 0;
    for (int64_t b = 0; b < at.blocks; b++) {
        int m_sum = 0, v_sum = 0;
        double w_sum = 0;
        assert_int_equal(block[b].count, ADAMW_COUNT);
        for (int64_t i = 256 * b; i < 256 * (b + 1) && i < ADAMW_COUNT; i++)
            m_sum += m[i], v_sum += v[i], w_sum += (double)w[i];
        apart += abs(m_sum - block[b].m_sum) + abs(v_sum - block[b].v_sum);
        assert_true(fabsf(m_scale[b] - block[b].m_scale) <= 1e-6f * block[b].m_scale);
        assert_true(fabsf(v_scale[b] - block[b].v_scale) <= 1e-6f * block[b].v_scale);
        assert_true(fabs(w_sum - block[b].w_sum) <= 1e-4);
    }
    assert_true(apart <= 1 + 2 * ADAMW_COUNT / 10000);
    free(m);
    free(v);
}

/* ---- what is not the library's ---- */

/* 4.127 bits an element, or 4.5; an odd number of elements, one alone. */
static void test_bytes(void **state) {
    (void)state;
    assert_true(k_storage_bytes(K_NF4, 4096 * 4096) * 8 <= INT64_C(4096) * 4096 * 4127 / 1000);
    assert_int_equal(k_storage_bytes(K_NF4, 4096 * 4096), 4096 * 4096 / 2 + 262144 + 1024 * 4 + 4);
    assert_int_equal(k_storage_bytes(K_NF4_F32, 4096 * 4096), 4096 * 4096 / 2 + 262144 * 4);
    assert_int_equal(k_storage_bytes(K_NF4, 1), 16 + 16 + 8);
    assert_int_equal(k_storage_bytes(K_NF4, 65), 48 + 16 + 8);
    assert_int_equal(k_storage_bytes(K_BF16, 65), 130);
    assert_int_equal(2 * k_storage_bytes(K_DYNAMIC8, 4096), 8320); /* 2.03 bytes a parameter */
    assert_int_equal(k_storage_bytes(K_UDYNAMIC8, 257), 272 + 8);
}

/* A tensor comes in parts of any size, and is the same as in one. */
static void test_parts(void **state) {
    (void)state;
    enum { COUNT = 64 * 300 + 13, BYTES = 64 * 300 };
    static float x[COUNT];
    static unsigned char codes[RT_QUANTIZE_MOST / 2];
    char *arena[2];
    NUMBERS_24(x, COUNT);
    for (int way = 0; way < 2; way++) {
        arena[way] = calloc(1, BYTES);
        const RtRun run = {.arena = arena[way]};
        const RtTensor tensor = {.dtype = K_NF4, .rank = 1, .dim = {COUNT}};
        RtQuantizer q;
        assert_true(k_storage_bytes(K_NF4, COUNT) <= BYTES);
        rt_quantize_begin(&q, &run, &tensor, codes);
        for (int64_t at = 0, part = COUNT; at < COUNT; at += part) {
            if (way) part = at % 7 * 41 + 1;
            if (part > COUNT - at) part = COUNT - at;
            rt_quantize_add(&q, x + at, part);
        }
        rt_quantize_end(&q);
    }
    assert_memory_equal(arena[0], arena[1], BYTES);
    free(arena[0]);
    free(arena[1]);
}

/* What is not finite makes its block NaN, whatever the others are; with grouped scales the tensor. */
static void test_not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t b = 0; b < COUNT_OF(bad); b++) {
        float x[192], scale[3], group[1];
        unsigned char codes[96], code[3];
        NUMBERS_24(x, 192);
        x[70] = bad[b];
        rt_nf4_quantize(x, 192, codes, scale);
        assert_true(isfinite(scale[0]) && isnan(scale[1]) && isfinite(scale[2]));
        rt_nf4_group(scale, 3, rt_nf4_offset(scale, 3), code, group);
        assert_true(isnan(group[0]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps),  cmocka_unit_test(test_nf4),
                                       cmocka_unit_test(test_adamw), cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_parts), cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
