/* A warm start: every kernel and every product of the program runs once over an arena of zeros, before
 * anything is read. CUDA loads the code of a kernel into the device's memory, and cuBLASLt that of a product,
 * when it is first used; steps are recorded next, which takes memory of the device too. Afterwards nothing of
 * the run takes any more, so what does not fit shows here. */
#include "internal.h"

#include <string.h>

static void run_all(RtRun *run, const RtProgram *program) {
    program->micro_step(run);
    if (program->guard_spread > 0)
        rt_device_judge(run, run->arena + program->loss_offset, program->guard_spread);
    if (program->update) program->update(run);
    if (program->evaluate) program->evaluate(run);
    if (program->sample) program->sample(run);
    if (program->step) program->step(run);
    rt_device_sync();
}

void rt_warm_up(RtRun *run, const RtProgram *program, const RtOptions *options) {
    if (!strcmp(program->target, "host")) return;
    rt_device_fill(run->arena, 0, program->arena_bytes);
    if (run->host) memset(run->host, 0, (size_t)program->host_bytes);
    RtRun first = {
        .arena = run->arena, .host = run->host, .cx = run->cx, .taken = run->taken, .verdict = run->verdict};
    first.cx.targets = 1;
    first.cx.loss_scale = 1;
    const KStep now = k_step(&first.cx, program->beta1, program->beta2);
    rt_device_upload((char *)run->cx.now, &now, sizeof now);
    run_all(&first, program);
    /* with a profile every operation is waited for */
    const char *why_not = options->no_graph ? "--no-graph" : options->profile ? "--profile" : NULL;
    RtNodes nodes;
    if (!why_not) rt_steps_record(run, program, &nodes);
    if (options->quiet) return;
    rt_log_recorded(why_not ? NULL : &nodes, why_not);
    rt_log_warm(program, rt_device_used_bytes(), rt_device_free_bytes());
}
