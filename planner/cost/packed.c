/* See packed.h. A product that dequantises its weight does so anew for every tile of rows (cost.c), but needs
 * no storage for what it makes: of two ways that take as long it is the better. */
#include "planner/cost/packed.h"

#include "ir/ops.h"
#include "planner/cost/cost.h"
#include "planner/cost/operand.h"

#include <string.h>

/* The same product of a weight that `dequantize` does not make, but takes. */
static Node packed_product(const Node *product, const Node *dequantize, Arena *arena) {
    Node packed = *product;
    packed.in = NEW_ARRAY(arena, ValueId, product->nin);
    memcpy(packed.in, product->in, sizeof *packed.in * product->nin);
    packed.in[1] = dequantize->in[0];
    return packed;
}

/* The ways of a product with a packed weight; K_FAMILY_NONE: its kernel takes no such weight, of these
 * shapes. */
static KFamily ways_of(const Device *device, const Graph *g, const Node *packed) {
    const KTensor out = operand_of(&g->value.at[packed->out[0]]),
                  in[] = {operand_of(&g->value.at[packed->in[0]]), operand_of(&g->value.at[packed->in[1]])};
    return k_variant_family_of(device->cuda ? K_CUDA : K_HOST, op_info[packed->op].name, &out, in);
}

/* Which of them the profile says; K_VARIANT_NONE: none. */
static int chosen_way(const Device *device, const Graph *g, const Node *packed, Arena *scratch) {
    const KFamily ways = ways_of(device, g, packed);
    if (!device->profile || !ways) return K_VARIANT_NONE;
    Text key = {.arena = scratch};
    profile_key(g, packed, &key);
    const int variant = profile_variant(device->profile, key.at);
    return k_variant_family(variant) == ways ? variant : K_VARIANT_NONE;
}

bool packed_is_taken(const void *about, const Graph *g, const Node *product, const Node *dequantize,
                     uint32_t sharing) {
    const Device *device = about;
    Arena *scratch = arena_new();
    const Node packed = packed_product(product, dequantize, scratch);
    bool taken = false;
    const int chosen = chosen_way(device, g, &packed, scratch);
    if (chosen)
        taken = !k_variant_is_apart(chosen);
    else if (!device->cuda && ways_of(device, g, &packed))
        taken = cost_roofline(g, &packed, device, scratch) <=
                cost_roofline(g, product, device, scratch) +
                    cost_roofline(g, dequantize, device, scratch) / sharing;
    arena_free(scratch);
    return taken;
}

PackedWay packed_way(const Graph *g, const Node *node) {
    if (node->op != OP_LINEAR && node->op != OP_LINEAR_BWD_X) return PACKED_NOT;
    const Value *weight = &g->value.at[node->in[1]];
    if (!dtype_bytes[weight->type.dtype]) return PACKED_WITHIN;
    return weight->def != NONE && g->node.at[weight->def].op == OP_DEQUANTIZE ? PACKED_APART : PACKED_NOT;
}

PackedReason packed_reason(const Device *device, const Graph *g, const Node *product) {
    Arena *scratch = arena_new();
    Node packed = *product;
    if (packed_way(g, product) == PACKED_APART)
        packed = packed_product(product, &g->node.at[g->value.at[product->in[1]].def], scratch);
    const PackedReason reason = !ways_of(device, g, &packed)              ? PACKED_ONLY
                                : chosen_way(device, g, &packed, scratch) ? PACKED_MEASURED
                                                                          : PACKED_ASSUMED;
    arena_free(scratch);
    return reason;
}
