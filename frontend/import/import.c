/* See import.h: JSON, to facts, to text, through the language's own parser and formatter. */
#include "frontend/import/import.h"

#include "frontend/import/spec.h"
#include "frontend/language/ast.h"

#include <string.h>

enum { LONGEST_NAME = 60 };

static bool letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* "Llama-3.2-1B" -> "llama_3_2_1b": what is no letter or digit becomes one line each time. */
static const char *identifier_of(const char *name, const char *otherwise, Arena *arena) {
    char word[LONGEST_NAME + 1];
    size_t length = 0;
    for (; *name && length < LONGEST_NAME; name++) {
        if (letter(*name) || digit(*name))
            word[length++] = letter(*name) ? (char)(*name | 0x20) : *name;
        else if (length && word[length - 1] != '_')
            word[length++] = '_';
    }
    while (length && word[length - 1] == '_') length--;
    word[length] = 0;
    if (!length) return otherwise;
    return letter(*word) ? arena_strdup(arena, word) : arena_printf(arena, "model_%s", word);
}

/* For a comment: the name where it has nothing but visible ASCII, else its identifier. */
static const char *title_of(const char *name, const char *identifier) {
    size_t length = strlen(name);
    bool visible = length && length <= LONGEST_NAME;
    for (size_t i = 0; i < length; i++) visible &= name[i] > ' ' && name[i] < 0x7f;
    return visible ? name : identifier;
}

/* What the language has no room for, a path with a line break say, is found here. */
static bool canonical(const Text *written, Arena *arena, Import *out) {
    Diag *diag = diag_new(arena, "the spec", written->at, written->length);
    Ast *ast = ast_parse(arena, "the spec", written->at, written->length, diag);
    if (!ast) {
        Text why = {.arena = arena};
        diag_print(diag, &why, false);
        out->error = arena_printf(arena, "a spec cannot hold it: %.*s", (int)strcspn(why.at, "\n"), why.at);
        return false;
    }
    Text text = {.arena = arena};
    fmt_print(ast, &text);
    out->text = text.at;
    out->length = text.length;
    return true;
}

static bool import_object(json_t *root, const char *json, size_t length, const char *name,
                          const char *weights, Arena *arena, Import *out) {
    Config c = {
        .arena = arena, .text = json, .length = length, .object = root, .asked = map_new(arena), .out = out};
    Facts facts;
    if (!json_is_object(root))
        return config_wrong(&c, NULL, "the top level is not an object: this is no model's config.json");
    if (!facts_read(&c, &facts)) return false;
    const char *identifier = identifier_of(name, facts.family->type, arena);
    SpecNames names = {.name = title_of(name, identifier), .identifier = identifier, .weights = weights};
    Text written = {.arena = arena};
    spec_write(&facts, &names, &written);
    return canonical(&written, arena, out);
}

bool import_config(const char *json, size_t length, const char *name, const char *weights, Arena *arena,
                   Import *out) {
    *out = (Import){0};
    if (length > IMPORT_LARGEST_BYTES) {
        out->error = "more than 1 MiB: this is no model's config.json";
        return false;
    }
    if (memchr(json, 0, length)) { /* which jansson passes over behind a number */
        out->error = "not JSON: a NUL byte";
        return false;
    }
    json_error_t error;
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        out->error = arena_printf(arena, "not JSON: %s", error.text);
        out->line = (uint32_t)(error.line > 0 ? error.line : 0);
        out->column = (uint32_t)(error.column > 0 ? error.column : 0);
        return false;
    }
    bool fine = import_object(root, json, length, name, weights, arena, out);
    json_decref(root);
    return fine;
}
