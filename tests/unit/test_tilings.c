/* Which tilings are listed: those that no other beats, as if each were made and its plan of checkpointed
 * blocks replayed, though few are. And what is foreseen of a tiling's plan. */
#include "frontend/driver/programs.h"
#include "planner/effort.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* `more`: another setting, or NULL. */
static Compilation lowered(const char *file, const char *set, const char *more, Options *options,
                           Arena *arena) {
    const char *words[] = {"rematc",  "plan",  file, "--set", "B=1", "--device",
                           "rtx4090", "--set", set,  "--set", more};
    int count = (int)COUNT_OF(words) - (more ? 0 : 2);
    assert_int_equal(options_parse(options, arena, count, (char **)words), -1);
    Compilation c = {.arena = arena, .options = options};
    assert_int_equal(compile_parse(&c), -1);
    assert_int_equal(compile_lower(&c), -1);
    return c;
}

/* Every tiling, made. */
static uint32_t make_all(const Compilation *c, const Program *whole, Tiling all[MOST_TILINGS]) {
    bool fine_loss = whole->graph->node.count < EFFORT_TILES_COARSE_LOSS_OPS,
         fine_mlp = whole->graph->node.count < EFFORT_TILES_COARSE_MLP_OPS;
    uint32_t found = 0;
    for (int64_t loss = 1; loss <= EFFORT_TILES_LOSS; loss *= fine_loss ? 2 : 4)
        for (int64_t mlp = 1; mlp <= EFFORT_TILES_MLP; mlp *= fine_mlp ? 2 : 4) {
            if (loss * mlp == 1) continue;
            Program *cut = programs_get(c, whole->made[STAGE_GRAPH], (TileRule){loss, mlp});
            all[found++] =
                (Tiling){{loss, mlp}, cut->seconds / program_tokens(whole), programs_floor_bytes(c, cut)};
        }
    return found;
}

static bool is_beaten(const Tiling *all, uint32_t count, uint32_t i, int64_t whole_bytes) {
    bool beaten = all[i].floor_bytes >= whole_bytes;
    for (uint32_t k = 0; k < count; k++)
        beaten |= all[k].floor_bytes <= all[i].floor_bytes && all[k].seconds < all[i].seconds;
    return beaten;
}

static void listed_as_if_made(void **state) {
    (void)state;
    static const struct {
        const char *file, *set;
    } model[] = {{"tests/cases/import/Qwen2.5-0.5B", "L=3"},
                 {"tests/cases/import/Llama-3.2-1B", "adapt=lora(rank = 16)"},
                 {"tests/cases/import/Qwen3-0.6B", "train.clip_norm=0"},
                 {"tests/cases/import/gpt2", "T=512"},
                 {"examples/llama3-8b-qlora.remat", "T=2048"}};
    for (size_t m = 0; m < COUNT_OF(model); m++) {
        Arena *arena = arena_new();
        Options options = {0};
        const char *file = arena_printf(arena, "%s/%s", SOURCE_DIR, model[m].file);
        Compilation c = lowered(file, model[m].set, NULL, &options, arena);
        const Program *whole = programs_get(&c, c.forward, (TileRule){1, 1});
        const Tiling *list;
        uint32_t count = programs_tilings(&c, programs_of_batch(&c, 0), &list), next = 0;
        Tiling all[MOST_TILINGS];
        uint32_t found = make_all(&c, whole, all);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(!i || (list[i].seconds >= list[i - 1].seconds &&
                               list[i].floor_bytes < list[i - 1].floor_bytes));
            for (uint32_t k = 0; k < found; k++)
                if (all[k].tile.loss_chunks == list[i].tile.loss_chunks &&
                    all[k].tile.mlp_tiles == list[i].tile.mlp_tiles) {
                    assert_false(is_beaten(all, found, k, programs_floor_bytes(&c, whole)));
                    assert_int_equal(all[k].floor_bytes, list[i].floor_bytes);
                    assert_true(fabs(all[k].seconds - list[i].seconds) <= 1e-9 * all[k].seconds);
                    next++;
                }
        }
        assert_int_equal(next, count);
        uint32_t unbeaten = 0;
        for (uint32_t k = 0; k < found; k++)
            unbeaten += !is_beaten(all, found, k, programs_floor_bytes(&c, whole));
        assert_int_equal(count, unbeaten); /* none is missing */
        arena_free(arena);
    }
}

/* At budgets from a 32nd above its largest operation on, the plan takes about as long as the recursion over
 * its blocks foresees, dequantised weights and pieces of tokens among what they hold. */
static void planned_as_foreseen(void **state) {
    (void)state;
    static const struct {
        const char *file, *set;
    } model[] = {{"tests/cases/import/Qwen2.5-0.5B", "dtype.frozen=nf4"},
                 {"tests/cases/import/Llama-3.2-1B", "dtype.frozen=nf4"},
                 {"tests/cases/import/Phi-4", "dtype.frozen=nf4"},
                 {"tests/cases/import/Llama-3.2-1B", "dtype.frozen=bf16"}};
    for (size_t m = 0; m < COUNT_OF(model); m++)
        for (int64_t pieces = 1; pieces <= 2; pieces++) {
            Arena *arena = arena_new();
            Options options = {0};
            const char *file = arena_printf(arena, "%s/%s", SOURCE_DIR, model[m].file);
            Compilation c = lowered(file, "adapt=lora(rank = 16)", model[m].set, &options, arena);
            Program *program = programs_get(&c, c.forward, (TileRule){pieces, pieces});
            PlanRequest request = stages_glance(&c, program, (Budget){0});
            int64_t least = plan_operations_bytes(&request);
            for (int64_t part = 32; part >= 2; part /= 2) {
                Wish wish = {POLICY_OPTIMAL, budget_limited(least + least / part, 0), ASK_PLAN};
                request = stages_glance(&c, program, wish.budget);
                double foreseen = plan_estimate(&request);
                if (foreseen > 2 * program->seconds) continue; /* few such plans are looked for */
                stages_plan(&c, program, wish, arena);
                assert_true(program->result->feasible);
                assert_true(fabs(program->result->plan.seconds / foreseen - 1) < 0.02);
            }
            arena_free(arena);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(listed_as_if_made),
                                       cmocka_unit_test(planned_as_foreseen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
