/* `dump --stage ast`: the tree as indented text, one thing a line, no places in it. Two files that mean the
 * same to later stages print the same. */
#include "frontend/language/ast.h"

static void indent(Text *out, int depth) {
    text_add(out, "%*s", 2 * depth, "");
}

static void print_quoted(const char *text, Text *out) {
    text_add(out, "\"");
    for (; *text; text++) text_add(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    text_add(out, "\"");
}

static void print_expr(const Expr *expr, Text *out, int depth);

static void print_part(const char *label, const Expr *expr, Text *out, int depth) {
    indent(out, depth);
    if (label) text_add(out, "%s: ", label);
    print_expr(expr, out, depth);
}

/* The rest of a line that is indented already, and the lines below it. */
static void print_expr(const Expr *expr, Text *out, int depth) {
    switch (expr->kind) {
    case EXPR_NAME: text_add(out, "%s\n", expr->text); break;
    case EXPR_INT: text_add(out, "%lld\n", (long long)expr->integer); break;
    case EXPR_FLOAT: text_add(out, "float %.17g\n", expr->number); break;
    case EXPR_SIZE: text_add(out, "%lld bytes\n", (long long)expr->integer); break;
    case EXPR_STRING:
        print_quoted(expr->text, out);
        text_add(out, "\n");
        break;
    case EXPR_CALL:
        text_add(out, "call %s\n", expr->callee.text);
        for (uint32_t i = 0; i < expr->args.count; i++)
            print_part(expr->args.at[i].name.text, expr->args.at[i].value, out, depth + 1);
        break;
    case EXPR_BINARY:
        text_add(out, "%c\n", expr->op);
        print_part(NULL, expr->left, out, depth + 1);
        print_part(NULL, expr->right, out, depth + 1);
        break;
    case EXPR_NEGATE:
        text_add(out, "negate\n");
        print_part(NULL, expr->left, out, depth + 1);
        break;
    case EXPR_AS:
    case EXPR_RANGE:
        text_add(out, "%s\n", expr_kind_name[expr->kind]);
        print_part(NULL, expr->left, out, depth + 1);
        print_part(NULL, expr->right, out, depth + 1);
        break;
    case EXPR_SHAPE:
    case EXPR_TUPLE:
        text_add(out, "%s\n", expr_kind_name[expr->kind]);
        for (uint32_t i = 0; i < expr->items.count; i++) print_part(NULL, expr->items.at[i], out, depth + 1);
        break;
    case EXPR_KIND_COUNT: die("no such expression");
    }
}

static void print_statements(const StmtList *list, Text *out, int depth) {
    for (uint32_t i = 0; i < list->count; i++) {
        const Stmt *stmt = list->at[i];
        indent(out, depth);
        switch (stmt->kind) {
        case STMT_ASSIGN:
            text_add(out, "assign");
            for (uint32_t k = 0; k < stmt->target.count; k++) text_add(out, " %s", stmt->target.at[k].text);
            text_add(out, "\n");
            print_part(NULL, stmt->value, out, depth + 1);
            break;
        case STMT_RETURN:
            text_add(out, "return\n");
            for (uint32_t k = 0; k < stmt->result.count; k++)
                print_part(NULL, stmt->result.at[k], out, depth + 1);
            break;
        case STMT_REPEAT:
            text_add(out, "repeat %s", stmt->variable.text);
            if (stmt->scope.text) text_add(out, " scope "), print_quoted(stmt->scope.text, out);
            text_add(out, "\n");
            print_part("from", stmt->low, out, depth + 1);
            print_part("to", stmt->high, out, depth + 1);
            print_statements(&stmt->body, out, depth + 1);
            break;
        }
    }
}

static void print_block(const char *word, const Block *block, Text *out) {
    text_add(out, "%s %s\n", word, block->name.text);
    for (uint32_t i = 0; i < block->param.count; i++)
        print_part(block->param.at[i].name.text, block->param.at[i].shape, out, 1);
    for (uint32_t i = 0; i < block->result.count; i++) print_part("result", block->result.at[i], out, 1);
    print_statements(&block->body, out, 1);
}

static void print_section(const Section *section, Text *out) {
    text_add(out, "%s\n", section_name[section->kind]);
    for (uint32_t i = 0; i < section->entry.count; i++) {
        const Entry *entry = &section->entry.at[i];
        print_part(entry->key.text, entry->value, out, 1);
        if (entry->unit.text) text_add(out, "    unit %s\n", entry->unit.text);
        for (uint32_t k = 0; k < entry->clause.count; k++) {
            const Clause *clause = &entry->clause.at[k];
            text_add(out, "    %s", clause->word.text);
            if (clause->value) text_add(out, " ");
            if (clause->value && clause->value->kind == EXPR_STRING)
                print_quoted(clause->value->text, out);
            else if (clause->value)
                text_add(out, "%s", clause->value->text);
            if (clause->unit.text) text_add(out, " %s", clause->unit.text);
            text_add(out, "\n");
        }
    }
}

void ast_print(const Ast *ast, Text *out) {
    text_add_n(out, "", 0);
    for (uint32_t i = 0; i < ast->item.count; i++) {
        const Item *item = ast->item.at[i];
        if (item->section) {
            print_section(item->section, out);
            continue;
        }
        if (item->block) {
            print_block(item_word[item->kind], item->block, out);
            continue;
        }
        text_add(out, "%s", item_word[item->kind]);
        if (item->name.text) text_add(out, " "), print_quoted(item->name.text, out);
        if (item->flag) text_add(out, " frozen");
        if (item->other.text && item->kind == ITEM_WEIGHTS) text_add(out, " transposed");
        if (item->other.text && item->kind == ITEM_ADAPT) text_add(out, " train");
        if (item->other.text) text_add(out, " "), print_quoted(item->other.text, out);
        if (item->kind == ITEM_DEVICE && item->value) text_add(out, " memory");
        text_add(out, item->value ? " " : "\n");
        if (item->value) print_expr(item->value, out, 0);
    }
}
