/* Rates of the linear layers' products at GPT-2 124M's shapes, forward and both gradients, f32 and bf16.
 * Every layer has weights of its own, so that they come from memory as in a training step. Time is what the
 * threads computed (CPU time of the process), which other programs on the machine disturb less than the clock
 * on the wall. bench_products [rows]      256 unless given; OMP_NUM_THREADS says how many threads */
#include "../../kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { RUNS = 7, LAYERS = 12, BYTES_APART = 2 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static KTensor tensor(int dtype, int64_t rows, int64_t columns) {
    KTensor t = {NULL, dtype, 2, {rows, columns}, 0};
    const int64_t n = rows * columns, bytes = n * (dtype == K_BF16 ? 2 : 4);
    const size_t whole = (size_t)((bytes + BYTES_APART - 1) / BYTES_APART * BYTES_APART);
    t.data = aligned_alloc(BYTES_APART, whole);
    if (!t.data) exit(5);
#ifdef MADV_HUGEPAGE
    (void)madvise(t.data, whole, MADV_HUGEPAGE); /* as a trainer's arena */
#endif
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        if (dtype == K_BF16)
            ((uint16_t *)t.data)[i] = (uint16_t)(0x3c00 + (state >> 24) + (state >> 16 & 0x8000));
        else
            ((float *)t.data)[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    return t;
}

/* One product over all layers' weights; returns the least seconds of it. */
static double measure(KFunction *kernel, int layers, KTensor *out, KTensor *in, KTensor *weight,
                      const KTensor *weights) {
    const KAttr attr = {.acc = 0};
    const KCtx cx = {.loss_scale = 1};
    double least = 1e9;
    for (int i = 0; i < RUNS; i++) {
        const double start = now();
        for (int l = 0; l < layers; l++) {
            weight->data = weights[l].data;
            kernel(&cx, 1, out, 2, in, &attr);
        }
        const double seconds = now() - start;
        least = seconds < least ? seconds : least;
    }
    return least;
}

static double shape(int dtype, int64_t rows, int layers, int64_t in, int64_t out) {
    KTensor weights[LAYERS];
    for (int l = 0; l < layers; l++) weights[l] = tensor(dtype, out, in);
    const KTensor x = tensor(dtype, rows, in), y = tensor(dtype, rows, out);
    KTensor forward[2] = {x, weights[0]}, back[2] = {y, weights[0]}, both[2] = {y, x};
    KTensor to_x = x, to_y = y, to_w = weights[0];
    const double flops = 2.0 * (double)rows * (double)in * (double)out * layers;
    const double seconds[] = {measure(k_linear, layers, &to_y, forward, &forward[1], weights),
                              measure(k_linear_bwd_x, layers, &to_x, back, &back[1], weights),
                              measure(k_linear_bwd_w, layers, &to_w, both, &to_w, weights)};
    printf("%s %5ld x %4ld -> %5ld", dtype == K_BF16 ? "bf16" : "f32 ", (long)rows, (long)in, (long)out);
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        printf("  %7.2f ms %5.0f GFLOP/s", seconds[i] * 1e3, flops / seconds[i] * 1e-9);
        sum += seconds[i];
    }
    printf("\n");
    fflush(stdout);
    for (int l = 0; l < layers; l++) free(weights[l].data);
    free(x.data), free(y.data);
    return sum;
}

int main(int argc, char **argv) {
    const int64_t rows = argc > 1 ? atoll(argv[1]) : 256;
    if (rows < 1) return 2;
    printf("%-25s  %-26s%-26s%s\n", "rows x in -> out", "linear", "linear_bwd_x", "linear_bwd_w");
    for (int bf16 = 1; bf16 >= 0; bf16--) {
        const int dtype = bf16 ? K_BF16 : K_F32;
        const double sum = shape(dtype, rows, LAYERS, 768, 2304) + shape(dtype, rows, LAYERS, 768, 768) +
                           shape(dtype, rows, LAYERS, 768, 3072) + shape(dtype, rows, LAYERS, 3072, 768) +
                           shape(dtype, rows, 1, 768, 50257);
        printf("%s a step: %.1f ms\n", bf16 ? "bf16" : "f32", sum * 1e3);
    }
    return 0;
}
