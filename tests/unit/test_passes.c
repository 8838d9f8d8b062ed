/* Passes that rewrite a training graph: what fusion, the order of updates and tiles make of nets small enough
 * to count. */
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

/* ---- adapters ---- */

/* Gate and up of each block stand for first products of adapters. */
static Graph *adapted(Graph *g) {
    for (uint32_t p = 0; p < g->param.count; p++) {
        const char *name = g->value.at[g->param.at[p].value].name;
        g->param.at[p].adapter = strstr(name, ".gate.w") || strstr(name, ".up.w");
    }
    return g;
}

static Graph *grouped(const Graph *forward, Arena *arena) {
    return checked(group_adapters(forward, arena), arena);
}

/* What reads one value is one product, with one for both gradients, and one for that of the value; weights
 * keep gradients, accumulators and states of their own. */
static void adapters_share_a_product(void **state) {
    assert_int_equal(op_info[OP_LINEAR_BWD_W].max_out, MOST_ROWS);
    assert_int_equal(K_CUDA_MOST_PARTS, MOST_ROWS);
    const NetOptions options = {.layers = 2, .gated = true, .compute = DT_BF16};
    Graph *forward = adapted(small_net(&options, *state)), *g = grouped(forward, *state);
    assert_int_equal(count_op(g, OP_LINEAR), count_op(forward, OP_LINEAR) - 2);
    assert_int_equal(count_op(g, OP_CAST), count_op(forward, OP_CAST) - 2);
    assert_int_equal(g->param.count, forward->param.count);
    const NodeId silu = node_named(g, "h.1.silu"), split = g->value.at[g->node.at[silu].in[0]].def;
    assert_int_equal(g->node.at[split].op, OP_SPLIT);
    assert_string_equal(name_of(g, g->node.at[split].out[0]), "h.1.gate");
    assert_string_equal(name_of(g, g->node.at[split].out[1]), "h.1.up");
    const Node *product = &g->node.at[g->value.at[g->node.at[split].in[0]].def];
    assert_string_equal(name_of(g, product->in[0]), "h.1.ln_2");
    const Node *rows = &g->node.at[g->value.at[product->in[1]].def];
    assert_reads(g, rows->name, "h.1.gate.w h.1.up.w");

    const TrainRule adds = {.accumulate = 2, .gradient = DT_F32, .moment = DT_F32};
    for (int accumulates = 0; accumulates < 2; accumulates++) {
        Graph *back = checked(autodiff(g, accumulates ? &adds : &plain, *state), *state);
        const char *name = arena_printf(*state, "%s.bwd_w", product->name);
        const char *reads = arena_printf(*state, "%s.bwd h.1.ln_2", g->node.at[split].name);
        if (accumulates) reads = arena_printf(*state, "%s grad.h.1.gate.w grad.h.1.up.w", reads);
        assert_reads(back, name, reads);
        assert_int_equal(node_at(back, name)->nout, 2);
        assert_int_equal(node_at(back, name)->attr.acc, accumulates ? 2 : 0);
        assert_int_equal(count_op(back, OP_LINEAR_BWD_X), count_op(back, OP_LINEAR));
        assert_int_equal(count_updated(back, OP_ADAMW), back->param.count);
        back = fused(back, *state);
        assert_int_equal(count_updated(back, OP_ADAMW), back->param.count);
    }
}

/* In tiles, too: each has its product, all read the weights' rows once made, and add up their gradients. */
static void adapters_share_in_tiles(void **state) {
    const NetOptions options = {.layers = 2, .gated = true, .compute = DT_BF16};
    Graph *forward = adapted(tile_tokens(small_net(&options, *state), &(TileRule){1, 2}, *state));
    Graph *g = grouped(forward, *state);
    assert_int_equal(count_op(forward, OP_SLICE_ROWS), 2 * 2);
    assert_int_equal(count_op(g, OP_LINEAR), count_op(forward, OP_LINEAR) - 2 * 2);
    assert_int_equal(count_op(g, OP_CAST), count_op(forward, OP_CAST) - 2);
    Graph *back = checked(autodiff(g, &plain, *state), *state);
    uint32_t begins = 0, adds = 0;
    for (NodeId n = 0; n < back->node.count; n++) {
        const Node *node = &back->node.at[n];
        if (node->op != OP_LINEAR_BWD_W || node->nout == 1) continue;
        begins += node->nin == 2;
        adds += node->nin == 4 && node->attr.acc == 1;
    }
    assert_int_equal(begins, 2);
    assert_int_equal(adds, 2);
    checked(fused(back, *state), *state);
}

/* What reads one weight twice stays apart. One factor stands before the parts, two stay behind them. */
static void adapters_apart(void **state) {
    const NetOptions options = {.layers = 2, .gated = true};
    Graph *forward = adapted(small_net(&options, *state));
    node_at(forward, "h.1.up")->in[1] = node_at(forward, "h.1.gate")->in[1];
    Graph *g = grouped(forward, *state);
    assert_int_equal(count_op(g, OP_LINEAR), count_op(forward, OP_LINEAR) - 1);

    for (int alike = 0; alike < 2; alike++) {
        forward = adapted(small_net(&options, *state));
        for (NodeId n = 0; n < forward->node.count; n++) {
            Node *node = &forward->node.at[n];
            const bool gate = !strcmp(node->name, "h.1.silu"), up = !strcmp(node->name, "h.1.mul");
            if (gate) node->op = OP_SCALE, node->attr.factor = 2;
            if (up)
                node->op = OP_SCALE, node->attr.factor = alike ? 2 : 4, node->in[0] = node->in[1],
                node->nin = 1;
        }
        g = grouped(forward, *state);
        assert_int_equal(count_op(g, OP_SCALE), alike ? 1 : 2);
        assert_int_equal(count_op(g, OP_LINEAR), count_op(forward, OP_LINEAR) - 2);
    }
}

/* ---- fusion ---- */

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
    const NetOptions options = {.layers = 2, .gated = true, .compute = DT_BF16}, biased = {.layers = 2};
    Graph *g = fused(autodiff(down_adapts(small_net(&options, *state)), &plain, *state), *state);
    assert_int_equal(count_op(g, OP_ADD), 0);
    assert_int_equal(count_adding(g, OP_LINEAR), 2);
    assert_makes(g, "h.1.down", "h.1.out");
    g = fused(autodiff(down_adapts(small_net(&biased, *state)), &plain, *state), *state);
    assert_int_equal(node_at(g, "h.1.down")->nin, 4);
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

/* ---- order ---- */

static Graph *ordered(const Graph *g, Arena *arena) {
    return checked(order_updates(g, arena), arena);
}

static const char *text_of(const Graph *g, Arena *arena) {
    Text text = {.arena = arena};
    graph_print(g, &text);
    return text.at;
}

/* The names of `count` nodes from `first` on. */
static void assert_nodes(const Graph *g, const char *first, const char *names) {
    Text text = {.arena = g->arena};
    for (NodeId n = node_named(g, first); text.length < strlen(names) && n < g->node.count; n++)
        text_add(&text, "%s%s", text.length ? " " : "", g->node.at[n].name);
    assert_string_equal(text.at, names);
}

static void updates_follow_their_gradients(void **state) {
    const NetOptions options = {.layers = 2, .gated = true};
    Graph *g = ordered(fused(train(&options, &plain, *state), *state), *state);
    assert_nodes(g, "head.bwd_w", "head.bwd_w head.w.square_norm head.bwd_x head.w.adamw");
    assert_nodes(g, "h.1.down.bwd_w",
                 "h.1.down.bwd_w h.1.down.w.square_norm h.1.down.bwd_x h.1.down.w.adamw");
    assert_int_equal(g->node.at[g->node.count - 1].op, OP_ADAMW);
    assert_string_equal(g->node.at[g->node.count - 1].name, "wte.adamw");
    /* the sum of squares is added up in the order of before */
    Graph *late = fused(train(&options, &plain, *state), *state);
    NodeId at = 0;
    for (NodeId n = 0; n < late->node.count; n++) {
        if (late->node.at[n].op != OP_SQUARE_NORM) continue;
        while (g->node.at[at].op != OP_SQUARE_NORM) at++;
        assert_string_equal(g->node.at[at++].name, late->node.at[n].name);
    }
}

/* The table's last reader is the embedding's gradient, though the head's is there long before. */
static void tied_weights_wait_for_all(void **state) {
    Graph *g = ordered(train(&(NetOptions){.layers = 1, .tied = true}, &plain, *state), *state);
    assert_true(node_named(g, "wte.square_norm") > node_named(g, "embed.bwd_w"));
    assert_true(node_named(g, "ln_f.g.adamw") < node_named(g, "h.0.qkv.bwd_w"));
}

/* A weight that is read through a cast is updated after the cast's last reader: until then the planner may
 * make the cast again. */
static void casts_may_be_made_again(void **state) {
    const NetOptions options = {.layers = 1, .stored = DT_F32, .compute = DT_BF16};
    Graph *g = ordered(train(&options, &plain, *state), *state);
    uint32_t casts = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->op != OP_CAST || g->value.at[node->in[0]].kind != VALUE_PARAM) continue;
        const char *weight = name_of(g, node->in[0]);
        NodeId update = node_named(g, arena_printf(*state, "%s.adamw", weight));
        for (NodeId m = 0; m < g->node.count; m++)
            for (uint32_t i = 0; i < g->node.at[m].nin; i++)
                if (g->node.at[m].in[i] == node->out[0]) assert_true(m < update);
        casts++;
    }
    assert_true(casts > 3);
}

static void updates_wait_for_the_norm(void **state) {
    TrainRule clips = plain, accumulates = plain;
    clips.clip_norm = 1;
    accumulates.accumulate = 2;
    const TrainRule *const rules[] = {&clips, &accumulates};
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        Graph *g = fused(train(&(NetOptions){.layers = 2}, rules[i], *state), *state);
        assert_string_equal(text_of(ordered(g, *state), *state), text_of(g, *state));
    }
}

static void ordering_twice_changes_nothing(void **state) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        arena_reset(*state);
        Graph *g = ordered(random_training_graph(seed, *state), *state);
        assert_string_equal(text_of(ordered(g, *state), *state), text_of(g, *state));
    }
}

/* ---- tiles ---- */

/* What a layer of that activation becomes in tiles, its name left out. */
static const char *tiled(const char *activation, Arena *arena) {
    const TileRule rule = {.loss_chunks = 2, .mlp_tiles = 2};
    Graph *whole = small_net(&(NetOptions){.layers = 1, .activation = activation}, arena);
    Graph *g = tile_tokens(whole, &rule, arena);
    const char *wrong = graph_check(g, arena);
    if (wrong) fail_msg("%s: %s", activation, wrong);
    assert_int_equal(count_op(g, op_find(activation)), 2);
    Text text = {.arena = arena};
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        bool is_it = node->op == op_find(activation);
        text_add(&text, "%s of %s\n", is_it ? "activation" : op_info[node->op].name,
                 type_text(arena, &g->value.at[node->in[0]].type));
    }
    return text.at;
}

/* Whatever a file calls with one value and nothing else is cut along with the linear layers around it. */
static void activations_are_cut_alike(void **state) {
    Op found[OP_COUNT];
    uint32_t count = activations(found);
    assert_true(count >= 2);
    for (uint32_t i = 0; i < count; i++)
        assert_string_equal(tiled(op_info[found[i]].name, *state), tiled("gelu", *state));
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
        IN_ARENA(adapters_share_a_product),
        IN_ARENA(adapters_share_in_tiles),
        IN_ARENA(adapters_apart),
        IN_ARENA(a_block_casts_small_weights_at_once),
        IN_ARENA(the_update_is_few_nodes),
        IN_ARENA(sums_are_made_beside),
        IN_ARENA(loss_and_gradient_are_one),
        IN_ARENA(attention_reads_packed_heads),
        IN_ARENA(updates_follow_their_gradients),
        IN_ARENA(tied_weights_wait_for_all),
        IN_ARENA(casts_may_be_made_again),
        IN_ARENA(updates_wait_for_the_norm),
        IN_ARENA(ordering_twice_changes_nothing),
        IN_ARENA(activations_are_cut_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
