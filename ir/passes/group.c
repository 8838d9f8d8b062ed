/* Adapters that read one value share a product.
 *
 * Requires: a forward graph, in tiles or not. Produces: a new one in which the first products of adapters
 * that read the same value within a block
 *
 *     u1 = linear(x, A1)  ..  un = linear(x, An)
 *
 * are one, by the rows of all those weights, one after the other:
 *
 *     A = cast(A1, .., An); u = linear(x, A); u1, .., un = split(u)
 *
 * Where what reads each ui scales it alike, u is scaled. They are thin: n of them read x n times, and
 * backwards n more write x's gradient, to be added up, where autodiff now makes one product of each kind. An
 * element of ui is a row of x with a row of Ai as before: on the host the same bits. The weights, their
 * gradients and what the optimizer keeps of them stay apart.
 *
 * A weight is grouped if it is in the same company wherever it is read (in each tile of an MLP). Adapters
 * with dropout each read a value of their own. */
#include "ir/ops.h"
#include "ir/passes/passes.h"
#include "ir/passes/rebuild.h"

#include <string.h>

typedef struct Group {
    uint32_t count;
    NodeId member[MOST_ROWS]; /* first products, in order */
    bool fine;
} Group;

typedef struct Groups {
    const Graph *from;
    Arena *arena, *scratch; /* arena: the result's */
    uint32_t *param;        /* by value: an adapter's weight, or its cast: the parameter; NONE */
    uint32_t *of;           /* by node: its group, NONE */
    uint32_t *reads;        /* by value */
    NodeId *reader;         /* by value: the last node that reads it */
    ValueId *rows;          /* by parameter: those of its group, once they are made; NONE */
    VEC(Group) group;
    Map *names;
    Graph shell; /* `from` with other nodes and more values */
} Groups;

/* ---- finding groups ---- */

static bool is_alone_cast(const Node *node) {
    return node->op == OP_CAST && node->nin == 1;
}

static uint32_t param_of(const Groups *s, NodeId member) {
    return s->param[s->from->node.at[member].in[1]];
}

static bool is_product(const Groups *s, const Node *node) {
    return node->op == OP_LINEAR && node->nin == 2 && node->phase == PHASE_FORWARD &&
           s->param[node->in[1]] != NONE;
}

static bool takes(const Groups *s, const Group *group, NodeId n) {
    bool fits =
        group->count < MOST_ROWS && s->from->node.at[group->member[0]].block == s->from->node.at[n].block;
    for (uint32_t i = 0; i < group->count; i++) fits &= param_of(s, group->member[i]) != param_of(s, n);
    return fits;
}

/* Products of one value and one block stand in one group, which may be of one product. */
static void find_groups(Groups *s) {
    const Graph *g = s->from;
    uint32_t *latest = NEW_ARRAY(s->scratch, uint32_t, g->value.count);
    for (ValueId v = 0; v < g->value.count; v++) latest[v] = s->param[v] = NONE;
    for (uint32_t p = 0; p < g->param.count; p++) {
        const ValueId v = g->param.at[p].value;
        if (g->param.at[p].adapter && g->value.at[v].kind == VALUE_PARAM) s->param[v] = p;
    }
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        s->of[n] = NONE;
        for (uint32_t i = 0; i < node->nin; i++) s->reads[node->in[i]]++, s->reader[node->in[i]] = n;
        if (is_alone_cast(node)) s->param[node->out[0]] = s->param[node->in[0]];
        if (!is_product(s, node)) continue;
        uint32_t *at = &latest[node->in[0]];
        if (*at == NONE || !takes(s, &s->group.at[*at], n)) {
            *at = s->group.count;
            *vec_add(s->scratch, &s->group) = (Group){.fine = true};
        }
        Group *group = &s->group.at[s->of[n] = *at];
        group->member[group->count++] = n;
    }
}

static bool is_same_company(const Groups *s, const Group *a, const Group *b) {
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = param_of(s, a->member[i]) == param_of(s, b->member[i]);
    return same;
}

/* Groups stand where each of their weights is read by groups of the same weights alone. */
static void keep_groups(Groups *s) {
    const Graph *g = s->from;
    uint32_t *with = NEW_ARRAY(s->scratch, uint32_t, g->param.count);
    bool *fine = NEW_ARRAY(s->scratch, bool, g->param.count);
    for (uint32_t p = 0; p < g->param.count; p++) with[p] = NONE, fine[p] = true;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        for (uint32_t i = 0; i < node->nin && !is_alone_cast(node); i++) {
            const uint32_t p = s->param[node->in[i]], group = s->of[n];
            if (p == NONE) continue;
            if (with[p] == NONE) with[p] = group;
            fine[p] &= i == 1 && group != NONE && s->group.at[group].count > 1 &&
                       is_same_company(s, &s->group.at[with[p]], &s->group.at[group]);
        }
    }
    for (uint32_t i = 0; i < s->group.count; i++) {
        Group *group = &s->group.at[i];
        for (uint32_t k = 0; k < group->count; k++) group->fine &= fine[param_of(s, group->member[k])];
    }
}

/* ---- building ---- */

static const char *fresh_name(Groups *s, const char *base) {
    const char *name = base;
    for (unsigned n = 2; map_get(s->names, name) != NONE; n++)
        name = arena_printf(s->arena, "%s_%u", base, n);
    map_set(s->names, name, 1);
    return name;
}

/* What all members' names have in common, to the last dot, and what follows the first one's next word: of
 * "h.0.attn.q.lora_A" and "h.0.attn.k.lora_A" "h.0.attn.lora_A". */
static const char *name_of(const Groups *s, const Group *group) {
    const Graph *g = s->from;
    const char *first = g->node.at[group->member[0]].name;
    size_t same = strlen(first);
    for (uint32_t i = 1; i < group->count; i++) {
        const char *other = g->node.at[group->member[i]].name;
        size_t length = 0, dots = 0;
        for (; length < same && first[length] == other[length]; length++)
            if (first[length] == '.') dots = length + 1;
        same = dots;
    }
    const char *rest = strchr(first + same, '.');
    return arena_printf(s->arena, "%.*s%s", (int)same, first, rest ? rest + 1 : first + same);
}

static ValueId add_value(Groups *s, const char *name, Type type, Span span) {
    const Value value = {.type = type,
                         .def = NONE,
                         .kind = VALUE_ACTIVATION,
                         .role = ROLE_ACTIVATION,
                         .name = name,
                         .span = span};
    *vec_add(s->scratch, &s->shell.value) = value;
    return s->shell.value.count - 1;
}

/* A node beside `like`. */
static Node *add_node(Groups *s, Op op, const ValueId *in, uint32_t nin, const ValueId *out, uint32_t nout,
                      const Node *like, const char *name) {
    Node *node = vec_add(s->scratch, &s->shell.node);
    *node = (Node){.op = op,
                   .nin = nin,
                   .nout = nout,
                   .in = NEW_ARRAY(s->scratch, ValueId, nin + nout),
                   .phase = PHASE_FORWARD,
                   .block = like->block,
                   .name = name,
                   .span = like->span};
    node->out = node->in + nin;
    memcpy(node->in, in, sizeof *in * nin);
    memcpy(node->out, out, sizeof *out * nout);
    return node;
}

static const Type *type_of(const Groups *s, ValueId v) {
    return &s->shell.value.at[v].type;
}

/* The rows of a group's weights. */
static ValueId rows_of(Groups *s, const Group *group, const char *name) {
    const Graph *g = s->from;
    const Node *first = &g->node.at[group->member[0]];
    ValueId *rows = &s->rows[param_of(s, group->member[0])], in[MOST_ROWS];
    if (*rows != NONE) return *rows;
    Type type = *type_of(s, first->in[1]);
    for (uint32_t i = 0; i < group->count; i++) {
        in[i] = g->param.at[param_of(s, group->member[i])].value;
        if (i > 0) type.dim[0] += type_of(s, in[i])->dim[0];
    }
    name = fresh_name(s, arena_printf(s->arena, "%s.rows", name));
    *rows = add_value(s, name, type, first->span);
    add_node(s, OP_CAST, in, group->count, rows, 1, first, name);
    return *rows;
}

/* What scales the result of member `i`, if nothing else reads that; NULL. */
static const Node *scale_of(const Groups *s, const Group *group, uint32_t i) {
    const ValueId u = s->from->node.at[group->member[i]].out[0];
    const Node *reader = s->reads[u] == 1 ? &s->from->node.at[s->reader[u]] : NULL;
    return reader && reader->op == OP_SCALE && u != s->from->logits ? reader : NULL;
}

static bool scales_alike(const Groups *s, const Group *group) {
    const Node *first = scale_of(s, group, 0);
    bool alike = first != NULL;
    for (uint32_t i = 1; alike && i < group->count; i++) {
        const Node *other = scale_of(s, group, i);
        alike = other && other->attr.factor == first->attr.factor;
    }
    return alike;
}

static void add_group(Groups *s, const Group *group) {
    const Graph *g = s->from;
    const Node *first = &g->node.at[group->member[0]];
    const char *wish = name_of(s, group), *name = fresh_name(s, wish);
    const ValueId rows = rows_of(s, group, wish);
    Type type = *type_of(s, first->out[0]);
    type.dim[type.rank - 1] = type_of(s, rows)->dim[0];
    ValueId part[MOST_ROWS], u = add_value(s, name, type, first->span);
    add_node(s, OP_LINEAR, (ValueId[]){first->in[0], rows}, 2, &u, 1, first, name);
    const bool scales = scales_alike(s, group);
    if (scales) {
        const char *scaled = fresh_name(s, arena_printf(s->arena, "%s.scale", wish));
        const ValueId from = u;
        u = add_value(s, scaled, type, first->span);
        add_node(s, OP_SCALE, &from, 1, &u, 1, first, scaled)->attr = scale_of(s, group, 0)->attr;
    }
    for (uint32_t i = 0; i < group->count; i++)
        part[i] = scales ? scale_of(s, group, i)->out[0] : g->node.at[group->member[i]].out[0];
    add_node(s, OP_SPLIT, &u, 1, part, group->count, first,
             fresh_name(s, arena_printf(s->arena, "%s.split", wish)));
}

static bool is_grouped(const Groups *s, NodeId n) {
    return n != NONE && s->of[n] != NONE && s->group.at[s->of[n]].fine;
}

/* Whether a group's nodes stand for node `n`. */
static bool is_replaced(const Groups *s, NodeId n) {
    const Graph *g = s->from;
    const Node *node = &g->node.at[n];
    if (is_alone_cast(node) && s->param[node->in[0]] != NONE)
        return s->reads[node->out[0]] > 0 && is_grouped(s, s->reader[node->out[0]]);
    if (node->op != OP_SCALE) return is_grouped(s, n);
    const NodeId product = g->value.at[node->in[0]].def;
    return is_grouped(s, product) && scales_alike(s, &s->group.at[s->of[product]]);
}

static void lay_nodes(Groups *s) {
    const Graph *g = s->from;
    for (NodeId n = 0; n < g->node.count; n++) {
        if (is_grouped(s, n) && s->group.at[s->of[n]].member[0] == n) add_group(s, &s->group.at[s->of[n]]);
        if (!is_replaced(s, n)) *vec_add(s->scratch, &s->shell.node) = g->node.at[n];
    }
}

static Graph *rebuild(Groups *s) {
    const Graph *shell = &s->shell;
    bool *made = NEW_ARRAY(s->scratch, bool, shell->value.count);
    ValueId *order = NEW_ARRAY(s->scratch, ValueId, shell->value.count);
    uint32_t count = 0;
    for (NodeId n = 0; n < shell->node.count; n++)
        for (uint32_t i = 0; i < shell->node.at[n].nout; i++) made[shell->node.at[n].out[i]] = true;
    for (ValueId v = 0; v < shell->value.count; v++)
        if (made[v] || shell->value.at[v].kind != VALUE_ACTIVATION) order[count++] = v;
    return graph_rebuild(shell, shell->node.at, order, count, s->arena);
}

Graph *group_adapters(const Graph *from, Arena *arena) {
    Groups s = {.from = from, .arena = arena, .scratch = arena_new(), .shell = *from};
    s.param = NEW_ARRAY(s.scratch, uint32_t, from->value.count);
    s.of = NEW_ARRAY(s.scratch, uint32_t, from->node.count);
    s.reads = NEW_ARRAY(s.scratch, uint32_t, from->value.count);
    s.reader = NEW_ARRAY(s.scratch, NodeId, from->value.count);
    s.rows = NEW_ARRAY(s.scratch, ValueId, from->param.count);
    s.names = map_new(s.scratch);
    for (uint32_t p = 0; p < from->param.count; p++) s.rows[p] = NONE;
    memset(&s.shell.node, 0, sizeof s.shell.node);
    memset(&s.shell.value, 0, sizeof s.shell.value);
    for (ValueId v = 0; v < from->value.count; v++) {
        *vec_add(s.scratch, &s.shell.value) = from->value.at[v];
        map_set(s.names, from->value.at[v].name, 1);
    }
    find_groups(&s);
    keep_groups(&s);
    lay_nodes(&s);
    Graph *g = rebuild(&s);
    arena_free(s.scratch);
    return g;
}

bool *adapter_weights(const Graph *g, Arena *arena) {
    bool *adapter = NEW_ARRAY(arena, bool, g->value.count);
    for (uint32_t p = 0; p < g->param.count; p++) adapter[g->param.at[p].value] = g->param.at[p].adapter;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        for (uint32_t i = 0; node->op == OP_CAST && i < node->nout; i++)
            adapter[node->out[i]] = adapter[node->in[i]];
    }
    return adapter;
}

bool has_adapters(const Graph *g) {
    bool any = false;
    for (uint32_t p = 0; p < g->param.count; p++) any |= g->param.at[p].adapter;
    return any;
}
