/* Gaps of planned transformers: chain_table FILE.remat [BATCH [DEVICE [HOST_GIB]]] prints, at ten budgets
 * from the smallest feasible to keep-all, the step's slowdown, the bound, the gap and the seconds of
 * planning; then what saving a share of the activations' bytes costs. Budgets are for the arena; the device's
 * memory is not asked. */
#include "frontend/lower/lower.h"
#include "planner/plan.h"
#include "ir/passes/passes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static Graph *training_graph(const char *path, int64_t batch, Spec *spec, Arena *arena) {
    size_t length;
    char *text = read_file(arena, path, &length);
    if (!text) {
        fprintf(stderr, "chain_table: cannot read '%s'\n", path);
        exit(1);
    }
    Diag *diag = diag_new(arena, path, text, length);
    Ast *ast = ast_parse(arena, path, text, length, diag);
    Graph *forward = NULL;
    if (ast && lower_spec(ast, diag, arena, spec)) forward = lower_graph(ast, spec, batch, 0, diag, arena);
    if (!forward) {
        Text messages = {.arena = arena};
        diag_print(diag, &messages, false);
        fprintf(stderr, "%s", messages.at);
        exit(1);
    }
    TrainRule rule = {.beta1 = spec->beta1,
                      .beta2 = spec->beta2,
                      .eps = spec->eps,
                      .decay = spec->decay,
                      .clip_norm = spec->clip_norm,
                      .accumulate = forward->accumulate,
                      .gradient = spec->gradient,
                      .moment = spec->moment,
                      .moments_8bit = spec->moments_8bit};
    return fuse(autodiff(forward, &rule, arena), NULL, arena);
}

static PlanResult *timed_plan(const PlanRequest *request, double *seconds, Arena *arena) {
    double begin = now();
    PlanResult *result = plan_graph(request, arena);
    *seconds = now() - begin;
    return result;
}

static void print_row(const char *label, const PlanResult *result, int64_t budget, double seconds) {
    double keep = result->keep_all_seconds;
    printf("%-8s %12.3f %12.3f %9.3f%% %9.3f%% %8.3f%% %8.3f%s\n", label, (double)budget / (1 << 30),
           (double)result->plan.peak_bytes / (1 << 30), 100 * (result->plan.seconds / keep - 1),
           100 * (result->lower_bound_seconds / keep - 1), 100 * result->gap, seconds,
           result->feasible ? "" : "  does not fit");
}

static void table(const char *path, int64_t batch, const char *device_name, int64_t host_bytes) {
    Arena *arena = arena_new();
    Spec spec = {0};
    const Graph *g = training_graph(path, batch, &spec, arena);
    const Device *device = device_find(device_name ? device_name : spec.device);
    if (!device) exit(1);
    PlanRequest request = {.graph = g,
                           .cost = cost_graph(g, device, arena),
                           .device = device,
                           .policy = POLICY_OPTIMAL,
                           .budget.host_bytes = host_bytes};
    double seconds;
    const PlanResult *all = timed_plan(&request, &seconds, arena);
    int64_t low = all->smallest_bytes, high = all->keep_all_bytes, fixed = all->layout->persistent_bytes;
    printf("%s: %u nodes, B = %lld, %s, fixed %.3f GiB, free of budget in %.3f s\n", path, g->node.count,
           (long long)g->batch, device->name, (double)fixed / (1 << 30), seconds);
    printf("%-8s %12s %12s %10s %10s %9s %8s\n", "", "budget GiB", "peak GiB", "slower", "bound", "gap",
           "seconds");
    for (int i = 0; i < 10; i++) {
        request.budget = budget_limited(low + (high - low) * i / 9, request.budget.host_bytes);
        const PlanResult *result = timed_plan(&request, &seconds, arena);
        print_row(arena_printf(arena, "%d", i), result, request.budget.device_bytes, seconds);
    }
    static const int saving[] = {40, 50, 60, 70, 80};
    for (uint32_t i = 0; i < COUNT_OF(saving); i++) {
        request.budget = budget_limited(high - (high - fixed) / 100 * saving[i], request.budget.host_bytes);
        const PlanResult *result = timed_plan(&request, &seconds, arena);
        print_row(arena_printf(arena, "-%d%%", saving[i]), result, request.budget.device_bytes, seconds);
    }
    arena_free(arena);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: chain_table FILE.remat [BATCH [DEVICE [HOST_GIB]]]\n");
        return 1;
    }
    table(argv[1], argc > 2 ? atoll(argv[2]) : 0, argc > 3 ? argv[3] : NULL,
          argc > 4 ? atoll(argv[4]) << 30 : 0);
    return 0;
}
