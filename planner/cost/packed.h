/* Whether a product dequantises its weight itself, or has it dequantised apart. */
#ifndef REMAT_COST_PACKED_H
#define REMAT_COST_PACKED_H

#include "planner/cost/device.h"

/* A rule of PackedRule (ir/passes/passes.h), about a Device: what its profile says of the product of these
 * operands; where that says nothing, on the host the faster by figures, and apart on CUDA. It looks at no
 * measured time: which is taken does not change while more is measured. */
bool packed_is_taken(const void *device, const Graph *g, const Node *product, const Node *dequantize,
                     uint32_t sharing);
/* Which way a node of a fused graph has; why: the device's profile says so, says nothing of it, or there is
 * no other for operands of these shapes. */
typedef enum PackedWay { PACKED_NOT, PACKED_WITHIN, PACKED_APART } PackedWay;
PackedWay packed_way(const Graph *g, const Node *node);
typedef enum PackedReason { PACKED_MEASURED, PACKED_ASSUMED, PACKED_ONLY } PackedReason;
PackedReason packed_reason(const Device *device, const Graph *g, const Node *product);

#endif
