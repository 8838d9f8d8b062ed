/* Packing: byte offsets for buffers with lifetimes, as low as can be. */
#ifndef REMAT_LAYOUT_PACK_H
#define REMAT_LAYOUT_PACK_H

#include "ir/base.h"

typedef struct PackItem {
    uint32_t lo, hi;
    int64_t bytes, align, offset;
} PackItem;
/* Offsets for items with half-open lifetimes; the height reached. A portfolio of first-fit orders, each
 * dropped once it reaches the best height so far, stopping at the liveness bound. Deterministic. `below`:
 * bytes of the same memory that lie under all items, of which a hard search is worth the less. */
int64_t pack_items(PackItem *item, uint32_t count, int64_t below, Arena *scratch);
int64_t pack_bound(const PackItem *item, uint32_t count, Arena *scratch);

#endif
