/* The search for good retentions: a front of plans, none both slower and larger than another. The front
 * depends on the problem alone, never on a budget. */
#ifndef REMAT_SEARCH_H
#define REMAT_SEARCH_H

#include "planner/problem/replay.h"

typedef struct Candidate {
    int64_t peak_bytes;
    double seconds;
    Keep *retain;
} Candidate;
typedef VEC(Candidate) Front; /* peaks ascending, seconds descending */

/* `blocks` is NULL for an outside DAG. `pinned` has, for each gap, the time from which a pin keeps it, or
 * NONE where the search is free; NULL: no pins. `budget_bytes` is what the front will be asked for: where
 * everything fits (INT64_MAX), or where nothing does, only the smallest ones matter; 0: any. `families`:
 * plans without copies that another search of the same operations began with; empty: filled; NULL: nothing is
 * kept. `smallest`: the front's first few before refinement, the same in every case. With a budget of
 * SEARCH_LEAST they are all that is asked for, and what is surely larger is not looked at: then without
 * `families`. Another budget below 0: the same, if the smallest is smaller than minus that; else only how
 * small it is. */
enum { SEARCH_SMALLEST = 3 };
#define SEARCH_LEAST INT64_MIN
Front search_front(const Problem *p, const Blocks *blocks, const Keep *pinned, int64_t budget_bytes,
                   Front *families, Front *smallest, Arena *arena);

#endif
