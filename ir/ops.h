/* What is true of an operation: its row of op.def and its shape rule. */
#ifndef REMAT_IR_OPS_H
#define REMAT_IR_OPS_H

#include "ir/graph.h"

enum OpFlag {
    OPF_APART = 0,      /* the first output shares storage with no input */
    OPF_VIEW = 1,       /* no kernel: the output is the input's storage */
    OPF_INPLACE = 2,    /* the first output may share storage with an input of equal bytes that dies there
                           (any such input: the kernel reads element i before it writes element i) */
    OPF_RANDOM = 4,     /* draws from attr.rng; no effect in evaluation */
    OPF_PITCH_IN = 8,   /* rows of the first input may lie further apart than they are wide: CUDA (pad.c) */
    OPF_PITCH_OUT = 16, /* those of the first output */
    OPF_CLEARS = 32,    /* on CUDA writes zeros past the elements of an output with more room */
    OPF_ONTO = 64, /* the first output may share storage with the optional input that it is added to: where
                      that dies there, and is no other operand too */
};

/* What a node writes over: its last inputs, which its last outputs are new versions of. */
typedef enum OpOver {
    OVER_NOTHING,
    OVER_GRADIENT, /* an accumulator, where it has one behind its min_in operands: a sum of a weight's
                      gradient */
    OVER_SUMS, /* accumulators of all outputs but the first, where attr.acc is set: sums beside other work */
    OVER_PAIR_SUMS, /* of all but the first two */
    OVER_LOSS,      /* its last input, which it always adds to */
    OVER_NORM,      /* its last input, a sum that it begins or goes on with */
    OVER_CACHE,     /* as many inputs as it has outputs, caches: a row of each */
    OVER_STATES     /* as many inputs as it has outputs: a weight and what the optimizer keeps of it */
} OpOver;

typedef enum OpNan { NAN_KEEPS, NAN_PICKS } OpNan; /* see op.def, `nan` */

typedef struct OpInfo {
    const char *name;
    int min_in, max_in;   /* max_in -1: any number */
    int min_out, max_out; /* max_out -1: any number */
    unsigned flags;       /* enum OpFlag */
    OpOver over;
    OpNan nan;
} OpInfo;
extern const OpInfo op_info[OP_COUNT];
Op op_find(const char *name); /* OP_COUNT when there is none */
/* How many of its outputs are sums of gradients that are taken beside other work. */
uint32_t op_sums(Op op, uint32_t nout);
/* How many tensors a node works over: those that it updates, or of which it takes the norm; 1 of most. */
uint32_t op_tensors(const Node *node);
/* Whether so many operands are as its row says. */
bool op_takes(Op op, uint32_t nin, uint32_t nout);

/* Whether the first output may share storage with input i, if that is of equal bytes and dies there; of these
 * ranks: a bias is not what is added. Where several inputs are the same storage, it has to be true of them
 * all. */
static inline bool op_may_share(const OpInfo *info, uint32_t i, uint32_t rank, uint32_t out_rank) {
    return info->flags & OPF_INPLACE ||
           (info->flags & OPF_ONTO && i >= (uint32_t)info->min_in && rank == out_rank);
}
bool node_may_share(const Graph *g, const Node *node, uint32_t i);

/* Whether multiplying by it rounds nothing, short of overflow and subnormal numbers: a power of two, of
 * either sign. */
bool scaling_is_exact(double factor);

/* Shape rule: types of the outputs from the types of the inputs and attributes. For an op whose
 * output type is free (reshape, cast, split, ...) `out[i]` holds the wish on entry. NULL when it fits,
 * else what is wrong, in the arena: "input width 4096 does not match weight [4096, 14336]". */
const char *op_infer(Op op, const Type *in, uint32_t nin, const Attr *attr, Type *out, uint32_t nout,
                     Arena *arena);

/* NULL for dimensions above 0 and fewer bytes than an int64_t counts; else what is wrong with `what`, in the
 * arena. */
const char *type_wrong(const Type *t, const char *what, Arena *arena);

#endif
