/* The simulated device notices what it is there to notice: kernels with one fault each must give different
 * bits under another schedule, or end the process; a product that cuBLASLt would refuse must be refused. */
#include "cublasLt.h"
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 64, BLOCKS = 4, COUNT = THREADS * BLOCKS };
typedef void Kernel(float *y);

/* y = the neighbour's index, through shared memory, as it should be */
static void with_barrier(float *y) {
    K_SHARED(float, shared);
    shared[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    y[blockIdx.x * THREADS + threadIdx.x] = shared[(threadIdx.x + 1) % THREADS];
}
static void without_barrier(float *y) {
    K_SHARED(float, shared);
    shared[threadIdx.x] = (float)threadIdx.x;
    y[blockIdx.x * THREADS + threadIdx.x] = shared[(threadIdx.x + 1) % THREADS];
}
static void between_blocks(float *y) {
    y[blockIdx.x * THREADS + threadIdx.x] = (float)blockIdx.x + 1;
    if (blockIdx.x > 0 && threadIdx.x == 0) y[blockIdx.x * THREADS] += y[(blockIdx.x - 1) * THREADS + 1];
}
static void shared_not_written(float *y) {
    K_SHARED(float, shared);
    y[blockIdx.x * THREADS + threadIdx.x] = shared[threadIdx.x];
}
static void leaves_early(float *y) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    y[threadIdx.x] = 0;
}
static void two_barriers(float *y) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 0;
}
static void shuffle_of_some(float *y) {
    float x = (float)threadIdx.x;
    if (threadIdx.x % 32 < 16) x = __shfl_xor_sync(0xffffffffu, x, 1);
    y[threadIdx.x] = x;
}
static void past_shared(float *y) {
    K_SHARED(float, shared);
    shared[threadIdx.x + 1] = 1;
    y[threadIdx.x] = 0;
}
static void past_allocation(float *y) {
    y[COUNT + threadIdx.x] = 0;
}

/* ---- D = A B on tensor cores, A [16, 16] in shared memory, B its first eight columns; each warp brings half
 * of the rows, both multiply, a thread writes the sum of its four numbers of D ---- */

enum Fault { NO_FAULT, NO_WAIT, EARLY_WAIT, NO_BARRIER, CROOKED_ROW, HALF_WARP, ROWS_IN_ONE_BANK };
enum { MATRIX = 16, MATRIX_BYTES = MATRIX * 128 };

alignas(16) static uint16_t matrix[MATRIX][MATRIX];

template <Fault FAULT> static void product(float *y) {
    K_SHARED(unsigned char, shared);
    constexpr int ROW_BYTES = FAULT == ROWS_IN_ONE_BANK ? 128 : 48;
    const uint32_t tile = k_shared_address(shared);
    const int lane = (int)threadIdx.x % 32, row = (int)threadIdx.x / 4, chunk = (int)threadIdx.x % 4;
    const uint32_t corner = tile + (uint32_t)(lane % 16 * ROW_BYTES + lane / 16 * 16);
    uint32_t a[4], b[4];
    float d[4] = {0, 0, 0, 0};
    if (chunk < 2)
        k_copy_async(tile + (uint32_t)(row * ROW_BYTES + chunk * 16), &matrix[row][chunk * 8], true);
    k_copy_commit();
    if (FAULT == EARLY_WAIT)
        k_copy_wait<1>();
    else if (FAULT != NO_WAIT)
        k_copy_wait<0>();
    if (FAULT != NO_BARRIER) __syncthreads();
    k_ldmatrix(a, FAULT == CROOKED_ROW ? corner + 8 : corner);
    k_ldmatrix_transposed(b, corner);
    if (FAULT != HALF_WARP || lane < 16) k_mma(d, a, b[0], b[1]);
    if (FAULT == EARLY_WAIT) k_copy_wait<0>();
    y[blockIdx.x * THREADS + threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

static void run(Kernel *kernel, float *y) {
    K_LAUNCH(kernel, dim3(BLOCKS), THREADS, THREADS * sizeof(float), NULL, y);
}
/* The same for a matrix. */
template <Fault FAULT> static void multiply(float *y) {
    K_LAUNCH(product<FAULT>, dim3(BLOCKS), THREADS, MATRIX_BYTES, NULL, y);
}
/* The same bits under four schedules? */
template <class Launch> static bool steady_launch(Launch launch) {
    void *first, *other;
    if (cudaMalloc(&first, COUNT * sizeof(float)) || cudaMalloc(&other, COUNT * sizeof(float))) exit(1);
    memset(first, 0, COUNT * sizeof(float));
    launch((float *)first);
    bool same = true;
    for (int i = 0; i < 3; i++) {
        sim_next_schedule();
        memset(other, 0, COUNT * sizeof(float));
        launch((float *)other);
        same = same && memcmp(first, other, COUNT * sizeof(float)) == 0;
    }
    cudaFree(first);
    cudaFree(other);
    return same;
}
static bool steady(Kernel *kernel) {
    return steady_launch([&](float *y) { run(kernel, y); });
}
/* Does it end the process? */
template <class Action> static bool dies(Action action) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        action();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status);
}

static int failures;
static void expect(bool fine, const char *what) {
    if (!fine) printf("FAILED: %s\n", what);
    failures += !fine;
}

/* What cuBLASLt would say to op(A) [m, k] op(B) [k, n] with these types and A's leading dimension. */
static cublasStatus_t ask(cudaDataType_t operand, cudaDataType_t result, int64_t leading, uint64_t b_rows) {
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&a, operand, 6, 5, leading);
    cublasLtMatrixLayoutCreate(&b, operand, b_rows, 4, (int64_t)b_rows);
    cublasLtMatrixLayoutCreate(&c, result, 6, 4, 6);
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                         sizeof reductions);
    return cublasLtMatmulAlgoGetHeuristic(NULL, matmul, a, b, c, c, preference, 1, &found, &count);
}

/* ---- copies: x goes to host memory, is written over, and comes back, waited for or not ---- */

static cudaStream_t compute, out, in; /* the first made is the one that computes */
enum { WAIT_ISSUE = 1, WAIT_OUT = 2, WAIT_IN = 4, PINNED = 8, ALL = 15 };

static void number(float *y) {
    y[blockIdx.x * THREADS + threadIdx.x] = (float)(blockIdx.x * THREADS + threadIdx.x);
}
static void zero(float *y) {
    y[blockIdx.x * THREADS + threadIdx.x] = 0;
}
static void beside(cudaStream_t compute, cudaStream_t copies, cudaEvent_t event, void *to, void *from,
                   cudaMemcpyKind kind, int waits) {
    cudaEventRecord(event, compute);
    if (waits & WAIT_ISSUE) cudaStreamWaitEvent(copies, event, 0);
    cudaMemcpyAsync(to, from, COUNT * sizeof(float), kind, copies);
    cudaEventRecord(event, copies);
}
/* Does x come back? */
static bool there_and_back(int waits) {
    cudaEvent_t event[2];
    void *x, *y, *host = NULL;
    for (cudaEvent_t &e : event) cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    if (cudaMalloc(&x, COUNT * sizeof(float)) || cudaMalloc(&y, COUNT * sizeof(float))) exit(1);
    if (waits & PINNED)
        cudaHostAlloc(&host, COUNT * sizeof(float), cudaHostAllocDefault);
    else
        host = malloc(COUNT * sizeof(float));
    memset(host, 0, COUNT * sizeof(float));
    run(number, (float *)x);
    beside(compute, out, event[0], host, x, cudaMemcpyDeviceToHost, waits);
    if (waits & WAIT_OUT) cudaStreamWaitEvent(compute, event[0], 0);
    run(zero, (float *)x);
    beside(compute, in, event[1], y, host, cudaMemcpyHostToDevice, waits);
    if (waits & WAIT_IN) cudaStreamWaitEvent(compute, event[1], 0);
    run(number, (float *)x);
    const bool back = memcmp(x, y, COUNT * sizeof(float)) == 0;
    cudaDeviceSynchronize();
    for (cudaEvent_t e : event) cudaEventDestroy(e);
    cudaFree(x);
    cudaFree(y);
    if (waits & PINNED) cudaFreeHost(host);
    return back;
}

/* ---- graphs: captured once, launched twice ---- */

static void add(float *y, const float *from, float number) {
    y[blockIdx.x * THREADS + threadIdx.x] += *from + number;
}
enum GraphFault {
    NO_GRAPH_FAULT,
    ALLOCATES,
    WAITS,
    COPIES_AT_ONCE,
    LEGACY,
    NOT_JOINED,
    ISOLATED,
    NOT_UPLOADED,
    EVENT_LATER
};

/* y += *x + 1 and a copy of y to host memory, launched with *x = 1, then with 10: y is 2, then 13. The `1` is
 * a number of the launch, which stays; *x is read anew. */
static bool captured_twice(GraphFault fault) {
    cudaEvent_t fork, joined, other;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    void *y, *x, *host;
    size_t nodes = 0;
    float more = 1;
    for (cudaEvent_t *e : {&fork, &joined, &other}) cudaEventCreateWithFlags(e, cudaEventDisableTiming);
    if (cudaMalloc(&y, COUNT * sizeof(float)) || cudaMalloc(&x, sizeof(float))) exit(1);
    cudaHostAlloc(&host, COUNT * sizeof(float), cudaHostAllocDefault);
    cudaMemsetAsync(y, 0, COUNT * sizeof(float), compute);
    cudaEventRecord(other, compute);
    *(float *)x = 100;
    cudaStreamBeginCapture(compute, cudaStreamCaptureModeGlobal);
    K_LAUNCH(add, dim3(BLOCKS), THREADS, 0, compute, (float *)y, (const float *)x, more);
    more = 1000;
    if (fault == ALLOCATES) cudaMalloc(&x, 1);
    if (fault == WAITS) cudaStreamSynchronize(compute);
    if (fault == COPIES_AT_ONCE) cudaMemcpy(x, y, 4, cudaMemcpyDeviceToDevice);
    if (fault == LEGACY) K_LAUNCH(number, dim3(BLOCKS), THREADS, 0, NULL, (float *)y);
    if (fault == ISOLATED) cudaStreamWaitEvent(compute, other, 0);
    cudaEventRecord(fork, compute);
    cudaStreamWaitEvent(out, fork, 0);
    cudaMemcpyAsync(host, y, COUNT * sizeof(float), cudaMemcpyDeviceToHost, out);
    cudaEventRecord(joined, out);
    if (fault != NOT_JOINED) cudaStreamWaitEvent(compute, joined, 0);
    cudaStreamEndCapture(compute, &graph);
    cudaGraphGetNodes(graph, NULL, &nodes);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    if (fault != NOT_UPLOADED) cudaGraphUpload(exec, compute);
    if (fault == EVENT_LATER) cudaStreamWaitEvent(compute, joined, 0);
    bool right = ((float *)y)[0] == 0 && nodes == 2;
    for (float from : {1.0f, 10.0f}) {
        *(float *)x = from;
        cudaGraphLaunch(exec, compute);
        right = right && ((float *)host)[7] == (from < 2 ? 2.0f : 13.0f);
    }
    cudaGraphExecDestroy(exec);
    for (cudaEvent_t e : {fork, joined, other}) cudaEventDestroy(e);
    cudaFreeHost(host);
    cudaFree(x);
    cudaFree(y);
    return right;
}

/* Whether pinned memory may be written to again: only once it was waited for. */
static void write_slot(bool waits) {
    void *slot, *y;
    cudaEvent_t sent;
    cudaEventCreateWithFlags(&sent, cudaEventDisableTiming);
    if (cudaMalloc(&y, 4) || cudaHostAlloc(&slot, 4, cudaHostAllocDefault)) exit(1);
    cudaMemcpyAsync(y, slot, 4, cudaMemcpyHostToDevice, compute);
    cudaEventRecord(sent, compute);
    if (waits) cudaEventSynchronize(sent);
    *(volatile float *)slot = 1;
}

/* Does what the computing stream copies to pinned memory arrive? Only once it was waited for. */
static bool brought(bool waits) {
    void *slot, *y;
    cudaEvent_t event;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    if (cudaMalloc(&y, COUNT * sizeof(float)) || cudaHostAlloc(&slot, 4, cudaHostAllocDefault)) exit(1);
    K_LAUNCH(number, dim3(BLOCKS), THREADS, 0, compute, (float *)y);
    cudaMemcpyAsync(slot, (float *)y + 5, 4, cudaMemcpyDeviceToHost, compute);
    cudaEventRecord(event, compute);
    cudaMemsetAsync(y, 0, COUNT * sizeof(float), compute); /* it is what it was */
    if (waits) cudaEventSynchronize(event);
    const bool there = *(float *)slot == 5;
    cudaFreeHost(slot);
    cudaFree(y);
    return there;
}

static void check_graphs() {
    expect(captured_twice(NO_GRAPH_FAULT), "a graph reads memory anew and keeps the numbers of its launches");
    expect(dies([] { captured_twice(ALLOCATES); }), "an allocation during a capture");
    expect(dies([] { captured_twice(WAITS); }), "a synchronisation during a capture");
    expect(dies([] { captured_twice(COPIES_AT_ONCE); }), "a copy at once during a capture");
    expect(dies([] { captured_twice(LEGACY); }), "the legacy stream during a capture");
    expect(dies([] { captured_twice(NOT_JOINED); }), "a stream that the capture's end does not wait for");
    expect(dies([] { captured_twice(ISOLATED); }), "a wait for what was not captured");
    expect(dies([] { captured_twice(NOT_UPLOADED); }), "a graph that was not uploaded");
    expect(dies([] { captured_twice(EVENT_LATER); }), "a wait for an event of a capture that has ended");
    expect(brought(true), "what is brought to pinned memory is there once it was waited for");
    expect(!brought(false), "and not before");
    expect(!dies([] { write_slot(true); }), "pinned memory is written to when its copy is done");
    expect(dies([] { write_slot(false); }), "pinned memory is written to before its copy is done");
}

/* Small whole numbers, so that every sum is exact. */
static void check_products(void) {
    float y[COUNT], value[MATRIX][MATRIX];
    for (int i = 0; i < MATRIX; i++)
        for (int j = 0; j < MATRIX; j++) {
            value[i][j] = (float)((7 * i + 3 * j) % 11 - 5);
            matrix[i][j] = __float2bfloat16_rn(value[i][j]).bits;
        }
    multiply<NO_FAULT>(y);
    bool right = true;
    for (int thread = 0; thread < COUNT; thread++) {
        const int g = thread % 32 / 4, c = thread % 4 * 2;
        float sum = 0;
        for (int k = 0; k < MATRIX; k++)
            sum += (value[g][k] + value[g + 8][k]) * (value[k][c] + value[k][c + 1]);
        right = right && y[thread] == sum;
    }
    expect(right, "a product on tensor cores");
    expect(sim_bank_conflicts() == 0, "rows in different banks");
    multiply<ROWS_IN_ONE_BANK>(y);
    expect(sim_bank_conflicts() > 0, "rows in one bank show");
    multiply<EARLY_WAIT>(y);
    expect(y[0] != y[0], "a copy is not there before it was waited for");
    expect(steady_launch(multiply<NO_FAULT>), "a product is steady");
    expect(!steady_launch(multiply<NO_BARRIER>), "another warp's copy without a barrier shows");
    expect(dies([&] { multiply<NO_WAIT>(y); }), "a thread that ends before its copies");
    expect(dies([&] { multiply<CROOKED_ROW>(y); }), "a row that is not aligned");
    expect(dies([&] { multiply<HALF_WARP>(y); }), "half a warp in a product");
}

int main() {
    for (cudaStream_t *stream : {&compute, &out, &in})
        cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
    float y[2 * COUNT];
    check_products();
    for (int i = 0; i < 2; i++) {
        expect(there_and_back(ALL), "a tensor comes back from host memory");
        expect(!there_and_back(ALL & ~WAIT_OUT), "a copy out that is not waited for shows");
        expect(!there_and_back(ALL & ~WAIT_IN), "a copy in that is not waited for shows");
    }
    expect(dies([&] { there_and_back(ALL & ~WAIT_ISSUE); }), "a copy that does not wait for what it copies");
    expect(dies([&] { there_and_back(ALL & ~PINNED); }), "a copy to memory that is not pinned");
    expect(steady(with_barrier), "a kernel with its barrier is steady");
    expect(!steady(without_barrier), "a missing barrier shows");
    expect(!steady(between_blocks), "a race between blocks shows");
    run(shared_not_written, y);
    expect(y[0] != y[0], "shared memory starts as NaN");
    expect(dies([&] { run(leaves_early, y); }), "a thread that leaves before a barrier");
    expect(dies([&] { run(two_barriers, y); }), "threads at two barriers");
    expect(dies([&] { run(shuffle_of_some, y); }), "half a warp in a shuffle");
    expect(dies([&] { run(past_shared, y); }), "writing past shared memory");
    expect(dies([&] {
               void *small;
               cudaMalloc(&small, COUNT * sizeof(float));
               run(past_allocation, (float *)small);
           }),
           "writing past an allocation");
    expect(dies([&] { K_LAUNCH(with_barrier, dim3(1), THREADS, 60 << 10, NULL, y); }),
           "more shared memory than asked for");
    expect(cudaFuncSetAttribute(with_barrier, cudaFuncAttributeMaxDynamicSharedMemorySize, 200 << 10) !=
               cudaSuccess,
           "more shared memory than small devices have");
    expect(ask(CUDA_R_32F, CUDA_R_32F, 6, 5) == CUBLAS_STATUS_SUCCESS, "f32 x f32 -> f32");
    expect(ask(CUDA_R_16BF, CUDA_R_32F, 6, 5) == CUBLAS_STATUS_SUCCESS, "bf16 x bf16 -> f32");
    expect(ask(CUDA_R_32F, CUDA_R_16BF, 6, 5) == CUBLAS_STATUS_NOT_SUPPORTED, "f32 x f32 -> bf16");
    expect(ask(CUDA_R_32F, CUDA_R_32F, 5, 5) == CUBLAS_STATUS_INVALID_VALUE, "a leading dimension too small");
    expect(ask(CUDA_R_32F, CUDA_R_32F, 6, 4) == CUBLAS_STATUS_INVALID_VALUE, "depths that differ");
    check_graphs();
    printf(failures ? "%d failed\n" : "ok\n", failures);
    return failures != 0;
}
