/* Outside DAGs: their JSON and what can be wrong with it, schedules against every schedule there is, and the
 * published reference graphs where they are at hand. */
#include "frontend/verbs/nodelink.h"
#include "planner/dag/beam.h"
#include "planner/bound/closure.h"
#include "planner/dag/exhaustive.h"
#include "planner/dag/reach.h"
#include "tests/support/brute.h"
#include "tests/support/reference_dags.h"
#include "planner/dag/solve.h"
#include "planner/effort.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- JSON ---- */

#define NODE(id)   "{\"id\": " #id ", \"cost_cpu\": 2, \"cost_ram\": 8}"
#define LINK(a, b) "{\"source\": " #a ", \"target\": " #b "}"

static const char *read(const char *text, NodeLink *graph, Arena *arena) {
    int line, column;
    return nodelink_read(text, strlen(text), graph, &line, &column, arena);
}

static void reads_both_dialects(void **state) {
    (void)state;
    Arena *arena = arena_new();
    NodeLink graph;
    assert_null(read(
        "{\"nodes\": [" NODE(7) ", " NODE(3) ", " NODE(5) "], \"links\": [" LINK(5, 7) ", " LINK(3, 5) "]}",
        &graph, arena));
    assert_int_equal(graph.nodes, 3);
    assert_string_equal(graph.name[0], "3");
    assert_string_equal(graph.name[1], "5");
    assert_string_equal(graph.name[2], "7");
    assert_int_equal(graph.links, 2);
    assert_int_equal(graph.link[0].from, 1);
    assert_int_equal(graph.link[0].to, 2);
    assert_null(read("{\"directed\": true, \"graph\": {\"order\": [\"b\", \"c\", \"a\"]},"
                     " \"nodes\": [{\"name\": \"a\", \"duration\": 1.5, \"out_cost\": 4, \"param_cost\": 10},"
                     "            {\"name\": \"b\", \"duration\": 0, \"out_cost\": 5},"
                     "            {\"name\": \"c\", \"duration\": 0, \"out_cost\": 6}],"
                     " \"edges\": [{\"0\": \"b\", \"1\": \"a\"}]}",
                     &graph, arena));
    assert_string_equal(graph.name[2], "\"a\"");
    assert_true(graph.seconds[2] == 1.5);
    assert_int_equal(graph.bytes[1], 6);
    assert_int_equal(graph.persistent_bytes, 10);
    /* ids that disagree with the links give way */
    assert_null(read("{\"nodes\": [" NODE(1) ", " NODE(2) ", " NODE(3) "], \"links\": [" LINK(3, 1) "]}",
                     &graph, arena));
    assert_string_equal(graph.name[0], "2");
    assert_string_equal(graph.name[1], "3");
    assert_string_equal(graph.name[2], "1");
    arena_free(arena);
}

static void says_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "not JSON"},
        {"{\"nodes\": [", "not JSON"},
        {"\x7f\x45\x4c\x46", "not JSON"},
        {"[]", "not an object"},
        {"{}", "no list `nodes`"},
        {"{\"nodes\": [], \"links\": []}", "no nodes"},
        {"{\"nodes\": [" NODE(1) "]}", "no list `links`"},
        {"{\"directed\": false, \"nodes\": [" NODE(1) "], \"links\": []}", "not directed"},
        {"{\"nodes\": [3], \"links\": []}", "not an object"},
        {"{\"nodes\": [{\"cost_cpu\": 1, \"cost_ram\": 1}], \"links\": []}", "neither `id` nor `name`"},
        {"{\"nodes\": [{\"id\": 1.5, \"cost_cpu\": 1, \"cost_ram\": 1}], \"links\": []}",
         "whole number or a string"},
        {"{\"nodes\": [" NODE(1) ", " NODE(1) "], \"links\": []}", "two nodes 1"},
        {"{\"nodes\": [{\"id\": 1, \"cost_ram\": 1}], \"links\": []}", "neither `cost_cpu` nor `duration`"},
        {"{\"nodes\": [{\"id\": 1, \"time\": 1, \"cost_ram\": 1}], \"links\": []}", "neither `cost_cpu` nor"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": 1}], \"links\": []}", "neither `cost_ram` nor `out_cost`"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": -1, \"cost_ram\": 1}], \"links\": []}", "not negative"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": \"1\", \"cost_ram\": 1}], \"links\": []}",
         "cost_cpu is a number"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": 1, \"cost_ram\": -8}], \"links\": []}", "not negative"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": 1, \"cost_ram\": 0.5}], \"links\": []}", "whole"},
        {"{\"nodes\": [{\"id\": 1, \"cost_cpu\": 1, \"cost_ram\": 1e300}], \"links\": []}", "whole"},
        {"{\"nodes\": [" NODE(1) "], \"links\": [{\"source\": 1}]}", "link 0 has no `target`"},
        {"{\"nodes\": [" NODE(1) "], \"links\": [" LINK(1, 9) "]}", "there is no node 9"},
        {"{\"nodes\": [" NODE(1) "], \"links\": [" LINK(1, 1) "]}", "to itself"},
        {"{\"nodes\": [" NODE(1) ", " NODE(2) ", " NODE(3) "], \"links\": [" LINK(1, 2) ", " LINK(
             2, 3) ", " LINK(3, 2) "]}",
         "cycle: "},
        {"{\"graph\": {\"order\": [1]}, \"nodes\": [" NODE(1) ", " NODE(2) "], \"links\": []}",
         "all 2 nodes"},
        {"{\"graph\": {\"order\": [1, 1]}, \"nodes\": [" NODE(1) ", " NODE(2) "], \"links\": []}", "twice"},
        {"{\"graph\": {\"order\": [1, 4]}, \"nodes\": [" NODE(1) ", " NODE(2) "], \"links\": []}",
         "no node 4"},
        {"{\"graph\": {\"order\": [1, 2]}, \"nodes\": [" NODE(1) ", " NODE(2) "], \"links\": [" LINK(2,
                                                                                                     1) "]}",
         "before node 2, which it reads"},
    };
    Arena *arena = arena_new();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        NodeLink graph;
        const char *wrong = read(cases[i].text, &graph, arena);
        if (!wrong || !strstr(wrong, cases[i].message))
            fail_msg("%s\ngives: %s\nnot: %s", cases[i].text, wrong ? wrong : "nothing", cases[i].message);
    }
    arena_free(arena);
}

/* Cut short anywhere, a file is refused. */
static void survives_truncation(void **state) {
    (void)state;
    Arena *arena = arena_new();
    static const char text[] = "{\"nodes\": [" NODE(1) ", " NODE(2) "], \"links\": [" LINK(1, 2) "]}";
    for (size_t length = 0; length + 1 < sizeof text; length++) {
        NodeLink graph;
        int line, column;
        assert_non_null(nodelink_read(text, length, &graph, &line, &column, arena));
        assert_true(line > 0 || length == 0);
    }
    arena_free(arena);
}

/* ---- the checker ---- */

static void checker_refuses_mutants(void **state) {
    (void)state;
    Arena *arena = arena_new();
    /* 0 -> 1 -> 2 -> 3, 0 -> 3: keeping 0 needs 12 bytes at 2, running it again 8 */
    static const DagLink link[] = {{0, 1}, {1, 2}, {2, 3}, {0, 3}};
    static const double seconds[] = {1, 2, 4, 8};
    static const int64_t bytes[] = {4, 4, 4, 1};
    Problem *p = dag_problem(4, seconds, bytes, link, 4, arena);
    assert_int_equal(dag_keep_all(p), 12);
    static const uint32_t good[] = {0, 1, 2, 0, 3}, early[] = {1, 0, 2, 0, 3}, missing[] = {0, 1, 2, 0},
                          ahead[] = {0, 1, 3, 2};
    assert_null(dag_check(p, good, 5, 9, 16, arena));
    assert_non_null(dag_check(p, good, 5, 10, 16, arena));
    assert_non_null(dag_check(p, good, 5, 9, 15, arena));
    assert_non_null(dag_check(p, good, 4, 9, 8, arena));
    assert_non_null(dag_check(p, early, 5, 9, 16, arena));
    assert_non_null(dag_check(p, missing, 4, 9, 8, arena));
    assert_non_null(dag_check(p, ahead, 4, 9, 15, arena));
    SolveRequest request = {.problem = p, .budget_bytes = 9};
    Solution solution = solve_dag(&request, arena);
    assert_true(solution.feasible && solution.proved);
    assert_true(solution.seconds == 16);
    assert_int_equal(solution.peak_bytes, 9);
    arena_free(arena);
}

/* ---- every schedule of small graphs ---- */

typedef struct Tally {
    uint32_t cases, missed, proved;
    double excess;
} Tally;

static void tally(Tally *t, const SolveRequest *request, double optimum, uint64_t seed, Arena *arena) {
    Solution solution = solve_dag(request, arena);
    const char *wrong = dag_check(request->problem, solution.run.at, solution.run.count, solution.peak_bytes,
                                  solution.seconds, arena);
    if (wrong) fail_msg("seed %d: %s", (int)seed, wrong);
    if (solution.feasible && solution.peak_bytes > request->budget_bytes)
        fail_msg("seed %d: over the budget", (int)seed);
    if (solution.lower_bound_seconds > optimum * (1 + 1e-9))
        fail_msg("seed %d: bound %g, optimum %g", (int)seed, solution.lower_bound_seconds, optimum);
    if (solution.feasible && solution.seconds < optimum * (1 - 1e-9))
        fail_msg("seed %d: found %g, optimum %g", (int)seed, solution.seconds, optimum);
    if (solution.proved && solution.seconds > optimum * (1 + 1e-6))
        fail_msg("seed %d: said to be best at %g, optimum %g", (int)seed, solution.seconds, optimum);
    if (optimum == INFINITY) return;
    t->cases++;
    t->missed += !solution.feasible;
    t->proved += solution.proved;
    if (solution.feasible) t->excess += solution.seconds / optimum - 1;
}

/* Between all and the least there is: no schedule is smaller than one operation. */
static int64_t some_budget(const Problem *p, uint64_t seed) {
    int64_t all = dag_keep_all(p), least = 0;
    for (uint32_t op = 0; op < p->ops; op++) {
        int64_t bytes = p->bytes[op];
        for (EACH(i, p->reads, op)) bytes += p->bytes[p->reads.list[i]];
        if (bytes > least) least = bytes;
    }
    int64_t steps = (all - least) / PLAN_ALIGN + 1;
    return all - PLAN_ALIGN * (int64_t)(random_next(&seed) % (uint64_t)steps);
}

/* REMAT_GRAPHS=10000 for the whole campaign. Each graph at one budget between the least there is and all. */
static void against_every_schedule(void **state) {
    (void)state;
    const char *wanted = getenv("REMAT_GRAPHS");
    uint64_t graphs = wanted ? strtoull(wanted, NULL, 10) : 1000;
    Tally whole = {0}, search = {0};
    for (uint64_t seed = 0; seed < graphs; seed++) {
        Arena *arena = arena_new();
        Problem *p = random_problem(seed, 10, true, arena);
        int64_t budget = some_budget(p, seed);
        double optimum = brute_seconds(p, budget, arena);
        SolveRequest request = {
            .problem = p, .budget_bytes = budget, .exhaustive_ops = EFFORT_DAG_EXHAUSTIVE_OPS};
        tally(&whole, &request, optimum, seed, arena);
        request.exhaustive_ops = 0;
        request.changes = 20000;
        tally(&search, &request, optimum, seed, arena);
        arena_free(arena);
    }
    printf("%u feasible cases: %u missed, %u proved, mean excess %.4f%%\n", whole.cases, whole.missed,
           whole.proved, 100 * whole.excess / whole.cases);
    printf("without exhaustive search: %u missed, %u proved, mean excess %.4f%%\n", search.missed,
           search.proved, 100 * search.excess / search.cases);
    assert_int_equal(whole.missed, 0);
    assert_int_equal(whole.proved, whole.cases);
    assert_true(whole.excess <= 1e-9 * whole.cases);
    assert_true(search.missed * 100 <= search.cases);
    assert_true(search.excess <= 0.005 * search.cases);
}

/* At the most operations that are searched through: local search finds nothing cheaper, and no bound is
 * above. */
static void against_local_search(void **state) {
    (void)state;
    Tally search = {0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        Arena *arena = arena_new();
        Problem *p = random_problem(seed, EXHAUSTIVE_MOST_OPS, true, arena);
        SolveRequest request = {
            .problem = p, .budget_bytes = some_budget(p, seed), .exhaustive_ops = EXHAUSTIVE_MOST_OPS};
        Solution whole = solve_dag(&request, arena);
        assert_true(whole.proved || !whole.feasible);
        request.exhaustive_ops = 0;
        request.changes = 20000;
        tally(&search, &request, whole.feasible ? whole.seconds : INFINITY, seed, arena);
        arena_free(arena);
    }
    printf("%u feasible cases, %u of them proved without\n", search.cases, search.proved);
    assert_true(search.cases > 20 && search.proved < search.cases);
}

/* Seconds and peak of runs that a checker agrees with. */
static void measure(const Problem *p, const uint32_t *run, uint32_t runs, double *seconds, int64_t *peak,
                    Arena *arena) {
    uint32_t *made = NEW_ARRAY(arena, uint32_t, p->ops + 1), *dies = NEW_ARRAY(arena, uint32_t, runs + 1);
    *seconds = 0;
    for (uint32_t i = 0; i < runs; i++) {
        for (EACH(k, p->reads, run[i])) dies[made[p->reads.list[k]]] = i;
        made[run[i]] = dies[i] = i;
        *seconds += p->seconds[run[i]];
    }
    *peak = 0;
    for (uint32_t i = 0; i < runs; i++) {
        int64_t live = p->persistent_bytes;
        for (uint32_t k = 0; k <= i; k++)
            if (dies[k] >= i) live += p->bytes[run[k]];
        if (live > *peak) *peak = live;
    }
}

/* What the search from the end finds is a schedule; it finds one wherever there is one, but for a few; what
 * cannot be reached has none. */
static void free_order_against_every_schedule(void **state) {
    (void)state;
    uint32_t feasible = 0, found = 0, hopeless = 0, told = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        Arena *arena = arena_new();
        Problem *p = random_problem(seed, 10, true, arena);
        int64_t budget = some_budget(p, seed) - PLAN_ALIGN * (int64_t)(seed % 3);
        bool exists = brute_seconds(p, budget, arena) < INFINITY, reached = true;
        for (uint32_t op = 0; op < p->ops; op++) reached = reached && reach_operands(p, op, budget, 1000);
        BeamRequest request = {.p = p, .budget_bytes = budget, .price = 1, .bytes_weight = 3};
        request.width = 20, request.enough = 100, request.followed = 8000;
        BeamRuns runs = beam_runs(&request, arena);
        assert_true(reached || !exists);
        assert_true(exists || !runs.found);
        feasible += exists, hopeless += !exists, told += !reached, found += runs.found;
        if (runs.found) {
            double seconds;
            int64_t peak;
            measure(p, runs.run.at, runs.run.count, &seconds, &peak, arena);
            assert_null(dag_check(p, runs.run.at, runs.run.count, peak, seconds, arena));
            assert_true(peak <= budget);
        }
        arena_free(arena);
    }
    printf("%u feasible, %u found; %u infeasible, %u told\n", feasible, found, hopeless, told);
    assert_true(found * 100 >= feasible * 99);
    assert_true(told > 0);
}

static void same_call_same_schedule(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        Arena *arena = arena_new();
        Problem *p = random_problem(seed, 12, true, arena);
        SolveRequest request = {.problem = p, .budget_bytes = dag_keep_all(p) * 3 / 4, .changes = 5000};
        Solution a = solve_dag(&request, arena), b = solve_dag(&request, arena);
        assert_int_equal(a.feasible, b.feasible);
        assert_int_equal(a.run.count, b.run.count);
        assert_memory_equal(a.run.at, b.run.at, sizeof *a.run.at * a.run.count);
        assert_true(a.lower_bound_seconds == b.lower_bound_seconds);
        arena_free(arena);
    }
}

/* ---- a limit of time ---- */

/* Every node reads a few of those not far before it. */
static Problem *wide_problem(uint32_t nodes, Arena *arena) {
    enum { READS = 4, REACH = 100 };
    uint64_t random = 3;
    double *seconds = NEW_ARRAY(arena, double, nodes);
    int64_t *bytes = NEW_ARRAY(arena, int64_t, nodes);
    DagLink *link = NEW_ARRAY(arena, DagLink, (size_t)nodes * READS);
    uint32_t links = 0;
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t reach = i < REACH ? i : REACH;
        seconds[i] = 1 + (double)(random_next(&random) % 1000);
        bytes[i] = 1 + (int64_t)(random_next(&random) % 500);
        for (uint32_t k = 0; i && k < READS; k++)
            link[links++] = (DagLink){i - 1 - (uint32_t)(random_next(&random) % reach), i};
    }
    return dag_problem(nodes, seconds, bytes, link, links, arena);
}

static double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void time_limit_holds(void **state) {
    (void)state;
    static const double fractions[] = {0.9, 0.7, 0.5};
    Arena *arena = arena_new();
    Problem *p = wide_problem(3000, arena);
    for (size_t i = 0; i < COUNT_OF(fractions); i++) {
        SolveRequest request = {.problem = p, .time_seconds = 2};
        request.budget_bytes = (int64_t)(fractions[i] * (double)dag_keep_all(p));
        double began = clock_seconds();
        Solution solution = solve_dag(&request, arena);
        double took = clock_seconds() - began;
        printf("at %.1f of the peak: %.2f s\n", fractions[i], took);
        assert_null(
            dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes, solution.seconds, arena));
        assert_true(took < 5); /* on a busy machine */
    }
    arena_free(arena);
}

/* ---- the reference optima ---- */

static void reference_optima(void **state) {
    (void)state;
    uint32_t there = 0;
    for (size_t i = 0; i < REFERENCE_OPTIMA; i++) {
        Arena *arena = arena_new();
        Problem *p = reference_read(reference_optimum[i].file, arena);
        if (p) {
            there++;
            SolveRequest request = {.problem = p};
            request.budget_bytes = (int64_t)(reference_optimum[i].fraction * (double)dag_keep_all(p));
            Solution solution = solve_dag(&request, arena);
            assert_true(solution.feasible && solution.proved);
            assert_null(dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes,
                                  solution.seconds, arena));
            assert_true(solution.peak_bytes <= request.budget_bytes);
            double percent = 100 * (solution.seconds / solution.keep_all_seconds - 1);
            assert_true(fabs(percent - reference_optimum[i].percent) < 0.00006);
        }
        arena_free(arena);
    }
    if (!there) skip();
}

/* The last but one operation of the larger random graph reads 60% of the peak: its operands fit only if they
 * are made in an order of their own, some of them twice. */
static void only_a_free_order_fits(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Problem *p = reference_read("random_layered_250.json", arena);
    if (p) {
        SolveRequest request = {.problem = p, .changes = 20000};
        request.budget_bytes = (int64_t)(0.6 * (double)dag_keep_all(p));
        Solution solution = solve_dag(&request, arena);
        assert_true(solution.feasible && solution.peak_bytes <= request.budget_bytes);
        assert_null(
            dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes, solution.seconds, arena));
    }
    Problem *small = reference_read("random_layered_100.json", arena);
    if (small) {
        SolveRequest request = {.problem = small, .changes = 20000};
        request.budget_bytes = (int64_t)(0.5 * (double)dag_keep_all(small));
        assert_true(isinf(solve_dag(&request, arena).lower_bound_seconds));
    }
    arena_free(arena);
    if (!p || !small) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_dialects),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(survives_truncation),
        cmocka_unit_test(checker_refuses_mutants),
        cmocka_unit_test(against_every_schedule),
        cmocka_unit_test(against_local_search),
        cmocka_unit_test(same_call_same_schedule),
        cmocka_unit_test(reference_optima),
        cmocka_unit_test(free_order_against_every_schedule),
        cmocka_unit_test(only_a_free_order_fits),
        cmocka_unit_test(time_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
