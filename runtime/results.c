/* What a step results in, brought to the host behind its update and read when it is there: on a device that
 * computes beside the host, after the next step was issued, so that it never waits for one to be looked at.
 * One slot is written to while the other is read. */
#include "internal.h"

enum { PAGE = 4096 }; /* slots share none, so that what is on its way can be told from what is not */

void rt_results_open(RtResults *results) {
    *results = (RtResults){.slots = rt_device_alloc_slots(RT_SLOTS * PAGE)};
}

void rt_results_close(RtResults *results) {
    if (results->slots) rt_device_free_slots(results->slots);
    *results = (RtResults){0};
}

static RtResult *slot_of(const RtResults *results, int slot) {
    return (RtResult *)(void *)(results->slots + slot * PAGE);
}

void rt_results_ask(RtResults *results, const RtRun *run, const RtProgram *program) {
    RtResult *to = slot_of(results, results->next);
    rt_device_bring(&to->loss_sum, run->arena + program->loss_offset, sizeof to->loss_sum);
    if (program->norm_offset >= 0)
        rt_device_bring(&to->square_norm, run->arena + program->norm_offset, sizeof to->square_norm);
    if (program->guard_spread > 0)
        rt_device_bring(&to->verdict, (const char *)run->verdict, sizeof to->verdict);
    rt_device_brought(results->next);
    results->next = (results->next + 1) % RT_SLOTS;
    results->waiting++;
}

const RtResult *rt_results_read(RtResults *results) {
    const int oldest = (results->next + RT_SLOTS - results->waiting) % RT_SLOTS;
    rt_device_wait_brought(oldest);
    results->waiting--;
    return slot_of(results, oldest);
}
