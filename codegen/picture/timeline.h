/* When the steps of a plan run, by the seconds it was planned with: operations one after the other, and
 * beside them copies to host memory and back, each way in a queue of its own. The trainer need not take as
 * long; it keeps to the same order. */
#ifndef REMAT_TIMELINE_H
#define REMAT_TIMELINE_H

#include "codegen/emit.h"

typedef struct TimedCopy {
    uint32_t step; /* the OFFLOAD or FETCH that asks for it */
    bool out;
    double begin, end;
} TimedCopy;

typedef struct Timeline {
    double *begin; /* by step, after it waited; one more: the end of the last */
    double *wait;  /* by step: what it waited for a copy */
    VEC(TimedCopy) copy;
    double micro_seconds; /* one micro-step; steps of the update follow it */
    double end_seconds;
    uint32_t backward_begin; /* the first step that runs a backward operation */
} Timeline;

Timeline timeline_of(const Part *part, const Device *device, Arena *arena);
/* The share of the whole at which a step begins, 0 to 1. */
double timeline_share(const Timeline *timeline, uint32_t step);

#endif
