/* The command line: which verb, which file, which options. Unknown verbs and options answer with the nearest
 * known one; every option a verb does not take is refused. What there is stands in tables: verbs.def,
 * options.def and exit_codes.def, which say what their columns mean. */
#ifndef REMAT_OPTIONS_H
#define REMAT_OPTIONS_H

#include "ir/base.h"

enum ExitCode {
#define EXIT(id, number, brief, meaning) EXIT_##id = number,
#include "frontend/driver/exit_codes.def"
#undef EXIT
};

typedef enum Verb {
#define VERB(id, name, argument, traits, completes, summary, description) VERB_##id,
#include "frontend/verbs/verbs.def"
#undef VERB
    VERB_COUNT
} Verb;

/* Words that the command line chooses from and that verbs tell apart. */
#define SHELL_WORDS(WORD)                                                                                    \
    WORD(BASH, "bash")                                                                                       \
    WORD(ZSH, "zsh")                                                                                         \
    WORD(FISH, "fish")
typedef enum Shell {
#define WORD(id, word) SHELL_##id,
    SHELL_WORDS(WORD)
#undef WORD
        SHELL_COUNT
} Shell;

typedef VEC(const char *) TextList;
typedef struct Options {
    Verb verb;
    const char *file; /* the verb's argument; NULL when not given */
#define FIELD_SWITCH                                                bool
#define FIELD_TEXT                                                  const char *
#define FIELD_LIST                                                  TextList
#define FIELD_COUNT                                                 int64_t
#define FIELD_SIZE                                                  int64_t
#define FIELD_CHOICE                                                const char *
#define OPTION(kind, field, name, argument, verbs, detail, summary) FIELD_##kind field;
#define OPTION_ALSO(kind, field, name, argument, verbs, detail, summary)
#include "frontend/driver/options.def"
#undef OPTION
#undef OPTION_ALSO
    uint32_t threads; /* at once */
    bool warned;      /* warnings about the file were shown before */
    char **rest;      /* after `--`, for the program that is run */
    int rest_count;
} Options;

/* -1 and filled options, or the exit code to leave with (help, version, usage errors are printed). */
int options_parse(Options *options, Arena *arena, int argc, char **argv);

#endif
