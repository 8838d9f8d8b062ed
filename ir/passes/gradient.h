/* Shared by autodiff.c, which walks the graph and joins contributions, and gradient.c, whose rules build the
 * backward nodes of one forward node. Nobody else includes this. */
#ifndef REMAT_GRADIENT_H
#define REMAT_GRADIENT_H

#include "ir/passes/passes.h"

/* What a value is made of where it is the rows of trained parameters, one after the other. */
typedef struct GradRows {
    const uint32_t *param; /* their indices */
    uint32_t count;        /* at most MOST_ROWS */
} GradRows;

typedef struct GradContext {
    Graph *g; /* the result, growing */
    const TrainRule *rule;
    const uint32_t *param; /* by forward value: index of the trained parameter it is or is a cast of; NONE */
    const GradRows *rows;  /* by forward value: count 0 of all that are no rows of several */
    ValueId *sum;          /* by parameter: its gradient so far, NONE before the first contribution */
    NodeId *sum_node;      /* by parameter: the node of its latest contribution */
    Map *names;            /* of values, to keep them unique */
    Node node;             /* whose backward nodes are being built */
} GradContext;

/* Appends the backward nodes of `node`. grad_out[i] is the gradient of output i or NONE; writes
 * grad_in[i] for each input whose want[i] is set (NONE when it has none). A rule builds nodes and never
 * computes. Of a trained parameter, grad_in is the running sum of its gradient. */
void op_gradient(GradContext *cx, NodeId node, const ValueId *grad_out, const bool *want, ValueId *grad_in);

/* A name no value has yet: `base`, or `base` with a number. Claims it and those of `nout` outputs. */
const char *grad_name(GradContext *cx, const char *base, uint32_t nout);
/* A node of the backward phase named after cx->node; yields its id. `wish` as in graph_node_as. */
NodeId grad_node(GradContext *cx, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                 const Type *wish, const Attr *attr, const char *suffix);
ValueId grad_op(GradContext *cx, Op op, const ValueId *in, uint32_t nin, const char *suffix);
/* The gradient sum `op` of `in` (without accumulator) for value `weight`, an input of cx->node. For a trained
 * parameter, joins the parameter's running gradient and yields that; for rows of several, which
 * OP_LINEAR_BWD_W sums at once, joins that of each and yields NONE. */
ValueId grad_weight(GradContext *cx, Op op, const ValueId *in, uint32_t nin, ValueId weight,
                    const char *suffix);

#endif
