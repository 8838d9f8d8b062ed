/* Floats to a tensor of a packed type (kernels/packed.h), as they come: a tensor of any size goes through a
 * buffer and a number for each block. Codes, scales and the order of what is computed are those of
 * bitsandbytes' quantize_4bit on CUDA and in its portable form. */
#ifndef REMAT_QUANTIZE_H
#define REMAT_QUANTIZE_H

#include "internal.h"
#include "../kernels/codes.h"
#include "../kernels/packed.h"

enum { RT_NF4_BLOCK = 64, RT_QUANTIZE_MOST = 1 << 19 }; /* elements at a time */

/* Codes of `count` elements from a block's begin, and a scale for each block: its largest magnitude. Of an
 * odd number the last half byte stands for 0. What is no finite number makes its block NaN. */
void rt_nf4_quantize(const float *x, int64_t count, unsigned char *codes, float *scale);
float rt_nf4_offset(const float *scale, int64_t blocks); /* their mean */
/* scale - offset by the signed dynamic map: a code a block, a scale a group. One NaN makes every scale NaN.
 */
void rt_nf4_group(const float *scale, int64_t blocks, float offset, unsigned char *code, float *group_scale);

/* Back to floats: codes and a scale for each block; scales of blocks from their codes, a scale for each
 * group. */
void rt_nf4_values(const unsigned char *codes, const float *scale, int64_t count, float *x);
void rt_nf4_scales(const unsigned char *code, const float *group_scale, float offset, int64_t blocks,
                   float *scale);
/* What a tensor of that packed type holds of the floats, in their place. */
void rt_nf4_round(float *x, int64_t count, int dtype);

typedef struct RtQuantizer {
    char *to; /* in the arena */
    KPacking packing;
    KSections at;
    unsigned char *codes; /* of RT_QUANTIZE_MOST elements */
    float *scale;         /* of every block */
    int64_t count, done, waiting;
    float wait[RT_NF4_BLOCK]; /* elements of a block that is not whole yet */
} RtQuantizer;

/* `codes`: the caller's, RT_QUANTIZE_MOST / 2 bytes. */
void rt_quantize_begin(RtQuantizer *q, const RtRun *run, const RtTensor *tensor, void *codes);
/* The next elements in row-major order, at most RT_QUANTIZE_MOST. */
void rt_quantize_add(RtQuantizer *q, const float *x, int64_t count);
void rt_quantize_end(RtQuantizer *q); /* after the last of them */

#endif
