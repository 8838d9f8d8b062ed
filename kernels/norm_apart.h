/* The backward pass of a norm with its sums as the separate kernels do it, one after the other: for rows that
 * a target's kernel does not take at once. dx may be the storage of what it is made of, so it comes after
 * what reads that. */
#ifndef REMAT_NORM_APART_H
#define REMAT_NORM_APART_H

#include "kernels.h"

/* dy, x, g, mean (a layer norm has one), rstd, add if attr.residual, accumulators? -> dx, and the sums */
static inline void k_norm_sums_apart(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                                     const KAttr *attr, int layer) {
    const int operands = (layer ? 5 : 4) + (attr->residual != 0), accumulates = nin > operands;
    const KTensor *acc = accumulates ? in + nin - (nout - 1) : in;
    if (layer) {
        const KTensor gain[] = {in[0], in[1], in[3], in[4], acc[0]}, bias[] = {in[0], acc[1]};
        k_layernorm_bwd_g(cx, 1, &out[1], 4 + accumulates, gain, attr);
        k_sum_leading(cx, 1, &out[2], 1 + accumulates, bias, attr);
        k_layernorm_bwd_x(cx, 1, &out[0], operands, in, attr);
    } else {
        const KTensor gain[] = {in[0], in[1], in[3], acc[0]};
        k_rmsnorm_bwd_g(cx, 1, &out[1], 3 + accumulates, gain, attr);
        k_rmsnorm_bwd_x(cx, 1, &out[0], operands, in, attr);
    }
    if (nout == 2 + layer) return;
    const KTensor dx[] = {out[0], acc[1 + layer]};
    k_sum_leading(cx, 1, &out[2 + layer], 1 + accumulates, dx, attr);
}

#endif
