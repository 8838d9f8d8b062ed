/* Operations that one kernel does in one pass over memory become one node.
 *
 * Requires: a graph after autodiff (one without a backward part is fused too). Produces: a new graph that
 * computes the same up to rounding. Here, pairs of neighbours:
 *
 *     a = silu(g); y = mul(a, u)         y = swiglu(g, u)           and their three backward nodes swiglu_bwd
 *     y = linear(x, w, b); gelu(y)       y = linear(x, w); bias_gelu(y, b)
 *     gelu_bwd(d, y)                     bias_gelu_bwd(d, y, b)
 *     s = scale(b); y = add(a, s)        y = add_scaled(a, b)
 *     y = linear(x, w); s = scale(y)     s = linear(x, w), scaled       by a power of two; linear_bwd_x too
 *     s = add(a, b); norm(s, ..)         s, .. = add_norm(a, b, ..)
 *     d = norm_bwd_x(..); add(d, r)      norm_bwd_x(.., r)
 *     lse, loss = cross_entropy(y, ..)   dy, loss = cross_entropy_both(y, ..)
 *     dy = cross_entropy_bwd(y, lse, ..)
 *
 * In fuse_packed.c, a product dequantises its weight itself; in fuse_products.c, it is added to the gradient
 * that it is a part of, where no norm does that, or to the result that it adapts; in fuse_attend.c, attention
 * reads and writes q, k and v side by side; in fuse_sums.c, sums over rows join what has the rows in its
 * hands; in fuse_casts.c, a block casts its small weights at once; in fuse_update.c, where gradients wait for
 * the update anyway, all their norms become one node and all of AdamW one.
 *
 * Forward nodes are fused only within one block. The input of a repeated block is thus always one value made
 * outside it, and running the block again needs that value alone, not both operands of the sum it came from.
 */
#include "ir/passes/fuse.h"
#include "ir/passes/fuse_attend.h"
#include "ir/passes/fuse_casts.h"
#include "ir/passes/fuse_packed.h"
#include "ir/passes/fuse_products.h"
#include "ir/passes/fuse_sums.h"
#include "ir/passes/fuse_update.h"
#include "ir/ops.h"
#include "ir/passes/passes.h"
#include "ir/passes/rebuild.h"

#include <string.h>

static void find_readers(Fuse *f) {
    const Graph *g = f->g;
    f->first = NEW_ARRAY(f->arena, uint32_t, g->value.count + 2);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < g->node.at[n].nin; i++) f->first[g->node.at[n].in[i] + 2]++;
    for (ValueId v = 0; v <= g->value.count; v++) f->first[v + 1] += f->first[v];
    f->reader = NEW_ARRAY(f->arena, NodeId, f->first[g->value.count + 1]);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < g->node.at[n].nin; i++) f->reader[f->first[g->node.at[n].in[i] + 1]++] = n;
}

uint32_t fuse_readers(const Fuse *f, ValueId v) {
    return f->first[v + 1] - f->first[v];
}

NodeId fuse_reader(const Fuse *f, ValueId v, uint32_t i) {
    return f->reader[f->first[v] + i];
}

bool fuse_is(const Fuse *f, NodeId n, Op op) {
    return n != NONE && f->g->node.at[n].op == op && !f->taken[n];
}

bool fuse_together(const Fuse *f, NodeId a, NodeId b) {
    return f->g->node.at[a].phase == f->g->node.at[b].phase &&
           f->g->node.at[a].block == f->g->node.at[b].block;
}

/* The operand of the two-operand node `n` that is not `v`; NONE when both are or neither is. */
static ValueId beside(const Fuse *f, NodeId n, ValueId v) {
    const ValueId *in = f->g->node.at[n].in;
    if ((in[0] == v) == (in[1] == v)) return NONE;
    return in[0] == v ? in[1] : in[0];
}

void fuse_drop(Fuse *f, NodeId n) {
    f->node[n].nout = 0;
    f->taken[n] = true;
}

void fuse_become(Fuse *f, NodeId n, Op op, const ValueId *in, uint32_t nin, const ValueId *out,
                 uint32_t nout) {
    Node *node = &f->node[n];
    node->op = op;
    node->nin = nin;
    node->nout = nout;
    node->in = NEW_ARRAY(f->arena, ValueId, nin + nout);
    node->out = node->in + nin;
    memcpy(node->in, in, sizeof *in * nin);
    memcpy(node->out, out, sizeof *out * nout);
    f->taken[n] = true;
}

/* The silu_bwd(mul(dy, u), g) that goes with mul(dy, a): yields it and, in `product`, the mul inside it. */
static NodeId find_silu_bwd(const Fuse *f, ValueId g, ValueId dy, ValueId u, NodeId *product) {
    for (uint32_t i = 0; i < fuse_readers(f, g); i++) {
        NodeId n = fuse_reader(f, g, i);
        if (!fuse_is(f, n, OP_SILU_BWD) || f->g->node.at[n].in[1] != g) continue;
        ValueId da = f->g->node.at[n].in[0];
        *product = f->g->value.at[da].def;
        if (fuse_is(f, *product, OP_MUL) && fuse_readers(f, da) == 1 && beside(f, *product, dy) == u)
            return n;
    }
    return NONE;
}

static void fuse_swiglu(Fuse *f, NodeId silu) {
    const Graph *graph = f->g;
    ValueId g = graph->node.at[silu].in[0], a = graph->node.at[silu].out[0];
    if (fuse_readers(f, a) < 1 || fuse_readers(f, a) > 2 || a == graph->logits) return;
    NodeId mul = fuse_reader(f, a, 0);
    if (!fuse_is(f, mul, OP_MUL) || !fuse_together(f, silu, mul)) return;
    ValueId u = beside(f, mul, a);
    if (u == NONE) return;

    if (fuse_readers(f, a) ==
        2) { /* the gradient of u reads a: then the whole backward part has to be fused */
        NodeId du = fuse_reader(f, a, 1), da;
        if (!fuse_is(f, du, OP_MUL) || graph->node.at[du].phase != PHASE_BACKWARD) return;
        ValueId dy = beside(f, du, a);
        NodeId dg = dy == NONE || dy == u ? NONE : find_silu_bwd(f, g, dy, u, &da);
        if (dg == NONE || da == du) return;
        ValueId out[] = {graph->node.at[dg].out[0], graph->node.at[du].out[0]};
        NodeId first = da < du ? da : du;
        fuse_become(f, first, OP_SWIGLU_BWD, (ValueId[]){dy, g, u}, 3, out, 2);
        f->node[first].name = arena_printf(f->arena, "%s.bwd", graph->node.at[mul].name);
        fuse_drop(f, da < du ? du : da);
        fuse_drop(f, dg);
    }
    fuse_become(f, mul, OP_SWIGLU, (ValueId[]){g, u}, 2, graph->node.at[mul].out, 1);
    fuse_drop(f, silu);
}

static void fuse_bias_gelu(Fuse *f, NodeId linear) {
    const Node *node = &f->g->node.at[linear];
    ValueId y = node->out[0];
    NodeId back = fuse_readers(f, y) == 2 ? fuse_reader(f, y, 1) : NONE;
    if (node->nin != 3 || fuse_readers(f, y) < 1 || fuse_readers(f, y) > 2 || y == f->g->logits) return;
    NodeId gelu = fuse_reader(f, y, 0);
    if (!fuse_is(f, gelu, OP_GELU) || !fuse_together(f, linear, gelu)) return;
    if (back != NONE && !fuse_is(f, back, OP_GELU_BWD)) return;

    ValueId bias = node->in[2];
    if (back != NONE) {
        const Node *old = &f->g->node.at[back];
        fuse_become(f, back, OP_BIAS_GELU_BWD, (ValueId[]){old->in[0], y, bias}, 3, old->out, 1);
    }
    fuse_become(f, gelu, OP_BIAS_GELU, (ValueId[]){y, bias}, 2, f->g->node.at[gelu].out, 1);
    fuse_become(f, linear, OP_LINEAR, node->in, 2, node->out, 1);
}

/* The sum moves down to the norm, so nothing in between may read it. */
static void fuse_add_norm(Fuse *f, NodeId norm) {
    const Node *node = &f->g->node.at[norm];
    ValueId s = node->in[0], in[4], out[4];
    NodeId add = f->g->value.at[s].def;
    if (!fuse_is(f, add, OP_ADD) || !fuse_together(f, add, norm) || fuse_reader(f, s, 0) != norm) return;
    memcpy(in, f->g->node.at[add].in, sizeof in[0] * 2);
    memcpy(in + 2, node->in + 1, sizeof in[0] * (node->nin - 1));
    out[0] = s;
    memcpy(out + 1, node->out, sizeof out[0] * node->nout);
    Op op = node->op == OP_LAYERNORM ? OP_ADD_LAYERNORM : OP_ADD_RMSNORM;
    fuse_become(f, norm, op, in, node->nin + 1, out, node->nout + 1);
    fuse_drop(f, add);
}

static bool is_norm_bwd(const Fuse *f, NodeId n) {
    return (fuse_is(f, n, OP_LAYERNORM_BWD_X) || fuse_is(f, n, OP_RMSNORM_BWD_X)) &&
           f->g->node.at[n].nin == (uint32_t)op_info[f->g->node.at[n].op].min_in;
}

static void fuse_norm_bwd_add(Fuse *f, NodeId add) {
    const Node *node = &f->g->node.at[add];
    for (int i = 1; i >= 0; i--) {
        ValueId d = node->in[i], in[6];
        NodeId norm = f->g->value.at[d].def;
        if (!is_norm_bwd(f, norm) || fuse_readers(f, d) != 1 || f->g->node.at[norm].phase != node->phase)
            continue;
        const Node *from = &f->g->node.at[norm];
        memcpy(in, from->in, sizeof in[0] * from->nin);
        in[from->nin] = node->in[1 - i];
        f->node[add] = *from;
        fuse_become(f, add, from->op, in, from->nin + 1, node->out, 1);
        fuse_drop(f, norm);
        return;
    }
}

/* A product that can be made scaled: nobody else reads it. */
static bool takes_factor(const Fuse *f, ValueId y, NodeId scale) {
    const NodeId product = f->g->value.at[y].def;
    const bool is_product = fuse_is(f, product, OP_LINEAR) || fuse_is(f, product, OP_LINEAR_BWD_X);
    return is_product && f->g->node.at[product].nin == 2 && f->g->node.at[product].attr.factor == 0 &&
           fuse_together(f, product, scale) && fuse_readers(f, y) == 1 && y != f->g->logits;
}

static void give_factor(Fuse *f, ValueId y, double factor, const ValueId *out) {
    const NodeId product = f->g->value.at[y].def;
    const Node *node = &f->g->node.at[product];
    fuse_become(f, product, node->op, node->in, node->nin, out, 1);
    f->node[product].attr.factor = factor;
}

static void fuse_scale(Fuse *f, NodeId scale) {
    const Node *node = &f->g->node.at[scale];
    const ValueId x = node->in[0];
    const double factor = node->attr.factor;
    const NodeId from = f->g->value.at[x].def;
    if (!scaling_is_exact(factor)) return;
    if (takes_factor(f, x, scale)) {
        give_factor(f, x, factor, node->out);
    } else {
        if (!fuse_is(f, from, OP_CONCAT) || !fuse_together(f, from, scale) || fuse_readers(f, x) != 1) return;
        const Node *concat = &f->g->node.at[from];
        for (uint32_t i = 0; i < concat->nin; i++)
            if (!takes_factor(f, concat->in[i], scale)) return;
        for (uint32_t i = 0; i < concat->nin; i++) give_factor(f, concat->in[i], factor, &concat->in[i]);
        fuse_become(f, from, OP_CONCAT, concat->in, concat->nin, node->out, 1);
    }
    fuse_drop(f, scale);
}

static bool fuse_add_scaled(Fuse *f, NodeId add) {
    const Node *node = &f->g->node.at[add];
    for (int i = 1; i >= 0; i--) {
        ValueId s = node->in[i];
        NodeId scale = f->g->value.at[s].def;
        if (!fuse_is(f, scale, OP_SCALE) || fuse_readers(f, s) != 1 || s == f->g->logits) continue;
        if (!fuse_together(f, scale, add)) continue;
        const Node *from = &f->g->node.at[scale];
        fuse_become(f, add, OP_ADD_SCALED, (ValueId[]){node->in[1 - i], from->in[0]}, 2, node->out, 1);
        f->node[add].attr = from->attr;
        fuse_drop(f, scale);
        return true;
    }
    return false;
}

/* The loss is taken where its gradient is: nothing in between may ask for it. */
static void fuse_loss(Fuse *f, NodeId loss) {
    const Node *node = &f->g->node.at[loss];
    ValueId lse = node->out[0], sum = node->out[1], in[4];
    NodeId back = fuse_readers(f, lse) == 1 ? fuse_reader(f, lse, 0) : NONE;
    if (!fuse_is(f, back, OP_CROSS_ENTROPY_BWD) || f->g->node.at[back].nin != node->nin) return;
    const ValueId *read = f->g->node.at[back].in;
    const bool masked = node->nin == 4;
    if (read[0] != node->in[0] || read[1] != node->in[1] || (masked && read[3] != node->in[2])) return;
    for (uint32_t i = 0; i < fuse_readers(f, sum); i++)
        if (fuse_reader(f, sum, i) <= back) return;
    memcpy(in, node->in, sizeof in[0] * node->nin);
    const uint32_t nin = node->nin;
    fuse_become(f, back, OP_CROSS_ENTROPY_BOTH, in, nin, (ValueId[]){f->g->node.at[back].out[0], sum}, 2);
    f->node[back].nmut = 1;
    fuse_drop(f, loss);
}

Graph *fuse(const Graph *g, const PackedRule *rule, Arena *arena) {
    Fuse f = {.g = g, .arena = arena};
    f.node = NEW_ARRAY(arena, Node, g->node.count);
    f.taken = NEW_ARRAY(arena, bool, g->node.count);
    if (g->node.count) memcpy(f.node, g->node.at, sizeof *f.node * g->node.count);
    find_readers(&f);
    for (NodeId n = 0; n < g->node.count; n++) {
        if (f.taken[n]) continue;
        switch (g->node.at[n].op) {
        case OP_SILU: fuse_swiglu(&f, n); break;
        case OP_LINEAR: fuse_bias_gelu(&f, n); break;
        case OP_LAYERNORM:
        case OP_RMSNORM: fuse_add_norm(&f, n); break;
        case OP_ADD:
            if (!fuse_add_scaled(&f, n)) fuse_norm_bwd_add(&f, n);
            break;
        case OP_SCALE: fuse_scale(&f, n); break;
        case OP_ATTEND: fuse_attend(&f, n); break;
        case OP_CROSS_ENTROPY: fuse_loss(&f, n); break;
        default: break;
        }
    }
    fuse_sums(&f);
    fuse_casts(&f);
    if (!updates_may_move(g)) fuse_update(&f);
    fuse_products(&f);
    if (rule) fuse_packed(&f, rule);

    bool *made = NEW_ARRAY(arena, bool, g->value.count);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < f.node[n].nout; i++) made[f.node[n].out[i]] = true;
    ValueId *order = NEW_ARRAY(arena, ValueId, g->value.count);
    uint32_t count = 0;
    for (ValueId v = 0; v < g->value.count; v++)
        if (made[v] || g->value.at[v].def == NONE) order[count++] = v;
    return graph_rebuild(g, f.node, order, count, arena);
}
