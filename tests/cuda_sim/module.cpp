/* The CUDA kernels as the operation tests want them: functions k_NAME over host memory. Operands and
 * workspace, with the guard bytes behind them, go to device buffers, the kernel runs, everything comes back.
 * Operands that share storage share a buffer. Serves the simulated device and a real one; the kernels are
 * compiled with their names turned into cuda_k_NAME (rename.sh). */
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/step.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#ifdef REMAT_CUDA_SIM
#include "sim.h"
#endif

enum { MAX_OPERANDS = 352, MAX_BUFFERS = 2 * MAX_OPERANDS + 1, GUARD_BYTES = 256 };

extern "C" {
#include "kernels/launches.h"
#define FUNCTION(name) KFunction cuda_k_##name;
#include "cuda_functions.h"
#undef FUNCTION
size_t cuda_k_workspace(KTarget target, const char *name, int nout, const KTensor *out, int nin,
                        const KTensor *in, const KAttr *attr);
}

static void check(bool fine, const char *what) {
    if (fine) return;
    fprintf(stderr, "device: %s: %s\n", what, cudaGetErrorString(cudaDeviceSynchronize()));
    exit(1);
}

struct Buffer {
    void *host, *device;
    size_t bytes;
};
struct Buffers {
    Buffer at[MAX_BUFFERS];
    int count;
};

static void *to_device(Buffers *buffers, void *host, size_t bytes) {
    for (int i = 0; i < buffers->count; i++)
        if (buffers->at[i].host == host && host) return buffers->at[i].device;
    Buffer *b = &buffers->at[buffers->count++];
    *b = {host, nullptr, bytes + GUARD_BYTES};
    check(cudaMalloc(&b->device, b->bytes) == cudaSuccess, "cudaMalloc");
    check(cudaMemcpy(b->device, host, b->bytes, cudaMemcpyHostToDevice) == cudaSuccess, "upload");
    return b->device;
}
static KTensor tensor_to_device(Buffers *buffers, const KTensor *t) {
    KTensor moved = *t;
    moved.data = to_device(buffers, t->data, (size_t)k_storage_bytes(t->dtype, k_room(t)));
    return moved;
}

/* The simulated device counts what a kernel issued; launches.c, by which plans go, says how much that is. */
static void issue(const char *name, KFunction *kernel, const KCtx *cx, int nout, const KTensor *out, int nin,
                  const KTensor *in, const KAttr *attr) {
#ifdef REMAT_CUDA_SIM
    const long before = sim_computed();
    kernel(cx, nout, out, nin, in, attr);
    const long issued = sim_computed() - before,
               said = k_launches(name, nout, out, nin, in, attr, cx->micro == 0);
    if (issued != said) {
        fprintf(stderr, "%s: %ld launches, and k_launches (kernels/launches.c) says %ld\n", name, issued,
                said);
        exit(1);
    }
#else
    (void)name;
    kernel(cx, nout, out, nin, in, attr);
#endif
}

static void call(const char *name, KFunction *kernel, const KCtx *cx, int nout, const KTensor *out, int nin,
                 const KTensor *in, const KAttr *attr) {
    static cublasLtHandle_t blas;
    static bool opened;
    if (!opened) check(cublasLtCreate(&blas) == CUBLAS_STATUS_SUCCESS, "cublasLtCreate");
    opened = true;
    Buffers buffers = {};
    KTensor device_out[MAX_OPERANDS], device_in[MAX_OPERANDS];
    KCtx device_cx = *cx;
    struct {
        KStep step;
        char guard[GUARD_BYTES];
    } now = {k_step(cx, attr->beta1, attr->beta2), {}};
    device_cx.now = (const KStep *)to_device(&buffers, &now, sizeof now.step);
    device_cx.blas = blas;
    if (cx->workspace_bytes) device_cx.workspace = to_device(&buffers, cx->workspace, cx->workspace_bytes);
    for (int i = 0; i < nout; i++) device_out[i] = tensor_to_device(&buffers, &out[i]);
    for (int i = 0; i < nin; i++) device_in[i] = tensor_to_device(&buffers, &in[i]);
    issue(name, kernel, &device_cx, nout, device_out, nin, device_in, attr);
    check(cudaDeviceSynchronize() == cudaSuccess, "kernel");
#ifdef REMAT_CUDA_SIM
    check(sim_bank_conflicts() == 0, "matrix rows or copies that share banks of shared memory");
#endif
    for (int i = 0; i < buffers.count; i++) {
        Buffer *b = &buffers.at[i];
        check(cudaMemcpy(b->host, b->device, b->bytes, cudaMemcpyDeviceToHost) == cudaSuccess, "download");
        check(cudaFree(b->device) == cudaSuccess, "cudaFree");
    }
}

extern "C" {
#define FUNCTION(name)                                                                                       \
    void k_##name(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,                  \
                  const KAttr *attr) {                                                                       \
        call(#name, cuda_k_##name, cx, nout, out, nin, in, attr);                                            \
    }
#include "cuda_functions.h"

/* The tests ask for a workspace once a call, whatever target they name. */
size_t k_workspace(KTarget, const char *name, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
#ifdef REMAT_CUDA_SIM
    sim_next_schedule();
#endif
    return cuda_k_workspace(K_CUDA, name, nout, out, nin, in, attr);
}
}
