/* The closure bound in whole sets: branch and bound over what runs again after one instant. */
#ifndef REMAT_BOUND_EXACT_CLOSURE_H
#define REMAT_BOUND_EXACT_CLOSURE_H

#include "planner/bound/closure.h"
#include "planner/problem/deadline.h"

typedef struct Proof {
    double upper_seconds;     /* of the best schedule known: no need to prove more */
    double unit_seconds;      /* every schedule's seconds are a multiple of it; 0: unknown */
    uint32_t cuts;            /* at most so many minimum cuts */
    const Deadline *deadline; /* and none after it; NULL: never */
    /* Called with every better set found; may return a lower `upper_seconds`. */
    double (*found)(void *context, uint32_t instant, const bool *keep);
    void *context;
} Proof;

/* No schedule within the budget recomputes for less than this, after the instant. Lowers `upper_seconds` as
 * `found` says and `cuts` by those used. */
double exact_closure_seconds(const Problem *p, uint32_t instant, int64_t budget_bytes, Proof *proof,
                             Arena *arena);

/* The largest number that divides all seconds, where they are whole numbers; else 0. */
double exact_closure_unit(const Problem *p);

#endif
