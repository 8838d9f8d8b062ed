/* Exact packing: is there a packing of these items no higher than a capacity? For items that hold their bytes
 * in several runs of time (gaps), at aligned or fixed offsets. */
#ifndef REMAT_PACK_EXACT_H
#define REMAT_PACK_EXACT_H

#include "ir/base.h"

typedef struct ExactRun {
    uint32_t lo, hi; /* half-open */
} ExactRun;

typedef struct ExactItem {
    ExactRun *run; /* ascending, disjoint, none empty */
    uint32_t runs; /* 0: holds nothing */
    int64_t bytes, align;
    int64_t fixed;  /* the offset it must have, or -1 */
    int64_t offset; /* filled when found */
} ExactItem;

typedef enum ExactAnswer { EXACT_FOUND, EXACT_IMPOSSIBLE, EXACT_UNKNOWN } ExactAnswer;

/* Highest sum of live bytes, also above every fixed end. */
int64_t exact_live(const ExactItem *item, uint32_t count, Arena *scratch);
/* No packing is lower: that, and what alignment adds where all have some. */
int64_t exact_bound(const ExactItem *item, uint32_t count, Arena *scratch);

/* Searches at most `nodes` placements, fewer where each looks at very many items; fewer than all are needed
 * to answer EXACT_UNKNOWN. `used` (may be NULL) is how many were tried. Deterministic. */
ExactAnswer exact_pack(ExactItem *item, uint32_t count, int64_t capacity, uint64_t nodes, uint64_t *used,
                       Arena *scratch);

typedef struct ExactProof {
    int64_t bound;  /* no packing is lower */
    uint64_t nodes; /* placements tried */
} ExactProof;

/* First fit in a few orders, in about count^2 steps; the height. Items at fixed offsets are not checked
 * against each other. */
int64_t exact_first_fit(ExactItem *item, uint32_t count, Arena *scratch);

/* From a packing of that height (in the items' offsets) towards one as high as `goal` or the liveness bound;
 * the lowest found is left in the offsets. Stops within `slack` bytes of the goal, or after `nodes`
 * placements. */
int64_t exact_lowest(ExactItem *item, uint32_t count, int64_t height, int64_t goal, int64_t slack,
                     uint64_t nodes, ExactProof *proof, Arena *scratch);

#endif
