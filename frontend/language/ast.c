/* See ast.h. Parsing's entry point; what it checks is text itself (encoding, size) and the language line. */
#include "frontend/language/token.h"
#include "parse.h"

#include <string.h>

const char *const section_name[SECTION_COUNT] = {
#define SECTION(id, word, token) [SECTION_##id] = word,
#include "frontend/language/words.def"
};
const char *const section_key[SECTION_COUNT][9] = {
    [SECTION_DTYPE] = {"compute", "accumulate", "frozen", "trained", "gradient", "optimizer"},
    [SECTION_TRAIN] = {"steps", "epochs", "tokens_per_step", "optimizer", "schedule", "clip_norm", "guard",
                       "seed"},
    [SECTION_DATA] = {"train", "validate", "tokenizer", "loss", "pack"},
    [SECTION_SAVE] = {"dir", "every", "keep", "adapter", "merged"},
};
const char *const item_word[ITEM_KIND_COUNT] = {
#define ITEM(id, word, token) [ITEM_##id] = word,
#include "frontend/language/words.def"
};
enum {
    ITEM_ROWS = 0
#define ITEM(id, word, token) +1
#include "frontend/language/words.def"
};
_Static_assert(ITEM_ROWS == ITEM_KIND_COUNT - 1, "every item but ITEM_SECTION has its word in words.def");
const char *const expr_kind_name[EXPR_KIND_COUNT] = {"name",   "int",    "float", "size",  "string", "call",
                                                     "binary", "negate", "as",    "shape", "tuple",  "range"};

/* ---- parsing ---- */

/* Length of the UTF-8 character at `at`, 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *at, size_t left) {
    if (at[0] < 0x80) return 1;
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < size) return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return size;
}

bool text_check(const char *text, size_t length, Diag *diag) {
    if (length > AST_LARGEST_BYTES) {
        diag_error(diag, E0111, NO_SPAN, "the file has more than %zu MiB, the limit",
                   AST_LARGEST_BYTES >> 20);
        return false;
    }
    for (size_t i = 0; i < length;) {
        size_t size = utf8_length((const unsigned char *)text + i, length - i);
        if (!text[i] || !size) {
            diag_error(diag, E0111, NO_SPAN, "this is not a text file: byte %zu is %s", i,
                       text[i] ? "not UTF-8" : "zero");
            if (length > 1 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2)))
                diag_help(diag, "it begins like text in UTF-16: save it as UTF-8");
            return false;
        }
        i += size;
    }
    return true;
}

static void check_language(const Ast *ast, Diag *diag) {
    const Item *language = ast->single[ITEM_LANGUAGE];
    if (language && language->value->integer != 1) {
        diag_error(diag, E0109, language->value->span,
                   "language %s is not known; this compiler reads language 1", language->value->text);
    } else if (!language || ast->item.at[0] != language) {
        Span span = ast->item.at[0]->span;
        span.end = span.beg + 1;
        diag_error(diag, E0108, language ? language->span : span, "the file must start with 'language 1'");
        diag_help(diag, language ? "move this line to the top" : "add the line 'language 1' at the top");
    }
}

/* A file whose first sign begins no word is prose, a table or a program: one error says so. */
static bool begins_with_word(const char *text, size_t length, uint32_t from, Diag *diag) {
    uint32_t at = from;
    while (at < length && strchr(" \t\r\n#", text[at])) {
        if (text[at] == '#')
            while (at + 1 < length && text[at + 1] != '\n') at++;
        at++;
    }
    bool letter = at >= length || strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", text[at]);
    if (letter) return true;
    diag_error(diag, E0108, (Span){at, at + 1}, "this is no .remat file: one starts with 'language 1'");
    return false;
}

Ast *ast_parse(Arena *arena, const char *path, const char *text, size_t length, Diag *diag) {
    if (!text_check(text, length, diag)) return NULL;
    uint32_t bom = length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    if (!begins_with_word(text, length, bom, diag)) return NULL;
    Ast *ast = NEW(arena, Ast);
    *ast = (Ast){.arena = arena, .path = path, .source = text, .length = length};
    Parser parser = {.arena = arena, .diag = diag, .ast = ast, .synced = NONE, .start = START_FILE};
    tokens_scan(&parser, bom);
    if (parser.token.count == 1) {
        diag_error(diag, E0112, NO_SPAN, "the file is empty");
        diag_help(diag, "a file starts with 'language 1'; see the examples folder");
        return NULL;
    }
    if (!tokens_classify(&parser)) return NULL;
    bool ok = parse_tokens(&parser);
    if (ok) check_language(ast, diag);
    return ok && !diag_errors(diag) ? ast : NULL;
}

/* ---- asking ---- */

const Entry *ast_entry(const Ast *ast, SectionKind kind, const char *key) {
    const Section *section = ast->section[kind];
    for (uint32_t i = 0; section && i < section->entry.count; i++)
        if (!strcmp(section->entry.at[i].key.text, key)) return &section->entry.at[i];
    return NULL;
}

const Clause *entry_clause(const Entry *entry, const char *word) {
    for (uint32_t i = 0; i < entry->clause.count; i++)
        if (!strcmp(entry->clause.at[i].word.text, word)) return &entry->clause.at[i];
    return NULL;
}

const Arg *call_named(const Expr *call, const char *name) {
    for (uint32_t i = 0; i < call->args.count; i++)
        if (call->args.at[i].name.text && !strcmp(call->args.at[i].name.text, name)) return &call->args.at[i];
    return NULL;
}

const Expr *call_positional(const Expr *call, uint32_t index) {
    for (uint32_t i = 0; i < call->args.count; i++)
        if (!call->args.at[i].name.text && index-- == 0) return call->args.at[i].value;
    return NULL;
}

const Arg *call_flag(const Expr *call, const char *word) {
    for (uint32_t i = 0; i < call->args.count; i++)
        if (!call->args.at[i].name.text && expr_is_name(call->args.at[i].value, word))
            return &call->args.at[i];
    return NULL;
}

bool expr_is_name(const Expr *expr, const char *text) {
    return expr->kind == EXPR_NAME && !strcmp(expr->text, text);
}

bool expr_is_number(const Expr *expr) {
    return expr->kind == EXPR_INT || expr->kind == EXPR_FLOAT;
}

Span span_join(Span a, Span b) {
    return (Span){a.beg, b.end};
}
