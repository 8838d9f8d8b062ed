/* Randomness as a pure function of (seed, step, micro-step, stream, element), the same on host and device:
 * a recomputed dropout draws the bits of the first run, whatever the plan. splitmix64's finaliser over a
 * key and a Weyl sequence (Steele, Lea, Flood 2014). */
#ifndef REMAT_RANDOM_H
#define REMAT_RANDOM_H

#include "both.h"

#include <stdint.h>

static inline K_BOTH uint64_t k_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* What all streams of a micro-step have in common, and a stream's key of it. */
static inline K_BOTH uint64_t k_random_step(uint64_t seed, int64_t step, int64_t micro) {
    uint64_t key = k_mix(seed + 0x9e3779b97f4a7c15u);
    key = k_mix(key ^ (uint64_t)step) + 0x9e3779b97f4a7c15u;
    return k_mix(key ^ (uint64_t)micro) + 0x9e3779b97f4a7c15u;
}
static inline K_BOTH uint64_t k_random_stream(uint64_t step, int64_t stream) {
    return k_mix(step ^ (uint64_t)stream);
}
static inline K_BOTH uint64_t k_random_key(uint64_t seed, int64_t step, int64_t micro, int64_t stream) {
    return k_random_stream(k_random_step(seed, step, micro), stream);
}

/* 24 bits: [0, 2^24). Dropout keeps an element when this is at least p * 2^24. */
static inline K_BOTH uint32_t k_random24(uint64_t key, uint64_t element) {
    return (uint32_t)(k_mix(key + element * 0x9e3779b97f4a7c15u) >> 40);
}

#endif
