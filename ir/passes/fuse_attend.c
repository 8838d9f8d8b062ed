/* Where queries, keys and values are made by one layer, attention takes them as they lie:
 *
 *     q, k, v = split(qkv)                         o, lse = attend_packed(qkv)
 *     o, lse = attend(heads(q), heads(k), heads(v))
 *     dq, dk, dv = attend_bwd(do, ..)              dqkv = attend_packed_bwd(do, qkv, o, lse)
 *     dqkv = concat(flat(dq), flat(dk), flat(dv))
 *
 * if nobody else reads the parts, and with the backward part or without one. */
#include "ir/passes/fuse_attend.h"

#include <string.h>

enum { PARTS = 3, MOST_IN = 8 };

typedef struct Packed {
    NodeId split, heads[PARTS];       /* forward; heads: the views */
    NodeId back, flat[PARTS], concat; /* NONE without a backward part */
} Packed;

static NodeId only_reader(const Fuse *f, ValueId v, Op op) {
    NodeId n = fuse_readers(f, v) == 1 ? fuse_reader(f, v, 0) : NONE;
    return fuse_is(f, n, op) ? n : NONE;
}

/* The parts that `attend` reads, if they are all there is of a split. */
static bool find_split(const Fuse *f, NodeId attend, Packed *packed) {
    const Graph *g = f->g;
    const Node *node = &g->node.at[attend];
    for (uint32_t i = 0; i < PARTS; i++) {
        NodeId heads = packed->heads[i] = g->value.at[node->in[i]].def;
        if (!fuse_is(f, heads, OP_RESHAPE)) return false;
        const Value *part = &g->value.at[g->node.at[heads].in[0]];
        if (!fuse_is(f, part->def, OP_SPLIT) || part->out_index != i) return false;
        if (i > 0 && part->def != packed->split) return false;
        packed->split = part->def;
        if (only_reader(f, g->node.at[heads].in[0], OP_RESHAPE) != heads) return false;
    }
    const Node *split = &g->node.at[packed->split];
    return split->nout == PARTS && split->block == node->block && split->phase == node->phase &&
           g->value.at[split->in[0]].type.rank == 3;
}

/* What the backward pass makes of them: none of it, or all side by side again. */
static bool find_back(const Fuse *f, NodeId attend, Packed *packed) {
    const Graph *g = f->g;
    const Node *node = &g->node.at[attend];
    packed->back = packed->concat = NONE;
    for (uint32_t i = 0; i < PARTS; i++) {
        const uint32_t readers = fuse_readers(f, node->in[i]);
        NodeId back = readers == 2 ? fuse_reader(f, node->in[i], 1) : NONE;
        if (readers > 2 || (readers == 2 && !fuse_is(f, back, OP_ATTEND_BWD))) return false;
        if (i > 0 && back != packed->back) return false;
        packed->back = back;
    }
    if (packed->back == NONE) return true;
    const Node *back = &g->node.at[packed->back];
    if (memcmp(back->in + 1, node->in, PARTS * sizeof *node->in) != 0) return false;
    for (uint32_t i = 0; i < PARTS; i++) {
        NodeId flat = packed->flat[i] = only_reader(f, back->out[i], OP_RESHAPE);
        NodeId concat = flat == NONE ? NONE : only_reader(f, g->node.at[flat].out[0], OP_CONCAT);
        if (concat == NONE || g->node.at[concat].nin != PARTS) return false;
        if (g->node.at[concat].in[i] != g->node.at[flat].out[0]) return false;
        packed->concat = concat;
    }
    return true;
}

void fuse_attend(Fuse *f, NodeId attend) {
    const Graph *g = f->g;
    const Node *node = &g->node.at[attend];
    Packed packed = {.split = NONE};
    ValueId in[MOST_IN];
    if (!find_split(f, attend, &packed) || !find_back(f, attend, &packed)) return;
    const ValueId qkv = g->node.at[packed.split].in[0];
    if (packed.back != NONE) {
        const Node *back = &g->node.at[packed.back]; /* do, q, k, v, o, lse, first key, last query */
        const uint32_t rest = back->nin - 1 - PARTS;
        in[0] = back->in[0];
        in[1] = qkv;
        memcpy(in + 2, back->in + 1 + PARTS, rest * sizeof *in);
        fuse_become(f, packed.back, OP_ATTEND_PACKED_BWD, in, 2 + rest, g->node.at[packed.concat].out, 1);
        for (uint32_t i = 0; i < PARTS; i++) fuse_drop(f, packed.flat[i]);
        fuse_drop(f, packed.concat);
    }
    in[0] = qkv;
    memcpy(in + 1, node->in + PARTS, (node->nin - PARTS) * sizeof *in);
    fuse_become(f, attend, OP_ATTEND_PACKED, in, 1 + node->nin - PARTS, node->out, 2);
    for (uint32_t i = 0; i < PARTS; i++) fuse_drop(f, packed.heads[i]);
    fuse_drop(f, packed.split);
}
