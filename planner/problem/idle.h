/* Stretches of a sequence in which a storage lies idle from the start of one of its gaps to its next reader:
 * the times it may spend in host memory. */
#ifndef REMAT_PROBLEM_IDLE_H
#define REMAT_PROBLEM_IDLE_H

#include "planner/problem/replay.h"

typedef struct IdleStretch {
    uint32_t storage, gap;
    uint32_t out_run, back_run; /* the touches before and after it, as positions in the sequence */
} IdleStretch;

typedef struct IdleStretches {
    const Problem *p;
    Arena *arena;
    VEC(IdleStretch) found; /* in order of out_run */
    VEC(double) start;      /* by run, nothing waiting; one more for the end */
    uint32_t *last, *gap;   /* by storage: run that touched it last; gap of that run's time */
} IdleStretches;

IdleStretches idle_new(const Problem *p, Arena *arena);
/* Of the storages in `only` (NULL: all) that nothing writes over; the runs serve `time`. */
void idle_find(IdleStretches *x, const bool *only, const Sequence *sequence, const uint32_t *time);

/* Orders by run, then by number: the run in the upper half. */
typedef VEC(uint64_t) IdleOrder;
void idle_order_add(IdleOrder *order, uint32_t run, uint32_t number, Arena *arena);
void idle_order_sort(IdleOrder *order);

#endif
