/* Rates of the kernels that decide the speed of a training step, at GPT-2 124M's shapes, as fractions of
 * BLAS's own sgemm (2048 cubed, all threads). Every kernel run is paired with an sgemm run; medians of both
 * are compared. */
#include "../../kernels/kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 7, CUBE = 2048, WIDTH = 768, HEADS = 12, VOCABULARY = 50257 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *x) {
    qsort(x, RUNS, sizeof *x, ascending);
    return x[RUNS / 2];
}

static void *room(int64_t bytes) {
    void *p = aligned_alloc(K_ALIGN, (size_t)((bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN));
    if (!p) exit(5);
    return p;
}

static KTensor tensor(int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
    KTensor t = {NULL, K_F32, rank, {a, b, c, d}};
    const int64_t n = k_count(&t);
    float *x = room(n * (int64_t)sizeof *x);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    t.data = x;
    return t;
}

typedef struct Square {
    float *a, *b, *c;
} Square;

static void measure(const char *name, const char *what, KFunction *kernel, double flops, int nout,
                    const KTensor *out, int nin, const KTensor *in, const KAttr *attr, const Square *square) {
    double kernel_seconds[RUNS], square_seconds[RUNS];
    KCtx cx = {.loss_scale = 1};
    cx.workspace_bytes = k_workspace(K_HOST, name, nout, out, nin, in, attr);
    cx.workspace = room((int64_t)cx.workspace_bytes + 1);
    kernel(&cx, nout, out, nin, in, attr);
    for (int i = 0; i < RUNS; i++) {
        double t = now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, CUBE, CUBE, CUBE, 1, square->a, CUBE,
                    square->b, CUBE, 0, square->c, CUBE);
        square_seconds[i] = now() - t;
        t = now();
        kernel(&cx, nout, out, nin, in, attr);
        kernel_seconds[i] = now() - t;
    }
    const double seconds = median(kernel_seconds), rate = flops / seconds;
    const double reference = 2.0 * CUBE * CUBE * CUBE / median(square_seconds);
    printf("%-18s %-22s %9.3f ms %8.1f GFLOP/s  %5.2f of sgemm (%.1f)\n", name, what, seconds * 1e3,
           rate * 1e-9, rate / reference, reference * 1e-9);
    fflush(stdout);
    free(cx.workspace);
}

static void linears(int64_t rows, const Square *square) {
    static const int64_t shape[][2] = {{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}, {768, VOCABULARY}};
    const KAttr attr = {.acc = 0};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const int64_t in = shape[i][0], out = shape[i][1];
        const KTensor x = tensor(2, rows, in, 0, 0), y = tensor(2, rows, out, 0, 0),
                      w = tensor(2, out, in, 0, 0);
        char what[64];
        snprintf(what, sizeof what, "%ld x %ld -> %ld", (long)rows, (long)in, (long)out);
        const double flops = 2.0 * (double)rows * (double)in * (double)out;
        measure("linear", what, k_linear, flops, 1, &y, 2, (KTensor[]){x, w}, &attr, square);
        measure("linear_bwd_x", what, k_linear_bwd_x, flops, 1, &x, 2, (KTensor[]){y, w}, &attr, square);
        measure("linear_bwd_w", what, k_linear_bwd_w, flops, 1, &w, 2, (KTensor[]){y, x}, &attr, square);
        free(x.data), free(y.data), free(w.data);
    }
}

static void attention(int64_t batch, int64_t time, const Square *square) {
    const KAttr attr = {.causal = 1};
    KTensor t[9];
    for (int i = 0; i < 8; i++) t[i] = tensor(4, batch, time, HEADS, WIDTH / HEADS);
    t[8] = tensor(3, batch, HEADS, time, 0);
    char what[64];
    snprintf(what, sizeof what, "B %ld T %ld causal", (long)batch, (long)time);
    const double product = (double)batch * (double)time * (double)(time + 1) * WIDTH;
    measure("attend", what, k_attend, 2 * product, 2, (KTensor[]){t[3], t[8]}, 3, t, &attr, square);
    measure("attend_bwd", what, k_attend_bwd, 5 * product, 3, (KTensor[]){t[5], t[6], t[7]}, 6,
            (KTensor[]){t[4], t[0], t[1], t[2], t[3], t[8]}, &attr, square);
    for (int i = 0; i < 9; i++) free(t[i].data);
}

/* Not a product: about 10 flops an element, for scale. */
static void loss(int64_t rows, const Square *square) {
    const KAttr attr = {.acc = 0};
    const KTensor logits = tensor(2, rows, VOCABULARY, 0, 0), lse = tensor(1, rows, 0, 0, 0),
                  sum = tensor(1, 1, 0, 0, 0);
    KTensor target = tensor(1, rows, 0, 0, 0);
    target.dtype = K_I32;
    for (int64_t i = 0; i < rows; i++) ((int32_t *)target.data)[i] = (int32_t)(i * 31 % VOCABULARY);
    char what[64];
    snprintf(what, sizeof what, "%ld x %d", (long)rows, VOCABULARY);
    const double flops = 10.0 * (double)rows * VOCABULARY;
    measure("cross_entropy", what, k_cross_entropy, flops, 2, (KTensor[]){lse, sum}, 3,
            (KTensor[]){logits, target, sum}, &attr, square);
    measure("cross_entropy_bwd", what, k_cross_entropy_bwd, flops, 1, &logits, 3,
            (KTensor[]){logits, target, lse}, &attr, square);
    free(logits.data), free(lse.data), free(sum.data), free(target.data);
}

int main(void) {
    Square square = {tensor(2, CUBE, CUBE, 0, 0).data, tensor(2, CUBE, CUBE, 0, 0).data,
                     tensor(2, CUBE, CUBE, 0, 0).data};
    for (int i = 0; i < 2; i++) {
        const int64_t batch = i ? 1 : 4, time = i ? 1024 : 64;
        linears(batch * time, &square);
        attention(batch, time, &square);
        loss(batch * time, &square);
    }
    free(square.a), free(square.b), free(square.c);
    return 0;
}
