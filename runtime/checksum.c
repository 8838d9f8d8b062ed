/* See checksum.h. */
#include "checksum.h"
#include "../kernels/random.h"

#include <string.h>

/* Four lanes of multiply and rotate over 32 bytes at a time, then the finaliser of random.h. */
uint64_t rt_checksum(uint64_t seed, const void *data, int64_t bytes) {
    const unsigned char *at = data;
    uint64_t lane[4] = {seed, seed ^ 1, seed ^ 2, seed ^ 3}, word;
    int64_t i = 0;
    for (; i + 32 <= bytes; i += 32)
        for (int k = 0; k < 4; k++) {
            memcpy(&word, at + i + 8 * k, 8);
            lane[k] = (lane[k] ^ word) * 0x9e3779b97f4a7c15u;
            lane[k] = lane[k] << 29 | lane[k] >> 35;
        }
    for (; i < bytes; i++) lane[i & 3] = (lane[i & 3] ^ at[i]) * 0xbf58476d1ce4e5b9u;
    uint64_t sum = k_mix(seed ^ (uint64_t)bytes);
    for (int k = 0; k < 4; k++) sum = k_mix(sum ^ lane[k]) + 0x9e3779b97f4a7c15u;
    return sum;
}
