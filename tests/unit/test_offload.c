/* Plans that use host memory: both checkers pass them, host budgets hold, step times are those of the copies'
 * queues replayed from the steps alone, the bound is below every plan, more memory of either kind never
 * hurts, and large models save as much as they should. */
#include "planner/plan.h"
#include "tests/support/random_graph.h"
#include "tests/support/transformer.h"
#include "tests/support/both_checks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A card on which copies of a small graph's tensors take about as long as its operations. */
static Device small_card(uint64_t seed) {
    Device device = *device_find("rtx4090");
    device.launch_seconds = 1e-9;
    device.copy_bytes_per_second = 1e9 * pow(4.0, (double)(seed % 6)) / 8;
    return device;
}

/* Seconds of a plan by its steps: operations in order, each copy behind those before it on its way, FREE and
 * the first read waiting for them. */
static double replayed_seconds(const PlanRequest *request, const Plan *plan, Arena *arena) {
    const Graph *g = request->graph;
    const Device *device = request->device;
    double now = 0, out = 0, in = 0, times = (double)g->accumulate, *ready, *gone;
    ready = NEW_ARRAY(arena, double, g->value.count);
    gone = NEW_ARRAY(arena, double, g->value.count);
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        double *queue = step->kind == STEP_OFFLOAD ? &out : &in;
        if (step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH) {
            int64_t bytes =
                (type_bytes(&g->value.at[step->value].type) + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
            double seconds = times * (device->launch_seconds + (double)bytes / device->copy_bytes_per_second);
            if (!device->copies_beside) {
                now += seconds;
                continue;
            }
            *queue = (*queue > now ? *queue : now) + seconds;
            *(step->kind == STEP_OFFLOAD ? &gone[step->value] : &ready[step->value]) = *queue;
        } else if (step->kind == STEP_FREE) {
            if (gone[step->value] > now) now = gone[step->value];
            gone[step->value] = 0;
        } else {
            const Node *node = &g->node.at[step->node];
            for (uint32_t i = 0; i < node->nin; i++) {
                ValueId root = graph_root(g, node->in[i]);
                if (ready[root] > now) now = ready[root];
            }
            now += request->cost[step->node].seconds * (node->phase == PHASE_UPDATE ? 1 : times);
        }
    }
    return now;
}

static void check(const PlanRequest *request, const PlanResult *result, uint64_t seed, Arena *arena) {
    const Budget *budget = result->feasible ? &request->budget : NULL;
    const char *wrong =
        both_checks(request->graph, request->cost, &result->plan, result->layout, budget, arena);
    if (wrong) fail_msg("seed %d, %s: %s", (int)seed, policy_name[request->policy], wrong);
    if (result->gap < -1e-9)
        fail_msg("seed %d, %s: gap %g below zero", (int)seed, policy_name[request->policy], result->gap);
    assert_int_equal(result->plan.host_bytes, result->layout->host_bytes);
    assert_true(result->plan.wait_seconds >= 0);
    double seconds = replayed_seconds(request, &result->plan, arena);
    if (fabs(seconds - result->plan.seconds) > 1e-9 * seconds)
        fail_msg("seed %d, %s: %.12g seconds planned, %.12g replayed", (int)seed,
                 policy_name[request->policy], result->plan.seconds, seconds);
}

static uint32_t count_steps(const Plan *plan, StepKind kind) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < plan->step.count; s++) count += plan->step.at[s].kind == kind;
    return count;
}

static void random_graphs_with_host_memory(void **state) {
    (void)state;
    enum { BUDGETS = 4 };
    uint32_t copied = 0, waited = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        Arena *arena = arena_new();
        Device device = seed % 3 ? small_card(seed) : *device_find("host");
        const Graph *g = random_training_graph(seed, arena);
        PlanRequest request = {.graph = g,
                               .cost = cost_graph(g, &device, arena),
                               .device = &device,
                               .policy = POLICY_OPTIMAL,
                               .budget.host_bytes = seed % 5 ? INT64_C(1) << 30 : 1 << (8 + seed % 7)};
        const PlanResult *free_of_budget = plan_graph(&request, arena);
        int64_t low = free_of_budget->smallest_bytes, high = free_of_budget->keep_all_bytes;
        double last = 0;
        for (int i = BUDGETS - 1; i >= 0; i--) {
            request.budget =
                budget_limited(low + (high - low) * i / (BUDGETS - 1), request.budget.host_bytes);
            PlanResult *result = plan_graph(&request, arena);
            if (!result->feasible || result->plan.seconds < last)
                fail_msg("seed %d budget %d: feasible %d, %.17g seconds, %.17g with more memory", (int)seed,
                         i, result->feasible, result->plan.seconds, last);
            last = result->plan.seconds;
            check(&request, result, seed, arena);
            copied += count_steps(&result->plan, STEP_FETCH);
            waited += result->plan.wait_seconds > 0;
        }
        request.policy = POLICY_OFFLOAD_BLOCKS;
        PlanResult *blocks = plan_graph(&request, arena);
        check(&request, blocks, seed, arena);
        request.policy = POLICY_OPTIMAL;
        request.budget = budget_limited(blocks->plan.peak_bytes, request.budget.host_bytes);
        PlanResult *optimal = plan_graph(&request, arena);
        if (blocks->plan.host_bytes <= request.budget.host_bytes)
            assert_true(optimal->feasible && optimal->plan.seconds <= blocks->plan.seconds);
        request.budget.host_bytes = 0; /* and no host memory is never better */
        PlanResult *without = plan_graph(&request, arena);
        assert_int_equal(count_steps(&without->plan, STEP_OFFLOAD), 0);
        arena_free(arena);
    }
    assert_true(copied > 250 && waited > 10);
}

/* Savings are of what lies on the device besides weights and optimizer. */
static void large_models_save_cheaply(void **state) {
    (void)state;
    static const struct {
        const char *device;
        int percent;
        int64_t host_bytes;
        double most;
    } wanted[] = {{"rtx4090", 60, INT64_C(1) << 40, 0.05},
                  {"rtx4090", 80, INT64_C(1) << 40, 0.12},
                  {"a100-80", 60, INT64_C(1) << 40, 0.05},
                  {"a100-80", 80, INT64_C(1) << 40, 0.12},
                  {"rtx4090", 50, 0, 0.10},
                  {"a100-80", 50, 0, 0.10}};
    Transformer shape = llama3_8b;
    shape.batch = 4;
    shape.accumulate = 8;
    for (uint32_t i = 0; i < COUNT_OF(wanted); i++) {
        Arena *arena = arena_new();
        const Graph *g = transformer_graph(&shape, arena);
        const Device *device = device_find(wanted[i].device);
        PlanRequest request = {
            .graph = g, .cost = cost_graph(g, device, arena), .device = device, .policy = POLICY_NONE};
        const PlanResult *all = plan_graph(&request, arena);
        int64_t high = all->keep_all_bytes, fixed = all->layout->persistent_bytes;
        request.policy = POLICY_OPTIMAL;
        request.budget.host_bytes = wanted[i].host_bytes;
        request.budget =
            budget_limited(high - (high - fixed) / 100 * wanted[i].percent, request.budget.host_bytes);
        PlanResult *result = plan_graph(&request, arena);
        assert_true(result->feasible);
        check(&request, result, i, arena);
        double slower = result->plan.seconds / result->keep_all_seconds - 1;
        if (slower > wanted[i].most)
            fail_msg("%s: %d%% saved makes a step %.2f%% slower", wanted[i].device, wanted[i].percent,
                     100 * slower);
        assert_true(result->gap <= 0.01);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_with_host_memory),
        cmocka_unit_test(large_models_save_cheaply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
