/* The guard against spikes: a batch whose loss stands far above those before it (a broken document, a burst
 * of large gradients) changes no weight. Mean and variance weigh a loss by 0.98 to the number of steps since:
 * some fifty steps; the first twenty all count. A step that is passed over leaves both as they were. On the
 * host the trainer decides before the update; on CUDA the device does, and the update looks (step.h). */
#ifndef REMAT_GUARD_H
#define REMAT_GUARD_H

#include "both.h"

#include <math.h>
#include <stdint.h>

typedef struct KGuard { /* of the losses of steps that changed weights, the last fifty or so */
    double mean, variance;
    int64_t seen, in_a_row; /* how many of them; steps passed over since the last one */
} KGuard;

enum { K_GUARD_SETTLED = 20, K_GUARD_WEIGHED = 50 };

/* Whether the loss of a step lies more than `spread` standard deviations above recent ones, or is no number;
 * else it is one of them from now on. */
static inline K_BOTH int k_guard_step(KGuard *guard, double spread, double loss) {
    const double away = loss - guard->mean;
    const int is_number = loss - loss == 0;
    if (!is_number || (guard->seen >= K_GUARD_SETTLED && away > spread * sqrt(guard->variance))) {
        guard->in_a_row++;
        return 1;
    }
    guard->in_a_row = 0;
    guard->seen++;
    const double share =
        1.0 / (double)(guard->seen < K_GUARD_WEIGHED ? guard->seen : (int64_t)K_GUARD_WEIGHED);
    guard->mean += share * away;
    guard->variance = (1 - share) * (guard->variance + share * away * away);
    return 0;
}

/* What it made of a step, in the memory of whoever decides; the next step goes on from it. */
typedef struct KVerdict {
    KGuard guard;
    int64_t passes; /* the step is passed over */
} KVerdict;

/* The loss that a step is judged by and that its log shows. */
static inline K_BOTH float k_mean_loss(float loss_sum, double targets) {
    return (float)((double)loss_sum / targets);
}
static inline K_BOTH void k_judge(KVerdict *verdict, double spread, float loss_sum, double targets) {
    verdict->passes = k_guard_step(&verdict->guard, spread, (double)k_mean_loss(loss_sum, targets));
}

#ifdef __cplusplus
extern "C" {
#endif
struct KStep;
/* On CUDA: judges the step whose sum of losses is there, and tells its update through `now`. */
void k_guard(void *stream, struct KStep *now, KVerdict *verdict, const float *loss_sum, double spread);
#ifdef __cplusplus
}
#endif

#endif
