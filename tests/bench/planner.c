/* The planner's tables. `planner FOLDER [GRAPH [PEAK]]`: every reference graph (node-link JSON) of the folder
 * at .9 to .5 of its peak: recomputation found, the bound, the gap, seconds. */
#include "frontend/verbs/nodelink.h"
#include "planner/dag/solve.h"
#include "planner/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const graphs[] = {"vgg_unet_train", "resnet50_train",     "fcn8_vgg_train",
                                     "vgg16_train",    "random_layered_100", "random_layered_250"};

static void print_row(const char *name, const Problem *p, double fraction, Arena *arena) {
    SolveRequest request = {.problem = p, .exhaustive_ops = EFFORT_DAG_EXHAUSTIVE_OPS};
    request.budget_bytes = (int64_t)(fraction * (double)dag_keep_all(p));
    clock_t began = clock();
    Solution solution = solve_dag(&request, arena);
    double seconds = (double)(clock() - began) / CLOCKS_PER_SEC, base = solution.keep_all_seconds;
    double found = 100 * (solution.seconds / base - 1),
           bound = 100 * (solution.lower_bound_seconds / base - 1);
    const char *wrong =
        dag_check(p, solution.run.at, solution.run.count, solution.peak_bytes, solution.seconds, arena);
    printf("%-20s %5.3g ", name, fraction);
    if (wrong)
        printf("wrong: %s\n", wrong);
    else if (!solution.feasible)
        printf("%10s %10s %10s %8.2f  %s; smallest found %.4f\n", "-", "-", "-", seconds,
               isinf(bound) ? "nothing fits" : "none found",
               (double)solution.peak_bytes / (double)solution.keep_all_bytes);
    else
        printf("%10.4f %10.4f %10.4f %8.2f%s\n", found, bound, found - bound, seconds,
               solution.proved ? "  best possible" : "");
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: planner FOLDER [GRAPH [PEAK]]   (with the reference graphs' JSON)\n");
        return 2;
    }
    printf("%-20s %5s %10s %10s %10s %8s\n", "graph", "peak", "found %", "bound %", "gap %", "CPU s");
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++) {
        if (argc > 2 && strcmp(argv[2], graphs[i])) continue;
        Arena *arena = arena_new();
        const char *path = arena_printf(arena, "%s/%s.json", argv[1], graphs[i]);
        size_t length;
        int line, column;
        NodeLink graph;
        const char *text = read_file(arena, path, &length);
        const char *wrong =
            text ? nodelink_read(text, length, &graph, &line, &column, arena) : "cannot be read";
        if (wrong) {
            fprintf(stderr, "%s: %s\n", path, wrong);
            return 1;
        }
        const Problem *p =
            dag_problem(graph.nodes, graph.seconds, graph.bytes, graph.link, graph.links, arena);
        if (argc > 3) print_row(graphs[i], p, atof(argv[3]), arena);
        for (int tenths = argc > 3 ? 0 : 9; tenths >= 5; tenths--)
            print_row(graphs[i], p, tenths / 10.0, arena);
        arena_free(arena);
    }
    return 0;
}
