/* What the harnesses for source text ask of a tree that was parsed. */
#ifndef REMAT_FUZZ_SOURCE_H
#define REMAT_FUZZ_SOURCE_H

#include "exits.h"
#include "frontend/lower/lower.h"
#include "ir/check.h"

#include <string.h>

static inline const char *tree_text(const Ast *ast) {
    Text out = {.arena = ast->arena};
    ast_print(ast, &out);
    return out.at;
}

/* Messages can be printed either way. */
static inline void messages_print(const Diag *diag, Arena *arena) {
    Text text = {.arena = arena}, colour = {.arena = arena}, json = {.arena = arena};
    diag_print(diag, &text, false);
    diag_print(diag, &colour, true);
    diag_print_json(diag, &json);
    MUST(diag_errors(diag) == 0 || (text.length && json.length));
}

/* Formatted text parses, means the same and is its own format. */
static inline void format_holds(const Ast *ast) {
    Arena *arena = ast->arena;
    Text once = {.arena = arena}, twice = {.arena = arena};
    fmt_print(ast, &once);
    Diag *diag = diag_new(arena, "again.remat", once.at, once.length);
    Ast *again = ast_parse(arena, "again.remat", once.at, once.length, diag);
    MUST(again);
    MUST(strcmp(tree_text(ast), tree_text(again)) == 0);
    MUST(ast->comment.count == again->comment.count);
    fmt_print(again, &twice);
    MUST(once.length == twice.length && memcmp(once.at, twice.at, once.length) == 0);
}

/* Settings and graph, or messages; a graph passes its check. */
static inline void lower_holds(const Ast *ast, Diag *diag) {
    Spec spec;
    bool fine = lower_spec(ast, diag, ast->arena, &spec);
    MUST(fine || diag_errors(diag) > 0);
    Graph *graph = lower_graph(ast, &spec, 0, 0, diag, ast->arena);
    MUST(graph || diag_errors(diag) > 0);
    if (graph) MUST(graph_check(graph, ast->arena) == NULL);
    messages_print(diag, ast->arena);
}

#endif
