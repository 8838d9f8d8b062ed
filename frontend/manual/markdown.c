/* See manual.h. In: the Markdown that the documents are written in: headings, paragraphs, indented blocks,
 * lists, tables with a header, `code`, **bold** and [links](to). Out: mdoc. A line is looked at once, by how
 * it begins. */
#include "frontend/manual/manual.h"

#include <string.h>

typedef struct Reader {
    Arena *arena;
    const char *at; /* the current line */
    Text *out;
    bool begun, fresh; /* the section; nothing stands behind its heading yet */
} Reader;

static const char *line_of(const Reader *r) {
    return arena_strndup(r->arena, r->at, strcspn(r->at, "\n"));
}

static void next_line(Reader *r) {
    r->at += strcspn(r->at, "\n");
    r->at += *r->at == '\n';
}

static bool begins(const Reader *r, const char *prefix) {
    return !strncmp(r->at, prefix, strlen(prefix));
}

static bool is_blank(const Reader *r) {
    return r->at[strspn(r->at, " \t")] == '\n' || !*r->at;
}

/* Text of a line without links' targets and marks of emphasis; backquotes stay. */
static const char *plain(Arena *arena, const char *text) {
    Text out = {.arena = arena};
    text_add_n(&out, "", 0);
    for (bool code = false; *text; text++) {
        code ^= *text == '`';
        const char *close = !code && *text == '[' ? strchr(text, ']') : NULL;
        if (close && close[1] == '(' && strchr(close, ')')) {
            text_add_n(&out, text + 1, (size_t)(close - text - 1));
            text = strchr(close, ')');
        } else if (!code && !strncmp(text, "**", 2)) {
            text++;
        } else {
            text_add_n(&out, text, 1);
        }
    }
    return out.at;
}

static void paragraph_break(Reader *r) {
    if (!r->fresh) text_add(r->out, ".Pp\n");
    r->fresh = false;
}

/* Everything stands in one section. */
static void begin(Reader *r) {
    if (!r->begun) text_add(r->out, ".Sh DESCRIPTION\n");
    r->fresh |= !r->begun;
    r->begun = true;
}

static void add_heading(Reader *r) {
    begin(r);
    text_add(r->out, ".Ss ");
    mdoc_add_tag(r->out, line_of(r) + 3);
    r->fresh = true;
    next_line(r);
}

/* Blank lines inside belong to the block where more of it follows. */
static void add_block(Reader *r) {
    Text block = {.arena = r->arena};
    uint32_t blanks = 0;
    for (; *r->at && (is_blank(r) || begins(r, "    ")); next_line(r)) {
        if (is_blank(r)) {
            blanks++;
            continue;
        }
        for (; blanks; blanks--) text_add(&block, "\n");
        text_add(&block, "%s\n", line_of(r) + 4);
    }
    text_add(r->out, ".Bd -literal -offset indent\n");
    mdoc_add_literal(r->out, block.at);
    text_add(r->out, ".Ed\n");
    r->fresh = false;
}

/* Cells between the bars of a row; a bar inside of a cell is written \|. */
static uint32_t read_row(Reader *r, const char *cell[8]) {
    uint32_t count = 0;
    const char *at = line_of(r) + 1;
    while (*at && count < 8) {
        Text text = {.arena = r->arena};
        text_add_n(&text, "", 0);
        for (; *at && *at != '|'; at++) {
            at += at[0] == '\\' && at[1] == '|';
            text_add_n(&text, at, 1);
        }
        at += *at == '|';
        while (text.length && text.at[text.length - 1] == ' ') text.at[--text.length] = '\0';
        cell[count++] = plain(r->arena, text.at + strspn(text.at, " "));
    }
    next_line(r);
    return count;
}

/* The first column tags what the others say, with the name of each column where there are several. */
static void add_table(Reader *r) {
    const char *header[8] = {0}, *cell[8] = {0};
    uint32_t columns = read_row(r, header);
    next_line(r);
    text_add(r->out, ".Bl -tag -width Ds\n");
    while (begins(r, "|")) {
        uint32_t count = read_row(r, cell);
        text_add(r->out, ".It ");
        mdoc_add_tag(r->out, cell[0]);
        for (uint32_t i = 1; i < count; i++) {
            if (!*cell[i]) continue;
            if (i > 1) text_add(r->out, ".Pp\n");
            const char *said = columns > 2 ? arena_printf(r->arena, "%s: %s", header[i], cell[i]) : cell[i];
            mdoc_add_prose(r->out, said);
        }
    }
    text_add(r->out, ".El\n");
    r->fresh = false;
}

static void add_list(Reader *r) {
    text_add(r->out, ".Bl -bullet\n");
    while (begins(r, "- ")) {
        Text item = {.arena = r->arena};
        text_add(&item, "%s", line_of(r) + 2);
        for (next_line(r); begins(r, "  ") && !is_blank(r); next_line(r)) text_add(&item, " %s", line_of(r));
        text_add(r->out, ".It\n");
        mdoc_add_prose(r->out, plain(r->arena, item.at));
    }
    text_add(r->out, ".El\n");
    r->fresh = false;
}

static void add_paragraph(Reader *r) {
    Text text = {.arena = r->arena};
    for (; *r->at && !is_blank(r) && !begins(r, "|") && !begins(r, "- "); next_line(r))
        text_add(&text, "%s ", line_of(r));
    paragraph_break(r);
    mdoc_add_prose(r->out, plain(r->arena, text.at));
}

void markdown_add(Text *out, const char *document) {
    Reader r = {.arena = out->arena, .at = document, .out = out};
    while (*r.at) {
        if (is_blank(&r) || begins(&r, "# ")) {
            next_line(&r);
            continue;
        }
        if (begins(&r, "## ")) {
            add_heading(&r);
            continue;
        }
        begin(&r);
        if (begins(&r, "    "))
            add_block(&r);
        else if (begins(&r, "|"))
            add_table(&r);
        else if (begins(&r, "- "))
            add_list(&r);
        else
            add_paragraph(&r);
    }
}
