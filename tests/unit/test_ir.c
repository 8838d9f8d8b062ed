/* The graph: shape rules, the checker against corrupted graphs, text there and back. */
#include "tests/support/in_arena.h"
#include "tests/support/random_graph.h"
#include "tests/support/small_net.h"
#include "ir/check.h"
#include "ir/limits.h"
#include "ir/ops.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- shape rules ---- */

#define F(...)                                                                                               \
    {                                                                                                        \
        .dtype = DT_F32, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }                    \
    }
#define H(...)                                                                                               \
    {                                                                                                        \
        .dtype = DT_BF16, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }                   \
    }
#define Q(...)                                                                                               \
    {                                                                                                        \
        .dtype = DT_NF4, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }                    \
    }
#define D8(...)                                                                                              \
    {                                                                                                        \
        .dtype = DT_DYNAMIC8, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }               \
    }
#define U8(...)                                                                                              \
    {                                                                                                        \
        .dtype = DT_UDYNAMIC8, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }              \
    }
#define I(...)                                                                                               \
    {                                                                                                        \
        .dtype = DT_I32, .rank = COUNT_OF(((int[]){__VA_ARGS__})), .dim = { __VA_ARGS__ }                    \
    }

typedef struct ShapeCase {
    Op op;
    Type in[6];
    uint32_t nout;
    Type wish;
    double number;    /* theta or p */
    const char *want; /* types of the outputs, or part of the message */
} ShapeCase;

static const ShapeCase good_shape[] = {
    {OP_EMBED, {I(2, 5), F(11, 8)}, 1, {0}, 0, "f32[2, 5, 8]"},
    {OP_EMBED, {I(2, 5), F(11, 8)}, 1, H(2, 5, 8), 0, "bf16[2, 5, 8]"},
    {OP_POSITIONS, {F(7, 8)}, 1, F(5, 8), 0, "f32[5, 8]"},
    {OP_POSITIONS, {F(7, 8)}, 1, {0}, 0, "f32[7, 8]"},
    {OP_CAST, {F(3, 4)}, 1, H(3, 4), 0, "bf16[3, 4]"},
    {OP_DEQUANTIZE, {Q(3, 4)}, 1, H(3, 4), 0, "bf16[3, 4]"},
    {OP_RESHAPE, {F(2, 5, 8)}, 1, F(2, 5, 2, 4), 0, "f32[2, 5, 2, 4]"},
    {OP_CAST, {F(3, 4), F(1, 4), F(2, 4)}, 1, H(6, 4), 0, "bf16[6, 4]"},
    {OP_RESHAPE, {H(2, 5, 8)}, 1, F(10, 8), 0, "bf16[10, 8]"},
    {OP_SPLIT, {F(2, 5, 12)}, 3, {0}, 0, "f32[2, 5, 4] f32[2, 5, 4] f32[2, 5, 4]"},
    {OP_CONCAT, {F(2, 4), F(2, 4)}, 1, {0}, 0, "f32[2, 8]"},
    {OP_CONCAT, {H(2, 4), H(2, 1), H(2, 3)}, 1, {0}, 0, "bf16[2, 8]"},
    {OP_LINEAR, {F(2, 5, 8), F(3, 8)}, 1, {0}, 0, "f32[2, 5, 3]"},
    {OP_LINEAR, {H(2, 5, 8), H(3, 8), H(3)}, 1, {0}, 0, "bf16[2, 5, 3]"},
    {OP_LINEAR, {H(2, 5, 8), H(3, 8), H(2, 5, 3)}, 1, {0}, 0, "bf16[2, 5, 3]"},
    {OP_LAYERNORM, {H(2, 5, 8), H(8), H(8)}, 3, {0}, 0, "bf16[2, 5, 8] f32[2, 5] f32[2, 5]"},
    {OP_RMSNORM, {F(8), F(8)}, 2, {0}, 0, "f32[8] f32[1]"},
    {OP_ADD_BROADCAST, {F(2, 5, 8), F(5, 8)}, 1, {0}, 0, "f32[2, 5, 8]"},
    {OP_ROPE, {F(2, 5, 2, 4)}, 1, {0}, 1e4, "f32[2, 5, 2, 4]"},
    {OP_ATTEND, {F(2, 5, 6, 4), F(2, 5, 3, 4), F(2, 5, 3, 4)}, 2, {0}, 0, "f32[2, 5, 6, 4] f32[2, 6, 5]"},
    {OP_CROSS_ENTROPY, {H(2, 5, 9), I(2, 5), F(1)}, 2, {0}, 0, "f32[2, 5] f32[1]"},
    {OP_CROSS_ENTROPY, {F(2, 5, 9), I(2, 5), F(2, 5), F(1)}, 2, {0}, 0, "f32[2, 5] f32[1]"},
    {OP_EMBED_BWD, {H(2, 5, 8), I(2, 5)}, 1, F(11, 8), 0, "f32[11, 8]"},
    {OP_EMBED_BWD, {H(2, 5, 8), I(2, 5), F(11, 8)}, 1, {0}, 0, "f32[11, 8]"},
    {OP_POSITIONS_BWD, {F(5, 8)}, 1, F(7, 8), 0, "f32[7, 8]"},
    {OP_SUM_LEADING, {H(2, 5, 8)}, 1, F(8), 0, "f32[8]"},
    {OP_SUM_LEADING, {F(2, 5, 8), F(5, 8)}, 1, {0}, 0, "f32[5, 8]"},
    {OP_LINEAR_BWD_X, {F(2, 5, 3), F(3, 8)}, 1, {0}, 0, "f32[2, 5, 8]"},
    {OP_LINEAR_BWD_X, {H(2, 5, 3), H(3, 8), H(2, 5, 8)}, 1, {0}, 0, "bf16[2, 5, 8]"},
    {OP_LINEAR, {H(5, 8), Q(3, 8)}, 1, {0}, 0, "bf16[5, 3]"},
    {OP_LINEAR_BWD_X, {F(2, 5, 3), Q(3, 8)}, 1, {0}, 0, "f32[2, 5, 8]"},
    {OP_LINEAR_BWD_W, {H(2, 5, 3), H(2, 5, 8)}, 1, F(3, 8), 0, "f32[3, 8]"},
    {OP_LINEAR_BWD_W, {H(2, 5), H(2, 8), F(1, 8), F(4, 8)}, 2, {0}, 0, "f32[1, 8] f32[4, 8]"},
    {OP_LAYERNORM_BWD_X, {F(2, 8), F(2, 8), F(8), F(2), F(2), F(2, 8)}, 1, {0}, 0, "f32[2, 8]"},
    {OP_RMSNORM_BWD_G, {F(2, 8), F(2, 8), F(2)}, 1, F(8), 0, "f32[8]"},
    {OP_SQUARE_NORM, {H(3, 8), F(1)}, 1, {0}, 0, "f32[1]"},
    {OP_ADAMW, {F(3), F(3), F(3), F(3)}, 3, {0}, 0, "f32[3] f32[3] f32[3]"},
    {OP_ADAMW8BIT, {F(3), F(3), D8(3), U8(3)}, 3, {0}, 0, "f32[3] dynamic8[3] udynamic8[3]"},
    {OP_ADAMW, {F(3), F(1), H(3), F(3), H(3), F(3)}, 4, {0}, 0, "bf16[3] f32[3] bf16[3] f32[3]"},
    {OP_SWIGLU_BWD, {F(2, 8), F(2, 8), F(2, 8)}, 2, {0}, 0, "f32[2, 8] f32[2, 8]"},
    {OP_ADD_RMSNORM, {H(2, 8), H(2, 8), H(8)}, 3, {0}, 0, "bf16[2, 8] bf16[2, 8] f32[2]"},
};

static const ShapeCase bad_shape[] = {
    {OP_LINEAR,
     {F(1, 4, 4096), F(4096, 14336)},
     1,
     {0},
     0,
     "input width 4096 does not match weight [4096, 14336]"},
    {OP_LINEAR, {F(2, 8), F(3, 8), F(4)}, 1, {0}, 0, "the bias is f32[4], must be f32[3]"},
    {OP_LINEAR, {F(8), F(3, 8)}, 1, {0}, 0, "the input must have rows, is f32[8]"},
    {OP_LINEAR, {F(2, 8), F(3, 8), F(2, 8)}, 1, {0}, 0, "what is added is f32[2, 8], must be f32[2, 3]"},
    {OP_LINEAR, {H(2, 8), F(3, 8)}, 1, {0}, 0, "differ in type"},
    {OP_LINEAR_BWD_X,
     {H(5, 3), H(3, 8), F(5, 8)},
     1,
     {0},
     0,
     "the gradient to add is f32[5, 8], must be bf16[5, 8]"},
    {OP_LINEAR_BWD_X,
     {F(5, 3), F(3, 8), F(5, 3)},
     1,
     {0},
     0,
     "the gradient to add is f32[5, 3], must be f32[5, 8]"},
    {OP_LINEAR, {F(2, 8)}, 1, {0}, 0, "takes 2 to 3 inputs, not 1"},
    {OP_EMBED, {F(2, 5), F(11, 8)}, 1, {0}, 0, "must be i32"},
    {OP_EMBED, {I(2, 5), F(11)}, 1, {0}, 0, "the table must be [V, D]"},
    {OP_POSITIONS, {F(4, 8)}, 1, F(5, 8), 0, "the table has 4 positions, 5 are needed"},
    {OP_CAST, {I(3)}, 1, F(3), 0, "float"},
    {OP_CAST, {F(3)}, 1, I(3), 0, "float"},
    {OP_CAST, {Q(3)}, 1, H(3), 0, "nf4[3], must be of a float type"},
    {OP_DEQUANTIZE, {H(3)}, 1, H(3), 0, "bf16[3], must be of an nf4 type"},
    {OP_DEQUANTIZE, {Q(3)}, 1, {0}, 0, "needs the type to give"},
    {OP_DEQUANTIZE, {Q(3)}, 1, I(3), 0, "float"},
    {OP_CAST, {F(3)}, 1, H(4), 0, "makes bf16[3], not bf16[4]"},
    {OP_CAST, {F(3, 4), F(1, 4)}, 1, H(3, 4), 0, "2 inputs do not go with 1 outputs"},
    {OP_CAST, {F(3, 4), F(1, 5)}, 1, H(4, 4), 0, "pieces f32[3, 4] and f32[1, 5] differ in more than rows"},
    {OP_CAST, {F(3, 4), F(2, 4)}, 1, H(4, 4), 0, "makes bf16[5, 4], not bf16[4, 4]"},
    {OP_CAST, {F(3, 4), H(1, 4)}, 1, H(4, 4), 0, "one type"},
    {OP_RESHAPE, {F(2, 5)}, 1, F(3, 3), 0, "f32[2, 5] has 10 elements, f32[3, 3] has 9"},
    {OP_RESHAPE, {F(2, 5)}, 1, {0}, 0, "needs the shape"},
    {OP_SPLIT, {F(2, 7)}, 2, {0}, 0, "does not divide into 2"},
    {OP_SPLIT, {F(2, 7)}, 2, F(2, 3), 0, "the parts take 6 of the last dimension 7"},
    {OP_SPLIT, {F(2, 7)}, 2, F(2, 5), 0, "no room for part 2, 3 wide"},
    {OP_SPLIT, {F(2, 8)}, 2, F(3, 4), 0, "makes f32[2, 4], not f32[3, 4]"},
    {OP_CONCAT, {F(2, 4), F(3, 4)}, 1, {0}, 0, "differ in more than the last dimension"},
    {OP_CONCAT, {F(2, 4), H(2, 4)}, 1, {0}, 0, "differ in more than the last dimension"},
    {OP_LAYERNORM, {F(2, 8), F(7), F(8)}, 3, {0}, 0, "the gain is f32[7], must be f32[8]"},
    {OP_ADD, {F(2, 8), F(2, 9)}, 1, {0}, 0, "operands f32[2, 8] and f32[2, 9] differ"},
    {OP_ADD_BROADCAST, {F(2, 5, 8), F(2, 8)}, 1, {0}, 0, "cannot be added"},
    {OP_ROPE, {F(2, 5, 2, 3)}, 1, {0}, 1e4, "E even"},
    {OP_ROPE, {F(2, 5, 2, 4)}, 1, {0}, 0, "theta"},
    {OP_ROPE, {F(2, 5, 2, 4), I(5)}, 1, {0}, 1e4, "the position of each token is i32[5], must be i32[2, 5]"},
    {OP_DROPOUT, {F(2)}, 1, {0}, 1, "probability"},
    {OP_ATTEND,
     {F(2, 5, 6, 4), F(2, 5, 4, 4), F(2, 5, 4, 4)},
     2,
     {0},
     0,
     "6 query heads do not divide over 4"},
    {OP_ATTEND, {F(2, 5, 6, 4), F(2, 5, 3, 4), F(2, 5, 2, 4)}, 2, {0}, 0, "differ"},
    {OP_ATTEND, {F(2, 5, 6, 4), F(2, 4, 3, 4), F(2, 4, 3, 4)}, 2, {0}, 0, "does not match query"},
    {OP_ATTEND,
     {F(2, 5, 6, 4), F(2, 5, 3, 4), F(2, 5, 3, 4), I(2, 5)},
     2,
     {0},
     0,
     "comes with the last query"},
    {OP_ATTEND,
     {F(2, 5, 6, 4), F(2, 5, 3, 4), F(2, 5, 3, 4), I(2, 5), I(2, 6)},
     2,
     {0},
     0,
     "the last query of each token is i32[2, 6], must be i32[2, 5]"},
    {OP_CROSS_ENTROPY, {F(2, 5, 9), I(2, 4), F(1)}, 2, {0}, 0, "targets i32[2, 4] do not match"},
    {OP_CROSS_ENTROPY, {F(2, 5, 9), I(2, 5), F(2, 4), F(1)}, 2, {0}, 0, "the mask"},
    {OP_SUM_LEADING, {F(2, 5, 8)}, 1, F(5), 0, "cannot be summed into"},
    {OP_SUM_LEADING, {F(2, 5, 8)}, 1, {0}, 0, "needs the type"},
    {OP_LINEAR_BWD_W, {F(2, 3), F(2, 8)}, 1, F(8, 3), 0, "cannot be summed into"},
    {OP_LINEAR_BWD_W, {F(2, 3), F(2, 8), F(8, 3)}, 1, F(3, 8), 0, "makes"},
    {OP_LINEAR_BWD_W, {F(2, 3), F(2, 8), F(2, 8), F(2, 8)}, 2, {0}, 0, "cannot be summed into"},
    {OP_LINEAR_BWD_W, {F(2, 3), F(2, 8), F(1, 8), H(2, 8)}, 2, {0}, 0, "cannot be summed into"},
    {OP_LINEAR_BWD_W, {F(2, 3), F(2, 8), F(3, 8)}, 2, {0}, 0, "3 inputs do not go with 2 outputs"},
    {OP_EMBED_BWD, {F(2, 5, 8), I(2, 4)}, 1, F(9, 8), 0, "cannot be summed into"},
    {OP_ADAMW, {F(3), F(4), F(4), F(4)}, 3, {0}, 0, "does not match weight"},
    {OP_ADAMW, {F(3), F(3), F(3), F(3)}, 4, {0}, 0, "do not go with"},
    {OP_ADAMW, {F(3), F(3), D8(3), F(3)}, 3, {0}, 0, "dynamic8[3], must be of a float type"},
    {OP_ADAMW8BIT, {F(3), F(3), F(3), U8(3)}, 3, {0}, 0, "a moment is f32[3], must be in dynamic8"},
    {OP_ADAMW8BIT, {F(3), F(3), D8(3), D8(3)}, 3, {0}, 0, "must be in udynamic8"},
    {OP_GELU, {I(3)}, 1, {0}, 0, "float"},
    {OP_GELU, {F(3, 0)}, 1, {0}, 0, "dimension of 0"},
    {OP_CONCAT, {F(1, 1 << 28, 1 << 28), F(1, 1 << 28, 1 << 28)}, 1, {0}, 0, "too large"},
};

static const char *infer(const ShapeCase *c, Arena *arena, bool *right) {
    uint32_t nin = 0;
    while (nin < COUNT_OF(c->in) && c->in[nin].rank) nin++;
    Type out[8] = {c->wish};
    const Attr attr = {.theta = c->number, .p = c->number};
    const char *wrong = op_infer(c->op, c->in, nin, &attr, out, c->nout, arena);
    *right = !wrong;
    if (wrong) return wrong;
    Text text = {.arena = arena};
    for (uint32_t i = 0; i < c->nout; i++) text_add(&text, "%s%s", i ? " " : "", type_text(arena, &out[i]));
    return text.at;
}

static void shapes_fit(void **state) {
    bool right;
    for (size_t i = 0; i < COUNT_OF(good_shape); i++) {
        const char *got = infer(&good_shape[i], *state, &right);
        if (!right || strcmp(got, good_shape[i].want))
            fail_msg("%s: %s", op_info[good_shape[i].op].name, got);
    }
}

static void shapes_rejected(void **state) {
    bool right;
    for (size_t i = 0; i < COUNT_OF(bad_shape); i++) {
        const char *got = infer(&bad_shape[i], *state, &right);
        if (right || !strstr(got, bad_shape[i].want))
            fail_msg("%s: '%s' should say '%s'", op_info[bad_shape[i].op].name, got, bad_shape[i].want);
    }
    /* of what is too large for any operation no kernel's limit is told: its elements may not even be counted
     */
    const Type huge = F((int64_t)1 << 40, 5 << 20, 1);
    assert_null(op_limit(OP_LINEAR, &huge, 1, *state));
}

static void every_op_has_a_name(void **state) {
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) assert_int_equal(op_find(op_info[op].name), op);
    assert_int_equal(op_find("nonsense"), OP_COUNT);
}

/* ---- asking ---- */

static void roots_are_followed(void **state) {
    Arena *arena = *state;
    Graph *g = autodiff(small_net(&(NetOptions){.layers = 1, .tied = true}, arena),
                        &(TrainRule){.accumulate = 2}, arena);
    const Node *q = &g->node.at[node_named(g, "h.0.q")], *split = &g->node.at[node_named(g, "h.0.split")];
    assert_int_equal(graph_root(g, q->out[0]), split->out[0]);
    assert_false(value_persistent(g, q->out[0]));
    const Node *loss = &g->node.at[node_named(g, "loss")];
    assert_int_equal(graph_root(g, loss->out[1]), g->loss_sum);
    const Node *embed = &g->node.at[node_named(g, "embed.bwd_w")];
    assert_string_equal(g->value.at[graph_root(g, embed->out[0])].name, "grad.wte");
    assert_true(value_persistent(g, embed->out[0]));
    assert_int_equal(type_bytes(&g->value.at[g->logits].type), 2 * 4 * 11 * 4);
}

/* ---- the checker ---- */

static Node *named(Graph *g, const char *name) {
    NodeId id = node_named(g, name);
    if (id == NONE) fail_msg("no node '%s'", name);
    return &g->node.at[id];
}

static Value *valued(Graph *g, const char *name) {
    ValueId id = value_named(g, name);
    if (id == NONE) fail_msg("no value '%s'", name);
    return &g->value.at[id];
}

static void swap_nodes(Graph *g, const char *a, const char *b) {
    Node *first = named(g, a), *second = named(g, b), kept = *first;
    *first = *second, *second = kept;
    Node *both[] = {first, second};
    for (int n = 0; n < 2; n++)
        for (uint32_t i = 0; i < both[n]->nout; i++)
            g->value.at[both[n]->out[i]].def = (NodeId)(both[n] - g->node.at);
}

#define SPOIL(name, ...)                                                                                     \
    static void spoil_##name(Graph *g) {                                                                     \
        __VA_ARGS__;                                                                                         \
    }
SPOIL(order, swap_nodes(g, "h.0.qkv", "h.0.ln_1"))
SPOIL(range, named(g, "h.0.qkv")->in[0] = 999999)
SPOIL(output_range, named(g, "h.0.qkv")->out[0] = 999999)
SPOIL(arity, named(g, "h.0.mid")->nin = 1)
SPOIL(outputs, named(g, "h.0.ln_1")->nout = 2)
SPOIL(op, named(g, "h.0.mid")->op = OP_COUNT)
SPOIL(type, valued(g, "h.0.qkv")->type.dim[2]++)
SPOIL(rank, valued(g, "h.0.qkv")->type.rank = 7)
SPOIL(dim, valued(g, "h.0.qkv")->type.dim[1] = -4)
SPOIL(weight, valued(g, "h.0.qkv.w")->type.dim[1] = 9)
SPOIL(kind, valued(g, "h.0.qkv")->kind = VALUE_STATE)
SPOIL(role, valued(g, "wte")->role = ROLE_METRIC)
SPOIL(made_role, valued(g, "h.0.qkv")->role = ROLE_GRADIENT)
SPOIL(written_role, valued(g, "loss.1")->role = ROLE_WGRAD)
SPOIL(name, valued(g, "h.0.qkv")->name = "h.0.proj")
SPOIL(no_name, valued(g, "h.0.qkv")->name = "")
SPOIL(def, valued(g, "h.0.qkv")->def++)
SPOIL(out_index, valued(g, "h.0.ln_1.1")->out_index = 2)
SPOIL(phase, named(g, "wte.adamw")->phase = PHASE_BACKWARD)
SPOIL(block, named(g, "h.0.qkv")->block = 77)
SPOIL(nmut, named(g, "h.0.mid")->nmut = 1)
SPOIL(no_nmut, named(g, "loss")->nmut = 0)
SPOIL(acc, named(g, "embed.bwd_w")->attr.acc = 2)
SPOIL(acc_overwrites, named(g, "embed.bwd_w")->attr.acc = 0)
SPOIL(accumulate, g->accumulate = 4)
SPOIL(old_version, named(g, "clip_scale")->in[0] = g->norm_sum)
SPOIL(old_version_chain, named(g, "wte.square_norm")->in[1] = value_named(g, "ln_f.g.square_norm"))
SPOIL(overwrites_input, named(g, "loss")->in[2] = 999999)
SPOIL(overwrites_frozen, valued(g, "loss_sum")->kind = VALUE_INPUT; valued(g, "loss_sum")->role = ROLE_INPUT)
SPOIL(stale_weight, named(g, "wte.adamw")->in[2] = value_named(g, "ln_f.g"))
SPOIL(moments, Node *n = named(g, "wte.adamw"); ValueId m = n->in[3]; n->in[3] = n->in[4]; n->in[4] = m)
SPOIL(foreign_gradient, named(g, "wte.adamw")->in[0] = value_named(g, "h.0.mid.bwd_sum"))
SPOIL(update_reads, named(g, "wte.square_norm")->in[0] = value_named(g, "h.0.mid"))
SPOIL(stream, named(g, "h.0.dropout.bwd")->attr.rng = 5)
SPOIL(probability, named(g, "h.0.dropout.bwd")->attr.p = 0.25)
SPOIL(shared_stream, named(g, "h.1.dropout")->attr.rng = named(g, "h.0.dropout")->attr.rng)
SPOIL(dead, named(g, "h.0.mid.bwd_sum")->in[1] = named(g, "h.0.mid.bwd_sum")->in[0])
SPOIL(tokens, g->tokens = g->targets + 1)
SPOIL(first_key, g->first_key = g->tokens)
SPOIL(positions, g->positions = g->logits)
SPOIL(logits, g->logits = g->tokens)
SPOIL(loss_sum, g->loss_sum = g->norm_sum)
SPOIL(norm_sum, g->norm_sum = NONE)
SPOIL(batch, g->batch = 3)
SPOIL(param_missing, g->param.count--)
SPOIL(param_twice, g->param.at[1].value = g->param.at[0].value)
SPOIL(frozen_updated, valued(g, "wte")->kind = VALUE_FROZEN)
SPOIL(param_value, g->param.at[0].value = g->tokens)
SPOIL(moment_missing, g->param.at[0].moment2 = NONE)
SPOIL(moment_shared, g->param.at[0].moment2 = g->param.at[0].moment1)
SPOIL(moment_foreign, g->param.at[0].moment2 = g->param.at[1].moment2)
SPOIL(master, g->param.at[0].master = g->param.at[0].moment1)
SPOIL(no_update, g->node.count--; g->value.count -= 3)
#undef SPOIL

static const struct {
    void (*spoil)(Graph *g);
    const char *want;
} spoils[] = {
    {spoil_order, "is made only later"},
    {spoil_range, "input 0 is no value"},
    {spoil_output_range, "is not the output it says it is"},
    {spoil_arity, "1 inputs"},
    {spoil_outputs, "is not the output it says it is"},
    {spoil_op, "unknown operation"},
    {spoil_type, "makes f32[2, 4, 24], not f32[2, 4, 25]"},
    {spoil_rank, "no proper type"},
    {spoil_dim, "impossible dimension"},
    {spoil_weight, "input width 8 does not match"},
    {spoil_kind, "a role its kind cannot have"},
    {spoil_role, "a role its kind cannot have"},
    {spoil_made_role, "makes gradient in the forward phase"},
    {spoil_written_role, "is wgrad over metric"},
    {spoil_name, "has the name of another value"},
    {spoil_no_name, "has no name"},
    {spoil_def, "is not the output it says it is"},
    {spoil_out_index, "is not the output it says it is"},
    {spoil_phase, "makes weight in the backward phase"},
    {spoil_block, "block 77"},
    {spoil_nmut, "writes over 1 inputs, must over 0"},
    {spoil_no_nmut, "writes over 0 inputs, must over 1"},
    {spoil_acc, "acc is 2, must be 1"},
    {spoil_acc_overwrites, "acc is 0, must be 1"},
    {spoil_accumulate, "does not outlive its micro-step"},
    {spoil_old_version, "which was written over"},
    {spoil_old_version_chain, "which was written over"},
    {spoil_overwrites_input, "is no value"},
    {spoil_overwrites_frozen, "may not write over"},
    {spoil_stale_weight, "does not match weight"},
    {spoil_moments, "has not the states of its parameter"},
    {spoil_foreign_gradient, "does not match weight"},
    {spoil_update_reads, "belongs to a micro-step"},
    {spoil_stream, "no forward node draws from random stream 5"},
    {spoil_probability, "draws other numbers"},
    {spoil_shared_stream, "shares random stream"},
    {spoil_dead, "nothing uses what it makes"},
    {spoil_tokens, "tokens are no"},
    {spoil_first_key, "a first key without a last query"},
    {spoil_positions, "what tells documents apart"},
    {spoil_logits, "logits are no"},
    {spoil_loss_sum, "does not add to loss_sum"},
    {spoil_norm_sum, "without norm_sum"},
    {spoil_batch, "tokens are no"},
    {spoil_param_missing, "belongs to no parameter"},
    {spoil_param_twice, "is listed twice"},
    {spoil_frozen_updated, "may not write over 'wte'"},
    {spoil_param_value, "is listed as a parameter"},
    {spoil_moment_missing, "part of an optimizer state"},
    {spoil_moment_shared, "shares a state"},
    {spoil_moment_foreign, "a state that does not fit it"},
    {spoil_master, "shares a state"},
    {spoil_no_update, "is not updated exactly once"},
};

static void corruption_is_caught(void **state) {
    const NetOptions options = {.layers = 2, .tied = true, .dropout = 0.1};
    const TrainRule rule = {.clip_norm = 1, .decay = 0.1, .accumulate = 1};
    for (size_t i = 0; i < COUNT_OF(spoils); i++) {
        arena_reset(*state);
        Graph *g = autodiff(small_net(&options, *state), &rule, *state);
        assert_null(graph_check(g, *state));
        spoils[i].spoil(g);
        const char *wrong = graph_check(g, *state);
        if (!wrong || !strstr(wrong, spoils[i].want))
            fail_msg("corruption %zu: '%s' should say '%s'", i, wrong ? wrong : "nothing", spoils[i].want);
    }
}

/* With several micro-steps, the update comes after all of them. */
static void accumulated_updates_are_last(void **state) {
    const TrainRule rule = {.decay = 0.1, .accumulate = 2};
    Graph *g = autodiff(small_net(&(NetOptions){.layers = 1, .tied = true}, *state), &rule, *state);
    assert_null(graph_check(g, *state));
    spoil_phase(g);
    assert_non_null(strstr(graph_check(g, *state), "phase backward after update"));
}

static void trained_come_first(void **state) {
    Graph *g = small_net(&(NetOptions){.layers = 1, .frozen = true}, *state);
    assert_null(graph_check(g, *state));
    Param last = g->param.at[g->param.count - 1];
    g->param.at[g->param.count - 1] = g->param.at[0];
    g->param.at[0] = last;
    assert_non_null(strstr(graph_check(g, *state), "listed after a frozen one"));
}

static void random_graphs_are_right(void **state) {
    for (uint64_t seed = 0; seed < 300; seed++) {
        arena_reset(*state);
        const char *wrong = graph_check(random_graph(seed, *state), *state);
        if (!wrong) wrong = graph_check(random_training_graph(seed, *state), *state);
        if (wrong) fail_msg("seed %llu: %s", (unsigned long long)seed, wrong);
    }
}

/* ---- text ---- */

static bool same_param(const Param *a, const Param *b) {
    return a->value == b->value && a->adapter == b->adapter && a->init == b->init &&
           a->init_value == b->init_value && a->decays == b->decays && a->moment1 == b->moment1 &&
           a->moment2 == b->moment2 && a->master == b->master && a->accumulator == b->accumulator;
}

static bool same_node(const Node *a, const Node *b) {
    return a->op == b->op && a->nin == b->nin && a->nout == b->nout && a->nmut == b->nmut &&
           a->phase == b->phase && a->block == b->block && !strcmp(a->name, b->name) &&
           !memcmp(&a->attr, &b->attr, sizeof a->attr) && !memcmp(a->in, b->in, sizeof *a->in * a->nin) &&
           !memcmp(a->out, b->out, sizeof *a->out * a->nout);
}

static bool same_value(const Value *a, const Value *b) {
    return type_equal(&a->type, &b->type) && a->def == b->def && a->out_index == b->out_index &&
           a->kind == b->kind && a->role == b->role && !strcmp(a->name, b->name);
}

static void assert_same(const Graph *a, const Graph *b) {
    assert_int_equal(a->node.count, b->node.count);
    assert_int_equal(a->value.count, b->value.count);
    assert_int_equal(a->param.count, b->param.count);
    assert_int_equal(a->block.count, b->block.count);
    for (uint32_t i = 0; i < a->node.count; i++) assert_true(same_node(&a->node.at[i], &b->node.at[i]));
    for (uint32_t i = 0; i < a->value.count; i++) assert_true(same_value(&a->value.at[i], &b->value.at[i]));
    for (uint32_t i = 0; i < a->param.count; i++) assert_true(same_param(&a->param.at[i], &b->param.at[i]));
    for (uint32_t i = 0; i < a->block.count; i++) assert_string_equal(a->block.at[i], b->block.at[i]);
    assert_true(a->tokens == b->tokens && a->targets == b->targets && a->mask == b->mask &&
                a->logits == b->logits);
    assert_true(a->loss_sum == b->loss_sum && a->norm_sum == b->norm_sum);
    assert_true(a->batch == b->batch && a->context == b->context && a->accumulate == b->accumulate);
}

static void assert_round_trip(const Graph *g, Arena *arena) {
    Text text = {.arena = arena};
    const char *error = NULL;
    graph_print(g, &text);
    const Graph *back = graph_read(text.at, arena, &error);
    if (!back) fail_msg("%s", error);
    assert_same(g, back);
}

static void text_round_trips(void **state) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        arena_reset(*state);
        Graph *g = random_graph(seed, *state);
        TrainRule rule = random_rule(seed);
        Graph *trained = autodiff(g, &rule, *state);
        assert_round_trip(g, *state);
        assert_round_trip(trained, *state);
        assert_round_trip(fuse(trained, NULL, *state), *state);
        assert_round_trip(graph_forward_only(trained, *state), *state);
    }
}

static void odd_names_round_trip(void **state) {
    Graph *g = small_net(&(NetOptions){.layers = 1}, *state);
    static const char *const odd[] = {"two words", "\"quoted\"", "tab\there",
                                      "h.0.größe", "a\\b",       "line\nbreak"};
    for (uint32_t i = 0; i < COUNT_OF(odd); i++)
        g->value.at[g->node.at[i].out[0]].name = g->node.at[i].name = odd[i];
    g->value.at[g->node.at[8].out[0]].name = "not, its [node's] name";
    assert_round_trip(g, *state);
}

static void bad_text_is_told_by_line(void **state) {
    static const char *const cases[][2] = {
        {"", "line 1: expected 'graph' first"},
        {"nonsense", "line 1: expected 'graph' first"},
        {"graph batch=", "line 1: expected a number"},
        {"graph depth=3", "line 1: unknown field 'depth'"},
        {"graph\ngraph", "line 2: a second graph"},
        {"graph\n%0 = foo(%1) : f32[1] # x", "line 2: unknown op 'foo'"},
        {"graph\n%7 = input : i32[1, 2] # x", "line 2: %7 is no value"},
        {"graph\n%0 = input : i8[1, 2] # x", "line 2: unknown type 'i8'"},
        {"graph\n%0 = input : i32[1, 2, 3, 4, 5] # x", "line 2: more than 4 dimensions"},
        {"graph\n%0 = input : i32[1] # x\n%0 = input : i32[1] # y", "line 3: %0 is there twice"},
        {"graph\n%1 = input : i32[1] # x\n%1", "line 3: expected '='"},
        {"graph\n%0 = gelu(%0) : f32[1] # x", "line 2: %0 is made only later"},
        {"graph\n%0 = input : f32[1] # x\n%1 = gelu(!%0, %0) : f32[1] # y",
         "line 3: inputs that are written over come last"},
        {"graph\n%0 = input : f32[1] # x\n%1 = gelu(%0) @3 : f32[1] # y", "line 3: no block 3"},
        {"graph\n%0 = input : f32[1] # x\n%1 = gelu(%0) {speed=3} : f32[1] # y",
         "line 3: unknown attribute 'speed'"},
        {"graph\n%0 = input : f32[1] # x\n%1 = scale(%0) {factor=nan} : f32[1] # y",
         "line 3: expected a number"},
        {"graph\n%0 = input : f32[1] # \"x", "line 2: a name without its closing quote"},
        {"graph\n%0 = input : f32[1] # x y", "line 2: 'y' is one thing too many"},
        {"graph\n%0 = param : f32[1] # x", "line 2: expected 'uniform'"},
        {"graph tokens=%1\n%1 = input : i32[1, 1] # x", "%0 is nowhere made"},
        {"graph tokens=%0\n%0 = input : i32[1, 1] # x", "logits are no"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *error = NULL;
        assert_null(graph_read(cases[i][0], *state, &error));
        if (!strstr(error, cases[i][1])) fail_msg("'%s' should say '%s'", error, cases[i][1]);
    }
}

/* Whatever the text, the answer is a graph that passes the check or a message. */
static void junk_text_is_survived(void **state) {
    static const char *const piece[] = {"%0",    "%1",     "!",     " = ", "(",
                                        ")",     "linear", "input", "[",   "]",
                                        ":",     "#",      "\n",    "f32", "9223372036854775807",
                                        "-1",    "{acc=",  "}",     "@0",  "graph ",
                                        "as \"", "adamw",  "wgrad", ", ",  "update\n",
                                        "99999"};
    uint64_t random = 7;
    for (uint64_t seed = 0; seed < 60; seed++) {
        arena_reset(*state);
        Text text = {.arena = *state};
        graph_print(random_training_graph(seed, *state), &text);
        for (int round = 0; round < 30; round++) {
            char *spoiled = arena_strdup(*state, text.at);
            for (uint64_t edits = 1 + random_next(&random) % 4; edits-- > 0;) {
                size_t at = random_next(&random) % text.length;
                const char *word = piece[random_next(&random) % COUNT_OF(piece)];
                size_t n = strlen(word) < text.length - at ? strlen(word) : text.length - at;
                if (random_next(&random) % 3)
                    memcpy(spoiled + at, word, n);
                else if (random_next(&random) % 8)
                    spoiled[at] = (char)(1 + random_next(&random) % 255);
                else
                    spoiled[at] = 0;
            }
            const char *error = NULL;
            const Graph *g = graph_read(spoiled, *state, &error);
            assert_true((g == NULL) == (error != NULL));
            if (g) assert_null(graph_check(g, *state));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(shapes_fit),
        IN_ARENA(shapes_rejected),
        IN_ARENA(every_op_has_a_name),
        IN_ARENA(roots_are_followed),
        IN_ARENA(corruption_is_caught),
        IN_ARENA(accumulated_updates_are_last),
        IN_ARENA(trained_come_first),
        IN_ARENA(random_graphs_are_right),
        IN_ARENA(text_round_trips),
        IN_ARENA(odd_names_round_trip),
        IN_ARENA(bad_text_is_told_by_line),
        IN_ARENA(junk_text_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
