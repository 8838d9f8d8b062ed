/* The update as few nodes: where gradients are clipped or added up over micro-steps, all of them are there
 * when the update begins, so that one kernel takes the norm of them all, and one updates all weights that are
 * stored alike:
 *
 *     s1 = square_norm(g1, s0); s2 = square_norm(g2, s1); ..      s = square_norm(g1, g2, .., s0)
 *     w1' = adamw(g1, w1, ..); w2' = adamw(g2, w2, ..); ..        w1', w2', .. = adamw(g1, g2, .., w1, w2,
 * ..)
 *
 * Weights that decay stand first. Each stands where the last of its parts did. */
#include "ir/passes/fuse_update.h"
#include "ir/ops.h"

#include <string.h>

typedef VEC(NodeId) Nodes;

static void fuse_norms(Fuse *f) {
    const Graph *g = f->g;
    Nodes norms = {0};
    for (NodeId n = 0; n < g->node.count; n++)
        if (fuse_is(f, n, OP_SQUARE_NORM)) *vec_add(f->arena, &norms) = n;
    if (norms.count < 2) return;
    ValueId *in = NEW_ARRAY(f->arena, ValueId, norms.count + 1);
    const Node *first = &g->node.at[norms.at[0]];
    for (uint32_t i = 0; i < norms.count; i++) {
        in[i] = g->node.at[norms.at[i]].in[0];
        if (g->value.at[in[i]].type.dtype != g->value.at[in[0]].type.dtype) return;
    }
    in[norms.count] = first->in[1];
    NodeId last = norms.at[norms.count - 1];
    f->node[last].attr = first->attr;
    f->node[last].name = op_info[OP_SQUARE_NORM].name;
    fuse_become(f, last, OP_SQUARE_NORM, in, norms.count + 1, g->node.at[last].out, 1);
    for (uint32_t i = 0; i + 1 < norms.count; i++) fuse_drop(f, norms.at[i]);
}

/* Whether one kernel may update the weights of both: they differ in sizes and in whether they decay. */
static bool are_alike(const Graph *g, const Node *a, const Node *b) {
    Attr x = a->attr, y = b->attr;
    x.decay = y.decay = 0;
    if (a->op != b->op || a->nin != b->nin || a->nout != b->nout || memcmp(&x, &y, sizeof x)) return false;
    for (uint32_t i = 0; i < a->nin; i++)
        if (g->value.at[a->in[i]].type.dtype != g->value.at[b->in[i]].type.dtype) return false;
    return true;
}

/* `update`: those of one kind, those that decay first, `last` the last of them in the graph. */
static void join_updates(Fuse *f, const Nodes *update, uint32_t decayed, NodeId last, const char *name) {
    const Graph *g = f->g;
    const Node *first = &g->node.at[update->at[0]];
    const uint32_t states = first->nout, tensors = update->count, scaled = first->nin - states - 1;
    const uint32_t nin = tensors + scaled + tensors * states;
    ValueId *in = NEW_ARRAY(f->arena, ValueId, nin), *out = NEW_ARRAY(f->arena, ValueId, tensors * states);
    if (scaled) in[tensors] = first->in[1];
    for (uint32_t t = 0; t < tensors; t++) {
        const Node *node = &g->node.at[update->at[t]];
        in[t] = node->in[0];
        memcpy(in + tensors + scaled + t * states, node->in + 1 + scaled, sizeof *in * states);
        memcpy(out + t * states, node->out, sizeof *out * states);
        if (update->at[t] != last) fuse_drop(f, update->at[t]);
    }
    Node *node = &f->node[last];
    node->attr = first->attr;
    node->attr.tensors = tensors;
    node->attr.decayed = decayed;
    node->nmut = tensors * states;
    node->name = name;
    fuse_become(f, last, first->op, in, nin, out, tensors * states);
}

static void fuse_updates(Fuse *f) {
    const Graph *g = f->g;
    uint32_t kinds = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        if (op_info[g->node.at[n].op].over != OVER_STATES || f->taken[n]) continue;
        Nodes update = {0};
        NodeId last = n;
        uint32_t decayed = 0;
        for (int decays = 1; decays >= 0; decays--) {
            for (NodeId m = n; m < g->node.count; m++) {
                const Node *node = &g->node.at[m];
                if (f->taken[m] || !are_alike(g, &g->node.at[n], node)) continue;
                if ((node->attr.decay != 0) != decays) continue;
                *vec_add(f->arena, &update) = m;
                if (m > last) last = m;
            }
            if (decays) decayed = update.count;
        }
        if (update.count < 2) continue;
        const char *name = op_info[g->node.at[n].op].name;
        join_updates(f, &update, decayed, last,
                     kinds ? arena_printf(f->arena, "%s_%u", name, kinds + 1) : name);
        kinds++;
    }
}

void fuse_update(Fuse *f) {
    fuse_norms(f);
    fuse_updates(f);
}
