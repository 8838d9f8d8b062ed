/* See quantize.h. */
#include "quantize.h"

#include <stdlib.h>
#include <string.h>

static void quantize_block(const float *x, int64_t count, unsigned char *codes, float *scale) {
    static const float value[K_NF4_CODES] = K_NF4_VALUES;
    unsigned char code[RT_NF4_BLOCK] = {0};
    float scaled[RT_NF4_BLOCK] = {0}; /* elements past the last one are 0 */
    *scale = k_largest(x, count);
    const float inverse = 1 / k_divisor(*scale);
    for (int64_t i = 0; i < count; i++) scaled[i] = x[i] * inverse;
    for (int c = 1; c < K_NF4_CODES; c++) { /* a tie is of the lower code */
        const float middle = (value[c - 1] + value[c]) * 0.5f;
#pragma omp simd
        for (int i = 0; i < RT_NF4_BLOCK; i++) code[i] = (unsigned char)(code[i] + (scaled[i] > middle));
    }
    for (int64_t i = 0; i < (count + 1) / 2; i++)
        codes[i] = (unsigned char)(code[2 * i] << 4 | code[2 * i + 1]);
}

void rt_nf4_quantize(const float *x, int64_t count, unsigned char *codes, float *scale) {
    const int64_t blocks = (count + RT_NF4_BLOCK - 1) / RT_NF4_BLOCK;
#pragma omp parallel for schedule(static) if (blocks > 256)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t first = b * RT_NF4_BLOCK, left = count - first;
        quantize_block(x + first, left < RT_NF4_BLOCK ? left : RT_NF4_BLOCK, codes + first / 2, scale + b);
    }
}

float rt_nf4_offset(const float *scale, int64_t blocks) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) sum += (double)scale[b];
    return (float)(sum / (double)blocks);
}

void rt_nf4_group(const float *scale, int64_t blocks, float offset, unsigned char *code, float *group_scale) {
    enum { GROUP = K_DYNAMIC_BLOCK };
    float middle[K_DYNAMIC_MIDDLES];
    k_dynamic_middles(1, middle);
    for (int64_t first = 0; first < blocks; first += GROUP) {
        const int64_t count = blocks - first < GROUP ? blocks - first : GROUP;
        float rest[GROUP];
        for (int64_t i = 0; i < count; i++) rest[i] = scale[first + i] - offset;
        const float most = group_scale[first / GROUP] = k_largest(rest, count), inverse = 1 / k_divisor(most);
        for (int64_t i = 0; i < count; i++) rest[i] *= inverse;
        k_dynamic_codes(rest, count, middle, code + first);
    }
}

/* ---- and back ---- */

void rt_nf4_values(const unsigned char *codes, const float *scale, int64_t count, float *x) {
    static const float value[K_NF4_CODES] = K_NF4_VALUES;
    for (int64_t i = 0; i < count; i++) {
        int code = i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
        x[i] = value[code] * scale[i / RT_NF4_BLOCK];
    }
}

void rt_nf4_scales(const unsigned char *code, const float *group_scale, float offset, int64_t blocks,
                   float *scale) {
    enum { GROUP = 256 };
    for (int64_t b = 0; b < blocks; b++)
        scale[b] = k_grouped_scale(k_dynamic_value(1, code[b]), group_scale[b / GROUP], offset);
}

void rt_nf4_round(float *x, int64_t count, int dtype) {
    const KPacking packing = k_packing(dtype);
    const KSections at = k_sections(packing, count);
    unsigned char *codes = rt_allocate((size_t)(count + 1) / 2 + 1);
    float *scale = rt_allocate((size_t)(at.blocks + 1) * sizeof *scale);
    rt_nf4_quantize(x, count, codes, scale);
    if (packing.group) {
        const float offset = rt_nf4_offset(scale, at.blocks);
        unsigned char *code = rt_allocate((size_t)at.blocks + 1);
        float *group_scale = rt_allocate((size_t)(at.groups + 1) * sizeof *group_scale);
        rt_nf4_group(scale, at.blocks, offset, code, group_scale);
        rt_nf4_scales(code, group_scale, offset, at.blocks, scale);
        free(code);
        free(group_scale);
    }
    rt_nf4_values(codes, scale, count, x);
    free(codes);
    free(scale);
}

/* ---- a tensor ---- */

void rt_quantize_begin(RtQuantizer *q, const RtRun *run, const RtTensor *tensor, void *codes) {
    *q =
        (RtQuantizer){.to = run->arena + tensor->offset, .codes = codes, .packing = k_packing(tensor->dtype)};
    q->count = rt_tensor_count(tensor);
    q->at = k_sections(q->packing, q->count);
    q->scale = rt_allocate((size_t)q->at.blocks * sizeof *q->scale);
}

/* From a block's begin. */
static void quantize_part(RtQuantizer *q, const float *x, int64_t count) {
    if (!count) return;
    rt_nf4_quantize(x, count, q->codes, q->scale + q->done / RT_NF4_BLOCK);
    rt_device_upload(q->to + q->done / 2, q->codes, (count + 1) / 2);
    q->done += count;
}

void rt_quantize_add(RtQuantizer *q, const float *x, int64_t count) {
    if (q->waiting) {
        const int64_t room = RT_NF4_BLOCK - q->waiting, taken = count < room ? count : room;
        memcpy(q->wait + q->waiting, x, (size_t)taken * sizeof *x);
        q->waiting += taken;
        x += taken;
        count -= taken;
        if (q->waiting < RT_NF4_BLOCK) return;
        quantize_part(q, q->wait, RT_NF4_BLOCK);
    }
    const int64_t whole = count / RT_NF4_BLOCK * RT_NF4_BLOCK;
    quantize_part(q, x, whole);
    q->waiting = count - whole;
    memcpy(q->wait, x + whole, (size_t)q->waiting * sizeof *x);
}

void rt_quantize_end(RtQuantizer *q) {
    quantize_part(q, q->wait, q->waiting);
    if (q->done != q->count) abort(); /* the caller's loop is wrong */
    if (q->packing.group) {
        const float offset = rt_nf4_offset(q->scale, q->at.blocks);
        unsigned char *code = rt_allocate((size_t)q->at.blocks);
        float *group_scale = rt_allocate((size_t)(q->at.groups + 1) * sizeof *group_scale);
        rt_nf4_group(q->scale, q->at.blocks, offset, code, group_scale);
        group_scale[q->at.groups] = offset;
        rt_device_upload(q->to + q->at.scales, code, q->at.blocks);
        rt_device_upload(q->to + q->at.group_scales, group_scale,
                         (q->at.groups + 1) * (int64_t)sizeof *group_scale);
        free(code);
        free(group_scale);
    } else {
        rt_device_upload(q->to + q->at.scales, q->scale, q->at.blocks * (int64_t)sizeof *q->scale);
    }
    free(q->scale);
}
