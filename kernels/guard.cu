/* The guard's decision on the device, so that the update behind it waits for nobody. One thread. */
#include "guard.h"

#include "cuda.cuh"

__global__ void guard_kernel(KStep *now, KVerdict *verdict, const float *loss_sum, double spread) {
    if (now->unheard && verdict->passes) {
        now->correct1 = now->less1;
        now->correct2 = now->less2;
    }
    k_judge(verdict, spread, *loss_sum, now->targets);
    now->passes = (int)verdict->passes;
}

void k_guard(void *stream, KStep *now, KVerdict *verdict, const float *loss_sum, double spread) {
    K_LAUNCH(guard_kernel, k_grid(1), 1, 0, stream, now, verdict, loss_sum, spread);
}
