/* See grid.h. In: cells inserted and removed; out: the peak, kept exact. Each storage has its touches in
 * order of execution; between two of them it is live if the later one reads. A change touches the operands
 * and the outputs of one operation: a few ranges of a segment tree over the cells. A cell where nothing runs
 * never exceeds the nearest ones that do, so the tree needs no gaps. */
#include "planner/dag/grid.h"
#include "planner/problem/live_tree.h"

#include <string.h>

typedef VEC(uint32_t) Touches; /* cell * 2 + (1 if it is made there) */

struct Grid {
    const Problem *p;
    Arena *arena;
    LiveTree live;
    uint32_t *last_row; /* by time */
    uint32_t *time_of;  /* by row */
    uint32_t *begin;    /* by row: its first cell */
    uint32_t *row_of;   /* by cell */
    uint32_t *where;    /* by cell: index into `rerun`; NONE when it does not run */
    VEC(uint32_t) rerun;
    Touches *touch; /* by storage */
    double seconds;
};

uint32_t grid_last_row(const Grid *grid, uint32_t time) {
    return grid->last_row[time];
}

uint32_t grid_time(const Grid *grid, uint32_t row) {
    return grid->time_of[row];
}

uint32_t grid_row(const Grid *grid, uint32_t cell) {
    return grid->row_of[cell];
}

uint32_t grid_op(const Grid *grid, uint32_t cell) {
    return cell - grid->begin[grid->row_of[cell]];
}

uint32_t grid_cell(const Grid *grid, uint32_t row, uint32_t op) {
    return grid->begin[row] + op;
}

uint32_t grid_first(const Grid *grid, uint32_t op) {
    return grid->begin[grid->last_row[op]] + op;
}

bool grid_has(const Grid *grid, uint32_t cell) {
    return grid->where[cell] != NONE;
}

/* Index of the first touch not before `cell`. */
static uint32_t first_from(const Touches *touches, uint32_t cell) {
    uint32_t low = 0, high = touches->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (touches->at[middle] >> 1 < cell)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

Touch grid_touch(const Grid *grid, uint32_t storage, uint32_t cell) {
    const Touches *touches = &grid->touch[storage];
    uint32_t at = first_from(touches, cell);
    Touch touch = {.before = NONE, .next = NONE};
    if (at > 0) touch.before = touches->at[at - 1] >> 1;
    if (at < touches->count) {
        touch.next = touches->at[at] >> 1;
        touch.next_reads = !(touches->at[at] & 1);
    }
    return touch;
}

/* What a touch at `cell` adds to the live bytes, between the touches before and after it. */
static void weigh(Grid *grid, uint32_t storage, const Touch *around, uint32_t cell, bool made, int64_t sign) {
    int64_t bytes = sign * grid->p->bytes[storage];
    bool live = around->next != NONE && around->next_reads;
    if (made && live && around->before != NONE)
        live_tree_add(&grid->live, around->before + 1, cell, -bytes);
    else if (made && !live)
        live_tree_add(&grid->live, cell, cell + 1, bytes);
    else if (made)
        live_tree_add(&grid->live, cell, around->next, bytes);
    else if (!live)
        live_tree_add(&grid->live, around->before + 1, cell + 1, bytes);
}

static void add_touch(Grid *grid, uint32_t storage, uint32_t cell, bool made) {
    Touch around = grid_touch(grid, storage, cell);
    weigh(grid, storage, &around, cell, made, 1);
    Touches *touches = &grid->touch[storage];
    uint32_t at = first_from(touches, cell);
    (void)vec_add(grid->arena, touches);
    memmove(&touches->at[at + 1], &touches->at[at], sizeof *touches->at * (touches->count - 1 - at));
    touches->at[at] = cell * 2 + made;
}

static void remove_touch(Grid *grid, uint32_t storage, uint32_t cell, bool made) {
    Touches *touches = &grid->touch[storage];
    uint32_t at = first_from(touches, cell);
    touches->count--;
    memmove(&touches->at[at], &touches->at[at + 1], sizeof *touches->at * (touches->count - at));
    Touch around = grid_touch(grid, storage, cell);
    weigh(grid, storage, &around, cell, made, -1);
}

static void touch_all(Grid *grid, uint32_t cell, uint32_t op) {
    const Problem *p = grid->p;
    for (EACH(i, p->reads, op)) add_touch(grid, p->reads.list[i], cell, false);
    for (EACH(i, p->makes, op)) add_touch(grid, p->makes.list[i], cell, true);
    if (p->workspace_bytes[op]) live_tree_add(&grid->live, cell, cell + 1, p->workspace_bytes[op]);
}

/* Lays out rows and cells; returns the number of cells. */
static uint32_t lay_out(Grid *grid, const uint32_t *passes) {
    const Problem *p = grid->p;
    uint32_t rows = 0, cells = 0, cell = 0;
    grid->last_row = NEW_ARRAY(grid->arena, uint32_t, p->ops + 1);
    for (uint32_t time = 0; time < p->ops; time++) {
        uint32_t more = passes ? passes[time] : 1;
        rows += more;
        cells += more * (time + 1);
        grid->last_row[time] = rows - 1;
    }
    grid->time_of = NEW_ARRAY(grid->arena, uint32_t, rows + 1);
    grid->begin = NEW_ARRAY(grid->arena, uint32_t, rows + 1);
    grid->row_of = NEW_ARRAY(grid->arena, uint32_t, cells + 1);
    for (uint32_t row = 0, time = 0; row < rows; row++) {
        if (row > grid->last_row[time]) time++;
        grid->time_of[row] = time;
        grid->begin[row] = cell;
        for (uint32_t op = 0; op <= time; op++) grid->row_of[cell++] = row;
    }
    return cells;
}

Grid *grid_new(const Problem *p, const uint32_t *passes, Arena *arena) {
    Grid *grid = NEW(arena, Grid);
    grid->p = p;
    grid->arena = grid->live.arena = arena;
    uint32_t cells = lay_out(grid, passes);
    grid->where = NEW_ARRAY(arena, uint32_t, cells + 1);
    memset(grid->where, 0xff, sizeof *grid->where * cells);
    grid->touch = NEW_ARRAY(arena, Touches, p->storages + 1);
    Arena *scratch = arena_new();
    int64_t *live = NEW_ARRAY(scratch, int64_t, cells + 1);
    for (uint32_t cell = 0; cell < cells; cell++) live[cell] = p->persistent_bytes;
    live_tree_load(&grid->live, live, cells);
    arena_free(scratch);
    for (uint32_t op = 0; op < p->ops; op++) touch_all(grid, grid_first(grid, op), op);
    return grid;
}

void grid_insert(Grid *grid, uint32_t cell) {
    uint32_t op = grid_op(grid, cell);
    grid->where[cell] = grid->rerun.count;
    *vec_add(grid->arena, &grid->rerun) = cell;
    grid->seconds += grid->p->seconds[op];
    touch_all(grid, cell, op);
}

void grid_remove(Grid *grid, uint32_t cell) {
    const Problem *p = grid->p;
    uint32_t op = grid_op(grid, cell), last = grid->rerun.at[--grid->rerun.count];
    grid->rerun.at[grid->where[cell]] = last;
    grid->where[last] = grid->where[cell];
    grid->where[cell] = NONE;
    grid->seconds -= p->seconds[op];
    for (EACH(i, p->reads, op)) remove_touch(grid, p->reads.list[i], cell, false);
    for (EACH(i, p->makes, op)) remove_touch(grid, p->makes.list[i], cell, true);
    if (p->workspace_bytes[op]) live_tree_add(&grid->live, cell, cell + 1, -p->workspace_bytes[op]);
}

const uint32_t *grid_cells(const Grid *grid, uint32_t *count) {
    *count = grid->rerun.count;
    return grid->rerun.at;
}

void grid_load(Grid *grid, const uint32_t *cells, uint32_t count) {
    while (grid->rerun.count) grid_remove(grid, grid->rerun.at[grid->rerun.count - 1]);
    grid->seconds = 0; /* no rounding is carried over */
    for (uint32_t i = 0; i < count; i++) grid_insert(grid, cells[i]);
}

double grid_seconds(const Grid *grid) {
    return grid->seconds;
}

int64_t grid_peak(const Grid *grid, uint32_t *cell) {
    int64_t bytes;
    uint32_t at = live_tree_peak(&grid->live, &bytes);
    if (cell) *cell = at;
    return bytes;
}

int64_t grid_highest(const Grid *grid, uint32_t lo, uint32_t hi) {
    return live_tree_highest(&grid->live, lo, hi);
}
