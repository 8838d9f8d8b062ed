/* `rematc fmt`: the tree as canonical source. Spaces and brackets are chosen here; what stays as written is
 * which entries share a line, single blank lines, and comments, which keep their line or go above the
 * statement they were inside of. Invariant: formatting twice changes nothing. */
#include "frontend/language/ast.h"

#include <string.h>

enum { WIDEST = 100, STEP = 2 };

/* ---- expressions ---- */

/* How tightly an expression binds: operands that bind less get brackets. */
static int tightness(const Expr *expr) {
    if (expr->kind == EXPR_BINARY) return expr->op == '+' || expr->op == '-' ? 1 : 2;
    if (expr->kind == EXPR_NEGATE) return 3;
    return expr->kind == EXPR_AS ? 4 : 5;
}

static void fmt_operand(const Expr *expr, int at_least, Text *out) {
    bool brackets = tightness(expr) < at_least;
    if (brackets) text_add(out, "(");
    fmt_expr(expr, out);
    if (brackets) text_add(out, ")");
}

static void fmt_string(const char *text, Text *out) {
    text_add(out, "\"");
    for (; *text; text++) text_add(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    text_add(out, "\"");
}

static void fmt_list(const ExprList *list, const char *open, const char *close, Text *out) {
    text_add(out, "%s", open);
    for (uint32_t i = 0; i < list->count; i++) {
        text_add(out, i ? ", " : "");
        fmt_expr(list->at[i], out);
    }
    text_add(out, "%s", close);
}

/* Products inside a shape are written tight: [H*E, D]. */
static void fmt_extent(const Expr *expr, Text *out) {
    bool product = expr->kind == EXPR_BINARY && (expr->op == '*' || expr->op == '/');
    if (!product || tightness(expr->left) < 2 || tightness(expr->right) < 3) {
        fmt_expr(expr, out);
        return;
    }
    fmt_extent(expr->left, out);
    text_add(out, "%c", expr->op);
    fmt_expr(expr->right, out);
}

void fmt_expr(const Expr *expr, Text *out) {
    switch (expr->kind) {
    case EXPR_NAME:
    case EXPR_INT:
    case EXPR_FLOAT:
    case EXPR_SIZE: text_add(out, "%s", expr->text); break;
    case EXPR_STRING: fmt_string(expr->text, out); break;
    case EXPR_CALL:
        text_add(out, "%s(", expr->callee.text);
        for (uint32_t i = 0; i < expr->args.count; i++) {
            const Arg *arg = &expr->args.at[i];
            text_add(out, i ? ", " : "");
            if (arg->name.text) text_add(out, "%s = ", arg->name.text);
            fmt_expr(arg->value, out);
        }
        text_add(out, ")");
        break;
    case EXPR_BINARY:
        fmt_operand(expr->left, tightness(expr), out);
        text_add(out, " %c ", expr->op);
        fmt_operand(expr->right, tightness(expr) + 1, out);
        break;
    case EXPR_NEGATE:
        text_add(out, "-");
        fmt_operand(expr->left, 3, out);
        break;
    case EXPR_AS:
        fmt_operand(expr->left, 4, out);
        text_add(out, " as ");
        fmt_expr(expr->right, out);
        break;
    case EXPR_SHAPE:
        text_add(out, "[");
        for (uint32_t i = 0; i < expr->items.count; i++) {
            text_add(out, i ? ", " : "");
            fmt_extent(expr->items.at[i], out);
        }
        text_add(out, "]");
        break;
    case EXPR_TUPLE: fmt_list(&expr->items, "(", ")", out); break;
    case EXPR_RANGE:
        fmt_expr(expr->left, out);
        text_add(out, "..");
        fmt_expr(expr->right, out);
        break;
    case EXPR_KIND_COUNT: die("no such expression");
    }
}

/* ---- lines and comments ---- */

typedef struct Writer {
    const Ast *ast;
    Text *out;
    uint32_t comment; /* the next one to write */
    uint32_t written; /* source offset up to which things are written: blank lines are looked for behind it */
    int indent;
    VEC(size_t) behind; /* offsets in `out` of comments behind code: aligned at the end */
} Writer;

static uint32_t newlines(const Writer *w, uint32_t beg, uint32_t end) {
    uint32_t count = 0;
    for (uint32_t i = beg; i < end; i++) count += w->ast->source[i] == '\n';
    return count;
}

/* Is the line above the one that holds `at` blank? */
static bool blank_above(const Writer *w, uint32_t at) {
    const char *source = w->ast->source;
    uint32_t newlines_seen = 0;
    while (at && strchr(" \t\r\n", source[at - 1]) && newlines_seen < 2)
        newlines_seen += source[--at] == '\n';
    return newlines_seen == 2;
}

/* Starts a line for what stands at `beg` in the source, with a blank one before it if there was one. */
static void start_line(Writer *w, uint32_t beg, bool first) {
    if (!first && blank_above(w, beg)) text_add(w->out, "\n");
    text_add(w->out, "%*s", w->indent, "");
}

static void write_comment(Writer *w) {
    Span span = w->ast->comment.at[w->comment++].span;
    text_add_n(w->out, w->ast->source + span.beg, span.end - span.beg);
    text_add(w->out, "\n");
    w->written = span.end;
}

static bool comment_before(const Writer *w, uint32_t end) {
    return w->comment < w->ast->comment.count && w->ast->comment.at[w->comment].span.beg < end;
}

/* Comments that stand before `end`, each on a line of its own. True when there were any. */
static bool comments_until(Writer *w, uint32_t end, bool first) {
    bool any = false;
    for (; comment_before(w, end); any = true) {
        start_line(w, w->ast->comment.at[w->comment].span.beg, first && !any);
        write_comment(w);
    }
    return any;
}

/* Ends the line of what ended at `end` in the source, with the comment behind it if there is one. */
static void end_line(Writer *w, uint32_t end) {
    w->written = end > w->written ? end : w->written;
    if (w->comment < w->ast->comment.count) {
        uint32_t beg = w->ast->comment.at[w->comment].span.beg;
        if (beg >= end && !newlines(w, end, beg) && end) {
            const char *between = w->ast->source + end;
            if (strspn(between, " \t") >= beg - end) {
                *vec_add(w->out->arena, &w->behind) = w->out->length;
                write_comment(w);
                return;
            }
        }
    }
    text_add(w->out, "\n");
}

/* Characters on the line before `end`. */
static size_t line_width(const char *text, size_t end) {
    size_t width = 0;
    while (end && text[end - 1] != '\n') width += ((unsigned char)text[--end] & 0xc0) != 0x80;
    return width;
}

/* Comments behind code on neighbouring lines start in one column, two behind the longest. */
static void align_comments(const Writer *w, Text *out) {
    const char *text = w->out->at;
    size_t copied = 0;
    for (uint32_t i = 0, next; i < w->behind.count; i = next) {
        size_t widest = line_width(text, w->behind.at[i]);
        for (next = i + 1; next < w->behind.count; next++) {
            const char *newline = strchr(text + w->behind.at[next - 1], '\n');
            if (memchr(newline + 1, '\n', w->behind.at[next] - (size_t)(newline + 1 - text))) break;
            size_t width = line_width(text, w->behind.at[next]);
            if (width > widest) widest = width;
        }
        for (uint32_t k = i; k < next; k++) {
            size_t at = w->behind.at[k];
            text_add_n(out, text + copied, at - copied);
            text_add(out, "%*s", (int)(widest - line_width(text, at)) + 2, "");
            copied = at;
        }
    }
    text_add_n(out, text + copied, w->out->length - copied);
}

/* ---- sections ---- */

static void fmt_entry(const Section *section, const Entry *entry, Text *out) {
    text_add(out, section->kind == SECTION_DIMS ? "%s = " : "%s ", entry->key.text);
    fmt_expr(entry->value, out);
    if (entry->unit.text) text_add(out, " %s", entry->unit.text);
    for (uint32_t k = 0; k < entry->clause.count; k++) {
        const Clause *clause = &entry->clause.at[k];
        if (clause->value && (clause->value->kind == EXPR_STRING || clause->value->kind == EXPR_NAME)) {
            text_add(out, " %s ", clause->word.text);
            fmt_expr(clause->value, out);
        } else if (clause->unit.text)
            text_add(out, " %s %s %s", clause->word.text, clause->value->text, clause->unit.text);
        else if (clause->value)
            text_add(out, " %s %s", clause->value->text, clause->word.text);
        else
            text_add(out, " %s", clause->word.text);
    }
}

/* Between entries on a line; `dir "out/" every 250 steps keep 3` reads as one phrase. */
static const char *entry_gap(const Section *section) {
    return section->kind == SECTION_SAVE ? " " : "  ";
}

/* The section on one line, when it was on one in the source and fits. */
static bool section_on_one_line(Writer *w, const Section *section) {
    if (newlines(w, section->body.beg, section->body.end) || comment_before(w, section->body.end))
        return false;
    Text line = {.arena = w->out->arena};
    text_add(&line, "%s {", section_name[section->kind]);
    for (uint32_t i = 0; i < section->entry.count; i++) {
        text_add(&line, "%s", i ? entry_gap(section) : " ");
        fmt_entry(section, &section->entry.at[i], &line);
    }
    text_add(&line, section->entry.count ? " }" : "}");
    if (line.length > WIDEST) return false;
    text_add_n(w->out, line.at, line.length);
    return true;
}

static void fmt_section(Writer *w, const Section *section) {
    if (section_on_one_line(w, section)) return;
    text_add(w->out, "%s {", section_name[section->kind]);
    end_line(w, section->body.beg + 1);
    w->indent += STEP;
    size_t line_beg = w->out->length;
    for (uint32_t i = 0; i < section->entry.count; i++) {
        const Entry *entry = &section->entry.at[i];
        Text one = {.arena = w->out->arena};
        fmt_entry(section, entry, &one);
        bool joined = i && !newlines(w, w->written, entry->span.beg) && !comment_before(w, entry->span.end) &&
                      w->out->length - line_beg + 2 + one.length <= WIDEST;
        if (joined) {
            text_add(w->out, "%s", entry_gap(section));
        } else {
            if (i) end_line(w, section->entry.at[i - 1].span.end);
            bool any = comments_until(w, entry->span.end, i == 0);
            line_beg = w->out->length;
            start_line(w, entry->span.beg, i == 0 && !any);
        }
        text_add_n(w->out, one.at, one.length);
        w->written = entry->span.end > w->written ? entry->span.end : w->written;
    }
    if (section->entry.count) end_line(w, section->entry.at[section->entry.count - 1].span.end);
    comments_until(w, section->body.end, !section->entry.count);
    w->indent -= STEP;
    text_add(w->out, "%*s}", w->indent, "");
}

/* ---- blocks ---- */

static void fmt_statements(Writer *w, const StmtList *list);

/* The value of an assignment whose line is too long: a call's arguments go on lines of their own, filled. */
static void fmt_value(Writer *w, const Expr *expr, size_t used) {
    Text whole = {.arena = w->out->arena};
    fmt_expr(expr, &whole);
    if (expr->kind != EXPR_CALL || used + whole.length <= WIDEST) {
        text_add_n(w->out, whole.at, whole.length);
        return;
    }
    text_add(w->out, "%s(", expr->callee.text);
    size_t column = used + strlen(expr->callee.text) + 1;
    for (uint32_t i = 0; i < expr->args.count; i++) {
        const Arg *arg = &expr->args.at[i];
        Text one = {.arena = w->out->arena};
        if (arg->name.text) text_add(&one, "%s = ", arg->name.text);
        fmt_expr(arg->value, &one);
        text_add(&one, i + 1 < expr->args.count ? "," : ")");
        if (i && column + 1 + one.length > WIDEST) {
            column = (size_t)w->indent + 2 * STEP;
            text_add(w->out, "\n%*s", (int)column, "");
        } else if (i) {
            text_add(w->out, " ");
            column++;
        }
        text_add_n(w->out, one.at, one.length);
        column += one.length;
    }
}

static void fmt_repeat(Writer *w, const Stmt *stmt) {
    Text *out = w->out;
    text_add(out, "repeat %s in ", stmt->variable.text);
    fmt_expr(stmt->low, out);
    text_add(out, "..");
    fmt_expr(stmt->high, out);
    if (stmt->scope.text) text_add(out, " scope "), fmt_string(stmt->scope.text, out);
    text_add(out, " ");
    fmt_statements(w, &stmt->body);
}

static void fmt_statement(Writer *w, const Stmt *stmt, size_t used) {
    Text *out = w->out;
    size_t beg = out->length;
    switch (stmt->kind) {
    case STMT_ASSIGN:
        for (uint32_t i = 0; i < stmt->target.count; i++)
            text_add(out, "%s%s", i ? ", " : "", stmt->target.at[i].text);
        text_add(out, " = ");
        fmt_value(w, stmt->value, used + out->length - beg);
        break;
    case STMT_RETURN: fmt_list(&stmt->result, "return ", "", out); break;
    case STMT_REPEAT: fmt_repeat(w, stmt); break;
    }
}

/* `{ x = layer(x) }` stays on its line when it was on one and is a single short statement. */
static bool body_on_one_line(Writer *w, const StmtList *list) {
    if (list->count != 1 || list->at[0]->kind == STMT_REPEAT) return false;
    if (newlines(w, list->span.beg, list->span.end) || comment_before(w, list->span.end)) return false;
    Text line = {.arena = w->out->arena};
    Writer inner = {.ast = w->ast, .out = &line, .comment = w->comment};
    fmt_statement(&inner, list->at[0], 0);
    size_t line_beg = w->out->length;
    while (line_beg && w->out->at[line_beg - 1] != '\n') line_beg--;
    if (w->out->length - line_beg + line.length + 4 > WIDEST) return false;
    text_add(w->out, "{ %s }", line.at);
    return true;
}

static void fmt_statements(Writer *w, const StmtList *list) {
    if (body_on_one_line(w, list)) return;
    text_add(w->out, "{");
    end_line(w, list->span.beg + 1);
    w->indent += STEP;
    for (uint32_t i = 0; i < list->count; i++) {
        const Stmt *stmt = list->at[i];
        uint32_t hoisted = stmt->kind == STMT_REPEAT ? stmt->body.span.beg : stmt->span.end;
        bool any = comments_until(w, hoisted, i == 0);
        start_line(w, stmt->span.beg, i == 0 && !any);
        fmt_statement(w, stmt, (size_t)w->indent);
        end_line(w, stmt->span.end);
    }
    comments_until(w, list->span.end, !list->count);
    w->indent -= STEP;
    text_add(w->out, "%*s}", w->indent, "");
}

static void fmt_block(Writer *w, const char *word, const Block *block) {
    Text *out = w->out;
    text_add(out, "%s %s", word, block->name.text);
    for (uint32_t i = 0; i < block->param.count; i++) {
        text_add(out, "%s%s: ", i ? ", " : "(", block->param.at[i].name.text);
        fmt_expr(block->param.at[i].shape, out);
    }
    if (block->param.count) fmt_list(&block->result, ") -> ", "", out);
    text_add(out, " ");
    fmt_statements(w, &block->body);
}

/* ---- the file ---- */

/* Reads back as it is without quotes: a name, or several with dashes between, where all but the first may be
 * whole numbers: a100-40, h100-pcie. */
static bool plain_word(const char *text) {
    static const char digits[] = "0123456789",
                      letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    for (const char *at = text;; at++) {
        size_t length = strspn(at, letters), number = strspn(at, digits);
        bool whole_number = number == length && length < 10 && at > text;
        if (!length || (number && !whole_number)) return false;
        at += length;
        if (*at != '-') return !*at;
    }
}

static void fmt_item(Writer *w, const Item *item) {
    Text *out = w->out;
    if (item->section) {
        fmt_section(w, item->section);
        return;
    }
    if (item->block) {
        fmt_block(w, item_word[item->kind], item->block);
        return;
    }
    text_add(out, "%s", item_word[item->kind]);
    if ((item->kind == ITEM_MAXIMIZE || item->kind == ITEM_DEVICE) && plain_word(item->name.text)) {
        text_add(out, " %s", item->name.text);
    } else if (item->name.text && item->kind != ITEM_ADAPT) {
        text_add(out, " "), fmt_string(item->name.text, out);
    }
    if (item->flag) text_add(out, " frozen");
    if (item->other.text && item->kind != ITEM_ADAPT) {
        text_add(out, item->kind == ITEM_WEIGHTS ? " transposed " : " = ");
        fmt_string(item->other.text, out);
    }
    if (item->value) text_add(out, item->kind == ITEM_DEVICE ? " memory " : " "), fmt_expr(item->value, out);
    if (item->kind != ITEM_ADAPT) return;
    if (item->name.text) text_add(out, " on "), fmt_string(item->name.text, out);
    if (item->other.text) text_add(out, " train "), fmt_string(item->other.text, out);
}

void fmt_print(const Ast *ast, Text *out) {
    Text lines = {.arena = out->arena};
    Writer w = {.ast = ast, .out = &lines};
    text_add_n(&lines, "", 0);
    for (uint32_t i = 0; i < ast->item.count; i++) {
        const Item *item = ast->item.at[i];
        uint32_t hoisted = item->section ? item->section->body.beg
                           : item->block ? item->block->body.span.beg
                                         : item->span.end;
        bool any = comments_until(&w, hoisted, i == 0);
        /* `budget 21GiB  host 8GiB` shares a line */
        bool joined = item->kind == ITEM_HOST && i && ast->item.at[i - 1]->kind == ITEM_BUDGET && !any &&
                      !newlines(&w, w.written, item->span.beg);
        if (!joined) start_line(&w, item->span.beg, i == 0 && !any);
        fmt_item(&w, item);
        w.written = item->span.end > w.written ? item->span.end : w.written;
        const Item *next = i + 1 < ast->item.count ? ast->item.at[i + 1] : NULL;
        bool joins = next && item->kind == ITEM_BUDGET && next->kind == ITEM_HOST &&
                     next->span.beg >= item->span.end && !newlines(&w, item->span.end, next->span.beg) &&
                     !comment_before(&w, next->span.end);
        if (joins)
            text_add(&lines, "  ");
        else
            end_line(&w, item->span.end);
    }
    comments_until(&w, (uint32_t)ast->length + 1, !ast->item.count);
    align_comments(&w, out);
}
