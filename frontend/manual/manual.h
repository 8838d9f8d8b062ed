/* What is installed beside rematc and follows from its tables: manual pages and editors' syntax files. Only
 * the build runs this (main.c). */
#ifndef REMAT_MANUAL_H
#define REMAT_MANUAL_H

#include "ir/base.h"

/* ---- mdoc.c: text for mandoc and groff ---- */
/* Prose with `literals` in backquotes, as lines that end with their sentences. */
void mdoc_add_prose(Text *out, const char *prose);
/* The same as the arguments of a macro, on one line. */
void mdoc_add_tag(Text *out, const char *prose);
/* Lines as they are. */
void mdoc_add_literal(Text *out, const char *lines);
/* One argument of a macro, or a part of it, in no case a macro itself. */
void mdoc_add_word(Text *out, const char *word);
/* .Dd, .Dt and .Os of a page. */
void mdoc_add_head(Text *out, const char *title, int section);

/* ---- markdown.c ---- */
/* A document of docs/ as the description of a page: headings of the second level begin subsections, tables
 * become tagged lists. The heading of the first level is left out: the page has a name. */
void markdown_add(Text *out, const char *document);

/* ---- page.c ---- */
void page_add_command(Text *out);                        /* rematc(1) */
void page_add_language(Text *out, const char *document); /* remat(5), from docs/language.md */

/* ---- syntax.c ---- */
void syntax_add_vim(Text *out);
void syntax_add_textmate(Text *out);

#endif
