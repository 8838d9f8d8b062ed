/* What is right passes both checkers, and the simulated machine agrees: plans and layouts made without the
 * planner, what the planner makes of random graphs, and forward-only programs in a training program's arena.
 */
#include "tests/support/copies.h"
#include "tests/support/random_graph.h"
#include "tests/support/toy.h"
#include "tests/support/both_checks.h"
#include "planner/layout/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void toys_pass(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 11;
    uint32_t kinds[5] = {0}, in_place = 0, in_host = 0;
    for (int i = 0; i < 1000; i++) {
        arena_reset(arena);
        Toy toy = toy_new(&seed, arena);
        for (int layout = 0; layout < 2; layout++) {
            const Layout *with = layout ? toy.layout : NULL;
            const char *wrong = with ? both_checks(toy.g, toy.cost, &toy.plan, with, NULL, arena)
                                     : plan_check(toy.g, &toy.plan, arena);
            const char *lie = toy_run(toy.g, toy.cost, &toy.plan, with, arena);
            if (wrong || lie) print_message("%s / %s\n", wrong ? wrong : "right", lie ? lie : "right");
            assert_null(wrong);
            assert_null(lie);
        }
        for (uint32_t s = 0; s < toy.plan.step.count; s++) kinds[toy.plan.step.at[s].kind]++;
        for (uint32_t b = 0; b < toy.layout->bind.count; b++) in_place += toy.layout->bind.at[b] == NONE;
        int64_t height = toy.layout->height_bytes, host = toy.layout->host_bytes;
        Budget enough = budget_limited(height, host), less = budget_limited(height - 1, host),
               less_host = {.host_bytes = host - 1};
        assert_null(both_checks(toy.g, toy.cost, &toy.plan, toy.layout, &enough, arena));
        assert_non_null(both_checks(toy.g, toy.cost, &toy.plan, toy.layout, &less, arena));
        assert_true(!host || both_checks(toy.g, toy.cost, &toy.plan, toy.layout, &less_host, arena));
        in_host += host > 0;
    }
    for (int k = 0; k < 5; k++) assert_true(kinds[k] > 500);
    assert_true(in_place > 500 && in_host > 500);
    arena_free(arena);
}

/* What the planner makes of random training graphs, at every policy and at budgets in between; and that with
 * copies put in. */
static void planned_graphs_pass(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        arena_reset(arena);
        uint64_t random = seed;
        Graph *g = random_training_graph(seed, arena);
        Cost *cost = cost_graph(g, device, arena);
        PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = POLICY_NONE};
        PlanResult *all = plan_graph(&request, arena);
        for (int policy = 0; policy < POLICY_COUNT; policy++)
            for (int part = 0; part < (policy == POLICY_OPTIMAL ? 4 : 1); part++) {
                request.policy = (Policy)policy;
                request.budget = budget_limited(all->keep_all_bytes * (10 - part) / 10, 0);
                request.budget.limited = part > 0;
                PlanResult *result = plan_graph(&request, arena);
                const Budget *budget = result->feasible ? &request.budget : NULL;
                const char *wrong = both_checks(g, cost, &result->plan, result->layout, budget, arena);
                const char *lie = toy_run(g, cost, &result->plan, result->layout, arena);
                if (wrong || lie)
                    print_message("seed %d, %s: %s / %s\n", (int)seed, policy_name[policy],
                                  wrong ? wrong : "right", lie ? lie : "right");
                assert_null(wrong);
                assert_null(lie);
                Plan plan = with_copies(g, &result->plan, &random, 3, arena);
                Layout *layout = copies_layout(g, cost, &plan, arena);
                wrong = both_checks(g, cost, &plan, layout, NULL, arena);
                lie = toy_run(g, cost, &plan, layout, arena);
                if (wrong || lie)
                    print_message("seed %d, %s, copies: %s / %s\n", (int)seed, policy_name[policy],
                                  wrong ? wrong : "right", lie ? lie : "right");
                assert_null(wrong);
                assert_null(lie);
            }
    }
    arena_free(arena);
}

/* A forward-only program in the training program's arena: the same weights in the same place, nothing of the
 * training program's persistent bytes touched but its own. */
static void forward_parts_fit(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    for (uint64_t seed = 1; seed <= 100; seed++) {
        arena_reset(arena);
        Graph *g = random_training_graph(seed, arena), *f = graph_forward_only(g, arena);
        PlanRequest request = {.graph = g, .cost = cost_graph(g, device, arena), .device = device};
        Layout *train = plan_graph(&request, arena)->layout;
        Cost *cost = cost_graph(f, device, arena);
        PlanResult *forward = plan_forward(f, cost, NONE, arena);
        Layout *layout = forward->layout;
        pack_forward(layout, f, train, g, arena);
        forward->plan.peak_bytes = layout->height_bytes;
        assert_null(both_checks(f, cost, &forward->plan, layout, NULL, arena));
        assert_null(toy_run(f, cost, &forward->plan, layout, arena));
        uint32_t shared = 0;
        for (uint32_t b = 0; b < layout->buf.count; b++) {
            const Buf *mine = &layout->buf.at[b];
            if (!mine->persistent) assert_true(mine->offset >= train->persistent_bytes);
            for (uint32_t t = 0; mine->persistent && t < train->buf.count; t++) {
                const Buf *theirs = &train->buf.at[t];
                if (!theirs->persistent) continue;
                bool same = !strcmp(f->value.at[mine->value].name, g->value.at[theirs->value].name);
                bool meet = mine->offset < theirs->offset + theirs->bytes &&
                            theirs->offset < mine->offset + mine->bytes;
                assert_true(same == meet);
                if (same) assert_int_equal(mine->offset, theirs->offset);
                shared += same;
            }
        }
        assert_true(shared > 2);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(toys_pass),
        cmocka_unit_test(planned_graphs_pass),
        cmocka_unit_test(forward_parts_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
