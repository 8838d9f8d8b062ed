/* Nodes of the graph as lowering makes them: their names, their shapes by the rules of ir/ops.c, which have
 * the last word [E0322], and the limits of the kernels [E0326]. */
#include "frontend/lower/lower_parts.h"
#include "ir/limits.h"
#include "ir/ops.h"

#include <string.h>

const char *unique_name(Lower *l, const char *stem, uint32_t nout) {
    /* outputs after the first are called NAME.1, NAME.2: those must be free as well */
    uint32_t number = map_get(l->next_suffix, stem);
    for (number = number == NONE ? 1 : number;; number++) {
        const char *name = number == 1 ? stem : arena_printf(l->arena, "%s.%u", stem, number);
        bool taken = map_get(l->names, name) != NONE;
        for (uint32_t i = 1; i < nout && !taken; i++)
            taken = map_get(l->names, arena_printf(l->arena, "%s.%u", name, i)) != NONE;
        if (taken) continue;
        map_set(l->next_suffix, stem, number + 1);
        return name;
    }
}

const char *node_name(Lower *l, const char *word, uint32_t nout) {
    return unique_name(l,
                       l->block_name ? arena_printf(l->arena, "%s%s.%s", l->scope, l->block_name, word)
                                     : arena_printf(l->arena, "%s%s", l->scope, word),
                       nout);
}

NodeId node_add(Lower *l, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                const Type *wish, const Attr *attr, const char *name, Span span) {
    enum { MAX_NODES = 1 << 16 };
    Graph *g = l->graph;
    if (l->too_large) return NONE;
    if (g->node.count >= MAX_NODES) {
        too_large(l, span, "more than 65536 operations");
        return NONE;
    }
    Type types[MAX_TENSORS], made[MAX_TENSORS] = {{0}};
    for (uint32_t i = 0; i < nin; i++) types[i] = g->value.at[in[i]].type;
    for (uint32_t i = 0; wish && i < nout; i++) made[i] = wish[i];
    const char *wrong = op_infer(op, types, nin, attr, made, nout, l->arena);
    if (wrong) {
        const char *limit = op_limit(op, types, nin, l->arena);
        Code code = limit && !strcmp(limit, wrong) ? E0326 : E0322;
        diag_error(l->diag, code, span, "%s: %s", op_info[op].name, wrong);
        if (code == E0326 && (op == OP_ATTEND || op == OP_ROPE))
            diag_help(l->diag, "more heads of the same model width are narrower");
        return NONE;
    }
    NodeId id = graph_node_as(g, op, in, nin, nmut, nout, wish, attr, PHASE_FORWARD, l->block, name, span);
    for (uint32_t i = 0; i < nout; i++)
        map_set(l->names, g->value.at[g->node.at[id].out[i]].name, g->node.at[id].out[i]);
    return id;
}

Operand first_output(Lower *l, NodeId node, const Shape *shape) {
    return node == NONE ? poison() : tensor_of(l, l->graph->node.at[node].out[0], shape);
}

Operand node_same(Lower *l, Op op, const Operand *in, uint32_t nin, const Attr *attr, const char *name,
                  Span span) {
    ValueId ids[MAX_TENSORS];
    for (uint32_t i = 0; i < nin; i++) ids[i] = in[i].value;
    if (!name) name = node_name(l, op == OP_ADD_BROADCAST ? "add" : op_info[op].name, 1);
    return first_output(l, node_add(l, op, ids, nin, 0, 1, NULL, attr, name, span), &in[0].shape);
}

ValueId cast_to_compute(Lower *l, ValueId value, const char *name, Span span) {
    Type wish = l->graph->value.at[value].type;
    if (wish.dtype == l->spec->compute) return value;
    Op op = dtype_bytes[wish.dtype] ? OP_CAST : OP_DEQUANTIZE;
    wish.dtype = l->spec->compute;
    NodeId node = node_add(l, op, &value, 1, 0, 1, &wish, NULL,
                           unique_name(l, arena_printf(l->arena, "%s.%s", name, op_info[op].name), 1), span);
    return node == NONE ? NONE : l->graph->node.at[node].out[0];
}
