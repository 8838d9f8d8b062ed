/* The planner's own view of a training step: operations in order of first execution, and the transient
 * storages they make and read. Views and writes over inputs are contracted into their storage, persistent
 * storages are a constant. Nothing here knows of graphs, so the same core plans a DAG from elsewhere.
 *
 * Time is the index of an operation in first-execution order. A storage's uses are the time it is made and
 * the times it is first read at; between two uses lies a gap, and a last gap follows the last use:
 *
 *     use   made        read       read
 *     time   3 . . . . . 7 . . . . . 21 . . . .
 *     gap      [3, 7)      [7, 21)      [21, end)
 *
 * A retention says for each gap (struct Keep) how long the instance live at its start is kept, and from which
 * time on one that is made again is kept to the gap's end. All zero keeps it throughout; from = start + 1
 * drops it but keeps it once recomputed; from = end recomputes it for every reader. What is kept throughout
 * may spend the time between the gap's start and the next touch in host memory (planner/problem/copies.h). */
#ifndef REMAT_PROBLEM_PROBLEM_H
#define REMAT_PROBLEM_PROBLEM_H

#include "planner/plan.h"
#include "planner/problem/stats.h"

/* list[first[i]] .. list[first[i + 1] - 1] belong to i. */
typedef struct Lists {
    uint32_t *first, *list;
} Lists;

typedef struct Problem {
    uint32_t ops, storages, gaps;
    /* by operation */
    double *seconds; /* one execution, times how often a step runs it */
    int64_t *workspace_bytes;
    bool *rerun;         /* may run again ... */
    uint32_t *rerun_end; /* ... before this time, when a parameter it reads is written; NULL: the update */
    uint32_t *lazy_end;  /* in a replay, before this time */
    bool *updates;       /* belongs to the update; NULL: from update_begin on */
    Lists reads, makes;  /* distinct transient storages; a write over an input is a read */
    Lists takeover;      /* storages whose bytes the first of `makes` may take over if they die there */
    /* by storage */
    int64_t *bytes;
    uint32_t *maker;
    bool *overwritten; /* some operation writes over it; NULL: none is */
    bool *dequantized; /* a weight made of its packed, persistent form; NULL: none is */
    /* by gap; those of storage s are gap_first[s] .. gap_first[s + 1] - 1 */
    uint32_t *gap_first, *gap_begin, *gap_end; /* times; the last gap of a storage ends at `ops` */
    bool *may_drop;                            /* its maker may run again until the gap's end */
    int64_t persistent_bytes;
    uint32_t update_begin; /* the operations from it on belong to the update; its others stand before */
    /* copies to host memory: seconds as those of operations, times how often a step runs them */
    int64_t host_bytes;       /* room there; 0: no copies */
    double copy_byte_seconds; /* one way */
    double copy_start_seconds;
    bool copies_beside; /* they run beside the operations, one each way at a time; else in their stead */
    /* from a graph; NULL otherwise */
    NodeId *op_node;
    ValueId *storage_root;
    uint32_t *node_op, *value_storage; /* NONE for views; NONE for persistent storages */
    ValueId *value_root;
    struct Memo *known; /* choices for blocks that other graphs have too (memo.h); NULL: none are kept */
    Stats *stats;       /* NULL: nothing is measured */
} Problem;

static inline uint32_t list_begin(const Lists *lists, uint32_t i) {
    return lists->first[i];
}
static inline uint32_t list_end(const Lists *lists, uint32_t i) {
    return lists->first[i + 1];
}
static inline bool problem_may_rerun(const Problem *p, uint32_t op, uint32_t time) {
    return p->rerun[op] && time < (p->rerun_end ? p->rerun_end[op] : p->update_begin);
}
#define EACH(name, lists, i)                                                                                 \
    uint32_t name = list_begin(&(lists), (i)), name##_end = list_end(&(lists), (i));                         \
    name < name##_end;                                                                                       \
    name++

/* Requires a checked graph. Sizes are rounded to PLAN_ALIGN. */
Problem *problem_from_graph(const Graph *g, const Cost *cost, Arena *arena);
/* Where the repeated blocks that the file names lie. They are numbered in order of first execution. */
typedef struct Blocks {
    uint32_t count;
    uint32_t *op_block;       /* NONE outside blocks */
    uint32_t *backward_begin; /* by block: time of its first backward operation; `ops` if it has none */
    uint32_t boundary;        /* time of the first operation after the forward phase */
} Blocks;
Blocks problem_blocks(const Graph *g, const Problem *p, Arena *arena);
/* Allows copies to `host_bytes` of host memory on `device`, by `accumulate` micro-steps a step. */
void problem_allow_copies(Problem *p, const Device *device, int64_t host_bytes, int64_t accumulate);
/* Fills gaps, lazy_end and may_drop from the lists above; problem_from_graph calls it. */
void problem_index(Problem *p, Arena *arena);

/* Bytes an operation takes by itself: operands, what it makes, workspace; where its first output may lie
 * where an input was, as if it does. */
int64_t problem_operation_bytes(const Problem *p, uint32_t op);

#endif
