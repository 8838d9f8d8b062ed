/* The passes over a graph, in the order in which they run; a file each. Each requires a graph that passes
 * graph_check and makes a new one that does, whose names are those of the graph it is made of: that one's
 * arena has to live as long.
 *
 *     forward --tile_tokens--> forward --group_adapters--> forward
 *             --autodiff--> forward + backward + update
 *             --fuse--> fused --order_updates--> early updates --pad_rows--> for CUDA
 *     any     --graph_forward_only--> forward --fuse--> fused --pad_rows--> for CUDA
 *     forward --graph_one_token--> forward, of the next token alone
 *
 * Beside them: gradient.h, the rules that autodiff builds with; rebuild.h, a graph without some of its nodes.
 */
#ifndef REMAT_IR_PASSES_H
#define REMAT_IR_PASSES_H

#include "ir/graph.h"

/* ---- tile.c ----
 * Requires: a forward graph. Produces: a forward graph with fewer transient bytes at once, which works on
 * some tokens at a time. Every element is computed from the same operands: only sums over tokens (gradients
 * of weights, the loss) are added in another order. What has no such part stays as it is. */

/* The linear layer under the loss and the loss run in `loss_chunks` chunks of tokens; in each block, a chain
 * from linear layers that widen to one that narrows (an MLP, with the element-wise operations between and
 * dropout after it) in `mlp_tiles` tiles. 1 leaves a part as it is; others must divide the tokens of a
 * micro-step, and are at most 16. */
typedef struct TileRule {
    int64_t loss_chunks, mlp_tiles;
} TileRule;
static inline bool tile_is_whole(TileRule rule) {
    return rule.loss_chunks == 1 && rule.mlp_tiles == 1;
}
Graph *tile_tokens(const Graph *forward, const TileRule *rule, Arena *arena);

/* Weights whose rows one product reads: as many gradients as a node of OP_LINEAR_BWD_W sums. */
enum { MOST_ROWS = 8 };

/* ---- group.c ----
 * Requires: a forward graph, in tiles or not. Produces: a forward graph in which low-rank adapters that read
 * one value share their first product. Elements are computed from the same operands; the gradient of that
 * value is added up in another order. */
Graph *group_adapters(const Graph *from, Arena *arena);
bool has_adapters(const Graph *g); /* else that is a copy */
/* By value: a weight of a low-rank adapter, or what it is cast to. */
bool *adapter_weights(const Graph *g, Arena *arena);

/* ---- autodiff.c ----
 * Requires: a forward graph, in tiles or not. Produces: forward + backward + update. Ids of forward values
 * are unchanged, and so are those of nodes unless the loss is in chunks: then a chunk's nodes stand before
 * its backward ones. Parameters without a path to the loss get no gradient and no update. */
typedef struct TrainRule {
    double beta1, beta2, eps, decay;
    double clip_norm;       /* 0: no clipping (the norm is still measured) */
    int64_t accumulate;     /* > 1: gradients live in persistent accumulators */
    DType gradient, moment; /* storage of parameter gradients and of AdamW's moments */
    bool moments_8bit;      /* of large weights in dynamic8 and udynamic8 instead: adamw8bit */
} TrainRule;
Graph *autodiff(const Graph *forward, const TrainRule *rule, Arena *arena);

/* ---- fuse.c ----
 * Requires: a graph after autodiff, or a forward one. Produces: one with silu*mul, bias+gelu, residual+norm
 * and their backward nodes in single nodes, the loss and its gradient in one, sums over rows beside what has
 * the rows, products added to the gradients and adapted results that they are a part of, and the update,
 * where gradients wait for it, in few. Never across the border of a repeated block: its input stays one value
 * made outside it. Last, products whose weights are dequantised take them packed, where `rule` says so:
 * `product` and `dequantize` are of that graph; `sharing` products of the same phase read the weight. It
 * depends on nothing else but `about`. */
/* Whether a product takes a weight packed, in place of what a node makes of it. `rule` NULL: none does. */
typedef struct PackedRule {
    bool (*takes)(const void *about, const Graph *g, const Node *product, const Node *dequantize,
                  uint32_t sharing);
    const void *about;
} PackedRule;
Graph *fuse(const Graph *g, const PackedRule *rule, Arena *arena);

/* ---- order.c ----
 * Requires: a graph after autodiff and fuse, since they keep the update last. Produces, without clipping and
 * accumulation, one with each node of the update right after the last one it has to wait for: a parameter's
 * gradient dies as soon as it is complete and applied. The values, and the numbers, are the same. */
Graph *order_updates(const Graph *g, Arena *arena);
bool updates_may_move(const Graph *g); /* else that is a copy */

/* ---- pad.c ----
 * Requires: a graph that no later pass changes, of training or of evaluation, for CUDA, whose matrix products
 * are slow where rows do not begin at multiples of 16 bytes. Produces: one with room for whole rows in logits
 * of an odd vocabulary, their gradient, and the weight of the layer that makes them. Values and shapes stay
 * as they are. */
Graph *pad_rows(const Graph *from, Arena *arena);

/* ---- forward.c ----
 * Requires: a graph before or after autodiff; after fuse, one without a backward part. Produces: only what
 * the logits and the loss need, dropout removed, for evaluation and sampling; parameter p is value p, every
 * parameter and input is kept. */
Graph *graph_forward_only(const Graph *from, Arena *arena);

/* ---- cache.c ----
 * Requires: a graph after graph_forward_only, of batch 1. Produces: one that makes the logits of one token,
 * at the position in `positions`, from it and from the keys and values of earlier ones, which are states of
 * the graph (ROLE_CACHE). Parameter p is value p. NULL, and the reason, where the model is none of which that
 * can be done: *why_not is NULL where it can. */
Graph *graph_one_token(const Graph *from, Arena *arena, const char **why_not);
/* Requires: a graph of which graph_one_token makes one. Produces: the same graph, which leaves keys and
 * values of all tokens where that one reads those of earlier ones: in states of the same names. */
Graph *graph_keep_rows(const Graph *from, Arena *arena);

#endif
