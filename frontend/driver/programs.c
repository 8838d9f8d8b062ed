/* See programs.h. In: a lowered file; out: the training programs of its micro-batches and tilings, each made
 * once. */
#include "frontend/driver/programs.h"

#include "frontend/lower/lower.h"
#include "ir/tasks.h"
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
    kept->memo = plan_memo_new(arena_child(c->arena)); /* searched on whichever thread */
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

/* What a tiling is ranked by. */
typedef struct Rank {
    double seconds; /* a step, nothing recomputed */
    PlanFloor floor;
} Rank;

static Rank rank_of(const Compilation *c, const Program *program) {
    PlanRequest request = stages_glance(c, program, (Budget){0});
    return (Rank){program->seconds, plan_floor(&request)};
}

/* A tiling that is made to be ranked. */
typedef struct Ranking {
    const Compilation *c;
    const Program *whole;
    TileRule tile;
    Rank *rank;
    Task task;
} Ranking;

static void rank_tile(void *context) {
    const Ranking *ranking = context;
    Arena *scratch = arena_new();
    Program cut = program_new(PROGRAM_TRAIN, ranking->whole->made[STAGE_GRAPH], ranking->tile, scratch);
    stages_run(ranking->c, &cut, STAGE_COST, scratch);
    *ranking->rank = rank_of(ranking->c, &cut);
    arena_free(scratch);
}

typedef struct Rankings {
    uint32_t count;
    Ranking of[MOST_TILINGS];
} Rankings;

static void begin_ranking(const Compilation *c, const Program *whole, TileRule tile, Rank *rank,
                          Rankings *all) {
    Ranking *next = &all->of[all->count++];
    *next = (Ranking){.c = c, .whole = whole, .tile = tile, .rank = rank};
    next->task = (Task){.run = rank_tile, .context = next, .alone = true};
    task_begin(c->tasks, &next->task);
}

/* All that were begun are ranked. */
static void end_rankings(const Compilation *c, Rankings *all) {
    for (uint32_t i = 0; i < all->count; i++) task_end(c->tasks, &all->of[i].task);
}

/* Of chunks and tiles together, from what each of them alone changes: neither knows of the other, but where
 * the model is of an odd shape. */
static Rank rank_both(const Rank *none, const Rank *chunks, const Rank *tiles) {
    const PlanFloor *a = &chunks->floor, *b = &tiles->floor;
    return (Rank){
        chunks->seconds + tiles->seconds - none->seconds,
        {a->in_blocks + b->in_blocks - none->floor.in_blocks, a->outside + b->outside - none->floor.outside}};
}

static int64_t floor_bytes(const Rank *rank) {
    return rank->floor.in_blocks > rank->floor.outside ? rank->floor.in_blocks : rank->floor.outside;
}

/* Chunks of the loss, or tiles of MLPs, that some tokens can be cut into: 1 and more. */
typedef struct Cuts {
    uint32_t count;
    int64_t of[8];
    Rank rank[8];
} Cuts;

static Cuts list_cuts(int64_t tokens, int64_t most, int64_t times) {
    Cuts cuts = {0};
    for (int64_t n = 1; n <= most; n *= times)
        if (tokens % n == 0) cuts.of[cuts.count++] = n;
    return cuts;
}

/* Of all that was cut, fastest first, what no other beats. */
static void keep_unbeaten(const Tiling *all, uint32_t found, int64_t floor, Batch *batch) {
    batch->tilings = 0;
    for (uint32_t i = 0; i < found; i++) {
        if (all[i].floor_bytes >= floor) continue;
        floor = all[i].floor_bytes;
        batch->tiling[batch->tilings++] = all[i];
    }
}

/* `each`: every tiling is made to be ranked. */
static void rank_tilings(const Compilation *c, const Program *whole, const Cuts *chunks, const Cuts *tiles,
                         bool each, Batch *batch) {
    Tiling all[MOST_TILINGS];
    Rank both[COUNT_OF(chunks->of)][COUNT_OF(tiles->of)];
    Rankings rankings = {0};
    uint32_t found = 0;
    for (uint32_t i = 1; i < chunks->count && each; i++)
        for (uint32_t k = 1; k < tiles->count; k++)
            begin_ranking(c, whole, (TileRule){chunks->of[i], tiles->of[k]}, &both[i][k], &rankings);
    end_rankings(c, &rankings);
    for (uint32_t i = 0; i < chunks->count; i++)
        for (uint32_t k = 0; k < tiles->count; k++) {
            TileRule tile = {chunks->of[i], tiles->of[k]};
            if (tile_is_whole(tile)) continue;
            Rank rank = !i     ? tiles->rank[k]
                        : !k   ? chunks->rank[i]
                        : each ? both[i][k]
                               : rank_both(&chunks->rank[0], &chunks->rank[i], &tiles->rank[k]);
            Tiling tiling = {tile, rank.seconds / program_tokens(whole), floor_bytes(&rank)};
            uint32_t at = found++;
            for (; at > 0 && all[at - 1].seconds > tiling.seconds; at--) all[at] = all[at - 1];
            all[at] = tiling;
        }
    keep_unbeaten(all, found, floor_bytes(&chunks->rank[0]), batch);
}

/* The finest, of the least bytes, is asked for next where memory is short: where it is not as was foreseen,
 * nothing is. */
static void list_tilings(const Compilation *c, const Program *whole, Batch *batch) {
    int64_t tokens = whole->graph->batch * whole->graph->context;
    Cuts chunks =
        list_cuts(tokens, EFFORT_TILES_LOSS, whole->graph->node.count < EFFORT_TILES_COARSE_LOSS_OPS ? 2 : 4);
    Cuts tiles =
        list_cuts(tokens, EFFORT_TILES_MLP, whole->graph->node.count < EFFORT_TILES_COARSE_MLP_OPS ? 2 : 4);
    chunks.rank[0] = tiles.rank[0] = rank_of(c, whole);
    Rankings rankings = {0};
    for (uint32_t i = 1; i < chunks.count; i++)
        begin_ranking(c, whole, (TileRule){chunks.of[i], 1}, &chunks.rank[i], &rankings);
    for (uint32_t k = 1; k < tiles.count; k++)
        begin_ranking(c, whole, (TileRule){1, tiles.of[k]}, &tiles.rank[k], &rankings);
    end_rankings(c, &rankings);
    rank_tilings(c, whole, &chunks, &tiles, false, batch);
    if (batch->tilings) {
        const Tiling *finest = &batch->tiling[batch->tilings - 1];
        Program *made = programs_get(c, whole->made[STAGE_GRAPH], finest->tile);
        if (programs_floor_bytes(c, made) != finest->floor_bytes)
            rank_tilings(c, whole, &chunks, &tiles, true, batch);
    }
}

uint32_t programs_tilings(const Compilation *c, const Program *whole, const Tiling **list) {
    Batch *batch = NULL;
    for (uint32_t i = 0; !batch; i++)
        if (c->programs->batch.at[i]->forward == whole->made[STAGE_GRAPH]) batch = c->programs->batch.at[i];
    if (batch->tilings == NONE) list_tilings(c, whole, batch);
    *list = batch->tiling;
    return batch->tilings;
}
