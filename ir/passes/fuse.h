/* Shared by fuse.c, which makes the new graph, and the files that look for one kind of what can be fused.
 * Nobody else includes this. */
#ifndef REMAT_FUSE_H
#define REMAT_FUSE_H

#include "ir/graph.h"

typedef struct Fuse {
    const Graph *g;
    Arena *arena;
    Node *node;      /* edited copies; nout 0: gone */
    uint32_t *first; /* by value: reader[first[v]] up to reader[first[v + 1]] are the nodes that read it */
    NodeId *reader;  /* in order; a node that reads a value twice is there twice */
    bool *taken;     /* by node: already part of a fused one */
} Fuse;

bool fuse_is(const Fuse *f, NodeId n, Op op); /* of what is not taken yet */
uint32_t fuse_readers(const Fuse *f, ValueId v);
NodeId fuse_reader(const Fuse *f, ValueId v, uint32_t i);
bool fuse_together(const Fuse *f, NodeId a, NodeId b); /* of one phase and block */
void fuse_drop(Fuse *f, NodeId n);
/* Makes node `n` into `op` of these operands. */
void fuse_become(Fuse *f, NodeId n, Op op, const ValueId *in, uint32_t nin, const ValueId *out,
                 uint32_t nout);

#endif
