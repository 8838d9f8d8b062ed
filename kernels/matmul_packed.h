/* Products with 4-bit weights that dequantise them as they go (matmul_packed.cu), for matmul.cu. */
#ifndef REMAT_MATMUL_PACKED_H
#define REMAT_MATMUL_PACKED_H

#include "kernels.h"

/* y = x w^T + bias, or factor * x w^T + add; backwards y = factor * x w + add. add: y itself perhaps. bias,
 * add NULL: none; factor 0: 1. Operands are those that k_takes_packed_product (variant.h) takes; anything
 * else ends the program. */
void k_product_packed(const KCtx *cx, const KTensor *x, const KTensor *w, int backward, const KTensor *bias,
                      double factor, const KTensor *add, const KTensor *y);

#endif
