/* Small random transformer-like graphs, for tests of passes and of the planner. */
#ifndef REMAT_RANDOM_GRAPH_H
#define REMAT_RANDOM_GRAPH_H

#include "ir/graph.h"
#include "ir/passes/passes.h"

/* A forward graph ready for autodiff; the same seed, the same graph. Among them: norms of both kinds,
 * attention with grouped heads, gated and plain feed-forwards, dropout, split and concat, tied weights,
 * frozen weights, bf16 and f32, repeated blocks, masks. */
Graph *random_graph(uint64_t seed, Arena *arena);
/* A training rule: with or without clipping and accumulation. */
TrainRule random_rule(uint64_t seed);
/* random_graph, differentiated, for most seeds fused, and with its updates in order. */
Graph *random_training_graph(uint64_t seed, Arena *arena);

#endif
