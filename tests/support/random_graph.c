/* See random_graph.h. In: a seed. Out: a graph that graph_check accepts, of tiny dimensions. */
#include "tests/support/random_graph.h"
#include "ir/ops.h"

#include "tests/support/activations.h"

#include <string.h>

typedef struct Builder {
    Graph *g;
    uint64_t state;
    int64_t B, T, D, H, K, E;
    DType stored, compute;
    double dropout;
    bool freezes;
    int64_t streams;
    uint32_t block, serial;
    const char *scope;
} Builder;

static uint32_t pick(Builder *b, uint32_t n) {
    return (uint32_t)(random_next(&b->state) % n);
}

static bool chance(Builder *b, double p) {
    return random_unit(&b->state) < p;
}

static const char *name(Builder *b, const char *what) {
    return arena_printf(b->g->arena, "%s%s_%u", b->scope, what, b->serial++);
}

static ValueId node(Builder *b, Op op, const ValueId *in, uint32_t nin, const Attr *attr) {
    const char *as = name(b, op_info[op].name);
    return graph_op(b->g, op, in, nin, attr, PHASE_FORWARD, b->block, as, (Span){0});
}

static ValueId unary(Builder *b, Op op, ValueId x) {
    return node(b, op, &x, 1, NULL);
}

/* Any of them, without moving the random numbers on. */
static Op activation(const Builder *b) {
    Op found[OP_COUNT];
    uint32_t count = activations(found);
    return found[(b->state >> 32) % count];
}

static ValueId binary(Builder *b, Op op, ValueId x, ValueId y) {
    return node(b, op, (ValueId[]){x, y}, 2, NULL);
}

static ValueId as_type(Builder *b, Op op, ValueId x, Type wish) {
    const char *as = name(b, op_info[op].name);
    return graph_op_as(b->g, op, &x, 1, &wish, NULL, PHASE_FORWARD, b->block, as, (Span){0});
}

static ValueId reshape(Builder *b, ValueId x, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3) {
    return as_type(b, OP_RESHAPE, x, (Type){.rank = rank, .dim = {d0, d1, d2, d3}});
}

/* A weight as it is stored: trained, or now and then frozen. */
static ValueId weight(Builder *b, const char *what, int rank, int64_t rows, int64_t columns) {
    Type type = {.dtype = b->stored, .rank = rank, .dim = {rows, rank > 1 ? columns : 0}};
    bool frozen = b->freezes && chance(b, 0.3);
    ValueId v =
        graph_value(b->g, type, frozen ? VALUE_FROZEN : VALUE_PARAM, ROLE_WEIGHT, name(b, what), (Span){0});
    *vec_add(b->g->arena, &b->g->param) =
        (Param){.value = v,
                .init = rank > 1 ? INIT_NORMAL : INIT_CONSTANT,
                .init_value = rank > 1 ? 0.02 + 0.1 * random_unit(&b->state) : 1,
                .decays = rank > 1,
                .moment1 = NONE,
                .moment2 = NONE,
                .master = NONE,
                .accumulator = NONE};
    return v;
}

static ValueId in_compute(Builder *b, ValueId w) {
    Type type = b->g->value.at[w].type;
    if (type.dtype == b->compute) return w;
    type.dtype = b->compute;
    return as_type(b, OP_CAST, w, type);
}

/* The matrix of a linear layer; a frozen one is often in NF4. */
static ValueId matrix(Builder *b, int64_t rows, int64_t columns) {
    ValueId w = weight(b, "w", 2, rows, columns);
    if (b->g->value.at[w].kind != VALUE_FROZEN || chance(b, 0.3)) return in_compute(b, w);
    Type *type = &b->g->value.at[w].type, wish = *type;
    type->dtype = chance(b, 0.7) ? DT_NF4 : DT_NF4_F32;
    wish.dtype = b->compute;
    return as_type(b, OP_DEQUANTIZE, w, wish);
}

/* Gains and biases may stay as they are stored. */
static ValueId vector(Builder *b, const char *what, int64_t n) {
    ValueId v = weight(b, what, 1, n, 0);
    return chance(b, 0.5) ? in_compute(b, v) : v;
}

static ValueId linear(Builder *b, ValueId x, int64_t outputs) {
    const Type *type = &b->g->value.at[x].type;
    ValueId in[3] = {x, matrix(b, outputs, type->dim[type->rank - 1])};
    uint32_t nin = 2;
    if (chance(b, 0.5)) in[nin++] = vector(b, "b", outputs);
    return node(b, OP_LINEAR, in, nin, NULL);
}

static ValueId norm(Builder *b, ValueId x) {
    Attr attr = {.eps = 1e-5};
    int64_t width = b->g->value.at[x].type.dim[2];
    ValueId gain = vector(b, "gain", width);
    if (chance(b, 0.5)) return node(b, OP_RMSNORM, (ValueId[]){x, gain}, 2, &attr);
    ValueId bias = vector(b, "bias", width);
    return node(b, OP_LAYERNORM, (ValueId[]){x, gain, bias}, 3, &attr);
}

static ValueId dropout(Builder *b, ValueId x) {
    if (b->dropout == 0 || chance(b, 0.5)) return x;
    return node(b, OP_DROPOUT, &x, 1, &(Attr){.p = b->dropout, .rng = ++b->streams});
}

static void split(Builder *b, ValueId x, uint32_t parts, const int64_t *width, ValueId *part) {
    Type wish[3];
    for (uint32_t i = 0; i < parts; i++) {
        wish[i] = b->g->value.at[x].type;
        wish[i].dim[wish[i].rank - 1] = width[i];
    }
    NodeId id = graph_node_as(b->g, OP_SPLIT, &x, 1, 0, parts, wish, NULL, PHASE_FORWARD, b->block,
                              name(b, "split"), (Span){0});
    for (uint32_t i = 0; i < parts; i++) part[i] = b->g->node.at[id].out[i];
}

static ValueId attention(Builder *b, ValueId x) {
    int64_t B = b->B, T = b->T, H = b->H, E = b->E;
    int64_t K = chance(b, 0.5) ? b->K : H;
    ValueId q, k, v;
    if (chance(b, 0.5)) {
        ValueId part[3];
        split(b, linear(b, x, (H + 2 * K) * E), 3, (int64_t[]){H * E, K * E, K * E}, part);
        q = part[0], k = part[1], v = part[2];
    } else {
        q = linear(b, x, H * E), k = linear(b, x, K * E), v = linear(b, x, K * E);
    }
    q = reshape(b, q, 4, B, T, H, E), k = reshape(b, k, 4, B, T, K, E), v = reshape(b, v, 4, B, T, K, E);
    if (chance(b, 0.5)) {
        Attr attr = {.theta = 1e4};
        if (chance(b, 0.3))
            attr.rope_factor = 8, attr.rope_low = 1, attr.rope_high = 4, attr.rope_original = 16;
        q = node(b, OP_ROPE, &q, 1, &attr), k = node(b, OP_ROPE, &k, 1, &attr);
    }
    ValueId o = node(b, OP_ATTEND, (ValueId[]){q, k, v}, 3, &(Attr){.causal = 1});
    return dropout(b, linear(b, reshape(b, o, 3, B, T, H * E, 0), b->D));
}

static ValueId feed_forward(Builder *b, ValueId x) {
    int64_t width = 4 + 4 * pick(b, 4);
    switch (pick(b, 4)) {
    case 0: return dropout(b, linear(b, unary(b, activation(b), linear(b, x, width)), b->D));
    case 1: return linear(b, dropout(b, unary(b, activation(b), linear(b, x, width))), b->D);
    case 2: {
        ValueId gate = linear(b, x, width), up = linear(b, x, width);
        ValueId act = unary(b, OP_SILU, gate);
        ValueId both = chance(b, 0.5) ? binary(b, OP_MUL, act, up) : binary(b, OP_MUL, up, act);
        return linear(b, both, b->D);
    }
    default: {
        int64_t first_width = 1 + pick(b, (uint32_t)(2 * width - 1));
        ValueId part[2];
        split(b, linear(b, x, 2 * width), 2, (int64_t[]){first_width, 2 * width - first_width}, part);
        if (chance(b, 0.3)) { /* one piece goes unused */
            const Attr factor = {.factor = 0.5};
            return linear(b, node(b, OP_SCALE, &part[0], 1, &factor), b->D);
        }
        ValueId twice[] = {unary(b, OP_SILU, part[0]), part[1]};
        return linear(b, node(b, OP_CONCAT, twice, 2, NULL), b->D);
    }
    }
}

static ValueId layer(Builder *b, ValueId x) {
    bool before = chance(b, 0.8);
    uint32_t parts = 1 + pick(b, 2);
    for (uint32_t i = 0; i < parts; i++) {
        ValueId h = before ? norm(b, x) : x;
        h = chance(b, 0.5) ? attention(b, h) : feed_forward(b, h);
        if (chance(b, 0.9))
            x = chance(b, 0.5) ? binary(b, OP_ADD, x, h) : binary(b, OP_ADD, h, x);
        else
            x = h;
        if (!before) x = norm(b, x);
    }
    return x;
}

static ValueId state(Graph *g, const char *as) {
    Type scalar = {.dtype = DT_F32, .rank = 1, .dim = {1}};
    return graph_value(g, scalar, VALUE_STATE, ROLE_METRIC, as, (Span){0});
}

/* Token and, at times, position embeddings; yields the token table too, for tying. */
static ValueId embedding(Builder *b, int64_t V, ValueId *table) {
    Graph *g = b->g;
    Type wish = {.dtype = b->compute, .rank = 3, .dim = {b->B, b->T, b->D}};
    *table = weight(b, "table", 2, V, b->D);
    ValueId x = graph_op_as(g, OP_EMBED, (ValueId[]){g->tokens, *table}, 2, &wish, NULL, PHASE_FORWARD, NONE,
                            name(b, "embed"), (Span){0});
    if (chance(b, 0.5)) {
        ValueId rows = weight(b, "places", 2, b->T + pick(b, 3), b->D);
        Type few = {.dtype = b->compute, .rank = 2, .dim = {b->T, b->D}};
        x = binary(b, OP_ADD_BROADCAST, x, as_type(b, OP_POSITIONS, rows, few));
    }
    return dropout(b, x);
}

static void head(Builder *b, ValueId x, int64_t V, ValueId table) {
    Graph *g = b->g;
    x = norm(b, x);
    if (chance(b, 0.5))
        g->logits = binary(b, OP_LINEAR, x, in_compute(b, table));
    else
        g->logits = binary(b, OP_LINEAR, x, in_compute(b, weight(b, "head", 2, V, b->D)));
    ValueId in[4] = {g->logits, g->targets};
    uint32_t nin = 2;
    if (g->mask != NONE) in[nin++] = g->mask;
    in[nin++] = g->loss_sum;
    graph_node(g, OP_CROSS_ENTROPY, in, nin, 1, 2, NULL, PHASE_FORWARD, NONE, name(b, "loss"), (Span){0});
}

static void trained_first(Graph *g) {
    Param *sorted = NEW_ARRAY(g->arena, Param, g->param.count);
    uint32_t count = 0;
    for (int frozen = 0; frozen < 2; frozen++)
        for (uint32_t p = 0; p < g->param.count; p++)
            if ((g->value.at[g->param.at[p].value].kind == VALUE_FROZEN) == frozen)
                sorted[count++] = g->param.at[p];
    g->param.at = sorted;
    g->param.capacity = count;
}

Graph *random_graph(uint64_t seed, Arena *arena) {
    Builder b = {.state = seed, .g = graph_new(arena), .block = NONE, .scope = ""};
    Graph *g = b.g;
    b.B = 1 + pick(&b, 2), b.T = 4 + pick(&b, 5);
    b.K = 1 + pick(&b, 2), b.H = b.K * (1 + pick(&b, 2)), b.E = 2 * (1 + pick(&b, 2));
    b.D = 4 * (1 + pick(&b, 4));
    b.stored = chance(&b, 0.3) ? DT_BF16 : DT_F32;
    b.compute = b.stored == DT_BF16 || chance(&b, 0.3) ? DT_BF16 : DT_F32;
    b.dropout = chance(&b, 0.5) ? 0.1 : 0;
    b.freezes = chance(&b, 0.2);
    int64_t V = 8 + pick(&b, 9);
    g->batch = b.B, g->context = b.T;
    Type ids = {.dtype = DT_I32, .rank = 2, .dim = {b.B, b.T}}, places = ids;
    places.dtype = DT_F32;
    g->tokens = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "tokens", (Span){0});
    g->targets = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "targets", (Span){0});
    if (chance(&b, 0.3)) g->mask = graph_value(g, places, VALUE_INPUT, ROLE_INPUT, "mask", (Span){0});
    g->loss_sum = state(g, "loss_sum");

    ValueId table, x = embedding(&b, V, &table);
    uint32_t layers = pick(&b, 5);
    uint64_t layer_seed = random_next(&b.state);
    bool alike = chance(&b, 0.5);
    for (uint32_t i = 0; i < layers; i++) {
        *vec_add(arena, &g->block) = arena_printf(arena, "h.%u", i);
        b.block = i, b.scope = arena_printf(arena, "h.%u.", i);
        if (alike) b.state = layer_seed, b.serial = 0;
        x = layer(&b, x);
    }
    b.block = NONE, b.scope = "", b.serial = 1000;
    head(&b, x, V, table);
    trained_first(g);
    return g;
}

TrainRule random_rule(uint64_t seed) {
    uint64_t state = seed ^ 0x5eed;
    TrainRule rule = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .accumulate = 1};
    if (random_unit(&state) < 0.5) rule.clip_norm = 1;
    if (random_unit(&state) < 0.4) rule.accumulate = 2 + (int64_t)(random_next(&state) % 3);
    if (random_unit(&state) < 0.2) rule.gradient = DT_BF16;
    if (random_unit(&state) < 0.2) rule.moment = DT_BF16;
    return rule;
}

/* Every other product with a weight in NF4. */
static bool every_other(const void *seed, const Graph *g, const Node *product, const Node *dequantize,
                        uint32_t sharing) {
    (void)g, (void)dequantize, (void)sharing;
    return (*(const uint64_t *)seed + product->out[0]) % 2;
}

Graph *random_training_graph(uint64_t seed, Arena *arena) {
    TrainRule rule = random_rule(seed);
    Graph *g = autodiff(random_graph(seed, arena), &rule, arena);
    const PackedRule packed = {every_other, &seed};
    return order_updates(seed % 4 ? fuse(g, &packed, arena) : g, arena);
}
