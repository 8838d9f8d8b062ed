/* Fusion: what becomes one node, what it reads, and what stays apart, in nets small enough to count. */
#include "tests/support/in_arena.h"
#include "tests/support/activations.h"
#include "tests/support/net_nodes.h"
#include "tests/support/random_graph.h"
#include "ir/check.h"
#include "ir/ops.h"
#include "ir/text.h"
#include "kernels/cuda_sizes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Products that are added to something. */
static uint32_t count_adding(const Graph *g, Op op) {
    uint32_t count = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        count += node->op == op && node->nin > 2 && node_may_share(g, node, node->nin - 1);
    }
    return count;
}

static void fusions_are_counted(void **state) {
    Graph *g = fused(train(&(NetOptions){.layers = 3, .gated = true}, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_SWIGLU), 3);
    assert_int_equal(count_op(g, OP_SWIGLU_BWD), 3);
    assert_int_equal(count_op(g, OP_SILU) + count_op(g, OP_SILU_BWD) + count_op(g, OP_MUL), 0);
    assert_int_equal(count_op(g, OP_ADD_LAYERNORM), 3); /* ln_2; never over the border of a block */
    assert_int_equal(count_op(g, OP_LAYERNORM), 3 + 1);
    assert_int_equal(count_op(g, OP_ADD), 3); /* block outputs */
    assert_int_equal(count_adding(g, OP_LINEAR), 0);
    assert_int_equal(count_op(g, OP_LAYERNORM_BWD_SUMS), 7);
    assert_int_equal(count_op(g, OP_LAYERNORM_BWD_X) + count_op(g, OP_LAYERNORM_BWD_G), 0);

    g = fused(train(&(NetOptions){.layers = 3}, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_BIAS_GELU), 3);
    assert_int_equal(count_op(g, OP_BIAS_GELU_BWD_SUMS), 3);
    assert_int_equal(count_op(g, OP_BIAS_GELU_BWD), 0);
    assert_int_equal(count_op(g, OP_GELU) + count_op(g, OP_GELU_BWD), 0);
    assert_int_equal(count_op(g, OP_ADD), 3);
}

/* The last layer of each block stands for an adapter's second one. */
static Graph *down_adapts(Graph *g) {
    for (uint32_t p = 0; p < g->param.count; p++)
        g->param.at[p].adapter = strstr(g->value.at[g->param.at[p].value].name, ".down.w") != NULL;
    return g;
}

static void adapters_are_added_by_their_products(void **state) {
    const NetOptions options = {.layers = 2, .gated = true, .compute = DT_BF16};
    Graph *g = fused(autodiff(down_adapts(small_net(&options, *state)), &plain, *state), *state);
    assert_int_equal(count_op(g, OP_ADD), 0);
    assert_int_equal(count_adding(g, OP_LINEAR), 2);
    assert_makes(g, "h.1.down", "h.1.out");
}

/* An adapter adds to its base's result, scaled by what its product is scaled by then; a bias leaves no room
 * for that, and two additions of one product are none. */
static void products_are_added_scaled(void **state) {
    for (int variant = 0; variant < 4; variant++) {
        Graph *forward = down_adapts(small_net(&(NetOptions){.layers = 1, .gated = variant != 1}, *state));
        Node *add = &forward->node.at[node_named(forward, "h.0.out")];
        add->op = OP_ADD_SCALED;
        add->attr.factor = 0.3;
        if (variant == 2) { /* what is beside it is scaled */
            const ValueId first = add->in[0];
            add->in[0] = add->in[1];
            add->in[1] = first;
        }
        if (variant == 3) forward->node.at[node_named(forward, "h.0.down")].attr.factor = 2;
        const Graph *g = fuse(forward, NULL, *state);
        const Node *down = node_at(g, "h.0.down");
        assert_int_equal(count_adding(g, OP_LINEAR), variant == 0);
        assert_true(down->attr.factor == (variant == 0 ? 0.3 : variant == 3 ? 2 : 0));
    }
}

static void fused_nodes_read_the_right_values(void **state) {
    Graph *g = fused(train(&(NetOptions){.layers = 2, .gated = true}, &plain, *state), *state);
    assert_reads(g, "h.1.mul", "h.1.gate h.1.up");
    assert_reads(g, "h.1.mul.bwd", "h.1.down.bwd_x h.1.gate h.1.up");
    assert_reads(g, "h.1.gate.bwd_w", "h.1.silu.bwd h.1.ln_2");
    assert_reads(g, "h.1.up.bwd_w", "h.1.mul.bwd_b h.1.ln_2");
    const Node *back = node_at(g, "h.1.mul.bwd");
    assert_string_equal(name_of(g, back->out[0]), "h.1.silu.bwd");
    assert_string_equal(name_of(g, back->out[1]), "h.1.mul.bwd_b");
    assert_reads(g, "h.1.ln_2", "h.0.out h.1.proj h.1.ln_2.g h.1.ln_2.b");
    const Node *norm = node_at(g, "h.1.ln_2");
    assert_int_equal(norm->block, 1);
    assert_string_equal(name_of(g, norm->out[0]), "h.1.mid");
    assert_string_equal(name_of(g, norm->out[1]), "h.1.ln_2");
    assert_reads(g, "h.1.out", "h.1.mid h.1.down");
    assert_reads(g, "h.1.ln_2.bwd_x", "h.1.ln_2.bwd_sum h.1.mid h.1.ln_2.g h.1.ln_2.1 h.1.ln_2.2 ln_f.bwd_x");
    assert_reads(g, "h.0.ln_2.bwd_x",
                 "h.0.ln_2.bwd_sum h.0.mid h.0.ln_2.g h.0.ln_2.1 h.0.ln_2.2 h.0.out.bwd_sum");

    g = fused(train(&(NetOptions){.layers = 1}, &plain, *state), *state);
    assert_reads(g, "h.0.fc", "h.0.ln_2 h.0.fc.w");
    assert_reads(g, "h.0.gelu", "h.0.fc h.0.fc.b");
    assert_reads(g, "h.0.gelu.bwd", "h.0.down.bwd_x h.0.fc h.0.fc.b");
    assert_makes(g, "h.0.gelu.bwd", "h.0.gelu.bwd h.0.fc.bwd_b");
}

static bool adds(const Graph *g, const char *product) {
    return node_at(g, product)->nin > (uint32_t)op_info[node_at(g, product)->op].min_in;
}

/* Of several gradients of one value, all but the first are added by the products that make them. */
static void products_add_up_gradients(void **state) {
    const NetOptions gated = {.layers = 2, .gated = true};
    Graph *g = fused(train(&gated, &plain, *state), *state);
    assert_reads(g, "h.1.up.bwd_x", "h.1.mul.bwd_b h.1.up.w");
    assert_reads(g, "h.1.gate.bwd_x", "h.1.silu.bwd h.1.gate.w h.1.up.bwd_x");
    assert_makes(g, "h.1.gate.bwd_x", "h.1.ln_2.bwd_sum");
    assert_int_equal(node_at(g, "h.1.gate.bwd_x")->block, 1);
    assert_true(adds(g, "h.1.ln_2.bwd_x")); /* a norm adds what it has not made anyway */

    Graph *forward = tile_tokens(small_net(&gated, *state), &(TileRule){1, 2}, *state);
    g = fused(checked(autodiff(forward, &plain, *state), *state), *state);
    uint32_t products = 0;
    for (NodeId n = 0; n < g->node.count; n++)
        products += g->node.at[n].op == OP_LINEAR_BWD_X && g->node.at[n].nin == 3;
    assert_int_equal(products, 2 * 2); /* in each tile */

    /* of one value: three layers, and between the first of them and the others an addition */
    forward = small_net(&gated, *state);
    const char *const layer[] = {"h.1.qkv", "h.1.gate", "h.1.up"};
    for (int i = 0; i < 3; i++) node_at(forward, layer[i])->in[0] = value_named(forward, "h.0.out");
    g = fused(checked(autodiff(forward, &plain, *state), *state), *state);
    assert_false(adds(g, "h.1.up.bwd_x"));
    assert_reads(g, "h.1.gate.bwd_x", "h.1.silu.bwd h.1.gate.w h.1.up.bwd_x");
    assert_reads(g, "h.0.out.bwd_sum_2", "h.0.out.bwd_sum ln_f.bwd_x");
    assert_reads(g, "h.1.qkv.bwd_x", "h.1.split.bwd h.1.qkv.w h.0.out.bwd_sum_2");
}

/* What somebody else reads too, or what stands further away, is added by a node of its own; so is what comes
 * from another block. */
static void products_stay_apart(void **state) {
    for (int variant = 0; variant < 4; variant++) {
        Graph *g = train(&(NetOptions){.layers = 2, .gated = true}, &plain, *state);
        Node *add = NULL;
        const ValueId d = node_at(g, "h.1.gate.bwd_x")->out[0];
        for (NodeId n = 0; n < g->node.count; n++)
            if (g->node.at[n].op == OP_ADD && g->node.at[n].in[1] == d) add = &g->node.at[n];
        assert_non_null(add);
        if (variant == 1) node_at(g, "h.0.mul.bwd_b")->in[0] = d;
        if (variant == 2) add->block = 0;
        if (variant == 3) add->in[0] = d;
        g = fuse(g, NULL, *state);
        assert_int_equal(adds(g, "h.1.gate.bwd_x"), variant == 0);
    }
}

/* The loss is taken with its gradient, chunk by chunk too; not where somebody asks for it in between. */
static void loss_and_gradient_are_one(void **state) {
    Graph *g = fused(train(&(NetOptions){.layers = 1}, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_CROSS_ENTROPY) + count_op(g, OP_CROSS_ENTROPY_BWD), 0);
    assert_reads(g, "loss.bwd", "head targets loss_sum");
    assert_int_equal(node_at(g, "loss.bwd")->nmut, 1);
    assert_int_equal(node_at(g, "loss.bwd")->phase, PHASE_BACKWARD);

    Graph *forward = small_net(&(NetOptions){.layers = 1}, *state);
    g = fused(autodiff(tile_tokens(forward, &(TileRule){2, 1}, *state), &plain, *state), *state);
    assert_int_equal(count_op(g, OP_CROSS_ENTROPY_BOTH), 2);
    g = fused(graph_forward_only(forward, *state), *state);
    assert_int_equal(count_op(g, OP_CROSS_ENTROPY), 1);
}

/* Queries, keys and values of one layer are not taken apart, but where somebody else reads one of them. */
static void attention_reads_packed_heads(void **state) {
    Graph *g = fused(train(&(NetOptions){.layers = 2}, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_SPLIT) + count_op(g, OP_CONCAT) + count_op(g, OP_ATTEND), 0);
    assert_reads(g, "h.1.attend", "h.1.qkv");
    assert_reads(g, "h.1.attend.bwd", "h.1.flat.bwd h.1.qkv h.1.attend h.1.attend.1");
    assert_makes(g, "h.1.attend.bwd", "h.1.split.bwd");
    assert_reads(g, "h.1.qkv.bwd_x", "h.1.split.bwd h.1.qkv.w");

    g = fused(graph_forward_only(small_net(&(NetOptions){.layers = 1}, *state), *state), *state);
    assert_int_equal(count_op(g, OP_ATTEND_PACKED), 1);

    Graph *forward = small_net(&(NetOptions){.layers = 1}, *state);
    const Node *attend = node_at(forward, "h.0.attend");
    attend->in[2] = attend->in[1]; /* values are the keys */
    g = fused(autodiff(forward, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_ATTEND), 1);
}

/* Sums over rows join the node whose rows they are: of its own block, and of weights that are trained. */
static void sums_are_made_beside(void **state) {
    Graph *g = fused(train(&(NetOptions){.layers = 2}, &plain, *state), *state);
    assert_makes(g, "h.1.ln_2.bwd_x", "h.1.mid.bwd_sum h.1.ln_2.bwd_g h.1.ln_2.bwd_b h.1.proj.bwd_b");
    assert_int_equal(node_at(g, "h.1.ln_2.bwd_x")->attr.residual, 1);
    assert_int_equal(node_at(g, "h.1.ln_2.bwd_x")->nmut, 0);
    assert_makes(g, "ln_f.bwd_x", "ln_f.bwd_x ln_f.bwd_g ln_f.bwd_b");
    assert_int_equal(node_at(g, "ln_f.bwd_x")->attr.residual, 0);
    assert_reads(g, "h.1.down.bwd_b", "ln_f.bwd_x"); /* another block's */

    const NetOptions gated = {.layers = 1, .gated = true, .gated_bias = true};
    g = fused(train(&gated, &plain, *state), *state);
    assert_makes(g, "h.0.mul.bwd", "h.0.silu.bwd h.0.mul.bwd_b h.0.gate.bwd_b h.0.up.bwd_b");
    assert_int_equal(node_at(g, "h.0.mul.bwd")->op, OP_SWIGLU_BWD_SUMS);

    TrainRule rule = plain;
    rule.accumulate = 2;
    g = fused(train(&gated, &rule, *state), *state);
    const Node *swiglu = node_at(g, "h.0.mul.bwd");
    assert_int_equal(swiglu->nmut, 2);
    assert_int_equal(swiglu->attr.acc, 2);
    assert_string_equal(name_of(g, swiglu->in[4]), "grad.h.0.up.b");
    g = fused(train(&(NetOptions){.layers = 1}, &rule, *state), *state);
    const Node *norm = node_at(g, "h.0.ln_2.bwd_x");
    assert_int_equal(norm->nmut, 3);
    assert_int_equal(norm->attr.acc, 2);
    assert_string_equal(name_of(g, norm->in[norm->nin - 1]), "grad.h.0.proj.b");
}

/* Each block of a fused graph is entered through one activation of its own layer's size. */
static void blocks_have_one_input(void **state) {
    for (int gated = 0; gated < 2; gated++) {
        Graph *g = fused(train(&(NetOptions){.layers = 4, .gated = gated}, &plain, *state), *state);
        for (uint32_t block = 0; block < 4; block++) {
            ValueId entry = NONE;
            for (NodeId n = 0; n < g->node.count; n++) {
                const Node *node = &g->node.at[n];
                if (node->phase != PHASE_FORWARD || node->block != block) continue;
                for (uint32_t i = 0; i < node->nin; i++) {
                    NodeId def = g->value.at[node->in[i]].def;
                    if (def == NONE || g->node.at[def].block == block) continue;
                    assert_true(entry == NONE || entry == node->in[i]);
                    entry = node->in[i];
                }
            }
            assert_int_not_equal(entry, NONE);
        }
    }
}

/* What would change a value that others read is left as it is. */
static void nothing_is_fused_that_others_read(void **state) {
    Graph *before = small_net(&(NetOptions){.layers = 1, .gated = true}, *state);
    Node *down = &before->node.at[node_named(before, "h.0.down")];
    down->in[0] = value_named(before, "h.0.silu"); /* reads silu's output too; mul is now unused */
    Graph *g = fused(autodiff(before, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_SWIGLU), 0);
    assert_int_equal(count_op(g, OP_SILU), 1);

    before = small_net(&(NetOptions){.layers = 1}, *state);
    before->node.at[node_named(before, "h.0.down")].in[0] = value_named(before, "h.0.fc");
    g = fused(autodiff(before, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_BIAS_GELU), 0);
    assert_int_equal(node_at(g, "h.0.fc")->nin, 3);
}

static void fusing_twice_changes_nothing(void **state) {
    for (uint64_t seed = 0; seed < 100; seed++) {
        arena_reset(*state);
        TrainRule rule = random_rule(seed);
        Graph *g = autodiff(random_graph(seed, *state), &rule, *state);
        Text before = {.arena = *state}, once = before, twice = before, after = before;
        graph_print(g, &before);
        Graph *f = fused(g, *state);
        graph_print(g, &after);
        assert_string_equal(before.at, after.at);
        graph_print(f, &once);
        graph_print(fuse(f, NULL, *state), &twice);
        assert_string_equal(once.at, twice.at);
    }
}

static bool takes(const void *all, const Graph *g, const Node *product, const Node *dequantize,
                  uint32_t sharing) {
    uint32_t same_phase = 0;
    for (NodeId n = 0; n < g->node.count; n++)
        same_phase += g->node.at[n].phase == product->phase && g->node.at[n].nin > 1 &&
                      g->node.at[n].in[1] == dequantize->out[0];
    assert_int_equal(sharing, same_phase);
    assert_int_equal(product->in[1], dequantize->out[0]);
    return *(const bool *)all || product->op == OP_LINEAR_BWD_X;
}

static uint32_t packed_products(const Graph *g, Op op) {
    uint32_t count = 0;
    for (NodeId n = 0; n < g->node.count; n++)
        count += g->node.at[n].op == op && !dtype_bytes[g->value.at[g->node.at[n].in[1]].type.dtype];
    return count;
}

/* Products take weights packed where the rule says so; what nobody reads any more is gone, and all else
 * stays. */
static void products_take_packed_weights(void **state) {
    uint32_t found = 0, kept = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        arena_reset(*state);
        TrainRule rule = random_rule(seed);
        Graph *g = autodiff(random_graph(seed, *state), &rule, *state), *apart = fused(g, *state);
        const uint32_t weights = count_op(apart, OP_DEQUANTIZE);
        for (int all = 0; all < 2; all++) {
            const bool every = all;
            Graph *packed = checked(fuse(g, &(PackedRule){takes, &every}, *state), *state);
            const uint32_t left = count_op(packed, OP_DEQUANTIZE),
                           forward = packed_products(packed, OP_LINEAR),
                           back = packed_products(packed, OP_LINEAR_BWD_X);
            assert_int_equal(packed->node.count, apart->node.count - (weights - left));
            assert_int_equal(left, all ? 0 : weights); /* every one is read forwards */
            assert_true(all ? forward >= weights : forward == 0);
            found += forward, kept += back;
        }
    }
    assert_true(found > 20 && kept > 20);
}

/* The only node of an operation. */
static const Node *only_node(const Graph *g, Op op) {
    assert_int_equal(count_op(g, op), 1);
    NodeId n = 0;
    while (g->node.at[n].op != op) n++;
    return &g->node.at[n];
}

/* One node each where gradients are clipped or add up over micro-steps; weights that decay stand first. */
static void the_update_is_few_nodes(void **state) {
    for (int variant = 0; variant < 4; variant++) {
        TrainRule rule = plain;
        rule.decay = 0.1;
        rule.clip_norm = variant == 0 || variant == 3 ? 1 : 0;
        rule.accumulate = variant == 1 ? 4 : 1;
        rule.moments_8bit = variant == 3;
        const Graph *apart = train(&(NetOptions){.layers = 2, .width = 64}, &rule, *state);
        Graph *g = fused(apart, *state);
        if (variant == 2) {
            assert_int_equal(count_op(g, OP_ADAMW), count_op(apart, OP_ADAMW));
            continue;
        }
        const uint32_t weights = count_op(apart, OP_SQUARE_NORM);
        assert_int_equal(op_tensors(only_node(g, OP_SQUARE_NORM)), weights);
        const Node *update = only_node(g, OP_ADAMW);
        uint32_t decays = 0, updated = op_tensors(update);
        if (variant == 3) updated += op_tensors(only_node(g, OP_ADAMW8BIT));
        assert_int_equal(updated, weights);
        for (uint32_t t = 0; t < op_tensors(update); t++) {
            const Value *weight = &g->value.at[update->in[update->nin - update->nmut + t * 3]];
            const bool decays_here = weight->type.rank > 1;
            assert_int_equal(decays_here, t < update->attr.decayed);
            decays += decays_here;
        }
        assert_true(variant == 3 || decays > 5);
        assert_true(decays == 0 || update->attr.decay == 0.1);
    }
}

/* What a block casts of small weights is one node, before the first that reads any; the head's, outside of
 * blocks, and large ones stay apart. */
static void a_block_casts_small_weights_at_once(void **state) {
    const NetOptions small = {.layers = 2, .stored = DT_F32, .compute = DT_BF16};
    NetOptions large = small;
    large.width = 512; /* fc and down have a million elements each */
    const Graph *apart = train(&small, &plain, *state);
    Graph *g = fused(apart, *state);
    uint32_t of_block = 0, outside = 0;
    for (NodeId n = 0; n < apart->node.count; n++) {
        of_block += apart->node.at[n].op == OP_CAST && apart->node.at[n].block == 1;
        outside += apart->node.at[n].op == OP_CAST && apart->node.at[n].block == NONE;
    }
    assert_true(of_block >= 3 && outside >= 1);
    assert_int_equal(count_op(g, OP_CAST), 2 + outside);
    const Node *casts = node_at(g, "h.1.casts");
    assert_int_equal(casts->nin, of_block);
    assert_int_equal(casts->nout, of_block);
    for (uint32_t i = 0; i < of_block; i++) {
        const Value *made = &g->value.at[casts->out[i]], *from = &g->value.at[casts->in[i]];
        assert_int_equal(made->type.dtype, DT_BF16);
        assert_string_equal(made->name, arena_printf(*state, "%s.cast", from->name));
        for (NodeId n = 0; n < node_named(g, "h.1.casts"); n++)
            for (uint32_t k = 0; k < g->node.at[n].nin; k++)
                assert_int_not_equal(g->node.at[n].in[k], casts->out[i]);
    }
    g = fused(train(&large, &plain, *state), *state);
    assert_int_equal(count_op(g, OP_CAST), outside + 2 * (1 + 2));
    assert_int_equal(node_at(g, "h.0.casts")->nin, of_block - 2);
    assert_int_equal(node_at(g, "h.0.fc.w.cast")->nin, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(fusions_are_counted),
        IN_ARENA(fused_nodes_read_the_right_values),
        IN_ARENA(blocks_have_one_input),
        IN_ARENA(nothing_is_fused_that_others_read),
        IN_ARENA(products_add_up_gradients),
        IN_ARENA(products_stay_apart),
        IN_ARENA(adapters_are_added_by_their_products),
        IN_ARENA(products_are_added_scaled),
        IN_ARENA(fusing_twice_changes_nothing),
        IN_ARENA(products_take_packed_weights),
        IN_ARENA(a_block_casts_small_weights_at_once),
        IN_ARENA(the_update_is_few_nodes),
        IN_ARENA(sums_are_made_beside),
        IN_ARENA(loss_and_gradient_are_one),
        IN_ARENA(attention_reads_packed_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
