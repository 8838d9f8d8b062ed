/* See html.h. */
#include "codegen/picture/html.h"

#include <stdlib.h>
#include <string.h>

void html_text(Text *out, const char *text) {
    Text shown = {.arena = out->arena};
    text_add_printable(&shown, text, "");
    for (const char *at = shown.at; *at; at++) {
        const char *spelled = *at == '&'    ? "&amp;"
                              : *at == '<'  ? "&lt;"
                              : *at == '>'  ? "&gt;"
                              : *at == '"'  ? "&quot;"
                              : *at == '\'' ? "&#39;"
                                            : NULL;
        text_add_n(out, spelled ? spelled : at, spelled ? strlen(spelled) : 1);
    }
}

void html_fill(Text *out, const char *markup, const char *const *text, size_t count) {
    size_t next = 0;
    for (const char *at = markup; *at;) {
        size_t plain = strcspn(at, "$@");
        text_add_n(out, at, plain);
        at += plain;
        if (!*at) break;
        if (next == count) die("markup that lacks a text: %s", markup);
        if (*at == '$')
            html_text(out, text[next]);
        else
            text_add_n(out, text[next], strlen(text[next]));
        next++;
        at++;
    }
    if (next != count) die("markup with a text too many: %s", markup);
}

const char *html_name(const char *name, Arena *arena) {
    Text text = {.arena = arena}, out = {.arena = arena};
    html_text(&text, name);
    text_add(&out, "%s", "");
    for (const char *at = text.length ? text.at : ""; *at; at++) {
        text_add_n(&out, at, 1);
        if (*at == '.') text_add(&out, "<wbr>");
    }
    return out.at;
}

void html_json(Text *out, const char *id, json_t *tree) {
    char *json = json_dumps(tree, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!json) die("no JSON text");
    html_add(out, "<script type=\"application/json\" id=\"$\">", id);
    for (const char *at = json; *at; at++) {
        bool separator = !strncmp(at, "\u2028", 3) || !strncmp(at, "\u2029", 3);
        if (separator) {
            text_add(out, "\\u202%c", at[2] == '\xa8' ? '8' : '9');
            at += 2;
        } else if (*at == '<' || *at == '>' || *at == '&') { /* in strings alone */
            text_add(out, "\\u%04x", (unsigned)*at);
        } else {
            text_add_n(out, at, 1);
        }
    }
    text_add(out, "</script>\n");
    free(json);
    json_decref(tree);
}
