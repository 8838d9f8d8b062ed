/* The plan never changes the numbers: random training graphs, run by real kernels under every policy and
 * several budgets, give the bits of the keep-everything plan, also with dead memory filled with NaN; and the
 * highest byte used is the planned peak. REMAT_GRAPHS sets how many graphs. */
#include "machine.h"
#include "random_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct Outcome {
    double loss[2];
    uint64_t weights; /* hash of every parameter and state after two steps */
} Outcome;

static Outcome run(const Graph *g, const PlanResult *result, bool poison) {
    Machine *m = machine_new(g, &result->plan, result->layout, poison);
    machine_init(m, 5);
    Outcome outcome = {.weights = HASH_SEED};
    for (int step = 0; step < 2; step++) outcome.loss[step] = machine_step(m, 9, step);
    for (uint32_t p = 0; p < g->param.count; p++) {
        const ValueId value[] = {g->param.at[p].value, g->param.at[p].moment1, g->param.at[p].moment2,
                                 g->param.at[p].master};
        for (size_t i = 0; i < COUNT_OF(value); i++)
            if (value[i] != NONE)
                outcome.weights = hash_bytes(outcome.weights, machine_bytes(m, value[i]),
                                             (size_t)type_bytes(&g->value.at[value[i]].type));
    }
    assert_int_equal(m->high_water_bytes, result->layout->height_bytes);
    assert_int_equal(result->plan.peak_bytes, result->layout->height_bytes);
    machine_free(m);
    return outcome;
}

static void check_graph(uint64_t seed, uint32_t *infeasible) {
    Arena *arena = arena_new();
    const Device *device = device_find("host");
    Graph *g = random_training_graph(seed, arena);
    Cost *cost = cost_graph(g, device, arena);
    PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = POLICY_NONE};
    PlanResult *keep = plan_graph(&request, arena);
    Outcome expected = run(g, keep, false);
    assert_true(expected.loss[0] == expected.loss[0]); /* not NaN */
    for (int policy = 0; policy < POLICY_COUNT; policy++) {
        int budgets = policy == POLICY_OPTIMAL ? 4 : 1;
        for (int b = 0; b < budgets; b++) {
            request.policy = (Policy)policy;
            request.budget_bytes =
                policy == POLICY_OPTIMAL
                    ? keep->smallest_bytes + (keep->keep_all_bytes - keep->smallest_bytes) * b / 3
                    : 0;
            PlanResult *result = plan_graph(&request, arena);
            const char *broken = plan_check(g, &result->plan, arena);
            if (broken) fail_msg("graph %d policy %s: %s", (int)seed, policy_name[policy], broken);
            broken = layout_check(g, cost, &result->plan, result->layout, request.budget_bytes, arena);
            if (broken && result->feasible)
                fail_msg("graph %d policy %s budget %d: %s", (int)seed, policy_name[policy], b, broken);
            if (!result->feasible) {
                ++*infeasible;
                continue;
            }
            Outcome got = run(g, result, true);
            if (memcmp(&got, &expected, sizeof got))
                fail_msg("graph %d policy %s budget %d: losses %.9g %.9g, not %.9g %.9g", (int)seed,
                         policy_name[policy], b, got.loss[0], got.loss[1], expected.loss[0],
                         expected.loss[1]);
        }
    }
    arena_free(arena);
}

static void test_random_graphs(void **state) {
    (void)state;
    const char *wish = getenv("REMAT_GRAPHS");
    uint64_t graphs = wish ? strtoull(wish, NULL, 10) : 1000;
    uint32_t infeasible = 0;
    for (uint64_t seed = 1; seed <= graphs; seed++) check_graph(seed, &infeasible);
    assert_int_equal(infeasible, 0); /* every budget asked for was one the planner said it can meet */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
