/* An operand or a result as its kernel sees it, without its bytes. */
#ifndef REMAT_COST_OPERAND_H
#define REMAT_COST_OPERAND_H

#include "ir/graph.h"
#include "kernels/kernels.h"

static inline KTensor operand_of(const Value *value) {
    const Type *type = &value->type;
    KTensor tensor = {.dtype = (int)type->dtype, .rank = type->rank, .room = value->room};
    for (int i = 0; i < type->rank; i++) tensor.dim[i] = type->dim[i];
    return tensor;
}

#endif
