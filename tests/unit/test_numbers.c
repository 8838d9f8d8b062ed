/* The plan never changes the numbers: random training graphs, run by real kernels under every policy and
 * several budgets, give the bits of the keep-everything plan, also with dead memory filled with NaN, and with
 * copies to host memory put in at random; and the highest byte used is the planned peak. REMAT_GRAPHS sets
 * how many graphs. */
#include "tests/support/copies.h"
#include "tests/support/machine.h"
#include "tests/support/random_graph.h"
#include "tests/support/small_net.h"
#include "ir/check.h"
#include "tests/support/both_checks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct Outcome {
    double loss[2];
    double norm;      /* of the first step's gradient */
    uint64_t weights; /* hash of every parameter and state after two steps */
} Outcome;

static uint32_t copies;         /* steps put into plans */
static uint32_t planned_copies; /* plans with copies of their own */

static Outcome run(const Graph *g, const Plan *plan, const Layout *layout, bool poison) {
    Machine *m = machine_new(g, plan, layout, poison);
    machine_init(m, 5);
    Outcome outcome = {.weights = HASH_SEED};
    for (int step = 0; step < 2; step++) {
        outcome.loss[step] = machine_step(m, 9, step);
        if (step == 0) outcome.norm = sqrt((double)machine_reals(m, g->norm_sum)[0]);
    }
    for (uint32_t p = 0; p < g->param.count; p++) {
        const ValueId value[] = {g->param.at[p].value, g->param.at[p].moment1, g->param.at[p].moment2,
                                 g->param.at[p].master};
        for (size_t i = 0; i < COUNT_OF(value); i++)
            if (value[i] != NONE)
                outcome.weights = hash_bytes(outcome.weights, machine_bytes(m, value[i]),
                                             (size_t)type_bytes(&g->value.at[value[i]].type));
    }
    assert_int_equal(m->high_water_bytes, layout->height_bytes);
    assert_int_equal(m->host_high_water_bytes, layout->host_bytes);
    assert_int_equal(plan->peak_bytes, layout->height_bytes);
    machine_free(m);
    return outcome;
}

/* The plan with copies, which are done as late as they may be and, poisoned or not, at once. */
static void check_copies(const Graph *g, const Cost *cost, const Plan *without, const Outcome *expected,
                         uint64_t seed, Arena *arena) {
    uint64_t random = seed;
    Plan plan = with_copies(g, without, &random, 2 + (uint32_t)(seed % 4), arena);
    Layout *layout = copies_layout(g, cost, &plan, arena);
    const char *broken = both_checks(g, cost, &plan, layout, NULL, arena);
    if (broken) fail_msg("graph %d with copies: %s", (int)seed, broken);
    for (int poison = 0; poison < 2; poison++) {
        Outcome got = run(g, &plan, layout, poison);
        if (memcmp(&got, expected, sizeof got))
            fail_msg("graph %d with copies%s: losses %.9g %.9g, not %.9g %.9g", (int)seed,
                     poison ? ", poisoned" : "", got.loss[0], got.loss[1], expected->loss[0],
                     expected->loss[1]);
    }
    copies += plan.step.count - without->step.count;
}

/* The outcome of keeping everything, which every other plan must have too. */
static Outcome check_plans(const Graph *g, uint64_t seed, uint32_t *infeasible, Arena *arena) {
    Device device = *device_find("host");
    device.copies_beside = seed % 4 == 1;
    Cost *cost = cost_graph(g, &device, arena);
    PlanRequest request = {.graph = g,
                           .cost = cost,
                           .device = &device,
                           .policy = POLICY_NONE,
                           .budget.host_bytes = seed % 2 ? INT64_C(1) << 30 : 0,
                           .memo = plan_memo_new(arena)};
    PlanResult *keep = plan_graph(&request, arena);
    request.policy = POLICY_OPTIMAL;
    int64_t high = keep->keep_all_bytes, low = plan_graph(&request, arena)->smallest_bytes;
    Outcome expected = run(g, &keep->plan, keep->layout, false);
    assert_true(expected.loss[0] == expected.loss[0]); /* not NaN */
    for (int policy = 0; policy < POLICY_COUNT; policy++) {
        int budgets = policy == POLICY_OPTIMAL ? 4 : 1;
        for (int b = 0; b < budgets; b++) {
            request.policy = (Policy)policy;
            request.budget = budget_limited(low + (high - low) * b / 3, request.budget.host_bytes);
            request.budget.limited = policy == POLICY_OPTIMAL;
            PlanResult *result = plan_graph(&request, arena);
            const char *broken = plan_check(g, &result->plan, arena);
            if (broken) fail_msg("graph %d policy %s: %s", (int)seed, policy_name[policy], broken);
            broken = both_checks(g, cost, &result->plan, result->layout, &request.budget, arena);
            if (broken && result->feasible)
                fail_msg("graph %d policy %s budget %d: %s", (int)seed, policy_name[policy], b, broken);
            if (!result->feasible) {
                ++*infeasible;
                continue;
            }
            Outcome got = run(g, &result->plan, result->layout, true);
            if (memcmp(&got, &expected, sizeof got))
                fail_msg("graph %d policy %s budget %d: losses %.9g %.9g, not %.9g %.9g", (int)seed,
                         policy_name[policy], b, got.loss[0], got.loss[1], expected.loss[0],
                         expected.loss[1]);
            planned_copies += result->plan.offload_bytes > 0;
            if (policy == (int)(seed % POLICY_COUNT) && b == 0 && !result->plan.offload_bytes)
                check_copies(g, cost, &result->plan, &expected, seed, arena);
        }
    }
    return expected;
}

static void test_random_graphs(void **state) {
    (void)state;
    const char *wish = getenv("REMAT_GRAPHS");
    uint64_t graphs = wish ? strtoull(wish, NULL, 10) : 1000;
    uint32_t infeasible = 0;
    for (uint64_t seed = 1; seed <= graphs; seed++) {
        Arena *arena = arena_new();
        check_plans(random_training_graph(seed, arena), seed, &infeasible, arena);
        arena_free(arena);
    }
    assert_true(copies > 5 * graphs && planned_copies > graphs);
    assert_int_equal(infeasible, 0); /* every budget asked for was one the planner said it can meet */
}

static Graph *trained(const Graph *forward, const TrainRule *rule, Arena *arena) {
    return order_updates(fuse(autodiff(forward, rule, arena), NULL, arena), arena);
}

/* Updates as early as they may run give the bits of updates after the whole backward pass, and never need
 * more. */
static void test_early_updates(void **state) {
    (void)state;
    const Device *device = device_find("host");
    uint32_t smaller = 0, graphs = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Arena *arena = arena_new();
        TrainRule rule = random_rule(seed);
        rule.clip_norm = 0;
        rule.accumulate = 1;
        Graph *late = fuse(autodiff(random_graph(seed, arena), &rule, arena), NULL, arena);
        Graph *early = order_updates(late, arena);
        const char *broken = graph_check(early, arena);
        if (broken) fail_msg("graph %d: %s", (int)seed, broken);
        PlanResult *result[2];
        for (int i = 0; i < 2; i++) {
            const Graph *g = i ? early : late;
            PlanRequest request = {.graph = g, .cost = cost_graph(g, device, arena), .device = device};
            result[i] = plan_graph(&request, arena);
        }
        Outcome expected = run(late, &result[0]->plan, result[0]->layout, false);
        Outcome got = run(early, &result[1]->plan, result[1]->layout, true);
        if (memcmp(&got, &expected, sizeof got))
            fail_msg("graph %d: early updates change the numbers", (int)seed);
        if (result[1]->plan.live_bytes > result[0]->plan.live_bytes)
            fail_msg("graph %d: early updates need more", (int)seed);
        smaller += result[1]->plan.live_bytes < result[0]->plan.live_bytes;
        graphs++;
        arena_free(arena);
    }
    print_message("early updates need less in %u of %u graphs\n", smaller, graphs);
    assert_true(smaller > graphs / 2);
}

/* In tiles of tokens: again the same bits under every plan; against the whole, only sums over tokens differ.
 */
static void test_tiles(void **state) {
    (void)state;
    uint32_t infeasible = 0, tiled = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        Arena *arena = arena_new();
        Graph *forward = random_graph(seed, arena);
        int64_t tokens = forward->batch * forward->context, pieces[2];
        for (int i = 0; i < 2; i++)
            for (pieces[i] = 2 + (int64_t)(seed + (uint64_t)i) % 4; tokens % pieces[i] && pieces[i] < 17;
                 pieces[i]++)
                continue;
        if (tokens % pieces[0] || tokens % pieces[1]) pieces[0] = pieces[1] = 2 - tokens % 2;
        TrainRule rule = random_rule(seed);
        TileRule tile = {.loss_chunks = pieces[0], .mlp_tiles = pieces[1]};
        Graph *cut = tile_tokens(forward, &tile, arena);
        const char *broken = graph_check(cut, arena);
        if (broken) fail_msg("graph %d in tiles: %s", (int)seed, broken);
        tiled += cut->logits == NONE && cut->node.count > forward->node.count + 8;
        Outcome whole = check_plans(trained(forward, &rule, arena), seed, &infeasible, arena);
        Outcome pieced = check_plans(trained(cut, &rule, arena), seed, &infeasible, arena);
        bool bf16 = rule.gradient == DT_BF16;
        for (uint32_t v = 0; v < forward->value.count; v++)
            bf16 |= forward->value.at[v].type.dtype == DT_BF16;
        if (!(fabs(whole.loss[0] - pieced.loss[0]) <= 1e-6 * fabs(whole.loss[0])))
            fail_msg("graph %d in tiles: loss %.9g, not %.9g", (int)seed, pieced.loss[0], whole.loss[0]);
        if (!(fabs(whole.norm - pieced.norm) <= (bf16 ? 1e-2 : 1e-5) * whole.norm))
            fail_msg("graph %d in tiles: gradient norm %.9g, not %.9g", (int)seed, pieced.norm, whole.norm);
        arena_free(arena);
    }
    assert_int_equal(infeasible, 0);
    assert_true(tiled > 60);
}

/* Moments in 8 bits, of weights large enough: the same bits under every plan, updates early or late. */
static void test_moments_8bit(void **state) {
    (void)state;
    uint32_t infeasible = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        Arena *arena = arena_new();
        const NetOptions options = {
            .layers = 2, .width = 32, .stored = seed % 2 ? DT_F32 : DT_BF16, .compute = DT_F32};
        const TrainRule rule = {.beta1 = 0.9,
                                .beta2 = 0.95,
                                .eps = 1e-8,
                                .decay = 0.1,
                                .accumulate = 1,
                                .clip_norm = seed > 2,
                                .moments_8bit = true};
        Graph *g = trained(small_net(&options, arena), &rule, arena);
        const char *broken = graph_check(g, arena);
        if (broken) fail_msg("%s", broken);
        assert_true(count_updated(g, OP_ADAMW8BIT) == 4 &&
                    count_updated(g, OP_ADAMW) > 4); /* [128, 32] and its turn */
        check_plans(g, seed, &infeasible, arena);
        arena_free(arena);
    }
    assert_int_equal(infeasible, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs),
                                       cmocka_unit_test(test_early_updates), cmocka_unit_test(test_tiles),
                                       cmocka_unit_test(test_moments_8bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
