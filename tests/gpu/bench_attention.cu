/* Times attention on tensor cores at the shapes of common models, kernel by kernel, and checks it against the
 * kernels on f32 units with the same inputs.
 *
 *     nvcc -std=c++20 -O3 -arch=sm_90 -Ikernels -o bench_attention kernels/attention.cu \
 *         tests/gpu/bench_attention.cu
 *     ./bench_attention [quick]        # quick: only the tiles that programs use
 *
 * A line a kernel: tile (rows a block owns x rows walked at a time / warps / blocks a multiprocessor),
 * microseconds, TFLOP/s of what attention needs (causal: 2 B H T^2 E forward, 2.5 times that backward; dk, dv
 * and dq are given their own products: 4 and 3 of a forward's two) and the relative error of what it wrote.
 */
#include "attention_mma.cu"

#include <vector>

struct Shape {
    int batch, heads, kv_heads, time, width, causal;
};
static const Shape shapes[] = {
    {16, 12, 12, 1024, 64, 1}, {4, 32, 8, 4096, 64, 1}, {1, 32, 8, 4096, 128, 1},
    {2, 16, 16, 8192, 128, 1}, {2, 6, 2, 1000, 40, 0},  {2, 6, 2, 1000, 104, 1},
};

/* ---- data ---- */

/* Numbers of about unit variance, the same every time. */
__global__ void fill_kernel(uint16_t *half, float *whole, int64_t count, uint32_t seed) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    uint64_t x = ((uint64_t)seed << 40) + (uint64_t)i + 1;
    float sum = -2;
    for (int draw = 0; draw < 4; draw++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        x ^= x >> 29;
        sum += (float)(x >> 40) * 0x1p-24f;
    }
    half[i] = (uint16_t)k_bf16_bits(sum * 1.7f);
    whole[i] = k_from_bits((uint32_t)half[i] << 16);
}
/* squares[0] += |half - whole|^2, squares[1] += |whole|^2 */
__global__ void compare_kernel(const uint16_t *half, const float *whole, int64_t count, double *squares) {
    double wrong = 0, all = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x) {
        const double x = k_from_bits((uint32_t)half[i] << 16), y = whole[i];
        wrong += (x - y) * (x - y);
        all += y * y;
    }
    atomicAdd(&squares[0], wrong);
    atomicAdd(&squares[1], all);
}

static void *device_bytes(size_t bytes) {
    void *p = NULL;
    k_cuda_check(cudaMalloc(&p, bytes), "cudaMalloc");
    return p;
}
struct Pair { /* a tensor in bf16, and what it should be in f32 */
    uint16_t *half;
    float *whole;
    int64_t count;
};
static Pair pair_of(int64_t count) {
    return {(uint16_t *)device_bytes((size_t)count * 2), (float *)device_bytes((size_t)count * 4), count};
}
static void fill(const Pair &x, uint32_t seed) {
    fill_kernel<<<(unsigned)((x.count + 255) / 256), 256>>>(x.half, x.whole, x.count, seed);
}
static double error_of(const Pair &x) {
    double *squares = (double *)device_bytes(16), host[2];
    cudaMemset(squares, 0, 16);
    compare_kernel<<<512, 256>>>(x.half, x.whole, x.count, squares);
    k_cuda_check(cudaMemcpy(host, squares, 16, cudaMemcpyDeviceToHost), "compare");
    cudaFree(squares);
    return sqrt(host[0] / host[1]);
}

/* ---- one shape ---- */

struct Bench {
    Shape shape;
    AttendMma p;
    Pair q, k, v, o, dout, dq, dk, dv;
    double forward_flops;
    bool quick;
};
static bool failed;

typedef void Launcher(void *stream, const AttendMma *p);

/* Seconds a call: the best of three stretches of at least 10 ms, after one to warm up. */
static double seconds_of(Launcher *launcher, const AttendMma *p) {
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    float best = 0;
    int calls = 1;
    for (int stretch = 0; stretch < 4; stretch++) {
        float milliseconds;
        cudaEventRecord(begin);
        for (int i = 0; i < calls; i++) launcher(NULL, p);
        cudaEventRecord(end);
        k_cuda_check(cudaEventSynchronize(end), "timing");
        cudaEventElapsedTime(&milliseconds, begin, end);
        milliseconds /= (float)calls;
        if (stretch == 0)
            calls = (int)k_cuda_clamp((int64_t)(10 / milliseconds), 2, 200);
        else if (stretch == 1 || milliseconds < best)
            best = milliseconds;
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return best / 1e3;
}

static void time_one(const Bench *b, const char *name, const char *tile, Launcher *launcher, double flops,
                     const std::vector<Pair> &written) {
    for (const Pair &x : written) cudaMemset(x.half, 0xff, (size_t)x.count * 2);
    const double seconds = seconds_of(launcher, &b->p);
    printf("  %-8s %-18s %9.1f us", name, tile, seconds * 1e6);
    if (flops > 0) printf(" %7.1f TFLOP/s", flops / seconds / 1e12);
    for (const Pair &x : written) {
        const double error = error_of(x);
        printf("  error %.2e", error);
        if (!(error < 1e-2)) printf(" FAILED"), failed = true;
    }
    printf("\n");
    fflush(stdout);
}

template <int WIDTH, int QUERIES, int KEYS, int WARPS, int RESIDENT>
static void time_forward(const Bench *b) {
    char tile[40];
    snprintf(tile, sizeof tile, "%dx%d/%d/%d", QUERIES, KEYS, WARPS, RESIDENT);
    time_one(b, "forward", tile, forward<WIDTH, QUERIES, KEYS, WARPS, RESIDENT>, b->forward_flops, {b->o});
}
template <int WIDTH, int KEYS, int QUERIES, int SPAN, int WARPS, int RESIDENT>
static void time_dkv(const Bench *b) {
    char tile[40];
    snprintf(tile, sizeof tile, "%dx%d:%d/%d/%d", KEYS, QUERIES, SPAN, WARPS, RESIDENT);
    time_one(b, "dk dv", tile, backward_kv<WIDTH, KEYS, QUERIES, SPAN, WARPS, RESIDENT>, b->forward_flops * 2,
             {b->dk, b->dv});
}
template <int WIDTH, int QUERIES, int KEYS, int SPAN, int WARPS, int RESIDENT>
static void time_dq(const Bench *b) {
    char tile[40];
    snprintf(tile, sizeof tile, "%dx%d:%d/%d/%d", QUERIES, KEYS, SPAN, WARPS, RESIDENT);
    time_one(b, "dq", tile, backward_q<WIDTH, QUERIES, KEYS, SPAN, WARPS, RESIDENT>, b->forward_flops * 1.5,
             {b->dq});
}

static KTensor tensor_of(const Bench *b, const float *data, int heads) {
    KTensor t = {(void *)data, K_F32, 4, {b->shape.batch, b->shape.time, heads, b->shape.width}};
    return t;
}
/* o, dq, dk, dv in f32, by the kernels on f32 units. */
static void reference(const Bench *b) {
    const Shape *s = &b->shape;
    const int64_t rows = (int64_t)s->batch * s->time * s->heads;
    KTensor q = tensor_of(b, b->q.whole, s->heads), k = tensor_of(b, b->k.whole, s->kv_heads);
    KTensor v = tensor_of(b, b->v.whole, s->kv_heads), dout = tensor_of(b, b->dout.whole, s->heads);
    KTensor lse = {device_bytes((size_t)rows * 4), K_F32, 3, {s->batch, s->heads, s->time}};
    KTensor out[2] = {tensor_of(b, b->o.whole, s->heads), lse}, in[3] = {q, k, v};
    KTensor back_in[6] = {dout, q, k, v, out[0], lse};
    KTensor back_out[3] = {tensor_of(b, b->dq.whole, s->heads), tensor_of(b, b->dk.whole, s->kv_heads),
                           tensor_of(b, b->dv.whole, s->kv_heads)};
    KAttr attr = {};
    KCtx cx = {};
    attr.causal = s->causal;
    cx.workspace_bytes = (size_t)rows * 4;
    cx.workspace = device_bytes(cx.workspace_bytes);
    k_attend(&cx, 2, out, 3, in, &attr);
    k_attend_bwd(&cx, 3, back_out, 6, back_in, &attr);
    k_cuda_check(cudaDeviceSynchronize(), "f32 attention");
    cudaFree(cx.workspace);
    cudaFree(lse.data);
}

static void time_kernels(const Bench *b) {
    const double flops = b->forward_flops;
    time_one(b, "forward", "as used", k_attend_mma, flops, {b->o});
    time_one(b, "backward", "as used", k_attend_mma_bwd, flops * 2.5, {b->dq, b->dk, b->dv});
    if (b->quick) return;
    if (b->shape.width <= 64) {
        time_forward<64, 128, 64, 4, 2>(b);
        time_forward<64, 128, 32, 4, 2>(b);
        time_forward<64, 64, 64, 4, 3>(b);
        time_forward<64, 64, 64, 4, 4>(b);
        time_dkv<64, 128, 32, 32, 4, 2>(b);
        time_dkv<64, 128, 16, 16, 4, 2>(b);
        time_dkv<64, 128, 32, 16, 4, 2>(b);
        time_dkv<64, 128, 64, 16, 4, 2>(b);
        time_dkv<64, 128, 64, 32, 4, 2>(b);
        time_dkv<64, 64, 64, 64, 4, 2>(b);
        time_dq<64, 128, 64, 64, 4, 2>(b);
        time_dq<64, 128, 64, 32, 4, 2>(b);
        time_dq<64, 128, 32, 32, 4, 2>(b);
        time_dq<64, 64, 64, 64, 4, 2>(b);
    } else {
        time_forward<128, 64, 64, 4, 2>(b);
        time_forward<128, 128, 64, 4, 1>(b);
        time_forward<128, 128, 32, 4, 2>(b);
        time_forward<128, 128, 64, 8, 1>(b);
        time_dkv<128, 64, 64, 64, 4, 1>(b);
        time_dkv<128, 64, 64, 32, 4, 1>(b);
        time_dkv<128, 64, 32, 32, 4, 2>(b);
        time_dkv<128, 64, 64, 16, 4, 1>(b);
        time_dkv<128, 128, 32, 32, 8, 1>(b);
        time_dq<128, 128, 32, 32, 4, 1>(b);
        time_dq<128, 128, 32, 16, 4, 1>(b);
        time_dq<128, 64, 64, 64, 4, 2>(b);
        time_dq<128, 64, 64, 32, 4, 2>(b);
    }
}

static void run(const Shape &s, bool quick) {
    const int64_t tokens = (int64_t)s.batch * s.time, rows = tokens * s.heads;
    const int64_t all = rows * s.width, kv_all = tokens * s.kv_heads * s.width;
    Bench b = {};
    b.shape = s;
    b.quick = quick;
    b.forward_flops = 4.0 * s.batch * s.heads * s.time * (double)s.time * s.width / (s.causal ? 2 : 1);
    b.q = pair_of(all), b.o = pair_of(all), b.dout = pair_of(all), b.dq = pair_of(all);
    b.k = pair_of(kv_all), b.v = pair_of(kv_all), b.dk = pair_of(kv_all), b.dv = pair_of(kv_all);
    fill(b.q, 1), fill(b.k, 2), fill(b.v, 3), fill(b.dout, 4);
    const int64_t stride = (int64_t)s.heads * s.width, kv_stride = (int64_t)s.kv_heads * s.width;
    b.p = {{b.q.half, stride},    {b.k.half, kv_stride}, {b.v.half, kv_stride},  {b.o.half, stride},
           {b.dout.half, stride}, {b.dq.half, stride},   {b.dk.half, kv_stride}, {b.dv.half, kv_stride}};
    b.p.lse = (float *)device_bytes((size_t)rows * 4);
    b.p.delta = (float *)device_bytes((size_t)rows * 4);
    b.p.batch = s.batch, b.p.time = s.time, b.p.heads = s.heads, b.p.kv_heads = s.kv_heads;
    b.p.width = s.width, b.p.causal = s.causal, b.p.scale = (float)(1 / sqrt((double)s.width));
    printf("B %d H %d K %d T %d E %d%s\n", s.batch, s.heads, s.kv_heads, s.time, s.width,
           s.causal ? " causal" : "");
    reference(&b);
    time_kernels(&b);
    for (const Pair &x : {b.q, b.k, b.v, b.o, b.dout, b.dq, b.dk, b.dv}) cudaFree(x.half), cudaFree(x.whole);
    cudaFree(b.p.lse), cudaFree(b.p.delta);
}

int main(int argc, char **argv) {
    const bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    cudaDeviceProp device;
    k_cuda_check(cudaGetDeviceProperties(&device, 0), "no device");
    printf("%s\n", device.name);
    for (const Shape &s : shapes) run(s, quick);
    k_cuda_check(cudaDeviceSynchronize(), "end");
    printf(failed ? "FAILED\n" : "ok\n");
    return failed;
}
