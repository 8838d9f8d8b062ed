/* The verb `solve`. In: node-link JSON and a budget; out: the schedule, its cost and how far from the best it
 * can be. Every schedule printed was replayed by dag_check first. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/verbs/nodelink.h"
#include "planner/dag/solve.h"
#include "planner/effort.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef struct Limit {
    bool is_fraction;
    double value;
} Limit;

/* As many bytes as all nodes together may have (nodelink.c): sums stay far from overflow. */
#define MOST_BUDGET 0x1p50

/* Bytes, with or without a unit, or a fraction of the peak with a point in it: 4096, 1.5GiB, 0.8, 1.0. May be
 * more than MOST_BUDGET. */
static bool read_budget(const char *text, Limit *budget) {
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"", 1},         {"B", 1},    {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824},
                 {"TiB", 0x1p40}, {"kB", 1e3}, {"MB", 1e6},   {"GB", 1e9},      {"TB", 1e12}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value >= 0 && value < HUGE_VAL)) return false;
    *budget = (Limit){.is_fraction = !*end && memchr(text, '.', (size_t)(end - text)), .value = value};
    if (budget->is_fraction) return value > 0 && value <= 1;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (!strcmp(end, units[i].unit)) {
            budget->value *= units[i].bytes;
            return budget->value == floor(budget->value) || *end;
        }
    return false;
}

static int read_options(const Options *options, Limit *budget, double *time_seconds) {
    if (!options->budget)
        return message_fail(options, EXIT_USAGE,
                            "solve needs --budget: bytes, or a fraction of the peak such as 0.8");
    if (!read_budget(options->budget, budget))
        return message_fail(options, EXIT_USAGE,
                            "--budget takes bytes (4096, 1.5GiB) or a fraction of the peak (0.8), not '%s'",
                            options->budget);
    if (budget->value > MOST_BUDGET)
        return message_fail(options, EXIT_USAGE, "--budget is at most 1024TiB, not '%s'", options->budget);
    *time_seconds = 0;
    if (!options->time) return -1;
    char *end;
    *time_seconds = strtod(options->time, &end);
    if (end == options->time || *end || !(*time_seconds > 0 && *time_seconds < 1e9))
        return message_fail(options, EXIT_USAGE, "--time takes seconds, more than 0, not '%s'",
                            options->time);
    return -1;
}

static int read_graph(const Options *options, NodeLink *graph, Arena *arena) {
    size_t length;
    const char *path = options->file;
    const char *text = read_file(arena, path, &length);
    if (!text) return message_fail(options, EXIT_IO, "cannot read '%s': %s", path, read_file_error());
    int line, column;
    const char *wrong = nodelink_read(text, length, graph, &line, &column, arena);
    if (!wrong) return -1;
    return message_fail_at(options, EXIT_SOURCE, path, line > 0 ? (uint32_t)line : 0,
                           line <= 0    ? 0
                           : column > 0 ? (uint32_t)column
                                        : 1,
                           "%s", wrong);
}

/* (cost - keep-all cost) / keep-all cost; 0 where nothing costs anything. */
static double overhead(const Solution *solution, double seconds) {
    double base = solution->keep_all_seconds;
    return base > 0 ? (seconds - base) / base : 0;
}

/* Whole numbers as such, others with the fewest digits. */
static char *format_cost(double cost, char out[32]) {
    if (cost != floor(cost) || cost >= 1e15) return format_number(cost, out);
    snprintf(out, 32, "%.0f", cost);
    return out;
}

static void print_json(const Solution *solution, const NodeLink *graph, int64_t budget, double elapsed,
                       Text *out) {
    char number[32];
    text_add(out,
             "{\"feasible\": true, \"budget\": %" PRId64 ", \"peak\": %" PRId64
             ", \"keep_all_peak\": %" PRId64,
             budget, solution->peak_bytes, solution->keep_all_bytes);
    text_add(out, ", \"cost\": %s", format_cost(solution->seconds, number));
    text_add(out, ", \"keep_all_cost\": %s", format_cost(solution->keep_all_seconds, number));
    text_add(out, ", \"overhead\": %s", format_number(overhead(solution, solution->seconds), number));
    text_add(out, ", \"lower_bound\": %s",
             format_number(overhead(solution, solution->lower_bound_seconds), number));
    text_add(out, ", \"seconds\": %.3f,\n \"sequence\": [", elapsed);
    for (uint32_t i = 0; i < solution->run.count; i++)
        text_add(out, "%s%s", i ? ", " : "", graph->name[solution->run.at[i]]);
    text_add(out, "]}\n");
}

static void print_text(const Solution *solution, const NodeLink *graph, int64_t budget, double elapsed,
                       Text *out) {
    char a[24], b[24], c[24], x[32], y[32];
    uint32_t reruns = solution->run.count - graph->nodes;
    double all = (double)solution->keep_all_bytes;
    text_add(out, "%u nodes, %u links\n", graph->nodes, graph->links);
    text_add(out, "  budget       %s\n", format_bytes(budget, a));
    text_add(out, "  peak         %s of %s when everything is kept (%.1f%%)\n",
             format_bytes(solution->peak_bytes, b), format_bytes(solution->keep_all_bytes, c),
             all > 0 ? 100 * (double)solution->peak_bytes / all : 100.0);
    text_add(out, "  cost         %s, %s without recomputation: %.4f%% more\n",
             format_cost(solution->seconds, x), format_cost(solution->keep_all_seconds, y),
             100 * overhead(solution, solution->seconds));
    text_add(out, "  lower bound  %.4f%% more, gap %.4f%%%s\n",
             100 * overhead(solution, solution->lower_bound_seconds),
             100 *
                 (overhead(solution, solution->seconds) - overhead(solution, solution->lower_bound_seconds)),
             solution->proved ? ": nothing is faster within the budget" : "");
    text_add(out, "  reruns       %u\n", reruns);
    text_add(out, "  solved in    %.2f s\n", elapsed);
    if (!reruns) return;
    text_add(out, "recomputed, in order of execution (node after the one that ran before):\n ");
    uint32_t next = 0, column = 1;
    for (uint32_t i = 0; i < solution->run.count; i++) {
        uint32_t node = solution->run.at[i];
        if (node == next) {
            next++;
            continue;
        }
        const char *item = graph->name[node], *after = graph->name[next - 1];
        uint32_t width = (uint32_t)(strlen(item) + strlen(after) + 8);
        if (column + width > 100) text_add(out, "\n "), column = 1;
        text_add(out, " %s after %s;", item, after);
        column += width;
    }
    text_add(out, "\n");
}

/* For people on stderr; for programs in `out` as well. */
static void say_infeasible(const Options *options, const Solution *solution, const Limit *asked,
                           int64_t budget, Text *out) {
    char a[24], b[24], c[24];
    bool none = solution->lower_bound_seconds == HUGE_VAL;
    message_error(options, "no schedule %s %s (%" PRId64 " bytes)%s", none ? "fits" : "was found that fits",
                  format_bytes(budget, a), budget,
                  asked->is_fraction
                      ? arena_printf(out->arena, ", %s of the peak without recomputation", options->budget)
                      : "");
    message_note(options, "the smallest budget found is %s (%" PRId64 " bytes), %.4f of the peak %s",
                 format_bytes(solution->peak_bytes, b), solution->peak_bytes,
                 (double)solution->peak_bytes / (double)solution->keep_all_bytes,
                 format_bytes(solution->keep_all_bytes, c));
    if (options->json)
        text_add(out,
                 "{\"feasible\": false, \"budget\": %" PRId64 ", \"smallest_bytes\": %" PRId64
                 ", \"keep_all_peak\": %" PRId64
                 ",\n \"error\": {\"exit\": %d, \"message\": \"no schedule %s\"}}\n",
                 budget, solution->peak_bytes, solution->keep_all_bytes, EXIT_INFEASIBLE,
                 none ? "fits" : "was found that fits");
}

int verb_solve(Compilation *c) {
    const Options *options = c->options;
    Arena *arena = c->arena;
    double began = clock_seconds();
    Limit budget = {0};
    SolveRequest request = {.exhaustive_ops = EFFORT_DAG_EXHAUSTIVE_OPS};
    int code = read_options(options, &budget, &request.time_seconds);
    if (code >= 0) return code;
    NodeLink graph = {0};
    code = read_graph(options, &graph, arena);
    if (code >= 0) return code;

    Problem *p = dag_problem(graph.nodes, graph.seconds, graph.bytes, graph.link, graph.links, arena);
    p->persistent_bytes = graph.persistent_bytes;
    p->stats = c->stats;
    request.problem = p;
    request.budget_bytes = (int64_t)floor(budget.value);
    if (budget.is_fraction)
        request.budget_bytes = (int64_t)floor(budget.value * (double)dag_keep_all(p) * (1 + 1e-15));
    Solution solution = solve_dag(&request, arena);
    const char *wrong =
        dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes, solution.seconds, arena);
    if (wrong) return message_fail(options, EXIT_VERIFY, "the schedule found is wrong: %s", wrong);
    Text out = {.arena = arena};
    double elapsed = clock_seconds() - began;
    if (!solution.feasible)
        say_infeasible(options, &solution, &budget, request.budget_bytes, &out);
    else if (options->json)
        print_json(&solution, &graph, request.budget_bytes, elapsed, &out);
    else
        print_text(&solution, &graph, request.budget_bytes, elapsed, &out);
    code = output_print(options, &out);
    return code == EXIT_FINE && !solution.feasible ? EXIT_INFEASIBLE : code;
}
