/* Building graphs and asking them simple questions. See graph.h.
 *
 * In: a request for a value or node. Out: the graph with one more of them, its outputs typed by the
 * operation's shape rule. Invariant: nodes are appended in an order that is topological, and a value's `def`
 * and `out_index` name the node output it is. */
#include "ir/graph.h"
#include "ir/ops.h"
#include "kernels/packed.h"

#include <string.h>

const char *const dtype_name[DT_COUNT] = {
#define DTYPE(name, NAME, bytes) #name,
#include "kernels/dtype.def"
#undef DTYPE
};

const int64_t dtype_bytes[DT_COUNT] = {
#define DTYPE(name, NAME, bytes) bytes,
#include "kernels/dtype.def"
#undef DTYPE
};

const char *const phase_name[PHASE_COUNT] = {"forward", "backward", "update"};
const char *const init_kind_name[INIT_KIND_COUNT] = {"normal", "constant", "uniform"};
const char *const value_kind_name[VALUE_KIND_COUNT] = {"input", "param", "frozen", "state", "activation"};
const char *const role_name[ROLE_COUNT] = {"activation", "gradient", "wgrad",  "weight",
                                           "optimizer",  "input",    "metric", "cache"};

/* ---- building ---- */

Graph *graph_new(Arena *arena) {
    Graph *g = NEW(arena, Graph);
    g->arena = arena;
    g->tokens = g->targets = g->mask = g->logits = g->loss_sum = g->norm_sum = NONE;
    g->first_key = g->last_query = g->positions = NONE;
    g->batch = g->context = g->accumulate = 1;
    return g;
}

/* `name` lives as long as the graph. */
static ValueId add_value(Graph *g, Type type, ValueKind kind, Role role, const char *name, Span span) {
    ValueId id = g->value.count;
    *vec_add(g->arena, &g->value) =
        (Value){.type = type, .def = NONE, .kind = kind, .role = role, .name = name, .span = span};
    return id;
}

ValueId graph_value(Graph *g, Type type, ValueKind kind, Role role, const char *name, Span span) {
    return add_value(g, type, kind, role, arena_strdup(g->arena, name), span);
}

static Role output_role(const Graph *g, const Node *node, uint32_t i) {
    uint32_t fresh = node->nout - node->nmut;
    if (i >= fresh) return g->value.at[node->in[node->nin - node->nmut + i - fresh]].role;
    return node->phase == PHASE_FORWARD    ? ROLE_ACTIVATION
           : node->phase == PHASE_BACKWARD ? ROLE_GRADIENT
                                           : ROLE_METRIC;
}

NodeId graph_node_as(Graph *g, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                     const Type *wish, const Attr *attr, Phase phase, uint32_t block, const char *name,
                     Span span) {
    const OpInfo *info = &op_info[op];
    if (!op_takes(op, nin, (uint32_t)info->min_out)) die("%s '%s' has %u inputs", info->name, name, nin);
    if (!op_takes(op, nin, nout) || nmut > nin || nmut > nout)
        die("%s '%s' has %u outputs, %u written over", info->name, name, nout, nmut);

    Type *types = NEW_ARRAY(g->arena, Type, nin + nout), *made = types + nin;
    for (uint32_t i = 0; i < nin; i++) {
        if (in[i] >= g->value.count) die("%s '%s': input %u is no value", info->name, name, i);
        types[i] = g->value.at[in[i]].type;
    }
    if (wish) memcpy(made, wish, sizeof *wish * nout);
    static const Attr no_attr;
    if (!attr) attr = &no_attr;
    const char *wrong = op_infer(op, types, nin, attr, made, nout, g->arena);
    if (wrong) die("%s '%s': %s", info->name, name, wrong);

    NodeId id = g->node.count;
    Node *node = vec_add(g->arena, &g->node);
    *node = (Node){.op = op,
                   .nin = nin,
                   .nout = nout,
                   .nmut = nmut,
                   .attr = *attr,
                   .phase = phase,
                   .block = block,
                   .span = span};
    node->name = arena_strdup(g->arena, name);
    node->in = NEW_ARRAY(g->arena, ValueId, nin + nout);
    node->out = node->in + nin;
    memcpy(node->in, in, sizeof *in * nin);
    for (uint32_t i = 0; i < nout; i++) {
        const char *value_name = i ? arena_printf(g->arena, "%s.%u", name, i) : node->name;
        node->out[i] = add_value(g, made[i], VALUE_ACTIVATION, output_role(g, node, i), value_name, span);
        g->value.at[node->out[i]].def = id;
        g->value.at[node->out[i]].out_index = i;
    }
    return id;
}

NodeId graph_node(Graph *g, Op op, const ValueId *in, uint32_t nin, uint32_t nmut, uint32_t nout,
                  const Attr *attr, Phase phase, uint32_t block, const char *name, Span span) {
    return graph_node_as(g, op, in, nin, nmut, nout, NULL, attr, phase, block, name, span);
}

ValueId graph_op(Graph *g, Op op, const ValueId *in, uint32_t nin, const Attr *attr, Phase phase,
                 uint32_t block, const char *name, Span span) {
    return graph_op_as(g, op, in, nin, NULL, attr, phase, block, name, span);
}

ValueId graph_op_as(Graph *g, Op op, const ValueId *in, uint32_t nin, const Type *wish, const Attr *attr,
                    Phase phase, uint32_t block, const char *name, Span span) {
    uint32_t nout = (uint32_t)op_info[op].min_out;
    Type *wishes = NULL;
    if (wish) {
        wishes = NEW_ARRAY(g->arena, Type, nout);
        wishes[0] = *wish;
    }
    NodeId id = graph_node_as(g, op, in, nin, 0, nout, wishes, attr, phase, block, name, span);
    return g->node.at[id].out[0];
}

/* ---- asking ---- */

int64_t type_elements(const Type *type) {
    int64_t n = 1;
    for (int i = 0; i < type->rank; i++) n *= type->dim[i];
    return n;
}

int64_t type_bytes(const Type *type) {
    return k_storage_bytes((int)type->dtype, type_elements(type));
}

int64_t value_bytes(const Value *value) {
    return value->room ? k_storage_bytes((int)value->type.dtype, value->room) : type_bytes(&value->type);
}

bool type_equal(const Type *a, const Type *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

char *type_text(Arena *arena, const Type *type) {
    Text text = {.arena = arena};
    text_add(&text, "%s[", dtype_name[type->dtype]);
    for (int i = 0; i < type->rank; i++) text_add(&text, "%s%lld", i ? ", " : "", (long long)type->dim[i]);
    text_add(&text, "]");
    return text.at;
}

ValueId graph_root(const Graph *g, ValueId v) {
    for (;;) {
        const Value *value = &g->value.at[v];
        if (value->def == NONE) return v;
        const Node *node = &g->node.at[value->def];
        uint32_t fresh = node->nout - node->nmut;
        if (op_info[node->op].flags & OPF_VIEW)
            v = node->in[0];
        else if (value->out_index >= fresh)
            v = node->in[node->nin - node->nmut + value->out_index - fresh];
        else
            return v;
    }
}

bool value_persistent(const Graph *g, ValueId v) {
    return g->value.at[graph_root(g, v)].kind != VALUE_ACTIVATION;
}

static int64_t count_parameters(const Graph *g, bool frozen_too) {
    int64_t count = 0;
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Value *value = &g->value.at[g->param.at[p].value];
        if (frozen_too || value->kind != VALUE_FROZEN) count += type_elements(&value->type);
    }
    return count;
}

int64_t graph_parameters(const Graph *g) {
    return count_parameters(g, true);
}

int64_t graph_trained_parameters(const Graph *g) {
    return count_parameters(g, false);
}
