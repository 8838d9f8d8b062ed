/* A CUDA device that does nothing and counts: linked to an emitted program in place of tests/cuda_sim, it
 * tells how many kernels, products, fills and copies are issued for each operation, and the bytes of its
 * operands, as the cost model counts them. Memory is reserved and never touched, so programs of any size run
 * at once. When the program ends, its counts are on stdout, a line for each operation: name, calls, issued,
 * bytes. What is issued outside operations (the batch, the loss) is "between"; of "graphs" the first number
 * is that of the nodes of all that were launched.
 *
 * rt_call is wrapped by the linker (--wrap=rt_call). See launches.sh. */
#include "cublasLt.h"
#include "cuda_runtime.h"
#include "kernels/packed.h"
#include "runtime/rt.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

struct Count {
    long calls = 0, issued = 0;
    double bytes = 0;
};
struct Counts {
    std::map<std::string, Count> of;
    ~Counts() {
        for (const auto &[name, count] : of)
            printf("count %s %ld %ld %.0f\n", name.c_str(), count.calls, count.issued, count.bytes);
    }
};
static Counts counts;
static std::string now = "between";

static cudaError_t issue(void) {
    counts.of[now].issued++;
    return cudaSuccess;
}

/* ---- operations ---- */

static double bytes_of(const KTensor *t) {
    return (double)k_storage_bytes(t->dtype, k_count(t));
}

extern "C" void __real_rt_call(RtRun *run, const char *kernel_name, KFunction *kernel, int nout,
                               const KTensor *out, int nin, const KTensor *in, const KAttr *attr,
                               int64_t workspace_offset, int64_t workspace_bytes);
extern "C" void __wrap_rt_call(RtRun *run, const char *kernel_name, KFunction *kernel, int nout,
                               const KTensor *out, int nin, const KTensor *in, const KAttr *attr,
                               int64_t workspace_offset, int64_t workspace_bytes) {
    now = kernel_name;
    Count &count = counts.of[now];
    count.calls++;
    for (int i = 0; i < nout; i++) count.bytes += bytes_of(&out[i]);
    for (int i = 0; i < nin; i++) count.bytes += bytes_of(&in[i]);
    __real_rt_call(run, kernel_name, kernel, nout, out, nin, in, attr, workspace_offset, workspace_bytes);
    now = "between";
}

/* ---- the device ---- */

dim3 sim_thread_index, sim_block_index, sim_block_size, sim_grid_size;
void sim_barrier(const char *, int) {}
uint32_t sim_shuffle_xor(unsigned, uint32_t bits, int, const char *, int) {
    return bits;
}
uint32_t sim_shared_address(const void *) {
    return 0;
}
void sim_mma(float *, const uint32_t *, uint32_t, uint32_t, const char *, int) {}
void sim_ldmatrix(uint32_t *, uint32_t, bool, const char *, int) {}
void sim_copy_async(uint32_t, const void *, bool) {}
void sim_copy_commit(void) {}
void sim_copy_wait(int) {}
void *sim_shared_memory(void) {
    return nullptr;
}
void sim_launch(const char *, const void *, dim3, dim3, size_t, void (*)(void *), void *) {
    issue();
}
bool sim_captured(cudaStream_t, SimNode, std::function<void()>) {
    return false;
}

const char *cudaGetErrorString(cudaError_t) {
    return "";
}
cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    *properties = {"counting device"};
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int) {
    *value = which == cudaDevAttrComputeCapabilityMajor ? 9 : 0;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes) {
    *free_bytes = *all_bytes = (size_t)1 << 42;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    *pointer =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return *pointer == MAP_FAILED ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFree(void *) {
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned) {
    return cudaMalloc(pointer, bytes);
}
cudaError_t cudaFreeHost(void *) {
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void) {
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    *event = nullptr;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) {
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return cudaSuccess;
}

/* A graph is what was issued while it was captured; a launch of one is one thing issued. */
struct SimGraph {
    long nodes;
};
static long before_capture;

static long all_issued() {
    long issued = 0;
    for (const auto &[name, count] : counts.of) issued += count.issued;
    return issued;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    before_capture = all_issued();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
    *graph = new SimGraph{all_issued() - before_capture};
    return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
    *count = (size_t)graph->nodes;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = (cudaGraphExec_t) new SimGraph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    counts.of["graphs"].calls += ((SimGraph *)exec)->nodes;
    counts.of["graphs"].issued++;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete (SimGraph *)exec;
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *, int, size_t, cudaStream_t) {
    return issue();
}
cudaError_t cudaMemcpyAsync(void *to, const void *, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    if (kind == cudaMemcpyDeviceToHost) memset(to, 0, bytes); /* the device holds zeros */
    return issue();
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t pitch, const void *, size_t, size_t row_bytes, size_t rows,
                              cudaMemcpyKind kind, cudaStream_t) {
    for (size_t i = 0; i < rows && kind == cudaMemcpyDeviceToHost; i++)
        memset((char *)to + i * pitch, 0, row_bytes);
    return issue();
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t sim_set_shared_limit(const void *, cudaFuncAttribute, int) {
    return cudaSuccess;
}

/* ---- products ---- */

size_t cublasLtGetVersion(void) {
    return 0;
}
const char *cublasLtGetStatusString(cublasStatus_t) {
    return "";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmul, cublasComputeType_t, cudaDataType_t) {
    *matmul = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
                                              const void *, size_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t, uint64_t, uint64_t,
                                          int64_t) {
    *layout = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void *,
                                                    size_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t *result, int *count) {
    *result = {};
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoInit(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t, cudaDataType_t,
                                      cudaDataType_t, cudaDataType_t, cudaDataType_t, int,
                                      cublasLtMatmulAlgo_t *algorithm) {
    *algorithm = {};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t *,
                                       cublasLtMatmulHeuristicResult_t *result) {
    *result = {};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t *,
                                                    cublasLtMatmulAlgoConfigAttributes_t, const void *,
                                                    size_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *,
                                                    cublasLtMatmulAlgoConfigAttributes_t, void *,
                                                    size_t bytes, size_t *written) {
    *written = bytes;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *,
                              cublasLtMatrixLayout_t, const void *, cublasLtMatrixLayout_t, const void *,
                              const void *, cublasLtMatrixLayout_t, void *, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t) {
    issue();
    return CUBLAS_STATUS_SUCCESS;
}
