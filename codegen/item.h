/* Lines of the emitted source: one a step. */
#ifndef REMAT_ITEM_H
#define REMAT_ITEM_H

#include "codegen/stretch.h"

/* The C of an item, each slot called by its text; `slot_text` NULL: "@" for all. */
void item_print(const Steps *steps, const Item *item, const char *const *slot_text, Text *out);

#endif
