/* The guard against spikes: a batch whose loss stands far above those before it (a broken document, a burst
 * of large gradients) changes no weight. Mean and variance weigh a loss by 0.98 to the number of steps since:
 * some fifty steps; the first twenty all count. A step that is passed over leaves both as they were. */
#include "internal.h"

#include <math.h>

enum { SETTLED = 20, WEIGHED = 50 };

int rt_guard_step(RtGuard *guard, double spread, double loss) {
    const double away = loss - guard->mean;
    if (!isfinite(loss) || (guard->seen >= SETTLED && away > spread * sqrt(guard->variance))) {
        guard->in_a_row++;
        return 1;
    }
    guard->in_a_row = 0;
    guard->seen++;
    const double share = 1.0 / (double)(guard->seen < WEIGHED ? guard->seen : WEIGHED);
    guard->mean += share * away;
    guard->variance = (1 - share) * (guard->variance + share * away * away);
    return 0;
}
