/* Packed weights to floats on CUDA, at the speed of memory: a thread reads the codes of eight elements at
 * once and writes the elements as one pack; a warp's packs lie side by side. The values of codes, and of
 * scale codes, are looked up in shared memory. */
#include "packed.cuh"

constexpr int THREADS = 256; /* as many as the dynamic map has values */
constexpr int PACKS = 4;     /* of a thread, loaded before the first is used */
constexpr int ROUNDS = 4;
constexpr int SPAN = THREADS * PACKS * ROUNDS * K_PACK; /* elements of a block */

static __device__ const float nf4_value[K_NF4_CODES] = K_NF4_VALUES;

struct Tables { /* in shared memory */
    float value[K_NF4_CODES], map[256];
};

static __device__ inline float scale_of(const Packed &w, const Tables *table, int64_t element) {
    const int64_t block = element >> w.block_bits;
    if (!w.scale_codes) return w.scale[block];
    return k_grouped_scale(table->map[w.scale_codes[block]], w.scale[block >> w.group_bits],
                           w.scale[w.groups]);
}

template <class T> __global__ void dequantize_kernel(T *y, Packed w) {
    K_SHARED(Tables, table);
    const int me = (int)threadIdx.x;
    if (w.scale_codes) table->map[me] = k_dynamic_value(1, me);
    if (me < K_NF4_CODES) table->value[me] = nf4_value[me];
    __syncthreads();
    const int64_t begin = (int64_t)blockIdx.x * SPAN, whole = w.count / K_PACK * K_PACK;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t first = begin + ((int64_t)round * PACKS * THREADS + me) * K_PACK;
        uint32_t code[PACKS] = {};
        float scale[PACKS] = {};
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            const int64_t i = first + (int64_t)p * THREADS * K_PACK;
            if (i >= whole) continue;
            code[p] = *(const uint32_t *)(w.codes + i / 2);
            scale[p] = scale_of(w, table, i);
        }
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            const int64_t i = first + (int64_t)p * THREADS * K_PACK;
            float x[K_PACK];
#pragma unroll
            for (int j = 0; j < K_PACK; j++) { /* of two codes in a byte the first is in the high half */
                const int shift = j / 2 * 8 + (j % 2 ? 0 : 4);
                x[j] = table->value[code[p] >> shift & 15] * scale[p];
            }
            if (i < whole) k_store_pack<T, K_PACK>(y + i, x);
        }
    }
    const int64_t i = whole + me; /* what is left after whole packs */
    if (blockIdx.x == gridDim.x - 1 && i < w.count) {
        const unsigned char byte = w.codes[i / 2];
        k_narrow(table->value[i % 2 ? byte & 15 : byte >> 4] * scale_of(w, table, i), y + i);
    }
}

/* w of an nf4 type -> its elements */
void k_dequantize(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    const Packed w = packed_of(&in[0]);
    if (w.count == 0) return;
    k_by_type(out[0].dtype, [&](auto t) {
        using T = decltype(t);
        K_LAUNCH(dequantize_kernel<T>, k_grid(k_cuda_ceil(w.count, SPAN)), THREADS, sizeof(Tables),
                 cx->stream, (T *)out[0].data, w);
    });
    k_clear_room(cx, &out[0]);
}
