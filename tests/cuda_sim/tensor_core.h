/* kernels/tensor_core.cuh on the simulated device. Only for tests. */
#ifndef REMAT_CUDA_SIM_TENSOR_CORE_H
#define REMAT_CUDA_SIM_TENSOR_CORE_H

#include "cuda_bf16.h"

#include <cmath>

#define K_TENSOR_CORE

uint32_t sim_shared_address(const void *p);
void sim_mma(float *d, const uint32_t *a, uint32_t b0, uint32_t b1, const char *file, int line);
void sim_ldmatrix(uint32_t *r, uint32_t row, bool transposed, const char *file, int line);
void sim_copy_async(uint32_t to, const void *from, bool there);
void sim_copy_commit(void);
void sim_copy_wait(int pending);

#define k_shared_address(p)           sim_shared_address(p)
#define k_mma(d, a, b0, b1)           sim_mma(d, a, b0, b1, __FILE__, __LINE__)
#define k_ldmatrix(r, row)            sim_ldmatrix(r, row, false, __FILE__, __LINE__)
#define k_ldmatrix_transposed(r, row) sim_ldmatrix(r, row, true, __FILE__, __LINE__)
#define k_copy_async(to, from, there) sim_copy_async(to, from, there)
#define k_copy_commit()               sim_copy_commit()
template <int PENDING> static inline void k_copy_wait(void) {
    sim_copy_wait(PENDING);
}

static inline uint32_t k_pack_bf16(float low, float high) {
    return (uint32_t)__float2bfloat16_rn(low).bits | (uint32_t)__float2bfloat16_rn(high).bits << 16;
}
static inline float k_exp2(float x) {
    return exp2f(x);
}

#endif
