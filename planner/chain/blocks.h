/* A training step as a chain of blocks: stretches of the forward pass between frontiers that a single storage
 * crosses, each with the stretch of the backward pass that mirrors it.
 *
 *     forward    | embedding | block 0 | block 1 | ... | loss head |
 *     backward   | head | ... | block 1 | block 0 | embedding |
 *
 * Equal blocks are of one kind, told by a hash of their operations, sizes and edges relative to the block. */
#ifndef REMAT_CHAIN_BLOCKS_H
#define REMAT_CHAIN_BLOCKS_H

#include "planner/problem/problem.h"

typedef struct Link {
    uint32_t begin, end;                   /* forward operations */
    uint32_t backward_begin, backward_end; /* backward operations; both times */
    uint32_t input; /* storage that crosses the frontier before it; NONE for the first */
    uint32_t kind;  /* number of its hash, in order of appearance */
} Link;

typedef struct Links {
    uint32_t count, kinds;
    Link *at; /* in order of first execution; the last is the loss head */
    uint32_t boundary;
} Links;
/* `boundary` is the first operation after the forward phase. No link when nothing crosses alone. */
Links blocks_find(const Problem *p, uint32_t boundary, Arena *arena);

#endif
