/* The planner's core against exhaustive answers: minimum cuts, the closure bound, the search, and the
 * published reference graphs where they are at hand. */
#include "planner/bound/closure.h"
#include "planner/bound/min_cut.h"
#include "planner/search.h"
#include "tests/support/brute.h"

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

/* The number after "key": in the object that starts at `object`; NAN when it has none. */
static double field(const char *object, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *end = strchr(object, '}'), *found = strstr(object, quoted);
    return found && found < end ? strtod(found + strlen(quoted), NULL) : NAN;
}

static uint32_t count_objects(const char *from, const char *to) {
    uint32_t count = 0;
    for (; from < to; from++) count += *from == '{';
    return count;
}

/* A training graph of Checkmate's: node outputs only, in order of id. NULL when the file is not there. */
static Problem *read_reference(const char *name, Arena *arena) {
    const char *data = getenv("REMAT_DATA");
    const char *path = data ? arena_printf(arena, "%s/remat/%s", data, name)
                            : arena_printf(arena, SOURCE_DIR "/../shared/data/remat/%s", name);
    size_t length;
    char *text = read_file(arena, path, &length);
    if (!text) return NULL;
    const char *nodes = strstr(text, "\"nodes\""), *links = strstr(text, "\"links\"");
    assert_non_null(nodes);
    assert_non_null(links);
    Problem *p = NEW(arena, Problem);
    uint32_t ops = p->ops = p->storages = p->update_begin = count_objects(nodes, links);
    p->seconds = NEW_ARRAY(arena, double, ops);
    p->workspace_bytes = NEW_ARRAY(arena, int64_t, ops);
    p->rerun = NEW_ARRAY(arena, bool, ops);
    p->bytes = NEW_ARRAY(arena, int64_t, ops);
    p->maker = NEW_ARRAY(arena, uint32_t, ops);
    const char *at = nodes;
    for (uint32_t i = 0; i < ops; i++) {
        at = strchr(at, '{');
        uint32_t id = (uint32_t)field(at, "id");
        p->seconds[id] = field(at, "cost_cpu");
        p->bytes[id] = (int64_t)field(at, "cost_ram");
        p->rerun[id] = true;
        p->maker[id] = id;
        at++;
    }
    uint32_t edges = count_objects(links, links + strlen(links));
    p->reads = (Lists){NEW_ARRAY(arena, uint32_t, ops + 2), NEW_ARRAY(arena, uint32_t, edges)};
    p->makes = (Lists){NEW_ARRAY(arena, uint32_t, ops + 1), p->maker};
    p->takeover = (Lists){NEW_ARRAY(arena, uint32_t, ops + 1), NULL};
    for (uint32_t i = 0; i <= ops; i++) p->makes.first[i] = i;
    at = links;
    for (uint32_t i = 0; i < edges; i++, at++) {
        at = strchr(at, '{');
        p->reads.first[(uint32_t)field(at, "target") + 2]++;
    }
    for (uint32_t i = 2; i <= ops + 1; i++) p->reads.first[i] += p->reads.first[i - 1];
    at = links;
    for (uint32_t i = 0; i < edges; i++, at++) {
        at = strchr(at, '{');
        p->reads.list[p->reads.first[(uint32_t)field(at, "target") + 1]++] = (uint32_t)field(at, "source");
    }
    problem_index(p, arena);
    return p;
}

typedef struct Entry {
    const char *file;
    double fraction, percent;
} Entry;

/* Least recomputation in percent of one pass, proved optimal. */
static const Entry proved[] = {
    {"vgg16_train.json", 0.9, 1.9677},    {"fcn8_vgg_train.json", 0.9, 0.0294},
    {"fcn8_vgg_train.json", 0.8, 0.1361}, {"vgg_unet_train.json", 0.9, 1.1289},
    {"vgg_unet_train.json", 0.8, 1.9836}, {"vgg_unet_train.json", 0.7, 2.9673},
    {"vgg_unet_train.json", 0.6, 4.4509}, {"resnet50_train.json", 0.9, 0.1085},
    {"resnet50_train.json", 0.8, 0.2786}, {"resnet50_train.json", 0.7, 0.5645},
    {"resnet50_train.json", 0.6, 0.9626}, {"resnet50_train.json", 0.5, 1.4988},
};

/* The bound must not pass a proved optimum, and the search must come near it. */
static void reference_graphs(void **state) {
    (void)state;
    uint32_t there = 0;
    for (uint32_t i = 0; i < COUNT_OF(proved); i++) {
        Arena *arena = arena_new();
        Problem *p = read_reference(proved[i].file, arena);
        if (p) {
            there++;
            KeepAll all = keep_all(p, arena);
            Front front = search_front(p, NULL, NULL, (SearchGoal){.ask = SEARCH_ANY}, NULL, NULL, arena);
            int64_t budget = (int64_t)(proved[i].fraction * (double)all.peak_bytes);
            double bound = 100 * closure_seconds(p, all.live, budget) / all.seconds;
            double found = 100 * (best_within(&front, budget) / all.seconds - 1);
            printf("%-22s %.1f: bound %.4f%%, found %.4f%%, optimum %.4f%%\n", proved[i].file,
                   proved[i].fraction, bound, found, proved[i].percent);
            assert_true(bound <= proved[i].percent + 1e-4);
            assert_true(found >= proved[i].percent - 1e-4);
            assert_true(found <= proved[i].percent * 1.5 + 1);
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
