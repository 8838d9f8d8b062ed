/* See options.h. One row a verb, one row an option. */
#include "frontend/driver/options.h"

#include "frontend/driver/message.h"

#include <stdlib.h>
#include <string.h>

#ifndef REMAT_VERSION
#define REMAT_VERSION "0.1.0"
#endif

typedef struct VerbRow {
    const char *name, *argument, *summary;
    bool argument_needed;
} VerbRow;
static const VerbRow verb_row[VERB_COUNT] = {
    [VERB_CHECK] = {"check", "SPEC", "parse, shapes, everything that can be wrong before planning", true},
    [VERB_PLAN] = {"plan", "SPEC", "the memory plan: peak, what is kept and recomputed, step time, bound",
                   true},
    [VERB_DUMP] = {"dump", "SPEC", "one stage as text: ast, graph, grad, fuse, order, plan, layout", true},
    [VERB_GRAPH] = {"graph", "SPEC", "the memory plan as a picture (svg, png, pdf, dot)", true},
    [VERB_EMIT] = {"emit", "SPEC", "write the training program's sources into a folder", true},
    [VERB_BUILD] = {"build", "SPEC", "emit and compile it to DIR/train", true},
    [VERB_RUN] = {"run", "SPEC", "build and run it; what follows `--` goes to the trainer", true},
    [VERB_FMT] = {"fmt", "SPEC", "print the canonical form of a file", true},
    [VERB_EXPLAIN] = {"explain", "[CODE]", "what an error code means, with an example; or a list of all",
                      false},
    [VERB_DEVICES] = {"devices", "[NAME]", "known devices and their figures", false},
    [VERB_SWEEP] = {"sweep", "SPEC", "a table over budgets and devices, or the longest context that fits",
                    true},
    [VERB_SOLVE] = {"solve", "GRAPH.json", "rematerialisation of an outside DAG (networkx node-link JSON)",
                    true},
    [VERB_PACK] = {"pack", "BUFFERS.csv", "offsets for buffers from outside (minimalloc's columns)", true},
    [VERB_IMPORT] = {"import", "FOLDER|config.json", "a spec of a published model, from its config.json",
                     true},
};

enum {
    ALL_SPEC = 1 << VERB_CHECK | 1 << VERB_PLAN | 1 << VERB_DUMP | 1 << VERB_GRAPH | 1 << VERB_EMIT |
               1 << VERB_BUILD | 1 << VERB_RUN | 1 << VERB_SWEEP | 1 << VERB_IMPORT
};
enum { PLANNED = ALL_SPEC & ~(1 << VERB_CHECK | 1 << VERB_SWEEP | 1 << VERB_IMPORT) };
enum {
    JSON = 1 << VERB_PLAN | 1 << VERB_DEVICES | 1 << VERB_CHECK | 1 << VERB_SOLVE | 1 << VERB_PACK |
           1 << VERB_SWEEP
};

typedef struct OptionRow {
    const char *name, *argument; /* argument NULL: a switch */
    unsigned verbs;
    size_t offset; /* of a const char * or a bool in Options */
    const char *summary;
} OptionRow;
#define AT(field) offsetof(Options, field)
static const OptionRow option_row[] = {
    {"--set", "NAME=VALUE", ALL_SPEC, 0, "replace a dim or a setting of the file (may be repeated)"},
    {"--device", "NAME", ALL_SPEC & ~(1 << VERB_SWEEP), AT(device),
     "plan for this device, or .device file, instead of the file's"},
    {"--device", "NAME,NAME", 1 << VERB_SWEEP, AT(device), "one or more devices instead of the file's"},
    {"--device-memory", "SIZE", ALL_SPEC, AT(device_memory),
     "pretend that the device has that much memory: 1200GiB"},
    {"--budget", "SIZE", ALL_SPEC & ~(1 << VERB_SWEEP), AT(budget),
     "device memory to fit, with a unit: 21GiB"},
    {"--budget", "SIZE..SIZE", 1 << VERB_SWEEP, AT(budget),
     "from the first to the second; left out: from the smallest that works to all kept"},
    {"--points", "N", 1 << VERB_SWEEP, 0, "budgets to try, 2 to 100 (9)"},
    {"--maximize", "WHAT", 1 << VERB_SWEEP, AT(maximize),
     "tokens_per_second (the default), or T: the longest context that fits"},
    {"--budget", "N|0.8", 1 << VERB_SOLVE, AT(budget),
     "bytes, or a fraction of the peak without recomputation"},
    {"--time", "S", 1 << VERB_SOLVE, AT(time), "search for at most S seconds; without it, for some"},
    {"--capacity", "N", 1 << VERB_PACK, AT(capacity), "the height to fit; left out: the smallest found"},
    {"--policy", "NAME", PLANNED, AT(policy),
     "none, every-block, sqrt, offload-blocks, heuristic or optimal (the default)"},
    {"--compare", NULL, 1 << VERB_PLAN, AT(compare), "one row a policy"},
    {"--why", "NAME", 1 << VERB_PLAN, AT(why),
     "why the operations of that name or pattern are kept or recomputed"},
    {"--json", NULL, JSON, AT(json), "for programs"},
    {"--stage", "STAGE", 1 << VERB_DUMP, AT(stage), "ast, graph, grad, fuse, order, plan or layout"},
    {"-o", "PATH", (PLANNED & ~(1 << VERB_PLAN | 1 << VERB_DUMP)) | 1 << VERB_PACK | 1 << VERB_IMPORT,
     AT(output), "where to write"},
    {"--format", "FORMAT", 1 << VERB_GRAPH, AT(format), "svg, png, pdf or dot, when PATH does not say"},
    {"--layer", "N", 1 << VERB_GRAPH, 0, "unfold the N-th repeated layer"},
    {"--target", "TARGET", PLANNED, AT(target), "host or cuda; follows the device unless named"},
    {"--quiet", NULL, 1 << VERB_BUILD | 1 << VERB_RUN, AT(quiet), "nothing but errors while building"},
    {"--force", NULL, 1 << VERB_EMIT | 1 << VERB_BUILD | 1 << VERB_RUN, AT(force),
     "replace files in the folder that rematc did not write, or that were changed"},
    {"--force", NULL, 1 << VERB_IMPORT, AT(force), "replace the file after -o where there is one"},
    {"--write", NULL, 1 << VERB_FMT, AT(write), "write the file in place"},
    {"--check", NULL, 1 << VERB_FMT, AT(check), "exit 1 when the file is not in canonical form"},
    {"--diagnostics", "FORMAT", ALL_SPEC | 1 << VERB_FMT, 0, "text or json, for messages on stderr"},
};

static void print_help(void) {
    printf("usage: rematc VERB [OPTIONS] [ARGUMENT]\n\n"
           "Compiles a .remat file (a model, how to train it, a device, a memory budget) into a training\n"
           "program whose peak memory is known to the byte before it runs.\n\n");
    for (int v = 0; v < VERB_COUNT; v++)
        printf("  %-8s %-10s %s\n", verb_row[v].name, verb_row[v].argument, verb_row[v].summary);
    printf("\n`rematc VERB --help` lists a verb's options. `-` is standard input or output.\n"
           "Exit codes: 0 fine, 1 errors in the file, 2 usage, 3 no plan fits the budget,\n"
           "4 a check of `solve` failed, 5 no compiler, or it failed, 6 input or output, 70 no memory, or\n"
           "a bug in rematc.\n");
}

static void print_verb_help(Verb verb) {
    printf("usage: rematc %s %s [OPTIONS]%s\n\n%s\n\n", verb_row[verb].name, verb_row[verb].argument,
           verb == VERB_RUN ? " [-- TRAINER OPTIONS]" : "", verb_row[verb].summary);
    for (size_t i = 0; i < COUNT_OF(option_row); i++) {
        const OptionRow *row = &option_row[i];
        if (!(row->verbs & 1u << verb)) continue;
        char left[48];
        snprintf(left, sizeof left, "%s %s", row->name, row->argument ? row->argument : "");
        printf("  %-22s %s\n", left, row->summary);
    }
    printf("  %-22s %s\n", "--help, --version", "this text; the compiler's version");
}

static int usage_error(const Options *options, Arena *arena, const char *what, const char *word,
                       const char *const *known, uint32_t count) {
    const char *near = diag_nearest(word, known, count);
    return message_fail_help(options, EXIT_USAGE,
                             near ? arena_printf(arena, "did you mean '%s'?", near) : "see `rematc --help`",
                             "%s '%s'", what, word);
}

static Verb find_verb(const char *word) {
    int v = 0;
    while (v < VERB_COUNT && strcmp(verb_row[v].name, word)) v++;
    return (Verb)v;
}

static int set_option(Options *options, Arena *arena, const OptionRow *row, const char *value) {
    char *base = (char *)options;
    if (!strcmp(row->name, "--set")) {
        *vec_add(arena, &options->set) = value;
    } else if (!strcmp(row->name, "--layer")) {
        char *end;
        options->layer = strtol(value, &end, 10);
        if (*end || end == value || options->layer < 0)
            return message_fail(options, EXIT_USAGE, "--layer takes a layer's number from 0, not '%s'",
                                value);
    } else if (!strcmp(row->name, "--points")) {
        char *end;
        options->points = strtol(value, &end, 10);
        if (*end || end == value || options->points < 2 || options->points > 100)
            return message_fail(options, EXIT_USAGE, "--points takes 2 to 100, not '%s'", value);
    } else if (!strcmp(row->name, "--diagnostics")) {
        if (strcmp(value, "json") && strcmp(value, "text"))
            return message_fail(options, EXIT_USAGE, "--diagnostics takes text or json, not '%s'", value);
        options->json_diagnostics = !strcmp(value, "json");
    } else if (row->argument) {
        *(const char **)(void *)(base + row->offset) = value;
    } else {
        *(bool *)(void *)(base + row->offset) = true;
    }
    return -1;
}

/* One option at argv[i]; *used says how many words it took. */
static int parse_option(Options *options, Arena *arena, int argc, char **argv, int i, int *used) {
    const char *word = argv[i], *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const char *known[COUNT_OF(option_row)];
    uint32_t count = 0;
    for (size_t k = 0; k < COUNT_OF(option_row); k++) {
        const OptionRow *row = &option_row[k];
        if (!(row->verbs & 1u << options->verb)) continue;
        known[count++] = row->name;
        if (strlen(row->name) != length || strncmp(row->name, word, length)) continue;
        if (!row->argument) {
            if (equals) return message_fail(options, EXIT_USAGE, "%s takes no value", row->name);
            return set_option(options, arena, row, NULL);
        }
        if (equals) return set_option(options, arena, row, equals + 1);
        if (i + 1 >= argc)
            return message_fail(options, EXIT_USAGE, "%s needs a value: %s", row->name, row->argument);
        *used = 2;
        return set_option(options, arena, row, argv[i + 1]);
    }
    return usage_error(options, arena, arena_printf(arena, "%s has no option", verb_row[options->verb].name),
                       arena_strndup(arena, word, length), known, count);
}

static int unknown_verb(const Options *options, Arena *arena, const char *word) {
    static const char *const later[] = {"report", "verify", "tune", "completion"};
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (!strcmp(word, later[i]))
            return message_fail(options, EXIT_USAGE, "the verb '%s' is not there yet", later[i]);
    size_t length = strlen(word);
    if (length > 6 && !strcmp(word + length - 6, ".remat")) /* `rematc spec.remat` */
        return message_fail_help(options, EXIT_USAGE, arena_printf(arena, "as in `rematc check %s`", word),
                                 "a verb comes before the file '%s'", word);
    const char *names[VERB_COUNT];
    for (int v = 0; v < VERB_COUNT; v++) names[v] = verb_row[v].name;
    return usage_error(options, arena, "there is no verb", word, names, VERB_COUNT);
}

static bool is_help(const char *word) {
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static bool is_version(const char *word) {
    return !strcmp(word, "--version") || !strcmp(word, "-V");
}

int options_parse(Options *options, Arena *arena, int argc, char **argv) {
    *options = (Options){.layer = -1, .points = 9};
    if (argc < 2) {
        print_help();
        return EXIT_USAGE;
    }
    if (is_help(argv[1]) || !strcmp(argv[1], "help")) {
        options->verb = argc > 2 && argv[2][0] != '-' ? find_verb(argv[2]) : VERB_COUNT;
        if (argc > 2 && argv[2][0] != '-' && options->verb == VERB_COUNT)
            return unknown_verb(options, arena, argv[2]);
        if (options->verb == VERB_COUNT)
            print_help();
        else
            print_verb_help(options->verb);
        return EXIT_FINE;
    }
    if (is_version(argv[1]) || !strcmp(argv[1], "version")) {
        printf("rematc %s\n", REMAT_VERSION);
        return EXIT_FINE;
    }
    options->verb = find_verb(argv[1]);
    if (options->verb == VERB_COUNT) return unknown_verb(options, arena, argv[1]);
    /* what is wrong with another option is answered in JSON too */
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
        options->json |= JSON >> options->verb & 1 && !strcmp(argv[i], "--json");
    for (int i = 2, used; i < argc; i += used) {
        used = 1;
        if (is_help(argv[i])) {
            print_verb_help(options->verb);
            return EXIT_FINE;
        }
        if (is_version(argv[i])) {
            printf("rematc %s\n", REMAT_VERSION);
            return EXIT_FINE;
        }
        if (!strcmp(argv[i], "--")) {
            if (options->verb != VERB_RUN)
                return message_fail(options, EXIT_USAGE, "only `run` hands options on after `--`");
            options->rest = argv + i + 1;
            options->rest_count = argc - i - 1;
            break;
        }
        if (argv[i][0] == '-' && argv[i][1]) {
            int code = parse_option(options, arena, argc, argv, i, &used);
            if (code >= 0) return code;
        } else if (options->file) {
            return message_fail(options, EXIT_USAGE, "one %s at a time, and '%s' is a second",
                                verb_row[options->verb].argument, argv[i]);
        } else {
            options->file = argv[i];
        }
    }
    if (!options->file && verb_row[options->verb].argument_needed)
        return message_fail(options, EXIT_USAGE, "%s needs a %s; see `rematc %s --help`",
                            verb_row[options->verb].name, verb_row[options->verb].argument,
                            verb_row[options->verb].name);
    return -1;
}
