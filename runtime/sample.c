/* Text from the trained model: starting from one token (a newline for byte data), each next token is drawn
 * from softmax(logits / 0.8) with bits that depend on the seed, the step and its position only. The window is
 * the last T tokens (fewer where the budget has no room for all their logits); a causal model does not see
 * what stands after the newest. Bytes that are not valid UTF-8, and characters that steer a terminal, are
 * spelled out (printable.h). */
#include "internal.h"
#include "printable.h"
#include "../kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double temperature = 0.8;

/* The logits of window position `row` as floats. */
static void download_logits(const RtRun *run, const RtProgram *program, int64_t row, float *logits) {
    int64_t bytes = rt_dtype_bytes(program->sample_logits_dtype);
    int64_t pitch = program->sample_logits_pitch ? program->sample_logits_pitch : program->vocab;
    const char *from = run->arena + program->sample_logits_offset + row * pitch * bytes;
    rt_device_download(logits, from, program->vocab * bytes);
    if (program->sample_logits_dtype != K_BF16) return;
    for (int64_t i = program->vocab; i-- > 0;) {
        uint16_t bits;
        memcpy(&bits, (const char *)logits + 2 * i, sizeof bits);
        logits[i] = rt_from_bf16(bits);
    }
}

static int32_t draw(const float *logits, int64_t vocab, double uniform) {
    double largest = -INFINITY, sum = 0, passed = 0;
    for (int64_t i = 0; i < vocab; i++) largest = logits[i] > largest ? (double)logits[i] : largest;
    for (int64_t i = 0; i < vocab; i++) sum += exp(((double)logits[i] - largest) / temperature);
    for (int64_t i = 0; i < vocab; i++) {
        passed += exp(((double)logits[i] - largest) / temperature);
        if (passed > uniform * sum) return (int32_t)i;
    }
    return (int32_t)(vocab - 1);
}

static char *bytes_text(const int32_t *token, int64_t count) {
    char *bytes = rt_allocate((size_t)count);
    for (int64_t i = 0; i < count; i++) bytes[i] = (char)(unsigned char)token[i];
    size_t size = printable(NULL, 0, bytes, (size_t)count, "\n\t") + 1;
    char *text = rt_allocate(size);
    printable(text, size, bytes, (size_t)count, "\n\t");
    free(bytes);
    return text;
}

static char *numbers_text(const int32_t *token, int64_t count) {
    char *text = rt_allocate(12 * (size_t)count + 1), *to = text;
    for (int64_t i = 0; i < count; i++) to += sprintf(to, "%s%d", i ? " " : "", token[i]);
    return text;
}

/* All of the window is one document. */
static void upload_document(RtRun *run, const RtDocumentInputs *inputs, int64_t context) {
    if (!inputs) return;
    int32_t *number = rt_allocate((size_t)context * sizeof *number);
    const int64_t bytes = context * (int64_t)sizeof *number;
    const int64_t first = inputs->sample_first_key_offset, last = inputs->sample_last_query_offset,
                  positions = inputs->sample_positions_offset;
    if (first >= 0) rt_device_upload(run->arena + first, number, bytes);
    for (int64_t i = 0; i < context; i++) number[i] = (int32_t)context - 1;
    if (last >= 0) rt_device_upload(run->arena + last, number, bytes);
    for (int64_t i = 0; i < context; i++) number[i] = (int32_t)i;
    if (positions >= 0) rt_device_upload(run->arena + positions, number, bytes);
    free(number);
}

char *rt_sample_text(RtRun *run, const RtProgram *program, int format, uint64_t seed, int64_t step,
                     int64_t most, const volatile sig_atomic_t *stop) {
    enum { STREAM = 0x73616d70 };
    int64_t context = program->sample_context ? program->sample_context : program->context;
    int32_t *token = rt_allocate((size_t)(most + context + 1) * sizeof *token);
    float *logits = rt_allocate((size_t)program->vocab * sizeof *logits);
    uint64_t key = k_random_key(seed, step, 0, STREAM);
    token[0] = format == RT_BYTES && program->vocab > '\n' ? '\n' : 0;
    run->cx.step = step;
    run->cx.micro = 0;
    upload_document(run, program->documents, context);
    int64_t made = 0;
    for (; made < most && !*stop; made++) {
        int64_t have = made + 1, begin = have > context ? have - context : 0;
        rt_device_upload(run->arena + program->sample_tokens_offset, token + begin,
                         context * (int64_t)sizeof *token);
        program->sample(run);
        rt_device_sync();
        download_logits(run, program, have - begin - 1, logits);
        token[have] = draw(logits, program->vocab, k_random24(key, (uint64_t)made) * 0x1p-24);
    }
    char *text = format == RT_BYTES ? bytes_text(token + 1, made) : numbers_text(token + 1, made);
    free(logits);
    free(token);
    return text;
}
