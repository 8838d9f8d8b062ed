/* A hand-written program for the runtime's tests: a bigram model (next-token logits = table[token] + bias),
 * its table in bf16 with an f32 master, Adam, and noise in the gradient that depends on seed, step and
 * micro-step, so that a resumed run which gets any counter wrong gives other bits. Include in one file of a
 * test only. */
#ifndef REMAT_TESTS_RUNTIME_MODEL_H
#define REMAT_TESTS_RUNTIME_MODEL_H

#include "kernels/random.h"
#include "runtime/internal.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MODEL_B = 4, MODEL_T = 16, MODEL_V = 256, MODEL_ACCUMULATE = 2 };
enum { TABLE, BIAS, MASTER, M_TABLE, V_TABLE, M_BIAS, V_BIAS, GRAD_TABLE, GRAD_BIAS, MODEL_TENSORS };

static RtTensor model_tensor[MODEL_TENSORS];
static int64_t at_tokens, at_targets, at_mask, at_loss, at_norm, at_logits, at_scratch;
static int model_delay_us;   /* per micro-step, signals or not */
static int model_nan_step;   /* the loss of this step is NaN; 0: never */
static int model_spike_step; /* the loss of this one is a hundred times as large */
static int model_reads_dead; /* a wrong program: the loss of the second micro-step reads freed logits */

static const char *model_rows_path; /* every micro-step appends the first token of each row; NULL: not */

static inline float load(const KTensor *t, int64_t i) {
    return t->dtype == K_BF16 ? rt_from_bf16(((const uint16_t *)t->data)[i]) : ((const float *)t->data)[i];
}

static inline void k_model_logits(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                  const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    const int32_t *token = in[0].data;
    float *y = out[0].data;
    if (cx->workspace_bytes) memset(cx->workspace, 1, cx->workspace_bytes);
    for (int64_t r = 0; r < k_count(&in[0]); r++)
        for (int64_t j = 0; j < MODEL_V; j++)
            y[r * MODEL_V + j] = load(&in[1], token[r] * (int64_t)MODEL_V + j) + load(&in[2], j);
}

static inline void k_model_loss(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                const KAttr *attr) {
    (void)nout, (void)attr;
    const float *x = in[0].data, *mask = nin > 2 ? in[2].data : NULL;
    const int32_t *target = in[1].data;
    float sum = 0;
    for (int64_t r = 0; r < k_count(&in[1]); r++) {
        float total = 0;
        for (int64_t j = 0; j < MODEL_V; j++) total += expf(x[r * MODEL_V + j]);
        sum += (mask ? mask[r] : 1) * (logf(total) - x[r * MODEL_V + target[r]]);
    }
    float *loss = out[0].data;
    *loss = cx->micro == 0 ? sum : *loss + sum;
    if (model_spike_step && cx->step + 1 == model_spike_step) *loss *= 100;
    if (model_nan_step && cx->step + 1 == model_nan_step) *loss = NAN;
}

static inline void k_model_grad(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    const float *x = in[0].data;
    const int32_t *token = in[1].data, *target = in[2].data;
    const float *mask = in[3].data;
    float *table = out[0].data, *bias = out[1].data;
    uint64_t key = k_random_key(cx->seed, cx->step, cx->micro, 7);
    for (int64_t i = 0; cx->micro == 0 && i < MODEL_V * MODEL_V; i++) table[i] = 0;
    for (int64_t i = 0; cx->micro == 0 && i < MODEL_V; i++) bias[i] = 0;
    for (int64_t r = 0; r < k_count(&in[1]); r++) {
        float total = 0;
        for (int64_t j = 0; j < MODEL_V; j++) total += expf(x[r * MODEL_V + j]);
        for (int64_t j = 0; j < MODEL_V; j++) {
            float noise = 1 + 0.1f * ((float)k_random24(key, (uint64_t)(r * MODEL_V + j)) * 0x1p-24f - 0.5f);
            float g = (expf(x[r * MODEL_V + j]) / total - (j == target[r] ? 1.0f : 0.0f)) * noise *
                      cx->loss_scale * mask[r];
            table[token[r] * MODEL_V + j] += g;
            bias[j] += g;
        }
    }
}

static inline void k_model_norm(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                const KAttr *attr) {
    (void)cx, (void)nout, (void)attr;
    float sum = 0;
    for (int t = 0; t < nin; t++)
        for (int64_t i = 0; i < k_count(&in[t]); i++) sum += load(&in[t], i) * load(&in[t], i);
    *(float *)out[0].data = sum;
}

/* out: w, m, v, master?; in: g */
static inline void k_model_adam(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                const KAttr *attr) {
    (void)nin, (void)attr;
    float *m = out[1].data, *v = out[2].data, *w = nout > 3 ? out[3].data : out[0].data;
    float one = 1 - powf(0.9f, (float)cx->step + 1), two = 1 - powf(0.99f, (float)cx->step + 1);
    for (int64_t i = 0; i < k_count(&in[0]); i++) {
        float g = load(&in[0], i);
        m[i] = 0.9f * m[i] + 0.1f * g;
        v[i] = 0.99f * v[i] + 0.01f * g * g;
        w[i] -= cx->learning_rate * (m[i] / one) / (sqrtf(v[i] / two) + 1e-8f);
        if (nout > 3) ((uint16_t *)out[0].data)[i] = rt_to_bf16(w[i]);
    }
}

#define TABLE_OF(i) F32(model_tensor[i].offset, MODEL_V, MODEL_V)
#define BIAS_OF(i)  F32(model_tensor[i].offset, MODEL_V)
#define WEIGHTS     BF16(model_tensor[TABLE].offset, MODEL_V, MODEL_V), BIAS_OF(BIAS)

static inline void model_forward(RtRun *run) {
    CALL(model_logits, OUT(F32(at_logits, MODEL_B, MODEL_T, MODEL_V)),
         IN(I32(at_tokens, MODEL_B, MODEL_T), WEIGHTS), NO_ATTR, WORKSPACE(at_scratch, 512));
    if (model_reads_dead && run->cx.micro == 1) FREE(at_logits, MODEL_B * MODEL_T * MODEL_V * 4);
    CALL(model_loss, OUT(F32(at_loss, 1)),
         IN(F32(at_logits, MODEL_B, MODEL_T, MODEL_V), I32(at_targets, MODEL_B, MODEL_T),
            F32(at_mask, MODEL_B, MODEL_T)),
         NO_ATTR, NO_WORKSPACE);
}

static inline void record_rows(const RtRun *run) {
    FILE *file = model_rows_path ? fopen(model_rows_path, "ab") : NULL;
    if (!file) return;
    const int32_t *tokens = (const int32_t *)(run->arena + at_tokens);
    for (int row = 0; row < MODEL_B; row++) fputc(tokens[row * MODEL_T], file);
    fclose(file);
}

static inline void model_micro_step(RtRun *run) {
    for (double end = rt_seconds() + 1e-6 * model_delay_us; rt_seconds() < end;) usleep(200);
    record_rows(run);
    model_forward(run);
    CALL(model_grad, OUT(TABLE_OF(GRAD_TABLE), BIAS_OF(GRAD_BIAS)),
         IN(F32(at_logits, MODEL_B, MODEL_T, MODEL_V), I32(at_tokens, MODEL_B, MODEL_T),
            I32(at_targets, MODEL_B, MODEL_T), F32(at_mask, MODEL_B, MODEL_T)),
         NO_ATTR, NO_WORKSPACE);
    FREE(at_logits, MODEL_B * MODEL_T * MODEL_V * 4);
}

static inline void model_update(RtRun *run) {
    CALL(model_norm, OUT(F32(at_norm, 1)), IN(TABLE_OF(GRAD_TABLE), BIAS_OF(GRAD_BIAS)), NO_ATTR,
         NO_WORKSPACE);
    CALL(model_adam,
         OUT(BF16(model_tensor[TABLE].offset, MODEL_V, MODEL_V), TABLE_OF(M_TABLE), TABLE_OF(V_TABLE),
             TABLE_OF(MASTER)),
         IN(TABLE_OF(GRAD_TABLE)), NO_ATTR, NO_WORKSPACE);
    CALL(model_adam, OUT(BIAS_OF(BIAS), BIAS_OF(M_BIAS), BIAS_OF(V_BIAS)), IN(BIAS_OF(GRAD_BIAS)), NO_ATTR,
         NO_WORKSPACE);
}

static inline void model_evaluate(RtRun *run) {
    model_forward(run);
    FREE(at_logits, MODEL_B * MODEL_T * MODEL_V * 4);
}

static inline void model_sample(RtRun *run) {
    CALL(model_logits, OUT(F32(at_logits, 1, MODEL_T, MODEL_V)), IN(I32(at_tokens, 1, MODEL_T), WEIGHTS),
         NO_ATTR, NO_WORKSPACE);
}

static inline int64_t take(int64_t *end, int64_t bytes) {
    int64_t offset = *end;
    *end += (bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
    return offset;
}

static inline RtProgram model_program(void) {
    static const char *const name[] = {"table",  "bias",   "master.table", "m.table",  "v.table",
                                       "m.bias", "v.bias", "grad.table",   "grad.bias"};
    static const int kind[] = {RT_PARAM,   RT_PARAM,   RT_MASTER,      RT_MOMENT1,    RT_MOMENT2,
                               RT_MOMENT1, RT_MOMENT2, RT_ACCUMULATOR, RT_ACCUMULATOR};
    static const int of[] = {TABLE, BIAS, TABLE, TABLE, TABLE, BIAS, BIAS, TABLE, BIAS};
    static const RtCategory category[] = {{"parameters", MODEL_V * (MODEL_V + 2) * 2},
                                          {"states", 12 * MODEL_V * MODEL_V}};
    int64_t end = 0, rows = MODEL_B * MODEL_T;
    for (int i = 0; i < MODEL_TENSORS; i++) {
        RtTensor *t = &model_tensor[i];
        *t = (RtTensor){.name = name[i], .kind = kind[i], .dtype = i == TABLE ? K_BF16 : K_F32, .of = of[i]};
        t->rank = of[i] == TABLE ? 2 : 1;
        t->dim[0] = t->dim[1] = MODEL_V;
        if (t->rank == 1) t->dim[1] = 0;
        t->init = of[i] == BIAS;
        t->init_value = of[i] == BIAS ? 0 : 0.02;
        t->offset = take(&end, rt_tensor_bytes(t));
    }
    at_tokens = take(&end, rows * 4);
    at_targets = take(&end, rows * 4);
    at_mask = take(&end, rows * 4);
    at_loss = take(&end, 4);
    at_norm = take(&end, 4);
    at_logits = take(&end, rows * MODEL_V * 4);
    at_scratch = take(&end, 512);
    return (RtProgram){.model = "bigram",
                       .source = "bigram.remat",
                       .target = "host",
                       .device = "host",
                       .arena_bytes = end,
                       .category = category,
                       .categories = 2,
                       .planned_seconds = 0.01,
                       .flops = 1e6,
                       .peak_flops = 1e9,
                       .tensor = model_tensor,
                       .tensors = MODEL_TENSORS,
                       .batch = MODEL_B,
                       .context = MODEL_T,
                       .vocab = MODEL_V,
                       .accumulate = MODEL_ACCUMULATE,
                       .tokens_offset = at_tokens,
                       .targets_offset = at_targets,
                       .mask_offset = at_mask,
                       .loss_offset = at_loss,
                       .norm_offset = at_norm,
                       .micro_step = model_micro_step,
                       .update = model_update,
                       .evaluate = model_evaluate,
                       .sample = model_sample,
                       .sample_tokens_offset = at_tokens,
                       .sample_logits_offset = at_logits,
                       .sample_logits_dtype = K_F32,
                       .steps = 20,
                       .learning_rate = 0.1,
                       .floor = 0.1,
                       .schedule = RT_COSINE,
                       .warmup_steps = 4,
                       .seed = 11,
                       .train_path = "text.txt",
                       .format = RT_BYTES,
                       .validate_fraction = 0.2,
                       .validate_every = 5,
                       .validate_batches = 2,
                       .save_dir = "out/run",
                       .save_every = 5,
                       .save_keep = 2};
}

#endif
