/* What a file's micro-batches and tilings lead to, made once and planned as often as is asked: for
 * batch_search.c, which chooses. */
#ifndef REMAT_PROGRAMS_H
#define REMAT_PROGRAMS_H

#include "frontend/driver/stages.h"
#include "planner/chain/kinds.h"

/* Of graphs of many operations fewer cuts are tried, and fewer numbers of chunks listed; of those of very
 * many fewer numbers of tiles too: all of that takes seconds there. */
enum { MANY_NODES = 4000, VERY_MANY_NODES = 6000 };

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

/* Nothing kept yet. `beside`: of the same file with other settings, which lives as long; what was found for
 * its blocks serves too. NULL: none. */
struct Programs *programs_new(const struct Programs *beside, Arena *arena);
KindMemo *programs_kinds(const Compilation *c); /* choices for the blocks of all of them */

#endif
