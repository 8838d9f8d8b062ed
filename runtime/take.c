/* Calls that work over several tensors: their operands are taken one tensor after the other (TAKE,
 * TAKE_OVER), layer by layer, and handed to the kernel together. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct RtTaken {
    int reads, overs;
    KTensor *read, *over; /* room for those of the largest call */
} RtTaken;

void rt_taken_open(RtRun *run, int most) {
    RtTaken *taken = run->taken = rt_allocate(sizeof *taken);
    taken->read = rt_allocate(2 * (size_t)most * sizeof *taken->read);
    taken->over = taken->read + most;
}

void rt_taken_close(RtRun *run) {
    if (run->taken) free(run->taken->read);
    free(run->taken);
}

void rt_take(RtRun *run, int over, int count, const KTensor *tensor) {
    RtTaken *taken = run->taken;
    memcpy(over ? taken->over + taken->overs : taken->read + taken->reads, tensor,
           (size_t)count * sizeof *tensor);
    *(over ? &taken->overs : &taken->reads) += count;
}

void rt_call_taken(RtRun *run, const char *kernel_name, KFunction *kernel, const KAttr *attr,
                   int64_t workspace_offset, int64_t workspace_bytes) {
    RtTaken *taken = run->taken;
    memcpy(taken->read + taken->reads, taken->over, (size_t)taken->overs * sizeof *taken->over);
    rt_call(run, kernel_name, kernel, taken->overs, taken->over, taken->reads + taken->overs, taken->read,
            attr, workspace_offset, workspace_bytes);
    taken->reads = taken->overs = 0;
}
