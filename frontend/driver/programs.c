/* See programs.h. In: a lowered file; out: the training programs of its micro-batches and tilings, each made
 * once. */
#include "frontend/driver/programs.h"

#include "frontend/lower/lower.h"
#include "planner/effort.h"

#include <inttypes.h>

/* One micro-batch of the file. */
typedef struct Batch {
    int64_t asked; /* 0: the file's */
    Graph *forward;
    uint32_t tilings; /* NONE: not listed yet */
    Tiling tiling[MOST_TILINGS];
} Batch;

/* What was made for one file: graphs with the same micro-batch and tiling are equal, and so is what a search
 * finds for them. */
typedef struct Programs {
    VEC(Batch *) batch;
    VEC(Program *) program; /* up to their costs */
} Programs;

Programs *programs_new(Arena *arena) {
    return NEW(arena, Programs);
}

static bool is_same_tile(TileRule a, TileRule b) {
    return a.loss_chunks == b.loss_chunks && a.mlp_tiles == b.mlp_tiles;
}

static Program *keep(const Compilation *c, Program program) {
    Program *kept = *vec_add(c->arena, &c->programs->program) = NEW(c->arena, Program);
    *kept = program;
    kept->memo = plan_memo_new(c->arena);
    return kept;
}

Program *programs_get(const Compilation *c, Graph *forward, TileRule tile) {
    Programs *programs = c->programs;
    Program *copy = NEW(c->arena, Program), *kept = NULL;
    for (uint32_t i = 0; i < programs->program.count && !kept; i++) {
        Program *made = programs->program.at[i];
        if (made->made[STAGE_GRAPH] == forward && is_same_tile(made->tile, tile)) kept = made;
    }
    if (!kept) {
        kept = keep(c, program_new(PROGRAM_TRAIN, forward, tile, c->arena));
        stages_run(c, kept, STAGE_COST, c->arena);
    }
    *copy = *kept;
    return copy;
}

static Batch *batch_of(const Compilation *c, int64_t asked) {
    Programs *programs = c->programs;
    for (uint32_t i = 0; i < programs->batch.count; i++)
        if (programs->batch.at[i]->asked == asked) return programs->batch.at[i];
    Batch *batch = *vec_add(c->arena, &programs->batch) = NEW(c->arena, Batch);
    batch->asked = asked;
    batch->tilings = NONE;
    batch->forward = lower_graph(c->ast, &c->spec, asked, 0, c->diag, c->arena);
    if (!batch->forward) die("batch %" PRId64 " does not lower, though another did", asked);
    return batch;
}

Program *programs_of_batch(const Compilation *c, int64_t batch) {
    return programs_get(c, batch_of(c, batch)->forward, (TileRule){1, 1});
}

int64_t programs_floor_bytes(const Compilation *c, const Program *program) {
    PlanRequest request = stages_glance(c, program, (Budget){0});
    return plan_blocks_bytes(&request, false);
}

/* The tiling that comes last in the list, of the least bytes: it is what is asked for next where memory is
 * short. */
typedef struct Finest {
    Tiling tiling;
    Program program;
    Arena *arena; /* NULL: none yet */
} Finest;

/* Takes over what was cut if it is finer; the arena in which the next is cut. */
static Arena *keep_finer(Finest *finest, const Tiling *tiling, const Program *cut, Arena *arena) {
    const Tiling *best = &finest->tiling;
    bool finer = !finest->arena || tiling->floor_bytes < best->floor_bytes ||
                 (tiling->floor_bytes == best->floor_bytes && tiling->seconds < best->seconds);
    if (!finer) return arena;
    Arena *free_again = finest->arena;
    *finest = (Finest){.tiling = *tiling, .program = *cut, .arena = arena};
    return free_again ? free_again : arena_new();
}

static void list_tilings(const Compilation *c, const Program *whole, Batch *batch) {
    int64_t tokens = whole->graph->batch * whole->graph->context, floor = programs_floor_bytes(c, whole);
    Tiling all[MOST_TILINGS];
    uint32_t found = 0;
    int64_t more_chunks = whole->graph->node.count < EFFORT_TILES_COARSE_LOSS_OPS ? 2 : 4;
    int64_t more_tiles = whole->graph->node.count < EFFORT_TILES_COARSE_MLP_OPS ? 2 : 4;
    Arena *scratch = arena_new();
    Finest finest = {0};
    for (TileRule tile = {1, 1}; tile.loss_chunks <= EFFORT_TILES_LOSS; tile.loss_chunks *= more_chunks)
        for (tile.mlp_tiles = 1; tile.mlp_tiles <= EFFORT_TILES_MLP; tile.mlp_tiles *= more_tiles) {
            if (tile_is_whole(tile) || tokens % tile.loss_chunks || tokens % tile.mlp_tiles) continue;
            arena_reset(scratch);
            Program cut = program_new(PROGRAM_TRAIN, whole->made[STAGE_GRAPH], tile, scratch);
            stages_run(c, &cut, STAGE_COST, scratch);
            Tiling tiling = {.tile = tile,
                             .seconds = cut.seconds / program_tokens(whole),
                             .floor_bytes = programs_floor_bytes(c, &cut)};
            uint32_t at = found++;
            for (; at > 0 && all[at - 1].seconds > tiling.seconds; at--) all[at] = all[at - 1];
            all[at] = tiling;
            scratch = keep_finer(&finest, &tiling, &cut, scratch);
        }
    arena_free(scratch);
    batch->tilings = 0;
    for (uint32_t i = 0; i < found; i++) {
        if (all[i].floor_bytes >= floor) continue;
        floor = all[i].floor_bytes;
        batch->tiling[batch->tilings++] = all[i];
    }
    if (!batch->tilings) {
        arena_free(finest.arena);
        return;
    }
    arena_take(c->arena, finest.arena);
    keep(c, finest.program);
}

uint32_t programs_tilings(const Compilation *c, const Program *whole, const Tiling **list) {
    Batch *batch = NULL;
    for (uint32_t i = 0; !batch; i++)
        if (c->programs->batch.at[i]->forward == whole->made[STAGE_GRAPH]) batch = c->programs->batch.at[i];
    if (batch->tilings == NONE) list_tilings(c, whole, batch);
    *list = batch->tiling;
    return batch->tilings;
}
