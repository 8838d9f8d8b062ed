/* Sampling a token at a time: the graph of one token that is made of a whole sequence's, what it refuses, and
 * that it has the logits of the whole, to the last bit, when it is run for one token after the other. */
#include "tests/support/in_arena.h"
#include "tests/support/both_checks.h"
#include "tests/support/machine.h"
#include "tests/support/random_graph.h"
#include "tests/support/small_net.h"
#include "ir/check.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static Graph *whole_of(Graph *forward, Arena *arena) {
    return graph_forward_only(forward, arena);
}

/* The graph of one token, which has to be one. */
static Graph *one_token(const Graph *whole, Arena *arena) {
    const char *why_not;
    Graph *g = graph_one_token(whole, arena, &why_not);
    if (!g) fail_msg("refused: %s", why_not);
    assert_null(why_not);
    const char *wrong = graph_check(g, arena);
    if (wrong) fail_msg("%s", wrong);
    return g;
}

static void assert_refused(Graph *forward, const char *reason, Arena *arena) {
    const char *why_not;
    assert_null(graph_one_token(whole_of(forward, arena), arena, &why_not));
    assert_string_equal(why_not, reason);
}

static Node *node_at(Graph *g, const char *name) {
    NodeId n = node_named(g, name);
    if (n == NONE) fail_msg("no node '%s'", name);
    return &g->node.at[n];
}

static void attention_reads_a_cache(void **state) {
    Graph *whole =
        whole_of(small_net(&(NetOptions){.layers = 2, .dropout = 0.1, .batch = 1}, *state), *state);
    Graph *g = one_token(whole, *state);
    assert_int_equal(count_op(g, OP_ATTEND) + count_op(g, OP_CROSS_ENTROPY) + count_op(g, OP_DROPOUT), 0);
    assert_int_equal(count_op(g, OP_POSITIONS), 0);
    assert_int_equal(count_op(g, OP_ATTEND_CACHED), 2);
    assert_int_equal(g->context, 1);
    uint32_t caches = 0;
    for (ValueId v = 0; v < g->value.count; v++) {
        const Value *value = &g->value.at[v];
        if (value->kind != VALUE_STATE) continue;
        assert_int_equal(value->role, ROLE_CACHE);
        assert_string_equal(type_text(*state, &value->type), "f32[1, 4, 2, 4]");
        caches++;
    }
    assert_int_equal(caches, 4);
    const Node *rows = node_at(g, "h.1.attend.cache"), *attend = node_at(g, "h.1.attend");
    assert_int_equal(rows->in[2], g->positions);
    assert_int_equal(rows->nmut, 2);
    assert_int_equal(attend->in[1], rows->out[0]);
    assert_int_equal(attend->in[2], rows->out[1]);
    assert_int_equal(attend->in[3], g->positions);
    assert_int_equal(node_at(g, "positions.row")->in[0], g->positions);
    for (uint32_t p = 0; p < g->param.count; p++) {
        assert_int_equal(g->param.at[p].value, p);
        assert_string_equal(g->value.at[p].name, whole->value.at[whole->param.at[p].value].name);
    }
    /* its text is read again, and nothing in it is left out as unused */
    Text first = {.arena = *state}, second = {.arena = *state};
    graph_print(g, &first);
    const char *error = NULL;
    Graph *again = graph_read(first.at, *state, &error);
    if (!again) fail_msg("%s", error);
    graph_print(again, &second);
    assert_string_equal(first.at, second.at);
    assert_int_equal(graph_forward_only(g, *state)->node.count, g->node.count);
}

static void what_mixes_tokens_is_refused(void **state) {
    const NetOptions options = {.layers = 1, .batch = 1};
    Graph *g = small_net(&options, *state);
    node_at(g, "h.0.attend")->attr.causal = 0;
    assert_refused(g, "attend 'h.0.attend' is not causal", *state);

    g = small_net(&(NetOptions){.batch = 1}, *state);
    assert_refused(g, "the model has no attention", *state);

    /* heads before tokens */
    g = small_net(&options, *state);
    g->value.at[node_at(g, "h.0.q")->out[0]].type = (Type){.rank = 4, .dim = {1, 2, 4, 4}};
    assert_refused(g, "reshape 'h.0.q' mixes tokens", *state);

    g = small_net(&options, *state);
    g->value.at[value_named(g, "input")].type = (Type){.rank = 3, .dim = {2, 2, 8}};
    assert_refused(g, "add_broadcast 'input' mixes tokens", *state);

    g = small_net(&options, *state);
    node_at(g, "h.0.gelu")->op = OP_SWIGLU;
    assert_refused(g, "swiglu 'h.0.gelu' is not known to work on each token by itself", *state);

    g = small_net(&options, *state);
    g->logits = NONE;
    assert_refused(g, "its logits are made in pieces", *state);
}

/* Names that a file gave to weights stay theirs. */
static void names_are_its_own(void **state) {
    Graph *g = small_net(&(NetOptions){.layers = 1, .batch = 1}, *state);
    g->value.at[value_named(g, "wte")].name = "data.positions";
    g->value.at[value_named(g, "wpe")].name = "h.0.attend.keys";
    g->value.at[value_named(g, "head.w")].name = "h.0.attend.cache.1";
    one_token(whole_of(g, *state), *state);
}

/* The checker knows what a cache is: it is written over where a row is added, read after that, and no more.
 */
static void wrong_caches_are_found(void **state) {
    static const char *const want[] = {
        "'h.0.attend.cache' (cache_rows): writes over 0 inputs, must over 2",
        "'h.0.attend' (attend_cached): reads 'h.0.attend.keys', which was written over",
        "'h.0.attend.cache' (cache_rows): makes metric in the forward phase",
        "'h.0.attend.cache' (cache_rows): reads and writes over 'h.0.attend.keys'",
        "'h.0.attend' (attend_cached): the position of each token is i32[1, 2], must be i32[1, 1]",
    };
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        Graph *g =
            one_token(whole_of(small_net(&(NetOptions){.layers = 1, .batch = 1}, *state), *state), *state);
        Node *rows = node_at(g, "h.0.attend.cache"), *attend = node_at(g, "h.0.attend");
        Value *value = g->value.at;
        switch (i) {
        case 0: rows->nmut = 0; break;
        case 1: attend->in[1] = rows->in[3]; break;
        case 2: value[rows->in[3]].role = value[rows->out[0]].role = ROLE_METRIC; break;
        case 3: rows->in[4] = rows->in[3]; break;
        default:
            attend->in[3] = graph_value(g, (Type){.dtype = DT_I32, .rank = 2, .dim = {1, 2}}, VALUE_INPUT,
                                        ROLE_INPUT, "two", (Span){0});
        }
        const char *wrong = graph_check(g, *state);
        if (!wrong) fail_msg("not found: %s", want[i]);
        if (!strstr(wrong, want[i])) fail_msg("\"%s\", not \"%s\"", wrong, want[i]);
    }
}

/* ---- numbers ---- */

typedef struct Run {
    Graph *g;
    Plan plan; /* without the end of the logits */
    Machine *m;
} Run;

/* A forward graph, planned, its logits in memory when it has run; the same seed, the same weights. */
static Run run_new(const Graph *forward, bool fuses, bool poison, Arena *arena) {
    Run r = {.g = fuses ? fuse(forward, NULL, arena) : graph_forward_only(forward, arena)};
    Cost *cost = cost_graph(r.g, device_find("host"), arena);
    PlanResult *result = plan_forward(r.g, cost, r.g->logits, arena);
    const char *wrong = graph_check(r.g, arena);
    if (!wrong) wrong = both_checks(r.g, cost, &result->plan, result->layout, NULL, arena);
    if (wrong) fail_msg("%s", wrong);
    r.plan = result->plan;
    r.plan.update_begin--;
    assert_int_equal(r.plan.step.at[r.plan.update_begin].kind, STEP_FREE);
    r.m = machine_new(r.g, NEW(arena, Plan), result->layout, poison);
    machine_init(r.m, 3);
    for (ValueId v = 0; v < r.g->value.count; v++) /* nobody has written them */
        if (r.g->value.at[v].role == ROLE_CACHE)
            memset(machine_bytes(r.m, v), 0xff, (size_t)value_bytes(&r.g->value.at[v]));
    return r;
}

static const char *logits_of(const Run *r) {
    const Layout *layout = r->m->layout;
    const uint32_t buffer = layout->bind.at[layout->first[r->plan.update_begin]]; /* of the FREE left out */
    return r->m->memory + layout->buf.at[buffer].offset;
}

static void run_it(Run *r) {
    r->m->plan = &r->plan;
    machine_run(r->m, 1, 1); /* as if the loss had begun */
}

/* A run of the token at `t`; its logits are those of the whole sequence there. */
static void assert_same_row(Run *one, const Run *all, int64_t t, uint64_t seed, const char *what) {
    const Type *logits = &all->g->value.at[all->g->logits].type;
    const int64_t row = logits->dim[2] * dtype_bytes[logits->dtype];
    const int32_t *token = machine_bytes(all->m, all->g->tokens);
    *(int32_t *)machine_bytes(one->m, one->g->tokens) = token[t];
    *(int32_t *)machine_bytes(one->m, one->g->positions) = (int32_t)t;
    run_it(one);
    if (memcmp(logits_of(one), logits_of(all) + t * row, (size_t)row) != 0)
        fail_msg("graph %d, token %d%s: other logits", (int)seed, (int)t, what);
}

static void fill(const Run *r, uint64_t seed) {
    const int64_t vocabulary = r->g->value.at[r->g->logits].type.dim[2];
    int32_t *token = machine_bytes(r->m, r->g->tokens);
    for (int64_t t = 0; t < r->g->context; t++)
        token[t] = (int32_t)((seed * 7 + (uint64_t)t * 5) % (uint64_t)vocabulary);
    if (r->g->positions == NONE) return;
    int32_t *position = machine_bytes(r->m, r->g->positions);
    for (int64_t t = 0; t < r->g->context; t++) position[t] = (int32_t)t;
}

/* What the whole sequence left, as if it lay where the token's graph has it. */
static void take_caches(const Run *to, const Run *from) {
    uint32_t caches = 0;
    for (ValueId v = 0; v < to->g->value.count; v++) {
        const Value *value = &to->g->value.at[v];
        if (value->role != ROLE_CACHE || value->def != NONE) continue;
        const ValueId same = value_named(from->g, value->name);
        assert_int_not_equal(same, NONE);
        memcpy(machine_bytes(to->m, v), machine_bytes(from->m, same), (size_t)value_bytes(value));
        caches++;
    }
    assert_int_equal(caches, 2 * count_op(to->g, OP_ATTEND_CACHED));
}

/* Every position's logits from the tokens up to it, run one by one or the first half of them at once, against
 * those of the whole sequence. */
static void assert_same_logits(const Graph *whole, uint64_t seed, Arena *arena) {
    const Graph *token = one_token(whole, arena);
    Run all = run_new(whole, seed % 2, false, arena), one = run_new(token, seed % 2, true, arena);
    Run keeps = run_new(graph_keep_rows(whole, arena), seed % 2, true, arena);
    Run behind = run_new(token, seed % 2, true, arena);
    fill(&all, seed);
    fill(&keeps, seed);
    run_it(&all);
    run_it(&keeps);
    const Type *logits = &all.g->value.at[all.g->logits].type;
    if (memcmp(logits_of(&keeps), logits_of(&all), (size_t)type_bytes(logits)) != 0)
        fail_msg("graph %d: other logits where keys and values are kept", (int)seed);
    for (int64_t t = 0; t < whole->context; t++) assert_same_row(&one, &all, t, seed, "");
    take_caches(&behind, &keeps);
    for (int64_t t = whole->context / 2; t < whole->context; t++)
        assert_same_row(&behind, &all, t, seed, ", behind a prompt");
    assert_int_equal(one.m->high_water_bytes, one.m->layout->height_bytes);
    assert_int_equal(keeps.m->high_water_bytes, keeps.m->layout->height_bytes);
    machine_free(all.m), machine_free(one.m), machine_free(keeps.m), machine_free(behind.m);
}

static void one_token_has_the_logits_of_the_whole(void **state) {
    uint32_t compared = 0, without = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        arena_reset(*state);
        Graph *forward = random_graph(seed, *state);
        if (forward->batch != 1) continue;
        Graph *whole = whole_of(forward, *state);
        if (count_op(whole, OP_ATTEND) == 0) {
            assert_refused(forward, "the model has no attention", *state);
            without++;
            continue;
        }
        assert_same_logits(whole, seed, *state);
        compared++;
    }
    print_message("%u graphs compared, %u without attention\n", compared, without);
    assert_true(compared > 100 && without > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(attention_reads_a_cache),
        IN_ARENA(what_mixes_tokens_is_refused),
        IN_ARENA(names_are_its_own),
        IN_ARENA(wrong_caches_are_found),
        IN_ARENA(one_token_has_the_logits_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
