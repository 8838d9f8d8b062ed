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
    float learning_rate, loss_scale;
} KStep;

/* AdamW's bias correction of a moment; time is counted from 1, in steps that changed something. */
static inline double k_correction(const KCtx *cx, double beta) {
    return 1 / (1 - pow(beta, (double)(cx->step + 1 - cx->passed_over)));
}
static inline KStep k_step(const KCtx *cx, double beta1, double beta2) {
    const KStep step = {k_random_step(cx->seed, cx->step, cx->micro), (float)k_correction(cx, beta1),
                        (float)k_correction(cx, beta2), cx->learning_rate, cx->loss_scale};
    return step;
}

#endif
