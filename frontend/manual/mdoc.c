/* See manual.h. In: text of ours; out: lines that neither begin a request nor hold an escape by accident. */
#include "frontend/manual/manual.h"

#include <ctype.h>
#include <string.h>

enum { WIDTH = 76 };

void mdoc_add_head(Text *out, const char *title, int section) {
    text_add(out,
             ".\\\" Written by the build of remat %s from the tables that rematc itself reads.\n"
             ".Dd %s\n.Dt %s %d\n.Os\n",
             REMAT_VERSION, REMAT_DATE, title, section);
}

static void add_byte(Text *out, char c) {
    if (c == '\\')
        text_add(out, "\\e");
    else if (c == '"')
        text_add(out, "\\(dq"); /* opens an argument of a macro otherwise */
    else
        text_add_n(out, &c, 1);
}

void mdoc_add_word(Text *out, const char *word) {
    text_add(out, "\\&");
    for (; *word; word++) add_byte(out, *word);
}

void mdoc_add_literal(Text *out, const char *lines) {
    bool start = true;
    for (; *lines; lines++) {
        if (start && (*lines == '.' || *lines == '\'')) text_add(out, "\\&");
        add_byte(out, *lines);
        start = *lines == '\n';
    }
}

/* A word of prose may hold a part of a literal, whose blanks break lines too: `*literal` goes on from word to
 * word, and the font is set anew on each. */
static void add_prose_word(Text *out, const char *word, size_t length, bool *literal) {
    if (*literal) text_add(out, "\\fB");
    if (word[0] == '.' || word[0] == '\'') text_add(out, "\\&");
    for (size_t i = 0; i < length; i++) {
        if (word[i] != '`') {
            add_byte(out, word[i]);
            continue;
        }
        *literal = !*literal;
        text_add(out, *literal ? "\\fB" : "\\fP");
    }
    if (*literal) text_add(out, "\\fP");
}

void mdoc_add_tag(Text *out, const char *prose) {
    bool literal = false;
    while (*prose) {
        size_t length = strcspn(prose, " ");
        if (!literal) text_add(out, "\\&");
        add_prose_word(out, prose, length, &literal);
        prose += length;
        if (*prose) text_add(out, " ");
        prose += *prose == ' ';
    }
    text_add(out, "\n");
}

/* A number with a dot ends one where a capital follows: "4.13. They", and not "1. the first". */
static bool ends_sentence(const char *word, size_t length) {
    const char *next = word + length + strspn(word + length, " \n");
    while (length && strchr(")\"`", word[length - 1])) length--;
    return length > 1 && strchr(".!?", word[length - 1]) && word[length - 2] != '.' &&
           (!isdigit((unsigned char)word[length - 2]) || isupper((unsigned char)*next));
}

void mdoc_add_prose(Text *out, const char *prose) {
    size_t column = 0;
    bool literal = false;
    for (prose += strspn(prose, " \n"); *prose;) {
        size_t length = strcspn(prose, " \n");
        Text word = {.arena = out->arena};
        add_prose_word(&word, prose, length, &literal);
        if (column && column + 1 + word.length > WIDTH) {
            text_add(out, "\n");
            column = 0;
        }
        text_add(out, "%s%s", column ? " " : "", word.at);
        column += 1 + word.length;
        if (!literal && ends_sentence(prose, length)) {
            text_add(out, "\n");
            column = 0;
        }
        prose += length;
        prose += strspn(prose, " \n");
    }
    if (column) text_add(out, "\n");
}
