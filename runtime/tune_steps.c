/* Times of operations within whole steps: the training program itself runs in its arena, on tokens drawn at
 * random, and each of its calls is timed where it stands, with whatever the calls before it left in the
 * caches. Alone an operation is measured with its operands in none of them, and in a small model that is too
 * slow, beside others too fast. On the host, where an operation is done when its call returns. */
#include "internal.h"
#include "tune.h"
#include "../kernels/random.h"

#include <stdlib.h>

enum { SETTLE_STEPS = 2 }; /* that are not counted: memory is touched for the first time */

typedef struct Watch {
    const RtTuner *tuner;
    const RtProgram *program; /* whose steps these are */
    const int *operation;     /* of the calls of this stretch */
    const int *variant;       /* by operation */
    int calls, next;
    double *seconds; /* [operations] of this step */
} Watch;

static int variant_of_call(RtRun *run) {
    const Watch *watch = run->watch;
    return watch->next < watch->calls ? watch->variant[watch->operation[watch->next]] : K_VARIANT_NONE;
}

static void note_call(RtRun *run, double seconds) {
    Watch *watch = run->watch;
    if (watch->next >= watch->calls) rt_fail(1, "the program has calls that its tuner does not know");
    watch->seconds[watch->operation[watch->next++]] += seconds;
}

static void do_stretch(RtRun *run, Watch *watch, RtStretch stretch) {
    const RtTuneSteps *steps = watch->tuner->steps;
    watch->operation = stretch == RT_UPDATE ? steps->update_call : steps->micro_call;
    watch->calls = stretch == RT_UPDATE ? steps->update_calls : steps->micro_calls;
    watch->next = 0;
    rt_steps_do(run, watch->program, stretch);
    if (watch->next != watch->calls) rt_fail(1, "the tuner knows calls that the program does not have");
}

/* Tokens and targets of the vocabulary, every one of them counts; a row is one document. */
static void draw_rows(const RtRun *run, const RtProgram *program) {
    const int64_t count = program->batch * program->context;
    int32_t *tokens = (int32_t *)(void *)(run->arena + program->tokens_offset),
            *targets = (int32_t *)(void *)(run->arena + program->targets_offset);
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)(k_mix((uint64_t)(2 * i + 1)) % (uint64_t)program->vocab);
        targets[i] = (int32_t)(k_mix((uint64_t)(2 * i + 2)) % (uint64_t)program->vocab);
    }
    for (int64_t i = 0; i < count && program->mask_offset >= 0; i++)
        ((float *)(void *)(run->arena + program->mask_offset))[i] = 1;
    const RtDocumentInputs *documents = program->documents;
    for (int64_t i = 0; i < count && documents; i++) {
        const int32_t place = (int32_t)(i % program->context);
        const struct {
            int64_t offset;
            int32_t value;
        } input[] = {{documents->first_key_offset, 0},
                     {documents->last_query_offset, (int32_t)program->context - 1},
                     {documents->positions_offset, place}};
        for (int k = 0; k < 3; k++)
            if (input[k].offset >= 0) ((int32_t *)(void *)(run->arena + input[k].offset))[i] = input[k].value;
    }
}

static void one_step(RtRun *run, const RtProgram *program, Watch *watch, int64_t step) {
    run->cx.step = step;
    for (int64_t micro = 0; micro < program->accumulate; micro++) {
        run->cx.micro = micro;
        draw_rows(run, program);
        do_stretch(run, watch, micro ? RT_LATER : RT_FIRST);
    }
    if (program->update) do_stretch(run, watch, RT_UPDATE);
}

static void open_run(RtRun *run, const RtProgram *program) {
    rt_device_open(run, program->target);
    run->arena = rt_device_alloc(program->arena_bytes);
    if (program->host_bytes > 0) run->host = rt_device_alloc_host(program->host_bytes, program->copies, 0);
    if (program->most_taken > 0) rt_taken_open(run, program->most_taken);
    void *chunk = rt_allocate(RT_CHUNK_BYTES);
    rt_init_tensors(run, program, 1, 0, chunk);
    free(chunk);
    run->cx.seed = 1;
    run->cx.learning_rate = 1e-4f;
    run->cx.loss_scale = 1 / (float)(program->batch * program->context * program->accumulate);
}

int rt_tune_steps(const RtTuner *tuner, double seconds, const int *variant, double *took) {
    const RtProgram *of = tuner->steps->program;
    const int64_t free_bytes = rt_host_free_bytes();
    if (free_bytes >= 0 && free_bytes < of->arena_bytes + of->host_bytes) return 0;
    RtProgram program = rt_whole(of);
    RtRun run = {0};
    open_run(&run, &program);
    program.guard_spread = 0; /* every update is done */
    Watch watch = {.tuner = tuner, .program = &program, .variant = variant};
    run.watch = &watch;
    run.called = note_call;
    run.choose = variant_of_call;
    double *settled = rt_allocate((size_t)tuner->operations * sizeof *settled);
    watch.seconds = settled;
    int64_t step = 0;
    while (step < SETTLE_STEPS) one_step(&run, &program, &watch, step++);
    const double begin = rt_seconds();
    int counted = 0;
    while (counted < RT_TUNE_STEPS && (counted < RT_TUNE_LEAST_STEPS || rt_seconds() - begin < seconds)) {
        watch.seconds = took + (int64_t)counted++ * tuner->operations;
        one_step(&run, &program, &watch, step++);
    }
    free(settled);
    rt_device_close(&run);
    rt_taken_close(&run);
    rt_whole_free(of, &program);
    return counted;
}
