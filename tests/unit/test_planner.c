/* Plans of whole graphs: both checkers pass them, more memory never hurts, the same request gives the same
 * plan, pins hold, and the rule of thumb answers as its table says. */
#include "ir/glob.h"
#include "planner/plan.h"
#include "planner/retain/policy.h"
#include "tests/support/random_graph.h"
#include "tests/support/transformer.h"
#include "ir/ops.h"
#include "tests/support/both_checks.h"
#include "planner/layout/live.h"
#include "planner/problem/memo.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BUDGETS = 4 };

static PlanRequest request_for(const Graph *g, const char *device, Arena *arena) {
    const Device *found = device_find(device);
    return (PlanRequest){
        .graph = g, .cost = cost_graph(g, found, arena), .device = found, .policy = POLICY_OPTIMAL};
}

static void check(const PlanRequest *request, const PlanResult *result, uint64_t seed, Arena *arena) {
    const Budget *budget = result->feasible ? &request->budget : NULL;
    const char *wrong =
        both_checks(request->graph, request->cost, &result->plan, result->layout, budget, arena);
    if (wrong) fail_msg("seed %d, %s: %s", (int)seed, policy_name[request->policy], wrong);
    if (result->gap < -1e-9)
        fail_msg("seed %d, %s: gap %g below zero", (int)seed, policy_name[request->policy], result->gap);
    assert_true(result->plan.recompute_seconds <= result->plan.seconds);
    double once = 0; /* of every operation; policy none runs what dequantises a weight twice */
    bool dequantizes = false;
    for (NodeId n = 0; n < request->graph->node.count; n++) {
        const Node *node = &request->graph->node.at[n];
        dequantizes |= node->op == OP_DEQUANTIZE;
        once +=
            request->cost[n].seconds * (node->phase == PHASE_UPDATE ? 1 : (double)request->graph->accumulate);
    }
    assert_true(result->plan.seconds >= once * (1 - 1e-9));
    assert_true(dequantizes || result->plan.seconds >= result->keep_all_seconds * (1 - 1e-12));
}

/* The table of live bytes by role adds up to what the buffers say. */
static void roles_add_up(const PlanRequest *request, const PlanResult *result, Arena *arena) {
    const int64_t *table = live_by_column(request->graph, &result->plan, result->layout, arena);
    int64_t highest = 0;
    for (uint32_t step = 0; step < result->plan.step.count; step++) {
        int64_t sum = 0;
        for (int column = 0; column < LIVE_COLUMNS; column++) {
            assert_true(table[step * LIVE_COLUMNS + (uint32_t)column] >= 0);
            sum += table[step * LIVE_COLUMNS + (uint32_t)column];
        }
        if (sum > highest) highest = sum;
    }
    assert_int_equal(highest, result->plan.live_bytes);
}

static void random_graphs_pass_the_checkers(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 150; seed++) {
        Arena *arena = arena_new();
        PlanRequest request = request_for(random_training_graph(seed, arena), "host", arena);
        PlanResult *free_of_budget = plan_graph(&request, arena);
        int64_t low = free_of_budget->smallest_bytes, high = free_of_budget->keep_all_bytes;
        for (int i = 0; i < BUDGETS; i++)
            for (int policy = 0; policy < POLICY_COUNT; policy++) {
                request.budget =
                    budget_limited(low + (high - low) * i / (BUDGETS - 1), request.budget.host_bytes);
                request.policy = (Policy)policy;
                PlanResult *result = plan_graph(&request, arena);
                check(&request, result, seed, arena);
                if (policy == POLICY_OPTIMAL) assert_true(result->feasible);
                if (policy == POLICY_OPTIMAL && i == 0) roles_add_up(&request, result, arena);
            }
        for (int policy = 0; policy < POLICY_OPTIMAL; policy++) {
            request.policy = (Policy)policy;
            const PlanResult *fixed = plan_graph(&request, arena);
            request.policy = POLICY_OPTIMAL;
            request.budget = budget_limited(fixed->plan.peak_bytes, request.budget.host_bytes);
            const PlanResult *optimal = plan_graph(&request, arena);
            assert_true(optimal->feasible && optimal->plan.seconds <= fixed->plan.seconds);
        }
        request.policy = POLICY_OPTIMAL;
        request.budget = budget_limited(low - 1, request.budget.host_bytes);
        PlanResult *result = plan_graph(&request, arena);
        assert_false(result->feasible);
        assert_int_equal(result->smallest_bytes, low);
        assert_int_equal(result->plan.peak_bytes, low);
        arena_free(arena);
    }
}

/* Whatever is asked for, and whether anything is kept: the answers are those of a request for everything. */
static void less_is_asked_with_the_same_answer(void **state) {
    (void)state;
    Arena *kept = arena_new();
    Memo *known = memo_new(kept);
    for (uint64_t seed = 0; seed < 100; seed++) {
        Arena *arena = arena_new();
        PlanRequest request = request_for(random_training_graph(seed, arena), "host", arena);
        const PlanResult *all = plan_graph(&request, arena);
        int64_t low = all->smallest_bytes, high = all->keep_all_bytes;
        request.known = known;
        request.ask = ASK_LEAST;
        const PlanResult *least = plan_graph(&request, arena);
        assert_int_equal(least->smallest_bytes, low);
        assert_int_equal(least->plan.peak_bytes, low);
        request.memo = plan_memo_new(arena);
        int64_t live = plan_least_live(&request);
        assert_true(live <= low && live <= least->plan.live_bytes);
        for (int64_t limit = live - 1; limit <= live + 1;
             limit++) { /* what one limit leaves out, the next needs */
            request.budget = budget_limited(limit, request.budget.host_bytes);
            assert_int_equal(plan_least_live(&request), live);
        }
        for (int64_t limit = live; limit <= low;
             limit += low > live ? low - live : 1) { /* and as far as is asked */
            request.budget = budget_limited(limit, request.budget.host_bytes);
            int64_t packed = plan_least_packed(&request);
            assert_true(packed == low || (packed > limit && packed < low));
        }
        assert_int_equal(plan_graph(&request, arena)->smallest_bytes, low);
        for (int i = 0; i < BUDGETS; i++) {
            PlanRequest other = request;
            request.budget =
                budget_limited(low + (high - low) * i / (BUDGETS - 1), request.budget.host_bytes);
            other.budget = request.budget;
            other.ask = ASK_ALL, other.memo = NULL, other.known = NULL;
            request.ask = ASK_BOUND;
            const PlanResult *a = plan_graph(&request, arena), *b = plan_graph(&other, arena);
            assert_true(a->feasible && b->feasible);
            assert_int_equal(a->plan.peak_bytes, b->plan.peak_bytes);
            assert_true(a->plan.seconds == b->plan.seconds);
            assert_true(a->lower_bound_seconds == b->lower_bound_seconds);
        }
        arena_free(arena);
    }
    arena_free(kept);
}

/* What is said without a search holds: no plan is below what is proved, and the glance at the policy that
 * checkpoints every block sees its plan. */
static void a_glance_agrees_with_the_plan(void **state) {
    (void)state;
    uint32_t proved = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        Arena *arena = arena_new();
        PlanRequest request = request_for(random_training_graph(seed, arena), "host", arena);
        int64_t smallest = plan_graph(&request, arena)->smallest_bytes;
        int64_t proof = plan_operations_bytes(&request);
        assert_true(proof > 0 && proof <= smallest);
        request.budget = budget_limited(smallest, request.budget.host_bytes);
        assert_false(plan_never_fits(&request));
        request.budget = budget_limited(smallest * 9 / 10, request.budget.host_bytes);
        proved += plan_never_fits(&request);
        request.budget = budget_limited(1, request.budget.host_bytes);
        assert_true(plan_never_fits(&request));
        request.budget.limited = false;
        request.policy = POLICY_EVERY_BLOCK;
        Plan plan = plan_graph(&request, arena)->plan;
        assert_int_equal(plan_blocks_bytes(&request, false), plan.live_bytes);
        assert_int_equal(plan_blocks_bytes(&request, true), plan.peak_bytes);
        arena_free(arena);
    }
    assert_true(proved > 20);
}

static void forward_plans_pass_the_checkers(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        Arena *arena = arena_new();
        const Graph *g = graph_forward_only(random_graph(seed, arena), arena);
        PlanRequest request = request_for(g, "host", arena);
        PlanResult *result = plan_forward(g, request.cost, NONE, arena);
        check(&request, result, seed, arena);
        arena_free(arena);
    }
}

static bool same_plan(const Plan *a, const Plan *b) {
    return a->step.count == b->step.count && a->update_begin == b->update_begin &&
           !memcmp(a->step.at, b->step.at, sizeof *a->step.at * a->step.count);
}

static void more_memory_never_hurts(void **state) {
    (void)state;
    const Transformer *const shapes[] = {&bytes_gpt, &gpt2_124m};
    for (uint32_t i = 0; i < COUNT_OF(shapes); i++) {
        Arena *arena = arena_new();
        PlanRequest request = request_for(transformer_graph(shapes[i], arena), "rtx4090", arena);
        PlanResult *last = plan_graph(&request, arena);
        assert_int_equal(last->plan.peak_bytes, last->keep_all_bytes);
        int64_t low = last->smallest_bytes, high = last->keep_all_bytes;
        for (int k = 24; k >= 0; k--) {
            request.budget = budget_limited(low + (high - low) * k / 24, request.budget.host_bytes);
            PlanResult *result = plan_graph(&request, arena);
            assert_true(result->feasible);
            assert_true(result->plan.peak_bytes <= request.budget.device_bytes);
            assert_true(result->plan.peak_bytes <= last->plan.peak_bytes);
            assert_true(result->plan.seconds >= last->plan.seconds);
            assert_int_equal(result->smallest_bytes, low);
            assert_true(result->lower_bound_seconds >= last->lower_bound_seconds * (1 - 1e-9));
            check(&request, result, (uint64_t)k, arena);
            last = result;
        }
        arena_free(arena);
    }
}

/* Host memory of any size: no plan is slower than without it, nor is more memory needed. */
static void host_memory_never_hurts(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        Arena *arena = arena_new();
        PlanRequest request =
            request_for(random_training_graph(seed, arena), seed % 2 ? "host" : "t4", arena);
        request.memo = plan_memo_new(arena);
        PlanResult *free_of_limits = plan_graph(&request, arena);
        int64_t least = free_of_limits->smallest_bytes, room = free_of_limits->keep_all_bytes - least;
        PlanResult *without[BUDGETS];
        for (int i = 0; i < BUDGETS; i++) {
            request.budget = budget_limited(least + room * i / BUDGETS, request.budget.host_bytes);
            without[i] = plan_graph(&request, arena);
            assert_true(without[i]->feasible);
        }
        for (int64_t host_bytes = room / 16; host_bytes < room; host_bytes = host_bytes * 3 + 1) {
            request.budget.host_bytes = host_bytes;
            request.memo = plan_memo_new(arena);
            for (int i = 0; i < BUDGETS; i++) {
                request.budget = budget_limited(least + room * i / BUDGETS, request.budget.host_bytes);
                PlanResult *with = plan_graph(&request, arena);
                check(&request, with, seed, arena);
                assert_true(with->feasible && with->smallest_bytes <= least);
                assert_true(with->plan.host_bytes <= host_bytes);
                if (with->plan.seconds > without[i]->plan.seconds)
                    fail_msg("seed %d, budget %lld, host %lld: %.9g s instead of %.9g s", (int)seed,
                             (long long)request.budget.device_bytes, (long long)host_bytes,
                             with->plan.seconds, without[i]->plan.seconds);
            }
        }
        arena_free(arena);
    }
}

static void the_same_request_gives_the_same_plan(void **state) {
    (void)state;
    PlanResult *results[2];
    Arena *arenas[2];
    for (int i = 0; i < 2; i++) {
        arenas[i] = arena_new();
        PlanRequest request = request_for(transformer_graph(&bytes_gpt, arenas[i]), "host", arenas[i]);
        request.budget = budget_limited(200 << 20, request.budget.host_bytes);
        results[i] = plan_graph(&request, arenas[i]);
    }
    assert_true(same_plan(&results[0]->plan, &results[1]->plan));
    assert_int_equal(results[0]->layout->buf.count, results[1]->layout->buf.count);
    for (uint32_t b = 0; b < results[0]->layout->buf.count; b++)
        assert_int_equal(results[0]->layout->buf.at[b].offset, results[1]->layout->buf.at[b].offset);
    for (int i = 0; i < 2; i++) arena_free(arenas[i]);
}

static void optimal_is_never_worse_than_a_fixed_policy(void **state) {
    (void)state;
    const Transformer *const shapes[] = {&bytes_gpt, &gpt2_124m, &llama3_8b};
    for (uint32_t i = 0; i < COUNT_OF(shapes); i++)
        for (int policy = 0; policy < POLICY_OPTIMAL; policy++) {
            Arena *arena = arena_new();
            PlanRequest request = request_for(transformer_graph(shapes[i], arena), "h200", arena);
            request.policy = (Policy)policy;
            PlanResult *fixed = plan_graph(&request, arena);
            request.policy = POLICY_OPTIMAL;
            request.budget = budget_limited(fixed->plan.peak_bytes, request.budget.host_bytes);
            PlanResult *optimal = plan_graph(&request, arena);
            assert_true(optimal->feasible);
            assert_true(optimal->plan.seconds <= fixed->plan.seconds * (1 + 1e-12));
            arena_free(arena);
        }
}

/* What the demo promises: half the memory is enough. */
static void bytes_gpt_fits_half(void **state) {
    (void)state;
    Arena *arena = arena_new();
    PlanRequest request = request_for(transformer_graph(&bytes_gpt, arena), "host", arena);
    PlanResult *result = plan_graph(&request, arena);
    assert_true((double)result->smallest_bytes <= 0.55 * (double)result->keep_all_bytes);
    request.budget = budget_limited(result->keep_all_bytes / 2, request.budget.host_bytes);
    result = plan_graph(&request, arena);
    assert_true(result->feasible);
    assert_true(result->gap < 0.02);
    arena_free(arena);
}

/* Times nodes whose name matches run again. */
static uint32_t reruns(const Graph *g, const Plan *plan, const char *pattern) {
    uint32_t count = 0;
    Arena *arena = arena_new();
    Glob *glob = glob_new(arena, pattern);
    for (uint32_t i = 0; i < plan->step.count; i++)
        count += plan->step.at[i].kind == STEP_RECOMPUTE &&
                 glob_matches(glob, g->node.at[plan->step.at[i].node].name);
    arena_free(arena);
    return count;
}

static void pins_hold(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Pins pins = {0};
    PlanRequest request = request_for(transformer_graph(&gpt2_124m, arena), "rtx4090", arena);
    request.budget = budget_limited(plan_graph(&request, arena)->keep_all_bytes * 7 / 10, 0);
    request.pins = &pins;
    *vec_add(arena, &pins) = (Pin){.kind = PIN_KEEP, .pattern = "h.*.fc"};
    PlanResult *kept = plan_graph(&request, arena);
    assert_true(kept->feasible);
    assert_int_equal(reruns(request.graph, &kept->plan, "h.*.fc"), 0);

    pins.at[0] = (Pin){.kind = PIN_RECOMPUTE, .pattern = "h.*.proj"};
    request.budget.limited = false;
    PlanResult *again = plan_graph(&request, arena);
    check(&request, again, 0, arena);
    assert_int_equal(reruns(request.graph, &again->plan, "h.*.proj"), 0); /* nothing in backward reads it */
    pins.at[0].pattern = "h.*.qkv";
    again = plan_graph(&request, arena);
    check(&request, again, 0, arena);
    assert_int_equal(reruns(request.graph, &again->plan, "h.*.qkv"), gpt2_124m.layers);
    arena_free(arena);
}

/* ---- the rule of thumb, case by case ---- */

typedef struct ThumbCase {
    double billions, gigabytes;
    int64_t sequence;
    bool four_bit, enable;
    const char *because;
} ThumbCase;

static const ThumbCase thumb_cases[] = {
    {8.03, 8, 2048, false, true, "more than 7B"},
    {8.03, 80, 2048, false, true, "more than 7B"},
    {8.03, 0, 2048, true, true, "more than 7B"},
    {0.12, 8, 1024, false, true, "less than 16 GB"},
    {0.12, 15.9, 1024, true, true, "less than 16 GB"},
    {0.12, 16, 1024, false, false, "16 to 24 GB"},
    {1.6, 23.9, 4096, false, false, "16 to 24 GB"},
    {7.0, 16, 4096, false, true, "16 to 24 GB"},
    {7.0, 23.9, 2048, false, true, "16 to 24 GB"},
    {7.0, 24, 4096, false, false, "24 GB or more"},
    {0.12, 24, 4096, false, false, "24 GB or more"},
    {0.12, 80, 4096, false, false, "24 GB or more"},
    {0.12, 80, 4097, false, true, "more than 4096"},
    {0.12, 16, 8192, true, true, "more than 4096"},
    {1.6, 24, 4096, true, false, "4-bit"},
    {7.0, 16, 2048, true, false, "4-bit"},
    {0.12, 0, 1024, false, false, "no limit"},
    {0.12, 0, 8192, false, true, "more than 4096"},
};

static void the_rule_of_thumb(void **state) {
    (void)state;
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < COUNT_OF(thumb_cases); i++) {
        const ThumbCase *t = &thumb_cases[i];
        Reasons reasons = {0};
        bool enable = retain_heuristic(t->billions * 1e9, t->gigabytes * 1e9, t->sequence, t->four_bit,
                                       &reasons, arena);
        assert_true(reasons.count > 0);
        if (enable != t->enable || !strstr(reasons.at[0], t->because))
            fail_msg("case %u: %s because %s", i, enable ? "enable" : "off", reasons.at[0]);
    }
    arena_free(arena);
}

static void the_heuristic_follows_its_rule(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const char *const devices[] = {"rtx4090", "t4", "l4"};
    for (uint32_t i = 0; i < COUNT_OF(devices); i++) {
        PlanRequest request = request_for(transformer_graph(&gpt2_124m, arena), devices[i], arena);
        PlanResult *same[POLICY_COUNT];
        for (int policy = 0; policy <= POLICY_HEURISTIC; policy++) {
            request.policy = (Policy)policy;
            same[policy] = plan_graph(&request, arena);
        }
        assert_true(same[POLICY_HEURISTIC]->reason.count > 0);
        assert_int_equal(same[POLICY_HEURISTIC]->plan.peak_bytes, same[POLICY_NONE]->plan.peak_bytes);
    }
    PlanRequest request = request_for(transformer_graph(&llama3_8b, arena), "h200", arena);
    request.policy = POLICY_HEURISTIC;
    PlanResult *heuristic = plan_graph(&request, arena);
    request.policy = POLICY_EVERY_BLOCK;
    assert_true(same_plan(&heuristic->plan, &plan_graph(&request, arena)->plan));
    arena_free(arena);
}

/* ---- devices and costs ---- */

static void devices_are_usable(void **state) {
    (void)state;
    uint32_t count;
    const Device *list = device_list(&count);
    assert_null(device_find("rtx9999"));
    for (uint32_t i = 0; i < count; i++) {
        const Device *device = &list[i];
        assert_ptr_equal(device_find(device->name), device);
        assert_true(device->flops_per_second[DT_F32] > 0 && device->bytes_per_second > 0);
        assert_true(device->copy_bytes_per_second > 0 && device->launch_seconds > 0);
        assert_int_equal(device->cuda, device->memory_bytes > 0);
        assert_int_equal(device->cuda, device->capability > 0);
        assert_true(device->reserved_bytes >= 0 &&
                    (!device->cuda || device->reserved_bytes < device->memory_bytes));
    }
    assert_true(device_find("t4")->flops_per_second[DT_BF16] == 0);
}

static void a_pretended_memory_is_said(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Device device = *device_find("h200");
    assert_string_equal(device_text(&device, arena), "h200");
    device.memory_bytes = INT64_C(1200) << 30;
    device.memory_pretended = true;
    assert_string_equal(device_text(&device, arena), "h200 (pretended memory: 1.17 TiB)");
    arena_free(arena);
}

/* A size that is needed is printed so that what is read back is enough, and a hundredth less is not. */
static void needed_sizes_are_rounded_up(void **state) {
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.00 KiB"},
                 {1025, "1.01 KiB"},
                 {INT64_C(1) << 30, "1.00 GiB"},
                 {(INT64_C(1) << 30) + 1, "1.01 GiB"},
                 {(INT64_C(1) << 30) - 1, "1024.00 MiB"},
                 {30488576, "29.08 MiB"},
                 {INT64_C(5) << 50, "5120.00 TiB"}};
    char text[24];
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(format_bytes_up(cases[i].bytes, text), cases[i].text);
    uint64_t random = 7;
    for (int i = 0; i < 100000; i++) {
        int64_t bytes = 1024 + (int64_t)(random_next(&random) >> (14 + i % 40));
        double value = strtod(format_bytes_up(bytes, text), NULL);
        double unit = ldexp(1, 10 * (int)(1 + strcspn("KMGT", (char[]){strchr(text, ' ')[1], 0})));
        assert_true((int64_t)llround(value * unit) >= bytes);
        assert_true((value - 0.01) * unit < (double)bytes);
    }
}

/* 6 flops a parameter and token, and attention's products on top. */
static void costs_count_the_products(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const Graph *g = transformer_graph(&gpt2_124m, arena);
    const Cost *cost = cost_graph(g, device_find("rtx4090"), arena);
    const Transformer *t = &gpt2_124m;
    double tokens = (double)(t->batch * t->context), flops = 0, attend = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        Op op = g->node.at[n].op;
        if (op == OP_LINEAR || op == OP_LINEAR_BWD_X || op == OP_LINEAR_BWD_W) flops += cost[n].flops;
        if (op == OP_ATTEND_PACKED) attend += cost[n].flops;
        bool view = op_info[op].flags & OPF_VIEW;
        assert_true(view ? cost[n].seconds == 0 : cost[n].seconds > 0);
        assert_int_equal(cost[n].workspace_bytes % PLAN_ALIGN, 0);
    }
    double weights =
        (double)(t->layers * (4 * t->width * t->width + 2 * t->width * t->hidden) + t->vocabulary * t->width);
    assert_float_equal(flops / (6 * tokens * weights), 1, 1e-9);
    /* two products of T x T x D a layer, half of each under the causal mask */
    double products = 2.0 * (double)(t->layers * t->batch * t->context * t->context * t->width);
    assert_float_equal(attend / products, 1, 1e-9);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_pass_the_checkers),
        cmocka_unit_test(less_is_asked_with_the_same_answer),
        cmocka_unit_test(a_glance_agrees_with_the_plan),
        cmocka_unit_test(forward_plans_pass_the_checkers),
        cmocka_unit_test(more_memory_never_hurts),
        cmocka_unit_test(host_memory_never_hurts),
        cmocka_unit_test(the_same_request_gives_the_same_plan),
        cmocka_unit_test(optimal_is_never_worse_than_a_fixed_policy),
        cmocka_unit_test(bytes_gpt_fits_half),
        cmocka_unit_test(pins_hold),
        cmocka_unit_test(the_rule_of_thumb),
        cmocka_unit_test(the_heuristic_follows_its_rule),
        cmocka_unit_test(devices_are_usable),
        cmocka_unit_test(a_pretended_memory_is_said),
        cmocka_unit_test(needed_sizes_are_rounded_up),
        cmocka_unit_test(costs_count_the_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
