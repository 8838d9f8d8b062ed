/* The forward part alone, for evaluation and sampling.
 *
 * Requires: a graph before or after autodiff; after fuse, one without a backward part. Produces: a new graph
 * with every parameter first, in the order of their list, then inputs, the loss sum and what the logits and
 * the loss need. Dropout, which has no effect in evaluation, is bypassed. */
#include "ir/passes/rebuild.h"
#include "ir/ops.h"
#include "ir/passes/passes.h"

#include <string.h>

/* Forward nodes that the logits, the loss or a cache need; operands go around dropout. */
static Node *needed_nodes(const Graph *from, ValueId *instead, bool *needed, Arena *arena) {
    Node *node = NEW_ARRAY(arena, Node, from->node.count);
    for (ValueId v = 0; v < from->value.count; v++) instead[v] = v;
    for (NodeId n = 0; n < from->node.count; n++) {
        const Node *old = &from->node.at[n];
        if (old->phase != PHASE_FORWARD) continue;
        if (op_info[old->op].flags & OPF_RANDOM) {
            instead[old->out[0]] = instead[old->in[0]];
            continue;
        }
        node[n] = *old;
        node[n].in = NEW_ARRAY(arena, ValueId, old->nin);
        for (uint32_t i = 0; i < old->nin; i++) node[n].in[i] = instead[old->in[i]];
    }
    if (from->logits != NONE) needed[instead[from->logits]] = true;
    for (NodeId n = from->node.count; n-- > 0;) {
        bool wanted = node[n].nout && op_info[node[n].op].over != OVER_NOTHING; /* loss, caches */
        for (uint32_t i = 0; i < node[n].nout; i++) wanted |= needed[node[n].out[i]];
        if (!wanted) node[n].nout = 0;
        for (uint32_t i = 0; wanted && i < node[n].nin; i++) needed[node[n].in[i]] = true;
        for (uint32_t i = 0; i < node[n].nout; i++) needed[node[n].out[i]] = true;
    }
    return node;
}

Graph *graph_forward_only(const Graph *from, Arena *arena) {
    uint32_t values = from->value.count, count = 0;
    ValueId *instead = NEW_ARRAY(arena, ValueId, values), *order = NEW_ARRAY(arena, ValueId, values);
    bool *needed = NEW_ARRAY(arena, bool, values);
    const Node *node = needed_nodes(from, instead, needed, arena);
    for (uint32_t p = 0; p < from->param.count; p++) {
        order[count++] = from->param.at[p].value;
        needed[from->param.at[p].value] = false;
    }
    for (ValueId v = 0; v < values; v++)
        if (needed[v] || from->value.at[v].kind == VALUE_INPUT || v == from->loss_sum) order[count++] = v;

    Graph shell = *from;
    shell.logits = from->logits == NONE ? NONE : instead[from->logits];
    return graph_rebuild(&shell, node, order, count, arena);
}
