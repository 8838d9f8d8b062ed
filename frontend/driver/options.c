/* See options.h. */
#include "frontend/driver/options.h"

#include "frontend/driver/command.h"
#include "frontend/driver/help.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/language/ast.h"
#include "ir/tasks.h"
#include "planner/cost/this_computer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

static int take_count(const Options *options, const OptionRow *row, const char *value, int64_t *out) {
    char *end;
    errno = 0;
    *out = strtoll(value, &end, 10);
    if (!errno && !*end && end != value && *out >= row->detail.low && *out <= row->detail.high) return -1;
    if (row->detail.high == INT64_MAX)
        return message_fail(options, EXIT_USAGE, "%s takes a whole number from %" PRId64 ", not '%s'",
                            row->name, row->detail.low, value);
    return message_fail(options, EXIT_USAGE, "%s takes %" PRId64 " to %" PRId64 ", not '%s'", row->name,
                        row->detail.low, row->detail.high, value);
}

static int take_size(const Options *options, Arena *arena, const OptionRow *row, const char *value,
                     int64_t *out) {
    if (size_read(value, out) && *out >= row->detail.low && *out <= row->detail.high) return -1;
    const char *meant = size_meant(value, arena);
    return message_fail_help(options, EXIT_USAGE,
                             meant ? arena_printf(arena, "did you mean '%s'?", meant) : NULL,
                             "%s takes a size such as 5GB or 300MiB, not '%s'", row->name, value);
}

static int take_choice(const Options *options, Arena *arena, const OptionRow *row, const char *value,
                       const char **out) {
    for (uint32_t i = 0; i < row->detail.word_count; i++)
        if (!strcmp(value, row->detail.words[i])) {
            *out = row->detail.words[i];
            return -1;
        }
    const char *near = diag_nearest(value, row->detail.words, row->detail.word_count);
    return message_fail_help(options, EXIT_USAGE,
                             near ? arena_printf(arena, "did you mean '%s'?", near) : NULL,
                             "%s takes %s, not '%s'", row->name,
                             command_join(arena, row->detail.words, row->detail.word_count), value);
}

static int set_option(Options *options, Arena *arena, const OptionRow *row, const char *value) {
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case KIND_SWITCH: *(bool *)field = true; break;
    case KIND_TEXT: *(const char **)field = value; break;
    case KIND_LIST: *vec_add(arena, (TextList *)field) = value; break;
    case KIND_COUNT: return take_count(options, row, value, field);
    case KIND_SIZE: return take_size(options, arena, row, value, field);
    case KIND_CHOICE: return take_choice(options, arena, row, value, field);
    }
    return -1;
}

/* One option at argv[i]; *used says how many words it took. */
static int parse_option(Options *options, Arena *arena, int argc, char **argv, int i, int *used) {
    const char *word = argv[i], *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const char **known = NEW_ARRAY(arena, const char *, option_row_count);
    uint32_t count = 0;
    for (uint32_t k = 0; k < option_row_count; k++) {
        const OptionRow *row = &option_row[k];
        if (!(row->verbs >> options->verb & 1)) continue;
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
    static const char *const later[] = {"report", "verify", "data", "export"};
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (!strcmp(word, later[i]))
            return message_fail(options, EXIT_USAGE, "the verb '%s' is not there yet", later[i]);
    if (ends_in(word, ".remat")) /* `rematc spec.remat` */
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

static int say_help(const Options *options, Arena *arena, Verb verb) {
    Text out = {.arena = arena};
    if (verb == VERB_COUNT)
        help_add(&out);
    else
        help_add_verb(verb, &out);
    return output_print(options, &out);
}

static int say_version(const Options *options, Arena *arena) {
    Text out = {.arena = arena};
    text_add(&out, "rematc %s\n", command_version());
    return output_print(options, &out);
}

/* `rematc help [VERB]` and what is spelled so */
static int help_verb(Options *options, Arena *arena, const char *word) {
    if (!word || word[0] == '-') return say_help(options, arena, VERB_COUNT);
    Verb verb = find_verb(word);
    return verb == VERB_COUNT ? unknown_verb(options, arena, word) : say_help(options, arena, verb);
}

/* What stands behind the verb. */
static int parse_words(Options *options, Arena *arena, int argc, char **argv) {
    const VerbRow *verb = &verb_row[options->verb];
    for (int i = 2, used; i < argc; i += used) {
        used = 1;
        if (is_help(argv[i])) return say_help(options, arena, options->verb);
        if (is_version(argv[i])) return say_version(options, arena);
        if (!strcmp(argv[i], "--")) {
            if (options->verb != VERB_RUN && options->verb != VERB_TUNE)
                return message_fail(options, EXIT_USAGE, "only `run` and `tune` hand options on after `--`");
            options->rest = argv + i + 1;
            options->rest_count = argc - i - 1;
            break;
        }
        if (argv[i][0] == '-' && argv[i][1]) {
            int code = parse_option(options, arena, argc, argv, i, &used);
            if (code >= 0) return code;
        } else if (options->file) {
            return message_fail(options, EXIT_USAGE, "one %s at a time, and '%s' is a second", verb->argument,
                                argv[i]);
        } else {
            options->file = argv[i];
        }
    }
    if (options->file || !(verb->traits & NEEDS_ARGUMENT)) return -1;
    return message_fail(options, EXIT_USAGE, "%s needs a %s; see `rematc %s --help`", verb->name,
                        verb->argument, verb->name);
}

/* How many threads plans are made with: the same plans, whatever their number. */
static int read_threads(Options *options) {
    const char *text = getenv("REMAT_THREADS");
    int cores = this_computer_cores();
    options->threads = cores < TASKS_MOST_THREADS ? (uint32_t)cores : TASKS_MOST_THREADS;
    if (!text || !*text) return -1;
    options->threads = (uint32_t)(text[0] - '0');
    if (options->threads >= 1 && options->threads <= TASKS_MOST_THREADS && !text[1]) return -1;
    return message_fail(options, EXIT_USAGE, "REMAT_THREADS: '%s' is no number from 1 to %d", text,
                        TASKS_MOST_THREADS);
}

int options_parse(Options *options, Arena *arena, int argc, char **argv) {
    *options = (Options){.verb = VERB_COUNT};
    for (uint32_t i = 0; i < option_row_count; i++)
        if (option_row[i].kind == KIND_COUNT || option_row[i].kind == KIND_SIZE)
            *(int64_t *)(void *)((char *)options + option_row[i].offset) = option_row[i].detail.otherwise;
    if (argc < 2) {
        int code = say_help(options, arena, VERB_COUNT);
        return code == EXIT_FINE ? EXIT_USAGE : code;
    }
    if (is_help(argv[1]) || !strcmp(argv[1], "help"))
        return help_verb(options, arena, argc > 2 ? argv[2] : NULL);
    if (is_version(argv[1]) || !strcmp(argv[1], "version")) return say_version(options, arena);
    options->verb = find_verb(argv[1]);
    if (options->verb == VERB_COUNT) return unknown_verb(options, arena, argv[1]);
    /* what is wrong with another option is answered in JSON too */
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
        options->json |= verb_row[options->verb].traits & ANSWERS_JSON && !strcmp(argv[i], "--json");
    int code = parse_words(options, arena, argc, argv);
    return code < 0 ? read_threads(options) : code;
}
