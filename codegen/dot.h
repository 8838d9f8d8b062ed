/* The memory-plan graph as a picture: the forward pass runs down the left side, the backward pass up the
 * right, the loss is where it turns. Between them stand the tensors saved for backward. */
#ifndef REMAT_DOT_H
#define REMAT_DOT_H

#include "../planner/plan.h"

/* Draws `plan` into the file `path`. `format` is "svg", "png", "pdf" or "dot" (text for Graphviz, not laid
 * out). Repeated blocks of equal structure and equal decisions are folded into one; `layer` (an index of the
 * graph's blocks, or -1) stays by itself. False and a message in `error` when Graphviz cannot draw or write
 * it. */
bool dot_write(const Graph *g, const Plan *plan, const Layout *layout, const Cost *cost, const char *title,
               int layer, const char *path, const char *format, char *error, size_t error_bytes);

#endif
