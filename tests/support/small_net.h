/* A transformer of tiny, fixed dimensions, for tests that count what a pass made of it. */
#ifndef REMAT_SMALL_NET_H
#define REMAT_SMALL_NET_H

#include "ir/graph.h"

typedef struct NetOptions {
    int layers;
    bool tied;              /* the head is the token table */
    bool gated;             /* silu(g) * u instead of gelu with a bias ... */
    bool gated_bias;        /* ... of which both have one */
    const char *activation; /* an operation of one input instead of gelu; NULL: gelu */
    bool frozen;            /* all but the norms are frozen */
    double dropout;
    DType stored, compute;
    int64_t width; /* 8 when 0 */
    int64_t batch; /* 2 when 0 */
} NetOptions;

/* Pre-norm layers of attention (fused qkv with bias) and feed-forward; layernorms; block i is layer i.
 * Values: "wte", "h.0.ln_1.g", "h.0.qkv.w", ...; nodes: "embed", "h.0.qkv", "head", "loss". */
Graph *small_net(const NetOptions *options, Arena *arena);

uint32_t count_op(const Graph *g, Op op);
uint32_t count_updated(const Graph *g, Op op);         /* weights, of an optimizer's operation */
ValueId value_named(const Graph *g, const char *name); /* NONE when there is none */
NodeId node_named(const Graph *g, const char *name);

#endif
