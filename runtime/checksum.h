/* A checksum of 64 bits that keeps up with memory, against damage and for telling files apart, not against
 * intent. Knows nothing of the compiler and nothing of the trainer: both link it. */
#ifndef REMAT_CHECKSUM_H
#define REMAT_CHECKSUM_H

#include <stdint.h>

/* Of the bytes, and of those whose checksum `seed` is. */
uint64_t rt_checksum(uint64_t seed, const void *data, int64_t bytes);

#endif
