/* Packed storage types: an element is a code, a block of elements shares a scale. This file says how many
 * bytes n elements take and where they lie; planner, kernels, trainer and checkpoints all ask it.
 *
 *     nf4       | codes (n + 1) / 2 | scale codes, one a block | group scales f32, one a group | offset f32 |
 *     nf4_f32   | codes (n + 1) / 2 | scales f32, one a block |
 *     dynamic8  | codes n           | scales f32, one a block |      and so udynamic8
 *
 * A block is 64 elements of the nf4 types, 256 of the 8-bit ones, in row-major order, a group is 256 blocks,
 * the last ones perhaps fewer; every section begins at a multiple of 16 bytes. Of two codes in a byte the
 * first is in the high half. An element is nf4[code] * scale or map[code] * scale; with groups a scale is
 * map[scale code] * group scale + offset; each operation is rounded to f32. Where all bytes are zero, so are
 * the elements. What codes stand for is in codes.h. */
#ifndef REMAT_PACKED_H
#define REMAT_PACKED_H

#include <stdint.h>

typedef struct KPacking {
    int code_bits; /* 0: not a packed type */
    int block;     /* elements that share a scale */
    int group;     /* blocks whose scales share a scale; 0: scales are f32 */
} KPacking;

static inline KPacking k_packing(int dtype) {
    static const KPacking packing[] = {
#define DTYPE(name, NAME, bytes)                    {0, 0, 0},
#define PACKED(name, NAME, code_bits, block, group) {code_bits, block, group},
#include "dtype.def"
#undef DTYPE
    };
    return packing[dtype];
}

/* Of 2^n: n. */
static inline int k_bits_of(int number) {
    int bits = 0;
    while (number >> (bits + 1)) bits++;
    return bits;
}

static inline int k_is_packed(int dtype) {
    return k_packing(dtype).code_bits > 0;
}

typedef struct KSections {  /* byte offsets from the tensor's start, where the codes lie */
    int64_t blocks, groups; /* how many */
    int64_t scales, group_scales, end;
} KSections;

static inline KSections k_sections(KPacking packing, int64_t elements) {
    const int64_t code_bytes = (elements * packing.code_bits + 7) / 8;
    KSections at = {0, 0, (code_bytes + 15) / 16 * 16, 0, 0};
    at.blocks = (elements + packing.block - 1) / packing.block;
    at.end = at.scales + at.blocks * (int64_t)sizeof(float);
    if (!packing.group) return at;
    at.groups = (at.blocks + packing.group - 1) / packing.group;
    at.group_scales = (at.scales + at.blocks + 15) / 16 * 16;
    at.end = at.group_scales + (at.groups + 1) * (int64_t)sizeof(float);
    return at;
}

/* Bytes that so many elements take in storage, whatever the type. */
static inline int64_t k_storage_bytes(int dtype, int64_t elements) {
    static const int64_t element_bytes[] = {
#define DTYPE(name, NAME, bytes) bytes,
#include "dtype.def"
#undef DTYPE
    };
    const KPacking packing = k_packing(dtype);
    return packing.code_bits ? k_sections(packing, elements).end : elements * element_bytes[dtype];
}

#endif
