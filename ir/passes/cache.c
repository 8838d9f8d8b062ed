/* One token a run, over what earlier runs kept of theirs.
 *
 * Requires: a forward graph of one sequence, without dropout (graph_forward_only). Produces: a forward graph
 * of the token at `positions` alone, whose logits are those that the whole sequence has there:
 *
 *     k, v [1, T, K, E]                       k, v [1, 1, K, E]
 *     o = attend(q, k, v, causal)     -->     keys, values [1, T, K, E] = cache_rows(k, v, position, ..)
 *                                             o = attend_cached(q, keys, values, position)
 *
 * The caches are states of the graph: run with the tokens 0, 1, .. one after the other, it finds in them the
 * rows of all earlier ones. Every other operation has to work on each token by itself. An operation that is
 * not known to do so, and attention that is not causal, make the answer NULL: the model is right without it.
 *
 * The second pass leaves the whole sequence's graph as it is, but that it leaves there the rows of all its
 * tokens: a prompt is run at once, and what follows it token by token. */
#include "ir/ops.h"
#include "ir/passes/passes.h"

#include <string.h>

/* What a value of the whole graph is to the graph of one token. */
typedef enum Sort {
    SORT_NONE,  /* not needed */
    SORT_FIXED, /* the same for every token: weights, and what is made of them alone */
    SORT_ROWS,  /* [1, T, .., D]: a row for each token, D no number of tokens */
    SORT_PLACES /* [T, D]: a row for each position */
} Sort;

typedef struct Maker {
    const Graph *from;
    Graph *g;
    Arena *arena;
    Sort *sort;   /* by value of `from` */
    ValueId *now; /* the value that it becomes */
    bool *needed;
    Map *names;
    const char *why_not;
} Maker;

static bool refuse(Maker *m, const Node *node, const char *why) {
    m->why_not = arena_printf(m->arena, "%s '%s' %s", op_info[node->op].name, node->name, why);
    return false;
}

/* Loss and all that leads nowhere else are left out. */
static void find_needed(Maker *m) {
    const Graph *from = m->from;
    m->needed[from->logits] = true;
    for (NodeId n = from->node.count; n-- > 0;) {
        const Node *node = &from->node.at[n];
        bool wanted = false;
        for (uint32_t i = 0; i < node->nout; i++) wanted |= m->needed[node->out[i]];
        for (uint32_t i = 0; wanted && i < node->nin; i++) m->needed[node->in[i]] = true;
    }
}

/* A name that is free, for a second output too (graph_node). */
static const char *own_name(Maker *m, const char *wish) {
    const char *name = wish;
    for (int i = 2;
         map_get(m->names, name) != NONE || map_get(m->names, arena_printf(m->arena, "%s.1", name)) != NONE;
         i++)
        name = arena_printf(m->arena, "%s.%d", wish, i);
    map_set(m->names, name, 1);
    return name;
}

/* ---- values ---- */

static bool is_rows(const Maker *m, ValueId v) {
    const Type *t = &m->from->value.at[v].type;
    return t->rank > 2 && t->dim[0] == 1 && t->dim[1] == m->from->context;
}

/* The type of value `v` for one token. */
static Type type_of(const Maker *m, ValueId v, Sort sort) {
    Type t = m->from->value.at[v].type;
    if (sort == SORT_ROWS) t.dim[1] = 1;
    if (sort == SORT_PLACES) t.dim[0] = 1;
    return t;
}

static ValueId add_leaf(Maker *m, ValueId v) {
    const Value *value = &m->from->value.at[v];
    m->sort[v] = SORT_FIXED;
    return m->now[v] = graph_value(m->g, value->type, value->kind, value->role, value->name, value->span);
}

static void add_params(Maker *m) {
    for (uint32_t p = 0; p < m->from->param.count; p++) {
        Param *param = vec_add(m->g->arena, &m->g->param);
        *param = m->from->param.at[p];
        param->value = add_leaf(m, param->value);
    }
}

/* The places of so many tokens. */
static ValueId add_positions(Maker *m, int64_t tokens) {
    const ValueId own = m->from->positions;
    const Type type = {.dtype = DT_I32, .rank = 2, .dim = {1, tokens}};
    const char *name = own == NONE ? own_name(m, "data.positions") : m->from->value.at[own].name;
    return graph_value(m->g, type, VALUE_INPUT, ROLE_INPUT, name, (Span){0});
}

static ValueId add_cache(Maker *m, const Node *node, const char *what, ValueId of) {
    const Value *rows = &m->from->value.at[of];
    return graph_value(m->g, rows->type, VALUE_STATE, ROLE_CACHE,
                       own_name(m, arena_printf(m->arena, "%s.%s", node->name, what)), node->span);
}

/* ---- nodes ---- */

/* Keys and values that attention reads, into caches; these, as they are then. */
static const ValueId *add_rows(Maker *m, const Node *attend) {
    const ValueId rows[] = {m->now[attend->in[1]], m->now[attend->in[2]], m->g->positions,
                            add_cache(m, attend, "keys", attend->in[1]),
                            add_cache(m, attend, "values", attend->in[2])};
    const char *name = own_name(m, arena_printf(m->arena, "%s.cache", attend->name));
    NodeId kept = graph_node(m->g, OP_CACHE_ROWS, rows, COUNT_OF(rows), 2, 2, NULL, attend->phase,
                             attend->block, name, attend->span);
    return m->g->node.at[kept].out;
}

/* The node's operation, or another, over operands of the new graph; its outputs are of `sort`. */
static void add_same(Maker *m, const Node *node, Op op, const ValueId *in, uint32_t nin, Sort sort) {
    Type *wish = NEW_ARRAY(m->arena, Type, node->nout);
    for (uint32_t i = 0; i < node->nout; i++) wish[i] = type_of(m, node->out[i], sort);
    NodeId made = graph_node_as(m->g, op, in, nin, node->nmut, node->nout, wish, &node->attr, node->phase,
                                node->block, node->name, node->span);
    for (uint32_t i = 0; i < node->nout; i++) {
        m->now[node->out[i]] = m->g->node.at[made].out[i];
        m->sort[node->out[i]] = sort;
    }
}

/* With operands of the same places. */
static bool keep(Maker *m, const Node *node, Sort sort) {
    ValueId *in = NEW_ARRAY(m->arena, ValueId, node->nin + 1);
    for (uint32_t i = 0; i < node->nin; i++) in[i] = m->now[node->in[i]];
    for (uint32_t i = 0; i < node->nout && sort == SORT_ROWS; i++)
        if (m->needed[node->out[i]] && !is_rows(m, node->out[i])) return refuse(m, node, "mixes tokens");
    add_same(m, node, node->op, in, node->nin, sort);
    return true;
}

/* The row of the table at the token's position. */
static bool look_up(Maker *m, const Node *node) {
    const Value *y = &m->from->value.at[node->out[0]];
    const ValueId in[] = {m->g->positions, m->now[node->in[0]]};
    const Type row = {.dtype = y->type.dtype, .rank = 3, .dim = {1, 1, y->type.dim[1]}};
    const char *name = own_name(m, arena_printf(m->arena, "%s.row", node->name));
    const ValueId found =
        graph_op_as(m->g, OP_EMBED, in, 2, &row, NULL, node->phase, node->block, name, node->span);
    add_same(m, node, OP_RESHAPE, &found, 1, SORT_PLACES);
    return true;
}

static bool attend(Maker *m, const Node *node) {
    if (!node->attr.causal) return refuse(m, node, "is not causal");
    if (m->needed[node->out[1]]) return refuse(m, node, "gives more than its result");
    const ValueId *cache = add_rows(m, node);
    const ValueId in[] = {m->now[node->in[0]], cache[0], cache[1], m->g->positions};
    m->now[node->out[0]] =
        graph_op(m->g, OP_ATTEND_CACHED, in, 4, NULL, node->phase, node->block, node->name, node->span);
    m->sort[node->out[0]] = SORT_ROWS;
    return true;
}

static bool are_all(const Maker *m, const Node *node, uint32_t first, Sort sort) {
    bool all = true;
    for (uint32_t i = first; i < node->nin; i++) all &= m->sort[node->in[i]] == sort;
    return all;
}

/* ---- rules: one an operation, named in op.def's `token` column ---- */

/* Adds what the node becomes; false where it mixes tokens, or after refuse. */
typedef bool TokenRule(Maker *m, const Node *node);

static bool token_none(Maker *m, const Node *node) {
    return refuse(m, node, "is not known to work on each token by itself");
}

/* Of a token, its row of a table. */
static bool token_lookup(Maker *m, const Node *node) {
    return m->sort[node->in[0]] == SORT_ROWS && m->sort[node->in[1]] == SORT_FIXED &&
           keep(m, node, SORT_ROWS);
}

static bool token_positions(Maker *m, const Node *node) {
    return m->sort[node->in[0]] == SORT_FIXED && look_up(m, node);
}

static bool token_rope(Maker *m, const Node *node) {
    if (m->sort[node->in[0]] != SORT_ROWS) return false;
    add_same(m, node, OP_ROPE, (ValueId[]){m->now[node->in[0]], m->g->positions}, 2, SORT_ROWS);
    return true;
}

static bool token_attend(Maker *m, const Node *node) {
    for (uint32_t i = 0; i < 3; i++)
        if (m->sort[node->in[i]] != SORT_ROWS) return refuse(m, node, "is over more than tokens");
    return attend(m, node);
}

/* Rows of tokens first, behind them nothing that depends on tokens. */
static bool token_rows(Maker *m, const Node *node) {
    return m->sort[node->in[0]] == SORT_ROWS && are_all(m, node, 1, SORT_FIXED) && keep(m, node, SORT_ROWS);
}

/* The same, or behind them a row for each position. */
static bool token_broadcast(Maker *m, const Node *node) {
    const bool placed = m->sort[node->in[0]] == SORT_ROWS && m->sort[node->in[1]] == SORT_PLACES;
    return placed ? keep(m, node, SORT_ROWS) : token_rows(m, node);
}

/* All operands of one sort. */
static bool token_cast(Maker *m, const Node *node) {
    const Sort first = m->sort[node->in[0]];
    return first != SORT_NONE && are_all(m, node, 1, first) && keep(m, node, first);
}

/* The same, of tokens or of weights alone. */
static bool token_each(Maker *m, const Node *node) {
    return m->sort[node->in[0]] != SORT_PLACES && token_cast(m, node);
}

static TokenRule *const token_rule[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, token, ...)                                                                                 \
    [OP_##NAME] = token_##token,
#include "ir/op.def"
#undef OP
};

static bool add_node(Maker *m, const Node *node) {
    if (token_rule[node->op](m, node)) return true;
    return m->why_not ? false : refuse(m, node, "mixes tokens");
}

static Maker maker_new(const Graph *from, Arena *arena) {
    Maker m = {.from = from, .g = graph_new(arena), .arena = arena, .names = map_new(arena)};
    if (from->batch != 1) die("keys and values of %lld sequences", (long long)from->batch);
    m.sort = NEW_ARRAY(arena, Sort, from->value.count);
    m.now = NEW_ARRAY(arena, ValueId, from->value.count);
    m.needed = NEW_ARRAY(arena, bool, from->value.count);
    for (ValueId v = 0; v < from->value.count; v++) map_set(m.names, from->value.at[v].name, v);
    for (uint32_t i = 0; i < from->block.count; i++) *vec_add(arena, &m.g->block) = from->block.at[i];
    add_params(&m);
    return m;
}

Graph *graph_one_token(const Graph *from, Arena *arena, const char **why_not) {
    bool attends = false, fine = true;
    *why_not = "its logits are made in pieces";
    if (from->logits == NONE) return NULL;
    Maker m = maker_new(from, arena);
    const Value *tokens = &from->value.at[from->tokens];
    m.g->tokens = graph_value(m.g, (Type){.dtype = DT_I32, .rank = 2, .dim = {1, 1}}, VALUE_INPUT, ROLE_INPUT,
                              tokens->name, tokens->span);
    m.g->positions = add_positions(&m, 1);
    m.now[from->tokens] = m.g->tokens;
    m.sort[from->tokens] = SORT_ROWS;
    if (from->positions != NONE) m.now[from->positions] = m.g->positions, m.sort[from->positions] = SORT_ROWS;
    find_needed(&m);
    for (NodeId n = 0; n < from->node.count && fine; n++) {
        const Node *node = &from->node.at[n];
        bool wanted = false;
        for (uint32_t i = 0; i < node->nout; i++) wanted |= m.needed[node->out[i]];
        attends |= wanted && node->op == OP_ATTEND;
        if (wanted) fine = add_node(&m, node);
    }
    if (fine && !attends) m.why_not = "the model has no attention";
    if (fine && attends && m.sort[from->logits] != SORT_ROWS) m.why_not = "the logits are no rows of tokens";
    *why_not = m.why_not;
    if (m.why_not) return NULL;
    m.g->logits = m.now[from->logits];
    return m.g;
}

static ValueId moved(const Maker *m, ValueId v) {
    return v == NONE ? NONE : m->now[v];
}

Graph *graph_keep_rows(const Graph *from, Arena *arena) {
    Maker m = maker_new(from, arena);
    Graph *g = m.g;
    for (ValueId v = 0; v < from->value.count; v++)
        if (from->value.at[v].def == NONE && m.sort[v] == SORT_NONE) add_leaf(&m, v);
    g->positions = from->positions == NONE ? add_positions(&m, from->context) : m.now[from->positions];
    for (NodeId n = 0; n < from->node.count; n++) {
        const Node *node = &from->node.at[n];
        if (node->op == OP_ATTEND) add_rows(&m, node);
        ValueId *in = NEW_ARRAY(arena, ValueId, node->nin + 1);
        for (uint32_t i = 0; i < node->nin; i++) in[i] = m.now[node->in[i]];
        add_same(&m, node, node->op, in, node->nin, SORT_FIXED);
    }
    g->tokens = m.now[from->tokens];
    g->targets = moved(&m, from->targets);
    g->mask = moved(&m, from->mask);
    g->first_key = moved(&m, from->first_key);
    g->last_query = moved(&m, from->last_query);
    g->logits = moved(&m, from->logits);
    g->loss_sum = moved(&m, from->loss_sum);
    g->context = from->context;
    return g;
}
