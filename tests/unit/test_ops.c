/* Every row of ir/op.def, through its cases in ops_cases.def: gradients against central differences in
 * double, values against naive formulas, fused against unfused, and the rules of kernels.h: same bits
 * whatever the threads, addresses and storage sharing; NaN kept; nothing written outside outputs and the
 * workspace; f32 and bf16 near double. */
#include "tests/support/ops_engine.h"
#include "ir/ops.h"
#include "kernels/variant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef OPS_CUDA
#define OPS_CUDA                                                                                             \
    0 /* 1: OPS_FLOAT holds the CUDA kernels; gradients of the double ones are another program's */
#endif

enum { SAMPLES = 12, PROGRAM_STEPS = 8 };
static const float test_loss_scale = 0.37f;

typedef struct Case {
    Op op;
    const char *in, *out;
    KAttr attr;
    const char *gradients, *composition;
    int exact;
} Case;

static const Case cases[] = {
#define CASE(OP, ...) {OP_##OP, __VA_ARGS__},
#include "tests/support/ops_cases.def"
#undef CASE
};

#define CHECK(message, ...)                                                                                  \
    do {                                                                                                     \
        const char *message_ = (message);                                                                    \
        if (message_) fail_case(call, message_, __VA_ARGS__);                                                \
    } while (0)

static void fail_case(const Call *call, const char *message, const char *format, ...) {
    char what[160];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    char shape[64] = "";
    for (int i = 0; i < call->in[0].rank; i++)
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%d", i ? "x" : "",
                 (int)call->in[0].dim[i]);
    fail_msg("%s of [%s], %d in, %s activations, %s weights: %s: %s", op_row[call->op].name, shape, call->nin,
             call->mode & MODE_BF16_ACTIVATION ? "bf16" : "f32",
             call->mode & MODE_BF16_WEIGHT ? "bf16" : "f32", what, message);
}

static How how_of(const Library *library) {
    return (How){.library = library, .threads = 1, .inplace = -1};
}

static Call call_of(const Case *c, int mode) {
    Call call = {.op = c->op, .mode = mode, .attr = c->attr};
    call.cx = (KCtx){.seed = 1234,
                     .step = 5,
                     .passed_over = 2,
                     .micro = 1,
                     .learning_rate = 0.01f,
                     .loss_scale = test_loss_scale};
    call.nin = parse_specs(c->in, call.in);
    call.nout = parse_specs(c->out, call.out);
    for (int i = 0; i < call.nin; i++) random_operand(&call, i);
    return call;
}

static bool has_bf16(const Call *call) {
    for (int i = 0; i < call->nin; i++)
        if (spec_dtype(&call->in[i], call->mode) == K_BF16) return true;
    for (int i = 0; i < call->nout; i++)
        if (spec_dtype(&call->out[i], call->mode) == K_BF16) return true;
    return false;
}
static double tolerance_of(const Call *call) {
    return has_bf16(call) ? 1.2e-2 : 3e-5;
}

static bool floats(const Spec *spec) {
    return !strchr("imflpnoqQdu", spec->letter);
}

/* ---- programs of calls: the notation of ops_cases.def ---- */

typedef struct Named {
    char kind;
    int index;
    Spec spec;
    double *value;
    void *packed;
} Named;
typedef struct Program {
    const Call *call;
    Named name[64];
    int names;
} Program;

static Named *find_name(Program *p, char kind, int index) {
    for (int i = 0; i < p->names; i++)
        if (p->name[i].kind == kind && p->name[i].index == index) return &p->name[i];
    return NULL;
}
static Named *add_name(Program *p, char kind, int index, const Spec *spec, double *value) {
    p->name[p->names] = (Named){kind, index, *spec, value, NULL};
    p->name[p->names].spec.shared = 0;
    return &p->name[p->names++];
}

static const Spec *target_spec(const Program *p, char kind, int index, const Spec *first) {
    return kind == 'd'   ? &p->call->in[index]
           : kind == 'e' ? &p->call->out[index]
           : kind == 'u' ? &p->call->out[0]
                         : first;
}

/* One "name(operands)->targets"; yields where the next begins. */
static const char *run_statement(Program *p, const char *text, const Library *library) {
    char name[32] = "";
    while (isalnum((unsigned char)*text) || *text == '_') strncat(name, text++, 1);
    Call step = {.op = OP_COUNT, .mode = p->call->mode, .attr = p->call->attr, .cx = p->call->cx};
    for (int op = 0; op < OP_COUNT; op++)
        if (strcmp(op_row[op].name, name) == 0) step.op = (Op)op;
    if (step.op == OP_COUNT) fail_msg("unknown operation '%s' in a program", name);
    if (*text == '!') step.attr.inverse = 1, text++;
    for (text++; *text != ')'; text += *text == ' ') {
        char kind = *text++;
        Named *operand = find_name(p, kind, (int)strtol(text, (char **)&text, 10));
        assert_non_null(operand);
        step.in[step.nin] = operand->spec;
        step.packed[step.nin] = operand->packed;
        step.value[step.nin++] = operand->value;
    }
    text += strlen(")->");
    Named *target[MAX_OPERANDS];
    for (; *text && *text != ';'; text += *text == ' ') {
        char kind = isdigit((unsigned char)*text) ? 'd' : *text++;
        int index = (int)strtol(text, (char **)&text, 10);
        target[step.nout] = add_name(p, kind, index, target_spec(p, kind, index, &step.in[0]), NULL);
        if (kind == 'f') target[step.nout]->spec.letter = p->call->in[0].letter;
        step.out[step.nout] = target[step.nout]->spec;
        step.nout++;
    }
    Result result;
    const char *wrong = execute(&step, &(How){.library = library, .threads = 1, .inplace = -1}, &result);
    if (wrong) fail_case(&step, wrong, "in a program");
    for (int i = 0; i < step.nout; i++) target[i]->value = result.value[i];
    return *text == ';' ? text + 2 : text;
}

static void run_program(Program *p, const char *text, const Library *library) {
    while (*text) text = run_statement(p, text, library);
}

/* ---- gradients ---- */

static double weighted_sum(const Call *call, double *const *weight) {
    Result result;
    How how = how_of(&library_double);
    CHECK(execute(call, &how, &result), "forward in double");
    double sum = 0;
    for (int o = 0; o < call->nout; o++)
        for (int64_t i = 0; weight[o] && i < call->out[o].count; i++)
            sum += weight[o][i] * result.value[o][i];
    return sum;
}

/* Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h */
static double difference(const Call *call, double *const *weight, double *x) {
    const double h = 1e-3, old = *x;
    double f[4];
    for (int i = 0; i < 4; i++) {
        size_t mark = pool_mark();
        *x = old + h * (const double[]){1, -1, 2, -2}[i];
        f[i] = weighted_sum(call, weight);
        pool_release(mark);
    }
    *x = old;
    return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
}

static void check_gradients(const Case *c) {
    Call made = call_of(c, 0), *call = &made;
    Program program = {.call = call};
    Result forward;
    How how = how_of(&library_double);
    CHECK(execute(call, &how, &forward), "forward in double");
    double *weight[MAX_OPERANDS] = {0};
    for (int i = 0; i < call->nin; i++) add_name(&program, 'i', i, &call->in[i], call->value[i]);
    for (int o = 0; o < call->nout; o++) {
        char used[16];
        snprintf(used, sizeof used, "g%d", o);
        add_name(&program, 'o', o, &call->out[o], forward.value[o]);
        if (strstr(c->gradients, used)) weight[o] = random_values(&call->out[o], 0);
        if (weight[o]) add_name(&program, 'g', o, &call->out[o], weight[o]);
    }
    double loss_scale = test_loss_scale;
    if (c->op == OP_CROSS_ENTROPY) weight[1] = &loss_scale;
    run_program(&program, c->gradients, &library_double);
    int checked = 0;
    for (int i = 0; i < call->nin; i++) {
        const Named *gradient = find_name(&program, 'd', i);
        if (!gradient) continue;
        double squares = 0;
        for (int64_t e = 0; e < call->in[i].count; e++) squares += gradient->value[e] * gradient->value[e];
        double typical = sqrt(squares / (double)call->in[i].count);
        for (int s = 0; s < SAMPLES; s++, checked++) {
            int64_t e = s == 0   ? 0
                        : s == 1 ? call->in[i].count - 1
                                 : (int64_t)(unit_random() * (double)call->in[i].count);
            double want = difference(call, weight, &call->value[i][e]), got = gradient->value[e];
            if (!(fabs(got - want) <= 1e-6 * (fabs(want) + typical)))
                CHECK("differs from central differences",
                      "gradient of input %d, element %lld: %.12g, not %.12g", i, (long long)e, got, want);
        }
    }
    assert_true(checked > 0);
}

/* ---- rules of kernels.h ---- */

static void check_bits(const Call *call, const Result *base, const Library *library) {
    Result other;
    for (int threads = 2; threads <= 3; threads++) {
        How how = {.library = library, .threads = threads, .inplace = -1};
        CHECK(execute(call, &how, &other), "%d threads", threads);
        CHECK(same_bits(call, base, &other), "%d threads", threads);
    }
    How shifted = {.library = library, .threads = 2, .shift_bytes = K_ALIGN, .inplace = -1};
    CHECK(execute(call, &shifted, &other), "shifted by %d bytes", K_ALIGN);
    CHECK(same_bits(call, base, &other), "shifted by %d bytes", K_ALIGN);
    int may = 0, eligible = 0;
    for (int i = 0; i < call->nin; i++) {
        if (!op_may_share(&op_row[call->op], (uint32_t)i, (uint32_t)call->in[i].rank,
                          (uint32_t)call->out[0].rank))
            continue;
        may++;
        if (call->in[i].count != call->out[0].count || call->in[i].shared ||
            call->in[i].room != call->out[0].room ||
            spec_dtype(&call->in[i], call->mode) != spec_dtype(&call->out[0], call->mode))
            continue;
        for (int threads = 1; threads <= 2; threads++) {
            How how = {.library = library, .threads = threads, .inplace = i};
            CHECK(execute(call, &how, &other), "in place of input %d", i);
            CHECK(same_bits(call, base, &other), "in place of input %d", i);
        }
        eligible++;
    }
    assert_true(eligible > 0 || !may);
}

/* What draws nothing is the same for every seed. */
static void check_seed(const Call *call, const Result *base, const Library *library) {
    if (call->attr.p == 0 && op_row[call->op].flags & OPF_RANDOM) return;
    Call other = *call;
    other.cx.seed++;
    Result result;
    How how = how_of(library);
    CHECK(execute(&other, &how, &result), "another seed");
    const char *differ = same_bits(call, base, &result);
    if (!(op_row[call->op].flags & OPF_RANDOM))
        CHECK(differ, "another seed, and op.def says that it draws nothing");
    else if (!differ)
        CHECK("the same", "another seed, and op.def says OPF_RANDOM");
}

/* NaN in an output. */
static bool shows(const Call *call, const Result *result) {
    bool nan = false;
    for (int o = 0; o < call->nout; o++)
        for (int64_t e = 0; e < call->out[o].count; e++) nan |= isnan(result->value[o][e]);
    return nan;
}

/* Memory that nobody has written holds -1: as a position or a first key it shows. */
static void check_unwritten(Call *call, const Library *library) {
    for (int i = 0; i < call->nin; i++) {
        if (!strchr("fpn", call->in[i].letter)) continue;
        double *at = &call->value[i][call->in[i].count / 2], saved = *at;
        *at = -1;
        Result result;
        How how = how_of(library);
        CHECK(execute(call, &how, &result), "with -1");
        *at = saved;
        if (!shows(call, &result)) CHECK("does not reach any output", "-1 in input %d", i);
    }
}

/* The NaN rule of kernels.h. A NaN among what is read reaches an output; of an operation that reads
 * everything, one NaN does. */
static void check_nan(Call *call, const Result *base, const Library *library) {
    const bool keeps = op_row[call->op].nan == NAN_KEEPS;
    for (int i = 0; i < call->nin; i++) {
        const int states = call->nout / k_tensors(&call->attr), first = call->nin - call->nout;
        const bool overwritten = op_row[call->op].over == OVER_STATES && states == 4 && i >= first &&
                                 (i - first) % states == 0; /* the rounded w */
        if (!floats(&call->in[i]) || call->in[i].shared == '+') continue;
        if (call->nin > 64 && i % 13) continue; /* of very many, some */
        double *saved = call->value[i], *poisoned = pool_alloc(sizeof(double) * (size_t)call->in[i].count);
        for (int64_t e = 0; e < call->in[i].count; e++) poisoned[e] = keeps ? saved[e] : NAN;
        poisoned[call->in[i].count / 2] = NAN;
        call->value[i] = poisoned;
        Result result;
        How how = how_of(library);
        CHECK(execute(call, &how, &result), "with NaN");
        call->value[i] = saved;
        if (overwritten) {
            CHECK(same_bits(call, base, &result), "NaN in input %d, which is only written over", i);
            continue;
        }
        if (!shows(call, &result)) CHECK("does not reach any output", "NaN in input %d", i);
    }
}

/* attr.acc: 0 ignores what is there (NaN), 1 adds, 2 adds from the second micro-step on; the same for all
 * accumulators, which the last outputs are written over. */
static void check_accumulation(const Call *base_call, const Result *base, const Library *library) {
    Call made = *base_call, *call = &made;
    int sums = 0;
    while (sums < call->nin && call->in[call->nin - 1 - sums].shared == '+') sums++;
    const int first_in = call->nin - sums, first_out = call->nout - sums;
    Result plain, added, first, second;
    How how = how_of(library);
    double *old[MAX_OPERANDS];
    for (int k = 0; k < sums; k++) {
        const int64_t count = call->out[first_out + k].count;
        double *nans = pool_alloc(sizeof(double) * (size_t)count);
        for (int64_t i = 0; i < count; i++) nans[i] = NAN;
        old[k] = call->value[first_in + k];
        call->value[first_in + k] = nans;
    }
    CHECK(execute(call, &how, &plain), "acc = 0 over NaN");
    CHECK(same_bits(call, base, &plain), "acc = 0 over NaN");
    if (op_row[call->op].over == OVER_GRADIENT || op_row[call->op].over == OVER_SUMS ||
        op_row[call->op].over == OVER_PAIR_SUMS) {
        call->nin -= sums;
        CHECK(execute(call, &how, &plain), "no accumulator");
        CHECK(same_bits(call, base, &plain), "no accumulator");
        call->nin += sums;
    }
    call->attr.acc = 2;
    call->cx.micro = 0;
    CHECK(execute(call, &how, &first), "acc = 2, first micro-step");
    CHECK(same_bits(call, base, &first), "acc = 2, first micro-step");
    for (int k = 0; k < sums; k++) call->value[first_in + k] = old[k];
    call->cx.micro = 3;
    CHECK(execute(call, &how, &second), "acc = 2, later micro-step");
    call->attr.acc = 1;
    CHECK(execute(call, &how, &added), "acc = 1");
    CHECK(same_bits(call, &added, &second), "acc = 1 against acc = 2 later");
    for (int k = 0; k < sums; k++) {
        const Spec *spec = &call->out[first_out + k];
        double *want = pool_alloc(sizeof(double) * (size_t)spec->count);
        for (int64_t i = 0; i < spec->count; i++) want[i] = old[k][i] + base->value[first_out + k][i];
        CHECK(close_to(spec, added.value[first_out + k], want, tolerance_of(call)), "acc = 1");
    }
    check_bits(call, &added, library);
}

/* Operands as the choice of a variant sees them. */
static KTensor shape_of(const Call *call, const Spec *spec) {
    KTensor shape = {.dtype = spec_dtype(spec, call->mode), .rank = spec->rank};
    memcpy(shape.dim, spec->dim, sizeof shape.dim);
    return shape;
}

static KFamily family_of(const Call *call) {
    const KTensor out = shape_of(call, &call->out[0]),
                  in[] = {shape_of(call, &call->in[0]), shape_of(call, &call->in[call->nin > 1])};
    return k_variant_family_of(OPS_CUDA ? K_CUDA : K_HOST, op_row[call->op].name, &out, in);
}

static void check_composition(const Case *c, const Call *call, const Result *base, const Library *library) {
    Program program = {.call = call};
    for (int i = 0; i < call->nin; i++)
        add_name(&program, 'i', i, &call->in[i], call->value[i])->packed = call->packed[i];
    run_program(&program, c->composition, library);
    const bool exact =
        c->exact && family_of(call) != K_FAMILY_cuda_packed; /* which adds up in another order */
    int compared = 0;
    for (int o = 0; o < call->nout; o++) {
        const Named *expected = find_name(&program, 'e', o);
        if (!expected) continue;
        CHECK(close_to(&call->out[o], base->value[o], expected->value, exact ? 0 : tolerance_of(call)),
              "output %d against \"%s\"", o, c->composition);
        compared++;
    }
    assert_true(compared > 0);
}

static bool has_formula[OP_COUNT]; /* in ops_reference.c; known once a case has run */

/* Attention in bf16 may round what it computes itself, P and dS, to bf16 before it multiplies by it: off by
 * 2^-8 of each at most, so the sum by 2^-8 of its terms' magnitudes; then the result is rounded, by 2^-8 of
 * itself. f32 sums and exponentials add what they may add elsewhere. */
static const char *close_to_rounded(const Spec *spec, const double *got, const double *want,
                                    const double *spread) {
    static char message[160];
    for (int64_t i = 0; i < spec->count; i++) {
        const double bound = (0x1p-8 + 3e-5) * (fabs(want[i]) * (1 + 0x1p-8) + spread[i]);
        if (fabs(got[i] - want[i]) <= bound) continue;
        snprintf(message, sizeof message, "element %lld is %.9g, expected %.9g, off by more than %.3g",
                 (long long)i, got[i], want[i], bound);
        return message;
    }
    return NULL;
}

/* Of a packed type that the kernel rounds to: where a number lies between two values of the map, its last bit
 * says which it becomes. One in a hundred may, to the next, which is less than 1/64 of the scale away. */
static const char *close_to_codes(const Spec *spec, const double *got, const double *want) {
    static char message[160];
    int64_t moved = 0;
    for (int64_t first = 0; first < spec->count; first += 256) {
        const int64_t end = first + 256 < spec->count ? first + 256 : spec->count;
        double scale = 0;
        for (int64_t i = first; i < end; i++) scale = fmax(scale, fabs(want[i]));
        for (int64_t i = first; i < end; i++) {
            const double off = fabs(got[i] - want[i]);
            moved += off > 3e-5 * fabs(want[i]) + 1e-30;
            if (off <= scale / 64) continue;
            snprintf(message, sizeof message, "element %lld is %.9g, expected %.9g, in a block up to %.3g",
                     (long long)i, got[i], want[i], scale);
            return message;
        }
    }
    snprintf(message, sizeof message, "%lld elements have other codes", (long long)moved);
    return moved > 1 + spec->count / 100 ? message : NULL;
}

static bool is_packed(const Call *call, int output) {
    return spec_dtype(&call->out[output], call->mode) >= K_NF4;
}

/* The same inputs in double are the truth for float and bf16; naive formulas are the truth for double. */
static void check_values(const Call *call, const Result *base) {
    Call wide = *call;
    wide.mode = 0;
    wide.cx.variant = K_VARIANT_NONE;
    Result truth;
    How how = how_of(&library_double);
    CHECK(execute(&wide, &how, &truth), "in double");
    double *naive[MAX_OPERANDS];
    for (int o = 0; o < call->nout; o++) naive[o] = pool_alloc(sizeof(double) * (size_t)call->out[o].count);
    const bool rounds = has_bf16(call) && (call->op == OP_ATTEND || call->op == OP_ATTEND_BWD ||
                                           call->op == OP_ATTEND_PACKED || call->op == OP_ATTEND_PACKED_BWD);
    if (rounds) attend_terms(call, naive);
    for (int o = 0; o < call->nout; o++) {
        const bool rounded = rounds && spec_dtype(&call->out[o], call->mode) == K_BF16;
        CHECK(is_packed(call, o) ? close_to_codes(&call->out[o], base->value[o], truth.value[o])
              : rounded          ? close_to_rounded(&call->out[o], base->value[o], truth.value[o], naive[o])
                                 : close_to(&call->out[o], base->value[o], truth.value[o],
                                   rounds ? 3e-5 : tolerance_of(call)),
              "output %d against double", o);
    }
    if (!reference(&wide, naive)) return;
    has_formula[call->op] = true;
    for (int o = 0; o < call->nout; o++)
        CHECK(is_packed(call, o) ? close_to_codes(&call->out[o], truth.value[o], naive[o])
                                 : close_to(&call->out[o], truth.value[o], naive[o], 1e-9),
              "output %d against its formula", o);
}

/* The graph's shape rules leave no product of two types, and cuBLASLt has none; some packed weights our own
 * kernel takes. */
static bool refused(const Call *call) {
    return OPS_CUDA && (call->op == OP_LINEAR || call->op == OP_LINEAR_BWD_X) &&
           spec_dtype(&call->in[0], call->mode) != spec_dtype(&call->in[1], call->mode) && !family_of(call);
}

/* What a call takes that names no variant; where that is no kernel of the operation, the first that is. */
static int first_variant(const Call *call) {
    int v = 1;
    const KFamily family = family_of(call);
    if (!family) return K_VARIANT_NONE;
    while (k_variant_family(v) != family) v++;
    if (!k_variant_is_apart(v)) return K_VARIANT_NONE;
    return v + 1;
}

/* Scores so far apart that a row's maximum keeps rising from tile to tile. */
static void check_steep_scores(const Call *call) {
    for (int64_t i = 0; i < call->in[0].count; i++) call->value[0][i] *= 16;
    Result result;
    How how = how_of(&library_float);
    CHECK(execute(call, &how, &result), "with steep scores");
    check_values(call, &result);
}

static bool variant_is_tested[K_VARIANTS], weight_is_exact[OP_COUNT];

/* A product dequantises a packed weight as `dequantize` does: a row of x that is 1 at one place and 0
 * elsewhere yields what is stored there. Where there are rows enough for the whole depth. */
static void check_weight(const Call *call) {
    Call unit = *call;
    const Spec *x = &call->in[0], *w = &call->in[1];
    const int64_t depth = x->dim[x->rank - 1], rows = x->count / depth, columns = call->out[0].count / rows;
    if (!OPS_CUDA || family_of(call) != K_FAMILY_cuda_packed || rows < depth) return;
    unit.nin = 2;
    unit.attr.factor = 0;
    unit.value[0] = pool_alloc(sizeof(double) * (size_t)x->count);
    for (int64_t i = 0; i < x->count; i++) unit.value[0][i] = i % depth == i / depth % depth;
    Result result;
    How how = how_of(&library_float);
    CHECK(execute(&unit, &how, &result), "rows of ones");
    for (int64_t i = 0; i < call->out[0].count; i++) {
        const int64_t row = i / columns % depth, column = i % columns;
        const double want = round_to(
            K_BF16,
            call->value[1][call->op == OP_LINEAR ? column * w->dim[1] + row : row * w->dim[1] + column]);
        if (result.value[0][i] == want) continue;
        CHECK("is not as dequantize stores it", "%s: element %lld of the weight's row: %.9g, not %.9g",
              k_variant_name(call->cx.variant), (long long)column, result.value[0][i], want);
    }
    weight_is_exact[call->op] = true;
}

/* The rules hold for every variant of the kernel, and values are as near. Forwards on the host attention has
 * the same bits in all of them, where documents do not cut the keys. A weight that is dequantised apart is
 * that of the case's composition. */
static void check_variants(const Case *c, Call *call, const Result *first) {
    const KFamily family = family_of(call);
    const int begun = call->cx.variant;
    for (int v = 1; family && v < K_VARIANTS; v++) {
        if (k_variant_family(v) != family) continue;
        if (k_variant_is_apart(v)) {
            variant_is_tested[v] |= c->composition != NULL;
            continue;
        }
        Result base;
        How how = how_of(&library_float);
        call->cx.variant = v;
        CHECK(execute(call, &how, &base), "%s", k_variant_name(v));
        check_bits(call, &base, &library_float);
        check_values(call, &base);
        check_nan(call, &base, &library_float);
        check_unwritten(call, &library_float);
        if (begun ? v == begun : k_variant_is_first(v))
            CHECK(same_bits(call, first, &base), "%s by its name", k_variant_name(v));
        if (family == K_FAMILY_host_attend && !strchr("fl", call->in[call->nin - 1].letter))
            CHECK(same_bits(call, first, &base), "%s", k_variant_name(v));
        check_weight(call);
        variant_is_tested[v] = true;
    }
    call->cx.variant = begun;
}

/* Of all operations; with a filter, of none. */
static void test_variants(void **state) {
    (void)state;
    for (int v = 1; v < K_VARIANTS; v++) {
        const bool cuda = strncmp(k_family_name((int)k_variant_family(v)), "cuda", 4) == 0;
        if (cuda == OPS_CUDA && !variant_is_tested[v]) fail_msg("no case takes %s", k_variant_name(v));
    }
    for (int back = 0; OPS_CUDA && back < 2; back++)
        if (!weight_is_exact[back ? OP_LINEAR_BWD_X : OP_LINEAR])
            fail_msg("no case has rows for a whole packed weight");
}

static const char *case_file; /* NULL: the cases are those above */

static void check_case(const Case *c) {
    random_begin(op_row[c->op].name, c->in);
    for (int mode = 0; mode < MODES; mode++) {
        size_t mark = pool_mark();
        Call made = call_of(c, mode), *call = &made;
        if (mode && !has_bf16(call)) break;
        if (refused(call)) continue;
        call->cx.variant = first_variant(call);
        Result base;
        How how = how_of(&library_float);
        CHECK(execute(call, &how, &base), "out of place");
        check_bits(call, &base, &library_float);
        check_values(call, &base);
        check_nan(call, &base, &library_float);
        check_unwritten(call, &library_float);
        check_seed(call, &base, &library_float);
        if (call->in[call->nin - 1].shared == '+') check_accumulation(call, &base, &library_float);
        if (c->composition) check_composition(c, call, &base, &library_float);
        check_variants(c, call, &base);
        if (call->op == OP_ATTEND && !case_file) check_steep_scores(call);
        pool_release(mark);
    }
    size_t mark = pool_mark();
    if (c->gradients && !OPS_CUDA) check_gradients(c);
    pool_release(mark);
}

/* Is the operation called in a program? */
static bool is_called(const char *program, Op op) {
    const char *name = op_row[op].name;
    const size_t length = strlen(name);
    for (const char *at = program; at && (at = strstr(at, name)); at += length) {
        const bool begins = at == program || at[-1] == ' ';
        if (begins && (at[length] == '(' || at[length] == '!')) return true;
    }
    return false;
}

/* Nothing of a row goes unproven: a differentiable operation has a formula of its own and a case that holds
 * its gradient against differences; a gradient is called in such a case, or has a formula, and a fused
 * operation has one or is held against the operations that it stands for. */
static void check_proofs(Op op) {
    static const char *const gradient[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           ...)                                                                                              \
    [OP_##NAME] = #gradient,
#include "ir/op.def"
#undef OP
    };
    bool differenced = false, called = false, composed = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        differenced |= cases[i].op == op && cases[i].gradients;
        composed |= cases[i].op == op && cases[i].composition;
        called |= is_called(cases[i].gradients, op);
    }
    const char *name = op_row[op].name;
    if (strcmp(gradient[op], "none") != 0) {
        if (!has_formula[op]) fail_msg("%s has no formula in ops_reference.c", name);
        if (!differenced) fail_msg("no case of %s in ops_cases.def tests its gradient", name);
    } else if (!has_formula[op] && !called && !composed) {
        fail_msg("nothing says what %s computes: a formula, a gradient or a composition", name);
    }
}

static void test_op(void **state) {
    const Op op = (Op)(uintptr_t)*state;
    if (op_row[op].flags & OPF_VIEW) return;
    if (!library_float.kernel[op] || !library_double.kernel[op])
        fail_msg("no kernel is called k_%s", op_row[op].name);
    int count = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].op != op) continue;
        check_case(&cases[i]);
        count++;
    }
    if (count == 0) fail_msg("%s has no case in ops_cases.def", op_row[op].name);
    check_proofs(op);
}

static const char *next_word(void) {
    const char *word = strtok(NULL, ";\n");
    if (!word) fail_msg("%s: a line is not NAME;inputs;outputs;causal", case_file);
    return word;
}

/* Those of a file, a line each (tests/campaign/attention.sh). */
static void test_file(void **state) {
    (void)state;
    char line[512];
    FILE *file = fopen(case_file, "r");
    if (!file) fail_msg("%s cannot be read", case_file);
    int count = 0;
    for (; fgets(line, sizeof line, file); count++) {
        Case c = {.op = OP_COUNT};
        const char *name = strtok(line, ";\n");
        for (int op = 0; op < OP_COUNT; op++)
            if (name && strcmp(op_row[op].name, name) == 0) c.op = (Op)op;
        if (c.op == OP_COUNT) fail_msg("%s: no operation '%s'", case_file, name ? name : "");
        c.in = next_word();
        c.out = next_word();
        c.attr.causal = strcmp(next_word(), "0") != 0;
        check_case(&c);
    }
    fclose(file);
    if (!count) fail_msg("%s has no case", case_file);
}

/* [OPERATION]: one of them, or several by a pattern. `--cases FILE`: those of the file instead. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
#define OP(NAME, name, ...) {#name, test_op, NULL, NULL, (void *)(uintptr_t)OP_##NAME},
#include "ir/op.def"
#undef OP
        cmocka_unit_test(test_variants)};
    if (!library_open(&library_float, OPS_FLOAT, sizeof(float)) ||
        !library_open(&library_double, OPS_DOUBLE, sizeof(double)))
        return 1;
    library_float.pads = OPS_CUDA;
    if (argc > 2 && strcmp(argv[1], "--cases") == 0) {
        const struct CMUnitTest of_file[] = {cmocka_unit_test(test_file)};
        case_file = argv[2];
        return cmocka_run_group_tests_name("cases", of_file, NULL, NULL);
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
