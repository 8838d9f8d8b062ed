/* Exact packing: is there a packing of these items no higher than a capacity? For items that hold their bytes
 * in several runs of time (gaps), at aligned or fixed offsets. */
#ifndef REMAT_PACK_EXACT_H
#define REMAT_PACK_EXACT_H

#include "../ir/base.h"

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

/* Highest sum of live bytes, also above every fixed end: no packing is lower. */
int64_t exact_bound(const ExactItem *item, uint32_t count, Arena *scratch);

/* Searches at most `nodes` placements; fewer than all are needed to answer EXACT_UNKNOWN. `used` (may be
 * NULL) is how many were tried. Deterministic. */
ExactAnswer exact_pack(ExactItem *item, uint32_t count, int64_t capacity, uint64_t nodes, uint64_t *used,
                       Arena *scratch);

typedef struct ExactProof {
    int64_t bound;  /* no packing is lower */
    uint64_t nodes; /* placements tried */
} ExactProof;

/* From a packing of that height (in the items' offsets) to the lowest found, left in their offsets; stops
 * within `slack` bytes of what is proved, or after `nodes` placements in all. */
int64_t exact_lowest(ExactItem *item, uint32_t count, int64_t height, int64_t slack, uint64_t nodes,
                     ExactProof *proof, Arena *arena);

#endif
