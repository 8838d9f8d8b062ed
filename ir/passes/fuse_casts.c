/* Small trained weights that a block reads in another type are cast together, where the first of them is:
 *
 *     a' = cast(a); .. b' = cast(b); ..      a', b', .. = cast(a, b, ..)
 *
 * also where the rows of several are read as one weight's (group.c). A launch of its own takes longer than
 * the bytes of such a weight (a low-rank adapter's, or those of a small model), and a block of adapters has a
 * dozen. What is cast together is made again together, so large weights, which a plan may want one at a time,
 * stay apart. */
#include "ir/passes/fuse_casts.h"

#include <string.h>

enum { SMALL_ELEMENTS = 1 << 20, MOST = 64 };

static bool is_small_cast(const Fuse *f, NodeId n) {
    const Graph *g = f->g;
    const Node *node = &g->node.at[n];
    if (!fuse_is(f, n, OP_CAST) || node->nout != 1 || node->block == NONE) return false;
    bool small = node->phase == PHASE_FORWARD;
    for (uint32_t i = 0; i < node->nin; i++) {
        const Value *weight = &g->value.at[node->in[i]];
        small &= weight->kind == VALUE_PARAM && type_elements(&weight->type) < SMALL_ELEMENTS;
    }
    return small;
}

static DType type_of(const Fuse *f, ValueId v) {
    return f->g->value.at[v].type.dtype;
}

/* Those of the block of `first` that stand behind it and are of its types. */
static void join_casts(Fuse *f, NodeId first) {
    const Graph *g = f->g;
    ValueId in[MOST], out[MOST];
    NodeId part[MOST];
    uint32_t inputs = 0, count = 0;
    for (NodeId n = first; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->phase != PHASE_FORWARD) break;
        if (!is_small_cast(f, n) || node->block != g->node.at[first].block || inputs + node->nin > MOST ||
            type_of(f, node->in[0]) != type_of(f, g->node.at[first].in[0]) ||
            type_of(f, node->out[0]) != type_of(f, g->node.at[first].out[0]))
            continue;
        for (uint32_t i = 0; i < node->nin; i++) in[inputs++] = node->in[i];
        out[count] = node->out[0];
        part[count++] = n;
    }
    for (uint32_t i = 1; i < count; i++) fuse_drop(f, part[i]);
    if (count < 2) return;
    f->node[first].name = arena_printf(f->arena, "%s.casts", g->block.at[g->node.at[first].block]);
    fuse_become(f, first, OP_CAST, in, inputs, out, count);
}

void fuse_casts(Fuse *f) {
    for (NodeId n = 0; n < f->g->node.count; n++)
        if (is_small_cast(f, n)) join_casts(f, n);
}
