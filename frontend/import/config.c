/* See config.h. */
#include "frontend/import/config.h"

#include <stdlib.h>
#include <string.h>

Config config_inner(const Config *outer, const char *key, json_t *object) {
    Config inner = *outer;
    inner.object = object;
    inner.inside = key;
    inner.asked = map_new(outer->arena);
    return inner;
}

/* ---- places ---- */

/* Behind the closing quote of the string that begins at `at`. Requires valid JSON. */
static size_t string_end(const char *text, size_t length, size_t at) {
    for (at++; at < length && text[at] != '"'; at++) at += text[at] == '\\';
    return at < length ? at + 1 : length;
}

static bool is_word(const char *text, size_t beg, size_t end, const char *word) {
    size_t length = strlen(word);
    return end - beg == length + 2 && !memcmp(text + beg + 1, word, length);
}

/* Where the key stands; 0 where it is spelled with escapes. jansson keeps no places. */
static void find_place(const Config *c, const char *key, uint32_t *line, uint32_t *column) {
    const char *text = c->text;
    uint32_t depth = 0, wanted = c->inside ? 2 : 1, row = 1;
    size_t row_begin = 0;
    bool inside = !c->inside;
    for (size_t i = 0; i < c->length; i++) {
        if (text[i] == '\n') row++, row_begin = i + 1;
        if (text[i] == '{' || text[i] == '[') depth++;
        if (text[i] == '}' || text[i] == ']') depth--;
        if (text[i] != '"') continue;
        size_t end = string_end(text, c->length, i), next = end;
        while (next < c->length && strchr(" \t\r\n", text[next])) next++;
        if (next < c->length && text[next] == ':') {
            if (depth == 1 && c->inside) inside = is_word(text, i, end, c->inside);
            if (depth == wanted && inside && is_word(text, i, end, key)) {
                *line = row;
                *column = 1;
                for (size_t k = row_begin; k < i; k++) *column += ((unsigned char)text[k] & 0xc0) != 0x80;
                return;
            }
        }
        i = end - 1;
    }
}

/* ---- messages ---- */

bool config_wrong(Config *c, const char *key, const char *format, ...) {
    if (c->out->error) return false;
    va_list args;
    va_start(args, format);
    c->out->error = arena_vprintf(c->arena, format, args);
    va_end(args);
    if (key) find_place(c, key, &c->out->line, &c->out->column);
    return false;
}

void config_help(Config *c, const char *format, ...) {
    if (c->out->help) return;
    va_list args;
    va_start(args, format);
    c->out->help = arena_vprintf(c->arena, format, args);
    va_end(args);
}

void config_warn(Config *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *vec_add(c->arena, &c->out->warning) = arena_vprintf(c->arena, format, args);
    va_end(args);
}

const char *config_path(const Config *c, const char *key) {
    return c->inside ? arena_printf(c->arena, "%s.%s", c->inside, key) : key;
}

const char *config_shown(const Config *c, const json_t *value) {
    enum { LONGEST = 40 };
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text) return "what is there";
    size_t length = strlen(text);
    const char *shown =
        length <= LONGEST ? arena_strdup(c->arena, text) : arena_printf(c->arena, "%.*s...", LONGEST, text);
    free(text);
    return shown;
}

/* ---- values ---- */

json_t *config_value(Config *c, const char *key) {
    map_set(c->asked, key, 1);
    json_t *value = json_object_get(c->object, key);
    return json_is_null(value) ? NULL : value;
}

static bool wrong_kind(Config *c, const char *key, const json_t *value, const char *wanted) {
    return config_wrong(c, key, "%s: %s is wanted, not %s", config_path(c, key), wanted,
                        config_shown(c, value));
}

static bool is_missing(Config *c, const char *key) {
    return config_wrong(c, NULL, "'%s' is missing", config_path(c, key));
}

bool config_count(Config *c, const char *key, int64_t low, int64_t high, int64_t *out) {
    const json_t *value = config_value(c, key);
    if (!value) return true;
    if (!json_is_integer(value)) return wrong_kind(c, key, value, "a whole number");
    if (json_integer_value(value) < low || json_integer_value(value) > high)
        return config_wrong(c, key, "%s: %lld is out of range (%lld to %lld)", config_path(c, key),
                            (long long)json_integer_value(value), (long long)low, (long long)high);
    *out = json_integer_value(value);
    return true;
}

bool config_needs(Config *c, const char *key, int64_t low, int64_t high, int64_t *out) {
    if (config_value(c, key)) return config_count(c, key, low, high, out);
    return is_missing(c, key);
}

bool config_number(Config *c, const char *key, double low, double high, double *out) {
    const json_t *value = config_value(c, key);
    if (!value) return true;
    if (!json_is_number(value)) return wrong_kind(c, key, value, "a number");
    double number = json_number_value(value);
    if (!(number >= low && number <= high))
        return config_wrong(c, key, "%s: %g is out of range (%g to %g)", config_path(c, key), number, low,
                            high);
    *out = number;
    return true;
}

bool config_needs_number(Config *c, const char *key, double low, double high, double *out) {
    if (config_value(c, key)) return config_number(c, key, low, high, out);
    return is_missing(c, key);
}

bool config_flag(Config *c, const char *key, bool *out) {
    const json_t *value = config_value(c, key);
    if (!value) return true;
    if (!json_is_boolean(value)) return wrong_kind(c, key, value, "true or false");
    *out = json_is_true(value);
    return true;
}

bool config_word(Config *c, const char *key, const char **out) {
    const json_t *value = config_value(c, key);
    if (!value) return true;
    if (!json_is_string(value)) return wrong_kind(c, key, value, "a word in quotes");
    *out = arena_strdup(c->arena, json_string_value(value));
    return true;
}
