/* When to give up. The only thing the planner reads from a clock, and only where a request names a time. */
#ifndef REMAT_PROBLEM_DEADLINE_H
#define REMAT_PROBLEM_DEADLINE_H

#include "ir/base.h"

typedef struct Deadline {
    double seconds; /* of the monotonic clock; 0: never */
} Deadline;

Deadline deadline_after(double seconds);        /* 0: never */
bool deadline_passed(const Deadline *deadline); /* NULL: never */

#endif
