/* Rates of the streaming kernels at GPT-2 124M shapes: bytes of all operands over the best time of several
 * runs, beside a copy of as many bytes by the same number of threads.
 *     bench_ops [rows]      rows of activations, 1024 unless given; OMP_NUM_THREADS says how many threads */
#include "tests/support/ops_engine.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct Row {
    Op op;
    const char *in, *out; /* R stands for the rows */
    KAttr attr;
} Row;

#define HIDDEN  "a:Rx768"
#define WIDE    "a:Rx3072"
#define WEIGHTS "w:38597376" /* wte, the largest parameter */
#define ATTR(...)                                                                                            \
    { __VA_ARGS__ }
static const Row rows[] = {
    {OP_ADD, HIDDEN " " HIDDEN, HIDDEN, ATTR(.eps = 0)},
    {OP_ADD_BROADCAST, WIDE " w:3072", WIDE, ATTR(.eps = 0)},
    {OP_SPLIT, "a:Rx2304", HIDDEN " " HIDDEN " " HIDDEN, ATTR(.eps = 0)},
    {OP_CONCAT, HIDDEN " " HIDDEN " " HIDDEN, "a:Rx2304", ATTR(.eps = 0)},
    {OP_GELU, WIDE, WIDE, ATTR(.eps = 0)},
    {OP_GELU_BWD, WIDE " " WIDE, WIDE, ATTR(.eps = 0)},
    {OP_BIAS_GELU, WIDE " w:3072", WIDE, ATTR(.eps = 0)},
    {OP_BIAS_GELU_BWD, WIDE " " WIDE " w:3072", WIDE, ATTR(.eps = 0)},
    {OP_SILU, WIDE, WIDE, ATTR(.eps = 0)},
    {OP_SWIGLU, WIDE " " WIDE, WIDE, ATTR(.eps = 0)},
    {OP_SWIGLU_BWD, WIDE " " WIDE " " WIDE, WIDE " " WIDE, ATTR(.eps = 0)},
    {OP_DROPOUT, HIDDEN, HIDDEN, ATTR(.p = 0.1)},
    {OP_LAYERNORM, HIDDEN " w:768 w:768", HIDDEN " s:R s:R", ATTR(.eps = 1e-5)},
    {OP_RMSNORM, HIDDEN " w:768", HIDDEN " s:R", ATTR(.eps = 1e-5)},
    {OP_ADD_LAYERNORM, HIDDEN " " HIDDEN " w:768 w:768", HIDDEN " " HIDDEN " s:R s:R", ATTR(.eps = 1e-5)},
    {OP_LAYERNORM_BWD_X, HIDDEN " " HIDDEN " w:768 s:R s:R " HIDDEN, HIDDEN, ATTR(.eps = 0)},
    {OP_LAYERNORM_BWD_G, HIDDEN " " HIDDEN " s:R s:R w+:768", "w:768", ATTR(.eps = 0)},
    {OP_SUM_LEADING, HIDDEN " w+:768", "w:768", ATTR(.eps = 0)},
    {OP_SUM_LEADING, WIDE " w+:3072", "w:3072", ATTR(.eps = 0)},
    {OP_EMBED, "i50257:R w:50257x768", HIDDEN, ATTR(.eps = 0)},
    {OP_EMBED_BWD, HIDDEN " i50257:R w+:50257x768", "w:50257x768", ATTR(.acc = 0)},
    {OP_EMBED_BWD, HIDDEN " i50257:R w+:50257x768", "w:50257x768", ATTR(.acc = 1)},
    {OP_SQUARE_NORM, WEIGHTS " s+:1", "s:1", ATTR(.eps = 0)},
    {OP_ADAMW, WEIGHTS " w!:38597376 w!:38597376 v!:38597376", "w:38597376 w:38597376 v:38597376",
     ATTR(.eps = 1e-8, .beta1 = 0.9, .beta2 = 0.95, .decay = 0.1)},
};

static void with_rows(const char *text, const char *count, char *out) {
    for (*out = 0; *text; text++) {
        if (*text == 'R')
            strcat(out, count);
        else
            strncat(out, text, 1);
    }
}

static double copies_seconds(char *to, const char *from, size_t bytes) {
    double best = 1e9;
    for (int repeat = 0; repeat < 7; repeat++) {
        double start = omp_get_wtime();
#pragma omp parallel
        {
            size_t t = (size_t)omp_get_thread_num(), n = (size_t)omp_get_num_threads();
            memcpy(to + bytes * t / n, from + bytes * t / n, bytes * (t + 1) / n - bytes * t / n);
        }
        double seconds = omp_get_wtime() - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}

/* Operands filled with small numbers; returns the bytes of all of them. */
static size_t make_tensors(const Spec *spec, int count, int mode, KTensor *t) {
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        t[i] = (KTensor){.dtype = spec_dtype(&spec[i], mode), .rank = spec[i].rank};
        memcpy(t[i].dim, spec[i].dim, sizeof t[i].dim);
        size_t bytes = (size_t)spec[i].count * (t[i].dtype == K_BF16 ? 2 : 4);
        total += bytes;
        if (spec[i].shared) continue; /* lives in an output */
        t[i].data = pool_alloc(bytes);
        for (int64_t e = 0; e < spec[i].count; e++) {
            uint64_t x = (uint64_t)e * 0x9e3779b97f4a7c15u >> 40;
            if (t[i].dtype == K_I32)
                ((int32_t *)t[i].data)[e] = (int32_t)(x % (uint64_t)spec[i].bound);
            else if (t[i].dtype == K_BF16)
                ((uint16_t *)t[i].data)[e] = (uint16_t)(0x3f00 + x % 256);
            else
                ((float *)t[i].data)[e] = (float)x * 0x1p-24f;
        }
    }
    return total;
}

static void bench(const Row *row, const char *count, int mode) {
    char in_text[160], out_text[160];
    Spec in_spec[MAX_OPERANDS], out_spec[MAX_OPERANDS];
    KTensor in[MAX_OPERANDS], out[MAX_OPERANDS];
    with_rows(row->in, count, in_text);
    with_rows(row->out, count, out_text);
    size_t mark = pool_mark();
    int nin = parse_specs(in_text, in_spec), nout = parse_specs(out_text, out_spec);
    size_t bytes = make_tensors(in_spec, nin, mode, in) + make_tensors(out_spec, nout, mode, out);
    for (int i = 0; i < nin; i++)
        if (in_spec[i].shared) in[i].data = out[nout - (nin - i)].data;
    if (row->op == OP_EMBED) bytes = 2 * (size_t)out_spec[0].count * 4;
    if (row->op == OP_EMBED_BWD)
        bytes = (size_t)in_spec[0].count * 12 + /* dy and the rows of dw, read and written */
                (row->attr.acc ? 0 : (size_t)out_spec[0].count * 4);
    const char *name = op_row[row->op].name;
    KCtx cx = {.seed = 1, .learning_rate = 1e-4f, .loss_scale = 1};
    cx.workspace_bytes = library_float.workspace(K_HOST, name, nout, out, nin, in, &row->attr);
    cx.workspace = pool_alloc(cx.workspace_bytes);
    double best = 1e9;
    for (int repeat = 0; repeat < 15; repeat++) {
        double start = omp_get_wtime();
        library_float.kernel[row->op](&cx, nout, out, nin, in, &row->attr);
        double seconds = omp_get_wtime() - start;
        best = seconds < best ? seconds : best;
    }
    pool_release(mark);
    size_t half = bytes / 2 < 128000000 ? bytes / 2 : 128000000;
    char *from = pool_alloc(half), *to = pool_alloc(half);
    memset(from, 1, half);
    memset(to, 1, half);
    double copy = copies_seconds(to, from, half) * ((double)bytes / 2 / (double)half);
    pool_release(mark);
    printf("%-18s %-5s %8.3f ms %7.1f MB %7.1f GB/s  %4.2f of a copy's rate\n", name, mode ? "bf16" : "f32",
           best * 1e3, (double)bytes / 1e6, (double)bytes / best / 1e9, copy / best);
}

int main(int argc, char **argv) {
    if (!library_open(&library_float, OPS_FLOAT, sizeof(float))) return 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int mode = 0; mode < MODES; mode += MODES - 1)
            bench(&rows[i], argc > 1 ? argv[1] : "1024", mode);
    return 0;
}
