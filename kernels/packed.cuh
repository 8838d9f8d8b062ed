/* A tensor of an nf4 type (packed.h says how it lies) as kernels see it. */
#ifndef REMAT_PACKED_CUH
#define REMAT_PACKED_CUH

#include "codes.h"
#include "packed.h"
#include "cuda.cuh"

struct Packed {
    const unsigned char *codes, *scale_codes; /* scale_codes NULL: no groups */
    const float *scale;                       /* of groups, then the offset; or of blocks */
    int64_t groups, count;
    int block_bits, group_bits; /* a block has 2^block_bits elements, a group 2^group_bits blocks */
};

static inline Packed packed_of(const KTensor *x) {
    const KPacking packing = k_packing(x->dtype);
    const KSections at = k_sections(packing, k_count(x));
    const unsigned char *data = (const unsigned char *)x->data;
    return {data,
            packing.group ? data + at.scales : NULL,
            (const float *)(data + (packing.group ? at.group_scales : at.scales)),
            at.groups,
            k_count(x),
            k_bits_of(packing.block),
            k_bits_of(packing.group)};
}

#endif
