/* The one way to JSON: trees of jansson that are whole. Where a value cannot be made or put in place, the
 * program ends with exit code 70; a tree that lacks something is never printed. */
#ifndef REMAT_JSON_TREE_H
#define REMAT_JSON_TREE_H

#include "ir/base.h"

#include <jansson.h>

/* Before any other use: from here on jansson's own allocations do not fail but end the program. Where it is
 * not called, for tests, they may fail, and what is built of them is refused below. */
void json_tree_begin(void);

/* Valid UTF-8 whatever the bytes: those that are none are read as Latin-1, as text_add_json does. */
json_t *json_text(const char *text);
/* JSON has no infinity and no NaN: those are null. */
json_t *json_number(double value);
/* These take the value over. */
void json_set(json_t *object, const char *key, json_t *value);
void json_add(json_t *array, json_t *value);
/* Adds the tree and a newline to `out`, and gives the tree up. `indent` 0: on one line. */
void json_tree_print(json_t *root, unsigned indent, Text *out);

#endif
