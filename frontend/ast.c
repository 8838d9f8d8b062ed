/* See ast.h. Parsing's entry point and `--set`; what they check is text itself (encoding, size), the
 * language line, and names of settings. */
#include "token.h"
#include "parse.h"

#include <string.h>

const char *const section_name[SECTION_COUNT] = {"dims", "dtype", "train", "data", "save"};
const char *const section_key[SECTION_COUNT][8] = {
    [SECTION_DTYPE] = {"compute", "accumulate", "frozen", "trained", "gradient", "optimizer"},
    [SECTION_TRAIN] = {"steps", "tokens_per_step", "optimizer", "schedule", "clip_norm", "seed"},
    [SECTION_DATA] = {"train", "validate"},
    [SECTION_SAVE] = {"dir", "every", "keep"},
};
const char *const item_word[ITEM_KIND_COUNT] = {
    [ITEM_LANGUAGE] = "language",   [ITEM_BLOCK] = "block",       [ITEM_MODEL] = "model",
    [ITEM_WEIGHTS] = "weights",     [ITEM_ADAPT] = "adapt",       [ITEM_TIE] = "tie",
    [ITEM_INIT] = "init",           [ITEM_DEVICE] = "device",     [ITEM_BUDGET] = "budget",
    [ITEM_HOST] = "host",           [ITEM_MAXIMIZE] = "maximize", [ITEM_KEEP] = "keep",
    [ITEM_RECOMPUTE] = "recompute", [ITEM_OFFLOAD] = "offload",
};
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

static bool text_check(const char *text, size_t length, Diag *diag) {
    enum { LARGEST_MIB = 1 };
    if (length > (size_t)LARGEST_MIB << 20) {
        diag_error(diag, E0111, NO_SPAN, "the file has %zu bytes; the limit is %d MiB", length, LARGEST_MIB);
        return false;
    }
    for (size_t i = 0; i < length;) {
        size_t size = utf8_length((const unsigned char *)text + i, length - i);
        if (!text[i] || !size) {
            diag_error(diag, E0111, NO_SPAN, "this is not a text file: byte %zu is %s", i,
                       text[i] ? "not UTF-8" : "zero");
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

Ast *ast_parse(Arena *arena, const char *path, const char *text, size_t length, Diag *diag) {
    if (!text_check(text, length, diag)) return NULL;
    uint32_t bom = length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
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

/* ---- --set name=value ---- */

/* The value as an expression whose places are those of what it replaces, so that messages point there. */
static Expr *override_value(Ast *ast, const char *text, bool text_wanted, Span span) {
    size_t length = strlen(text);
    Ast *scratch = NEW(ast->arena, Ast);
    *scratch = (Ast){.arena = ast->arena, .path = "--set", .source = text, .length = length};
    Diag *quiet = diag_new(ast->arena, "--set", text, length);
    Parser parser = {
        .arena = ast->arena, .diag = quiet, .ast = scratch, .synced = NONE, .start = START_VALUE};
    if (text_check(text, length, quiet)) {
        tokens_scan(&parser, 0);
        if (!diag_errors(quiet) && parse_tokens(&parser) && !scratch->comment.count) {
            bool plain = parser.value->kind == EXPR_NAME || parser.value->kind == EXPR_BINARY;
            if (!text_wanted || !plain) {
                expr_place(parser.value, span);
                return parser.value;
            }
        }
        if (text_wanted && length && text[0] != '"') {
            Token token = {.kind = STRING, .span = span, .text = arena_strdup(ast->arena, text)};
            return tree_leaf(&parser, EXPR_STRING, &token);
        }
    }
    return NULL;
}

static bool section_knows(int kind, const char *key) {
    for (uint32_t i = 0; section_key[kind][i]; i++)
        if (!strcmp(section_key[kind][i], key)) return true;
    return false;
}

static Section *section_wanted(Ast *ast, SectionKind kind) {
    if (!ast->section[kind]) {
        Item *item = NEW(ast->arena, Item);
        item->kind = ITEM_SECTION;
        item->section = ast->section[kind] = NEW(ast->arena, Section);
        item->section->kind = kind;
        *vec_add(ast->arena, &ast->item) = item;
    }
    return ast->section[kind];
}

static bool set_entry(Ast *ast, SectionKind kind, const char *key, const char *text) {
    Entry *entry = (Entry *)ast_entry(ast, kind, key);
    bool path = (kind == SECTION_SAVE && !strcmp(key, "dir")) || kind == SECTION_DATA;
    Expr *value = override_value(ast, text, path, entry ? entry->value->span : NO_SPAN);
    if (!value) return false;
    if (!entry) {
        entry = vec_add(ast->arena, &section_wanted(ast, kind)->entry);
        entry->key.text = arena_strdup(ast->arena, key);
    }
    entry->value = value;
    entry->span.end = entry->span.end > value->span.end ? entry->span.end : value->span.end;
    return true;
}

static Item *item_wanted(Ast *ast, ItemKind kind) {
    if (!ast->single[kind]) {
        Item *item = ast->single[kind] = NEW(ast->arena, Item);
        item->kind = kind;
        *vec_add(ast->arena, &ast->item) = item;
    }
    return ast->single[kind];
}

static bool set_item(Ast *ast, ItemKind kind, const char *text) {
    const Item *item = ast->single[kind];
    bool size = kind == ITEM_BUDGET || kind == ITEM_HOST;
    Span span = !item ? NO_SPAN : size ? item->value->span : item->name.span;
    Expr *value = override_value(ast, text, !size, span);
    if (!value || (size ? value->kind != EXPR_SIZE : value->kind != EXPR_STRING)) return false;
    if (size) {
        item_wanted(ast, kind)->value = value;
    } else { /* a memory that was pretended is the other device's */
        item_wanted(ast, kind)->name = (Name){value->text, span};
        ast->single[kind]->value = NULL;
    }
    return true;
}

/* The memory that the device is taken to have. */
static bool set_memory(Ast *ast, const char *text) {
    const Item *device = ast->single[ITEM_DEVICE];
    Expr *value = override_value(ast, text, false, device && device->value ? device->value->span : NO_SPAN);
    if (!value || value->kind != EXPR_SIZE) return false;
    item_wanted(ast, ITEM_DEVICE)->value = value;
    if (!device) ast->single[ITEM_DEVICE]->name = (Name){"host", NO_SPAN};
    return true;
}

/* The part before the last dot of "optimizer.lr" or "train.optimizer.lr": a setting whose value takes
 * arguments. NULL when there is no such setting in the file. */
static Entry *entry_with_arguments(const Ast *ast, const char *name, const char **argument) {
    static const char *const keys[] = {"optimizer", "schedule"};
    size_t head = strlen(section_name[SECTION_TRAIN]);
    if (!strncmp(name, section_name[SECTION_TRAIN], head) && name[head] == '.') name += head + 1;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        size_t length = strlen(keys[i]);
        if (strncmp(name, keys[i], length) || name[length] != '.' || !name[length + 1]) continue;
        Entry *entry = (Entry *)ast_entry(ast, SECTION_TRAIN, keys[i]);
        if (!entry || (entry->value->kind != EXPR_CALL && entry->value->kind != EXPR_NAME)) return NULL;
        *argument = name + length + 1;
        return entry;
    }
    return NULL;
}

static bool set_argument(Ast *ast, Entry *entry, const char *name, const char *text) {
    Expr *call = entry->value;
    const Arg *old = call->kind == EXPR_CALL ? call_named(call, name) : NULL;
    Span span = old ? old->value->span : call->span;
    Expr *value = override_value(ast, text, false, span);
    if (!value) return false;
    if (call->kind == EXPR_NAME) { /* `schedule cosine` has no arguments yet */
        entry->value = NEW(ast->arena, Expr);
        *entry->value = (Expr){.kind = EXPR_CALL, .span = span, .callee = {call->text, span}};
    }
    Arg *arg = old ? (Arg *)old : vec_add(ast->arena, &entry->value->args);
    if (!old) *arg = (Arg){.name = {arena_strdup(ast->arena, name), span}, .span = span};
    arg->value = value;
    return true;
}

static const char device_memory[] = "device.memory";
static const ItemKind settable[] = {ITEM_BUDGET, ITEM_HOST, ITEM_DEVICE, ITEM_MAXIMIZE, ITEM_WEIGHTS};

static void unknown_setting(const Ast *ast, const char *name, Diag *diag) {
    VEC(const char *) known = {0};
    const Section *dims = ast->section[SECTION_DIMS];
    for (uint32_t i = 0; dims && i < dims->entry.count; i++)
        *vec_add(ast->arena, &known) = dims->entry.at[i].key.text;
    for (size_t i = 0; i < COUNT_OF(settable); i++) *vec_add(ast->arena, &known) = item_word[settable[i]];
    *vec_add(ast->arena, &known) = device_memory;
    for (int kind = SECTION_DTYPE; kind < SECTION_COUNT; kind++)
        for (uint32_t i = 0; section_key[kind][i]; i++) {
            *vec_add(ast->arena, &known) = section_key[kind][i];
            *vec_add(ast->arena, &known) =
                arena_printf(ast->arena, "%s.%s", section_name[kind], section_key[kind][i]);
        }
    const Section *train = ast->section[SECTION_TRAIN];
    for (uint32_t i = 0; train && i < train->entry.count; i++) {
        const Entry *entry = &train->entry.at[i];
        for (uint32_t k = 0; entry->value->kind == EXPR_CALL && k < entry->value->args.count; k++)
            if (entry->value->args.at[k].name.text)
                *vec_add(ast->arena, &known) =
                    arena_printf(ast->arena, "%s.%s", entry->key.text, entry->value->args.at[k].name.text);
    }
    diag_error(diag, E0114, NO_SPAN, "--set %s: there is no such dim or setting", name);
    diag_suggest(diag, name, known.at, known.count);
}

/* 1 set, 0 bad value, -1 no such name, -2 the name fits several sections (reported) */
static int set_any(Ast *ast, const char *name, const char *text, Diag *diag) {
    if (ast_entry(ast, SECTION_DIMS, name)) return set_entry(ast, SECTION_DIMS, name, text);
    for (size_t i = 0; i < COUNT_OF(settable); i++)
        if (!strcmp(item_word[settable[i]], name)) return set_item(ast, settable[i], text);
    if (!strcmp(name, device_memory)) return set_memory(ast, text);
    int fits[SECTION_COUNT], count = 0;
    for (int kind = SECTION_DIMS; kind < SECTION_COUNT; kind++) {
        size_t head = strlen(section_name[kind]);
        if (!strncmp(name, section_name[kind], head) && name[head] == '.') {
            const char *key = name + head + 1;
            if (section_knows(kind, key) || ast_entry(ast, (SectionKind)kind, key))
                return set_entry(ast, (SectionKind)kind, key, text);
        } else if (section_knows(kind, name)) {
            fits[count++] = kind;
        }
    }
    if (count == 1) return set_entry(ast, (SectionKind)fits[0], name, text);
    const char *argument;
    Entry *entry = entry_with_arguments(ast, name, &argument);
    if (entry) return set_argument(ast, entry, argument, text);
    if (!count) return -1;
    diag_error(diag, E0114, NO_SPAN, "--set %s: several sections have this key", name);
    diag_help(diag, "write %s.%s or %s.%s", section_name[fits[0]], name, section_name[fits[1]], name);
    return -2;
}

bool ast_override(Ast *ast, const char *setting, Diag *diag) {
    const char *equals = strchr(setting, '=');
    if (!equals || equals == setting || !equals[1]) {
        diag_error(diag, E0115, NO_SPAN, "--set %s: write name=value, as in B=4 or train.steps=20", setting);
        return false;
    }
    const char *name = arena_strndup(ast->arena, setting, (size_t)(equals - setting));
    int result = set_any(ast, name, equals + 1, diag);
    if (result == -1) unknown_setting(ast, name, diag);
    if (result == 0) {
        diag_error(diag, E0115, NO_SPAN, "--set %s: '%s' is no value for it", name, equals + 1);
        if (!strcmp(name, "budget") || !strcmp(name, "host") || !strcmp(name, device_memory))
            diag_help(diag, "write a size with a unit, as in 21GiB");
    }
    return result == 1;
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

void expr_place(Expr *expr, Span span) {
    expr->span = span;
    switch (expr->kind) {
    case EXPR_CALL:
        expr->callee.span = span;
        for (uint32_t i = 0; i < expr->args.count; i++) {
            Arg *arg = &expr->args.at[i];
            arg->span = arg->name.span = span;
            expr_place(arg->value, span);
        }
        break;
    case EXPR_SHAPE:
    case EXPR_TUPLE:
        for (uint32_t i = 0; i < expr->items.count; i++) expr_place(expr->items.at[i], span);
        break;
    case EXPR_BINARY:
    case EXPR_NEGATE:
    case EXPR_AS:
    case EXPR_RANGE:
        expr_place(expr->left, span);
        if (expr->right) expr_place(expr->right, span);
        break;
    default: break;
    }
}
