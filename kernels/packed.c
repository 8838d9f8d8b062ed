/* Packed weights to floats on the host. Two elements are a byte of codes: they are looked up together, then
 * multiplied by the scale of their block, in f32 whatever `real` is, because packed.h defines them so. */
#include "codes.h"
#include "packed.h"
#include "host.h"

enum { SERIAL_ELEMENTS = 16384, MOST_BLOCK = 64 };

typedef struct Scales {
    KPacking packing;
    const unsigned char *code; /* with groups; else NULL */
    const float *scale;        /* of groups, or of blocks */
    float offset;
    float map[256];
} Scales;

static Scales scales_of(const KTensor *w) {
    Scales s = {.packing = k_packing(w->dtype)};
    const KSections at = k_sections(s.packing, k_count(w));
    const char *data = w->data;
    if (!s.packing.group) {
        s.scale = (const float *)(const void *)(data + at.scales);
        return s;
    }
    s.code = (const unsigned char *)data + at.scales;
    s.scale = (const float *)(const void *)(data + at.group_scales);
    s.offset = s.scale[at.groups];
    for (int c = 0; c < 256; c++) s.map[c] = k_dynamic_value(1, c);
    return s;
}

static float scale_of(const Scales *s, int64_t block) {
    if (!s->code) return s->scale[block];
    return k_grouped_scale(s->map[s->code[block]], s->scale[block / s->packing.group], s->offset);
}

typedef struct Pair {
    float at[2];
} Pair;

static void dequantize_block(const Pair *pairs, const unsigned char *codes, float scale, int64_t n, real *y) {
    Pair unit[MOST_BLOCK / 2];
    for (int64_t i = 0; i < (n + 1) / 2; i++) unit[i] = pairs[codes[i]];
    const float *x = unit[0].at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = (real)(x[i] * scale);
}

void k_dequantize(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)cx, (void)nout, (void)nin, (void)attr;
    static const float value[K_NF4_CODES] = K_NF4_VALUES;
    const int64_t n = k_count(&out[0]), runs = (n + K_RUN - 1) / K_RUN;
    const Scales scales = scales_of(&in[0]);
    const unsigned char *codes = in[0].data;
    const int block = scales.packing.block;
    Pair pairs[256];
    for (int c = 0; c < 256; c++) pairs[c] = (Pair){{value[c >> 4], value[c & 15]}};
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < runs; r++) {
        real stored[K_RUN];
        const int64_t first = r * K_RUN, count = k_min(K_RUN, n - first);
        real *y = k_target(&out[0], first, stored);
        for (int64_t i = 0; i < count; i += block)
            dequantize_block(pairs, codes + (first + i) / 2, scale_of(&scales, (first + i) / block),
                             k_min(block, count - i), y + i);
        k_store(&out[0], first, count, y);
    }
}
