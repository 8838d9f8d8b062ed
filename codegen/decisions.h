/* What a plan decided: what became of every forward value and operation, and the same summed over equal
 * layers. For all who show plans to people: the summary (frontend/driver/summary.c) and the report page. */
#ifndef REMAT_DECISIONS_H
#define REMAT_DECISIONS_H

#include "codegen/emit.h"

/* A value takes over the buffer of one that it is made of, in place. */
typedef struct Handover {
    uint32_t step, buffer;
    ValueId value; /* the root of what lies there from then on */
} Handover;

/* What became of every forward value and operation. */
typedef struct Fates {
    uint32_t *again;        /* by node: how often it is recomputed in a micro-step */
    bool *kept;             /* by value: it lies in memory when the backward phase begins */
    uint32_t *moved;        /* by value: the step that copies it to host memory, NONE if none does */
    uint32_t peak_step;     /* the first with the most live bytes */
    VEC(Handover) handover; /* in order of steps */
} Fates;
Fates decisions_fates(const Part *part, Arena *arena);

/* "mlp.fc.tile3" is "mlp.fc.tile*": pieces of tokens are alike. */
const char *decisions_without_pieces(const char *name, Arena *arena);
/* Whether a plan decides on a node: views and what writes to persistent storages are left out. */
bool decisions_covers(const Graph *g, const Node *node);
int64_t decisions_kept_bytes(const Graph *g, const Fates *fates, const Node *node);
int64_t decisions_moved_bytes(const Graph *g, const Fates *fates, const Node *node);

/* Which storages a plan keeps from forward to backward and which it makes again, summed over equal layers. */
typedef struct DecisionRow {
    const char *name; /* "h.*.attn.qkv" */
    const char *op;
    VEC(NodeId) node; /* those that are summed, in order */
    /* storages: alive at the turn; made again; in host memory in between; needed no more */
    uint32_t kept, recomputed, moved, dropped;
    int64_t kept_bytes, moved_bytes;
    double recompute_seconds; /* a step */
} DecisionRow;
typedef struct Decisions {
    VEC(DecisionRow) row;
    bool moves; /* some are moved to host memory */
} Decisions;
Decisions decisions_of(const Part *part, Arena *arena);

#endif
