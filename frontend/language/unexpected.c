/* Words a syntax error: "expected ',' or ')' in the call of 'linear', found '['". In: the token kinds the
 * grammar would take and the token it got. Invariant: one error a place; tokens that were reported
 * already (JUNK, an implied '}') are not reported again. */
#include "frontend/language/token.h"
#include "parse.h"

#include <string.h>

static bool has(const int *expected, uint32_t count, int kind) {
    for (uint32_t i = 0; i < count; i++)
        if (expected[i] == kind) return true;
    return false;
}

static const char *kind_text(int kind, Arena *arena) {
    static const struct {
        int kind;
        const char *text;
    } table[] = {
        {NAME, "a name"},
        {INT, "a number"},
        {FLOAT, "a number"},
        {SIZE, "a size such as 21GiB"},
        {STRING, "text in quotes"},
        {DOTS, "'..'"},
        {ARROW, "'->'"},
        {UNIT, "'steps' or 'batches'"},
        {WORD, "a word"},
        {YYEOF, "the end of the file"},
#define INNER(word, token) {token, "'" word "'"},
#include "frontend/language/words.def"
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].kind == kind) return table[i].text;
    return kind < 128 ? arena_printf(arena, "'%c'", kind) : NULL;
}

/* What the user would call the things that fit, joined: "',' or ')'". */
static const char *expected_text(Parser *parser, const int *expected, uint32_t count) {
    const char *part[8];
    uint32_t parts = 0;
    bool entry = has(expected, count, KEY), stmt = has(expected, count, REPEAT);
    bool operator= has(expected, count, '*'),
         expr = has(expected, count, SIZE) && has(expected, count, '-') && !operator;
    if (has(expected, count, KW_BLOCK)) return "a section or a setting";
    if (entry) part[parts++] = "a key";
    if (stmt) part[parts++] = "a statement";
    if (expr) part[parts++] = has(expected, count, '[') ? "an argument" : "an expression";
    bool closes = has(expected, count, ')') || has(expected, count, ']') || has(expected, count, '}');
    for (uint32_t i = 0; i < count && parts < COUNT_OF(part); i++) {
        int kind = expected[i];
        if (kind == YYerror || kind == SYNC || kind == FLOAT || kind == WORD) continue;
        if (operator&&(strchr("+-*/", kind < 128 && kind ? kind : 'x') || kind == AS || kind == '('))
            continue;
        if (expr && (kind == NAME || kind == INT || kind == SIZE || kind == STRING || kind == '-' ||
                     kind == '(' || kind == '['))
            continue;
        if (expr && (kind == ')' || kind == ']')) continue; /* the comma before it was not the mistake */
        if (entry && kind != '}') continue;
        if (stmt && kind != '}' && kind != '=') continue;
        if (kind == '=' && closes) continue;
        if (kind == DOTS && closes) continue;
        const char *text = kind_text(kind, parser->arena);
        if (text) part[parts++] = text;
    }
    if (!parts) return "something else";
    Text out = {.arena = parser->arena};
    for (uint32_t i = 0; i < parts; i++)
        text_add(&out, "%s%s", !i ? "" : i + 1 == parts ? " or " : ", ", part[i]);
    return out.at;
}

static const char *found_text(Parser *parser, const Token *token) {
    uint32_t length = token->span.end - token->span.beg;
    if (token->kind == YYEOF) return "the end of the file";
    const char *quote = token->kind == STRING ? "" : "'";
    return arena_printf(parser->arena, "%s%.*s%s%s", quote, (int)(length > 40 ? 40 : length),
                        parser->ast->source + token->span.beg, length > 40 ? "..." : "", quote);
}

/* " in the call of 'linear'": the bracket the mistake is in. */
static const char *place_text(Parser *parser, uint32_t at) {
    uint32_t open = tokens_enclosing(parser, at);
    if (open == NONE) return "";
    const Token *token = &parser->token.at[open], *before = open ? token - 1 : NULL;
    if (token->kind == '[') return " in the shape";
    if (token->kind != '(') return "";
    if (!before || before->kind != NAME) return " in the parentheses";
    bool block = open > 1 && before[-1].kind == KW_BLOCK;
    return arena_printf(parser->arena, " in the %s of '%s'", block ? "parameters" : "call", before->text);
}

/* A misspelt keyword: the word itself, or (for `retrun x`) the word before it. */
static void suggest_word(Parser *parser, const int *expected, uint32_t count) {
    static const char *const body_words[] = {"return", "repeat"};
    const Token *found = &parser->token.at[parser->last], *before = parser->last ? found - 1 : NULL;
    if (has(expected, count, AS) && found->kind == NAME && !strcmp(found->text, "as")) {
        diag_help(parser->diag, "'as' is followed by a shape: as [B, T, D]");
    } else if (has(expected, count, KW_BLOCK) && found->kind == NAME) {
        const char *words[ITEM_KIND_COUNT + SECTION_COUNT];
        uint32_t n = 0;
        for (int i = 0; i < ITEM_KIND_COUNT; i++)
            if (item_word[i]) words[n++] = item_word[i];
        for (int i = 0; i < SECTION_COUNT; i++) words[n++] = section_name[i];
        diag_suggest(parser->diag, found->text, words, n);
    } else if (has(expected, count, '=') && before && before->kind == NAME && found->braces) {
        diag_suggest(parser->diag, before->text, body_words, COUNT_OF(body_words));
    }
}

/* Words of data that other trainers know: `train "chat.json" sharegpt`. */
static void suggest_data(const Parser *parser) {
    static const char *const words[] = {"json", "csv", "parquet", "arrow", "alpaca", "sharegpt"};
    for (uint32_t back = 0; back <= 2 && back <= parser->last; back++) {
        const Token *token = &parser->token.at[parser->last - back];
        if (token->kind != NAME && token->kind != KEY) continue;
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            if (strcmp(token->text, words[i])) continue;
            diag_help(
                parser->diag,
                "data is tokens or plain bytes (bytes, u16, u32, llmc, documents), plain text (text), or "
                "text and conversations in lines of JSON (jsonl, chat)");
            return;
        }
    }
}

void syntax_error(Parser *parser, const int *expected, uint32_t count) {
    const Token *found = &parser->token.at[parser->last];
    if (found->kind == JUNK || found->implied) return;
    Span span = found->span;
    if (diag_errors(parser->diag) >= DIAG_MAX_ERRORS) { /* counted, not shown */
        diag_error(parser->diag, E0102, span, "syntax error");
        return;
    }
    uint32_t open = tokens_enclosing(parser, parser->last);
    bool other_closer = strchr(")]}", found->kind < 128 && found->kind ? found->kind : 'x') && open != NONE &&
                        has(expected, count, ']') && parser->token.at[open].kind == '[';
    if (other_closer)
        diag_error(parser->diag, E0102, span, "expected ']' after the shape, found %s",
                   found_text(parser, found));
    else
        diag_error(parser->diag, E0102, span, "expected %s%s, found %s",
                   expected_text(parser, expected, count), place_text(parser, parser->last),
                   found_text(parser, found));
    if (open != NONE && (found->kind == YYEOF || found->line_start)) {
        const Token *bracket = &parser->token.at[open];
        if (bracket->kind != '{')
            diag_note(parser->diag, bracket->span, "'%c' is opened here", bracket->kind);
    }
    suggest_word(parser, expected, count);
    if (open != NONE && open && parser->token.at[open - 1].kind == KW_SECTION &&
        !strcmp(parser->token.at[open - 1].text, "data"))
        suggest_data(parser);
}
