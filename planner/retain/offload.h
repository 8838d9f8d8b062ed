/* Which kept storages go to host memory. */
#ifndef REMAT_RETAIN_OFFLOAD_H
#define REMAT_RETAIN_OFFLOAD_H

#include "planner/problem/replay.h"

typedef struct Offloader Offloader;
/* `pinned` as in trim.h: gaps that pins decide stay as they are. */
Offloader *offload_new(const Problem *p, const Keep *pinned, Replay *r, Arena *arena);

/* What may go: only what is kept past a run with more than `above_bytes` live; HOST_EASY copies may lag
 * behind what makes or reads their storages by at most `lag_seconds`; HOST_STAGED ones make the operations
 * wait. */
typedef struct OffloadRule {
    uint32_t host;
    double lag_seconds;
    int64_t above_bytes;
} OffloadRule;
/* Adds to the retention that was replayed last. Copies already in it stay. Returns how many gaps were added;
 * the sequence is to be replayed then. */
uint32_t offload_more(Offloader *o, const Sequence *sequence, const OffloadRule *rule, Keep *retain);

#endif
