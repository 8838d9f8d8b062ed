/* See transformer.h. */
#include "tests/support/transformer.h"
#include "ir/passes/passes.h"

#include <string.h>

const Transformer bytes_gpt = {false, 6, 256, 8, 8, 1024, 256, 16, 256, 1, 0, 1.0, DT_F32, DT_F32};
const Transformer gpt2_124m = {false, 12, 768, 12, 12, 3072, 50257, 4, 1024, 1, 0.1, 1.0, DT_F32, DT_F32};
const Transformer gpt2_xl = {false, 48, 1600, 25, 25, 6400, 50257, 4, 1024, 8, 0, 1.0, DT_F32, DT_BF16};
const Transformer llama3_8b = {true, 32, 4096, 32, 8, 14336, 128256, 1, 4096, 32, 0, 1.0, DT_BF16, DT_BF16};

typedef struct Builder {
    Graph *g;
    const Transformer *shape;
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
    Type type = {.dtype = b->shape->stored, .rank = columns ? 2 : 1, .dim = {rows, columns}};
    ValueId v = graph_value(b->g, type, VALUE_PARAM, ROLE_WEIGHT, scoped(b, name), (Span){0});
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

static ValueId weight(Builder *b, const char *name, int64_t rows, int64_t columns) {
    ValueId v = stored_weight(b, name, rows, columns);
    Type type = b->g->value.at[v].type;
    if (type.dtype == b->shape->compute) return v;
    type.dtype = b->shape->compute;
    return op(b, OP_CAST, &v, 1, &type, NULL, arena_printf(b->g->arena, "%s.cast", name));
}

static ValueId linear(Builder *b, ValueId x, int64_t outputs, const char *name) {
    const Type *type = &b->g->value.at[x].type;
    int64_t inputs = type->dim[type->rank - 1];
    ValueId in[3] = {x, weight(b, arena_printf(b->g->arena, "%s.w", name), outputs, inputs)};
    if (!b->shape->gated) in[2] = weight(b, arena_printf(b->g->arena, "%s.b", name), outputs, 0);
    return op(b, OP_LINEAR, in, b->shape->gated ? 2 : 3, NULL, NULL, name);
}

static ValueId norm(Builder *b, ValueId x, const char *name) {
    ValueId in[3] = {x, weight(b, arena_printf(b->g->arena, "%s.g", name), b->shape->width, 0)};
    Attr attr = {.eps = 1e-5};
    if (b->shape->gated) return op(b, OP_RMSNORM, in, 2, NULL, &attr, name);
    in[2] = weight(b, arena_printf(b->g->arena, "%s.b", name), b->shape->width, 0);
    return op(b, OP_LAYERNORM, in, 3, NULL, &attr, name);
}

static ValueId residual(Builder *b, ValueId x, ValueId branch, const char *name) {
    if (b->shape->dropout > 0) {
        Attr attr = {.p = b->shape->dropout, .rng = ++b->streams};
        branch = op(b, OP_DROPOUT, &branch, 1, NULL, &attr, arena_printf(b->g->arena, "%s.dropout", name));
    }
    return op(b, OP_ADD, (ValueId[]){x, branch}, 2, NULL, NULL, name);
}

static ValueId heads(Builder *b, ValueId x, int64_t count, const char *name) {
    const Transformer *t = b->shape;
    Type type = {.dtype = t->compute, .rank = 4, .dim = {t->batch, t->context, count, t->width / t->heads}};
    return op(b, OP_RESHAPE, &x, 1, &type, NULL, name);
}

static ValueId attention(Builder *b, ValueId x) {
    const Transformer *t = b->shape;
    ValueId part[3], h = norm(b, x, "ln_1");
    if (t->gated) {
        int64_t narrow = t->width / t->heads * t->kv_heads;
        part[0] = heads(b, linear(b, h, t->width, "q_proj"), t->heads, "q");
        part[1] = heads(b, linear(b, h, narrow, "k_proj"), t->kv_heads, "k");
        part[2] = heads(b, linear(b, h, narrow, "v_proj"), t->kv_heads, "v");
        Attr attr = {.theta = 5e5};
        part[0] = op(b, OP_ROPE, &part[0], 1, NULL, &attr, "q_rope");
        part[1] = op(b, OP_ROPE, &part[1], 1, NULL, &attr, "k_rope");
    } else {
        ValueId qkv = linear(b, h, 3 * t->width, "qkv");
        NodeId split = graph_node(b->g, OP_SPLIT, &qkv, 1, 0, 3, NULL, PHASE_FORWARD, b->block,
                                  scoped(b, "split"), (Span){0});
        memcpy(part, b->g->node.at[split].out, sizeof part);
        static const char *const names[] = {"q", "k", "v"};
        for (int i = 0; i < 3; i++) part[i] = heads(b, part[i], t->heads, names[i]);
    }
    ValueId o = op(b, OP_ATTEND, part, 3, NULL, &(Attr){.causal = 1}, "attend");
    Type flat = {.dtype = t->compute, .rank = 3, .dim = {t->batch, t->context, t->width}};
    o = op(b, OP_RESHAPE, &o, 1, &flat, NULL, "flat");
    return residual(b, x, linear(b, o, t->width, "proj"), "mid");
}

static ValueId feed_forward(Builder *b, ValueId x) {
    const Transformer *t = b->shape;
    ValueId h = norm(b, x, "ln_2");
    if (t->gated) {
        ValueId g = linear(b, h, t->hidden, "gate"), u = linear(b, h, t->hidden, "up");
        g = op(b, OP_SILU, &g, 1, NULL, NULL, "silu");
        h = op(b, OP_MUL, (ValueId[]){g, u}, 2, NULL, NULL, "mul");
    } else {
        h = linear(b, h, t->hidden, "fc");
        h = op(b, OP_GELU, &h, 1, NULL, NULL, "gelu");
    }
    return residual(b, x, linear(b, h, t->width, "down"), "out");
}

Graph *transformer_graph(const Transformer *t, Arena *arena) {
    Builder b = {.g = graph_new(arena), .shape = t, .scope = "", .block = NONE};
    Graph *g = b.g;
    g->batch = t->batch, g->context = t->context;
    const Type ids = {.dtype = DT_I32, .rank = 2, .dim = {t->batch, t->context}};
    const Type one = {.dtype = DT_F32, .rank = 1, .dim = {1}};
    const Type rows = {.dtype = t->compute, .rank = 2, .dim = {t->context, t->width}};
    const Type cube = {.dtype = t->compute, .rank = 3, .dim = {t->batch, t->context, t->width}};
    g->tokens = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "tokens", (Span){0});
    g->targets = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "targets", (Span){0});
    g->loss_sum = graph_value(g, one, VALUE_STATE, ROLE_METRIC, "loss_sum", (Span){0});

    ValueId table = stored_weight(&b, "wte", t->vocabulary, t->width);
    ValueId x = op(&b, OP_EMBED, (ValueId[]){g->tokens, table}, 2, &cube, NULL, "embed");
    if (!t->gated) {
        ValueId places = stored_weight(&b, "wpe", t->context, t->width);
        ValueId p = op(&b, OP_POSITIONS, &places, 1, &rows, NULL, "positions");
        x = op(&b, OP_ADD_BROADCAST, (ValueId[]){x, p}, 2, NULL, NULL, "input");
    }
    for (int64_t i = 0; i < t->layers; i++) {
        *vec_add(arena, &g->block) = arena_printf(arena, "h.%d", (int)i);
        b.block = (uint32_t)i, b.scope = arena_printf(arena, "h.%d.", (int)i);
        x = feed_forward(&b, attention(&b, x));
    }
    b.block = NONE, b.scope = "";
    x = norm(&b, x, "ln_f");
    ValueId head[] = {x, weight(&b, "head.w", t->vocabulary, t->width)};
    g->logits = op(&b, OP_LINEAR, head, 2, NULL, NULL, "head");
    ValueId in[] = {g->logits, g->targets, g->loss_sum};
    graph_node(g, OP_CROSS_ENTROPY, in, 3, 1, 2, NULL, PHASE_FORWARD, NONE, "loss", (Span){0});

    TrainRule rule = {.beta1 = 0.9,
                      .beta2 = 0.95,
                      .eps = 1e-8,
                      .clip_norm = t->clip_norm,
                      .accumulate = t->accumulate,
                      .gradient = t->stored,
                      .moment = DT_F32};
    return order_updates(fuse(autodiff(g, &rule, arena), NULL, arena), arena);
}
