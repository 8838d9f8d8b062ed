/* See help.h. Lines end before column 100; words in backquotes keep them. */
#include "frontend/driver/help.h"

#include "frontend/driver/command.h"

#include <string.h>

/* Words from column `*column`, further lines at `indent`. */
static void add_wrapped(Text *out, const char *text, int indent, int *column) {
    enum { WIDTH = 98 };
    while (*text) {
        size_t length = strcspn(text, " ");
        if (*column > indent && *column + 1 + (int)length > WIDTH) {
            text_add(out, "\n%*s", indent, "");
            *column = indent;
        } else if (*column > indent) {
            text_add(out, " ");
            ++*column;
        }
        text_add_n(out, text, length);
        *column += (int)length;
        text += length + (text[length] == ' ');
    }
}

void help_add(Text *out) {
    text_add(out,
             "usage: rematc VERB [OPTIONS] [ARGUMENT]\n\n"
             "Compiles a .remat file (a model, how to train it, a device, a memory budget) into a training\n"
             "program whose peak memory is known to the byte before it runs.\n\n");
    for (int v = 0; v < VERB_COUNT; v++)
        text_add(out, "  %-10s %-11s %s\n", verb_row[v].name, verb_row[v].argument, verb_row[v].summary);
    text_add(out, "\n`rematc VERB --help` lists a verb's options. `-` is standard input or output.\n");
    int column = 0;
    add_wrapped(out, "Exit codes:", 0, &column);
    for (uint32_t i = 0; i < exit_row_count; i++)
        add_wrapped(out,
                    arena_printf(out->arena, "%d %s%s", exit_row[i].number, exit_row[i].brief,
                                 i + 1 < exit_row_count ? "," : "."),
                    0, &column);
    text_add(out, "\n");
}

void help_add_verb(Verb verb, Text *out) {
    enum { LEFT = 24 };
    const VerbRow *v = &verb_row[verb];
    text_add(out, "usage: rematc %s %s [OPTIONS]%s\n\n%s\n\n", v->name, v->argument,
             verb == VERB_RUN ? " [-- TRAINER OPTIONS]" : "", v->summary);
    int column = 0;
    add_wrapped(out, v->description, 0, &column);
    text_add(out, "\n\n");
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        if (!(row->verbs >> verb & 1)) continue;
        const char *left = arena_printf(out->arena, "%s %s", row->name, row->argument ? row->argument : "");
        text_add(out, "  %-22s ", left);
        column = LEFT + 1;
        add_wrapped(out, command_summary(out->arena, row), LEFT + 1, &column);
        text_add(out, "\n");
    }
    text_add(out, "  %-22s %s\n", "--help, --version", "this text; the compiler's version");
}
