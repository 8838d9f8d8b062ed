/* The lowest packing of items as pack_exact.h has them: bounds, first fit, and the exact search for ever
 * lower capacities. */
#ifndef REMAT_LAYOUT_PACK_LOWEST_H
#define REMAT_LAYOUT_PACK_LOWEST_H

#include "planner/layout/pack_exact.h"

/* Highest sum of live bytes, also above every fixed end. */
int64_t pack_lowest_live(const PackExactItem *item, uint32_t count, Arena *scratch);
/* No packing is lower: that, and what alignment adds where all have some. */
int64_t pack_lowest_bound(const PackExactItem *item, uint32_t count, Arena *scratch);

typedef struct PackLowestProof {
    int64_t bound;  /* no packing is lower */
    uint64_t nodes; /* placements tried */
} PackLowestProof;

/* First fit in a few orders, in about count^2 steps; the height. Items at fixed offsets are not checked
 * against each other. */
int64_t pack_lowest_first_fit(PackExactItem *item, uint32_t count, Arena *scratch);

/* From a packing of that height (in the items' offsets) towards one as high as `goal` or the liveness bound;
 * the lowest found is left in the offsets. Stops within `slack` bytes of the goal, or after `nodes`
 * placements. */
int64_t pack_lowest(PackExactItem *item, uint32_t count, int64_t height, int64_t goal, int64_t slack,
                    uint64_t nodes, PackLowestProof *proof, Arena *scratch);

#endif
