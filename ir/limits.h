/* What the kernels cannot take. */
#ifndef REMAT_IR_LIMITS_H
#define REMAT_IR_LIMITS_H

#include "ir/graph.h"

/* What of kernels/limits.def the operation exceeds: "257 numbers a head; the kernels take at most 256". NULL
 * when nothing, and for inputs that op_infer refuses for their size; op_infer asks too. */
const char *op_limit(Op op, const Type *in, uint32_t nin, Arena *arena);

#endif
