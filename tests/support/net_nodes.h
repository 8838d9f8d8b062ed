/* What passes made of a small net: its nodes by their names, what they read and make. A wrong graph, a name
 * that is not there fail the test. */
#ifndef REMAT_TESTS_NET_NODES_H
#define REMAT_TESTS_NET_NODES_H

#include "ir/passes/passes.h"
#include "tests/support/small_net.h"

extern const TrainRule plain; /* AdamW, one micro-step, nothing clipped */

Graph *checked(Graph *g, Arena *arena); /* the same graph, through graph_check */
Graph *train(const NetOptions *options, const TrainRule *rule,
             Arena *arena); /* with its gradients and updates */
Graph *fused(const Graph *g, Arena *arena);

const Node *node_at(const Graph *g, const char *name);
const Param *param_of(const Graph *g, const char *name);
const char *name_of(const Graph *g, ValueId v);
/* The names of what a node reads and makes, in their order, a space between them. */
void assert_reads(const Graph *g, const char *node, const char *operands);
void assert_makes(const Graph *g, const char *node, const char *names);

#endif
