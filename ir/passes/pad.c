/* Room for whole rows where a matrix product needs them.
 *
 * Requires: a graph that no later pass changes, for CUDA. Produces: a new graph with the same values, of
 * which some have room for more elements than their type has (Value.room):
 *
 *     logits, their gradient [.., V]    rows lie P apart
 *     weight of that layer [V, D]       P rows: zeros behind V
 *     its gradient [V, D]               P rows
 *     its bias [V]                      P numbers: zeros behind V
 *
 * where P is V rounded up to a multiple of 64,
 * so that y = x w^T, dx = dy w and dw = dy^T x are products with P in the place of V. (With V and rows that
 * merely lie P apart they would be as slow as before.) The padding of the logits' gradient and of the weight
 * is zero and adds nothing to dx; what stands in that of the logits and of the weight's gradient is never
 * read.
 *
 * Which layers: those whose rows would not begin at multiples of 16 bytes, which the fast kernels of a matrix
 * library load at once, and that are wide enough for the padding to be small beside them (an eighth at most)
 * and the product to take time. A weight has its room wherever such a layer reads it, so that the graphs of
 * one program agree; the layer's result is padded where all that reads it takes it so (OPF_PITCH_IN). */
#include "ir/passes/rebuild.h"
#include "ir/ops.h"
#include "ir/passes/passes.h"

enum { PITCH = 64, NARROWEST = 512, FAST_BYTES = 16 };

typedef struct Pad {
    Graph *g;
    ValueId *root;
    int64_t *room; /* by root */
    bool *apart;   /* by value: every reader takes rows that lie apart */
} Pad;

static int64_t last_dim(const Type *type) {
    return type->dim[type->rank - 1];
}

static bool is_slow(const Type *y) {
    int64_t width = last_dim(y);
    return width >= NARROWEST && width * dtype_bytes[y->dtype] % FAST_BYTES != 0;
}

static int64_t pitch_of(const Type *y) {
    return (last_dim(y) + PITCH - 1) / PITCH * PITCH;
}

static void reserve(Pad *p, ValueId v, int64_t room) {
    int64_t *has = &p->room[p->root[v]];
    if (*has < room) *has = room;
}

/* Elements of a weight [V, D] or bias [V] with a row for each padded column. */
static int64_t rows_room(const Type *weight, int64_t pitch) {
    return weight->rank == 2 ? pitch * weight->dim[1] : pitch;
}

static void find_roots(Pad *p) {
    const Graph *g = p->g;
    for (ValueId v = 0; v < g->value.count; v++) p->root[v] = v, p->apart[v] = true;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) p->root[node->out[0]] = p->root[node->in[0]];
        for (uint32_t i = 1; i <= node->nmut; i++)
            p->root[node->out[node->nout - i]] = p->root[node->in[node->nin - i]];
        for (uint32_t i = 0; i < node->nin; i++)
            if (i > 0 || !(op_info[node->op].flags & OPF_PITCH_IN)) p->apart[node->in[i]] = false;
    }
}

/* Are there zeros past the elements, where there is room? The trainer writes those of what is persistent. */
static bool is_cleared(const Graph *g, ValueId root) {
    const Value *value = &g->value.at[root];
    return value->kind != VALUE_ACTIVATION || op_info[g->node.at[value->def].op].flags & OPF_CLEARS;
}

/* Weights and biases. */
static void reserve_weights(Pad *p) {
    const Graph *g = p->g;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        const Type *y = &g->value.at[node->out[0]].type;
        if (node->op != OP_LINEAR || !is_slow(y)) continue;
        for (uint32_t i = 1; i < node->nin; i++)
            if (is_cleared(g, p->root[node->in[i]]))
                reserve(p, node->in[i], rows_room(&g->value.at[node->in[i]].type, pitch_of(y)));
    }
}

static bool has_rows(const Pad *p, ValueId weight, int64_t pitch) {
    return p->room[p->root[weight]] >= rows_room(&p->g->value.at[weight].type, pitch);
}

static void pad_result(Pad *p, ValueId y) {
    const Type *type = &p->g->value.at[y].type;
    reserve(p, y, type_elements(type) / last_dim(type) * pitch_of(type));
}

/* A layer's result, and the gradient of logits that are padded. */
static void pad_results(Pad *p) {
    const Graph *g = p->g;
    bool *fits =
        NEW_ARRAY(g->arena, bool, g->value.count + 1); /* by value: its readers' weights have the rows */
    for (ValueId v = 0; v < g->value.count; v++) fits[v] = true;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->op == OP_LINEAR_BWD_X)
            fits[node->in[0]] &= has_rows(p, node->in[1], pitch_of(&g->value.at[node->in[0]].type));
    }
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        ValueId y = node->out[0];
        const Type *type = &g->value.at[y].type;
        if (node->op == OP_LINEAR && is_slow(type) && p->apart[y]) {
            bool all = true;
            for (uint32_t i = 1; i < node->nin; i++) all &= has_rows(p, node->in[i], pitch_of(type));
            if (all) pad_result(p, y);
        }
        if ((node->op == OP_CROSS_ENTROPY_BWD || node->op == OP_CROSS_ENTROPY_BOTH) &&
            p->room[p->root[node->in[0]]] && p->apart[y] && fits[y])
            pad_result(p, y);
        if (node->op == OP_LINEAR_BWD_W && p->room[p->root[node->in[0]]])
            reserve(p, y, rows_room(type, pitch_of(&g->value.at[node->in[0]].type)));
    }
}

Graph *pad_rows(const Graph *from, Arena *arena) {
    ValueId *values = NEW_ARRAY(arena, ValueId, from->value.count + 1);
    for (ValueId v = 0; v < from->value.count; v++) values[v] = v;
    Graph *g = graph_rebuild(from, from->node.at, values, from->value.count, arena);
    Pad p = {.g = g};
    p.root = NEW_ARRAY(arena, ValueId, g->value.count + 1);
    p.room = NEW_ARRAY(arena, int64_t, g->value.count + 1);
    p.apart = NEW_ARRAY(arena, bool, g->value.count + 1);
    find_roots(&p);
    reserve_weights(&p);
    pad_results(&p);
    for (ValueId v = 0; v < g->value.count; v++) g->value.at[v].room = p.room[p.root[v]];
    return g;
}
