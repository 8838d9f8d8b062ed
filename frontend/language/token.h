/* Between scanner and grammar: the whole file as an array of tokens. The scanner fills it, `tokens_classify`
 * gives words their meaning from what stands around them (so `layer`, `train` or `keep` can be ordinary
 * names too), pairs brackets and closes what was left open; the grammar then reads it in order. */
#ifndef REMAT_TOKEN_H
#define REMAT_TOKEN_H

#include "frontend/language/ast.h"

typedef struct Token {
    int kind; /* enum yytokentype of parse.h */
    Span span;
    const char *text; /* names, words and strings (unquoted); the spelling of numbers */
    int64_t integer;  /* INT; SIZE in bytes */
    double number;
    uint32_t match;  /* index of the bracket's partner; NONE when it has none or is no bracket */
    uint32_t braces; /* '{' around it; the braces themselves count as inside */
    bool nested;     /* inside a paired ( ) or [ ] */
    bool line_start; /* first on its line */
    bool implied;    /* a '}' the file lacks; the error has been reported */
} Token;
typedef VEC(Token) TokenList;

typedef struct Parser {
    Arena *arena;
    Diag *diag;
    Ast *ast;        /* collects comments, items */
    TokenList token; /* ends with the end-of-file token */
    uint32_t cursor; /* next token to deliver */
    uint32_t last;   /* latest token delivered */
    uint32_t synced; /* where the latest recovery resumed, NONE before any */
    bool resync;     /* deliver SYNC before `cursor` */
    bool too_deep;   /* reported once */
    Map *keys;       /* of the section being read: index of the entry */
    bool open_text;  /* a text without its closing quote was reported: it may have eaten brackets */
    int start;       /* START_FILE or START_VALUE: delivered first */
    bool started;
    Expr *value; /* the result of START_VALUE */
} Parser;

/* Fills parser->token and ast->comment from ast->source at byte `from`. Lexical errors go to the sink. */
void tokens_scan(Parser *parser, uint32_t from);
/* False when nesting is too deep to go on. */
bool tokens_classify(Parser *parser);
/* Sets `cursor` to where parsing can go on after an error at token `last`. */
void tokens_recover(Parser *parser);
/* The innermost bracket open before token `at`, NONE at the top. */
uint32_t tokens_enclosing(const Parser *parser, uint32_t at);

/* ---- parse.y: the tokens to ast->item, or to `value`; false after errors ---- */
bool parse_tokens(Parser *parser);

/* ---- unexpected.c: says what was expected instead of token `last` (kinds of parse.h) ---- */
void syntax_error(Parser *parser, const int *expected, uint32_t count);

/* ---- tree.c: what the grammar's actions build ---- */
Name tree_name(const Token *token);
Name tree_plain_name(Parser *parser, const Token *token); /* an error when it has dots */
Expr *tree_leaf(Parser *parser, ExprKind kind, const Token *token);
Expr *tree_pair(Parser *parser, ExprKind kind, Span span, char op, Expr *left, Expr *right);
Expr *tree_list(Parser *parser, ExprKind kind, Span span, ExprList items);
Expr *tree_call(Parser *parser, Span span, const Token *callee, ArgList args);
Expr *tree_size(Parser *parser, const Token *token);
Item *tree_item(Parser *parser, ItemKind kind, Span span);
Stmt *tree_stmt(Parser *parser, StmtKind kind, Span span);
Section *tree_section(Parser *parser);
void tree_add_entry(Parser *parser, Section *section,
                    const Entry *entry); /* an error when the key is there */
void tree_add_item(Parser *parser, Item *item);
void tree_check_named(Parser *parser, const ArgList *args); /* no name twice, positional ones first */

/* ---- ast.c ---- */
/* UTF-8 without zero bytes, and not too long; false after an error. */
bool text_check(const char *text, size_t length, Diag *diag);

#endif
