/* The update on the host: squared gradient norm, clipping factor, AdamW with moments as floats or as 8-bit
 * codes. AdamW is one pass over memory: it loads a run of every operand, updates it and stores it. Sums go to
 * K_LANES lanes, fixed by the number of elements alone. Compile with -fno-math-errno, or the square roots do
 * not vectorise. */
#include "codes.h"
#include "packed.h"
#include "host.h"
#include "step.h"

/* PIECE elements are loaded at a time: so few that a processor that runs ahead has the next ones on their way
 * from memory while it computes. */
enum { SERIAL_ELEMENTS = 16384, PIECE = 256 };

/* Of elements [first, first + n). */
static double run_squares(const KTensor *t, int64_t first, int64_t n) {
    KVec a = {0}, b = {0};
    for (int64_t at = 0; at < n; at += PIECE) {
        real buffer[PIECE];
        const int64_t count = k_min(PIECE, n - at);
        const real *x = k_load(t, first + at, count, buffer);
        int64_t i = 0;
        for (; i + 2 * K_LANES <= count; i += 2 * K_LANES) {
            a += *(const KVec *)(x + i) * *(const KVec *)(x + i);
            b += *(const KVec *)(x + i + K_LANES) * *(const KVec *)(x + i + K_LANES);
        }
        for (; i < count; i++) a[i % K_LANES] += x[i] * x[i];
    }
    a += b;
    return (double)k_lane_sum(&a);
}

/* A lane holds a stretch of runs and sums them in double. */
static double squares_after(double before, const KTensor *g) {
    const int64_t n = k_count(g), runs = (n + K_RUN - 1) / K_RUN;
    double partial[K_LANES] = {0};
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int lane = 0; lane < K_LANES; lane++) {
        double sum = 0;
        for (int64_t r = runs * lane / K_LANES; r < runs * (lane + 1) / K_LANES; r++)
            sum += run_squares(g, r * K_RUN, k_min(K_RUN, n - r * K_RUN));
        partial[lane] = sum;
    }
    for (int lane = 0; lane < K_LANES; lane++) before += partial[lane];
    return before;
}

/* g.., sum [1] (written over) -> sum (+)= |g|^2 of each, as attr.acc says */
void k_square_norm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)nout;
    real sum = k_adds(cx, attr) ? k_get(&out[0], 0) : 0;
    for (int t = 0; t + 1 < nin; t++) sum = (real)squares_after((double)sum, &in[t]);
    k_put(&out[0], 0, sum);
}

/* sum [1] -> min(1, max_norm / sqrt(sum)) */
void k_clip_scale(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                  const KAttr *attr) {
    (void)cx, (void)nout, (void)nin;
    const double scale = attr->max_norm / sqrt((double)k_get(&in[0], 0));
    k_put(&out[0], 0, scale > 1 ? (real)1 : (real)scale);
}

typedef struct AdamW {
    real scale, beta1, rest1, beta2, rest2, correct1, correct2, eps, rate, decay, keep;
} AdamW;

/* `keep` multiplies the updated weight: 1, unless the decay comes last. */
static AdamW adamw_rule(const KCtx *cx, real scale, const KAttr *attr, int decay_last) {
    const double rate = (double)cx->learning_rate;
    return (AdamW){
        .scale = scale,
        .beta1 = (real)attr->beta1,
        .rest1 = (real)(1 - attr->beta1),
        .beta2 = (real)attr->beta2,
        .rest2 = (real)(1 - attr->beta2),
        .correct1 = (real)k_correction(k_time(cx), attr->beta1),
        .correct2 = (real)k_correction(k_time(cx), attr->beta2),
        .eps = (real)attr->eps,
        .rate = (real)cx->learning_rate,
        .decay = decay_last ? 0 : (real)attr->decay,
        .keep = decay_last ? (real)(1 - rate * attr->decay) : 1,
    };
}

/* The weight after a step by the moments. */
static inline real stepped(const AdamW *a, real w, real first, real second) {
    real root = K_REAL_IS_DOUBLE ? (real)sqrt((double)(second * a->correct2))
                                 : (real)sqrtf((float)(second * a->correct2));
    return (w - a->rate * (first * a->correct1 / (root + a->eps) + a->decay * w)) * a->keep;
}

static void adamw_run(const AdamW *rule, int64_t n, const real *g, real *w, real *m, real *v) {
    const AdamW a = *rule;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real slope = g[i] * a.scale;
        real first = a.beta1 * m[i] + a.rest1 * slope;
        real second = a.beta2 * v[i] + a.rest2 * (slope * slope);
        m[i] = first;
        v[i] = second;
        w[i] = stepped(&a, w[i], first, second);
    }
}

/* A run of a tensor to update in place: its own memory, or `buffer` filled from it. */
static inline real *open_run(const KTensor *t, int64_t first, int64_t n, real *buffer) {
    real *to = k_target(t, first, buffer);
    k_load(t, first, n, buffer);
    return to;
}

/* The weight beside its master copy. */
static inline void put_rounded(const KTensor *to, int64_t first, int64_t n, const real *w, real *buffer) {
    real *rounded = k_target(to, first, buffer);
    if (rounded != buffer) memcpy(rounded, w, (size_t)n * sizeof(real));
    k_store(to, first, n, w);
}

/* One weight's gradient; w, m, v, master? to write over. */
typedef void Update(const AdamW *rule, const KTensor *g, const KTensor *state, const KTensor *master);

/* g.., scale [1]?, then w, m, v, master? of each -> these */
static void update_each(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                        const KAttr *attr, int decay_last, Update *update) {
    const int tensors = k_tensors(attr), states = nout / tensors;
    AdamW rule = adamw_rule(cx, nin > nout + tensors ? k_get(&in[tensors], 0) : (real)1, attr, decay_last);
    for (int t = 0; t < tensors; t++) {
        const KTensor *state = &out[t * states];
        if (t == k_decayed(attr)) rule.decay = 0, rule.keep = 1;
        update(&rule, &in[t], state, states > 3 ? &state[3] : NULL);
    }
}

static void adamw_update(const AdamW *rule, const KTensor *g, const KTensor *out, const KTensor *master) {
    const int64_t n = k_count(g), pieces = (n + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t r = 0; r < pieces; r++) {
        real g_buffer[PIECE], w_buffer[PIECE], m_buffer[PIECE], v_buffer[PIECE];
        const int64_t first = r * PIECE, count = k_min(PIECE, n - first);
        const KTensor *exact = master ? master : &out[0];
        const real *slope = k_load(g, first, count, g_buffer);
        real *w = open_run(exact, first, count, w_buffer), *m = open_run(&out[1], first, count, m_buffer);
        real *v = open_run(&out[2], first, count, v_buffer);
        adamw_run(rule, count, slope, w, m, v);
        k_store(exact, first, count, w);
        k_store(&out[1], first, count, m);
        k_store(&out[2], first, count, v);
        if (master) put_rounded(&out[0], first, count, w, g_buffer);
    }
}

/* The arithmetic is Loshchilov and Hutter 2019, algorithm 2, with the rate's schedule in cx->learning_rate
 * and time counted from 1. */
void k_adamw(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    update_each(cx, nout, out, nin, in, attr, attr->decay_last != 0, adamw_update);
}

/* ---- moments in 8 bits ---- */

typedef struct Moment { /* one of a packed type: codes and scales */
    unsigned char *code;
    float *scale, map[256], middle[K_DYNAMIC_MIDDLES];
} Moment;

static Moment moment_of(const KTensor *t) {
    const int is_signed = t->dtype == K_DYNAMIC8;
    const KSections at = k_sections(k_packing(t->dtype), k_count(t));
    Moment m = {.code = t->data, .scale = (float *)(void *)((char *)t->data + at.scales)};
    for (int c = 0; c < 256; c++) m.map[c] = k_dynamic_value(is_signed, c);
    k_dynamic_middles(is_signed, m.middle);
    return m;
}

static void load_moment(const Moment *m, int64_t block, int64_t n, real *x) {
    const unsigned char *code = m->code + block * K_DYNAMIC_BLOCK;
    for (int64_t i = 0; i < n; i++) x[i] = (real)(m->map[code[i]] * m->scale[block]);
}

static void store_moment(const Moment *m, int64_t block, int64_t n, const real *x) {
    float narrow[K_DYNAMIC_BLOCK];
    for (int64_t i = 0; i < n; i++) narrow[i] = (float)x[i];
    const float most = m->scale[block] = k_largest(narrow, n), divisor = k_divisor(most);
    for (int64_t i = 0; i < n; i++) narrow[i] /= divisor;
    k_dynamic_codes(narrow, n, m->middle, m->code + block * K_DYNAMIC_BLOCK);
}

static inline real fused(real a, real b, real c) {
    return K_REAL_IS_DOUBLE ? (real)fma((double)a, (double)b, (double)c)
                            : (real)fmaf((float)a, (float)b, (float)c);
}

/* The moments as bitsandbytes' reference rounds them: a bit more or less is now and then another code. */
static void adamw8bit_run(const AdamW *rule, int64_t n, const real *g, real *w, real *m, real *v) {
    const AdamW a = *rule;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real slope = g[i] * a.scale;
        m[i] = fused(slope, a.rest1, m[i] * a.beta1);
        v[i] = fused(a.rest2 * slope, slope, v[i] * a.beta2);
        w[i] = stepped(&a, w[i], m[i], v[i]);
    }
}

/* As k_adamw, but for where the moments lie and for the decay, which comes last. The weight is updated by the
 * new moments before these are rounded to codes. Dettmers et al. 2022, "8-bit Optimizers via Block-wise
 * Quantization". */
static void adamw8bit_update(const AdamW *rule, const KTensor *g, const KTensor *out, const KTensor *master) {
    const KTensor *exact = master ? master : &out[0];
    const int64_t n = k_count(g), blocks = (n + K_DYNAMIC_BLOCK - 1) / K_DYNAMIC_BLOCK;
    const Moment moment1 = moment_of(&out[1]), moment2 = moment_of(&out[2]);
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMENTS)
    for (int64_t b = 0; b < blocks; b++) {
        real g_buffer[K_DYNAMIC_BLOCK], w_buffer[K_DYNAMIC_BLOCK], m[K_DYNAMIC_BLOCK], v[K_DYNAMIC_BLOCK];
        const int64_t first = b * K_DYNAMIC_BLOCK, count = k_min(K_DYNAMIC_BLOCK, n - first);
        const real *slope = k_load(g, first, count, g_buffer);
        real *w = open_run(exact, first, count, w_buffer);
        load_moment(&moment1, b, count, m);
        load_moment(&moment2, b, count, v);
        adamw8bit_run(rule, count, slope, w, m, v);
        k_store(exact, first, count, w);
        store_moment(&moment1, b, count, m);
        store_moment(&moment2, b, count, v);
        if (master) put_rounded(&out[0], first, count, w, g_buffer);
    }
}
void k_adamw8bit(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                 const KAttr *attr) {
    update_each(cx, nout, out, nin, in, attr, 1, adamw8bit_update);
}
