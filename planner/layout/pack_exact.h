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

/* Searches at most `nodes` placements, fewer where each looks at very many items; fewer than all are needed
 * to answer EXACT_UNKNOWN. `used` (may be NULL) is how many were tried. Deterministic. */
ExactAnswer exact_pack(ExactItem *item, uint32_t count, int64_t capacity, uint64_t nodes, uint64_t *used,
                       Arena *scratch);

#endif
