/* This machine's own sgemm rate: sgemm_rate [RUNS [ROWS COLUMNS DEPTH]], a 2048 cube where no shape is given,
 * through OpenBLAS, all threads. The operands are taken in turn from copies that together are larger than the
 * caches, as those of a step are. Prints the median GFLOP/s of RUNS (default 7) after one warm-up. */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MOST = 101, ROTATED_FLOATS = 32 << 20 };

int main(int argc, char **argv) {
    int runs = argc > 1 ? atoi(argv[1]) : 7, size[3] = {2048, 2048, 2048};
    for (int i = 0; i < 3 && argc == 5; i++) size[i] = atoi(argv[2 + i]);
    const int rows = size[0], columns = size[1], depth = size[2];
    if ((argc > 2 && argc != 5) || runs < 1 || runs > MOST || rows < 1 || columns < 1 || depth < 1) return 2;
    const size_t left = (size_t)rows * depth, right = (size_t)columns * depth,
                 whole = left + right + (size_t)rows * columns, copies = ROTATED_FLOATS / whole + 1;
    float *operands = malloc(sizeof(float) * whole * copies);
    if (!operands) return 6;
    unsigned state = 1;
    for (size_t i = 0; i < whole * copies; i++) {
        state = state * 1664525u + 1013904223u;
        operands[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    double seconds[MOST];
    for (int r = -1; r < runs; r++) {
        float *a = operands + whole * ((size_t)(r + 1) % copies), *b = a + left, *c = b + right;
        double start = now_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, depth, 1, a, depth, b, depth, 0,
                    c, columns);
        if (r >= 0) seconds[r] = now_seconds() - start;
    }
    qsort(seconds, (size_t)runs, sizeof *seconds, by_value);
    printf("%.2f\n", 2.0 * rows * columns * depth / seconds[runs / 2] * 1e-9);
    free(operands);
    return 0;
}
