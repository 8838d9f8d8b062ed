/* Linear layers, attention and the loss at sizes that cross every tile and depth chunk, against sums in
 * double: all mixes of f32 and bf16, accumulation modes, and the same bits for other thread counts and
 * addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/host.h"

#include <omp.h>
#include <stdlib.h>

enum { SHIFT_BYTES = 2 * K_ALIGN };

static double uniform(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24) - 0.5;
}

static void *room(size_t bytes) {
    void *p = aligned_alloc(K_ALIGN, (bytes + SHIFT_BYTES + K_ALIGN - 1) / K_ALIGN * K_ALIGN);
    assert_non_null(p);
    return p;
}

/* Random numbers, or NaN for an output. */
static KTensor tensor(int dtype, int random, int rank, const int64_t *dim) {
    KTensor t = {.dtype = dtype, .rank = rank};
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    t.data = room((size_t)k_count(&t) * k_element_bytes(dtype));
    uint32_t state = (uint32_t)random;
    for (int64_t i = 0; i < k_count(&t); i++) k_put(&t, i, random ? (float)uniform(&state) : NAN);
    return t;
}
#define TENSOR(dtype, random, ...)                                                                           \
    tensor(dtype, random, (int)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static size_t bytes_of(const KTensor *t) {
    return (size_t)k_count(t) * k_element_bytes(t->dtype);
}

static void call(KFunction *kernel, const char *name, int nout, const KTensor *out, int nin,
                 const KTensor *in, KAttr attr, int64_t micro) {
    KCtx cx = {.micro = micro, .loss_scale = 0.25f};
    cx.workspace_bytes = k_workspace(K_HOST, name, nout, out, nin, in, &attr);
    cx.workspace = room(cx.workspace_bytes);
    memset(cx.workspace, 0xff, cx.workspace_bytes);
    kernel(&cx, nout, out, nin, in, &attr);
    free(cx.workspace);
}

static void close_to(const KTensor *t, int64_t i, double want, double size) {
    const double got = (double)k_get(t, i),
                 tolerance = size * 2e-6 + (t->dtype == K_BF16 ? fabs(want) / 255 : 0);
    if (!(fabs(got - want) <= tolerance)) fail_msg("element %ld: %.9g, want %.9g", (long)i, got, want);
}

/* dx = factor dy w + add, where `add` lies and elsewhere; in f32 with the bits of the product and a sum. */
static void check_added(const KTensor *dy, const KTensor *w, int type, double factor) {
    const int64_t rows = dy->dim[0], out = dy->dim[1], in = w->dim[1];
    KTensor add = TENSOR(type, 6, rows, in), apart = TENSOR(type, 0, rows, in),
            onto = TENSOR(type, 6, rows, in), alone = TENSOR(type, 0, rows, in);
    const KAttr attr = {.factor = factor};
    call(k_linear_bwd_x, "linear_bwd_x", 1, &alone, 2, (KTensor[]){*dy, *w}, attr, 0);
    call(k_linear_bwd_x, "linear_bwd_x", 1, &apart, 3, (KTensor[]){*dy, *w, add}, attr, 0);
    call(k_linear_bwd_x, "linear_bwd_x", 1, &onto, 3, (KTensor[]){*dy, *w, onto}, attr, 0);
    assert_memory_equal(onto.data, apart.data, bytes_of(&apart));
    for (int64_t i = 0; i < rows * in; i++) {
        double sum = 0;
        for (int64_t o = 0; o < out; o++)
            sum += (double)k_get(dy, i / in * out + o) * (double)k_get(w, o * in + i % in);
        if (factor != 0) sum *= factor;
        close_to(&apart, i, sum + (double)k_get(&add, i), sqrt((double)out));
        if (type == K_F32) assert_true(k_get(&apart, i) == k_get(&alone, i) + k_get(&add, i));
    }
    free(add.data), free(apart.data), free(onto.data), free(alone.data);
}

/* y = x w^T + bias, dx = dy w, dw = dy^T x (+ old), by definition. */
static void check_linear(int64_t rows, int64_t in, int64_t out, int x_type, int w_type, int y_type) {
    KTensor x = TENSOR(x_type, 1, rows, in), w = TENSOR(w_type, 2, out, in), bias = TENSOR(K_F32, 3, out);
    KTensor y = TENSOR(y_type, 0, rows, out), dx = TENSOR(x_type, 0, rows, in),
            dy = TENSOR(y_type, 4, rows, out);
    call(k_linear, "linear", 1, &y, 3, (KTensor[]){x, w, bias}, (KAttr){.acc = 0}, 0);
    call(k_linear_bwd_x, "linear_bwd_x", 1, &dx, 2, (KTensor[]){dy, w}, (KAttr){.acc = 0}, 0);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = (double)k_get(&bias, o);
            for (int64_t i = 0; i < in; i++)
                sum += (double)k_get(&x, r * in + i) * (double)k_get(&w, o * in + i);
            close_to(&y, r * out + o, sum, sqrt((double)in));
        }
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++)
                sum += (double)k_get(&dy, r * out + o) * (double)k_get(&w, o * in + i);
            close_to(&dx, r * in + i, sum, sqrt((double)out));
        }
    }
    check_added(&dy, &w, x_type, 0);
    check_added(&dy, &w, x_type, 0.25);
    for (int64_t acc = 0; acc < 3; acc++)
        for (int64_t micro = 0; micro < 2; micro++) {
            const int adds = acc == 1 || (acc == 2 && micro > 0);
            KTensor old = TENSOR(w_type, 5, out, in), dw = TENSOR(w_type, adds ? 5 : 0, out, in);
            call(k_linear_bwd_w, "linear_bwd_w", 1, &dw, 3, (KTensor[]){dy, x, dw}, (KAttr){.acc = acc},
                 micro);
            for (int64_t o = 0; o < out; o++)
                for (int64_t i = 0; i < in; i++) {
                    double sum = adds ? (double)k_get(&old, o * in + i) : 0;
                    for (int64_t r = 0; r < rows; r++)
                        sum += (double)k_get(&dy, r * out + o) * (double)k_get(&x, r * in + i);
                    close_to(&dw, o * in + i, sum, sqrt((double)rows));
                }
            free(old.data), free(dw.data);
        }
    free(x.data), free(w.data), free(bias.data), free(y.data), free(dx.data), free(dy.data);
}

static void linear_shapes(void **state) {
    (void)state;
    static const int64_t shape[][3] = {{1, 1, 1},      {3, 17, 50},   {37, 300, 49},
                                       {270, 33, 130}, {5, 513, 400}, {65, 64, 769}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        check_linear(shape[i][0], shape[i][1], shape[i][2], K_F32, K_F32, K_F32);
}

static void linear_types(void **state) {
    (void)state;
    for (int mix = 1; mix < 8; mix++)
        check_linear(29, 270, 67, mix & 1 ? K_BF16 : K_F32, mix & 2 ? K_BF16 : K_F32,
                     mix & 4 ? K_BF16 : K_F32);
    static const int64_t dots[][3] = {{1, 1, 1},      {3, 17, 50},    {37, 300, 49},
                                      {270, 33, 130}, {5, 2060, 300}, {65, 64, 769},
                                      {290, 31, 31},  {2, 1100, 850}, {3, 1024, 1056}};
    for (size_t i = 0; i < sizeof dots / sizeof *dots; i++)
        for (int f32 = 0; f32 < 2; f32++)
            check_linear(dots[i][0], dots[i][1], dots[i][2], K_BF16, K_BF16, f32 ? K_F32 : K_BF16);
}

/* Runs again with other threads and operands moved in memory: the outputs must keep their bits. */
static void same_bits(KFunction *kernel, const char *name, int nout, KTensor *out, int nin, KTensor *in,
                      KAttr attr) {
    char *first[4];
    omp_set_num_threads(1);
    call(kernel, name, nout, out, nin, in, attr, 0);
    for (int i = 0; i < nout; i++) {
        first[i] = room(bytes_of(&out[i]));
        memcpy(first[i], out[i].data, bytes_of(&out[i]));
        memset(out[i].data, 0xff, bytes_of(&out[i]));
    }
    for (int threads = 2; threads < 8; threads += 3) {
        omp_set_num_threads(threads);
        for (int i = 0; i < nin; i++) {
            memmove((char *)in[i].data + K_ALIGN, in[i].data, bytes_of(&in[i]));
            in[i].data = (char *)in[i].data + K_ALIGN;
        }
        call(kernel, name, nout, out, nin, in, attr, 0);
        for (int i = 0; i < nout; i++) assert_memory_equal(out[i].data, first[i], bytes_of(&out[i]));
    }
    for (int i = 0; i < nout; i++) free(first[i]);
    for (int i = 0; i < nin; i++) free((char *)in[i].data - SHIFT_BYTES);
}

static void bits_do_not_move(void **state) {
    (void)state;
    const int threads = omp_get_max_threads();
    for (int type = K_F32; type <= K_BF16; type++) {
        KTensor y = TENSOR(type, 0, 300, 700), dx = TENSOR(type, 0, 300, 530), dw = TENSOR(type, 0, 700, 530);
        same_bits(k_linear, "linear", 1, &y, 2,
                  (KTensor[]){TENSOR(type, 1, 300, 530), TENSOR(type, 2, 700, 530)}, (KAttr){.acc = 0});
        same_bits(k_linear_bwd_x, "linear_bwd_x", 1, &dx, 2,
                  (KTensor[]){TENSOR(type, 1, 300, 700), TENSOR(type, 2, 700, 530)}, (KAttr){.acc = 0});
        same_bits(
            k_linear_bwd_x, "linear_bwd_x", 1, &dx, 3,
            (KTensor[]){TENSOR(type, 1, 300, 700), TENSOR(type, 2, 700, 530), TENSOR(type, 3, 300, 530)},
            (KAttr){.acc = 0});
        same_bits(k_linear_bwd_w, "linear_bwd_w", 1, &dw, 2,
                  (KTensor[]){TENSOR(type, 1, 300, 700), TENSOR(type, 2, 300, 530)}, (KAttr){.acc = 0});
        KTensor g[] = {TENSOR(type, 0, 2, 150, 4, 32), TENSOR(type, 0, 2, 150, 2, 32),
                       TENSOR(type, 0, 2, 150, 2, 32)};
        same_bits(k_attend_bwd, "attend_bwd", 3, g, 6,
                  (KTensor[]){TENSOR(type, 1, 2, 150, 4, 32), TENSOR(type, 2, 2, 150, 4, 32),
                              TENSOR(type, 3, 2, 150, 2, 32), TENSOR(type, 4, 2, 150, 2, 32),
                              TENSOR(type, 5, 2, 150, 4, 32), TENSOR(K_F32, 6, 2, 4, 150)},
                  (KAttr){.causal = 1});
        free(y.data), free(dx.data), free(dw.data);
        for (int i = 0; i < 3; i++) free(g[i].data);
    }
    omp_set_num_threads(threads);
}

/* Columns [first, first + n) of x, and rows of w, on their own. */
static KTensor columns_of(const KTensor *x, int64_t first, int64_t n) {
    KTensor part = TENSOR(x->dtype, 0, x->dim[0], n);
    const size_t element = k_element_bytes(x->dtype);
    for (int64_t r = 0; r < x->dim[0]; r++)
        memcpy(k_at(&part, r * n), k_at(x, r * x->dim[1] + first), (size_t)n * element);
    return part;
}
static KTensor rows_of(const KTensor *w, int64_t first, int64_t n) {
    KTensor part = TENSOR(w->dtype, 0, n, w->dim[1]);
    memcpy(part.data, k_at(w, first * w->dim[1]), bytes_of(&part));
    return part;
}

/* The rows of several weights, one after the other, as one: what each of them makes, and its gradient, have
 * the bits that they have alone. */
static void weights_together(int type, int gradient, const int64_t n[3], int64_t acc) {
    enum { ROWS = 310, WIDTH = 1030 };
    KTensor x = TENSOR(type, 1, ROWS, WIDTH), w = TENSOR(type, 2, n[0] + n[1] + n[2], WIDTH);
    KTensor y = TENSOR(type, 0, ROWS, w.dim[0]), dy = TENSOR(type, 3, ROWS, w.dim[0]), dw[3];
    for (int i = 0; i < 3; i++) dw[i] = TENSOR(gradient, 4 + i, n[i], WIDTH);
    KTensor all[] = {dy, x, dw[0], dw[1], dw[2]}, alone[3];
    for (int i = 0; i < 3; i++) alone[i] = rows_of(&dw[i], 0, n[i]);
    call(k_linear, "linear", 1, &y, 2, (KTensor[]){x, w}, (KAttr){.acc = 0}, 0);
    call(k_linear_bwd_w, "linear_bwd_w", 3, dw, 5, all, (KAttr){.acc = acc}, 0);
    for (int64_t i = 0, first = 0; i < 3; first += n[i++]) {
        KTensor part = rows_of(&w, first, n[i]), made = TENSOR(type, 0, ROWS, n[i]);
        KTensor want = columns_of(&y, first, n[i]), from = columns_of(&dy, first, n[i]);
        call(k_linear, "linear", 1, &made, 2, (KTensor[]){x, part}, (KAttr){.acc = 0}, 0);
        assert_memory_equal(made.data, want.data, bytes_of(&want));
        call(k_linear_bwd_w, "linear_bwd_w", 1, &alone[i], 3, (KTensor[]){from, x, alone[i]},
             (KAttr){.acc = acc}, 0);
        assert_memory_equal(dw[i].data, alone[i].data, bytes_of(&dw[i]));
        free(part.data), free(made.data), free(want.data), free(from.data), free(alone[i].data);
    }
    free(x.data), free(w.data), free(y.data), free(dy.data);
    for (int i = 0; i < 3; i++) free(dw[i].data);
}

static void bits_of_weights_together(void **state) {
    (void)state;
    static const int64_t rows[][3] = {{8, 8, 8}, {1, 37, 300}};
    for (int mix = 0; mix < 8; mix++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            weights_together(mix & 1 ? K_BF16 : K_F32, mix & 2 ? K_BF16 : K_F32, rows[i], mix >> 2);
}

/* o and lse of one head and query, by definition. */
static void check_query(const KTensor *q, const KTensor *k, const KTensor *v, const KTensor *o,
                        const KTensor *lse, int causal, int64_t t, int64_t h) {
    const int64_t time = q->dim[1], heads = q->dim[2], kv_heads = k->dim[2], width = q->dim[3];
    const int64_t kv = h / (heads / kv_heads), keys = causal ? t + 1 : time;
    double sum = 0, *weighted = calloc((size_t)width, sizeof *weighted);
    for (int64_t j = 0; j < keys; j++) {
        double score = 0;
        for (int64_t e = 0; e < width; e++)
            score += (double)k_get(q, (t * heads + h) * width + e) *
                     (double)k_get(k, (j * kv_heads + kv) * width + e);
        const double p = exp(score / sqrt((double)width));
        sum += p;
        for (int64_t e = 0; e < width; e++)
            weighted[e] += p * (double)k_get(v, (j * kv_heads + kv) * width + e);
    }
    close_to(lse, h * time + t, log(sum), 1 + fabs(log(sum)));
    for (int64_t e = 0; e < width; e++) close_to(o, (t * heads + h) * width + e, weighted[e] / sum, 1);
    free(weighted);
}

static void attention_shapes(void **state) {
    (void)state;
    static const int64_t shape[][4] = {
        {1, 1, 1, 1}, {65, 2, 1, 80}, {130, 2, 2, 7}, {200, 1, 1, 256}, {64, 3, 3, 64}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int mode = 0; mode < 4; mode++) {
            const int64_t time = shape[i][0], heads = shape[i][1], kv = shape[i][2], width = shape[i][3];
            const int type = mode & 1 ? K_BF16 : K_F32, causal = mode >> 1;
            KTensor q = TENSOR(type, 1, 1, time, heads, width), k = TENSOR(type, 2, 1, time, kv, width);
            KTensor v = TENSOR(type, 3, 1, time, kv, width);
            KTensor out[] = {TENSOR(type, 0, 1, time, heads, width), TENSOR(K_F32, 0, 1, heads, time)};
            call(k_attend, "attend", 2, out, 3, (KTensor[]){q, k, v}, (KAttr){.causal = causal}, 0);
            for (int64_t t = 0; t < time; t++)
                for (int64_t h = 0; h < heads; h++) check_query(&q, &k, &v, &out[0], &out[1], causal, t, h);
            free(q.data), free(k.data), free(v.data), free(out[0].data), free(out[1].data);
        }
}

/* A target of -1 costs nothing and pushes nothing; a masked row with NaN logits neither; NaN elsewhere shows.
 */
static void loss_ignores(void **state) {
    (void)state;
    enum { ROWS = 3, WIDTH = 2000 };
    KTensor logits = TENSOR(K_F32, 1, ROWS, WIDTH), target = TENSOR(K_F32, 1, ROWS),
            mask = TENSOR(K_F32, 1, ROWS);
    KTensor out[] = {TENSOR(K_F32, 0, ROWS), TENSOR(K_F32, 0, 1)}, dx = TENSOR(K_F32, 0, ROWS, WIDTH);
    target.dtype = K_I32;
    memcpy(target.data, (int32_t[]){7, -1, 1999}, ROWS * sizeof(int32_t));
    memcpy(mask.data, (float[]){1, 1, 0}, ROWS * sizeof(float));
    k_put(&out[1], 0, 10);
    k_put(&logits, 2 * WIDTH + 5, NAN);
    call(k_cross_entropy, "cross_entropy", 2, out, 4, (KTensor[]){logits, target, mask, out[1]},
         (KAttr){.acc = 0}, 0);
    double sum = 0;
    for (int64_t i = 0; i < WIDTH; i++) sum += exp((double)k_get(&logits, i));
    close_to(&out[1], 0, 10 + log(sum) - (double)k_get(&logits, 7), 20);
    call(k_cross_entropy_bwd, "cross_entropy_bwd", 1, &dx, 4, (KTensor[]){logits, target, out[0], mask},
         (KAttr){.acc = 0}, 0);
    for (int64_t i = 0; i < ROWS * WIDTH; i++) {
        const double p = exp((double)k_get(&logits, i)) / sum;
        close_to(&dx, i, i < WIDTH ? 0.25 * (p - (i == 7)) : 0, 0.25);
    }
    k_put(&logits, 5, NAN);
    call(k_cross_entropy, "cross_entropy", 2, out, 4, (KTensor[]){logits, target, mask, out[1]},
         (KAttr){.acc = 0}, 0);
    assert_true(isnan(k_get(&out[1], 0)));
    free(logits.data), free(target.data), free(mask.data), free(out[0].data), free(out[1].data),
        free(dx.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_shapes),    cmocka_unit_test(linear_types),
        cmocka_unit_test(bits_do_not_move), cmocka_unit_test(attention_shapes),
        cmocka_unit_test(loss_ignores),     cmocka_unit_test(bits_of_weights_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
