/* See token.h. In: tokens whose words are all NAME. Out: words classified by their neighbours, brackets
 * paired. Invariant: behind `tokens_classify` every '{' has a '}' (an implied one where the file has none).
 */
#include "frontend/language/token.h"
#include "parse.h"

#include <string.h>

/* What a word stands in: the top level, a section, or a block. */
typedef enum Context {
    TOP,
#define SECTION(id, word, token) id,
#include "frontend/language/words.def"
    BODY
} Context;

typedef struct KnownWord {
    const char *word;
    int kind;
} KnownWord;
static const KnownWord top_words[] = {
#define SECTION(id, word, token) {word, token},
#define ITEM(id, word, token)    {word, token},
#include "frontend/language/words.def"
};
static const KnownWord inner_words[] = {
#define INNER(word, token) {word, token},
#include "frontend/language/words.def"
};

static int kind_of(const char *text, const KnownWord *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(text, words[i].word)) return words[i].kind;
    return NAME;
}

static int top_word(const char *text) {
    return kind_of(text, top_words, COUNT_OF(top_words));
}

static Context section_context(const char *text) {
    for (int kind = 0; kind < SECTION_COUNT; kind++)
        if (!strcmp(text, section_name[kind])) return (Context)(DIMS + kind);
    return BODY;
}

typedef struct Classifier {
    Parser *parser;
    const TokenList raw;
    TokenList out;
    struct {
        uint32_t token; /* the '{' in `out` */
        Context context;
    } brace[AST_MAX_DEPTH];
    uint32_t braces;
} Classifier;

/* A word has text, and so has a string, which is none. */
static int inner_word(const Token *token) {
    return token->text && token->kind != STRING ? kind_of(token->text, inner_words, COUNT_OF(inner_words))
                                                : NAME;
}

/* A section, block or model that starts while a '{' is still open: nothing else looks like this. */
static bool starts_top_level(const Classifier *c, uint32_t i) {
    const Token *token = &c->raw.at[i], *next = token + 1;
    if (token->kind != NAME || !(token->line_start || (i && token[-1].kind == '}'))) return false;
    int kind = top_word(token->text);
    if (kind == KW_DIMS || kind == KW_SECTION) return next->kind == '{';
    if (kind == KW_BLOCK) return next->kind == NAME && next[1].kind == '(';
    if (kind == KW_MODEL) return next->kind == NAME && next[1].kind == '{';
    return false;
}

/* Closes every open '{' before a token at `place`, with one error for the innermost. */
static void close_braces(Classifier *c, Span place, const char *found) {
    if (!c->braces) return;
    uint32_t open = c->brace[c->braces - 1].token;
    Diag *diag = c->parser->diag;
    if (!c->parser->open_text) {
        diag_error(diag, E0107, place, "expected '}' before %s", found);
        diag_note(diag, c->out.at[open].span, "this '{' is still open");
    }
    while (c->braces) {
        Token close = {.kind = '}', .span = place, .implied = true, .braces = c->braces};
        close.match = c->brace[--c->braces].token;
        c->out.at[close.match].match = c->out.count;
        *vec_add(c->parser->arena, &c->out) = close;
    }
}

static bool one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(word, *list)) return true;
    return false;
}

/* A word in a section: behind a key it is the value; then words that belong to the entry; else a key. */
static int section_word(const Classifier *c, Context context, const Token *token) {
    static const char *const data_words[] = {
#define FORMAT(word) word,
#include "frontend/language/words.def"
        NULL};
    static const char *const units[] = {
#define COUNTED(word) word,
#include "frontend/language/words.def"
        NULL};
    const Token *before = &c->out.at[c->out.count - 1];
    if (token[1].kind == '=' || strchr("(,=", before->kind < 128 ? before->kind : 'x')) return NAME;
    bool behind_number = before->kind == INT || before->kind == FLOAT || before->kind == SIZE;
    if (before->kind == KEY || before->kind == ONTO || before->kind == '+' || before->kind == '*' ||
        before->kind == '/' || before->kind == '-')
        return NAME;
    if ((context == DATA || context == SAVE) && behind_number && one_of(token->text, units)) return UNIT;
    if (context == DATA && inner_word(token) == EVERY) return EVERY;
    if (context == DATA && one_of(token->text, data_words)) return WORD;
    if (context == SAVE && before->kind == STRING && inner_word(token) == ONTO) return ONTO;
    return KEY;
}

static int body_word(const Classifier *c, const Token *token) {
    uint32_t count = c->out.count;
    int next = token[1].kind, before = c->out.at[count - 1].kind;
    bool operand = strchr("=,+-*/(", before < 128 ? before : 'x') || before == DOTS || before == RETURN;
    if (operand && !token->line_start) return NAME;
    int kind = inner_word(token);
    if (kind == RETURN && next != '=' && next != ',') return RETURN;
    if (kind == REPEAT && next == NAME) return REPEAT;
    if (kind == IN && count > 1 && c->out.at[count - 2].kind == REPEAT) return IN;
    if (kind == SCOPE && next == STRING) return SCOPE;
    return NAME;
}

static int outer_word(const Classifier *c, const Token *token) {
    uint32_t count = c->out.count;
    int before = count ? c->out.at[count - 1].kind : 0, before2 = count > 1 ? c->out.at[count - 2].kind : 0;
    if (before2 == KW_DEVICE && inner_word(token) == MEMORY) return MEMORY;
    switch (before) {
    case KW_BLOCK:
    case KW_MODEL:
    case KW_ADAPT:
    case KW_INIT:
    case KW_DEVICE:
    case KW_MAXIMIZE: return NAME;
    case STRING:
        if (before2 == KW_INIT) return NAME;
        if (before2 == KW_WEIGHTS && inner_word(token) == FROZEN) return FROZEN;
        if (before2 == KW_WEIGHTS && inner_word(token) == TRANSPOSED) return TRANSPOSED;
        break;
    case FROZEN:
        if (inner_word(token) == TRANSPOSED) return TRANSPOSED;
        break;
    }
    if (inner_word(token) == ON && token[1].kind == STRING) return ON;
    if (inner_word(token) == TRAIN_TOO && token[1].kind == STRING) return TRAIN_TOO;
    return top_word(token->text);
}

static void classify_word(Classifier *c, Token *token, const Token *raw, bool nested) {
    Context context = c->braces ? c->brace[c->braces - 1].context : TOP;
    if (inner_word(raw) == AS && raw[1].kind == '[')
        token->kind = AS;
    else if (nested || context == DIMS)
        return;
    else if (context == TOP)
        token->kind = outer_word(c, raw);
    else if (context == BODY)
        token->kind = body_word(c, raw);
    else
        token->kind = section_word(c, context, raw);
}

/* Pairs ( ) and [ ] of the raw tokens; one that is never closed pairs with nothing and nests nothing. */
static bool pair_brackets(Parser *parser) {
    uint32_t open[AST_MAX_DEPTH], depth = 0;
    for (uint32_t i = 0; i < parser->token.count; i++) {
        Token *token = &parser->token.at[i];
        if (token->kind == '(' || token->kind == '[' || token->kind == '{') {
            if (depth == AST_MAX_DEPTH) {
                diag_error(parser->diag, E0106, token->span, "brackets are nested more than %d deep",
                           AST_MAX_DEPTH);
                return false;
            }
            open[depth++] = i;
        } else if (token->kind == ')' || token->kind == ']' || token->kind == '}') {
            int opener = token->kind == ')' ? '(' : token->kind == ']' ? '[' : '{';
            uint32_t d = depth;
            while (d && parser->token.at[open[d - 1]].kind != opener &&
                   (opener == '{' || parser->token.at[open[d - 1]].kind != '{'))
                d--;
            if (!d || parser->token.at[open[d - 1]].kind != opener) continue;
            depth = d - 1;
            token->match = open[depth];
            parser->token.at[open[depth]].match = i;
        }
    }
    return true;
}

static Context context_behind(const Classifier *c) {
    if (c->braces) return BODY;
    const Token *before = c->out.count ? &c->out.at[c->out.count - 1] : NULL;
    return before && (before->kind == KW_SECTION || before->kind == KW_DIMS) ? section_context(before->text)
                                                                             : BODY;
}

/* `a100-40` behind `device` is one name: parts without blanks between them. Returns how many tokens more it
 * takes. */
static uint32_t join_dashes(const Classifier *c, uint32_t i, Token *token) {
    const Token *raw = &c->raw.at[i];
    uint32_t more = 0;
    while (raw[more + 1].kind == '-' && raw[more + 1].span.beg == raw[more].span.end &&
           (raw[more + 2].kind == NAME || raw[more + 2].kind == INT) &&
           raw[more + 2].span.beg == raw[more + 1].span.end)
        more += 2;
    token->span.end = raw[more].span.end;
    token->text = arena_strndup(c->parser->arena, c->parser->ast->source + token->span.beg,
                                token->span.end - token->span.beg);
    return more;
}

bool tokens_classify(Parser *parser) {
    if (!pair_brackets(parser)) return false;
    Classifier c = {.parser = parser, .raw = parser->token};
    uint32_t *moved = NEW_ARRAY(parser->arena, uint32_t, parser->token.count + 1), nested = 0;
    for (uint32_t i = 0; i < c.raw.count; i++) {
        const Token *raw = &c.raw.at[i];
        if (raw->kind == YYEOF)
            close_braces(&c, raw->span, "the end of the file");
        else if (c.braces && starts_top_level(&c, i)) {
            close_braces(&c, raw->span, arena_printf(parser->arena, "'%s'", raw->text));
            nested = 0;
        }
        Token token = *raw;
        token.braces = c.braces;
        if (raw->kind == NAME) classify_word(&c, &token, raw, nested > 0);
        if (raw->kind == '{') {
            token.match = NONE;
            token.braces = c.braces + 1;
            c.brace[c.braces].context = context_behind(&c);
            c.brace[c.braces++].token = c.out.count;
        } else if (raw->kind == '}') {
            token.match = NONE;
            nested = 0;
            if (c.braces) {
                token.match = c.brace[--c.braces].token;
                c.out.at[token.match].match = c.out.count;
            }
        } else if (raw->match != NONE && raw->match < i) {
            if (nested) nested--;
            token.match = moved[raw->match];
            c.out.at[token.match].match = c.out.count;
        }
        token.nested = nested > 0;
        if ((raw->kind == '(' || raw->kind == '[') && raw->match != NONE) nested++;
        if (raw->kind == NAME && token.kind == NAME && !c.braces && c.out.count &&
            c.out.at[c.out.count - 1].kind == KW_DEVICE)
            i += join_dashes(&c, i, &token);
        moved[i] = c.out.count;
        *vec_add(parser->arena, &c.out) = token;
    }
    parser->token = c.out;
    return true;
}

void tokens_recover(Parser *parser) {
    const Token *token = parser->token.at;
    uint32_t last = parser->last, i = last, braces = token[last].braces;
    if (parser->synced == last && token[last].kind != YYEOF) i++;
    for (;; i++) {
        const Token *at = &token[i];
        if (at->kind == YYEOF) break;
        if (at->braces < braces) break;
        if (at->braces > braces) continue;
        if (braces && at->kind == '}') break;
        if (braces == 0 && at->kind >= KW_LANGUAGE && at->kind <= KW_PIN && (i > last || at->line_start))
            break;
        if (braces && at->line_start && !at->nested) break;
    }
    parser->cursor = parser->synced = i;
    parser->resync = true;
}

uint32_t tokens_enclosing(const Parser *parser, uint32_t at) {
    for (uint32_t i = at; i-- > 0;) {
        const Token *token = &parser->token.at[i];
        bool closer = token->kind == ')' || token->kind == ']' || token->kind == '}';
        if (closer && token->match != NONE)
            i = token->match;
        else if (token->kind == '(' || token->kind == '[' || token->kind == '{')
            return i;
    }
    return NONE;
}
