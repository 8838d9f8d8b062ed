/* See json_tree.h. */
#include "codegen/json_tree.h"

#include "runtime/printable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void json_tree_begin(void) {
    json_set_alloc_funcs(alloc_or_exit, free);
}

json_t *json_text(const char *text) {
    size_t length = strlen(text), used = 0, size;
    char *valid = alloc_or_exit(2 * length + 1); /* what is no UTF-8 takes two bytes */
    for (size_t i = 0; i < length; i += size) {
        unsigned code;
        size = printable_decode(text + i, length - i, &code);
        if (size) {
            memcpy(valid + used, text + i, size);
            used += size;
        } else {
            unsigned char byte = (unsigned char)text[i];
            valid[used++] = (char)(0xc0 | byte >> 6);
            valid[used++] = (char)(0x80 | (byte & 0x3f));
            size = 1;
        }
    }
    json_t *string = json_stringn(valid, used);
    free(valid);
    if (!string) die("no JSON string");
    return string;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

void json_set(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) die("no JSON for '%s'", key);
}

void json_add(json_t *array, json_t *value) {
    if (json_array_append_new(array, value)) die("no JSON for an item of a list");
}

void json_tree_print(json_t *root, unsigned indent, Text *out) {
    char *text = json_dumps(root, JSON_INDENT(indent) | JSON_PRESERVE_ORDER);
    if (!text) die("no JSON text");
    text_add_n(out, text, strlen(text));
    text_add_n(out, "\n", 1);
    free(text);
    json_decref(root);
}
