/* Text from the trained model: behind a prompt (one token, a newline for byte data; of documents what stands
 * before the first token with loss), each next token is drawn from softmax(logits / temperature) with bits
 * that depend on the seed, the step and its position only. The window is the last T tokens (fewer where the
 * budget has no room for all their logits); a causal model does not see what stands after the newest. While
 * the text fits into it, a program that keeps keys and values runs for each token alone; then all positions
 * move with each token, and the whole window is run. Bytes that are not valid UTF-8, and characters that
 * steer a terminal, are spelled out (printable.h). */
#include "internal.h"
#include "printable.h"
#include "../kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row of logits, at an offset of the arena, as floats. */
static void download_logits(const RtRun *run, const RtProgram *program, int64_t offset, float *logits) {
    rt_device_download(logits, run->arena + offset,
                       program->vocab * rt_dtype_bytes(program->sample_logits_dtype));
    if (program->sample_logits_dtype != K_BF16) return;
    for (int64_t i = program->vocab; i-- > 0;) {
        uint16_t bits;
        memcpy(&bits, (const char *)logits + 2 * i, sizeof bits);
        logits[i] = rt_from_bf16(bits);
    }
}

static int32_t likeliest(const float *logits, int64_t vocab) {
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static int32_t draw(const float *logits, int64_t vocab, double temperature, double uniform) {
    const int32_t best = likeliest(logits, vocab);
    double largest = (double)logits[best], sum = 0, passed = 0;
    if (temperature <= 0) return best;
    for (int64_t i = 0; i < vocab; i++) sum += exp(((double)logits[i] - largest) / temperature);
    for (int64_t i = 0; i < vocab; i++) {
        passed += exp(((double)logits[i] - largest) / temperature);
        if (passed > uniform * sum) return (int32_t)i;
    }
    return (int32_t)(vocab - 1);
}

static char *printable_text(const char *bytes, size_t count) {
    size_t size = printable(NULL, 0, bytes, count, "\n\t") + 1;
    char *text = rt_allocate(size);
    printable(text, size, bytes, count, "\n\t");
    return text;
}

static char *bytes_text(const int32_t *token, int64_t count) {
    char *bytes = rt_allocate((size_t)count);
    for (int64_t i = 0; i < count; i++) bytes[i] = (char)(unsigned char)token[i];
    char *text = printable_text(bytes, (size_t)count);
    free(bytes);
    return text;
}

static char *numbers_text(const int32_t *token, int64_t count) {
    char *text = rt_allocate(12 * (size_t)count + 1), *to = text;
    for (int64_t i = 0; i < count; i++) to += sprintf(to, "%s%d", i ? " " : "", token[i]);
    return text;
}

/* What a token past the vocabulary's end stands for is nothing. */
static char *words_text(const RtVocabulary *vocabulary, const int32_t *token, int64_t count) {
    char *bytes = NULL;
    size_t length = 0;
    FILE *out = rt_text_open(&bytes, &length);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t t = (uint32_t)token[i];
        if (t >= vocabulary->tokens) continue;
        const uint32_t begin = t ? vocabulary->end[t - 1] : 0;
        fwrite(vocabulary->text + begin, 1, vocabulary->end[t] - begin, out);
    }
    rt_text_close(out, &bytes);
    char *text = printable_text(bytes, length);
    free(bytes);
    return text;
}

char *rt_tokens_text(const RtVocabulary *vocabulary, int format, const int32_t *token, int64_t count) {
    if (vocabulary) return words_text(vocabulary, token, count);
    return format == RT_BYTES ? bytes_text(token, count) : numbers_text(token, count);
}

static int stops(const RtVocabulary *vocabulary, int32_t token) {
    for (uint32_t i = 0; vocabulary && i < vocabulary->stops; i++)
        if (vocabulary->stop[i] == (uint32_t)token) return 1;
    return 0;
}

static int64_t window_of(const RtProgram *program) {
    return program->sample_context ? program->sample_context : program->context;
}

/* All of the window is one document: what each token sees, and its place, -1 where the program asks for none.
 */
static void upload_places(RtRun *run, const RtProgram *program) {
    const RtDocumentInputs *inputs = program->documents;
    const int64_t context = window_of(program), bytes = context * (int64_t)sizeof(int32_t);
    const int64_t first = inputs ? inputs->sample_first_key_offset : -1,
                  last = inputs ? inputs->sample_last_query_offset : -1;
    int64_t positions = inputs ? inputs->sample_positions_offset : -1;
    if (program->prompt_at_once) positions = program->sample_positions_offset;
    if (first < 0 && last < 0 && positions < 0) return;
    int32_t *number = rt_allocate((size_t)bytes);
    if (first >= 0) rt_device_upload(run->arena + first, number, bytes);
    for (int64_t i = 0; i < context; i++) number[i] = (int32_t)context - 1;
    if (last >= 0) rt_device_upload(run->arena + last, number, bytes);
    for (int64_t i = 0; i < context; i++) number[i] = (int32_t)i;
    if (positions >= 0) rt_device_upload(run->arena + positions, number, bytes);
    free(number);
}

/* The logits behind the last of `have` tokens, from all of the window. `token` has room for the window. */
static void run_window(RtRun *run, const RtProgram *program, const int32_t *token, int64_t have,
                       float *logits) {
    const int64_t context = window_of(program), begin = have > context ? have - context : 0;
    const int64_t pitch = program->sample_logits_pitch ? program->sample_logits_pitch : program->vocab;
    rt_device_upload(run->arena + program->sample_tokens_offset, token + begin,
                     context * (int64_t)sizeof *token);
    upload_places(run, program); /* a token that was run by itself has left its own */
    program->sample(run);
    rt_device_sync();
    const int64_t row = (have - begin - 1) * pitch * rt_dtype_bytes(program->sample_logits_dtype);
    download_logits(run, program, program->sample_logits_offset + row, logits);
}

/* One token, which leaves its keys and values for those after it. */
static void run_token(RtRun *run, const RtProgram *program, int32_t token, int32_t position) {
    rt_device_upload(run->arena + program->step_token_offset, &token, sizeof token);
    rt_device_upload(run->arena + program->step_position_offset, &position, sizeof position);
    program->step(run);
}

char *rt_sample_text(RtRun *run, const RtProgram *program, const RtSample *sample,
                     const volatile sig_atomic_t *stop) {
    enum { STREAM = 0x73616d70 };
    const int64_t context = window_of(program);
    const int64_t given = sample->prompts, most = given + sample->most;
    int32_t *token = rt_allocate((size_t)(most + context) * sizeof *token);
    float *logits = rt_allocate((size_t)program->vocab * sizeof *logits);
    uint64_t key = k_random_key(sample->seed, sample->step, 0, STREAM);
    memcpy(token, sample->prompt, (size_t)given * sizeof *token);
    run->cx.step = sample->step;
    run->cx.micro = 0;
    int64_t have = given, fed = 0;
    while (have < most && !*stop) {
        const int fits = program->step && have <= context;
        if (!fits || (!fed && program->prompt_at_once && have >= program->prompt_at_once)) {
            run_window(run, program, token, have, logits);
            fed = have;
        } else {
            run_token(run, program, token[fed], (int32_t)fed);
            if (++fed < have) continue; /* the prompt */
            download_logits(run, program, program->step_logits_offset, logits);
        }
        const double uniform = k_random24(key, (uint64_t)(have - given)) * 0x1p-24;
        token[have] = draw(logits, program->vocab, sample->temperature, uniform);
        if (stops(sample->vocabulary, token[have])) break;
        have++;
    }
    char *text = rt_tokens_text(sample->vocabulary, sample->format, token + given, have - given);
    free(logits);
    free(token);
    return text;
}
