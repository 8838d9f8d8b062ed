/* Packed weights to floats on the host. An element is one of the 16 values that a code stands for, times the
 * scale of its block, in f32 whatever `real` is, because packed.h defines it so: the products of a block are
 * made first, rounded where they are to be stored in bf16, and then looked up. */
#include "unpack.h"

enum { SERIAL_ELEMENTS = 16384 };

static const float nf4[K_NF4_CODES] = K_NF4_VALUES;

void k_unpack_begin(KUnpack *u, const KTensor *w) {
    const KPacking packing = k_packing(w->dtype);
    const KSections at = k_sections(packing, k_count(w));
    const char *data = w->data;
    u->codes = w->data;
    u->scale_codes = NULL;
    u->block_bits = k_bits_of(packing.block);
    u->scales = (const float *)(const void *)(data + (packing.group ? at.group_scales : at.scales));
    if (!packing.group) return;
    u->scale_codes = (const unsigned char *)data + at.scales;
    u->group_bits = k_bits_of(packing.group);
    u->offset = u->scales[at.groups];
    for (int c = 0; c < 256; c++) u->map[c] = k_dynamic_value(1, c);
}

static float scale_of(const KUnpack *u, int64_t block) {
    if (!u->scale_codes) return u->scales[block];
    return k_grouped_scale(u->map[u->scale_codes[block]], u->scales[block >> u->group_bits], u->offset);
}

static inline int code_at(const KUnpack *u, int64_t i) {
    return i & 1 ? u->codes[i / 2] & 15 : u->codes[i / 2] >> 4;
}

/* What the codes of a block stand for. */
static inline void values_of(float scale, real value[K_NF4_CODES]) {
#pragma omp simd
    for (int c = 0; c < K_NF4_CODES; c++) value[c] = (real)(nf4[c] * scale);
}

/* Elements [first, first + n) of one block, looked up. Where the machine looks many up at once, those from a
 * byte's first code on. */
#if defined __AVX512BW__ && defined __AVX512VL__
enum { AT_ONCE = 32 };

/* The bytes of up to AT_ONCE codes, each as a word of 32 bits. */
static inline __m512i code_bytes(const unsigned char *codes, int64_t n) {
    const __mmask16 mask = (__mmask16)((1u << (n + 1) / 2) - 1);
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, codes));
}
#endif

static inline void look_up(const KUnpack *u, const real *value, int64_t first, int64_t n, real *y) {
    int64_t i = 0;
#if defined __AVX512BW__ && defined __AVX512VL__
    if (!K_REAL_IS_DOUBLE) {
        const __m512 values = _mm512_loadu_ps(value);
        const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
                      high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        if (first & 1) y[i++] = value[code_at(u, first)];
        for (int64_t count; i < n; i += AT_ONCE) {
            count = n - i < AT_ONCE ? n - i : AT_ONCE;
            const __mmask32 mask = (__mmask32)(((uint64_t)1 << count) - 1);
            const __m512i bytes = code_bytes(u->codes + (first + i) / 2, count);
            const __m512 even = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), values),
                         odd = _mm512_permutexvar_ps(bytes, values); /* by the low four bits */
            _mm512_mask_storeu_ps(y + i, (__mmask16)mask, _mm512_permutex2var_ps(even, low, odd));
            _mm512_mask_storeu_ps(y + i + 16, (__mmask16)(mask >> 16),
                                  _mm512_permutex2var_ps(even, high, odd));
        }
    }
#endif
    for (; i < n; i++) y[i] = value[code_at(u, first + i)];
}

static inline void look_up_bf16(const KUnpack *u, const uint16_t *value, int64_t first, int64_t n,
                                uint16_t *y) {
    int64_t i = 0;
#if defined __AVX512BW__ && defined __AVX512VL__
    const __m512i values = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)value));
    if (first & 1) y[i++] = value[code_at(u, first)];
    for (; i < n; i += AT_ONCE) {
        const int64_t count = k_min(AT_ONCE, n - i);
        const __mmask32 mask = (__mmask32)(((uint64_t)1 << count) - 1);
        const __m512i bytes = code_bytes(u->codes + (first + i) / 2, count);
        const __m512i code =
            _mm512_or_si512(_mm512_srli_epi32(bytes, 4),
                            _mm512_slli_epi32(_mm512_and_si512(bytes, _mm512_set1_epi32(15)), 16));
        _mm512_mask_storeu_epi16(y + i, mask,
                                 _mm512_permutexvar_epi16(code, values)); /* by the low five bits */
    }
#endif
    for (; i < n; i++) y[i] = value[code_at(u, first + i)];
}

void k_unpack(const KUnpack *u, int64_t first, int64_t n, real *y) {
    real value[K_NF4_CODES];
    for (int64_t here; n > 0; first += here, y += here, n -= here) {
        const int64_t block = first >> u->block_bits;
        here = k_min(((block + 1) << u->block_bits) - first, n);
        values_of(scale_of(u, block), value);
        look_up(u, value, first, here, y);
    }
}

void k_unpack_bf16(const KUnpack *u, int64_t first, int64_t n, uint16_t *y) {
    real value[K_NF4_CODES];
    uint16_t rounded[K_NF4_CODES];
    for (int64_t here; n > 0; first += here, y += here, n -= here) {
        const int64_t block = first >> u->block_bits;
        here = k_min(((block + 1) << u->block_bits) - first, n);
        values_of(scale_of(u, block), value);
        k_round(rounded, value, K_NF4_CODES);
        look_up_bf16(u, rounded, first, here, y);
    }
}

void k_unpack_stored(const KUnpack *u, int dtype, int64_t first, int64_t n, real *y) {
    uint16_t rounded[K_RUN];
    if (dtype != K_BF16) {
        k_unpack(u, first, n, y);
        return;
    }
    k_unpack_bf16(u, first, n, rounded);
    k_widen(y, rounded, n);
}

void k_dequantize(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)cx, (void)nout, (void)nin, (void)attr;
    const int64_t n = k_count(&out[0]), runs = (n + K_RUN - 1) / K_RUN;
    KUnpack unpack;
    k_unpack_begin(&unpack, &in[0]);
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < runs; r++) {
        const int64_t first = r * K_RUN, count = k_min(K_RUN, n - first);
        if (out[0].dtype == K_BF16)
            k_unpack_bf16(&unpack, first, count, (uint16_t *)out[0].data + first);
        else
            k_unpack(&unpack, first, count, (real *)out[0].data + first);
    }
}
