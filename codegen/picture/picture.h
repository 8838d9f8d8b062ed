/* What the picture of a plan says, before it is drawn: which boxes there are, what became of each tensor,
 * which layers are alike (picture.c); dot.c hands it to Graphviz. */
#ifndef REMAT_PICTURE_H
#define REMAT_PICTURE_H

#include "planner/plan.h"

typedef enum Fate { FATE_FREED, FATE_KEPT, FATE_RECOMPUTED, FATE_OFFLOADED, FATE_COUNT } Fate;

/* A row: a forward operation and the backward operations it gave rise to. Pieces of tokens are one operation;
 * what a weight is cast or dequantised to belongs to who reads it. */
typedef struct Row {
    NodeId node;
    uint32_t pieces;
    uint32_t block;              /* NONE outside of repeated blocks */
    Fate fate;                   /* of most of its bytes */
    int64_t bytes;               /* of the outputs */
    int64_t of_fate[FATE_COUNT]; /* which add up to them */
    int64_t weight_bytes;        /* of the trained parameters it reads */
    int64_t frozen_bytes;        /* of the others */
    int64_t made_bytes;          /* of what is made of them */
    Fate made;                   /* what becomes of that */
    bool has_backward;
    uint64_t backward; /* hash of the backward operations */
    uint32_t shown;
} Row;

/* What is drawn: a row of a folded group, of no block at all, or a whole group in one box (row NONE). */
typedef struct Shown {
    uint32_t row, group; /* group NONE outside */
} Shown;

/* Blocks alike in structure and decisions. */
typedef struct Group {
    VEC(uint32_t) block;
    bool whole;                /* drawn as one box */
    int64_t bytes[FATE_COUNT]; /* of one block */
    int64_t weight_bytes, frozen_bytes;
} Group;

typedef enum EdgeKind { EDGE_FORWARD, EDGE_SAVED, EDGE_GRADIENT } EdgeKind;
/* From the forward or backward side of one shown box to that of another. */
typedef struct PictureEdge {
    EdgeKind kind;
    Fate fate; /* EDGE_SAVED */
    uint32_t from, to;
    int64_t bytes;
} PictureEdge;

typedef struct Picture {
    const Graph *g;
    VEC(Row) row;
    VEC(Shown) shown;
    VEC(Group) group;
    VEC(PictureEdge) edge;
    uint32_t *row_of_node; /* NONE for views and the update */
    uint32_t peak_step, peak_node;
    int64_t peak_bytes; /* live at the peak step */
    uint32_t tensors[FATE_COUNT];
    int64_t bytes[FATE_COUNT]; /* of all forward outputs */
} Picture;

/* `layer`: a block that stays by itself; -1: none. `blocks_only`: every other group is one box. */
Picture *picture_new(const Graph *g, const Plan *plan, const Layout *layout, int layer, bool blocks_only,
                     Arena *arena);
/* "h.0 to 10: ×11 layers" */
const char *picture_group_name(const Picture *p, const Group *group, Arena *arena);

#endif
