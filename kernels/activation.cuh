/* Activations and their slopes, of one element. */
#ifndef REMAT_ACTIVATION_CUH
#define REMAT_ACTIVATION_CUH

#include "cuda.cuh"

/* 0.5 (1 + tanh(u)) = sigmoid(2 u), with u = sqrt(2/pi) (x + 0.044715 x^3). */
static const float GELU_LINEAR = 1.5957691216057307f; /* 2 sqrt(2/pi) */
static const float GELU_CUBIC = 0.07135481627362502f; /* 0.044715 of it */

static __device__ inline float gelu(float x) {
    return x * k_sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x));
}
static __device__ inline float gelu_slope(float x) {
    const float s = k_sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x));
    return s + x * s * (1.0f - s) * (GELU_LINEAR + 3.0f * GELU_CUBIC * x * x);
}
static __device__ inline float silu_slope(float x) {
    const float s = k_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

#endif
