/* A DAG in networkx's node-link JSON, as arrays in order of first execution.
 *
 *     {"directed": true, "graph": {"order": [0, 2, 1]},
 *      "nodes": [{"id": 0, "cost_cpu": 110, "cost_ram": 4096}, ...], "links": [{"source": 0, "target": 2},
 * ...]}
 *
 * A node is named by `id`, else by `name`, a whole number or a string; its time is `cost_cpu` or `duration`,
 * its bytes `cost_ram` or `out_cost`, and `param_cost` bytes are there throughout. Links are `links` or
 * `edges`, with `source` and `target`, or "0" and "1". Nodes run in `graph.order` where it is given, else by
 * id (by place in the file for strings), or as near to that as the links allow. Other fields describe and are
 * left alone. */
#ifndef REMAT_NODELINK_H
#define REMAT_NODELINK_H

#include "planner/dag/dag.h"

typedef struct NodeLink {
    uint32_t nodes;
    const char **name; /* as JSON: 12 or "conv1" */
    double *seconds;
    int64_t *bytes;
    int64_t persistent_bytes;
    DagLink *link;
    uint32_t links;
} NodeLink;

/* NULL, or what is wrong, without the file's name; `line` and `column` from 1 where the JSON itself is
 * broken, 0 otherwise. */
const char *nodelink_read(const char *text, size_t length, NodeLink *graph, int *line, int *column,
                          Arena *arena);

#endif
