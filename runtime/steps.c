/* What a step does over and over: its first micro-step, which begins the sum of losses, the later ones, and
 * the update. In: the program. Where the device can, each is recorded once, before anything is read, and done
 * by replay: one call of the host for some hundred operations, so that the device never waits for the next.
 * What is recorded has addresses and attributes in it; what differs between steps reaches it through memory
 * (KCtx.now, the batch). Which of the first two it is decides whether gradients are added to, so they are
 * recorded apart. */
#include "internal.h"

#include <stdlib.h>

typedef struct RtRecorded {
    struct Recording {
        int64_t high_water_bytes, host_high_water_bytes; /* what it touches when it is replayed */
    } of[RT_STRETCHES];
} RtRecorded;

static int has(const RtProgram *program, RtStretch stretch) {
    if (stretch == RT_LATER) return program->accumulate > 1;
    return stretch == RT_FIRST || program->update;
}

static void issue(RtRun *run, const RtProgram *program, RtStretch stretch) {
    if (stretch == RT_FIRST) rt_device_fill(run->arena + program->loss_offset, 0, sizeof(float));
    if (stretch != RT_UPDATE) {
        program->micro_step(run);
        return;
    }
    if (program->guard_spread > 0 &&
        rt_device_judge(run, run->arena + program->loss_offset, program->guard_spread))
        return;
    program->update(run);
}

void rt_steps_record(RtRun *run, const RtProgram *program, RtNodes *nodes) {
    RtRecorded *recorded = rt_allocate(sizeof *recorded);
    RtRun recording = *run; /* nothing is done yet: it leaves no mark in the run's own */
    for (RtStretch stretch = RT_FIRST; stretch < RT_STRETCHES; stretch++) {
        struct Recording *it = &recorded->of[stretch];
        nodes->of[stretch] = 0;
        if (!has(program, stretch)) continue;
        recording.cx.micro = stretch == RT_LATER;
        recording.high_water_bytes = recording.host_high_water_bytes = 0;
        rt_device_record_begin();
        issue(&recording, program, stretch);
        nodes->of[stretch] = rt_device_record_end((int)stretch);
        *it = (struct Recording){recording.high_water_bytes, recording.host_high_water_bytes};
    }
    run->recorded = recorded;
}

void rt_steps_forget(RtRun *run) {
    free(run->recorded);
    run->recorded = NULL;
}

void rt_steps_do(RtRun *run, const RtProgram *program, RtStretch stretch) {
    if (!has(program, stretch)) return;
    if (!run->recorded) {
        issue(run, program, stretch);
        return;
    }
    rt_device_replay((int)stretch);
    rt_raise_to(&run->high_water_bytes, run->recorded->of[stretch].high_water_bytes);
    rt_raise_to(&run->host_high_water_bytes, run->recorded->of[stretch].host_high_water_bytes);
}
