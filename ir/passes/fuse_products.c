/* A product is added to what it is a part of:
 *
 *     d = linear_bwd_x(dy, w); s = add(r, d)        s = linear_bwd_x(dy, w, r)
 *     d = linear(x, B); s = add(r, d)               s = linear(x, B, r)
 *     d = linear(x, B); s = add_scaled(r, d)        s = factor * linear(x, B) + r
 *
 * as where several layers read one value, and forwards where an adapter adds to its base's result. Only where
 * the two are neighbours, as lowering and autodiff leave them: what the product reads then lives no longer
 * than before, and r is there. d is not rounded before it is added, which a low-rank adapter in PEFT's hands
 * is. A layer that is added to a block's input is left alone: in tiles it ends in a join, and a loss in tiles
 * is that of the whole. */
#include "ir/passes/fuse_products.h"

#include "ir/passes/passes.h"

/* The node behind `n`; the number of nodes, where it is the last. */
static NodeId next_node(const Fuse *f, NodeId n) {
    do n++;
    while (n < f->g->node.count && !f->node[n].nout);
    return n;
}

/* A gradient or an adapter's result, of rows that lie one behind the other, that is not added to anything
 * yet. */
static bool is_product(const Graph *g, const Node *node, const bool *adapter) {
    if (!node->nout || (node->op != OP_LINEAR_BWD_X && (node->op != OP_LINEAR || !adapter[node->in[1]])))
        return false;
    return node->nin == 2 && node->out[0] != g->logits && !g->value.at[node->out[0]].room;
}

/* Whether `add` adds the product, scaled by what it was not yet: by how much. */
static bool scales(const Node *product, const Node *add, double *factor) {
    *factor = product->attr.factor;
    if (add->op == OP_ADD) return true;
    if (add->op != OP_ADD_SCALED || *factor != 0) return false;
    *factor = add->attr.factor;
    return add->in[1] == product->out[0];
}

void fuse_products(Fuse *f) {
    const Graph *g = f->g;
    const bool *adapter = adapter_weights(g, f->arena);
    uint32_t *reads = NEW_ARRAY(f->arena, uint32_t, g->value.count);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < f->node[n].nin && f->node[n].nout; i++) reads[f->node[n].in[i]]++;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *product = &f->node[n];
        const NodeId next = next_node(f, n);
        if (!is_product(g, product, adapter) || next == g->node.count) continue;
        const ValueId d = product->out[0];
        const Node *add = &f->node[next];
        double factor;
        if (reads[d] != 1 || !fuse_together(f, n, next) || !scales(product, add, &factor) ||
            (add->in[0] != d && add->in[1] != d))
            continue;
        const ValueId in[] = {product->in[0], product->in[1], add->in[add->in[0] == d]};
        fuse_become(f, n, product->op, in, 3, add->out, 1);
        f->node[n].attr.factor = factor;
        fuse_drop(f, next);
    }
}
