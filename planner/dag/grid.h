/* A schedule as a grid of runs, changed one run at a time (the grid of Checkmate: Jain et al. 2020).
 *
 * Cell (time, op), op <= time, is the place where `op` may run just before operation `time` runs for the
 * first time; the diagonal holds the first executions and is always there. Cells are numbered row by row,
 * which is the order of execution:
 *
 *     time 0 |  0                    a storage lives from the cell that makes it to its last read before it
 *     time 1 |  1  2                 is made anew; any set of cells is a valid schedule, since an operand
 *     time 2 |  3  4  5              that does not run again is simply kept since it was made last
 *            |  6  7  8
 *
 * A time may have several rows, one after the other, so that its operations may run again in any order and
 * more than once; the first execution is in the last of them (time 2 above: cell 8, and cell 5 is not used).
 * Any sequence of runs is on some such grid: each of its ascending parts is a row.
 *
 * Nothing runs in place here: problems whose operations take over bytes are measured as if they did not. */
#ifndef REMAT_DAG_GRID_H
#define REMAT_DAG_GRID_H

#include "planner/problem/problem.h"

typedef struct Grid Grid;
enum { GRID_MOST_OPS = 3000 };

/* Holds no reruns. At most GRID_MOST_OPS operations. `passes`: rows by time; NULL: one each. */
Grid *grid_new(const Problem *p, const uint32_t *passes, Arena *arena);

uint32_t grid_last_row(const Grid *grid, uint32_t time);
uint32_t grid_time(const Grid *grid, uint32_t row);
uint32_t grid_row(const Grid *grid, uint32_t cell);
uint32_t grid_op(const Grid *grid, uint32_t cell);
uint32_t grid_cell(const Grid *grid, uint32_t row, uint32_t op);
uint32_t grid_first(const Grid *grid, uint32_t op); /* the cell of its first execution */

bool grid_has(const Grid *grid, uint32_t cell);
void grid_insert(Grid *grid, uint32_t cell); /* which is not there */
void grid_remove(Grid *grid, uint32_t cell); /* which is there, off the diagonal */
/* The reruns, in no order. */
const uint32_t *grid_cells(const Grid *grid, uint32_t *count);
void grid_load(Grid *grid, const uint32_t *cells, uint32_t count); /* these and no other */

double grid_seconds(const Grid *grid); /* of the reruns */
/* Highest live bytes, and the first cell where they occur. */
int64_t grid_peak(const Grid *grid, uint32_t *cell);
int64_t grid_highest(const Grid *grid, uint32_t lo, uint32_t hi); /* of cells [lo, hi) */

/* The last touch of a storage before a cell and the first one not before it; NONE where there is none. */
typedef struct Touch {
    uint32_t before, next;
    bool next_reads; /* so it is live between the two */
} Touch;
Touch grid_touch(const Grid *grid, uint32_t storage, uint32_t cell);

#endif
