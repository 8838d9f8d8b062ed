/* See tokenizer_json.h. */
#include "frontend/text/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

json_t *json_file_read(JsonFile *file, Arena *arena, Arena *scratch, const char *path, size_t flags) {
    json_error_t error;
    *file = (JsonFile){.arena = arena, .path = path};
    file->text = read_file(scratch, path, &file->length);
    if (!file->text) {
        file->error = arena_printf(arena, "%s: %s", path, read_file_error());
        return NULL;
    }
    if (memchr(file->text, 0, file->length)) { /* which jansson passes over behind a number */
        file->error = arena_printf(arena, "%s: not JSON: a NUL byte", path);
        return NULL;
    }
    json_t *root = json_loadb(file->text, file->length, JSON_REJECT_DUPLICATES | flags, &error);
    if (!root)
        file->error =
            arena_printf(arena, "%s:%d:%d: not JSON: %s", path, error.line, error.column, error.text);
    return root;
}

Node node_key(Node node, const char *key) {
    json_t *value = json_object_get(node.value, key);
    const char *path = *node.path ? arena_printf(node.file->arena, "%s.%s", node.path, key) : key;
    return (Node){node.file, json_is_null(value) ? NULL : value, path, json_is_null(value)};
}

Node node_item(Node node, size_t index) {
    json_t *value = json_array_get(node.value, index);
    return (Node){node.file, json_is_null(value) ? NULL : value,
                  arena_printf(node.file->arena, "%s[%zu]", node.path, index), json_is_null(value)};
}

bool node_wrong(Node node, const char *format, ...) {
    if (node.file->error) return false;
    va_list args;
    va_start(args, format);
    const char *what = arena_vprintf(node.file->arena, format, args);
    va_end(args);
    node.file->error = arena_printf(node.file->arena, "%s: %s%s%s", node.file->path, node.path,
                                    *node.path ? ": " : "", what);
    return false;
}

const char *node_shown(Node node) {
    enum { LONGEST = 40 };
    if (!node.value) return "nothing";
    if (json_is_object(node.value)) return "an object";
    if (json_is_array(node.value)) return "a list";
    char *text = json_dumps(node.value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text) return "what is there";
    const char *shown = strlen(text) <= LONGEST ? arena_strdup(node.file->arena, text)
                                                : arena_printf(node.file->arena, "%.*s...", LONGEST, text);
    free(text);
    return shown;
}

bool node_unsupported(Node node) {
    return node_wrong(node, "%s is not supported", node_shown(node));
}

bool node_is_object(Node node, const char *keys) {
    const char *key;
    json_t *value;
    if (!json_is_object(node.value)) return node_wrong(node, "an object is wanted, not %s", node_shown(node));
    json_object_foreach(node.value, key, value) {
        const char *known = arena_printf(node.file->arena, " %s ", key);
        if (strchr(key, ' ') || !strstr(keys, known))
            return node_wrong(node, "the key '%s' is not supported", key);
    }
    return true;
}

bool node_is_array(Node node) {
    return json_is_array(node.value) || node_wrong(node, "a list is wanted, not %s", node_shown(node));
}

bool node_text(Node node, Bytes *out) {
    if (!json_is_string(node.value)) return node_wrong(node, "a string is wanted, not %s", node_shown(node));
    size_t length = json_string_length(node.value);
    *out = (Bytes){arena_strndup(node.file->arena, json_string_value(node.value), length), (uint32_t)length};
    return true;
}

bool node_not_null(Node node) {
    return !node.null || node_wrong(node, "null is not supported");
}

bool node_flag(Node node, bool *out) {
    if (!json_is_boolean(node.value))
        return node_wrong(node, "true or false is wanted, not %s", node_shown(node));
    *out = json_is_true(node.value);
    return true;
}

bool node_flag_or(Node node, bool otherwise, bool *out) {
    *out = otherwise;
    return !node.value || node_flag(node, out);
}

bool node_number(Node node, uint32_t most, uint32_t *out) {
    json_int_t number = json_integer_value(node.value);
    if (!json_is_integer(node.value) || number < 0 || number > most)
        return node_wrong(node, "a whole number up to %u is wanted, not %s", most, node_shown(node));
    *out = (uint32_t)number;
    return true;
}

bool text_is(Bytes text, const char *word) {
    return text.length == strlen(word) && !memcmp(text.at, word, text.length);
}
