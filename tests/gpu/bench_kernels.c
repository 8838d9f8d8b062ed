/* Rates of the CUDA kernels at the shapes of GPT-2 124M (B = 16, T = 1024) and of a Llama of 1B parameters
 * (B = 4, T = 4096), in bf16 with f32 moments. A row is one call: the least bytes or operations it needs over
 * its median time, and for what moves bytes, its share of the card's own copy rate.
 *     bench_kernels [NAME]      only the operations whose names contain NAME
 * Tensors are random; calls rotate among copies of them that together are larger than the L2 cache. */
#include "tests/support/ops_engine.h"
#include "kernels/packed.h"
#include "kernels/step.h"
#include "kernels/variant.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <stdlib.h>
#include <string.h>

#define FUNCTION(name) KFunction cuda_k_##name;
#include "cuda_functions.h"
#undef FUNCTION
size_t cuda_k_workspace(KTarget target, const char *name, int nout, const KTensor *out, int nin,
                        const KTensor *in, const KAttr *attr);

static const struct {
    const char *name;
    KFunction *kernel;
} functions[] = {
#define FUNCTION(name) {#name, cuda_k_##name},
#include "cuda_functions.h"
#undef FUNCTION
};

typedef struct Row {
    const char *name, *in, *out;
    KAttr attr;
} Row;

#define ATTR(...)                                                                                            \
    { __VA_ARGS__ }
#define PLAIN ATTR(.eps = 0)
/* GPT-2: activations, gradients in f32 ("s") */
#define D  "a:16384x768"
#define D3 "a:16384x2304"
#define D4 "a:16384x3072"
#define R  "s:16384"
/* Llama */
#define L "a:16384x2048"
#define F "a:16384x8192"
/* y [rows, n] = x [rows, k] w [n, k]^T, and backwards */
#define PACKED_OR_NOT(rows, n, k)                                                                            \
    {"dequantize", "q:" #n "x" #k, "w:" #n "x" #k, PLAIN},                                                   \
        {"linear", "a:" #rows "x" #k " w:" #n "x" #k, "a:" #rows "x" #n, PLAIN},                             \
        {"linear", "a:" #rows "x" #k " q:" #n "x" #k, "a:" #rows "x" #n, PLAIN},                             \
        {"linear_bwd_x", "a:" #rows "x" #n " w:" #n "x" #k, "a:" #rows "x" #k, PLAIN}, {                     \
        "linear_bwd_x", "a:" #rows "x" #n " q:" #n "x" #k, "a:" #rows "x" #k, PLAIN                          \
    }
#define MOMENTS ATTR(.eps = 1e-8, .beta1 = 0.9, .beta2 = 0.95, .decay = 0.1)
static const Row rows[] = {
    {"add", D " " D, D, PLAIN},
    {"add_broadcast", D3 " w:2304", D3, PLAIN},
    {"add_broadcast", "a:16x1024x768 a:1024x768", "a:16x1024x768", PLAIN},
    {"cast", "s:16384x768", D, PLAIN},
    {"cast", "w:768", "s:768", PLAIN},
    {"dropout", D, D, ATTR(.p = 0.1)},
    {"split", D3, D " " D " " D, PLAIN},
    {"concat", D " " D " " D, D3, PLAIN},
    {"bias_gelu", D4 " w:3072", D4, PLAIN},
    {"bias_gelu_bwd", D4 " " D4 " w:3072", D4, PLAIN},
    {"bias_gelu_bwd_sums", D4 " " D4 " w:3072", D4 " w:3072", PLAIN},
    {"layernorm", D " w:768 w:768", D " " R " " R, ATTR(.eps = 1e-5)},
    {"add_layernorm", D " " D " w:768 w:768", D " " D " " R " " R, ATTR(.eps = 1e-5)},
    {"layernorm_bwd_x", D " " D " w:768 " R " " R " " D, D, PLAIN},
    {"layernorm_bwd_sums", D " " D " w:768 " R " " R " " D, D " w:768 w:768 w:768", ATTR(.residual = 1)},
    {"layernorm_bwd_g", D " " D " " R " " R " s+:768", "s:768", PLAIN},
    {"sum_leading", D " s+:768", "s:768", PLAIN},
    {"sum_leading", D3 " s+:2304", "s:2304", PLAIN},
    {"sum_leading", D4 " s+:3072", "s:3072", PLAIN},
    {"sum_leading", "a:16x1024x768 s+:1024x768", "s:1024x768", PLAIN},
    {"embed", "i50257:16384 w:50257x768", D, PLAIN},
    {"embed_bwd", D " i50257:16384 s+:50257x768", "s:50257x768", ATTR(.acc = 1)},
    {"embed_bwd", D " i50257:16384 s+:50257x768", "s:50257x768", PLAIN},
    {"embed_bwd", D " i40:16384 s+:40x768", "s:40x768", ATTR(.acc = 1)}, /* each token often */
    {"cross_entropy", "a:16384x50257 i50257:16384 s!:1", R " s:1", PLAIN},
    {"cross_entropy_bwd", "a:16384x50257 i50257:16384 " R, "a:16384x50257", ATTR(.eps = 0)},
    {"cross_entropy_both", "a:16384x50304 i50257:16384 s!:1", "a:16384x50304 s:1", PLAIN},
    {"square_norm", "s:50257x768 s+:1", "s:1", PLAIN},
    {"square_norm", "s:3072x768 s+:1", "s:1", PLAIN},
    {"square_norm", "s:768 s+:1", "s:1", PLAIN},
    {"adamw", "s:50257x768 s:1 w!:50257x768 s!:50257x768 s!:50257x768 s!:50257x768",
     "w:50257x768 s:50257x768 s:50257x768 s:50257x768", MOMENTS},
    {"adamw", "s:3072x768 s:1 w!:3072x768 s!:3072x768 s!:3072x768 s!:3072x768",
     "w:3072x768 s:3072x768 s:3072x768 s:3072x768", MOMENTS},
    {"adamw", "s:768 s:1 w!:768 s!:768 s!:768 s!:768", "w:768 s:768 s:768 s:768", MOMENTS},
    {"adamw", /* of several weights, of which most are small */
     "w:3072x768 w:768 w:3072 w:768 s:1 w!:3072x768 s!:3072x768 s!:3072x768 s!:3072x768 w!:768 s!:768 s!:768 "
     "s!:768 "
     "w!:3072 s!:3072 s!:3072 s!:3072 w!:768 s!:768 s!:768 s!:768",
     "w:3072x768 s:3072x768 s:3072x768 s:3072x768 w:768 s:768 s:768 s:768 w:3072 s:3072 s:3072 s:3072 w:768 "
     "s:768 "
     "s:768 s:768",
     ATTR(.eps = 1e-8, .beta1 = 0.9, .beta2 = 0.95, .decay = 0.1, .tensors = 4, .decayed = 1)},
    {"add", L " " L, L, PLAIN},
    {"swiglu", F " " F, F, PLAIN},
    {"swiglu_bwd", F " " F " " F, F " " F, PLAIN},
    {"swiglu_bwd_sums", F " " F " " F, F " " F " w:8192 w:8192", PLAIN},
    {"add_scaled", F " " F, F, ATTR(.factor = 2)},
    {"cast",
     "s:32x4096 s:4096x32 s:32x4096 s:1024x32 s:32x4096 s:1024x32 s:32x4096 s:4096x32 s:32x4096 s:14336x32",
     "a:32x4096 a:4096x32 a:32x4096 a:1024x32 a:32x4096 a:1024x32 a:32x4096 a:4096x32 a:32x4096 a:14336x32",
     PLAIN},
    {"rope", "a:4x4096x32x64", "a:4x4096x32x64", ATTR(.theta = 5e5)},
    {"rope", "a:4x4096x8x64", "a:4x4096x8x64", ATTR(.theta = 5e5, .inverse = 1)},
    {"rmsnorm", L " w:2048", L " " R, ATTR(.eps = 1e-5)},
    {"add_rmsnorm", L " " L " w:2048", L " " L " " R, ATTR(.eps = 1e-5)},
    {"rmsnorm_bwd_x", L " " L " w:2048 " R " " L, L, PLAIN},
    {"rmsnorm_bwd_sums", L " " L " w:2048 " R " " L, L " w:2048", ATTR(.residual = 1)},
    {"rmsnorm_bwd_g", L " " L " " R " w+:2048", "w:2048", PLAIN},
    {"square_norm", "w:8192x2048 s+:1", "s:1", PLAIN},
    {"adamw", "w:8192x2048 s:1 w!:8192x2048 s!:8192x2048 s!:8192x2048 s!:8192x2048",
     "w:8192x2048 s:8192x2048 s:8192x2048 s:8192x2048", MOMENTS},
    {"slice_rows", "a:16384x2048", "a:8192x2048", ATTR(.begin = 4096)},
    {"layernorm", "a:16383x765 w:765 w:765", "a:16383x765 s:16383 s:16383", ATTR(.eps = 1e-5)}, /* odd */
    {"bias_gelu", "a:16383x3071 w:3071", "a:16383x3071", PLAIN},
    {"attend", "a:16x1024x12x64 a:16x1024x12x64 a:16x1024x12x64", "a:16x1024x12x64 s:16x12x1024",
     ATTR(.causal = 1)},
    {"attend_bwd",
     "a:16x1024x12x64 a:16x1024x12x64 a:16x1024x12x64 a:16x1024x12x64 a:16x1024x12x64 s:16x12x1024",
     "a:16x1024x12x64 a:16x1024x12x64 a:16x1024x12x64", ATTR(.causal = 1)},
    {"attend_packed", "a:16x1024x2304", "a:16x1024x12x64 s:16x12x1024", ATTR(.causal = 1)},
    {"attend_packed_bwd", "a:16x1024x12x64 a:16x1024x2304 a:16x1024x12x64 s:16x12x1024", "a:16x1024x2304",
     ATTR(.causal = 1)},
    {"attend", "a:4x4096x32x64 a:4x4096x8x64 a:4x4096x8x64", "a:4x4096x32x64 s:4x32x4096", ATTR(.causal = 1)},
    {"attend_bwd", "a:4x4096x32x64 a:4x4096x32x64 a:4x4096x8x64 a:4x4096x8x64 a:4x4096x32x64 s:4x32x4096",
     "a:4x4096x32x64 a:4x4096x8x64 a:4x4096x8x64", ATTR(.causal = 1)},
    {"linear", D " w:2304x768 w:2304", D3, PLAIN},
    {"linear", D " w:3072x768", D4, PLAIN},
    {"linear", D4 " w:768x3072 w:768", D, PLAIN},
    {"linear", D " w:50257x768", "a:16384x50257", PLAIN},
    {"linear_bwd_x", D3 " w:2304x768", D, PLAIN},
    {"linear_bwd_x", "a:16384x50257 w:50257x768", D, PLAIN},
    {"linear_bwd_w", D3 " " D " s+:2304x768", "s:2304x768", PLAIN},
    {"linear_bwd_w", "a:16384x50257 " D " s+:50257x768", "s:50257x768", PLAIN},
    {"linear", L " w:8192x2048", F, PLAIN},
    {"linear_bwd_x", F " w:8192x2048", L, PLAIN},
    {"linear_bwd_x", F " w:8192x2048 " L, L, PLAIN},
    {"linear_bwd_w", F " " L " w+:8192x2048", "w:8192x2048", PLAIN},
    /* Llama 3.1 8B with 4-bit weights (B = 1): dequantised within products, and apart, of which a product's
     * time is that of dequantize and of linear */
    PACKED_OR_NOT(512, 4096, 4096),
    PACKED_OR_NOT(512, 14336, 4096),
    PACKED_OR_NOT(512, 4096, 14336),
    PACKED_OR_NOT(4096, 4096, 4096),
    PACKED_OR_NOT(4096, 14336, 4096),
    PACKED_OR_NOT(4096, 4096, 14336),
};

enum {
    POOL_BYTES_LOG2 = 33,
    PATTERN_BYTES = 32 << 20,
    ROTATED_BYTES = 256 << 20, /* of all copies of a row's tensors together, some times the L2 cache */
    MOST_COPIES = 24,
    BATCHES = 11,
};
static const double BATCH_SECONDS = 1e-3;

static char *device_pool;
static size_t device_used;
static cudaEvent_t before, after;

static void check(cudaError_t status, const char *what) {
    if (status == cudaSuccess) return;
    fprintf(stderr, "bench_kernels: %s: %s\n", what, cudaGetErrorString(status));
    exit(status == cudaErrorNoDevice ? 5 : 1);
}
static void *device_alloc(size_t bytes) {
    void *at = device_pool + device_used;
    device_used += (bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
    if (device_used > (size_t)1 << POOL_BYTES_LOG2) {
        fprintf(stderr, "bench_kernels: the pool is too small\n");
        exit(1);
    }
    return at;
}

/* ---- random data ---- */

enum { SIGNED_F32, SIGNED_BF16, POSITIVE_F32, POSITIVE_BF16, PATTERNS };
static void *pattern[PATTERNS];

static void make_patterns(void) {
    char *host = malloc(PATTERN_BYTES);
    for (int p = 0; p < PATTERNS; p++) {
        const int is_bf16 = p == SIGNED_BF16 || p == POSITIVE_BF16;
        for (size_t i = 0; i < PATTERN_BYTES / (is_bf16 ? 2 : 4); i++) {
            const double u = unit_random();
            const float x = (float)(p < POSITIVE_F32 ? 3.4 * u - 1.7 : 0.5 + u);
            if (is_bf16)
                memcpy(host + 2 * i, (const char *)&x + 2, 2); /* the upper half */
            else
                memcpy(host + 4 * i, &x, 4);
        }
        pattern[p] = device_alloc(PATTERN_BYTES);
        check(cudaMemcpy(pattern[p], host, PATTERN_BYTES, cudaMemcpyHostToDevice), "upload");
    }
    free(host);
}

static size_t tensor_bytes(const KTensor *t) {
    return (size_t)k_storage_bytes(t->dtype, k_count(t));
}
static void fill(const Spec *spec, const KTensor *t) {
    const size_t bytes = tensor_bytes(t);
    if (t->dtype == K_I32) {
        int32_t *host = malloc(bytes);
        for (int64_t i = 0; i < spec->count; i++) host[i] = (int32_t)(unit_random() * spec->bound);
        check(cudaMemcpy(t->data, host, bytes, cudaMemcpyHostToDevice), "upload");
        free(host);
        return;
    }
    const int positive = spec->letter == 's' || spec->letter == 'v' || spec->letter == 'm';
    const int which = (positive ? POSITIVE_F32 : SIGNED_F32) + (t->dtype == K_BF16);
    for (size_t at = 0; at < bytes; at += PATTERN_BYTES)
        check(cudaMemcpyAsync((char *)t->data + at, pattern[which],
                              bytes - at < PATTERN_BYTES ? bytes - at : PATTERN_BYTES,
                              cudaMemcpyDeviceToDevice, NULL),
              "fill");
}

/* ---- a row ---- */

typedef struct Bench {
    KFunction *kernel; /* NULL: a copy of in[0] to out[0] */
    KCtx cx;
    KAttr attr;
    int nin, nout, copies;
    KTensor in[MOST_COPIES][MAX_OPERANDS], out[MOST_COPIES][MAX_OPERANDS];
} Bench;

static KTensor tensor_of(const Spec *spec) {
    KTensor t = {.dtype = spec_dtype(spec, MODE_BF16_ACTIVATION | MODE_BF16_WEIGHT), .rank = spec->rank};
    memcpy(t.dim, spec->dim, sizeof t.dim);
    return t;
}

/* Elements of any operand that a call touches at most: of a table, the rows that are chosen. */
static int64_t most_touched(const Bench *b, const char *name) {
    if (!strcmp(name, "embed") || !strcmp(name, "slice_rows")) return k_count(&b->out[0][0]);
    if (!strcmp(name, "embed_bwd") && b->attr.acc) return k_count(&b->in[0][0]);
    return INT64_MAX;
}
/* Bytes that a call reads and writes at the least. */
static size_t least_bytes(const Bench *b, const char *name, const Spec *in) {
    size_t bytes = 0;
    for (int i = 0; i < b->nout + b->nin; i++) {
        const KTensor *t = i < b->nout ? &b->out[0][i] : &b->in[0][i - b->nout];
        if (i >= b->nout && in[i - b->nout].shared == '+' && !b->attr.acc) continue;
        const int64_t count = k_count(t), most = most_touched(b, name);
        bytes += count < most ? tensor_bytes(t) : tensor_bytes(t) / (size_t)count * (size_t)most;
    }
    return bytes;
}

static void place(Bench *b, int copy, const Spec *in, const Spec *out) {
    for (int i = 0; i < b->nout; i++) {
        KTensor *t = &b->out[copy][i];
        *t = tensor_of(&out[i]);
        t->data = device_alloc(tensor_bytes(t));
        fill(&out[i], t);
    }
    for (int i = 0; i < b->nin; i++) {
        KTensor *t = &b->in[copy][i];
        *t = tensor_of(&in[i]);
        t->data = in[i].shared ? b->out[copy][b->nout - (b->nin - i)].data : device_alloc(tensor_bytes(t));
        if (!in[i].shared) fill(&in[i], t);
    }
}

static double flops(const Bench *b, const char *name) {
    const KTensor *in = b->in[0], *out = b->out[0];
    if (!strncmp(name, "linear", 6)) {
        const int over_rows = !strcmp(name, "linear_bwd_w");
        const int64_t depth = over_rows ? k_count(in) / k_last(in) : k_last(in);
        return 2.0 * (double)k_count(out) * (double)depth;
    }
    if (strncmp(name, "attend", 6) != 0) return 0;
    const int back = !strcmp(name, "attend_bwd"); /* five products, forward two */
    return (back ? 10.0 : 4.0) * (double)k_count(in) * (double)in->dim[1] * (b->attr.causal ? 0.5 : 1);
}

static void call(const Bench *b, int64_t turn) {
    const int copy = (int)(turn % b->copies);
    if (b->kernel)
        b->kernel(&b->cx, b->nout, b->out[copy], b->nin, b->in[copy], &b->attr);
    else
        check(cudaMemcpyAsync(b->out[copy][0].data, b->in[copy][0].data, tensor_bytes(&b->in[copy][0]),
                              cudaMemcpyDeviceToDevice, NULL),
              "copy");
}
static double batch_seconds(const Bench *b, int64_t calls) {
    static int64_t turn;
    float milliseconds;
    check(cudaEventRecord(before, NULL), "event");
    for (int64_t i = 0; i < calls; i++) call(b, turn++);
    check(cudaEventRecord(after, NULL), "event");
    check(cudaEventSynchronize(after), "kernel");
    check(cudaEventElapsedTime(&milliseconds, before, after), "event");
    return milliseconds * 1e-3 / (double)calls;
}
static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
/* Seconds a call: the median of batches of calls. */
static double median_seconds(const Bench *b) {
    double seconds[BATCHES];
    batch_seconds(b, 2);
    const double once = batch_seconds(b, 2);
    const int batches = once > 10 * BATCH_SECONDS ? 3 : BATCHES;
    const int64_t calls = once > BATCH_SECONDS / 2 ? 2 : (int64_t)(BATCH_SECONDS / once) + 1;
    for (int i = 0; i < batches; i++) seconds[i] = batch_seconds(b, calls);
    qsort(seconds, (size_t)batches, sizeof *seconds, ascending);
    return seconds[batches / 2];
}

static double copy_rate; /* bytes read and written a second */

/* `variant`: of the kernel (variant.h). */
static void measure(const Row *row, int variant, cublasLtHandle_t blas) {
    static Bench b;
    const size_t mark = device_used;
    Spec in[MAX_OPERANDS], out[MAX_OPERANDS];
    b = (Bench){.attr = row->attr, .nin = parse_specs(row->in, in), .nout = parse_specs(row->out, out)};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!strcmp(functions[i].name, row->name)) b.kernel = functions[i].kernel;
    place(&b, 0, in, out);
    const size_t moved = least_bytes(&b, row->name, in), footprint = device_used - mark;
    b.copies = footprint > ROTATED_BYTES / 2 ? 2 : (int)(ROTATED_BYTES / (footprint + 1)) + 1;
    if (b.copies > MOST_COPIES) b.copies = MOST_COPIES;
    if (2 * footprint > (size_t)1 << (POOL_BYTES_LOG2 - 1)) b.copies = 1;
    for (int copy = 1; copy < b.copies; copy++) place(&b, copy, in, out);
    b.cx = (KCtx){.variant = variant, .blas = blas, .seed = 1, .learning_rate = 1e-4f, .loss_scale = 1};
    b.cx.workspace_bytes = cuda_k_workspace(K_CUDA, row->name, b.nout, b.out[0], b.nin, b.in[0], &b.attr);
    b.cx.workspace = device_alloc(b.cx.workspace_bytes);
    const KStep now = k_step(&b.cx, 0.9, 0.95);
    KStep *at = device_alloc(sizeof now);
    b.cx.now = at;
    check(cudaMemcpy(at, &now, sizeof now, cudaMemcpyHostToDevice), "upload");
    check(cudaDeviceSynchronize(), "fill");

    const double seconds = median_seconds(&b), work = flops(&b, row->name);
    printf("%-18s %-60.60s %9.1f us ", variant ? k_variant_name(variant) : row->name, row->in, seconds * 1e6);
    if (work > 0)
        printf("%8.1f TFLOP/s\n", work / seconds * 1e-12);
    else
        printf("%8.0f GB/s %5.1f%%\n", (double)moved / seconds * 1e-9,
               100 * (double)moved / seconds / copy_rate);
    fflush(stdout);
    device_used = mark;
}

/* A product whose weight is packed, in each of its variants. */
static void measure_ways(const Row *row, cublasLtHandle_t blas) {
    static Spec in[MAX_OPERANDS], out[MAX_OPERANDS];
    parse_specs(row->in, in);
    parse_specs(row->out, out);
    const KTensor of_out = tensor_of(&out[0]), of_in[] = {tensor_of(&in[0]), tensor_of(&in[1])};
    if (k_variant_family_of(K_CUDA, row->name, &of_out, of_in) != K_FAMILY_cuda_packed) {
        measure(row, K_VARIANT_NONE, blas);
        return;
    }
    for (int v = 1; v < K_VARIANTS; v++)
        if (k_variant_family(v) == K_FAMILY_cuda_packed && !k_variant_is_apart(v)) measure(row, v, blas);
}

static void measure_copy(void) {
    static Bench b;
    const size_t mark = device_used;
    b = (Bench){.copies = 1, .nin = 1, .nout = 1};
    b.in[0][0] = b.out[0][0] = (KTensor){.dtype = K_F32, .rank = 1, .dim = {1 << 28}};
    const size_t bytes = tensor_bytes(&b.in[0][0]);
    const Spec spec = {.letter = 'a'};
    b.in[0][0].data = device_alloc(bytes);
    b.out[0][0].data = device_alloc(bytes);
    fill(&spec, &b.in[0][0]);
    copy_rate = 2 * (double)bytes / median_seconds(&b);
    printf("copy of 1 GiB: %.0f GB/s read and written\n", copy_rate * 1e-9);
    device_used = mark;
}

int main(int argc, char **argv) {
    check(cudaMalloc((void **)&device_pool, (size_t)1 << POOL_BYTES_LOG2), "cudaMalloc");
    check(cudaEventCreate(&before), "event");
    check(cudaEventCreate(&after), "event");
    cublasLtHandle_t blas;
    if (cublasLtCreate(&blas) != CUBLAS_STATUS_SUCCESS) {
        fprintf(stderr, "bench_kernels: cublasLtCreate failed\n");
        return 1;
    }
    make_patterns();
    measure_copy();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (argc < 2 || strstr(rows[i].name, argv[1])) measure_ways(&rows[i], blas);
    return 0;
}
