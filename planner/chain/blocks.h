/* A training step as a chain of blocks: stretches of the forward pass between frontiers that a single storage
 * crosses, each with the stretch of the backward pass that mirrors it.
 *
 *     forward    | embedding | block 0 | block 1 | ... | loss head |
 *     backward   | head | ... | block 1 | block 0 | embedding |
 *
 * Equal blocks are of one kind, told by a hash of their operations, sizes and edges relative to the block. */
#ifndef REMAT_BLOCKS_H
#define REMAT_BLOCKS_H

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

/* One way to run a block, as measured on the block alone. Its input is not counted. */
typedef struct Choice {
    int64_t kept_bytes;     /* across the boundary, output not counted */
    int64_t forward_bytes;  /* highest during its forward pass, output included */
    int64_t backward_bytes; /* highest during its backward pass */
    double seconds;         /* of recomputation */
    Keep *retain;           /* by gap of the block's own problem */
} Choice;

/* A kind of block: its own problem, with one operation in the middle that stands for all that runs between
 * its forward and its backward pass, and one at the end that reads what outlives it. */
typedef struct Kind {
    const Problem *own;
    uint32_t forward_ops; /* the middle operation has this number */
    double forward_seconds;
    int64_t input_bytes, incoming_bytes,
        grown_bytes;    /* its input, gradients from outside; what it leaves live */
    VEC(Choice) choice; /* none as good as another in every respect */
} Kind;
enum { BLOCK_CHOICES = 64 };
/* A kind without its choices. */
Kind block_kind(const Problem *p, const Link *link, Arena *arena);
/* Each with its choices; `explored`: with those besides that cuts and shaving do not find. */
Kind *blocks_kinds(const Problem *p, const Links *links, bool explored, Arena *arena);

/* A time of the whole as one of the link's own problem: the middle for all before its backward pass, the end
 * of all for all after it. */
uint32_t block_time(const Link *link, uint32_t time);
/* The storage of `link` that corresponds to `own` in the kind's problem; NONE for those from outside. */
uint32_t block_storage(const Problem *p, const Link *link, const Kind *kind, uint32_t own);

#endif
