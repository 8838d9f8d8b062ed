/* Attention on tensor cores (attention_mma.cu): operands and entry points, for attention.cu, which decides by
 * k_cuda_attend_tensor_cores, and for programs that time the kernels one by one. */
#ifndef REMAT_ATTENTION_MMA_H
#define REMAT_ATTENTION_MMA_H

#include "kernels.h"

/* bf16 rows of all heads of a token: [B T] of them, `stride` elements apart; a head's numbers lie together.
 * Rows begin at multiples of 16 bytes. */
typedef struct AttendRows {
    uint16_t *at;
    int64_t stride;
} AttendRows;

/* What tokens see and are seen by, i32 [B, T] (kernels.h); NULL: as far as causal says. */
typedef struct KSight {
    const int32_t *first_key, *last_query;
} KSight;

typedef struct AttendMma {
    AttendRows q, k, v, o, dout, dq, dk, dv;
    float *lse, *delta; /* [B, H, T]; delta = rowsum(do * o) */
    int batch, time, heads, kv_heads, width, causal;
    float scale;
    KSight sight;
    int variant; /* KVariant (variant.h) */
} AttendMma;

void k_attend_mma(void *stream, const AttendMma *p);
void k_attend_mma_bwd(void *stream, const AttendMma *p);

#endif
