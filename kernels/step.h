/* What is another in each micro-step, in the form in which CUDA's kernels read it from the device's memory:
 * whatever a launch has as its arguments stays as it was when the launch was recorded. Derived from a KCtx on
 * the host. */
#ifndef REMAT_STEP_H
#define REMAT_STEP_H

#include "kernels.h"
#include "random.h"

#include <math.h>

typedef struct KStep {
    uint64_t random;          /* k_random_step */
    float correct1, correct2; /* k_correction of AdamW's two moments */
    float less1, less2;       /* the same if the step before is passed over, ... */
    int unheard;              /* ... which the host does not know yet (guard.h) */
    int passes;               /* set by the guard: the update leaves weights and moments as they are */
    float learning_rate, loss_scale;
    double targets;
} KStep;

/* AdamW's bias correction of a moment; time is counted from 1, in steps that changed something. */
static inline double k_correction(int64_t time, double beta) {
    return 1 / (1 - pow(beta, (double)time));
}
static inline int64_t k_time(const KCtx *cx) {
    return cx->step + 1 - cx->passed_over;
}
static inline KStep k_step(const KCtx *cx, double beta1, double beta2) {
    const int64_t time = k_time(cx), less = time - (cx->unheard != 0);
    const KStep step = {k_random_step(cx->seed, cx->step, cx->micro),
                        (float)k_correction(time, beta1),
                        (float)k_correction(time, beta2),
                        (float)k_correction(less, beta1),
                        (float)k_correction(less, beta2),
                        cx->unheard,
                        0,
                        cx->learning_rate,
                        cx->loss_scale,
                        cx->targets};
    return step;
}

#endif
