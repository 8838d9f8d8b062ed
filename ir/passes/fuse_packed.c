/* A product dequantises its weight itself, where a rule says so:
 *
 *     w = dequantize(q); y = linear(x, w)        y = linear(x, q)        and so linear_bwd_x(dy, w)
 *
 * Where no reader of w is left, w is gone: a plan has no room for it at all. */
#include "ir/passes/fuse_packed.h"

#include <string.h>

static bool is_product_with(const Node *node, ValueId weight) {
    return (node->op == OP_LINEAR || node->op == OP_LINEAR_BWD_X) && node->in[1] == weight &&
           node->in[0] != weight && (node->nin < 3 || node->in[2] != weight);
}

static void take_packed(Fuse *f, NodeId product, ValueId packed) {
    const Node old = f->node[product];
    ValueId *in = NEW_ARRAY(f->arena, ValueId, old.nin);
    memcpy(in, old.in, sizeof *in * old.nin);
    in[1] = packed;
    fuse_become(f, product, old.op, in, old.nin, old.out, old.nout);
}

void fuse_packed(Fuse *f, const PackedRule *rule) {
    const Graph *g = f->g;
    for (NodeId n = 0; n < g->node.count; n++) {
        if (!fuse_is(f, n, OP_DEQUANTIZE)) continue;
        const Node *dequantize = &g->node.at[n];
        const ValueId w = dequantize->out[0];
        uint32_t left = 0, sharing[PHASE_COUNT] = {0};
        for (uint32_t i = 0; i < fuse_readers(f, w); i++) sharing[f->node[fuse_reader(f, w, i)].phase]++;
        for (uint32_t i = 0; i < fuse_readers(f, w); i++) {
            const NodeId reader = fuse_reader(f, w, i);
            if (is_product_with(&f->node[reader], w) &&
                rule->takes(rule->about, g, &f->node[reader], dequantize, sharing[f->node[reader].phase]))
                take_packed(f, reader, dequantize->in[0]);
            else
                left++;
        }
        if (!left) fuse_drop(f, n);
    }
}
