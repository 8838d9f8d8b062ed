/* Whether a product dequantises its weight itself, or has it dequantised apart. */
#ifndef REMAT_COST_PACKED_H
#define REMAT_COST_PACKED_H

#include "planner/cost/device.h"

/* A rule of PackedRule (ir/passes/passes.h), about a Device: what its profile says of the product of these
 * operands; where that says nothing, on the host the faster by figures, and apart on CUDA. It looks at no
 * measured time: which is taken does not change while more is measured. */
bool packed_is_taken(const void *device, const Graph *g, const Node *product, const Node *dequantize,
                     uint32_t sharing);
/* Which way a node of a fused graph has; whether that is what the device's profile says. */
typedef enum PackedWay { PACKED_NOT, PACKED_WITHIN, PACKED_APART } PackedWay;
PackedWay packed_way(const Graph *g, const Node *node);
bool packed_is_chosen(const Device *device, const Graph *g, const Node *product);

#endif
