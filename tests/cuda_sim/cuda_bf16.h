/* The bf16 conversions that the kernels use. Only for tests. */
#ifndef REMAT_CUDA_SIM_BF16_H
#define REMAT_CUDA_SIM_BF16_H

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
};
/* Nearest, ties to even; every NaN becomes CUDA's 0x7fff. */
static inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
    return {(uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
static inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) {
    return x.bits;
}

#endif
