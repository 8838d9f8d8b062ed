/* Heads of attention: tensors [B, T, heads, E], by themselves or side by side in the rows of a packed one,
 *
 *     qkv [B, T, (H + 2 K) E]    | q: H heads | k: K heads | v: K heads |
 */
#ifndef REMAT_HEADS_H
#define REMAT_HEADS_H

#include "kernels.h"

typedef struct KHeads {
    KTensor of;            /* [B, T, heads, E]; `data` is that of the tensor whose rows hold it */
    int64_t stride, first; /* elements from a token's row to the next; of a row, before its heads */
} KHeads;

static inline KHeads k_heads(const KTensor *x) {
    KHeads heads = {*x, x->dim[2] * x->dim[3], 0};
    return heads;
}

/* K, where o is [B, T, H, E]. */
static inline int64_t k_packed_kv_heads(const KTensor *qkv, const KTensor *o) {
    return (k_last(qkv) / o->dim[3] - o->dim[2]) / 2;
}
/* q, k and v of qkv */
static inline void k_packed_heads(const KTensor *qkv, const KTensor *o, KHeads part[3]) {
    const int64_t kv_heads = k_packed_kv_heads(qkv, o), width = o->dim[3];
    int64_t first = 0;
    for (int i = 0; i < 3; i++) {
        part[i].of = *o;
        part[i].of.data = qkv->data;
        part[i].of.dtype = qkv->dtype;
        if (i > 0) part[i].of.dim[2] = kv_heads;
        part[i].stride = k_last(qkv);
        part[i].first = first;
        first += part[i].of.dim[2] * width;
    }
}

#endif
