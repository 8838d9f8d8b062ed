/* This machine's own sgemm rate: a 2048 cube through OpenBLAS, all threads. Prints the median
 * GFLOP/s of `argv[1]` (default 7) runs after one warm-up. */
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

int main(int argc, char **argv) {
    enum { N = 2048, MOST = 101 };
    int runs = argc > 1 ? atoi(argv[1]) : 7;
    if (runs < 1 || runs > MOST) return 2;
    float *a = malloc(sizeof(float) * N * N), *b = malloc(sizeof(float) * N * N),
          *c = malloc(sizeof(float) * N * N);
    if (!a || !b || !c) return 6;
    unsigned state = 1;
    for (int i = 0; i < N * N; i++) {
        state = state * 1664525u + 1013904223u;
        a[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
        b[i] = (float)(state >> 9) * 0x1p-23f - 0.5f;
    }
    double seconds[MOST];
    for (int r = -1; r < runs; r++) {
        double start = now_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, a, N, b, N, 0, c, N);
        if (r >= 0) seconds[r] = now_seconds() - start;
    }
    qsort(seconds, (size_t)runs, sizeof *seconds, by_value);
    printf("%.2f\n", 2.0 * N * N * N / seconds[runs / 2] * 1e-9);
    free(a);
    free(b);
    free(c);
    return 0;
}
