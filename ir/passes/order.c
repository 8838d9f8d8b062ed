/* Where the update's nodes stand.
 *
 * Requires: a graph after autodiff, fused or not: every node of the update comes after the backward ones.
 * Produces: a new graph. When one micro-step makes a step and gradients are not clipped, each node of the
 * update stands right after the last node it has to wait for, so that a gradient dies as soon as it was
 * measured and applied; else nothing moves.
 *
 *     before   | .. w2's gradient | .. w1's gradient | norm w2, adamw w2, norm w1, adamw w1 |
 *     after    | .. w2's gradient, norm w2, adamw w2 | .. w1's gradient, norm w1, adamw w1 |
 *
 * What is waited for: the operands; and, before a weight is written over, every node that reads it or what
 * the forward pass made of it (a cast), which the planner may thus still make again. The sum of squares is
 * added up in the order autodiff chose, the order in which gradients are complete: the numbers stay the same.
 *
 * Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models with Limited Resources": an update
 * fused into the backward pass. */
#include "ir/passes/rebuild.h"
#include "ir/ops.h"
#include "ir/passes/passes.h"

typedef struct Order {
    const Graph *g;
    ValueId *root;     /* by value */
    NodeId *last_read; /* by root: the last node outside the update that reads it; 0 when none does */
    NodeId *needed;    /* by root of a persistent value: the last node outside the update that may need it */
    NodeId *after;     /* by node of the update: the node outside it that it follows */
} Order;

bool updates_may_move(const Graph *g) {
    bool clips = false;
    for (NodeId n = 0; n < g->node.count; n++) clips |= g->node.at[n].op == OP_CLIP_SCALE;
    return g->accumulate == 1 && !clips;
}

static void find_roots(Order *o) {
    const Graph *g = o->g;
    for (ValueId v = 0; v < g->value.count; v++) o->root[v] = v;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) o->root[node->out[0]] = o->root[node->in[0]];
        for (uint32_t i = 1; i <= node->nmut; i++)
            o->root[node->out[node->nout - i]] = o->root[node->in[node->nin - i]];
    }
}

static void at_least(NodeId *to, NodeId node) {
    if (node > *to) *to = node;
}

static void find_needs(Order *o) {
    const Graph *g = o->g;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        for (uint32_t i = 0; i < node->nin && node->phase != PHASE_UPDATE; i++)
            o->last_read[o->root[node->in[i]]] = n;
    }
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->phase == PHASE_UPDATE) continue;
        NodeId until = n;
        for (uint32_t i = 0; i < node->nout && node->phase == PHASE_FORWARD; i++)
            if (i + node->nmut < node->nout) at_least(&until, o->last_read[o->root[node->out[i]]]);
        for (uint32_t i = 0; i < node->nin; i++) at_least(&o->needed[o->root[node->in[i]]], until);
    }
}

static void find_places(Order *o) {
    const Graph *g = o->g;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->phase != PHASE_UPDATE) continue;
        for (uint32_t i = 0; i < node->nin; i++) {
            NodeId def = g->value.at[node->in[i]].def;
            if (def != NONE)
                at_least(&o->after[n], g->node.at[def].phase == PHASE_UPDATE ? o->after[def] : def);
            bool written = i >= node->nin - node->nmut;
            if (written) at_least(&o->after[n], o->needed[o->root[node->in[i]]]);
        }
    }
}

/* The nodes outside the update in their order, each followed by those of the update that wait for it. */
static void lay_nodes(const Order *o, Node *node, Arena *arena) {
    const Graph *g = o->g;
    uint32_t nodes = g->node.count, count = 0;
    uint32_t *first = NEW_ARRAY(arena, uint32_t, nodes + 2);
    NodeId *waiting = NEW_ARRAY(arena, NodeId, nodes + 1);
    for (NodeId n = 0; n < nodes; n++)
        if (g->node.at[n].phase == PHASE_UPDATE) first[o->after[n] + 2]++;
    for (NodeId n = 0; n < nodes; n++) first[n + 2] += first[n + 1];
    for (NodeId n = 0; n < nodes; n++)
        if (g->node.at[n].phase == PHASE_UPDATE) waiting[first[o->after[n] + 1]++] = n;
    for (NodeId n = 0; n < nodes; n++) {
        if (g->node.at[n].phase == PHASE_UPDATE) continue;
        node[count++] = g->node.at[n];
        for (uint32_t i = first[n]; i < first[n + 1]; i++) node[count++] = g->node.at[waiting[i]];
    }
}

Graph *order_updates(const Graph *g, Arena *arena) {
    Order o = {.g = g};
    Node *node = NEW_ARRAY(arena, Node, g->node.count + 1);
    ValueId *values = NEW_ARRAY(arena, ValueId, g->value.count + 1);
    for (ValueId v = 0; v < g->value.count; v++) values[v] = v;
    for (NodeId n = 0; n < g->node.count; n++) node[n] = g->node.at[n];
    if (updates_may_move(g)) {
        o.root = NEW_ARRAY(arena, ValueId, g->value.count + 1);
        o.last_read = NEW_ARRAY(arena, NodeId, g->value.count + 1);
        o.needed = NEW_ARRAY(arena, NodeId, g->value.count + 1);
        o.after = NEW_ARRAY(arena, NodeId, g->node.count + 1);
        find_roots(&o);
        find_needs(&o);
        find_places(&o);
        lay_nodes(&o, node, arena);
    }
    return graph_rebuild(g, node, values, g->value.count, arena);
}
