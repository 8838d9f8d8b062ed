/* CUDA's language and runtime, as far as the kernels use them, for a C++ compiler on the CPU: sim.cpp runs
 * the threads of a block as fibers that switch at barriers and shuffles. Only for tests. */
#ifndef REMAT_CUDA_SIM_RUNTIME_H
#define REMAT_CUDA_SIM_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#include <functional>
#include <tuple>

#define SIM_C extern "C"

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
static inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline float __fdividef(float x, float y) {
    return x / y;
}
/* Four of the eight bytes x and y, the lower ones of x first; which, a nibble each. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned which) {
    const uint64_t both = (uint64_t)y << 32 | x;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) out |= (unsigned)(both >> 8 * (which >> 4 * i & 7) & 255) << 8 * i;
    return out;
}
static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* ---- inside a kernel ---- */

extern dim3 sim_thread_index, sim_block_index, sim_block_size, sim_grid_size;
#define threadIdx sim_thread_index
#define blockIdx  sim_block_index
#define blockDim  sim_block_size
#define gridDim   sim_grid_size

void sim_barrier(const char *file, int line);
uint32_t sim_shuffle_xor(unsigned mask, uint32_t bits, int step, const char *file, int line);
void *sim_shared_memory(void);

static inline float sim_shuffle_xor_of(unsigned mask, float x, int step, const char *file, int line) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return __uint_as_float(sim_shuffle_xor(mask, bits, step, file, line));
}
static inline uint32_t sim_shuffle_xor_of(unsigned mask, uint32_t x, int step, const char *file, int line) {
    return sim_shuffle_xor(mask, x, step, file, line);
}
#define __syncthreads()                sim_barrier(__FILE__, __LINE__)
#define __shfl_xor_sync(mask, x, step) sim_shuffle_xor_of(mask, x, step, __FILE__, __LINE__)
#define K_SHARED(type, name)           type *name = (type *)sim_shared_memory()

/* One thread runs at a time, and memory is the same for all of them. */
#define __threadfence() ((void)0)
static inline unsigned atomicInc(unsigned *at, unsigned most) {
    const unsigned was = *at;
    *at = was >= most ? 0 : was + 1;
    return was;
}
template <class T> static inline T __ldcg(const T *at) {
    return *at;
}

#include "tensor_core.h"

/* ---- launches ---- */

/* A graph's nodes are kernels, products, fills and copies; what orders streams is kept beside them. */
enum SimNode { SIM_ORDER, SIM_NODE };
/* Whether the stream is being captured: then the action is kept, for launches of the graph. */
bool sim_captured(struct SimStream *stream, SimNode node, std::function<void()> action);
void sim_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                void (*thread)(void *), void *arguments);

/* A launch has its arguments by value: what they are when it is issued, they are in every replay. */
template <class... Parameter> struct SimKernel {
    const char *name;
    void (*kernel)(Parameter...);
    dim3 grid, block;
    size_t shared_bytes;
    struct SimStream *stream;

    void operator()(Parameter... argument) const {
        auto thread = [kernel = kernel, arguments = std::tuple<Parameter...>(argument...)] {
            std::apply(kernel, arguments);
        };
        auto launch = [it = *this, thread] {
            sim_launch(
                it.name, (const void *)it.kernel, it.grid, it.block, it.shared_bytes,
                [](void *closure) { (*(decltype(thread) *)closure)(); }, (void *)&thread);
        };
        if (!sim_captured(stream, SIM_NODE, launch)) launch();
    }
};
template <class... Parameter>
SimKernel<Parameter...> sim_kernel(const char *name, void (*kernel)(Parameter...), dim3 grid, dim3 block,
                                   size_t shared_bytes, void *stream) {
    return {name, kernel, grid, block, shared_bytes, (struct SimStream *)stream};
}
#define K_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                             \
    sim_kernel(#kernel, kernel, grid, block, shared_bytes, stream)(__VA_ARGS__)

#else
#define SIM_C
#endif

/* ---- runtime, for C as well: one device. In the first stream everything is done when a call returns. The
 * others are for copies between the device and pinned memory, done as late as they may be: when a wait or a
 * synchronisation asks for them. ---- */

typedef struct SimStream *cudaStream_t;
typedef struct SimEvent *cudaEvent_t;
typedef struct SimGraph *cudaGraph_t;
typedef struct SimGraphExec *cudaGraphExec_t;
typedef struct SimGraphNode *cudaGraphNode_t;
typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100
} cudaError_t;
typedef enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 } cudaFuncAttribute;
typedef enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3
} cudaMemcpyKind;
typedef enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0 } cudaStreamCaptureMode;
enum cudaDeviceAttr {
    cudaDevAttrClockRate = 13,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMemoryClockRate = 36,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76
};
#define CUDART_VERSION 13000
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
struct cudaDeviceProp {
    char name[256];
};

SIM_C const char *cudaGetErrorString(cudaError_t status);
SIM_C cudaError_t cudaGetDeviceCount(int *count);
SIM_C cudaError_t cudaSetDevice(int device);
SIM_C cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);
SIM_C cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device);
SIM_C cudaError_t cudaDriverGetVersion(int *version);
SIM_C cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes);
SIM_C cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
SIM_C cudaError_t cudaStreamDestroy(cudaStream_t stream);
SIM_C cudaError_t cudaStreamSynchronize(cudaStream_t stream);
SIM_C cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
SIM_C cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
SIM_C cudaError_t cudaEventDestroy(cudaEvent_t event);
SIM_C cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
SIM_C cudaError_t cudaEventSynchronize(cudaEvent_t event);
SIM_C cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
SIM_C cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
SIM_C cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count);
SIM_C cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
SIM_C cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
SIM_C cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
SIM_C cudaError_t cudaGraphDestroy(cudaGraph_t graph);
SIM_C cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
SIM_C cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags);
SIM_C cudaError_t cudaFreeHost(void *pointer);
SIM_C cudaError_t cudaDeviceSynchronize(void);
SIM_C cudaError_t cudaMalloc(void **pointer, size_t bytes);
SIM_C cudaError_t cudaFree(void *pointer);
SIM_C cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
SIM_C cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                                  cudaStream_t stream);
SIM_C cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                    size_t row_bytes, size_t rows, cudaMemcpyKind kind, cudaStream_t stream);
SIM_C cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);

#ifdef __cplusplus
cudaError_t sim_set_shared_limit(const void *kernel, cudaFuncAttribute attribute, int bytes);
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel kernel, cudaFuncAttribute attribute, int bytes) {
    return sim_set_shared_limit((const void *)kernel, attribute, bytes);
}
#endif

#endif
