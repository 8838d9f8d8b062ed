/* Gradients of whole models: every trainable parameter of each example, shrunk, whole and in tiles of tokens,
 * against central differences along a random direction, through the planner's most aggressive plan, with
 * kernels compiled for double. */
#include "tests/support/machine.h"
#include "tests/support/random_graph.h"

#include "frontend/language/ast.h"
#include "frontend/lower/lower.h"
#include "ir/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifndef EXAMPLES_DIR
#define EXAMPLES_DIR "examples"
#endif

static double forward_loss(Machine *m) {
    machine_micro_step(m, 3, 0);
    machine_micro_step(m, 3, 1);
    return machine_loss(m);
}

/* (L(p + h d) - L(p - h d)) / 2h against <g, d> for every parameter with a gradient. */
static void check_gradients(Graph *forward, const char *name, Arena *arena) {
    TrainRule rule = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip_norm = 1, .accumulate = 2};
    forward->accumulate = 2;
    Graph *g = fuse(autodiff(forward, &rule, arena), NULL, arena);
    const char *broken = graph_check(g, arena);
    if (broken) fail_msg("%s: %s", name, broken);
    Cost *cost = cost_graph(g, device_find("host"), arena);
    PlanRequest request = {.graph = g, .cost = cost, .device = device_find("host"), .policy = POLICY_OPTIMAL};
    request.budget = budget_limited(plan_graph(&request, arena)->smallest_bytes, request.budget.host_bytes);
    PlanResult *result = plan_graph(&request, arena);
    if (!result->feasible)
        fail_msg("%s: no plan at the smallest budget, %ld bytes", name, (long)request.budget.device_bytes);
    Machine *m = machine_new(g, &result->plan, result->layout, true);
    machine_init(m, 4);
    uint32_t checked = 0;
    forward_loss(m);
    K_REAL **gradient =
        calloc(g->param.count, sizeof *gradient); /* later passes write over the accumulators */
    for (uint32_t p = 0; p < g->param.count; p++) {
        if (g->param.at[p].accumulator == NONE) continue;
        size_t bytes = (size_t)type_elements(&g->value.at[g->param.at[p].value].type) * sizeof(K_REAL);
        gradient[p] = malloc(bytes);
        memcpy(gradient[p], machine_reals(m, g->param.at[p].accumulator), bytes);
    }
    for (uint32_t p = 0; p < g->param.count; p++) {
        if (!gradient[p]) continue;
        int64_t n = type_elements(&g->value.at[g->param.at[p].value].type);
        K_REAL *weight = machine_reals(m, g->param.at[p].value), *saved = malloc((size_t)n * sizeof *saved);
        memcpy(saved, weight, (size_t)n * sizeof *saved);
        double *direction = malloc((size_t)n * sizeof *direction), along = 0, norm = 0, size = 0;
        uint64_t random = 99 + p;
        for (int64_t i = 0; i < n; i++) {
            direction[i] = 2 * random_unit(&random) - 1;
            along += direction[i] * (double)gradient[p][i];
            norm += direction[i] * direction[i];
            size += (double)gradient[p][i] * (double)gradient[p][i];
        }
        double h = 1e-4 / sqrt(norm), loss[4];
        for (int k = 0; k < 4; k++) { /* fourth order: steps h, -h, 2h, -2h */
            double by = (k < 2 ? h : 2 * h) * (k % 2 ? -1 : 1);
            for (int64_t i = 0; i < n; i++) weight[i] = (K_REAL)((double)saved[i] + by * direction[i]);
            loss[k] = forward_loss(m);
        }
        memcpy(weight, saved, (size_t)n * sizeof *saved);
        double numeric = (8 * (loss[0] - loss[1]) - (loss[2] - loss[3])) / (12 * h);
        double scale = fmax(fabs(along), 1e-3 * sqrt(size * norm));
        if (!(fabs(numeric - along) <= 1e-6 * scale + 1e-9 * sqrt(norm)))
            fail_msg("%s: %s: gradient along d %.12g, differences %.12g", name,
                     g->value.at[g->param.at[p].value].name, along, numeric);
        assert_true(size > 0);
        free(saved);
        free(direction);
        checked++;
    }
    assert_true(checked > 0);
    for (uint32_t p = 0; p < g->param.count; p++) free(gradient[p]);
    free(gradient);
    machine_free(m);
}

typedef struct Example {
    const char *file;
    const char *set[12];
} Example;
static const Example example[] = {
    {"bytes-gpt.remat", {"V=13", "D=8", "L=2", "H=2", "B=2", "T=5"}},
    {"gpt2-124m.remat", {"V=13", "D=8", "L=2", "H=2", "B=2", "T=5", "tokens_per_step=20"}},
    {"gpt2-xl.remat",
     {"V=13", "D=10", "L=3", "H=5", "B=1", "T=6", "tokens_per_step=12", "compute=f32", "trained=f32"}},
    {"llama3-8b.remat",
     {"V=13", "D=16", "F=12", "L=2", "H=4", "K=2", "B=2", "T=6", "tokens_per_step=24", "compute=f32",
      "trained=f32"}},
    {"qwen2-0.5b.remat",
     {"V=13", "D=16", "F=12", "L=2", "H=4", "K=2", "B=2", "T=6", "tokens_per_step=24", "compute=f32",
      "trained=f32"}},
    /* low-rank adapters, of the MLP within its tiles */
    {"bytes-gpt.remat",
     {"V=13", "D=8", "L=2", "H=2", "B=2", "T=5", "adapt=lora(rank=2, alpha=3, dropout=0.3)",
      "adapt.train=ln_f"}},
    {"llama3-8b.remat",
     {"V=13", "D=16", "F=20", "L=2", "H=4", "K=2", "B=2", "T=6", "tokens_per_step=24", "compute=f32",
      "trained=f32", "adapt=lora(rank=3, alpha=6)"}},
};

/* Adapters that read one value, apart and together. */
static void check_adapted(Graph *forward, const Spec *spec, const char *name, Arena *arena) {
    check_gradients(forward, name, arena);
    if (!spec->adapt.rank) return;
    Graph *grouped = group_adapters(forward, arena);
    const bool shares = !spec->adapt.dropout;
    if (shares != (grouped->value.count > forward->value.count))
        fail_msg("%s: %u values of %u with shared products", name, grouped->value.count,
                 forward->value.count);
    if (shares) check_gradients(grouped, arena_printf(arena, "%s, shared products", name), arena);
}

static void test_examples(void **state) {
    (void)state;
    for (size_t e = 0; e < COUNT_OF(example); e++) {
        Arena *arena = arena_new();
        size_t length;
        char *path = arena_printf(arena, "%s/%s", EXAMPLES_DIR, example[e].file);
        char *text = read_file(arena, path, &length);
        assert_non_null(text);
        Diag *diag = diag_new(arena, path, text, length);
        Ast *ast = ast_parse(arena, path, text, length, diag);
        Spec spec = {0};
        Graph *forward = NULL;
        bool fine = ast != NULL;
        for (size_t s = 0; fine && s < COUNT_OF(example[e].set) && example[e].set[s]; s++)
            fine = ast_override(ast, example[e].set[s], diag);
        if (fine) fine = lower_spec(ast, diag, arena, &spec);
        if (fine) forward = lower_graph(ast, &spec, 0, 0, diag, arena);
        if (!forward) {
            Text messages = {.arena = arena};
            diag_print(diag, &messages, false);
            fail_msg("%s", messages.at);
        }
        check_adapted(forward, &spec, example[e].file, arena);
        TileRule rule = {.loss_chunks = forward->batch * forward->context, .mlp_tiles = 2};
        if (rule.loss_chunks % 2) rule.mlp_tiles = rule.loss_chunks;
        Graph *tiled = tile_tokens(forward, &rule, arena);
        bool within = !spec.adapt.rank; /* nodes of the MLP, those of its adapter too */
        for (NodeId n = 0; n < tiled->node.count; n++)
            within |= strstr(tiled->node.at[n].name, ".lora_B.tile1") != NULL;
        if (!within || tiled->logits != NONE ||
            tiled->node.count <= forward->node.count + forward->block.count * 4)
            fail_msg("%s: not tiled", example[e].file);
        check_adapted(tiled, &spec, arena_printf(arena, "%s in tiles", example[e].file), arena);
        if (forward->mask != NONE) {
            spec.train_format = DATA_DOCUMENTS;
            forward = lower_graph(ast, &spec, 0, 0, diag, arena);
            assert_true(forward && forward->first_key != NONE && forward->positions != NONE);
            check_gradients(forward, arena_printf(arena, "%s, documents", example[e].file), arena);
            check_gradients(tile_tokens(forward, &rule, arena),
                            arena_printf(arena, "%s, documents in tiles", example[e].file), arena);
        }
        arena_free(arena);
    }
}

static bool all_f32(const Graph *g) {
    for (uint32_t v = 0; v < g->value.count; v++)
        if (g->value.at[v].type.dtype == DT_BF16) return false;
    return true;
}

static void test_random_graphs(void **state) {
    (void)state;
    int checked = 0;
    for (uint64_t seed = 1; checked < 60; seed++) {
        Arena *arena = arena_new();
        Graph *g = random_graph(seed, arena);
        if (all_f32(g)) {
            check_gradients(g, arena_printf(arena, "random graph %d", (int)seed), arena);
            int64_t tokens = g->batch * g->context;
            TileRule rule = {.loss_chunks = tokens <= 16 ? tokens : 2, .mlp_tiles = tokens % 2 ? tokens : 2};
            check_gradients(tile_tokens(g, &rule, arena),
                            arena_printf(arena, "random graph %d in tiles", (int)seed), arena);
            checked++;
        }
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples), cmocka_unit_test(test_random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
