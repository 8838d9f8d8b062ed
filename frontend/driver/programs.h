/* What a file's micro-batches and tilings lead to, made once and planned as often as is asked: for
 * batch_search.c, which chooses. */
#ifndef REMAT_PROGRAMS_H
#define REMAT_PROGRAMS_H

#include "frontend/driver/stages.h"

/* The training program of a forward graph and a tiling, up to its costs: a copy of what is kept, which is
 * made at the first call. Copies share a memo. */
Program *programs_get(const Compilation *c, Graph *forward, TileRule tile);
Program *programs_of_batch(const Compilation *c, int64_t batch); /* whole; 0: the file's */

/* Live bytes where every block is checkpointed: cheap, and near enough to rank by. */
int64_t programs_floor_bytes(const Compilation *c, const Program *program);

enum { MOST_TILINGS = 20 };

/* A way to cut a graph into tiles. */
typedef struct Tiling {
    TileRule tile;
    double seconds; /* a token, nothing recomputed */
    int64_t floor_bytes;
} Tiling;

/* The tilings of a whole program that no other beats in both time and bytes, fastest first; how many. */
uint32_t programs_tilings(const Compilation *c, const Program *whole, const Tiling **list);

struct Programs *programs_new(Arena *arena); /* nothing kept yet */

#endif
