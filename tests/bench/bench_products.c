/* Rates of the linear layers' products at GPT-2 124M's shapes, forward and both gradients, f32 and bf16.
 * Every layer has weights of its own, so that they come from memory as in a training step. Time is what the
 * threads computed (CPU time of the process), which other programs on the machine disturb less than the clock
 * on the wall. Then products with weights in 4 bits, dequantised before them and within them, in turn.
 * bench_products [rows]      256 unless given; OMP_NUM_THREADS says how many threads */
#include "../../kernels/kernels.h"
#include "../../kernels/packed.h"

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
    const int64_t n = rows * columns, bytes = k_storage_bytes(dtype, n);
    const size_t whole = (size_t)((bytes + BYTES_APART - 1) / BYTES_APART * BYTES_APART);
    t.data = aligned_alloc(BYTES_APART, whole);
    if (!t.data) exit(5);
#ifdef MADV_HUGEPAGE
    (void)madvise(t.data, whole, MADV_HUGEPAGE); /* as a trainer's arena */
#endif
    uint32_t state = 1;
    for (int64_t i = 0; dtype == K_NF4 && i < bytes / 4; i++) { /* codes, and scales near 0.01 */
        state = state * 1664525u + 1013904223u;
        ((uint32_t *)t.data)[i] = state >> 9 | 0x3c000000;
    }
    for (int64_t i = 0; dtype != K_NF4 && i < n; i++) {
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

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Medians of a product of `packed` with `x`, its weight dequantised into `weight` before, and within it. */
static void both_ways(KFunction *product, KTensor *y, KTensor x, KTensor packed, KTensor weight) {
    const KAttr attr = {.acc = 0};
    const KCtx cx = {.loss_scale = 1};
    const KTensor apart[2] = {x, weight}, within[2] = {x, packed};
    double seconds[2][RUNS];
    for (int i = 0; i < 2 * RUNS; i++) {
        const double start = now();
        for (int l = 0; l < LAYERS; l++) {
            if (i % 2 == 0) k_dequantize(&cx, 1, &weight, 1, &packed, &attr);
            product(&cx, 1, y, 2, i % 2 ? within : apart, &attr);
        }
        seconds[i % 2][i / 2] = (now() - start) / LAYERS;
    }
    for (int way = 0; way < 2; way++) qsort(seconds[way], RUNS, sizeof(double), ascending);
    const double *median[2] = {&seconds[0][RUNS / 2], &seconds[1][RUNS / 2]};
    printf("  %8.3f and %8.3f ms, %.3f", *median[0] * 1e3, *median[1] * 1e3, *median[1] / *median[0]);
}

static void packed_shape(int dtype, int64_t rows, int64_t in, int64_t out) {
    const KTensor packed = tensor(K_NF4, out, in), weight = tensor(dtype, out, in);
    KTensor x = tensor(dtype, rows, in), y = tensor(dtype, rows, out);
    printf("%s %5ld x %4ld -> %5ld", dtype == K_BF16 ? "bf16" : "f32 ", (long)rows, (long)in, (long)out);
    both_ways(k_linear, &y, x, packed, weight);
    both_ways(k_linear_bwd_x, &x, y, packed, weight);
    printf("\n");
    fflush(stdout);
    free(packed.data), free(weight.data), free(x.data), free(y.data);
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
    printf("\n%-25s  %-34s%s\n", "weights in nf4", "linear: before it, within it", "linear_bwd_x");
    for (int bf16 = 1; bf16 >= 0; bf16--) {
        packed_shape(bf16 ? K_BF16 : K_F32, rows, 768, 768);
        packed_shape(bf16 ? K_BF16 : K_F32, rows, 768, 2048);
        packed_shape(bf16 ? K_BF16 : K_F32, rows, 2048, 768);
    }
    return 0;
}
