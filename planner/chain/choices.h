/* The ways to run one kind of block. */
#ifndef REMAT_CHAIN_CHOICES_H
#define REMAT_CHAIN_CHOICES_H

#include "planner/chain/blocks.h"
#include "planner/problem/replay.h"

/* One way to run a block, as measured on the block alone. Its input is not counted. */
typedef struct Choice {
    int64_t kept_bytes;     /* across the boundary, output not counted */
    int64_t forward_bytes;  /* highest during its forward pass, output included */
    int64_t again_bytes;    /* of a forward pass that runs again: one group of runs, in which nothing is made
                               twice */
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
/* A kind without its choices. */
Kind choices_kind(const Problem *p, const Link *link, Arena *arena);
/* Each with its choices; `explored`: with those besides that cuts and trimming do not find. */
Kind *choices_kinds(const Problem *p, const Links *links, bool explored, Arena *arena);

/* A time of the whole as one of the link's own problem: the middle for all before its backward pass, the end
 * of all for all after it. */
uint32_t choices_time(const Link *link, uint32_t time);
/* The storage of `link` that corresponds to `own` in the kind's problem; NONE for those from outside. */
uint32_t choices_storage(const Problem *p, const Link *link, const Kind *kind, uint32_t own);

#endif
