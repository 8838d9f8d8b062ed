/* See mutants.h. In: kinds of mutants; out: a table of what the checker said of each, and no survivor. */
#include "tests/support/mutants.h"
#include "tests/support/copies.h"
#include "tests/support/random_graph.h"
#include "tests/support/both_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

bool pick_step(const Plan *plan, uint64_t *seed, unsigned kinds, uint32_t *s) {
    uint32_t start = below(seed, plan->step.count);
    for (uint32_t i = 0; i < plan->step.count; i++) {
        *s = (start + i) % plan->step.count;
        if (kinds & 1u << plan->step.at[*s].kind) return true;
    }
    return false;
}

/* A copy that can be changed. */
static Toy copy(const Toy *toy, Arena *arena) {
    Toy to = *toy;
    to.plan.step.at = NEW_ARRAY(arena, Step, toy->plan.step.count + 1);
    to.plan.step.capacity = toy->plan.step.count + 1;
    memcpy(to.plan.step.at, toy->plan.step.at, sizeof(Step) * toy->plan.step.count);
    to.layout = NEW(arena, Layout);
    *to.layout = *toy->layout;
    to.layout->buf.at = NEW_ARRAY(arena, Buf, toy->layout->buf.count + 1);
    memcpy(to.layout->buf.at, toy->layout->buf.at, sizeof(Buf) * toy->layout->buf.count);
    to.layout->bind.at = NEW_ARRAY(arena, uint32_t, toy->layout->bind.count);
    memcpy(to.layout->bind.at, toy->layout->bind.at, sizeof(uint32_t) * toy->layout->bind.count);
    return to;
}

/* One in sixteen is a real training graph, planned, and half of those are given copies. */
static Toy any_toy(uint64_t *seed, Arena *arena) {
    if (below(seed, 16)) return toy_new(seed, arena);
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    Toy toy = {.g = random_training_graph(random_next(seed), arena)};
    toy.cost = cost_graph(toy.g, device, arena);
    PlanRequest request = {.graph = toy.g, .cost = toy.cost, .device = device};
    request.policy = (Policy[]){POLICY_NONE, POLICY_EVERY_BLOCK, POLICY_SQRT}[below(seed, 3)];
    PlanResult *result = plan_graph(&request, arena);
    toy.plan = result->plan;
    toy.layout = result->layout;
    if (below(seed, 2)) {
        toy.plan = with_copies(toy.g, &result->plan, seed, 3, arena);
        toy.layout = copies_layout(toy.g, toy.cost, &toy.plan, arena);
    }
    return toy;
}

static const char *check(const Toy *t, bool layout, Arena *arena) {
    return layout ? both_checks(t->g, t->cost, &t->plan, t->layout, NULL, arena)
                  : plan_check(t->g, &t->plan, arena);
}

static const char *judge(const Toy *t, bool layout, Arena *arena) {
    return toy_run(t->g, t->cost, &t->plan, layout ? t->layout : NULL, arena);
}

void mutants_die(const Mutation *mutation, size_t kinds, int each, bool layout) {
    Arena *arena = arena_new();
    uint64_t seed = 12;
    int survivors = 0;
    print_message("%-26s %8s %8s %8s\n", "mutants", "made", "rejected", "harmless");
    for (size_t k = 0; k < kinds; k++) {
        int made = 0, rejected = 0;
        while (made < each) {
            arena_reset(arena);
            Toy toy = any_toy(&seed, arena);
            for (int i = 0; i < 10 && made < each; i++) {
                Toy mutant = copy(&toy, arena);
                if (!mutation[k].change(&mutant, &seed)) continue;
                made++;
                if (check(&mutant, layout, arena)) {
                    rejected++;
                    continue;
                }
                const char *difference = judge(&mutant, layout, arena);
                if (!difference && !mutation[k].harmful) continue;
                survivors++;
                print_message("survives: %s: %s\n", mutation[k].name,
                              difference ? difference : "no difference");
            }
        }
        print_message("%-26s %8d %8d %8d\n", mutation[k].name, made, rejected, made - rejected);
        assert_true(rejected > made / 100);
    }
    assert_int_equal(survivors, 0);
    arena_free(arena);
}
