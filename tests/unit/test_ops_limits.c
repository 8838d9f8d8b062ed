/* Operations at the edges of their domain: rounding to bf16, dropout's stream, rows far from zero, tokens
 * outside the vocabulary, logits and scores that overflow a naive exponential, sums that are zero. */
#include "tests/support/activations.h"
#include "tests/support/ops_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

static Call make_call(Op op, const char *in, const char *out, int mode, KAttr attr) {
    Call call = {.op = op, .mode = mode, .attr = attr};
    call.cx = (KCtx){.seed = 7, .learning_rate = 0.01f, .loss_scale = 1};
    call.nin = parse_specs(in, call.in);
    call.nout = parse_specs(out, call.out);
    for (int i = 0; i < call.nin; i++) call.value[i] = random_values(&call.in[i], mode);
    return call;
}

static Result run(const Call *call, const Library *library) {
    Result result;
    assert_non_null(library->kernel[call->op]);
    const char *wrong = execute(call, &(How){.library = library, .threads = 2, .inplace = -1}, &result);
    if (wrong) fail_msg("%s: %s", op_row[call->op].name, wrong);
    return result;
}

static void assert_close(const Call *call, int output, const double *got, const double *want,
                         double tolerance) {
    const char *wrong = close_to(&call->out[output], got, want, tolerance);
    if (wrong) fail_msg("%s, output %d: %s", op_row[call->op].name, output, wrong);
}

static void rounding_to_bf16(void **state) {
    (void)state;
    static const double from[] = {1 + 0x1p-8, 1 + 3 * 0x1p-8, -(1 + 0x1p-8), 1 + 0x1.01p-8,
                                  FLT_MAX,    0x1p-133,       0x1p-134,      0x1.8p-133,
                                  INFINITY,   -0.0,           3.0 - 0x1p-20, NAN};
    static const double to[] = {1, 1 + 0x1p-6, -1,       1 + 0x1p-7, INFINITY, 0x1p-133,
                                0, 0x1p-132,   INFINITY, -0.0,       3,        NAN};
    enum { COUNT = sizeof from / sizeof *from };
    Call call = make_call(OP_CAST, "s:12", "a:12", MODE_BF16_ACTIVATION, (KAttr){.eps = 0});
    for (int i = 0; i < COUNT; i++) call.value[0][i] = from[i];
    Result result = run(&call, &library_float);
    for (int i = 0; i < COUNT; i++) {
        const double got = result.value[0][i];
        if (isnan(to[i]) ? !isnan(got) : got != to[i] || signbit(got) != signbit(to[i]))
            fail_msg("%a rounds to %a, not %a", from[i], got, to[i]);
    }
}

static void dropout_stream(void **state) {
    (void)state;
    Call call = make_call(OP_DROPOUT, "a:100x1001", "a:100x1001", 0, (KAttr){.p = 0.2, .rng = 3});
    const int64_t n = call.out[0].count;
    Result base = run(&call, &library_float), again = run(&call, &library_float);
    assert_null(same_bits(&call, &base, &again));
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) kept += base.value[0][i] != 0;
    assert_true(fabs((double)kept / (double)n - 0.8) < 5 * sqrt(0.16 / (double)n));
    for (int what = 0; what < 4; what++) {
        Call other = call;
        if (what == 0) other.attr.rng++;
        if (what == 1) other.cx.step++;
        if (what == 2) other.cx.micro++;
        if (what == 3) other.cx.seed++;
        Result result = run(&other, &library_float);
        int64_t both = 0;
        for (int64_t i = 0; i < n; i++) both += base.value[0][i] != 0 && result.value[0][i] != 0;
        assert_true(fabs((double)both / (double)n - 0.64) < 0.01);
    }
    call.attr.p = 0;
    Result all = run(&call, &library_float);
    for (int64_t i = 0; i < n; i++) assert_true(all.value[0][i] == call.value[0][i]);
}

/* A variance from squares alone would lose every digit here. */
static void norms_far_from_zero(void **state) {
    (void)state;
    Call call =
        make_call(OP_LAYERNORM, "a:5x1000 w:1000 w:1000", "a:5x1000 s:5 s:5", 0, (KAttr){.eps = 1e-5});
    for (int64_t i = 0; i < call.in[0].count; i++)
        call.value[0][i] = round_to(K_F32, 3000 + call.value[0][i]);
    Result narrow = run(&call, &library_float), wide = run(&call, &library_double);
    assert_close(&call, 0, narrow.value[0], wide.value[0], 1e-3);
    assert_close(&call, 2, narrow.value[2], wide.value[2], 1e-3);
    for (int64_t i = 0; i < call.in[0].count; i++) call.value[0][i] = 2;
    Result flat = run(&call, &library_float);
    for (int64_t i = 0; i < call.out[0].count; i++) assert_true(flat.value[0][i] == call.value[2][i % 1000]);
}

static void tokens_outside_the_vocabulary(void **state) {
    (void)state;
    Call call = make_call(OP_EMBED, "i7:5 w:7x9", "a:5x9", 0, (KAttr){.eps = 0});
    call.value[0][1] = 7;
    call.value[0][3] = -1;
    Result result = run(&call, &library_float);
    for (int64_t i = 0; i < call.out[0].count; i++)
        assert_int_equal(isnan(result.value[0][i]) != 0, i / 9 == 1 || i / 9 == 3);
    Call back = make_call(OP_EMBED_BWD, "a:5x9 i7:5", "w:7x9", 0, (KAttr){.eps = 0});
    memcpy(back.value[1], call.value[0], 5 * sizeof(double));
    result = run(&back, &library_float);
    double got = 0, want = 0;
    for (int64_t i = 0; i < back.out[0].count; i++) got += result.value[0][i];
    for (int64_t i = 0; i < back.in[0].count; i++) want += i / 9 == 1 || i / 9 == 3 ? 0 : back.value[0][i];
    assert_true(fabs(got - want) < 1e-4);
}

/* An activation's formula at one point. */
static double formula(const Call *call, double x) {
    Call one = *call;
    double value, *out[MAX_OPERANDS] = {&value};
    one.value[0] = &x;
    one.in[0].count = one.out[0].count = 1;
    if (!reference(&one, out)) fail_msg("%s has no formula", op_row[call->op].name);
    return value;
}

/* Is `got` a slope of the formula at `x`, or between those on its two sides? */
static bool is_slope(const Call *call, double x, double got) {
    const double step = x == 0 ? 1e-6 : 1e-6 * fabs(x), here = formula(call, x);
    const double left = (here - formula(call, x - step)) / step,
                 right = (formula(call, x + step) - here) / step;
    return got >= fmin(left, right) - 1e-5 && got <= fmax(left, right) + 1e-5;
}

/* At zero and far from it every activation is its formula, and its gradient a slope of the formula: nothing
 * overflows on the way. */
static void activations_saturate(void **state) {
    (void)state;
    static const double x[] = {-1e30, -1000, -100, -20, 0, 20, 100, 1000, 1e30};
    enum { COUNT = sizeof x / sizeof *x };
    Op ops[OP_COUNT];
    const uint32_t count = activations(ops);
    for (uint32_t o = 0; o < count; o++) {
        Call call = make_call(ops[o], "a:9", "a:9", 0, (KAttr){.eps = 0});
        memcpy(call.value[0], x, sizeof x);
        Result result = run(&call, &library_float);
        for (int i = 0; i < COUNT; i++)
            if (!(fabs(result.value[0][i] - formula(&call, x[i])) <= 1e-6 * fabs(x[i])))
                fail_msg("%s(%g) is %g", op_row[ops[o]].name, x[i], result.value[0][i]);

        char name[64];
        snprintf(name, sizeof name, "%s_bwd", op_row[ops[o]].name);
        Op op = 0;
        while (op < OP_COUNT && strcmp(op_row[op].name, name) != 0) op++;
        if (op == OP_COUNT) fail_msg("no operation is called %s", name);
        Call back = make_call(op, "a:9 a:9", "a:9", 0, (KAttr){.eps = 0});
        for (int i = 0; i < COUNT; i++)
            back.value[0][i] = 1, back.value[1][i] = fmin(fmax(x[i], -1e15), 1e15);
        result = run(&back, &library_float);
        for (int i = 0; i < COUNT; i++)
            if (!is_slope(&call, back.value[1][i], result.value[0][i]))
                fail_msg("%s at %g is %g", name, back.value[1][i], result.value[0][i]);
    }
    assert_true(count >= 2);
}

static void large_logits_and_scores(void **state) {
    (void)state;
    Call loss = make_call(OP_CROSS_ENTROPY, "a:3x5x700 i700:3x5 s!:1", "s:3x5 s:1", 0, (KAttr){.eps = 0});
    for (int64_t i = 0; i < loss.in[0].count; i++) loss.value[0][i] = round_to(K_F32, 1e4 * loss.value[0][i]);
    Result result = run(&loss, &library_float);
    for (int64_t r = 0; r < 15; r++) {
        double highest = -INFINITY;
        for (int64_t i = 0; i < 700; i++) highest = fmax(highest, loss.value[0][r * 700 + i]);
        assert_true(fabs(result.value[0][r] - highest) < 1e-3 * highest);
    }
    assert_true(isfinite(result.value[1][0]));
    Call attend = make_call(OP_ATTEND, "a:1x70x2x16 a:1x70x2x16 a:1x70x2x16", "a:1x70x2x16 s:1x2x70", 0,
                            (KAttr){.causal = 1});
    for (int64_t i = 0; i < attend.in[0].count; i++)
        attend.value[0][i] = round_to(K_F32, 1e3 * attend.value[0][i]);
    Result narrow = run(&attend, &library_float), wide = run(&attend, &library_double);
    assert_close(&attend, 0, narrow.value[0], wide.value[0], 1e-2);
    assert_close(&attend, 1, narrow.value[1], wide.value[1], 1e-5);
}

/* Each row of attention is, to the last bit, what one query has over a cache of the same keys. */
static void rows_of_a_cache(void **state) {
    (void)state;
    static const struct {
        int64_t time, heads, kv_heads, width;
    } shape[] = {{1, 2, 2, 16}, {7, 3, 3, 5}, {130, 8, 2, 64}, {200, 34, 2, 24}, {150, 2, 1, 100}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int mode = 0; mode <= MODE_BF16_ACTIVATION; mode += MODE_BF16_ACTIVATION) {
            const int64_t time = shape[i].time, heads = shape[i].heads, kv = shape[i].kv_heads;
            const int64_t width = shape[i].width, row = heads * width;
            char q[64], cache[64], in[256], out[128];
            snprintf(q, sizeof q, "%dx%dx%d", (int)time, (int)heads, (int)width);
            snprintf(cache, sizeof cache, "a:1x%dx%dx%d", (int)time, (int)kv, (int)width);
            snprintf(in, sizeof in, "a:1x%s %s %s", q, cache, cache);
            snprintf(out, sizeof out, "a:1x%s s:1x%dx%d", q, (int)heads, (int)time);
            Call whole = make_call(OP_ATTEND, in, out, mode, (KAttr){.causal = 1});
            snprintf(in, sizeof in, "a:1x1x%dx%d %s %s n1:1x1", (int)heads, (int)width, cache, cache);
            snprintf(out, sizeof out, "a:1x1x%dx%d", (int)heads, (int)width);
            Call one = make_call(OP_ATTEND_CACHED, in, out, mode, (KAttr){.eps = 0});
            Result all = run(&whole, &library_float);
            one.value[1] = whole.value[1], one.value[2] = whole.value[2];
            for (int64_t t = 0; t < time; t++) {
                const size_t mark = pool_mark();
                one.value[0] = whole.value[0] + t * row;
                *one.value[3] = (double)t;
                Result here = run(&one, &library_float);
                if (memcmp(here.value[0], all.value[0] + t * row, sizeof(double) * (size_t)row) != 0)
                    fail_msg("position %d of %s: other bits than attend's", (int)t, q);
                pool_release(mark);
            }
        }
}

/* A negative target is a masked one: no loss, no gradient. */
static void negative_targets(void **state) {
    (void)state;
    Call call = make_call(OP_CROSS_ENTROPY, "a:6x33 i33:6 s!:1", "s:6 s:1", 0, (KAttr){.eps = 0});
    call.value[1][0] = call.value[1][4] = -1;
    Result result = run(&call, &library_float);
    double want = call.value[2][0];
    for (int64_t r = 0; r < 6; r++) {
        assert_true(isfinite(result.value[0][r]));
        if (call.value[1][r] >= 0)
            want += result.value[0][r] - call.value[0][r * 33 + (int64_t)call.value[1][r]];
    }
    assert_true(fabs(result.value[1][0] - want) < 1e-5 * want);
    Call back = make_call(OP_CROSS_ENTROPY_BWD, "a:6x33 i33:6 s:6", "a:6x33", 0, (KAttr){.eps = 0});
    memcpy(back.value[1], call.value[1], 6 * sizeof(double));
    result = run(&back, &library_float);
    for (int64_t i = 0; i < back.out[0].count; i++)
        assert_int_equal(result.value[0][i] == 0, i / 33 == 0 || i / 33 == 4);
}

static void clipping_of_nothing(void **state) {
    (void)state;
    Call call = make_call(OP_CLIP_SCALE, "s:1", "s:1", 0, (KAttr){.max_norm = 1});
    call.value[0][0] = 0;
    assert_true(run(&call, &library_float).value[0][0] == 1);
    call.value[0][0] = INFINITY;
    assert_true(run(&call, &library_float).value[0][0] == 0);
    call.value[0][0] = NAN;
    assert_true(isnan(run(&call, &library_float).value[0][0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_to_bf16),     cmocka_unit_test(dropout_stream),
        cmocka_unit_test(norms_far_from_zero),  cmocka_unit_test(tokens_outside_the_vocabulary),
        cmocka_unit_test(activations_saturate), cmocka_unit_test(large_logits_and_scores),
        cmocka_unit_test(clipping_of_nothing),  cmocka_unit_test(negative_targets),
        cmocka_unit_test(rows_of_a_cache),
    };
    if (!library_open(&library_float, OPS_FLOAT, sizeof(float)) ||
        !library_open(&library_double, OPS_DOUBLE, sizeof(double)))
        return 1;
    return cmocka_run_group_tests_name("limits of operations", tests, NULL, NULL);
}
