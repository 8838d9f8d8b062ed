/* Room for padded rows: which values of a transformer have it, that training, evaluation and the text of a
 * graph agree on it, and that graph_check knows what is wrong. */
#include "planner/plan.h"
#include "tests/support/small_net.h"
#include "tests/support/transformer.h"
#include "ir/check.h"
#include "ir/passes/passes.h"
#include "ir/text.h"
#include "tests/support/both_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { B = 2, T = 24, D = 32 };

static Transformer shape_of(int64_t vocabulary, int64_t hidden, DType stored, DType compute) {
    return (Transformer){.layers = 1,
                         .width = D,
                         .heads = 2,
                         .kv_heads = 2,
                         .hidden = hidden,
                         .vocabulary = vocabulary,
                         .batch = B,
                         .context = T,
                         .accumulate = 1,
                         .clip_norm = 1,
                         .stored = stored,
                         .compute = compute};
}

static Graph *padded(const Transformer *shape, Arena *arena) {
    Graph *g = pad_rows(transformer_graph(shape, arena), arena);
    const char *wrong = graph_check(g, arena);
    if (wrong) fail_msg("%s", wrong);
    return g;
}

static int64_t room_of(const Graph *g, const char *name) {
    ValueId v = value_named(g, name);
    if (v == NONE) fail_msg("no value '%s'", name);
    return g->value.at[v].room;
}

static uint32_t with_room(const Graph *g) {
    uint32_t count = 0;
    for (ValueId v = 0; v < g->value.count; v++) count += g->value.at[v].room != 0;
    return count;
}

static void the_head_is_padded(void **state) {
    for (int stored = DT_F32; stored <= DT_BF16; stored++)
        for (int compute = DT_F32; compute <= DT_BF16; compute++) {
            Transformer shape = shape_of(517, 64, (DType)stored, (DType)compute);
            Graph *g = padded(&shape, *state);
            assert_int_equal(room_of(g, "head"), B * T * 576);
            assert_int_equal(room_of(g, "loss.bwd"), B * T * 576);
            assert_int_equal(room_of(g, "head.bwd_w"), 576 * D);
            const Node *head = &g->node.at[node_named(g, "head")];
            assert_int_equal(g->value.at[head->in[1]].room, 576 * D); /* the weight, or what it is cast to */
            assert_int_equal(room_of(g, "wte"), 0);
            assert_int_equal(room_of(g, "ln_f"), 0);
            assert_int_equal(value_bytes(&g->value.at[g->logits]), B * T * 576 * dtype_bytes[compute]);
        }
}

/* Rows that begin at multiples of 16 bytes, or are narrow. */
static void others_are_not(void **state) {
    static const int64_t fast[] = {64, 511, 512, 520, 576, 1000};
    for (size_t i = 0; i < COUNT_OF(fast); i++) {
        Transformer shape = shape_of(fast[i], 64, DT_BF16, DT_BF16);
        assert_int_equal(with_room(padded(&shape, *state)), 0);
    }
    Transformer four = shape_of(516, 64, DT_F32, DT_F32), eight = shape_of(516, 64, DT_BF16, DT_BF16);
    assert_int_equal(with_room(padded(&four, *state)), 0);
    assert_true(with_room(padded(&eight, *state)) > 0);
}

/* gelu reads what a wide odd layer makes: its result stays as it is. */
static void readers_must_take_it(void **state) {
    Transformer shape = shape_of(64, 517, DT_BF16, DT_BF16);
    Graph *g = padded(&shape, *state);
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        bool layer = node->op == OP_LINEAR || node->op == OP_GELU || node->op == OP_GELU_BWD;
        if (layer) assert_int_equal(g->value.at[node->out[0]].room, 0);
    }
}

static void evaluation_agrees(void **state) {
    Transformer shape = shape_of(517, 64, DT_BF16, DT_BF16);
    Graph *g = padded(&shape, *state),
          *f = pad_rows(graph_forward_only(transformer_graph(&shape, *state), *state), *state);
    assert_null(graph_check(f, *state));
    assert_int_equal(room_of(f, "head"), B * T * 576);
    for (uint32_t p = 0; p < g->param.count; p++)
        assert_int_equal(f->value.at[f->param.at[p].value].room, g->value.at[g->param.at[p].value].room);
}

static void plans_count_it(void **state) {
    Transformer shape = shape_of(4001, 64, DT_BF16, DT_BF16);
    const Device *device = device_find("h100");
    for (int policy = 0; policy < POLICY_COUNT; policy++) {
        Graph *g = padded(&shape, *state);
        Cost *cost = cost_graph(g, device, *state);
        PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = (Policy)policy};
        PlanResult *result = plan_graph(&request, *state);
        assert_null(plan_check(g, &result->plan, *state));
        assert_null(both_checks(g, cost, &result->plan, result->layout, NULL, *state));
        ValueId logits = g->logits;
        uint32_t found = 0;
        for (uint32_t b = 0; b < result->layout->buf.count; b++) {
            const Buf *buf = &result->layout->buf.at[b];
            if (buf->value != logits) continue;
            assert_int_equal(buf->bytes, B * T * 4032 * 2);
            found++;
        }
        assert_int_equal(found, 1); /* the gradient takes it over */
    }
}

static void text_keeps_it(void **state) {
    Transformer shape = shape_of(517, 64, DT_BF16, DT_BF16);
    Graph *g = padded(&shape, *state);
    Text text = {.arena = *state};
    const char *error = NULL;
    graph_print(g, &text);
    const Graph *back = graph_read(text.at, *state, &error);
    if (!back) fail_msg("%s", error);
    assert_int_equal(back->value.count, g->value.count);
    for (ValueId v = 0; v < g->value.count; v++)
        assert_int_equal(back->value.at[v].room, g->value.at[v].room);
}

/* Every room taken away, made smaller or given to a value without one. */
static void the_checker_knows(void **state) {
    Transformer shape = shape_of(517, 64, DT_BF16, DT_BF16);
    Graph *g = padded(&shape, *state);
    for (ValueId v = 0; v < g->value.count; v++) {
        int64_t *room = &g->value.at[v].room, right = *room;
        if (!right) continue;
        const char *name = g->value.at[v].name; /* without room for logits a product is slow, not wrong */
        bool needed = strcmp(name, "head") && strcmp(name, "loss.bwd");
        *room = 0;
        assert_true((graph_check(g, *state) != NULL) == needed);
        *room = right - D;
        assert_non_null(graph_check(g, *state));
        *room = 1;
        assert_non_null(graph_check(g, *state));
        *room = -1;
        assert_non_null(graph_check(g, *state));
        *room = right;
        assert_null(graph_check(g, *state));
    }
    const Node *fc = &g->node.at[node_named(g, "h.0.fc")]; /* of 64, which gelu reads */
    Value *result = &g->value.at[fc->out[0]], *weight = &g->value.at[fc->in[1]];
    result->room = type_elements(&result->type) / 64 * 128;
    weight->room = 128 * D;
    assert_non_null(strstr(graph_check(g, *state), "whose rows lie apart"));
}

static int enter(void **state) {
    *state = arena_new();
    return 0;
}
static int leave(void **state) {
    arena_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_is_padded),   cmocka_unit_test(others_are_not),
        cmocka_unit_test(readers_must_take_it), cmocka_unit_test(evaluation_agrees),
        cmocka_unit_test(plans_count_it),       cmocka_unit_test(text_keeps_it),
        cmocka_unit_test(the_checker_knows),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
