/* Banks of shared memory: accesses whose passes are known are counted right; attention on tensor cores, and
 * products with 4-bit weights, have no conflict, in any of their kernels, and have them where their tiles are
 * not swizzled. Compiled so that every access shows (banks.cpp), once with the kernels and once, as PLANTED,
 * with kernels whose tiles lie as they come. */
#include "kernels/variant.h"
#include "kernels/attention_mma.h"
#include "kernels/matmul_packed.h"
#include "sim.h"

#include "cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

#ifndef PLANTED
#define PLANTED 0
#endif

enum { WARP = 32, SHARED_BYTES = 16 << 10 };

static int failures;
static void expect(bool fine, const char *what) {
    if (!fine) printf("FAILED: %s\n", what);
    failures += !fine;
}

/* ---- one access each of known cost: lane i reads element STRIDE i, or writes to it ---- */

template <class T, int STRIDE> static void reads(T *y) {
    K_SHARED(T, shared);
    y[threadIdx.x] = shared[threadIdx.x * STRIDE];
}
template <class T, int STRIDE> static void writes(T *y) {
    K_SHARED(T, shared);
    shared[threadIdx.x * STRIDE] = y[threadIdx.x];
}
/* Twice by the same place; half of the lanes come by it once more. */
static void in_a_loop(float *y) {
    K_SHARED(float, shared);
    const int times = threadIdx.x < WARP / 2 ? 3 : 2;
    float sum = 0;
    for (int i = 0; i < times; i++) sum += shared[threadIdx.x * 2 + (unsigned)i];
    y[threadIdx.x] = sum;
}
static void copies_of_rows(float *y) { /* eight lanes, 128 bytes apart */
    K_SHARED(float, shared);
    if (threadIdx.x < 8) k_copy_async(k_shared_address(shared + 32 * threadIdx.x), y, true);
    k_copy_commit();
    k_copy_wait<0>();
}

template <class T> static void count(void (*kernel)(T *), long want, const char *what) {
    alignas(16) T y[WARP] = {};
    sim_bank_conflicts();
    K_LAUNCH(kernel, dim3(1), WARP, SHARED_BYTES, NULL, y);
    const long found = sim_bank_conflicts();
    if (found != want) printf("%s: %ld conflicts, not %ld\n", what, found, want);
    expect(found == want, what);
}

static void check_counts(void) {
    count(reads<float, 1>, 0, "words beside each other");
    count(reads<float, 0>, 0, "one word for all");
    count(reads<float, 33>, 0, "words a bank and a row apart");
    count(reads<float, 2>, 1, "every second word");
    count(reads<float, 32>, 31, "words of one bank");
    count(writes<float, 32>, 31, "words of one bank, written");
    count(reads<uint16_t, 1>, 0, "two lanes a word");
    count(reads<uint16_t, 64>, 31, "halves of words of one bank");
    count(reads<float2, 1>, 0, "8 bytes beside each other");
    count(reads<float2, 2>, 2, "every second 8 bytes, a pass more for each 16 lanes");
    count(reads<uint4, 1>, 0, "16 bytes beside each other");
    count(writes<uint4, 2>, 4, "every second 16 bytes, a pass more for each 8 lanes");
    count(reads<uint4, 8>, 28, "16 bytes of the same banks");
    count(in_a_loop, 2, "a loop: 16 lanes of every second word are no conflict");
    count(copies_of_rows, 7, "copies to the same banks");
}

/* ---- attention ---- */

enum { BATCH = 1, TIME = 150, HEADS = 4, KV_HEADS = 2 };

static std::vector<uint16_t> numbers_of(size_t count, unsigned seed) {
    std::vector<uint16_t> rows(count);
    for (uint16_t &x : rows) {
        seed = seed * 1664525u + 1013904223u;
        x = __float2bfloat16_rn((float)(seed >> 16) / 32768.0f - 1).bits;
    }
    return rows;
}

static std::vector<uint16_t> rows_of(int heads, int width, unsigned seed) {
    return numbers_of((size_t)(BATCH * TIME * heads * width), seed);
}

/* Variants of the kernels, forwards and backwards, for heads of a width. */
static std::vector<int> variants_of(int width, bool forward) {
    std::vector<int> found;
    int wide = 0;
#define TAKE(most, is_forward, name)                                                                         \
    if (forward == is_forward && width <= most && (!wide || wide == most)) {                                 \
        wide = most;                                                                                         \
        found.push_back(K_VARIANT_##name);                                                                   \
    }
#define CUDA_ATTEND(when, family, name, most, ...)     TAKE(most, true, name)
#define CUDA_ATTEND_BWD(when, family, name, most, ...) TAKE(most, false, name)
#include "kernels/variant.def"
    return found;
}

/* Both ways, each in one variant; all results behind each other. */
static std::vector<uint16_t> attend(int width, int causal, bool documents, int forward_variant,
                                    int backward_variant) {
    auto q = rows_of(HEADS, width, 1), k = rows_of(KV_HEADS, width, 2), v = rows_of(KV_HEADS, width, 3);
    auto dout = rows_of(HEADS, width, 4), o = q, dq = q, dk = k, dv = k;
    std::vector<float> lse(BATCH * HEADS * TIME), delta(lse);
    std::vector<int32_t> first(BATCH * TIME), last(first);
    for (int t = 0; t < TIME; t++) { /* documents of 47 tokens */
        first[(size_t)t] = t / 47 * 47;
        last[(size_t)t] = t / 47 * 47 + 46 < TIME ? t / 47 * 47 + 46 : TIME - 1;
    }
    const auto rows = [&](std::vector<uint16_t> &x, int heads) {
        return AttendRows{x.data(), (int64_t)heads * width};
    };
    AttendMma p = {.q = rows(q, HEADS),
                   .k = rows(k, KV_HEADS),
                   .v = rows(v, KV_HEADS),
                   .o = rows(o, HEADS),
                   .dout = rows(dout, HEADS),
                   .dq = rows(dq, HEADS),
                   .dk = rows(dk, KV_HEADS),
                   .dv = rows(dv, KV_HEADS),
                   .lse = lse.data(),
                   .delta = delta.data(),
                   .batch = BATCH,
                   .time = TIME,
                   .heads = HEADS,
                   .kv_heads = KV_HEADS,
                   .width = width,
                   .causal = causal,
                   .scale = 0.125f,
                   .sight = {documents ? first.data() : NULL, documents ? last.data() : NULL},
                   .variant = forward_variant};
    k_attend_mma(NULL, &p);
    const long forward = sim_bank_conflicts();
    p.variant = backward_variant;
    k_attend_mma_bwd(NULL, &p);
    const long backward = sim_bank_conflicts();
    char what[160];
    snprintf(what, sizeof what, "attention, heads of %d%s%s: %ld conflicts forward, %ld backward (%s, %s)",
             width, causal ? ", causal" : "", documents ? ", documents" : "", forward, backward,
             k_variant_name(forward_variant), k_variant_name(backward_variant));
    expect(PLANTED ? forward > 0 && backward > 0 : forward == 0 && backward == 0, what);
    for (const auto *result : {&dq, &dk, &dv}) o.insert(o.end(), result->begin(), result->end());
    return o;
}

/* ---- products with 4-bit weights ---- */

enum { ROWS = 70, OUTPUTS = 136, INPUTS = 128 };

static std::vector<uint16_t> multiply(int dtype, int backward, int variant) {
    const int depth = backward ? OUTPUTS : INPUTS, columns = backward ? INPUTS : OUTPUTS;
    auto x = numbers_of((size_t)(ROWS * depth), 5), y = numbers_of((size_t)(ROWS * columns), 6);
    auto w =
        numbers_of((size_t)k_storage_bytes(dtype, OUTPUTS * INPUTS) / 2, 7); /* scales are numbers, too */
    const KTensor tx = {x.data(), K_BF16, 2, {ROWS, depth}, 0},
                  ty = {y.data(), K_BF16, 2, {ROWS, columns}, 0},
                  tw = {w.data(), dtype, 2, {OUTPUTS, INPUTS}, 0};
    KCtx cx = {};
    cx.variant = variant;
    k_product_packed(&cx, &tx, &tw, backward, NULL, 0, NULL, &ty);
    const long found = sim_bank_conflicts();
    char what[120];
    snprintf(what, sizeof what, "product with a 4-bit weight%s: %ld conflicts (%s)",
             backward ? ", backward" : "", found, k_variant_name(variant));
    expect(PLANTED ? found > 0 : found == 0, what);
    return y;
}

int main() {
    check_counts();
    unsigned sum = 0;
    for (int dtype : {K_NF4, K_NF4_F32})
        for (int backward : {0, 1})
#define CUDA_WEIGHT(when, name, ...)                                                                         \
    for (uint16_t x : multiply(dtype, backward, K_VARIANT_##name)) sum = sum * 31 + x;
        {
#include "kernels/variant.def"
        }
    for (int width : {8, 64, 72, 128})
        for (int causal : {0, 1})
            for (bool documents : {false, true}) {
                const auto forward = variants_of(width, true), backward = variants_of(width, false);
                for (size_t i = 0; i < forward.size() || i < backward.size(); i++)
                    for (uint16_t x : attend(width, causal, documents, forward[i % forward.size()],
                                             backward[i % backward.size()]))
                        sum = sum * 31 + x;
            }
    printf("%s; results %08x\n", failures ? "failed" : "ok", sum);
    return failures != 0;
}
