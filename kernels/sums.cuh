/* The end of sums over rows that are taken beside other work: blocks of rows leave f32 [sums, lanes, width]
 * in the workspace, a lane each (k_cuda_sum_lanes), and one more launch adds the lanes in order.
 * The kernel is in norm_sums.cu. */
#ifndef REMAT_SUMS_CUH
#define REMAT_SUMS_CUH

#include "cuda.cuh"

/* out[i] (+)= the sum over lanes of the i-th; all are [width]. */
void k_add_lanes(const KCtx *cx, int sums, const KTensor *out, const float *partial, int64_t lanes,
                 int64_t width, int adds);

#endif
