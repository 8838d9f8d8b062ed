/* See small_net.h. */
#include "ir/ops.h"
#include "tests/support/small_net.h"

#include <string.h>

enum { CONTEXT = 4, HEADS = 2, VOCABULARY = 11 };

typedef struct Builder {
    Graph *g;
    const NetOptions *options;
    int64_t D, B;
    uint32_t block;
    int64_t streams;
    const char *scope;
} Builder;

static const char *scoped(Builder *b, const char *name) {
    return arena_printf(b->g->arena, "%s%s", b->scope, name);
}

static ValueId op(Builder *b, Op kind, const ValueId *in, uint32_t nin, const Type *wish, const Attr *attr,
                  const char *name) {
    return graph_op_as(b->g, kind, in, nin, wish, attr, PHASE_FORWARD, b->block, scoped(b, name), (Span){0});
}

static ValueId stored_weight(Builder *b, const char *name, int64_t rows, int64_t columns) {
    Type type = {.dtype = b->options->stored, .rank = columns ? 2 : 1, .dim = {rows, columns}};
    bool frozen = b->options->frozen && columns;
    ValueId v =
        graph_value(b->g, type, frozen ? VALUE_FROZEN : VALUE_PARAM, ROLE_WEIGHT, scoped(b, name), (Span){0});
    *vec_add(b->g->arena, &b->g->param) = (Param){.value = v,
                                                  .init = columns ? INIT_NORMAL : INIT_CONSTANT,
                                                  .init_value = 0.02,
                                                  .decays = columns > 0,
                                                  .moment1 = NONE,
                                                  .moment2 = NONE,
                                                  .master = NONE,
                                                  .accumulator = NONE};
    return v;
}

static ValueId cast(Builder *b, ValueId v) {
    Type type = b->g->value.at[v].type;
    if (type.dtype == b->options->compute) return v;
    type.dtype = b->options->compute;
    const char *name = arena_printf(b->g->arena, "%s.cast", b->g->value.at[v].name);
    return graph_op_as(b->g, OP_CAST, &v, 1, &type, NULL, PHASE_FORWARD, b->block, name, (Span){0});
}

static ValueId weight(Builder *b, const char *name, int64_t rows, int64_t columns) {
    return cast(b, stored_weight(b, name, rows, columns));
}

static ValueId linear(Builder *b, ValueId x, int64_t outputs, bool bias, const char *name) {
    Arena *arena = b->g->arena;
    const Type *type = &b->g->value.at[x].type;
    ValueId in[3] = {x, weight(b, arena_printf(arena, "%s.w", name), outputs, type->dim[type->rank - 1])};
    if (bias) in[2] = weight(b, arena_printf(arena, "%s.b", name), outputs, 0);
    return op(b, OP_LINEAR, in, 2 + bias, NULL, NULL, name);
}

static ValueId norm(Builder *b, ValueId x, const char *name) {
    Arena *arena = b->g->arena;
    ValueId in[3] = {x, weight(b, arena_printf(arena, "%s.g", name), b->D, 0)};
    in[2] = weight(b, arena_printf(arena, "%s.b", name), b->D, 0);
    return op(b, OP_LAYERNORM, in, 3, NULL, &(Attr){.eps = 1e-5}, name);
}

static ValueId attention(Builder *b, ValueId x) {
    const Type heads = {.dtype = b->options->compute, .rank = 4, .dim = {b->B, CONTEXT, HEADS, b->D / HEADS}};
    const Type flat = {.dtype = b->options->compute, .rank = 3, .dim = {b->B, CONTEXT, b->D}};
    ValueId qkv = linear(b, norm(b, x, "ln_1"), 3 * b->D, true, "qkv"), part[3];
    NodeId split = graph_node(b->g, OP_SPLIT, &qkv, 1, 0, 3, NULL, PHASE_FORWARD, b->block,
                              scoped(b, "split"), (Span){0});
    memcpy(part, b->g->node.at[split].out, sizeof part);
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) part[i] = op(b, OP_RESHAPE, &part[i], 1, &heads, NULL, names[i]);
    ValueId o = op(b, OP_ATTEND, part, 3, NULL, &(Attr){.causal = 1}, "attend");
    o = linear(b, op(b, OP_RESHAPE, &o, 1, &flat, NULL, "flat"), b->D, true, "proj");
    if (b->options->dropout > 0)
        o = op(b, OP_DROPOUT, &o, 1, NULL, &(Attr){.p = b->options->dropout, .rng = ++b->streams}, "dropout");
    return op(b, OP_ADD, (ValueId[]){x, o}, 2, NULL, NULL, "mid");
}

static ValueId feed_forward(Builder *b, ValueId x) {
    ValueId h = norm(b, x, "ln_2");
    if (b->options->gated) {
        const bool bias = b->options->gated_bias;
        ValueId g = linear(b, h, 2 * b->D, bias, "gate"), u = linear(b, h, 2 * b->D, bias, "up");
        h = op(b, OP_MUL, (ValueId[]){op(b, OP_SILU, &g, 1, NULL, NULL, "silu"), u}, 2, NULL, NULL, "mul");
    } else {
        h = linear(b, h, 4 * b->D, true, "fc");
        const char *activation = b->options->activation ? b->options->activation : "gelu";
        h = op(b, op_find(activation), &h, 1, NULL, NULL, activation);
    }
    return op(b, OP_ADD, (ValueId[]){x, linear(b, h, b->D, !b->options->gated, "down")}, 2, NULL, NULL,
              "out");
}

Graph *small_net(const NetOptions *options, Arena *arena) {
    Builder b = {
        .g = graph_new(arena), .options = options, .D = options->width ? options->width : 8, .scope = ""};
    Graph *g = b.g;
    b.B = options->batch ? options->batch : 2;
    g->batch = b.B, g->context = CONTEXT;
    const Type ids = {.dtype = DT_I32, .rank = 2, .dim = {b.B, CONTEXT}};
    const Type one = {.dtype = DT_F32, .rank = 1, .dim = {1}};
    const Type rows = {.dtype = options->compute, .rank = 2, .dim = {CONTEXT, b.D}};
    const Type cube = {.dtype = options->compute, .rank = 3, .dim = {b.B, CONTEXT, b.D}};
    g->tokens = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "tokens", (Span){0});
    g->targets = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "targets", (Span){0});
    g->loss_sum = graph_value(g, one, VALUE_STATE, ROLE_METRIC, "loss_sum", (Span){0});

    b.block = NONE;
    ValueId table = stored_weight(&b, "wte", VOCABULARY, b.D),
            places = stored_weight(&b, "wpe", CONTEXT + 1, b.D);
    ValueId x = op(&b, OP_EMBED, (ValueId[]){g->tokens, table}, 2, &cube, NULL, "embed");
    ValueId p = op(&b, OP_POSITIONS, &places, 1, &rows, NULL, "positions");
    x = op(&b, OP_ADD_BROADCAST, (ValueId[]){x, p}, 2, NULL, NULL, "input");
    for (int i = 0; i < options->layers; i++) {
        *vec_add(arena, &g->block) = arena_printf(arena, "h.%d", i);
        b.block = (uint32_t)i, b.scope = arena_printf(arena, "h.%d.", i);
        x = feed_forward(&b, attention(&b, x));
    }
    b.block = NONE, b.scope = "";
    x = norm(&b, x, "ln_f");
    if (options->tied)
        g->logits = op(&b, OP_LINEAR, (ValueId[]){x, cast(&b, table)}, 2, NULL, NULL, "head");
    else
        g->logits = linear(&b, x, VOCABULARY, false, "head");
    ValueId in[] = {g->logits, g->targets, g->loss_sum};
    graph_node(g, OP_CROSS_ENTROPY, in, 3, 1, 2, NULL, PHASE_FORWARD, NONE, "loss", (Span){0});

    Param *sorted = NEW_ARRAY(arena, Param, g->param.count);
    uint32_t count = 0;
    for (int frozen = 0; frozen < 2; frozen++)
        for (uint32_t i = 0; i < g->param.count; i++)
            if ((g->value.at[g->param.at[i].value].kind == VALUE_FROZEN) == frozen)
                sorted[count++] = g->param.at[i];
    memcpy(g->param.at, sorted, sizeof *sorted * count);
    return g;
}

uint32_t count_updated(const Graph *g, Op kind) {
    uint32_t count = 0;
    for (NodeId n = 0; n < g->node.count; n++)
        if (g->node.at[n].op == kind) count += op_tensors(&g->node.at[n]);
    return count;
}

uint32_t count_op(const Graph *g, Op kind) {
    uint32_t count = 0;
    for (NodeId n = 0; n < g->node.count; n++) count += g->node.at[n].op == kind;
    return count;
}

ValueId value_named(const Graph *g, const char *name) {
    for (ValueId v = 0; v < g->value.count; v++)
        if (!strcmp(g->value.at[v].name, name)) return v;
    return NONE;
}

NodeId node_named(const Graph *g, const char *name) {
    for (NodeId n = 0; n < g->node.count; n++)
        if (!strcmp(g->node.at[n].name, name)) return n;
    return NONE;
}
