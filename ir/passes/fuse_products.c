/* A product is added to what it is a part of:
 *
 *     d = linear_bwd_x(dy, w); s = add(r, d)        s = linear_bwd_x(dy, w, r)
 *     d = linear(x, w, bias?); s = add(r, d)        s = linear(x, w, bias?, r)
 *     d = linear(x, w); s = add_scaled(r, d)        s = factor * linear(x, w) + r
 *
 * as where several layers read one value, an adapter adds to its base's result, or a block to its input. Only
 * where the two are neighbours, as lowering and autodiff leave them: what the product reads then lives no
 * longer than before, and r is there. d is not rounded before it is added, which a low-rank adapter in PEFT's
 * hands is. */
#include "ir/passes/fuse_products.h"

#include "ir/ops.h"

#include <string.h>

/* The node behind `n`; the number of nodes, where it is the last. */
static NodeId next_node(const Fuse *f, NodeId n) {
    do n++;
    while (n < f->g->node.count && !f->node[n].nout);
    return n;
}

static bool is_together(const Node *a, const Node *b) {
    return a->phase == b->phase && a->block == b->block;
}

/* A product of rows that lie one behind the other, and are not added to anything yet. */
static bool is_product(const Graph *g, const Node *node) {
    if (!node->nout || (node->op != OP_LINEAR && node->op != OP_LINEAR_BWD_X)) return false;
    const Value *y = &g->value.at[node->out[0]];
    if (node->out[0] == g->logits || y->room || node->nin > 3) return false;
    if (node->nin == 2) return true;
    const Type *bias = &g->value.at[node->in[2]].type;
    return bias->rank != y->type.rank && bias->dtype == y->type.dtype;
}

/* Whether `add` adds the product, scaled by what it was not yet: by how much. */
static bool scales(const Node *product, const Node *add, double *factor) {
    *factor = product->attr.factor;
    if (add->op == OP_ADD) return true;
    if (add->op != OP_ADD_SCALED || product->nin > 2 || *factor != 0) return false;
    *factor = add->attr.factor;
    return add->in[1] == product->out[0];
}

void fuse_products(Fuse *f) {
    const Graph *g = f->g;
    uint32_t *reads = NEW_ARRAY(f->arena, uint32_t, g->value.count);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < f->node[n].nin && f->node[n].nout; i++) reads[f->node[n].in[i]]++;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *product = &f->node[n];
        const NodeId next = next_node(f, n);
        if (!is_product(g, product) || next == g->node.count) continue;
        const ValueId d = product->out[0];
        const Node *add = &f->node[next];
        double factor;
        if (reads[d] != 1 || !is_together(product, add) || !scales(product, add, &factor) ||
            (add->in[0] != d && add->in[1] != d))
            continue;
        ValueId in[4];
        memcpy(in, product->in, sizeof in[0] * product->nin);
        in[product->nin] = add->in[add->in[0] == d];
        fuse_become(f, n, product->op, in, product->nin + 1, add->out, 1);
        f->node[n].attr.factor = factor;
        fuse_drop(f, next);
    }
}
