/* A DAG from elsewhere as a problem of rematerialisation: every node has one output, which is all the memory
 * it takes. */
#ifndef REMAT_DAG_DAG_H
#define REMAT_DAG_DAG_H

#include "planner/problem/problem.h"

enum { DAG_MOST_NODES = 3000 };
typedef struct DagLink {
    uint32_t from, to; /* nodes, by order of first execution; from < to */
} DagLink;

/* Nodes are given in their order of first execution. Doubled links count once. Node i is operation i and
 * storage i of the problem. */
Problem *dag_problem(uint32_t nodes, const double *seconds, const int64_t *bytes, const DagLink *link,
                     uint32_t links, Arena *arena);

/* Live bytes during each operation, and their peak, when every node runs once. */
int64_t *dag_live(const Problem *p, Arena *arena);
int64_t dag_keep_all(const Problem *p);

/* Replays `run` by the rules alone and says what is wrong with it, or NULL: every operand live, first runs in
 * order, peak and seconds as told. Shares nothing with the solver. */
const char *dag_check(const Problem *p, const uint32_t *run, uint32_t runs, int64_t peak_bytes,
                      double seconds, Arena *arena);

#endif
