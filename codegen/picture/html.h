/* The one way to markup: literal tags, and texts of others between them, escaped. */
#ifndef REMAT_HTML_H
#define REMAT_HTML_H

#include "codegen/json_tree.h"

/* html_add(out, "<td class=\"$\">$</td>@", word, name, more): each `$` is the next text, escaped; each `@`
 * the next piece of markup that was made by this writer, as it is. Dies where they are not as many as texts.
 */
#define html_add(out, markup, ...)                                                                           \
    html_fill((out), (markup), (const char *const[]){__VA_ARGS__},                                           \
              COUNT_OF(((const char *const[]){__VA_ARGS__})))
void html_fill(Text *out, const char *markup, const char *const *text, size_t count);

/* `text` between tags and in attributes in double quotes: what could end either, and what could turn the
 * order of what is shown (runtime/printable.h), is spelled out. */
void html_text(Text *out, const char *text);
/* Markup of a name of parts with dots between, which may go on in the next line behind one. */
const char *html_name(const char *name, Arena *arena);
/* A block of JSON for scripts: no text in it ends the block, and none is a line of its own. Gives the tree
 * up. */
void html_json(Text *out, const char *id, json_t *tree);

#endif
