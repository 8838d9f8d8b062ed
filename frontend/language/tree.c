/* What the grammar's actions build, and the checks on form they make: depth, doubles, dots in new names.
 * In: tokens and finished parts. Out: arena nodes with spans; errors go to the sink. */
#include "frontend/language/token.h"
#include "parse.h"

#include <string.h>

Name tree_name(const Token *token) {
    return (Name){token->text, token->span};
}

Name tree_plain_name(Parser *parser, const Token *token) {
    if (strchr(token->text, '.'))
        diag_error(parser->diag, E0113, token->span, "'%s': a name here has no dots", token->text);
    return tree_name(token);
}

/* Counts the depth over the parts and reports the first expression that is too deep. */
static Expr *expr_new(Parser *parser, ExprKind kind, Span span, int depth_below) {
    Expr *expr = NEW(parser->arena, Expr);
    expr->kind = kind;
    expr->span = span;
    expr->depth = depth_below + 1;
    if (expr->depth > AST_MAX_DEPTH && !parser->too_deep) {
        parser->too_deep = true;
        diag_error(parser->diag, E0106, span, "this expression is more than %d operations deep",
                   AST_MAX_DEPTH);
    }
    return expr;
}

Expr *tree_leaf(Parser *parser, ExprKind kind, const Token *token) {
    Expr *expr = expr_new(parser, kind, token->span, 0);
    expr->text = token->text;
    if (kind == EXPR_INT || kind == EXPR_FLOAT || kind == EXPR_SIZE) {
        expr->integer = token->integer;
        expr->number = kind == EXPR_SIZE ? (double)token->integer : token->number;
    }
    return expr;
}

Expr *tree_pair(Parser *parser, ExprKind kind, Span span, char op, Expr *left, Expr *right) {
    int depth = right && right->depth > left->depth ? right->depth : left->depth;
    Expr *expr = expr_new(parser, kind, span, depth);
    expr->left = left;
    expr->right = right;
    expr->op = op;
    return expr;
}

Expr *tree_list(Parser *parser, ExprKind kind, Span span, ExprList items) {
    int depth = 0;
    for (uint32_t i = 0; i < items.count; i++)
        if (items.at[i]->depth > depth) depth = items.at[i]->depth;
    Expr *expr = expr_new(parser, kind, span, depth);
    expr->items = items;
    return expr;
}

Expr *tree_call(Parser *parser, Span span, const Token *callee, ArgList args) {
    int depth = 0;
    for (uint32_t i = 0; i < args.count; i++)
        if (args.at[i].value->depth > depth) depth = args.at[i].value->depth;
    Expr *expr = expr_new(parser, EXPR_CALL, span, depth);
    expr->callee = tree_name(callee);
    expr->args = args;
    return expr;
}

Expr *tree_size(Parser *parser, const Token *token) {
    if (token->kind != SIZE) {
        diag_error(parser->diag, E0105, token->span, "a byte size needs a unit");
        diag_help(parser->diag, "write %sGiB, or %sMiB, or %sB", token->text, token->text, token->text);
    }
    return tree_leaf(parser, EXPR_SIZE, token);
}

Item *tree_item(Parser *parser, ItemKind kind, Span span) {
    Item *item = NEW(parser->arena, Item);
    item->kind = kind;
    item->span = span;
    return item;
}

Stmt *tree_stmt(Parser *parser, StmtKind kind, Span span) {
    Stmt *stmt = NEW(parser->arena, Stmt);
    stmt->kind = kind;
    stmt->span = span;
    return stmt;
}

Section *tree_section(Parser *parser) {
    parser->keys = map_new(parser->arena);
    return NEW(parser->arena, Section);
}

static void twice(Parser *parser, Span again, Span first, const char *what) {
    diag_error(parser->diag, E0110, again, "%s is given twice", what);
    diag_note(parser->diag, first, "the first one is here");
}

void tree_add_entry(Parser *parser, Section *section, const Entry *entry) {
    uint32_t before = map_get(parser->keys, entry->key.text);
    if (before != NONE)
        twice(parser, entry->key.span, section->entry.at[before].key.span,
              arena_printf(parser->arena, "'%s'", entry->key.text));
    else
        map_set(parser->keys, entry->key.text, section->entry.count);
    *vec_add(parser->arena, &section->entry) = *entry;
}

/* The word an item starts with: where "given twice" points. */
static Span head(const Ast *ast, Span span) {
    uint32_t end = span.beg;
    while (end < span.end && strchr("abcdefghijklmnopqrstuvwxyz_", ast->source[end])) end++;
    return (Span){span.beg, end};
}

void tree_add_item(Parser *parser, Item *item) {
    Ast *ast = parser->ast;
    const Span *before = ast->single[item->kind] ? &ast->single[item->kind]->span : NULL;
    const char *what = item_word[item->kind];
    switch (item->kind) {
    case ITEM_SECTION:
        what = section_name[item->section->kind];
        if (ast->section[item->section->kind])
            before = &ast->section[item->section->kind]->span;
        else
            ast->section[item->section->kind] = item->section;
        break;
    case ITEM_BLOCK: *vec_add(parser->arena, &ast->block) = item->block; break;
    case ITEM_MODEL:
        if (!before) ast->model = item->block;
        ast->single[item->kind] = item;
        break;
    case ITEM_LANGUAGE:
    case ITEM_WEIGHTS:
    case ITEM_ADAPT:
    case ITEM_DEVICE:
    case ITEM_BUDGET:
    case ITEM_HOST:
    case ITEM_MAXIMIZE:
        if (!before) ast->single[item->kind] = item;
        break;
    default:
        before = NULL; /* tie, init and pins may come many times */
        break;
    }
    if (before)
        twice(parser, head(ast, item->span), head(ast, *before), arena_printf(parser->arena, "'%s'", what));
    *vec_add(parser->arena, &ast->item) = item;
}

void tree_check_named(Parser *parser, const ArgList *args) {
    enum { MOST = 64 };
    const Arg *last = &args->at[args->count - 1], *before = last - 1;
    if (args->count > MOST) {
        if (args->count == MOST + 1)
            diag_error(parser->diag, E0116, last->span, "a call has at most %d arguments", MOST);
        return;
    }
    if (!last->name.text) {
        if (before->name.text && last->value->kind != EXPR_NAME) {
            diag_error(parser->diag, E0118, last->span, "an argument without a name follows a named one");
            diag_note(parser->diag, before->span, "'%s' is named", before->name.text);
        }
        return;
    }
    for (uint32_t i = 0; i + 1 < args->count; i++)
        if (args->at[i].name.text && !strcmp(args->at[i].name.text, last->name.text))
            twice(parser, last->name.span, args->at[i].name.span,
                  arena_printf(parser->arena, "'%s'", last->name.text));
}
