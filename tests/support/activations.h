/* The operations that a file calls with one value and nothing else: what a test does with gelu it does with
 * each. */
#ifndef REMAT_ACTIVATIONS_H
#define REMAT_ACTIVATIONS_H

#include "ir/graph.h"

#include <string.h>

/* How many there are, into `found`. */
static inline uint32_t activations(Op found[OP_COUNT]) {
    static const char *const call[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, token, call, ...)                                                                           \
    [OP_##NAME] = #call,
#include "ir/op.def"
#undef OP
    };
    uint32_t count = 0;
    for (int op = 0; op < OP_COUNT; op++)
        if (!strcmp(call[op], "unary")) found[count++] = (Op)op;
    return count;
}

#endif
