/* One CUDA device: the arena is one cudaMalloc, everything runs in one stream, and transfers wait for it, so
 * the order of calls is the order of effects. The first device that CUDA_VISIBLE_DEVICES leaves is used.
 * Errors of the device end the program with one line: 5 when there is none or it fails, 3 when its memory
 * does not suffice. */
#include "internal.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <string.h>

static struct {
    cudaStream_t stream;
    cublasLtHandle_t blas;
    char name[256];
} device;

static void check(cudaError_t status, const char *what) {
    if (status != cudaSuccess) rt_fail(RT_EXIT_DEVICE, "CUDA: %s: %s", what, cudaGetErrorString(status));
}

void rt_device_prepare(char **argv) {
    (void)argv;
}

void rt_device_open(RtRun *run, const char *target) {
    if (strcmp(target, "cuda") != 0)
        rt_fail(RT_EXIT_DEVICE, "this program was built for CUDA but its plan is for '%s'", target);
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) rt_fail(RT_EXIT_DEVICE, "no CUDA device: %s", cudaGetErrorString(status));
    if (count == 0) rt_fail(RT_EXIT_DEVICE, "no CUDA device");
    check(cudaSetDevice(0), "device 0 cannot be used");
    size_t free_bytes = 0, all_bytes = 0;
    struct cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, 0), "device 0");
    memcpy(device.name, properties.name, sizeof device.name - 1);
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "free memory");
    check(cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking), "stream");
    cublasStatus_t blas = cublasLtCreate(&device.blas);
    if (blas != CUBLAS_STATUS_SUCCESS)
        rt_fail(RT_EXIT_DEVICE, "cuBLASLt cannot be used: %s", cublasLtGetStatusString(blas));
    run->cx.stream = device.stream;
    run->cx.blas = device.blas;
}

int64_t rt_device_free_bytes(void) {
    size_t free_bytes = 0, all_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "free memory");
    return (int64_t)free_bytes;
}

const char *rt_device_name(void) {
    return device.name;
}

char *rt_device_alloc(int64_t bytes) {
    void *arena = NULL;
    cudaError_t status = cudaMalloc(&arena, bytes > 0 ? (size_t)bytes : K_ALIGN);
    if (status == cudaErrorMemoryAllocation)
        rt_fail(RT_EXIT_MEMORY, "the arena of %lld bytes cannot be allocated on %s", (long long)bytes,
                device.name);
    check(status, "arena");
    return arena;
}

void rt_device_sync(void) {
    check(cudaStreamSynchronize(device.stream), "the device failed");
}

void rt_device_upload(char *to, const void *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, device.stream), "upload");
    rt_device_sync();
}
void rt_device_download(void *to, const char *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, device.stream), "download");
    rt_device_sync();
}
void rt_device_fill(char *to, int value, int64_t bytes) {
    check(cudaMemsetAsync(to, value, (size_t)bytes, device.stream), "fill");
}

/* CUDA tells how much of the device is used, not by whom: on a device of one's own, by this process. */
int64_t rt_device_used_bytes(void) {
    size_t free_bytes = 0, all_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "used memory");
    return (int64_t)(all_bytes - free_bytes);
}

void rt_device_close(RtRun *run) {
    rt_device_sync();
    check(cudaFree(run->arena), "arena");
    run->arena = NULL;
    cublasLtDestroy(device.blas);
    check(cudaStreamDestroy(device.stream), "stream");
}
