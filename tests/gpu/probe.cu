/* What a card gives to any program: memory at each stage, copies to host memory and back, and cuBLASLt's
 * products at the shapes of our programs, by workspace, vocabulary and leading dimension. Figures to hold the
 * programs' own against.
 *
 *     nvcc -O2 -std=c++17 -arch=sm_90 -o probe tests/gpu/probe.cu -lcublasLt
 *     ./probe PART.. SECONDS
 *
 *     memory     after the context, cublasLtCreate, the operands, the first kernel, the first products
 *     copies     each way alone, both, both beside products, and on the device
 *     products   the heuristic's first algorithm with 1 MiB of workspace, as programs take it
 *     best       the fastest of its first eight, with 1, 4 and 32 MiB
 *
 * Lines of values between commas; no part begins anything after SECONDS. */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static std::chrono::steady_clock::time_point begun;
static double limit_seconds = 60;
static bool late() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() > limit_seconds;
}

static void check(int status, const char *what) {
    if (!status) return;
    printf("error,%s,%d\n", what, status);
    exit(status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ? 5 : 1);
}

static void say_memory(const char *when) {
    size_t free_bytes, all_bytes;
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo");
    printf("memory,%s,total MiB,%.1f,used MiB,%.1f\n", when, (double)all_bytes / 0x1p20,
           (double)(all_bytes - free_bytes) / 0x1p20);
    fflush(stdout);
}

/* ---- operands ---- */

static const int64_t MOST_NUMBERS = (int64_t)16384 * 128256;
static const size_t MOST_WORKSPACE = 32 << 20;
static __nv_bfloat16 *a, *b, *c;
static void *workspace;
static cublasLtHandle_t blas;

/* Between -1 and 1; equal numbers would draw less power. */
__global__ void fill(__nv_bfloat16 *p, int64_t count, unsigned seed) {
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x) {
        uint64_t z = (uint64_t)(i + 1) * 0x9E3779B97F4A7C15ull + seed;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z ^= z >> 27;
        p[i] = __float2bfloat16((float)(z & 0xffff) / 32768.0f - 1.0f);
    }
}

static void open_card() {
    cudaDeviceProp card;
    int driver, runtime;
    check(cudaGetDeviceProperties(&card, 0), "device 0");
    check(cudaDriverGetVersion(&driver), "driver");
    check(cudaRuntimeGetVersion(&runtime), "runtime");
    printf("card,%s,capability,%d.%d,multiprocessors,%d,L2 MB,%.1f,driver,%d,runtime,%d,cublasLt,%zu\n",
           card.name, card.major, card.minor, card.multiProcessorCount, card.l2CacheSize / 1e6, driver,
           runtime, cublasLtGetVersion());
    check(cudaFree(nullptr), "context");
    say_memory("context");
    check(cublasLtCreate(&blas), "cublasLtCreate");
    say_memory("cublasLtCreate");
    check(cudaMalloc(&a, MOST_NUMBERS * 2), "operands");
    check(cudaMalloc(&b, MOST_NUMBERS * 2), "operands");
    check(cudaMalloc(&c, MOST_NUMBERS * 2), "operands");
    check(cudaMalloc(&workspace, MOST_WORKSPACE), "workspace");
    say_memory("operands");
    fill<<<4096, 256>>>(a, MOST_NUMBERS, 1);
    fill<<<4096, 256>>>(b, MOST_NUMBERS, 2);
    check(cudaDeviceSynchronize(), "the first kernel");
    say_memory("first kernel");
}

/* ---- products ---- */

/* y[m, n] = x[m, k] w[n, k]^T, rows of y `pitch` apart; also dx = dy w and dw = dy^T x. */
struct Shape {
    const char *name;
    int64_t m, n, k, pitch;
};
static const Shape gpt2[] = {
    {"gpt2 qkv", 16384, 2304, 768, 2304},
    {"gpt2 proj", 16384, 768, 768, 768},
    {"gpt2 fc", 16384, 3072, 768, 3072},
    {"gpt2 fc2", 16384, 768, 3072, 768},
    {"gpt2 head V 50257", 16384, 50257, 768, 50257},
    {"gpt2 head V 50257 rows 50304", 16384, 50257, 768, 50304},
    {"gpt2 head V 50264", 16384, 50264, 768, 50264},
    {"gpt2 head V 50304", 16384, 50304, 768, 50304},
};
static const Shape llama[] = {
    {"1b q", 16384, 2048, 2048, 2048},        {"1b kv", 16384, 512, 2048, 512},
    {"1b gate", 16384, 8192, 2048, 8192},     {"1b down", 16384, 2048, 8192, 2048},
    {"1b head", 16384, 128256, 2048, 128256}, {"8b q", 4096, 4096, 4096, 4096},
    {"8b kv", 4096, 1024, 4096, 1024},        {"8b gate", 4096, 14336, 4096, 14336},
    {"8b down", 4096, 4096, 14336, 4096},     {"8b lora A", 4096, 32, 4096, 32},
    {"8b lora B", 4096, 4096, 32, 4096},
};
enum Which { Y, DX, DW };
static const char *const which_name[] = {"y", "dx", "dw"};

struct Product {
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t a, b, c;
};

/* Row-major matrices are the library's, transposed. */
static Product make_product(const Shape &s, Which which) {
    Product p;
    check(cublasLtMatmulDescCreate(&p.matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor");
    cublasOperation_t ta = which == Y ? CUBLAS_OP_T : CUBLAS_OP_N,
                      tb = which == DW ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(p.matmul, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta), "transpose");
    check(cublasLtMatmulDescSetAttribute(p.matmul, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb), "transpose");
    const int64_t of_x[] = {s.k, s.m, s.k}, of_w[] = {s.k, s.n, s.k}, of_y[] = {s.n, s.m, s.pitch};
    const int64_t *first = which == DW ? of_x : of_w, *second = which == Y ? of_x : of_y,
                  *result = which == Y    ? of_y
                            : which == DX ? of_x
                                          : of_w;
    check(cublasLtMatrixLayoutCreate(&p.a, CUDA_R_16BF, first[0], first[1], first[2]), "layout");
    check(cublasLtMatrixLayoutCreate(&p.b, CUDA_R_16BF, second[0], second[1], second[2]), "layout");
    check(cublasLtMatrixLayoutCreate(&p.c, CUDA_R_16BF, result[0], result[1], result[2]), "layout");
    return p;
}
static void free_product(Product &p) {
    cublasLtMatrixLayoutDestroy(p.a);
    cublasLtMatrixLayoutDestroy(p.b);
    cublasLtMatrixLayoutDestroy(p.c);
    cublasLtMatmulDescDestroy(p.matmul);
}

/* Milliseconds a run, over about 20; negative: it fails. */
static float run_milliseconds(const Product &p, const cublasLtMatmulAlgo_t &algorithm, size_t bytes) {
    const float one = 1, zero = 0;
    static cudaEvent_t before, after;
    if (!before) {
        check(cudaEventCreate(&before), "event");
        check(cudaEventCreate(&after), "event");
    }
    float milliseconds = 0;
    for (int round = 0, runs = 2; round < 2; round++) { /* the first loads code, and says how many fit */
        check(cudaEventRecord(before), "event");
        for (int i = 0; i < runs; i++)
            if (cublasLtMatmul(blas, p.matmul, &one, a, p.a, b, p.b, &zero, c, p.c, c, p.c, &algorithm,
                               workspace, bytes, nullptr))
                return -1;
        check(cudaEventRecord(after), "event");
        check(cudaEventSynchronize(after), "product");
        check(cudaEventElapsedTime(&milliseconds, before, after), "event");
        milliseconds /= (float)runs;
        runs = milliseconds > 0.1f ? (int)(20 / milliseconds) + 1 : 200;
    }
    return milliseconds;
}

/* The first `wanted` algorithms of the heuristic. */
static void say_product(const Shape &s, Which which, size_t bytes, int wanted) {
    enum { MOST = 8 };
    Product p = make_product(s, which);
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t result[MOST];
    int found = 0, best_at = 0;
    check(cublasLtMatmulPreferenceCreate(&preference), "preference");
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                               sizeof bytes),
          "preference");
    cublasLtMatmulAlgoGetHeuristic(blas, p.matmul, p.a, p.b, p.c, p.c, preference, wanted, result, &found);
    float first = -1, best = -1;
    for (int i = 0; i < found && !(i && late()); i++) {
        float milliseconds = run_milliseconds(p, result[i].algo, bytes);
        if (milliseconds <= 0) continue;
        if (i == 0) first = milliseconds;
        if (best < 0 || milliseconds < best) best = milliseconds, best_at = i;
    }
    const double gflop = 2e-9 * (double)s.m * (double)s.n * (double)s.k;
    if (best > 0)
        printf("product,%s,%s,%lld x %lld x %lld,workspace MiB,%zu,first us,%.1f,TFLOP/s,%.1f,best of "
               "%d,%d,us,%.1f,"
               "TFLOP/s,%.1f\n",
               s.name, which_name[which], (long long)s.m, (long long)s.n, (long long)s.k, bytes >> 20,
               first * 1e3, first > 0 ? gflop / first : 0, found, best_at, best * 1e3, gflop / best);
    else
        printf("product,%s,%s,no algorithm\n", s.name, which_name[which]);
    fflush(stdout);
    cublasLtMatmulPreferenceDestroy(preference);
    free_product(p);
}
template <int COUNT> static void say_products(const Shape (&list)[COUNT], size_t bytes, int wanted) {
    for (const Shape &s : list)
        for (Which which : {Y, DX, DW})
            if (!late()) say_product(s, which, bytes, wanted);
}

/* ---- copies ---- */

static void say_copies() {
    enum { RUNS = 12 };
    const size_t bytes = 256 << 20;
    char *host;
    cudaStream_t in, out;
    cudaEvent_t e[4];
    check(cudaHostAlloc((void **)&host, 2 * bytes, cudaHostAllocDefault), "pinned memory");
    check(cudaStreamCreateWithFlags(&in, cudaStreamNonBlocking), "stream");
    check(cudaStreamCreateWithFlags(&out, cudaStreamNonBlocking), "stream");
    for (cudaEvent_t &event : e) check(cudaEventCreate(&event), "event");
    static const struct {
        const char *name;
        bool in, out, products;
    } way[] = {{"in", true, false, false},
               {"out", false, true, false},
               {"both", true, true, false},
               {"both beside products", true, true, true}};
    for (const auto &w : way) {
        if (late()) return;
        float in_ms = 0, out_ms = 0;
        char *device = (char *)(c + MOST_NUMBERS / 2); /* products of the shape below end before it */
        check(cudaDeviceSynchronize(), "copies");
        if (w.in) {
            check(cudaEventRecord(e[0], in), "event");
            for (int i = 0; i < RUNS; i++)
                check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, in), "copy");
            check(cudaEventRecord(e[1], in), "event");
        }
        if (w.out) {
            check(cudaEventRecord(e[2], out), "event");
            for (int i = 0; i < RUNS; i++)
                check(cudaMemcpyAsync(host + bytes, device + bytes, bytes, cudaMemcpyDeviceToHost, out),
                      "copy");
            check(cudaEventRecord(e[3], out), "event");
        }
        if (w.products) say_product({"8b gate beside copies", 4096, 14336, 4096, 14336}, Y, 1 << 20, 1);
        check(cudaDeviceSynchronize(), "copies");
        if (w.in) check(cudaEventElapsedTime(&in_ms, e[0], e[1]), "event");
        if (w.out) check(cudaEventElapsedTime(&out_ms, e[2], e[3]), "event");
        printf("copy,%s,in GB/s,%.1f,out GB/s,%.1f\n", w.name, w.in ? RUNS * (double)bytes / in_ms / 1e6 : 0,
               w.out ? RUNS * (double)bytes / out_ms / 1e6 : 0);
        fflush(stdout);
    }
    float ms;
    check(cudaMemcpyAsync(c, a, MOST_NUMBERS * 2, cudaMemcpyDeviceToDevice), "copy");
    check(cudaEventRecord(e[0]), "event");
    for (int i = 0; i < 4; i++)
        check(cudaMemcpyAsync(c, a, MOST_NUMBERS * 2, cudaMemcpyDeviceToDevice), "copy");
    check(cudaEventRecord(e[1]), "event");
    check(cudaEventSynchronize(e[1]), "copy");
    check(cudaEventElapsedTime(&ms, e[0], e[1]), "event");
    printf("copy,on the device,read and written GB/s,%.0f\n", 4 * 4.0 * (double)MOST_NUMBERS / ms / 1e6);
    fflush(stdout);
}

int main(int argc, char **argv) {
    begun = std::chrono::steady_clock::now();
    if (argc < 3 || (limit_seconds = atof(argv[argc - 1])) <= 0) {
        fprintf(stderr, "usage: probe memory|copies|products|best.. SECONDS\n");
        return 2;
    }
    open_card();
    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "memory")) {
            for (const Shape &s : gpt2)
                for (Which which : {Y, DX, DW}) say_product(s, which, 1 << 20, 1);
            say_memory("products of gpt2");
        } else if (!strcmp(argv[i], "copies")) {
            say_copies();
        } else if (!strcmp(argv[i], "products")) {
            say_products(llama, 1 << 20, 1);
            say_memory("products of Llama");
        } else if (!strcmp(argv[i], "best")) {
            for (size_t mib : {1, 32, 4}) {
                say_products(gpt2, mib << 20, 8);
                say_products(llama, mib << 20, 8);
            }
        } else {
            fprintf(stderr, "probe: there is no part '%s'\n", argv[i]);
            return 2;
        }
    }
    printf("done,%s\n", late() ? "out of time" : "all");
    return 0;
}
