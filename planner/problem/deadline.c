/* See deadline.h. */
#include "planner/problem/deadline.h"

#include <time.h>

static double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

Deadline deadline_after(double seconds) {
    return (Deadline){seconds > 0 ? clock_seconds() + seconds : 0};
}

bool deadline_passed(const Deadline *deadline) {
    return deadline && deadline->seconds > 0 && clock_seconds() > deadline->seconds;
}
