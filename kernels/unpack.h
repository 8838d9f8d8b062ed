/* Packed weights to floats on the host (packed.h says how they lie): `dequantize` stores them, and products
 * that take a packed weight make them as they go. Both are these functions, so that they have the same bits.
 */
#ifndef REMAT_UNPACK_H
#define REMAT_UNPACK_H

#include "codes.h"
#include "host.h"
#include "packed.h"

typedef struct KUnpack {
    const unsigned char *codes;
    const unsigned char *scale_codes; /* with groups; else NULL */
    const float *scales;              /* of groups, or of blocks */
    int block_bits, group_bits;       /* a block has 2^block_bits elements, a group 2^group_bits blocks */
    float offset;
    float map[256];
} KUnpack;

/* Of a tensor of an nf4 type. */
void k_unpack_begin(KUnpack *unpack, const KTensor *w);
/* Elements [first, first + n), in f32. */
void k_unpack(const KUnpack *unpack, int64_t first, int64_t n, real *y);
/* At most K_RUN of them as they are once stored: rounded, where that is in bf16; and these alone. */
void k_unpack_stored(const KUnpack *unpack, int dtype, int64_t first, int64_t n, real *y);
void k_unpack_bf16(const KUnpack *unpack, int64_t first, int64_t n, uint16_t *y);

#endif
