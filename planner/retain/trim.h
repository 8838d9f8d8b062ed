/* Trimming: one retention made smaller or faster, gap by gap. */
#ifndef REMAT_RETAIN_TRIM_H
#define REMAT_RETAIN_TRIM_H

#include "planner/problem/problem.h"
#include "planner/problem/replay.h"

typedef struct Trimmer Trimmer;
Trimmer *trim_new(const Problem *p, const Keep *pinned, Replay *r, Arena *arena);
/* Whether one drop that lowers a peak alone, for fewer seconds, takes the place of several that are cheaper a
 * byte; at first none does. */
void trim_singly(Trimmer *trimmer, bool singly);
/* Drops what is cheapest a byte at the highest instants until the peak is at most `target_bytes`, if it can.
 * `sequence` is the replay of the result. */
bool trim_to(Trimmer *trimmer, int64_t target_bytes, Keep *retain, Sequence *sequence);
/* Keeps again what fits below `target_bytes`, dearest a byte first. `sequence` as above, on entry too. */
void trim_fill(Trimmer *trimmer, int64_t target_bytes, Keep *retain, Sequence *sequence);

#endif
