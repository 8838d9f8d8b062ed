/* Passes that rewrite a graph: what grouped adapters, the order of updates and tiles make of nets small
 * enough to count. */
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
        IN_ARENA(adapters_share_a_product),
        IN_ARENA(adapters_share_in_tiles),
        IN_ARENA(adapters_apart),
        IN_ARENA(updates_follow_their_gradients),
        IN_ARENA(tied_weights_wait_for_all),
        IN_ARENA(casts_may_be_made_again),
        IN_ARENA(updates_wait_for_the_norm),
        IN_ARENA(ordering_twice_changes_nothing),
        IN_ARENA(activations_are_cut_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
