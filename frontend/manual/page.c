/* See manual.h. rematc(1) is the rows of verbs.def, options.def and exit_codes.def; remat(5) is
 * docs/language.md. */
#include "frontend/manual/manual.h"

#include "frontend/driver/command.h"
#include "frontend/driver/stages.h"

#include <string.h>

static void add_name(Text *out, const char *name, const char *what) {
    text_add(out, ".Sh NAME\n.Nm %s\n.Nd %s\n", name, what);
}

static void add_stages(Text *out) {
    static const char *const leaves[STAGE_COUNT] = {
#define STAGE(NAME, name, leaves) leaves,
#include "frontend/driver/stages.def"
#undef STAGE
    };
    text_add(out, ".Bl -tag -width layout -compact\n");
    for (Stage stage = 0; stage < STAGE_COUNT; stage++) {
        text_add(out, ".It Cm %s\n", stage_name[stage]);
        mdoc_add_prose(out, leaves[stage]);
    }
    text_add(out, ".El\n");
}

static void add_verbs(Text *out) {
    text_add(out, ".Bl -tag -width Ds\n");
    for (int v = 0; v < VERB_COUNT; v++) {
        const VerbRow *row = &verb_row[v];
        bool optional = row->argument[0] == '[';
        const char *argument =
            arena_strndup(out->arena, row->argument + optional, strlen(row->argument) - (optional ? 2 : 0));
        text_add(out, ".It Cm %s %s Oo Ar option ... Oc%s\n", row->name,
                 arena_printf(out->arena, optional ? "Oo Ar %s Oc" : "Ar %s", argument),
                 v == VERB_RUN ? " Oo Fl - Ar trainer-option ... Oc" : "");
        Text said = {.arena = out->arena};
        text_add(&said, "%c%s. %s", row->summary[0] - ('a' <= row->summary[0] && row->summary[0] <= 'z') * 32,
                 row->summary + 1, row->description);
        mdoc_add_prose(out, said.at);
        if (v == VERB_DUMP) add_stages(out);
    }
    text_add(out, ".El\n");
}

static void add_options(Text *out) {
    text_add(out, ".Bl -tag -width Ds\n");
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        text_add(out, ".It Fl %s", row->name + 1);
        if (row->argument) {
            text_add(out, " Ar ");
            mdoc_add_word(out, row->argument);
        }
        text_add(out, "\n");
        const char *names[VERB_COUNT];
        uint32_t count = 0;
        for (int v = 0; v < VERB_COUNT; v++)
            if (row->verbs >> v & 1) names[count++] = arena_printf(out->arena, "`%s`", verb_row[v].name);
        mdoc_add_prose(out, arena_printf(out->arena, "%s: %s.", command_join(out->arena, names, count),
                                         command_summary(out->arena, row)));
    }
    text_add(out, ".El\n");
}

static void add_exit_codes(Text *out) {
    text_add(out, ".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (uint32_t i = 0; i < exit_row_count; i++) {
        text_add(out, ".It %d\n", exit_row[i].number);
        mdoc_add_prose(out, exit_row[i].meaning);
    }
    text_add(out, ".El\n.Pp\n.Nm\n.Cm run\nends with the trainer's code: see\n.Ql DIR/train --help .\n");
}

void page_add_command(Text *out) {
    mdoc_add_head(out, "REMATC", 1);
    add_name(out, "rematc", "plan and compile training of transformers within a memory budget");
    text_add(out, "%s",
             ".Sh SYNOPSIS\n"
             ".Nm\n.Ar verb\n.Op Ar option ...\n.Op Ar argument\n"
             ".Nm\n.Cm help\n.Op Ar verb\n"
             ".Sh DESCRIPTION\n"
             ".Nm\ncompiles one\n.Xr remat 5\nfile, which says what to train and how: a model, the data, a "
             "device and a\n"
             "memory budget.\n"
             "Out comes a plan and a training program that follows it, whose peak memory is\n"
             "known to the byte before it runs.\n"
             ".Pp\n"
             "Results go to standard output, messages to standard error.\n"
             "A file or output called\n.Ql -\nis standard input or output.\n"
             ".Pp\nThe verbs are:\n");
    add_verbs(out);
    text_add(out, ".Pp\nThe options, each behind the verbs that take it:\n");
    add_options(out);
    text_add(out, "%s",
             ".Sh ENVIRONMENT\n"
             ".Bl -tag -width Ds\n"
             ".It Ev NO_COLOR\nMessages on a terminal have no colours where this is set.\n"
             ".It Ev REMAT_HOST\nA built-in host, as\n.Ql host-avx2 ,\nwhose figures the device\n.Ql "
             "host\nhas instead of this computer's, "
             "so that plans do not\ndepend on where they are made.\n"
             ".It Ev REMAT_THREADS\nHow many threads plans are made with, from 1 to 4; as many as there are\n"
             "processors where it is not set.\nThe plans are the same.\n"
             ".El\n");
    add_exit_codes(out);
    text_add(out, "%s",
             ".Sh EXAMPLES\n"
             "What is wrong with a file, what its plan is, and what less memory would cost:\n"
             ".Bd -literal -offset indent\n"
             "$ rematc check bytes-gpt.remat\n"
             "$ rematc plan bytes-gpt.remat --budget 40MiB\n"
             "$ rematc plan bytes-gpt.remat --compare\n"
             ".Ed\n"
             ".Pp\nThe sources of a CUDA program, for a machine that has a card and no\n.Nm :\n"
             ".Bd -literal -offset indent\n"
             "$ rematc emit bytes-gpt.remat --device h100 --set budget=1GiB -o bytes-gpt\n"
             ".Ed\n"
             ".Sh SEE ALSO\n.Xr remat 5\n");
}

void page_add_language(Text *out, const char *document) {
    mdoc_add_head(out, "REMAT", 5);
    add_name(out, "remat", "what to train, how, and in how much memory");
    markdown_add(out, document);
    text_add(out, ".Sh SEE ALSO\n.Xr rematc 1\n");
}
