/* The command line: which verb, which file, which options. Unknown verbs and options answer with the nearest
 * known one; every option a verb does not take is refused. */
#ifndef REMAT_OPTIONS_H
#define REMAT_OPTIONS_H

#include "ir/base.h"

enum ExitCode {
    EXIT_FINE = 0,
    EXIT_SOURCE = 1,
    EXIT_USAGE = 2,
    EXIT_INFEASIBLE = 3,
    EXIT_VERIFY = 4,
    EXIT_ENVIRONMENT = 5,
    EXIT_IO = 6,
    EXIT_INTERNAL = 70,
};

typedef enum Verb {
    VERB_CHECK,
    VERB_PLAN,
    VERB_DUMP,
    VERB_GRAPH,
    VERB_EMIT,
    VERB_BUILD,
    VERB_RUN,
    VERB_FMT,
    VERB_EXPLAIN,
    VERB_DEVICES,
    VERB_SWEEP,
    VERB_SOLVE,
    VERB_PACK,
    VERB_IMPORT,
    VERB_COUNT
} Verb;

typedef struct Options {
    Verb verb;
    const char *file;   /* SPEC, CODE or NAME; NULL when not given */
    const char *output; /* -o */
    const char *device, *device_memory, *budget, *policy, *stage, *target, *format, *time;
    const char *capacity; /* pack; NULL: the smallest height */
    const char *maximize, *why;
    int64_t points;        /* budgets in a sweep */
    int64_t layer;         /* -1: folded */
    VEC(const char *) set; /* --set name=value, in order */
    bool warned;           /* warnings about the file were shown before */
    bool json, compare, json_diagnostics, write, check, quiet, force;
    char **rest; /* after `--`, for the trainer */
    int rest_count;
} Options;

/* -1 and filled options, or the exit code to leave with (help, version, usage errors are printed). */
int options_parse(Options *options, Arena *arena, int argc, char **argv);

#endif
