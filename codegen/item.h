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
/* The C of an item, each slot called by its text; `slot_text` NULL: "@" for all. */
void item_print(const Steps *steps, const Item *item, const char *const *slot_text, Text *out);

#endif
