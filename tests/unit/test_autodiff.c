/* What differentiation makes of nets small enough to count, and their forward part alone. */
#include "tests/support/in_arena.h"
#include "tests/support/net_nodes.h"
#include "tests/support/random_graph.h"
#include "ir/check.h"
#include "ir/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- autodiff ---- */

static void forward_part_is_kept(void **state) {
    Graph *before = small_net(&(NetOptions){.layers = 2, .dropout = 0.1}, *state);
    uint32_t nodes = before->node.count, values = before->value.count;
    Graph *g = autodiff(before, &plain, *state);
    assert_int_equal(before->node.count, nodes);
    assert_int_equal(before->value.count, values);
    for (NodeId n = 0; n < nodes; n++) {
        assert_int_equal(g->node.at[n].op, before->node.at[n].op);
        assert_int_equal(g->node.at[n].out[0], before->node.at[n].out[0]);
        assert_int_equal(g->node.at[n].phase, PHASE_FORWARD);
    }
    for (ValueId v = 0; v < values; v++) assert_string_equal(name_of(g, v), name_of(before, v));
    for (NodeId n = nodes; n < g->node.count; n++) assert_int_not_equal(g->node.at[n].phase, PHASE_FORWARD);
}

/* The nodes a reader of the textbook expects, with the operands it expects. */
static void backward_of_a_layer(void **state) {
    Graph *g = train(&(NetOptions){.layers = 1, .dropout = 0.1}, &plain, *state);
    assert_reads(g, "loss.bwd", "head targets loss");
    assert_reads(g, "head.bwd_w", "loss.bwd ln_f");
    assert_reads(g, "head.bwd_x", "loss.bwd head.w");
    assert_reads(g, "ln_f.bwd_x", "head.bwd_x h.0.out ln_f.g ln_f.1 ln_f.2");
    assert_reads(g, "ln_f.bwd_g", "head.bwd_x h.0.out ln_f.1 ln_f.2");
    assert_reads(g, "ln_f.bwd_b", "head.bwd_x");
    assert_reads(g, "h.0.down.bwd_w", "ln_f.bwd_x h.0.gelu");
    assert_reads(g, "h.0.gelu.bwd", "h.0.down.bwd_x h.0.fc");
    assert_reads(g, "h.0.mid.bwd_sum", "ln_f.bwd_x h.0.ln_2.bwd_x");
    assert_reads(g, "h.0.dropout.bwd", "h.0.mid.bwd_sum");
    assert_reads(g, "h.0.proj.bwd_b", "h.0.dropout.bwd");
    assert_reads(g, "h.0.attend.bwd", "h.0.flat.bwd h.0.q h.0.k h.0.v h.0.attend h.0.attend.1");
    assert_reads(g, "h.0.split.bwd", "h.0.q.bwd h.0.k.bwd h.0.v.bwd");
    assert_reads(g, "h.0.qkv.bwd_w", "h.0.split.bwd h.0.ln_1");
    assert_reads(g, "input.bwd_sum", "h.0.mid.bwd_sum h.0.ln_1.bwd_x");
    assert_reads(g, "input.bwd_b", "input.bwd_sum");
    assert_reads(g, "positions.bwd_w", "input.bwd_b");
    assert_reads(g, "embed.bwd_w", "input.bwd_sum tokens");
    assert_int_equal(node_at(g, "h.0.attend.bwd")->block, 0);
    assert_int_equal(node_at(g, "ln_f.bwd_x")->block, NONE);
    assert_int_equal(node_at(g, "h.0.attend.bwd")->attr.causal, 1);
    assert_int_equal(node_at(g, "h.0.dropout.bwd")->attr.rng, node_at(g, "h.0.dropout")->attr.rng);
    assert_int_equal(count_op(g, OP_ADAMW), 17);
    assert_int_equal(count_op(g, OP_SQUARE_NORM), 17);
    assert_int_equal(count_op(g, OP_CLIP_SCALE), 0);
    assert_int_equal(count_op(g, OP_LINEAR_BWD_X), count_op(g, OP_LINEAR));
}

static void rules_of_the_other_ops(void **state) {
    Graph *g = graph_new(*state);
    const Type cube = {.dtype = DT_F32, .rank = 4, .dim = {1, 2, 2, 2}}, flat = {.rank = 3, .dim = {1, 2, 4}};
    const Type ids = {.dtype = DT_I32, .rank = 2, .dim = {1, 2}}, table = {.rank = 2, .dim = {5, 4}},
               one = {.rank = 1, .dim = {1}};
    g->context = 2;
    g->tokens = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "tokens", (Span){0});
    g->targets = graph_value(g, ids, VALUE_INPUT, ROLE_INPUT, "targets", (Span){0});
    g->loss_sum = graph_value(g, one, VALUE_STATE, ROLE_METRIC, "loss_sum", (Span){0});
    ValueId w = graph_value(g, table, VALUE_PARAM, ROLE_WEIGHT, "w", (Span){0});
    *vec_add(g->arena, &g->param) =
        (Param){.value = w, .moment1 = NONE, .moment2 = NONE, .master = NONE, .accumulator = NONE};
#define ADD_OP(op, wish, attr, name, ...)                                                                    \
    graph_op_as(g, op, (ValueId[]){__VA_ARGS__}, COUNT_OF(((ValueId[]){__VA_ARGS__})), wish, attr,           \
                PHASE_FORWARD, NONE, name, (Span){0})
    ValueId x = ADD_OP(OP_EMBED, NULL, NULL, "x", g->tokens, w);
    ValueId h = ADD_OP(OP_RESHAPE, &cube, NULL, "heads", x);
    h = ADD_OP(OP_ROPE, NULL, (&(Attr){.theta = 100}), "rope", h);
    h = ADD_OP(OP_RESHAPE, &flat, NULL, "flat", h);
    h = ADD_OP(OP_SCALE, NULL, (&(Attr){.factor = 3}), "scale", h);
    ValueId m = ADD_OP(OP_MUL, NULL, NULL, "mul", h, x);
    NodeId split = graph_node(g, OP_SPLIT, &m, 1, 0, 2, NULL, PHASE_FORWARD, NONE, "split", (Span){0});
    ValueId first = g->node.at[split].out[0];
    m = ADD_OP(OP_CONCAT, NULL, NULL, "concat", first, first);
    g->logits = ADD_OP(OP_LINEAR, NULL, NULL, "logits", m, w);
#undef ADD_OP
    ValueId in[] = {g->logits, g->targets, g->loss_sum};
    graph_node(g, OP_CROSS_ENTROPY, in, 3, 1, 2, NULL, PHASE_FORWARD, NONE, "loss", (Span){0});
    Graph *d = autodiff(g, &plain, *state);
    assert_null(graph_check(d, *state));
    assert_reads(d, "concat.bwd", "logits.bwd_x");
    assert_reads(d, "split.bwd_sum", "concat.bwd concat.bwd.1");
    assert_reads(d, "split.bwd_zero", "split.bwd_sum"); /* the second piece is not used */
    assert_true(node_at(d, "split.bwd_zero")->attr.factor == 0);
    assert_reads(d, "split.bwd", "split.bwd_sum split.bwd_zero");
    assert_reads(d, "mul.bwd_a", "split.bwd x");
    assert_reads(d, "mul.bwd_b", "split.bwd scale");
    assert_true(node_at(d, "scale.bwd")->attr.factor == 3);
    assert_int_equal(node_at(d, "rope.bwd")->attr.inverse, 1);
    assert_true(node_at(d, "rope.bwd")->attr.theta == 100);
    assert_reads(d, "x.bwd_sum", "mul.bwd_b heads.bwd");
    assert_reads(d, "x.bwd_w", "x.bwd_sum tokens logits.bwd_w"); /* w is tied: its sum goes on */
}

static void tied_weights_share_a_sum(void **state) {
    Graph *g = train(&(NetOptions){.layers = 1, .tied = true}, &plain, *state);
    const Node *first = node_at(g, "head.bwd_w"), *second = node_at(g, "embed.bwd_w");
    assert_int_equal(first->nmut, 0);
    assert_int_equal(first->attr.acc, 0);
    assert_int_equal(second->nmut, 1);
    assert_int_equal(second->attr.acc, 1);
    assert_reads(g, "embed.bwd_w", "input.bwd_sum tokens head.bwd_w");
    assert_int_equal(graph_root(g, second->out[0]), first->out[0]);
    assert_int_equal(g->value.at[first->out[0]].role, ROLE_WGRAD);
    assert_reads(g, "wte.adamw", "embed.bwd_w wte m.wte v.wte");
    assert_int_equal(param_of(g, "wte")->accumulator, NONE);
}

static void accumulation_is_persistent(void **state) {
    TrainRule rule = plain;
    rule.accumulate = 4;
    Graph *g = train(&(NetOptions){.layers = 1, .tied = true}, &rule, *state);
    assert_int_equal(g->accumulate, 4);
    assert_reads(g, "head.bwd_w", "loss.bwd ln_f grad.wte");
    assert_int_equal(node_at(g, "head.bwd_w")->attr.acc, 2);
    assert_int_equal(node_at(g, "embed.bwd_w")->attr.acc, 1);
    for (uint32_t p = 0; p < g->param.count; p++) {
        ValueId sum = g->param.at[p].accumulator;
        assert_true(sum != NONE && g->value.at[sum].kind == VALUE_STATE &&
                    g->value.at[sum].role == ROLE_WGRAD);
    }
}

static void frozen_weights_get_nothing(void **state) {
    Graph *g = train(&(NetOptions){.layers = 2, .frozen = true}, &plain, *state);
    assert_int_equal(count_op(g, OP_LINEAR_BWD_W), 0);
    assert_int_equal(count_op(g, OP_EMBED_BWD), 0);
    assert_int_equal(count_op(g, OP_ADAMW), 2 * 8 + 2);      /* norms and biases */
    assert_int_equal(node_named(g, "h.0.ln_1.bwd_x"), NONE); /* nothing below it is trained */
    assert_int_not_equal(node_named(g, "h.1.ln_1.bwd_x"), NONE);
    for (uint32_t p = 0; p < g->param.count; p++) {
        bool trained = g->value.at[g->param.at[p].value].kind == VALUE_PARAM;
        assert_int_equal(g->param.at[p].moment1 != NONE, trained);
    }
}

/* Compute copies in bf16 pass gradients to the parameter in the gradient's own type. */
static void casts_are_transparent(void **state) {
    const NetOptions options = {.layers = 1, .tied = true, .stored = DT_F32, .compute = DT_BF16};
    Graph *g = train(&options, &plain, *state);
    assert_int_equal(g->value.at[node_at(g, "h.0.qkv")->out[0]].type.dtype, DT_BF16);
    assert_int_equal(g->value.at[node_at(g, "h.0.qkv.bwd_w")->out[0]].type.dtype, DT_F32);
    assert_int_equal(g->value.at[node_at(g, "h.0.qkv.bwd_x")->out[0]].type.dtype, DT_BF16);
    assert_reads(g, "embed.bwd_w", "input.bwd_sum tokens head.bwd_w");
    for (NodeId n = 0; n < g->node.count; n++)
        if (g->node.at[n].op == OP_CAST) assert_int_equal(g->node.at[n].phase, PHASE_FORWARD);
    assert_int_equal(param_of(g, "wte")->master, NONE);
}

static void bf16_weights_have_masters(void **state) {
    const NetOptions options = {.layers = 1, .stored = DT_BF16, .compute = DT_BF16};
    TrainRule rule = plain;
    rule.moment = DT_BF16;
    Graph *g = train(&options, &rule, *state);
    const Param *wte = param_of(g, "wte");
    assert_int_equal(g->value.at[wte->master].type.dtype, DT_F32);
    assert_int_equal(g->value.at[wte->moment1].type.dtype, DT_BF16);
    assert_reads(g, "wte.adamw", "embed.bwd_w wte m.wte v.wte master.wte");
    assert_int_equal(node_at(g, "wte.adamw")->nmut, 4);
    assert_int_equal(count_op(g, OP_CAST), 0);
}

/* Without clipping each gradient is measured and applied at once; with it, measured all, then applied. */
static void update_follows_the_rule(void **state) {
    TrainRule rule = plain;
    Graph *g = train(&(NetOptions){.layers = 1}, &rule, *state);
    NodeId first = node_named(g, "head.w.square_norm");
    assert_int_equal(node_named(g, "head.w.adamw"), first + 1);
    assert_int_equal(node_named(g, "wte.adamw"), g->node.count - 1);
    assert_reads(g, "head.w.square_norm", "head.bwd_w norm_sum");
    assert_int_equal(node_at(g, "head.w.square_norm")->attr.acc, 0);
    assert_int_equal(node_at(g, "wte.square_norm")->attr.acc, 1);
    assert_true(node_at(g, "head.w.adamw")->attr.decay == 0.1);
    assert_true(node_at(g, "h.0.qkv.b.adamw")->attr.decay == 0);
    assert_true(node_at(g, "wte.adamw")->attr.beta2 == 0.95);

    rule.clip_norm = 0.5;
    g = train(&(NetOptions){.layers = 1}, &rule, *state);
    assert_reads(g, "clip_scale", "wte.square_norm");
    assert_true(node_at(g, "clip_scale")->attr.max_norm == 0.5);
    assert_reads(g, "wte.adamw", "embed.bwd_w clip_scale wte m.wte v.wte");
    assert_true(node_named(g, "head.w.adamw") > node_named(g, "clip_scale"));
}

/* ---- the forward part alone ---- */

static void forward_only_is_for_evaluation(void **state) {
    Graph *g = train(&(NetOptions){.layers = 2, .dropout = 0.1}, &plain, *state);
    Graph *e = graph_forward_only(g, *state);
    assert_null(graph_check(e, *state));
    assert_int_equal(count_op(e, OP_DROPOUT), 0);
    assert_reads(e, "h.1.mid", "h.0.out h.1.proj");
    assert_int_equal(e->param.count, g->param.count);
    for (uint32_t p = 0; p < e->param.count; p++) {
        assert_int_equal(e->param.at[p].value, p);
        assert_string_equal(name_of(e, p), name_of(g, g->param.at[p].value));
        assert_int_equal(e->param.at[p].moment1, NONE);
    }
    for (NodeId n = 0; n < e->node.count; n++) assert_int_equal(e->node.at[n].phase, PHASE_FORWARD);
    assert_string_equal(name_of(e, e->logits), "head");
    assert_string_equal(name_of(e, e->loss_sum), "loss_sum");
    assert_int_equal(e->norm_sum, NONE);
    assert_int_equal(e->node.count, small_net(&(NetOptions){.layers = 2}, *state)->node.count);

    Graph *f = fused(graph_forward_only(g, *state), *state);
    assert_null(graph_check(f, *state));
    assert_int_equal(count_op(f, OP_BIAS_GELU), 2);
}

static void forward_only_leaves_out_the_unused(void **state) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        arena_reset(*state);
        Graph *e = graph_forward_only(random_training_graph(seed, *state), *state);
        const char *wrong = graph_check(e, *state);
        if (wrong) fail_msg("seed %llu: %s", (unsigned long long)seed, wrong);
        bool *used = NEW_ARRAY(*state, bool, e->value.count);
        for (NodeId n = e->node.count; n-- > 0;) {
            const Node *node = &e->node.at[n];
            bool needed = node->op == OP_CROSS_ENTROPY;
            for (uint32_t i = 0; i < node->nout; i++)
                needed |= used[node->out[i]] || node->out[i] == e->logits;
            assert_true(needed);
            for (uint32_t i = 0; i < node->nin; i++) used[node->in[i]] = true;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(forward_part_is_kept),
        IN_ARENA(backward_of_a_layer),
        IN_ARENA(rules_of_the_other_ops),
        IN_ARENA(tied_weights_share_a_sum),
        IN_ARENA(accumulation_is_persistent),
        IN_ARENA(frozen_weights_get_nothing),
        IN_ARENA(casts_are_transparent),
        IN_ARENA(bf16_weights_have_masters),
        IN_ARENA(update_follows_the_rule),
        IN_ARENA(forward_only_is_for_evaluation),
        IN_ARENA(forward_only_leaves_out_the_unused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
