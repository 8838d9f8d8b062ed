/* Transformers of the sizes people train, for tests of the planner: shapes only, nothing is allocated. */
#ifndef REMAT_TRANSFORMER_H
#define REMAT_TRANSFORMER_H

#include "ir/graph.h"

typedef struct Transformer {
    bool gated; /* Llama's block: rmsnorm, rope, grouped heads, silu(g) * u; else GPT-2's, with biases */
    int64_t layers, width, heads, kv_heads, hidden, vocabulary, batch, context, accumulate;
    double dropout, clip_norm;
    DType stored, compute;
} Transformer;
extern const Transformer bytes_gpt, gpt2_124m, gpt2_xl, llama3_8b;

/* Forward, backward and update, fused. */
Graph *transformer_graph(const Transformer *shape, Arena *arena);

#endif
