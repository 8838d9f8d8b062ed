/* Tensors of more than 2^31 elements: what 32 bits cannot count. Run on the device, with the kernels under
 * the names of cuda_functions.h (check.sh builds it):
 *
 *     large [LOG2]       2^31 elements and some unless LOG2 says otherwise
 *
 * Every input holds one number, so every result is known; its first and its last elements are looked at,
 * those past 2^31 among them. Prints a line an operation; exit code 1 where one is wrong, 5 without a device.
 */
#include "kernels/step.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTION(name) KFunction cuda_k_##name;
#include "cuda_functions.h"
#undef FUNCTION
size_t cuda_k_workspace(KTarget target, const char *name, int nout, const KTensor *out, int nin,
                        const KTensor *in, const KAttr *attr);

enum { LOOKED_AT = 4096, EXTRA = 8192 + 8, DEPTH = 8 };

static cublasLtHandle_t blas;
static int failures;

static void check(int status, const char *what) {
    if (!status) return;
    fprintf(stderr, "large: %s: %d\n", what, status);
    exit(status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ? 5 : 1);
}

static float from_bits(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float number;
    memcpy(&number, &word, sizeof number);
    return number;
}

static size_t bytes_of(const KTensor *t) {
    return (size_t)k_count(t) * (t->dtype == K_BF16 ? 2 : 4);
}

/* Of bytes that are all `byte`: 0x3f is 0.74706 in either type (0x3f3f, 0x3f3f3f3f). */
static KTensor tensor(int dtype, int64_t rows, int64_t width, int byte) {
    KTensor t = {.dtype = dtype, .rank = width ? 2 : 1, .dim = {rows, width}};
    check(cudaMalloc(&t.data, bytes_of(&t)), "cudaMalloc");
    check(cudaMemsetAsync(t.data, byte, bytes_of(&t), NULL), "fill");
    return t;
}

static void call(const char *name, KFunction *kernel, int nout, KTensor *out, int nin, KTensor *in,
                 KAttr attr) {
    KCtx cx = {.blas = blas, .seed = 1, .loss_scale = 1};
    const KStep now = k_step(&cx, 0.9, 0.999);
    void *at = NULL;
    check(cudaMalloc(&at, sizeof now), "cudaMalloc");
    check(cudaMemcpy(at, &now, sizeof now, cudaMemcpyHostToDevice), "upload");
    cx.now = at;
    cx.workspace_bytes = cuda_k_workspace(K_CUDA, name, nout, out, nin, in, &attr);
    if (cx.workspace_bytes) check(cudaMalloc(&cx.workspace, cx.workspace_bytes), "workspace");
    kernel(&cx, nout, out, nin, in, &attr);
    check(cudaDeviceSynchronize(), name);
    if (cx.workspace_bytes) check(cudaFree(cx.workspace), "workspace");
    check(cudaFree(at), "cudaFree");
}

/* Whether `count` elements from `first` on are `want` but for rounding. */
static int is_right(const KTensor *t, int64_t first, int64_t count, double want) {
    static char host[LOOKED_AT * 4];
    const size_t element = t->dtype == K_BF16 ? 2 : 4;
    check(cudaMemcpy(host, (char *)t->data + (size_t)first * element, (size_t)count * element,
                     cudaMemcpyDeviceToHost),
          "download");
    for (int64_t i = 0; i < count; i++) {
        float got;
        if (element == 4)
            memcpy(&got, host + 4 * i, 4);
        else
            got = from_bits(((const uint16_t *)(const void *)host)[i]);
        if (fabs(got - want) <= (element == 2 ? 8e-3 : 1e-4) * fabs(want)) continue;
        printf("large: element %lld is %g, not %g\n", (long long)(first + i), got, want);
        return 0;
    }
    return 1;
}

/* Looks at the first, the middle and the last elements, but for `skip` at the beginning. */
static void report(const char *name, const KTensor *t, int64_t skip, double want) {
    const int64_t all = k_count(t), count = all / 2 < LOOKED_AT ? all / 2 : LOOKED_AT;
    int right = is_right(t, skip, count - skip, want) && is_right(t, all / 2, count, want) &&
                is_right(t, all - count, count, want);
    failures += !right;
    printf("large,%s,%lld elements,%s\n", name, (long long)all, right ? "right" : "WRONG");
    fflush(stdout);
}

static void release(int count, KTensor *t) {
    for (int i = 0; i < count; i++) check(cudaFree(t[i].data), "cudaFree");
}

int main(int argc, char **argv) {
    const int log2 = argc > 1 ? atoi(argv[1]) : 31;
    int devices = 0;
    if (log2 < 16 || log2 > 34) return 2;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || !devices) {
        fprintf(stderr, "large: no CUDA device\n");
        return 5;
    }
    check(cublasLtCreate(&blas), "cublasLtCreate");
    const double x = from_bits(0x3f3f);
    const int64_t rows = ((int64_t)1 << (log2 - 13)) + 1, width = EXTRA; /* rows x width > 2^log2 */

    KTensor in[3] = {tensor(K_BF16, rows, width, 0x3f), tensor(K_BF16, rows, width, 0x3f)},
            out[2] = {tensor(K_BF16, rows, width, 0xff)};
    call("add", cuda_k_add, 1, out, 2, in, (KAttr){0});
    report("add", &out[0], 0, 2 * x);
    release(2, in);
    release(1, out);

    in[0] = tensor(K_BF16, rows, DEPTH, 0x3f);
    in[1] = tensor(K_BF16, width, DEPTH, 0x3f);
    out[0] = tensor(K_BF16, rows, width, 0xff);
    call("linear", cuda_k_linear, 1, out, 2, in, (KAttr){0});
    report("linear", &out[0], 0, DEPTH * x * x);
    release(2, in);

    /* of equal logits: lse is theirs and the logarithm of their number; a gradient is what softmax says */
    KTensor logits = out[0], lse[2] = {tensor(K_F32, rows, 0, 0xff), tensor(K_F32, 1, 0, 0)},
            targets = tensor(K_I32, rows, 0, 0);
    in[0] = logits, in[1] = targets, in[2] = lse[1];
    call("cross_entropy", cuda_k_cross_entropy, 2, lse, 3, in, (KAttr){0});
    uint16_t bits;
    check(cudaMemcpy(&bits, logits.data, sizeof bits, cudaMemcpyDeviceToHost), "download");
    report("cross_entropy", &lse[0], 0, from_bits(bits) + log((double)width));
    in[2] = lse[0];
    out[0] = tensor(K_BF16, rows, width, 0xff);
    call("cross_entropy_bwd", cuda_k_cross_entropy_bwd, 1, out, 3, in, (KAttr){0});
    /* column 0 is the target */
    report("cross_entropy_bwd", &out[0], 1, 1 / (double)width);
    release(1, out);
    release(1, &logits);
    release(1, &targets);
    release(2, lse);
    return failures > 0;
}
