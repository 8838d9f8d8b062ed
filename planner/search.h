/* The search for good retentions: a front of plans, none both slower and larger than another. The front
 * depends on the problem alone, never on a budget. */
#ifndef REMAT_SEARCH_H
#define REMAT_SEARCH_H

#include "planner/problem/replay.h"

typedef struct Candidate {
    int64_t peak_bytes;
    double seconds;
    Keep *retain;
    uint32_t number; /* of two that are as good in both, the lower stays */
} Candidate;
typedef VEC(Candidate) Front; /* peaks ascending, seconds descending */

/* What the front will be asked for. */
typedef enum SearchAsk {
    SEARCH_ANY,      /* the fastest plan within any budget */
    SEARCH_WITHIN,   /* within `bytes`: where nothing fits that, only the smallest plans matter */
    SEARCH_ANYTHING, /* a budget that everything fits: the same */
    SEARCH_LEAST,    /* the smallest few alone: what is surely larger is not looked at */
    SEARCH_BELOW,    /* the same if the smallest is below `bytes`; else only how small it is */
} SearchAsk;
typedef struct SearchGoal {
    SearchAsk ask;
    int64_t bytes; /* of SEARCH_WITHIN and SEARCH_BELOW */
} SearchGoal;

/* `blocks` is NULL for a DAG from elsewhere. `pinned` has, for each gap, the time from which a pin keeps it,
 * or NONE where the search is free; NULL: no pins. `families`: plans without copies that another search of
 * the same operations began with; empty: filled; NULL: nothing is kept, as it must be with SEARCH_LEAST and
 * SEARCH_BELOW. `smallest`: the front's first few before refinement, the same whatever is asked. */
Front search_front(const Problem *p, const Blocks *blocks, const Keep *pinned, SearchGoal goal,
                   Front *families, Front *smallest, Arena *arena);

#endif
