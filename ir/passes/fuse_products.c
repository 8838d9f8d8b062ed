/* A product is added to the gradient that it is a part of:
 *
 *     d = linear_bwd_x(dy, w); s = add(r, d)        s = linear_bwd_x(dy, w, r)
 *
 * as where several layers read one value. Only where the two are neighbours, as autodiff leaves them: what
 * the product reads then lives no longer than before, and r is there. d is not rounded before it is added. */
#include "ir/passes/fuse_products.h"

/* The node behind `n`; the number of nodes, where it is the last. */
static NodeId next_node(const Fuse *f, NodeId n) {
    do n++;
    while (n < f->g->node.count && !f->node[n].nout);
    return n;
}

static bool is_together(const Node *a, const Node *b) {
    return a->phase == b->phase && a->block == b->block;
}

void fuse_products(Fuse *f) {
    const Graph *g = f->g;
    uint32_t *reads = NEW_ARRAY(f->arena, uint32_t, g->value.count);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < f->node[n].nin && f->node[n].nout; i++) reads[f->node[n].in[i]]++;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *product = &f->node[n];
        if (!product->nout || product->op != OP_LINEAR_BWD_X || product->nin != 2) continue;
        const NodeId next = next_node(f, n);
        const ValueId d = product->out[0];
        if (next == g->node.count || f->node[next].op != OP_ADD || reads[d] != 1) continue;
        const Node *add = &f->node[next];
        if (!is_together(product, add) || (add->in[0] != d && add->in[1] != d)) continue;
        const ValueId in[] = {product->in[0], product->in[1], add->in[add->in[0] == d]};
        fuse_become(f, n, OP_LINEAR_BWD_X, in, 3, add->out, 1);
        fuse_drop(f, next);
    }
}
