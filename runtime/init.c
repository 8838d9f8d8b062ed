/* Fresh tensors from the seed. Element e of a parameter is a pure function of (seed, parameter's name, e),
 * made on the host and uploaded, so both targets start from the same bits and another parameter's presence
 * changes nothing. Masters are the unrounded values; optimizer moments are zeros; gradient sums need no
 * contents. */
#include "quantize.h"
#include "../kernels/random.h"

#include <math.h>
#include <string.h>

static uint64_t hash_name(const char *name) {
    uint64_t hash = 0x696e6974;
    for (; *name; name++) hash = k_mix(hash ^ (unsigned char)*name) + 0x9e3779b97f4a7c15u;
    return hash;
}

/* One standard normal of 24 + 24 random bits (Box and Muller 1958); |z| < 5.8. */
static float normal(uint64_t key, uint64_t element) {
    uint64_t bits = k_mix(key + element * 0x9e3779b97f4a7c15u);
    float radius = ((float)(bits >> 40) + 1.0f) * 0x1p-24f, angle = (float)(bits >> 8 & 0xffffff) * 0x1p-24f;
    return sqrtf(-2.0f * logf(radius)) * cosf(6.28318530717958648f * angle);
}

/* In (-1, 1), of 24 random bits. */
static float uniform(uint64_t key, uint64_t element) {
    return ((float)(k_mix(key + element * 0x9e3779b97f4a7c15u) >> 40) + 0.5f) * 0x1p-23f - 1.0f;
}

/* Elements [begin, begin + count) of `of` as stored in a tensor of dtype. */
static void fill_chunk(void *chunk, int dtype, const RtTensor *of, uint64_t key, int64_t begin,
                       int64_t count) {
    float scale = (float)of->init_value;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        uint64_t element = (uint64_t)(begin + i);
        float value = of->init == 1   ? scale
                      : of->init == 2 ? scale * uniform(key, element)
                                      : scale * normal(key, element);
        if (dtype == K_BF16)
            ((uint16_t *)chunk)[i] = rt_to_bf16(value);
        else
            ((float *)chunk)[i] = value;
    }
}

static void fill_quantized(RtRun *run, const RtTensor *tensor, uint64_t key, char *chunk) {
    float *part = (float *)(void *)chunk;
    const int64_t count = rt_tensor_count(tensor), most = RT_CHUNK_BYTES / 2 / (int64_t)sizeof *part;
    RtQuantizer quantizer;
    rt_quantize_begin(&quantizer, run, tensor, chunk + RT_CHUNK_BYTES / 2);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t n = count - begin < most ? count - begin : most;
        fill_chunk(part, K_F32, tensor, key, begin, n);
        rt_quantize_add(&quantizer, part, n);
    }
    rt_quantize_end(&quantizer);
}

void rt_init_tensors(RtRun *run, const RtProgram *program, uint64_t seed, int frozen_only, void *chunk) {
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        char *to = run->arena + tensor->offset;
        if (tensor->kind == RT_ACCUMULATOR || (frozen_only && tensor->kind != RT_FROZEN)) continue;
        if (tensor->kind == RT_MOMENT1 || tensor->kind == RT_MOMENT2) {
            rt_device_fill(to, 0, rt_tensor_bytes(tensor));
            continue;
        }
        const RtTensor *of = tensor->kind == RT_MASTER ? &program->tensor[tensor->of] : tensor;
        uint64_t key = k_random_key(seed, 0, 0, (int64_t)hash_name(of->name));
        if (k_packing(tensor->dtype).code_bits) {
            fill_quantized(run, tensor, key, chunk);
            continue;
        }
        int64_t count = rt_tensor_count(tensor), bytes = rt_dtype_bytes(tensor->dtype),
                most = RT_CHUNK_BYTES / bytes;
        for (int64_t begin = 0; begin < count; begin += most) {
            int64_t part = count - begin < most ? count - begin : most;
            fill_chunk(chunk, tensor->dtype, of, key, begin, part);
            rt_device_upload(to + begin * bytes, chunk, part * bytes);
        }
    }
}
