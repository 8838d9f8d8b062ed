/* Lines of the emitted source: one a step. */
#ifndef REMAT_ITEM_H
#define REMAT_ITEM_H

#include "codegen/stretch.h"

/* "BF16": what kernels call a storage type, without its K_. */
extern const char *const dtype_macro[DT_COUNT];
/* The call of a node: outputs, inputs, whole numbers that are set, and the workspace of so many bytes (0:
 * none) are called by their texts in that order. */
void item_print_call(const Graph *g, const Node *node, int64_t workspace_bytes, const char *const *slot_text,
                     Text *out);
/* Of a node that works over several tensors, which operands belong to tensor `t`, or to none of them
 * (op_tensors): `reads` inputs from `read` on; of those that are written over, `overs` from `over` on. */
typedef struct Taken {
    uint32_t read, reads, over, overs;
} Taken;
Taken item_taken(const Node *node, uint32_t t);
/* The C of an item, each slot called by its text; `slot_text` NULL: "@" for all. */
void item_print(const Steps *steps, const Item *item, const char *const *slot_text, Text *out);

#endif
