/* Exact packing: is there a packing of these items no higher than a capacity? For items that hold their bytes
 * in several runs of time (gaps), at aligned or fixed offsets. */
#ifndef REMAT_LAYOUT_PACK_EXACT_H
#define REMAT_LAYOUT_PACK_EXACT_H

#include "ir/base.h"

typedef struct PackExactRun {
    uint32_t lo, hi; /* half-open */
} PackExactRun;

typedef struct PackExactItem {
    PackExactRun *run; /* ascending, disjoint, none empty */
    uint32_t runs;     /* 0: holds nothing */
    int64_t bytes, align;
    int64_t fixed;  /* the offset it must have, or -1 */
    int64_t offset; /* filled when found */
} PackExactItem;

typedef enum PackExactAnswer { PACK_EXACT_FOUND, PACK_EXACT_IMPOSSIBLE, PACK_EXACT_UNKNOWN } PackExactAnswer;

/* Searches at most `nodes` placements, fewer where each looks at very many items; fewer than all are needed
 * to answer PACK_EXACT_UNKNOWN. `used` (may be NULL) is how many were tried. Deterministic. */
PackExactAnswer pack_exact(PackExactItem *item, uint32_t count, int64_t capacity, uint64_t nodes,
                           uint64_t *used, Arena *scratch);

#endif
