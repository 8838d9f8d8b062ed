/* The invariants of a graph, checked after lowering and after each pass. */
#ifndef REMAT_IR_CHECK_H
#define REMAT_IR_CHECK_H

#include "ir/graph.h"

/* NULL when every invariant holds, else a message naming the node. Shares no code with the passes. */
const char *graph_check(const Graph *g, Arena *arena);

#endif
