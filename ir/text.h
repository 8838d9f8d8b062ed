/* A graph as text: dumped, and read back. */
#ifndef REMAT_IR_TEXT_H
#define REMAT_IR_TEXT_H

#include "ir/graph.h"

/* Everything but spans. */
void graph_print(const Graph *g, Text *out);
/* NULL and a message ("line 12: unknown op 'foo'") when the text is not a graph. */
Graph *graph_read(const char *text, Arena *arena, const char **error);

#endif
