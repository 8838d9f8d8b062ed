/* What the CUDA kernels share: launches that are checked, storage types <-> f32, chunks of four elements, and
 * sums over a block.
 *
 * Kernels that stream tensors are templates over storage types, chosen once a launch (k_by_type), and move
 * packs of eight elements, accesses of 16 bytes, where shapes keep them aligned; all loads of a pack stand
 * before the first use. Elsewhere a tensor reaches a kernel as a KView; which type it holds is a branch that
 * all threads take alike, and chunks have four elements. All arithmetic is f32. Sums follow fixed trees and
 * there are no floating-point atomics, so the same inputs give the same bits. Shared memory is dynamic
 * throughout: K_SHARED. */
#ifndef REMAT_CUDA_CUH
#define REMAT_CUDA_CUH

#include "cuda_sizes.h"
#include "step.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- host side ---- */

enum { K_EXIT_MEMORY = 3, K_EXIT_DEVICE = 5, K_EXIT_INTERNAL = 70 };

static inline void k_cuda_check(cudaError_t status, const char *what) {
    if (status == cudaSuccess) return;
    fprintf(stderr, "train: error: CUDA: %s: %s\n", what, cudaGetErrorString(status));
    exit(status == cudaErrorMemoryAllocation ? K_EXIT_MEMORY
                                             : K_EXIT_DEVICE); /* loading a kernel takes memory */
}

#ifndef K_LAUNCH /* tests may run kernels in another way */
#define K_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                             \
    do {                                                                                                     \
        kernel<<<grid, block, shared_bytes, (cudaStream_t)(stream)>>>(__VA_ARGS__);                          \
        k_cuda_check(cudaGetLastError(), #kernel);                                                           \
    } while (0)
#define K_SHARED(type, name)                                                                                 \
    extern __shared__ __align__(256) unsigned char k_shared_bytes[];                                         \
    type *name = (type *)k_shared_bytes
#endif

static inline dim3 k_grid(int64_t x, int64_t y = 1) {
    if (x > INT32_MAX || y > UINT16_MAX) {
        fprintf(stderr, "train: error: CUDA: a grid of %lld x %lld blocks\n", (long long)x, (long long)y);
        exit(K_EXIT_INTERNAL);
    }
    return dim3((unsigned)x, (unsigned)y);
}

static inline int64_t k_rows(const KTensor *t) {
    return k_last(t) ? k_count(t) / k_last(t) : 0;
}
/* Zeros past the elements of a tensor with room for more. */
static inline void k_clear_room(const KCtx *cx, const KTensor *t) {
    const int64_t bytes = t->dtype == K_F32 ? 4 : 2, count = k_count(t);
    if (!t->room) return;
    k_cuda_check(cudaMemsetAsync((char *)t->data + count * bytes, 0, (size_t)((t->room - count) * bytes),
                                 (cudaStream_t)cx->stream),
                 "cudaMemsetAsync");
}
/* Threads for a row of `width`: one a chunk, whole warps, at most 512. */
static inline int k_row_threads(int64_t width) {
    return (int)k_cuda_clamp(k_cuda_ceil(width, 128), 1, 16) * 32;
}

struct KView {
    void *data;
    int dtype;
};
static inline KView k_view(const KTensor *t) {
    return {t->data, t->dtype};
}
static inline KView k_no_view() {
    return {NULL, K_F32};
}

typedef uint16_t KBf16;

/* body(T()) with the storage type that holds `dtype`. */
template <class Body> static inline void k_by_type(int dtype, Body body) {
    if (dtype == K_F32)
        body(float());
    else
        body(KBf16());
}

constexpr int K_PACK = 8; /* elements a thread moves at a time where they are aligned */

/* Threads of a block, whole warps and at most `most`, of which one each takes one of `items` of a row, so
 * that the blocks of the row are filled evenly. */
static inline int k_even_threads(int64_t items, int most) {
    const int64_t blocks = k_cuda_clamp(k_cuda_ceil(items, most), 1, INT32_MAX);
    return (int)k_cuda_clamp(k_cuda_ceil(k_cuda_ceil(items, blocks), 32), 1, most / 32) * 32;
}

/* ---- device side ---- */

struct K4 {
    float at[4];
};

static __device__ inline float k_from_bits(uint32_t bits) {
    return __uint_as_float(bits);
}
static __device__ inline uint32_t k_bf16_bits(float x) {
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

static __device__ inline float k_widen(float x) {
    return x;
}
static __device__ inline float k_widen(KBf16 x) {
    return k_from_bits((uint32_t)x << 16);
}
static __device__ inline void k_narrow(float x, float *to) {
    *to = x;
}
static __device__ inline void k_narrow(float x, KBf16 *to) {
    *to = (KBf16)k_bf16_bits(x);
}

/* N elements as they are stored, moved by accesses of up to 16 bytes: they lie a multiple of N elements from
 * an aligned address. Of bf16, two share a register until they are used. */
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) KPack {
    T at[N];
    __device__ float get(int j) const { return k_widen(at[j]); }
    __device__ void set(const float *x) {
#pragma unroll
        for (int j = 0; j < N; j++) k_narrow(x[j], &at[j]);
    }
};
template <> struct alignas(16) KPack<KBf16, K_PACK> {
    uint32_t two[K_PACK / 2];
    __device__ float get(int j) const {
        return k_from_bits(j % 2 ? two[j / 2] & 0xffff0000u : two[j / 2] << 16);
    }
    __device__ void set(const float *x) {
#pragma unroll
        for (int j = 0; j < K_PACK; j += 2) two[j / 2] = k_bf16_bits(x[j]) | k_bf16_bits(x[j + 1]) << 16;
    }
};
template <int N, class T> static __device__ inline KPack<T, N> k_load_pack(const T *at) {
    return *(const KPack<T, N> *)at;
}
/* Yields what was stored: x, rounded to T. */
template <class T, int N> static __device__ inline KPack<T, N> k_store_pack(T *at, const float *x) {
    KPack<T, N> pack;
    pack.set(x);
    *(KPack<T, N> *)at = pack;
    return pack;
}

static __device__ inline float k_get(KView v, int64_t i) {
    if (v.dtype == K_F32) return ((const float *)v.data)[i];
    return k_from_bits((uint32_t)((const uint16_t *)v.data)[i] << 16);
}
static __device__ inline void k_put(KView v, int64_t i, float x) {
    if (v.dtype == K_F32)
        ((float *)v.data)[i] = x;
    else
        ((uint16_t *)v.data)[i] = (uint16_t)k_bf16_bits(x);
}

/* Elements [i, i + N): a pack of either type. */
template <int N> static __device__ inline void k_get_pack(KView v, int64_t i, float *x) {
    if (v.dtype == K_F32) {
        const KPack<float, N> pack = k_load_pack<N>((const float *)v.data + i);
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = pack.get(j);
    } else {
        const KPack<KBf16, N> pack = k_load_pack<N>((const KBf16 *)v.data + i);
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = pack.get(j);
    }
}

template <int N> static __device__ inline void k_put_pack(KView v, int64_t i, const float *x) {
    if (v.dtype == K_F32)
        k_store_pack<float, N>((float *)v.data + i, x);
    else
        k_store_pack<KBf16, N>((KBf16 *)v.data + i, x);
}

/* Elements [i, i + n), n <= 4; zeros after them. */
static __device__ inline K4 k_load4(KView v, int64_t i, int n) {
    K4 x = {{0, 0, 0, 0}};
    if (n == 4 && (i & 3) == 0) {
        if (v.dtype == K_F32) {
            const float4 f = *(const float4 *)((const float *)v.data + i);
            x = {{f.x, f.y, f.z, f.w}};
        } else {
            const uint2 u = *(const uint2 *)((const uint16_t *)v.data + i);
            x = {{k_from_bits(u.x << 16), k_from_bits(u.x & 0xffff0000u), k_from_bits(u.y << 16),
                  k_from_bits(u.y & 0xffff0000u)}};
        }
        return x;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (j < n) x.at[j] = k_get(v, i + j);
    return x;
}
static __device__ inline void k_store4(KView v, int64_t i, int n, K4 x) {
    if (n == 4 && (i & 3) == 0) {
        if (v.dtype == K_F32)
            *(float4 *)((float *)v.data + i) = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
        else
            *(uint2 *)((uint16_t *)v.data + i) =
                make_uint2(k_bf16_bits(x.at[0]) | k_bf16_bits(x.at[1]) << 16,
                           k_bf16_bits(x.at[2]) | k_bf16_bits(x.at[3]) << 16);
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (j < n) k_put(v, i + j, x.at[j]);
}
/* What is left of a row or tensor of `count` elements at i, up to a chunk. */
static __device__ inline int k_chunk(int64_t i, int64_t count) {
    return count - i < 4 ? (int)(count - i) : 4;
}

static __device__ inline float k_warp_sum(float x) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

/* Of `count` whole numbers, at least one, the same in every lane. All lanes of the warp call it. */
static __device__ inline int k_highest(const int32_t *from, int count) {
    int x = from[0];
    for (int i = (int)threadIdx.x % 32; i < count; i += 32) x = from[i] > x ? from[i] : x;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const int other = (int)__shfl_xor_sync(0xffffffffu, (uint32_t)x, step);
        x = other > x ? other : x;
    }
    return x;
}
static __device__ inline int k_lowest(const int32_t *from, int count) {
    int x = from[0];
    for (int i = (int)threadIdx.x % 32; i < count; i += 32) x = from[i] < x ? from[i] : x;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const int other = (int)__shfl_xor_sync(0xffffffffu, (uint32_t)x, step);
        x = other < x ? other : x;
    }
    return x;
}

/* Sum over the block, the same bits in every thread; scratch has room for 32 numbers. All threads call it. */
static __device__ inline float k_block_sum(float x, float *scratch) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)blockDim.x / 32;
    x = k_warp_sum(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = k_warp_sum(lane < warps ? scratch[lane] : 0.0f);
    __syncthreads(); /* scratch may be used again */
    return x;
}

/* Whether the block is the last of `blocks` to call this: then it sees what all of them wrote before. `done`
 * is 0 before the first call and after the last; `shared` is free for use before and after. Deterministic
 * sums need no more than that: which block is last makes no difference to what it does. */
static __device__ inline bool k_last_block(unsigned *done, unsigned blocks, int *shared) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) *shared = atomicInc(done, blocks - 1) == blocks - 1;
    __syncthreads();
    const bool last = *shared;
    __syncthreads();
    __threadfence();
    return last;
}
/* N numbers that another block may have written during this kernel: not from the multiprocessor's cache. */
template <int N> static __device__ inline void k_load_written(const float *at, float *x) {
    if constexpr (N == 4) {
        const float4 v = __ldcg((const float4 *)at);
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    } else {
        static_assert(N == 1);
        x[0] = __ldcg(at);
    }
}

static __device__ inline float k_sigmoid(float x) {
    return __fdividef(1.0f, 1.0f + expf(-x));
}

#endif
