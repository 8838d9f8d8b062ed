/* Packing: byte offsets for buffers with lifetimes, as low as can be. */
#ifndef REMAT_LAYOUT_PACK_H
#define REMAT_LAYOUT_PACK_H

#include "planner/plan.h"

typedef struct PackItem {
    uint32_t lo, hi;
    int64_t bytes, align, offset;
} PackItem;
/* Offsets for items with half-open lifetimes; the height reached. A portfolio of first-fit orders, each
 * dropped once it reaches the best height so far, stopping at the liveness bound. Deterministic. `below`:
 * bytes of the same memory that lie under all items, of which a hard search is worth the less. */
int64_t pack_items(PackItem *item, uint32_t count, int64_t below, Arena *scratch);
int64_t pack_bound(const PackItem *item, uint32_t count, Arena *scratch);
/* Persistent buffers first, at the bottom: parameters and frozen weights, then states, then inputs; the rest
 * above. Copies in host memory have an arena of their own. Fills offset, persistent_bytes, height_bytes and
 * host_bytes. Packings that `known` (problem/memo.h; NULL: none) has are not made again. */
void pack_layout(Layout *layout, const Graph *g, struct Memo *known, Arena *scratch);
/* The layout of a forward-only graph inside the training program's arena. Persistent values take, matched by
 * name, the offsets of the training layout; caches follow its persistent_bytes, so that programs with the
 * same ones share them, then inputs without a counterpart there (or larger than it), and the transient
 * buffers lie above all. Weights must have one. */
void pack_forward(Layout *forward, const Graph *fg, const Layout *train, const Graph *tg, Arena *scratch);

#endif
