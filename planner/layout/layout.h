/* Layouts: an offset for every buffer of a program, those of a training program and of others in its arena.
 */
#ifndef REMAT_LAYOUT_LAYOUT_H
#define REMAT_LAYOUT_LAYOUT_H

#include "planner/plan.h"

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
