/* Gradients of gains and biases are sums over rows that another operation of the backward pass has in its
 * hands:
 *
 *     dg = norm_bwd_g(dy, x, ..); db = sum_leading(dy)      dx, dg, db, sum = norm_bwd_sums(dy, x, g, ..)
 *     dx = norm_bwd_x(dy, x, g, ..); sum = sum_leading(dx)
 *     dx = bias_gelu_bwd(dy, x, b); sum = sum_leading(dx)   dx, sum = bias_gelu_bwd_sums(dy, x, b)
 *     dg, du = swiglu_bwd(dy, g, u); the sums of both       dg, du, sums = swiglu_bwd_sums(dy, g, u)
 *
 * The sum of dx is the gradient of a bias that was added to x, or to what x was added to: where there is one
 * in the same block. All sums of a node begin, or go on, alike. */
#include "ir/passes/fuse_sums.h"
#include "ir/ops.h"

#include <string.h>

enum { MOST_SUMS = 3 };

/* Whether node `s` may be done where `at` stands: what it reads is there, and nothing reads it before. */
static bool may_move(const Fuse *f, NodeId s, NodeId at) {
    const Node *node = &f->g->node.at[s];
    for (uint32_t i = 0; i < node->nin; i++) {
        NodeId def = f->g->value.at[node->in[i]].def;
        if (def != NONE && def >= at && i > 0) return false;
    }
    for (uint32_t i = 0; i < fuse_readers(f, node->out[0]); i++)
        if (fuse_reader(f, node->out[0], i) <= at) return false;
    return true;
}

/* A sum over rows of `dy` into [D], to be taken where `at` stands; NONE without one. */
static NodeId find_sum(const Fuse *f, ValueId dy, NodeId at) {
    const Node *node = &f->node[at];
    for (uint32_t i = 0; i < fuse_readers(f, dy); i++) {
        NodeId s = fuse_reader(f, dy, i);
        const Node *sum = &f->g->node.at[s];
        if (!fuse_is(f, s, OP_SUM_LEADING) || sum->in[0] != dy || sum->phase != node->phase) continue;
        if (f->g->value.at[sum->out[0]].type.rank == 1 && sum->block == node->block && may_move(f, s, at))
            return s;
    }
    return NONE;
}

/* The gain's gradient that goes with `at`, the norm's of x. */
static NodeId find_gain(const Fuse *f, NodeId at) {
    const Node *node = &f->node[at];
    Op op = node->op == OP_LAYERNORM_BWD_X ? OP_LAYERNORM_BWD_G : OP_RMSNORM_BWD_G;
    const uint32_t statistics = node->op == OP_LAYERNORM_BWD_X ? 2 : 1;
    for (uint32_t i = 0; i < fuse_readers(f, node->in[1]); i++) {
        NodeId n = fuse_reader(f, node->in[1], i);
        const Node *gain = &f->g->node.at[n];
        if (!fuse_is(f, n, op) || gain->phase != node->phase || gain->block != node->block) continue;
        if (memcmp(gain->in, node->in, 2 * sizeof *node->in) != 0) continue;
        if (memcmp(gain->in + 2, node->in + 3, statistics * sizeof *node->in) == 0 && may_move(f, n, at))
            return n;
    }
    return NONE;
}

/* Node `at` makes those sums too. */
static void take_sums(Fuse *f, NodeId at, Op op, const NodeId *sum, uint32_t sums) {
    const Node *node = &f->node[at];
    const uint32_t operands = (uint32_t)op_info[node->op].min_in;
    const Node *first = &f->g->node.at[sum[0]];
    const uint32_t made = node->nout;
    ValueId in[16], out[2 + MOST_SUMS];
    memcpy(in, node->in, sizeof *in * node->nin);
    memcpy(out, node->out, sizeof *out * made);
    for (uint32_t i = 0; i < sums; i++) {
        const Node *from = &f->g->node.at[sum[i]];
        out[made + i] = from->out[0];
        if (from->nmut) in[node->nin + i] = from->in[from->nin - 1];
        fuse_drop(f, sum[i]);
    }
    const bool is_norm = op == OP_LAYERNORM_BWD_SUMS || op == OP_RMSNORM_BWD_SUMS;
    Attr attr = node->attr;
    attr.acc = first->attr.acc;
    attr.residual = is_norm && node->nin > operands;
    const uint32_t nmut = first->nmut ? sums : 0;
    fuse_become(f, at, op, in, node->nin + nmut, out, made + sums);
    f->node[at].attr = attr;
    f->node[at].nmut = nmut;
}

static bool go_on_alike(const Fuse *f, NodeId a, NodeId b) {
    const Node *x = &f->g->node.at[a], *y = &f->g->node.at[b];
    return x->attr.acc == y->attr.acc && x->nmut == y->nmut;
}

static void fuse_norm_sums(Fuse *f, NodeId at) {
    const bool layer = f->node[at].op == OP_LAYERNORM_BWD_X;
    NodeId sum[MOST_SUMS] = {find_gain(f, at)};
    uint32_t sums = 1;
    if (sum[0] == NONE) return;
    if (layer) {
        NodeId bias = find_sum(f, f->node[at].in[0], at);
        if (bias == NONE || !go_on_alike(f, sum[0], bias)) return;
        sum[sums++] = bias;
    }
    NodeId added = find_sum(f, f->node[at].out[0], at);
    if (added != NONE && go_on_alike(f, sum[0], added)) sum[sums++] = added;
    take_sums(f, at, layer ? OP_LAYERNORM_BWD_SUMS : OP_RMSNORM_BWD_SUMS, sum, sums);
}

/* Of what it makes. */
static void fuse_sum(Fuse *f, NodeId at, Op op) {
    NodeId sum = find_sum(f, f->node[at].out[0], at);
    if (sum != NONE) take_sums(f, at, op, &sum, 1);
}

static void fuse_swiglu_sums(Fuse *f, NodeId at) {
    const ValueId *out = f->node[at].out;
    const NodeId sum[] = {find_sum(f, out[0], at), find_sum(f, out[1], at)};
    if (sum[0] == NONE || sum[1] == NONE || !go_on_alike(f, sum[0], sum[1])) return;
    take_sums(f, at, OP_SWIGLU_BWD_SUMS, sum, 2);
}

void fuse_sums(Fuse *f) {
    for (NodeId n = 0; n < f->g->node.count; n++) {
        if (!f->node[n].nout) continue;
        switch (f->node[n].op) {
        case OP_LAYERNORM_BWD_X:
        case OP_RMSNORM_BWD_X: fuse_norm_sums(f, n); break;
        case OP_BIAS_GELU_BWD: fuse_sum(f, n, OP_BIAS_GELU_BWD_SUMS); break;
        case OP_SWIGLU_BWD: fuse_swiglu_sums(f, n); break;
        default: break;
        }
    }
}
