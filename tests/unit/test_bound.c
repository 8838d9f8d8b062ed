/* The planner's core against exhaustive answers: minimum cuts, the closure bound, the search, and the
 * published reference graphs where they are at hand. */
#include "planner/bound/closure.h"
#include "planner/bound/min_cut.h"
#include "planner/search.h"
#include "tests/support/brute.h"
#include "tests/support/reference_dags.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- minimum cuts ---- */

enum { VERTICES = 8, MOST_ARCS = 24 };
typedef struct TestArc {
    uint32_t from, to, id;
    int64_t capacity;
} TestArc;

static int64_t cut_value(const TestArc *arc, uint32_t arcs, uint32_t source_side) {
    int64_t value = 0;
    for (uint32_t i = 0; i < arcs; i++)
        if (source_side >> arc[i].from & 1 && !(source_side >> arc[i].to & 1)) value += arc[i].capacity;
    return value;
}

static int64_t least_cut(const TestArc *arc, uint32_t arcs) {
    int64_t least = INT64_MAX;
    for (uint32_t set = 0; set < 1u << VERTICES; set++) {
        if (!(set >> MIN_CUT_SOURCE & 1) || set >> MIN_CUT_SINK & 1) continue;
        int64_t value = cut_value(arc, arcs, set);
        if (value < least) least = value;
    }
    return least;
}

static void cuts_are_minimum(void **state) {
    (void)state;
    Arena *arena = arena_new();
    for (uint64_t seed = 0; seed < 500; seed++) {
        uint64_t random = seed;
        TestArc arc[MOST_ARCS];
        uint32_t arcs = 4 + (uint32_t)(random_next(&random) % (MOST_ARCS - 4));
        MinCut *cut = min_cut_new(VERTICES, arena);
        for (uint32_t i = 0; i < arcs; i++) {
            arc[i].from = (uint32_t)(random_next(&random) % VERTICES);
            arc[i].to = (arc[i].from + 1 + (uint32_t)(random_next(&random) % (VERTICES - 1))) % VERTICES;
            arc[i].capacity = (int64_t)(random_next(&random) % 20);
            arc[i].id = min_cut_arc(cut, arc[i].from, arc[i].to, arc[i].capacity);
        }
        /* capacities go up and down between solves */
        for (int round = 0; round < 6; round++) {
            int64_t value = min_cut_solve(cut);
            assert_int_equal(value, least_cut(arc, arcs));
            uint32_t side = 0;
            for (uint32_t v = 0; v < VERTICES; v++) side |= (uint32_t)min_cut_source_side(cut, v) << v;
            assert_int_equal(cut_value(arc, arcs, side), value);
            for (uint32_t i = 0; i < arcs; i++) {
                if (random_next(&random) % 2) continue;
                arc[i].capacity = (int64_t)(random_next(&random) % 20);
                min_cut_capacity(cut, arc[i].id, arc[i].capacity);
            }
        }
        arena_reset(arena);
    }
    arena_free(arena);
}

/* ---- the bound and the search against every schedule there is ---- */

typedef struct KeepAll {
    int64_t *live, peak_bytes;
    double seconds;
} KeepAll;

static KeepAll keep_all(const Problem *p, Arena *arena) {
    KeepAll all = {.live = NEW_ARRAY(arena, int64_t, p->ops + 1)};
    Replay *r = replay_new(p, arena);
    Sequence sequence = {0};
    replay(r, NEW_ARRAY(arena, Keep, p->gaps + 1), &sequence);
    memcpy(all.live, replay_live(r), sizeof *all.live * p->ops);
    all.peak_bytes = sequence.peak_bytes;
    all.seconds = sequence.seconds;
    return all;
}

static double best_within(const Front *front, int64_t budget) {
    double best = INFINITY;
    for (uint32_t i = 0; i < front->count; i++)
        if (front->at[i].peak_bytes <= budget && front->at[i].seconds < best) best = front->at[i].seconds;
    return best;
}

static void against_every_schedule(bool plain, bool ends, uint64_t seeds, double most_excess,
                                   double most_missed) {
    uint32_t cases = 0, missed = 0;
    double excess = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        Arena *arena = arena_new();
        Problem *p = random_problem(seed, 9, plain, arena);
        if (ends) random_ends(p, seed, arena);
        KeepAll all = keep_all(p, arena);
        Front front = search_front(p, NULL, NULL, (SearchGoal){.ask = SEARCH_ANY}, NULL, NULL, arena);
        for (uint32_t i = 1; i < front.count; i++) {
            assert_true(front.at[i - 1].peak_bytes < front.at[i].peak_bytes);
            assert_true(front.at[i - 1].seconds > front.at[i].seconds);
        }
        for (int64_t budget = all.peak_bytes;; budget -= PLAN_ALIGN) {
            double optimum = brute_seconds(p, budget, arena);
            double bound = all.seconds + closure_seconds(p, all.live, budget);
            double found = best_within(&front, budget);
            if (optimum == INFINITY) {
                assert_true(found == INFINITY);
                break;
            }
            if (bound > optimum * (1 + 1e-9))
                fail_msg("seed %d: bound %g, optimum %g", (int)seed, bound, optimum);
            if (found < optimum * (1 - 1e-9))
                fail_msg("seed %d: found %g, optimum %g", (int)seed, found, optimum);
            cases++;
            if (found == INFINITY)
                missed++;
            else
                excess += found / optimum - 1;
        }
        arena_free(arena);
    }
    excess /= cases;
    if (excess > most_excess || missed > most_missed * cases)
        fail_msg("%u cases: mean excess %.3f%%, %u feasible ones missed", cases, 100 * excess, missed);
}

static void plain_problems(void **state) {
    (void)state;
    against_every_schedule(true, false, 400, 0.005, 0.02);
}

static void problems_with_workspace(void **state) {
    (void)state;
    against_every_schedule(false, false, 400, 0.005, 0.04);
}

/* As when parameters are updated within the micro-step. */
static void problems_with_updates(void **state) {
    (void)state;
    against_every_schedule(true, true, 400, 0.02, 0.1);
    against_every_schedule(false, true, 400, 0.02, 0.1);
}

/* ---- the reference optima ---- */

/* The bound must not pass a proved optimum, and the search must come near it. */
static void reference_graphs(void **state) {
    (void)state;
    uint32_t there = 0;
    for (uint32_t i = 0; i < REFERENCE_OPTIMA; i++) {
        Arena *arena = arena_new();
        Problem *p = reference_read(reference_optimum[i].file, arena);
        if (p) {
            there++;
            KeepAll all = keep_all(p, arena);
            Front front = search_front(p, NULL, NULL, (SearchGoal){.ask = SEARCH_ANY}, NULL, NULL, arena);
            int64_t budget = (int64_t)(reference_optimum[i].fraction * (double)all.peak_bytes);
            double bound = 100 * closure_seconds(p, all.live, budget) / all.seconds;
            double found = 100 * (best_within(&front, budget) / all.seconds - 1);
            printf("%-22s %.1f: bound %.4f%%, found %.4f%%, optimum %.4f%%\n", reference_optimum[i].file,
                   reference_optimum[i].fraction, bound, found, reference_optimum[i].percent);
            assert_true(bound <= reference_optimum[i].percent + 1e-4);
            assert_true(found >= reference_optimum[i].percent - 1e-4);
            assert_true(found <= reference_optimum[i].percent * 1.5 + 1);
        }
        arena_free(arena);
    }
    if (!there) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_minimum),        cmocka_unit_test(plain_problems),
        cmocka_unit_test(problems_with_workspace), cmocka_unit_test(problems_with_updates),
        cmocka_unit_test(reference_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
