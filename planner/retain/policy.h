/* The fixed policies: which gaps each keeps, and the rule of thumb that chooses between two of them. */
#ifndef REMAT_RETAIN_POLICY_H
#define REMAT_RETAIN_POLICY_H

#include "planner/problem/replay.h"

/* Keeps every gap throughout. */
void retain_all(const Problem *p, Keep *retain);
/* The same, but for dequantised weights: each is made again where it is read after the boundary. */
void retain_all_but_dequantized(const Problem *p, uint32_t boundary, Keep *retain);
/* Into a retention: no dequantised weight is kept past the boundary, nor once it is made again: each of its
 * readers there makes it for itself. */
void retain_none_dequantized(const Problem *p, uint32_t boundary, Keep *retain);
/* Keeps, over the boundary, only what lies outside blocks and what a segment of `length` blocks reads from
 * outside. A segment is recomputed at its first need; `nested` keeps its block inputs then, and each block's
 * inside only once that block's own backward pass begins. */
void retain_segments(const Problem *p, const Blocks *blocks, uint32_t length, bool nested, Keep *retain);
/* Sends to host memory, staged, what retain_segments keeps over the boundary: the inputs of checkpointed
 * blocks. */
void retain_offload_blocks(const Problem *p, const Blocks *blocks, Keep *retain);
/* Pins (NULL: none): operations whose outputs are kept, or recomputed when needed after the boundary. */
void retain_pins(const Graph *g, const Problem *p, const Pins *pins, uint32_t boundary, Keep *retain);

typedef VEC(const char *) Reasons;
/* The decision table of the rule of thumb; true: checkpoint every block. Gigabytes are 10^9 bytes.
 * `vram_bytes` 0: unlimited. Appends at least one sentence to `reasons`. */
bool retain_heuristic(double parameters, double vram_bytes, int64_t sequence, bool four_bit, Reasons *reasons,
                      Arena *arena);

#endif
