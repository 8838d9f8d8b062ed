/* One CUDA device: the arena is one cudaMalloc, everything runs in one stream, and transfers wait for it, so
 * the order of calls is the order of effects. Only OFFLOAD and FETCH run beside it, each in a stream of its
 * own, between pinned memory and the arena:
 *
 *     compute   | a |e0  | b |   | c |  wait t0 | d |       e: recorded when the copy is issued, which waits
 * for it out             [ OFFLOAD ]t0                         t: recorded behind the copy; the ticket's WAIT
 *
 * e and t are one event a ticket: a wait is for what was recorded last when it is issued.
 *
 * A stretch of a step that is recorded is a CUDA graph, captured from the same calls: copies fork from the
 * compute stream by e and join it by t, those that nobody has waited for at the stretch's end. What differs
 * between steps is in the device's memory (cx.now) and in the batch, both sent from slots of pinned memory
 * before the graph is launched; what a step results in is brought to slots, and waited for when the next one
 * was issued. The first device that CUDA_VISIBLE_DEVICES leaves is used. Errors of the
 * device end the program with one line: 5 when there is none or it fails, 3 when its memory does not suffice.
 */
#include "internal.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <stdlib.h>
#include <string.h>

static struct {
    cudaStream_t stream, out, in;
    cudaEvent_t *ticket;
    char *under_way; /* by ticket: its copy was issued, and nobody has waited for it */
    int tickets;
    KStep *now;
    cudaEvent_t sent[RT_SLOTS], brought[RT_SLOTS];
    cudaGraphExec_t recording[RT_RECORDINGS];
    cublasLtHandle_t blas;
    char name[256];
} device;

static void check(cudaError_t status, const char *what) {
    if (status != cudaSuccess)
        rt_fail(status == cudaErrorMemoryAllocation ? RT_EXIT_MEMORY : RT_EXIT_DEVICE, "CUDA: %s: %s", what,
                cudaGetErrorString(status));
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
    void *now = NULL;
    check(cudaMalloc(&now, K_ALIGN + sizeof *run->verdict), "what differs between steps");
    for (int i = 0; i < RT_SLOTS; i++) {
        check(cudaEventCreateWithFlags(&device.sent[i], cudaEventDisableTiming), "event");
        check(cudaEventCreateWithFlags(&device.brought[i], cudaEventDisableTiming), "event");
    }
    run->cx.stream = device.stream;
    run->cx.blas = device.blas;
    run->cx.now = device.now = now;
    run->verdict = (KVerdict *)(void *)((char *)now + K_ALIGN);
}

void rt_device_libraries(char *text, size_t size) {
    snprintf(text, size, "cuda-%d.%d-cublasLt-%zu", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10,
             cublasLtGetVersion());
}

void rt_device_products(const KChoice *choice, int count, const char *libraries) {
    char here[128];
    rt_device_libraries(here, sizeof here);
    if (count && strcmp(here, libraries) != 0)
        rt_fail(
            RT_EXIT_DEVICE,
            "algorithms of matrix products were measured with %s, and here is %s: run `rematc tune` again, "
            "or plan without the profile",
            libraries, here);
    k_products_choose(choice, count);
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

char *rt_device_alloc_host(int64_t bytes, int copies, int poison) {
    (void)poison; /* nothing to do here: rt_fetch has filled where it goes */
    void *host = NULL;
    cudaError_t status = cudaHostAlloc(&host, (size_t)bytes, cudaHostAllocDefault);
    if (status == cudaErrorMemoryAllocation)
        rt_fail(RT_EXIT_MEMORY, "%lld bytes of pinned host memory cannot be allocated", (long long)bytes);
    check(status, "pinned host memory");
    check(cudaStreamCreateWithFlags(&device.out, cudaStreamNonBlocking), "stream");
    check(cudaStreamCreateWithFlags(&device.in, cudaStreamNonBlocking), "stream");
    device.ticket = rt_allocate((size_t)copies * sizeof *device.ticket);
    device.under_way = rt_allocate((size_t)copies);
    for (; device.tickets < copies; device.tickets++)
        check(cudaEventCreateWithFlags(&device.ticket[device.tickets], cudaEventDisableTiming), "event");
    return host;
}

static void copy(int ticket, cudaStream_t stream, void *to, const void *from, int64_t bytes,
                 enum cudaMemcpyKind kind) {
    cudaEvent_t event = device.ticket[ticket];
    check(cudaEventRecord(event, device.stream), "copy");
    check(cudaStreamWaitEvent(stream, event, 0), "copy");
    check(cudaMemcpyAsync(to, from, (size_t)bytes, kind, stream), "copy");
    check(cudaEventRecord(event, stream), "copy");
    device.under_way[ticket] = 1;
}
void rt_device_offload(int ticket, char *to, const char *from, int64_t bytes) {
    copy(ticket, device.out, to, from, bytes, cudaMemcpyDeviceToHost);
}
void rt_device_fetch(int ticket, char *to, const char *from, int64_t bytes) {
    copy(ticket, device.in, to, from, bytes, cudaMemcpyHostToDevice);
}
void rt_device_wait(int ticket) {
    if (!device.under_way[ticket]) return;
    device.under_way[ticket] = 0;
    check(cudaStreamWaitEvent(device.stream, device.ticket[ticket], 0), "wait for a copy");
}

void rt_device_sync(void) {
    check(cudaStreamSynchronize(device.stream), "the device failed");
}

char *rt_device_alloc_slots(int64_t bytes) {
    void *slots = NULL;
    check(cudaHostAlloc(&slots, (size_t)bytes, cudaHostAllocDefault), "pinned memory for batches");
    return slots;
}
void rt_device_free_slots(char *slots) {
    check(cudaFreeHost(slots), "pinned memory for batches");
}
void rt_device_send(char *to, const void *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, device.stream), "batch");
}
void rt_device_sent(int slot) {
    check(cudaEventRecord(device.sent[slot], device.stream), "batch");
}
void rt_device_wait_sent(int slot) {
    check(cudaEventSynchronize(device.sent[slot]), "the device failed");
}

void rt_device_bring(void *to, const char *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, device.stream), "result");
}
void rt_device_brought(int slot) {
    check(cudaEventRecord(device.brought[slot], device.stream), "result");
}
void rt_device_wait_brought(int slot) {
    check(cudaEventSynchronize(device.brought[slot]), "the device failed");
}

int rt_device_beside(void) {
    return 1;
}
int rt_device_judge(RtRun *run, const char *loss_sum, double spread) {
    k_guard(device.stream, device.now, run->verdict, (const float *)(const void *)loss_sum, spread);
    return 0;
}

void rt_device_record_begin(void) {
    check(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeGlobal), "recording a step");
}
int64_t rt_device_record_end(int recording) {
    cudaGraph_t graph;
    size_t nodes = 0;
    for (int i = 0; i < device.tickets; i++) rt_device_wait(i);
    check(cudaStreamEndCapture(device.stream, &graph), "recording a step");
    check(cudaGraphGetNodes(graph, NULL, &nodes), "recording a step");
    check(cudaGraphInstantiate(&device.recording[recording], graph, 0), "a recorded step");
    check(cudaGraphUpload(device.recording[recording], device.stream), "a recorded step");
    check(cudaGraphDestroy(graph), "a recorded step");
    rt_device_sync();
    return (int64_t)nodes;
}
void rt_device_replay(int recording) {
    check(cudaGraphLaunch(device.recording[recording], device.stream), "a recorded step");
}

void rt_device_upload(char *to, const void *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, device.stream), "upload");
    rt_device_sync();
}
void rt_device_download(void *to, const char *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, device.stream), "download");
    rt_device_sync();
}
void rt_device_upload_rows(char *to, int64_t pitch, const void *from, int64_t row_bytes, int64_t rows) {
    check(cudaMemcpy2DAsync(to, (size_t)pitch, from, (size_t)row_bytes, (size_t)row_bytes, (size_t)rows,
                            cudaMemcpyHostToDevice, device.stream),
          "upload");
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
    for (int i = 0; i < RT_RECORDINGS; i++)
        if (device.recording[i]) check(cudaGraphExecDestroy(device.recording[i]), "a recorded step");
    for (int i = 0; i < RT_SLOTS; i++) {
        check(cudaEventDestroy(device.sent[i]), "event");
        check(cudaEventDestroy(device.brought[i]), "event");
    }
    check(cudaFree(device.now), "what differs between steps");
    check(cudaFree(run->arena), "arena");
    run->arena = NULL;
    if (run->host) {
        for (int i = 0; i < device.tickets; i++) check(cudaEventDestroy(device.ticket[i]), "event");
        free(device.ticket);
        free(device.under_way);
        check(cudaStreamDestroy(device.out), "stream");
        check(cudaStreamDestroy(device.in), "stream");
        check(cudaFreeHost(run->host), "pinned host memory");
        run->host = NULL;
    }
    cublasLtDestroy(device.blas);
    check(cudaStreamDestroy(device.stream), "stream");
}
