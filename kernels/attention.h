/* Scratch of the host's attention, shared by the kernel and by k_workspace. */
#ifndef REMAT_ATTENTION_H
#define REMAT_ATTENTION_H

#include "heads.h"
#include "host.h"

static inline int64_t k_attend_padded(int64_t width) {
    return (width + K_LANES - 1) / K_LANES * K_LANES;
}
/* Can heads of this tensor be read and summed as they lie? */
static inline int k_attend_direct(const KTensor *x) {
    return x->dtype == K_F32 && k_last(x) % K_LANES == 0;
}
/* dk [B, T, K, E]: sums of dK and dV. */
static inline size_t k_attend_bwd_bytes(const KTensor *dk) {
    if (k_attend_direct(dk)) return 0;
    return 2 * (size_t)(k_rows(dk) * k_attend_padded(k_last(dk))) * sizeof(real);
}
/* Those of dqkv, where do is [B, T, H, E]. */
static inline size_t k_attend_packed_bwd_bytes(const KTensor *dqkv, const KTensor *dout) {
    KHeads part[3];
    k_packed_heads(dqkv, dout, part);
    return k_attend_bwd_bytes(&part[1].of);
}

#endif
