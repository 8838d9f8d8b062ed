/* Shared by the passes that leave nodes out, move them or change values: fuse.c, forward.c, order.c and
 * pad.c. */
#ifndef REMAT_REBUILD_H
#define REMAT_REBUILD_H

#include "ir/graph.h"

/* A new graph of the nodes of `from` as edited in `node` (one a node of `from`, in any order that makes
 * values before they are read, operands by old ids; nout 0: left out) and the values `order` (old ids, the
 * order of the new ones; every operand that is left must be there). The graph's fields and the states of
 * parameters become NONE where their value is gone. */
Graph *graph_rebuild(const Graph *from, const Node *node, const ValueId *order, uint32_t count, Arena *arena);

#endif
