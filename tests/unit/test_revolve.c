/* The bound that counts reruns of a chain of equal blocks: against every schedule of small random chains, and
 * against the plans of random transformers, which it must never pass. */
#include "planner/dag/exhaustive.h"
#include "planner/chain/revolve.h"
#include "planner/retain/policy.h"
#include "planner/bound/instants.h"
#include "tests/support/transformer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t below(uint64_t *random, uint32_t bound) {
    return (uint32_t)(random_next(random) % bound);
}

/* ---- random chains ---- */

enum { MOST_OPS = 64, MOST_BLOCKS = 6, MOST_INSIDE = 3 };

typedef struct Maker {
    Problem *p;
    Arena *arena;
    VEC(uint32_t) reads_first, reads, makes_first, makes;
} Maker;

/* What each block does alike: forward operations in a row, some of which read the block's input too, and
 * backward operations in a row, the last of which reads what the first did. */
typedef struct Part {
    double seconds;
    uint32_t reads; /* forward: whether the input too; backward: set of the input and the inside */
    int64_t bytes, workspace;
} Part;

/* The storage it makes; NONE without bytes. */
static uint32_t add_op(Maker *m, const Part *step, const uint32_t *read, uint32_t reads) {
    Problem *p = m->p;
    *vec_add(m->arena, &m->reads_first) = m->reads.count;
    *vec_add(m->arena, &m->makes_first) = m->makes.count;
    for (uint32_t i = 0; i < reads; i++) {
        bool known = false;
        for (uint32_t k = 0; k < i; k++) known |= read[k] == read[i];
        if (!known) *vec_add(m->arena, &m->reads) = read[i];
    }
    p->seconds[p->ops] = step->seconds;
    p->workspace_bytes[p->ops] = step->workspace;
    p->rerun[p->ops] = step->bytes > 0;
    if (step->bytes) {
        *vec_add(m->arena, &m->makes) = p->storages;
        p->bytes[p->storages] = step->bytes;
        p->maker[p->storages++] = p->ops;
    }
    p->ops++;
    return step->bytes ? p->storages - 1 : NONE;
}

static Part random_step(uint64_t *random, bool may_be_empty) {
    Part step = {.seconds = 1 + below(random, 5), .bytes = PLAN_ALIGN * (int64_t)(1 + below(random, 3))};
    step.workspace = below(random, 3) ? 0 : PLAN_ALIGN * (int64_t)below(random, 4);
    if (may_be_empty && below(random, 2)) step.bytes = 0;
    return step;
}

/*     embed | blocks | loss: h = f(x), l = f(h) | g = f(l), g = f(g, x) | blocks backward | update of embed
 */
static Problem *random_chain(uint64_t seed, uint32_t *boundary, Arena *arena) {
    uint64_t random = seed * 7919 + 17;
    Maker m = {.p = NEW(arena, Problem), .arena = arena};
    Problem *p = m.p;
    p->seconds = NEW_ARRAY(arena, double, MOST_OPS);
    p->workspace_bytes = NEW_ARRAY(arena, int64_t, MOST_OPS);
    p->rerun = NEW_ARRAY(arena, bool, MOST_OPS);
    p->bytes = NEW_ARRAY(arena, int64_t, MOST_OPS);
    p->maker = NEW_ARRAY(arena, uint32_t, MOST_OPS);
    uint32_t inside = 1 + below(&random, 2), back = 1 + below(&random, 3);
    uint32_t blocks = inside == 2 ? 2 + below(&random, 2) : 3 + below(&random, 3);
    Part forward[MOST_INSIDE], backward[MOST_INSIDE];
    for (uint32_t i = 0; i < inside; i++)
        forward[i] = random_step(&random, false), forward[i].reads = below(&random, 2);
    for (uint32_t i = 0; i < back; i++)
        backward[i] = random_step(&random, i + 1 < back),
        backward[i].reads = below(&random, 1u << (inside + 1));
    backward[back - 1].reads |= 1;
    if (back > 1 && below(&random, 2)) backward[0].reads &= ~1u;

    uint32_t made[MOST_BLOCKS][MOST_INSIDE + 1];
    Part step = {.seconds = 1, .bytes = forward[inside - 1].bytes};
    uint32_t x = add_op(&m, &step, NULL, 0);
    for (uint32_t k = 0; k < blocks; k++) {
        made[k][0] = x;
        for (uint32_t i = 0; i < inside; i++)
            x = made[k][i + 1] =
                add_op(&m, &forward[i], (uint32_t[]){made[k][i], made[k][0]}, 1 + forward[i].reads);
    }
    step = (Part){.seconds = 1, .bytes = PLAN_ALIGN};
    uint32_t h = add_op(&m, &step, &x, 1);
    step = (Part){.seconds = 2, .bytes = PLAN_ALIGN * (int64_t)(1 + below(&random, 5))};
    uint32_t loss = add_op(&m, &step, &h, 1);
    *boundary = p->ops;
    step = (Part){.seconds = 2, .bytes = PLAN_ALIGN};
    uint32_t g = add_op(&m, &step, &loss, 1);
    step = (Part){.seconds = 1, .bytes = backward[back - 1].bytes};
    g = add_op(&m, &step, (uint32_t[]){g, x}, 2);
    for (uint32_t k = blocks; k-- > 0;) {
        uint32_t current = g;
        for (uint32_t i = 0; i < back; i++) {
            uint32_t read[MOST_INSIDE + 3], reads = 0;
            read[reads++] = current;
            if (i + 1 == back) read[reads++] = g;
            for (uint32_t s = 0; s <= inside; s++)
                if (backward[i].reads >> s & 1) read[reads++] = made[k][s];
            uint32_t next = add_op(&m, &backward[i], read, reads);
            if (next != NONE) current = next;
        }
        g = current;
    }
    step = (Part){.seconds = 1};
    add_op(&m, &step, &g, 1);
    *vec_add(arena, &m.reads_first) = m.reads.count;
    *vec_add(arena, &m.makes_first) = m.makes.count;
    p->update_begin = p->ops;
    p->reads = (Lists){m.reads_first.at, m.reads.at};
    p->makes = (Lists){m.makes_first.at, m.makes.at};
    p->takeover = (Lists){NEW_ARRAY(arena, uint32_t, p->ops + 1), NULL};
    problem_index(p, arena);
    return p;
}

static void stays_below_every_schedule(void **state) {
    (void)state;
    enum { SEEDS = 600, MOST_STORAGES = 14 };
    uint32_t cases = 0, raised = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        Arena *arena = arena_new();
        uint32_t boundary;
        Problem *p = random_chain(seed, &boundary, arena);
        if (p->storages <= MOST_STORAGES) {
            Replay *r = replay_new(p, arena);
            Sequence all = {0};
            replay(r, NEW_ARRAY(arena, Keep, p->gaps + 1), &all);
            int64_t *live = NEW_ARRAY(arena, int64_t, p->ops);
            memcpy(live, replay_live(r), sizeof *live * p->ops);
            for (int64_t budget = all.peak_bytes;; budget -= PLAN_ALIGN) {
                ExhaustiveRuns best = exhaustive_runs(p, budget, HUGE_VAL, arena);
                if (!best.exists) break;
                double nested = revolve_seconds(p, boundary, budget);
                if (nested > best.seconds + 1e-9 * all.seconds)
                    fail_msg("seed %d, budget %d: bound %g, optimum %g", (int)seed, (int)budget, nested,
                             best.seconds);
                cases++;
                raised += nested > fmax(instants_seconds(p, live, budget), closure_seconds(p, live, budget)) *
                                       (1 + 1e-9);
            }
        }
        arena_free(arena);
    }
    assert_true(raised > 5);
    print_message("%u cases, %u with a higher bound than before\n", cases, raised);
}

/* ---- transformers ---- */

static void stays_below_plans(void **state) {
    (void)state;
    enum { SHAPES = 12, BUDGETS = 6 };
    for (uint64_t seed = 0; seed < SHAPES; seed++) {
        uint64_t random = seed * 31 + 5;
        Arena *arena = arena_new();
        Transformer shape = below(&random, 2) ? llama3_8b : gpt2_124m;
        shape.layers = 3 + below(&random, 22);
        shape.batch = 1 + below(&random, 8);
        shape.context = 128 << below(&random, 4);
        shape.vocabulary = 1000 << below(&random, 7);
        shape.hidden = shape.width * (1 + below(&random, 5));
        shape.accumulate = 1 + below(&random, 2) * 7;
        shape.dropout = below(&random, 2) ? 0 : shape.dropout;
        const Graph *g = transformer_graph(&shape, arena);
        const Device *device = device_find(below(&random, 2) ? "h100" : "rtx4090");
        const Cost *cost = cost_graph(g, device, arena);
        PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = POLICY_OPTIMAL};
        Problem *p = problem_from_graph(g, cost, arena);
        uint32_t boundary = problem_blocks(g, p, arena).boundary;
        const PlanResult *all = plan_graph(&request, arena);
        int64_t low = all->smallest_bytes, high = low + (all->keep_all_bytes - low) / 8;
        for (int64_t k = 0; k < BUDGETS; k++) {
            request.budget = budget_limited(low + (high - low) * k / BUDGETS, request.budget.host_bytes);
            const PlanResult *result = plan_graph(&request, arena);
            double nested = revolve_seconds(p, boundary, request.budget.device_bytes);
            assert_true(result->feasible);
            if (all->keep_all_seconds + nested > result->plan.seconds * (1 + 1e-9))
                fail_msg("shape %d, budget %d: bound %g, plan %g", (int)seed, (int)k,
                         all->keep_all_seconds + nested, result->plan.seconds);
            assert_true(result->gap >= -1e-9);
        }
        arena_free(arena);
    }
}

/* At the smallest budget nothing is kept while the loss head runs, a little above it some blocks' inputs. */
static void is_close_where_blocks_run_again(void **state) {
    (void)state;
    static const struct {
        const Transformer *shape;
        int64_t batch, context;
        const char *device;
        double inputs, gap;
    } cases[] = {
        {&llama3_8b, 4, 4096, "rtx4090", 0, 0.022},
        {&llama3_8b, 4, 4096, "rtx4090", 1.03, 0.015},
        {&llama3_8b, 4, 4096, "rtx4090", 12, 0.02},
        {&gpt2_xl, 8, 1024, "h100", 0, 0.07},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *arena = arena_new();
        Transformer shape = *cases[i].shape;
        shape.batch = cases[i].batch;
        shape.context = cases[i].context;
        const Graph *g = transformer_graph(&shape, arena);
        const Device *device = device_find(cases[i].device);
        PlanRequest request = {
            .graph = g, .cost = cost_graph(g, device, arena), .device = device, .policy = POLICY_OPTIMAL};
        double input = (double)(shape.batch * shape.context * shape.width * 2);
        request.budget =
            budget_limited(plan_graph(&request, arena)->smallest_bytes + (int64_t)(cases[i].inputs * input),
                           request.budget.host_bytes);
        const PlanResult *result = plan_graph(&request, arena);
        double recomputed = result->plan.seconds / result->keep_all_seconds - 1;
        print_message("case %u: %.1f%% recomputed, gap %.2f%%\n", (unsigned)i, 100 * recomputed,
                      100 * result->gap);
        assert_true(result->feasible && recomputed > 0.25);
        assert_true(result->gap >= -1e-9 && result->gap < cases[i].gap);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_below_every_schedule),
        cmocka_unit_test(stays_below_plans),
        cmocka_unit_test(is_close_where_blocks_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
