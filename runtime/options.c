/* The trainer's command line: argv in, RtOptions out. Every option is used or refused; a number is read whole
 * or refused; an unknown option is answered with the nearest known one. */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Option {
    const char *name, *argument, *help; /* argument NULL: a flag */
    const char *target;                 /* of programs that have it; NULL: of all */
} Option;

static const Option known[] = {
    {"--steps", "N", "stop after N optimizer steps in all; the schedule stays that of the program", NULL},
    {"--data", "FILE", "train on this file (or quoted pattern of shards), of the same format", NULL},
    {"--save-dir", "DIR", "checkpoints go here instead", NULL},
    {"--resume", NULL, "go on from the newest checkpoint (the default when there is one)", NULL},
    {"--fresh", NULL, "start from step 0; earlier checkpoints become *.old once it has saved", NULL},
    {"--seed", "N", "another seed for weights, data order and dropout", NULL},
    {"--max-loss", "X", "end with exit code 1, saving nothing more, when a step's loss is above X", NULL},
    {"--dry-run", NULL, "print the planned memory, allocate it, exit", NULL},
    {"--log", "FILE.jsonl", "one JSON line a step, whatever the terminal shows", NULL},
    {"--quiet", NULL, "print nothing but warnings and errors", NULL},
    {"--sample", "N", "generate N tokens at the end (256 for byte data, else none)", NULL},
    {"--temperature", "X", "of the sample: 0.8; 0 takes the likeliest token each time", NULL},
    {"--threads", "N", "use N threads", NULL},
    {"--poison", NULL, "fill dead memory with NaN, to find a read of it", NULL},
    {"--profile", NULL, "seconds by operation at the end", NULL},
    {"--no-graph", NULL, "launch each operation by itself, where steps are recorded as CUDA graphs", "cuda"},
    {"--help", NULL, "this text", NULL},
    {"--version", NULL, "the model, its source and its target", NULL},
};
enum { KNOWN = sizeof known / sizeof *known };

static int offered(const RtProgram *program, const Option *option) {
    return !option->target || !strcmp(option->target, program->target);
}

/* Help that nobody can read is no help. */
static int printed(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    rt_say(stderr, "train: error: cannot write to standard output: %s\n", strerror(errno));
    return RT_EXIT_IO;
}

static int print_version(const RtProgram *program) {
    rt_say(stdout, "%s from %s, target %s, device %s\n", program->model, program->source, program->target,
           program->device);
    return printed();
}

static int print_help(const RtProgram *program, const char *name) {
    rt_say(stdout, "usage: %s [options]\ntrains %s (from %s) on %s\n\n", name, program->model,
           program->source, program->device);
    for (int i = 0; i < KNOWN; i++) {
        char left[40];
        if (!offered(program, &known[i])) continue;
        snprintf(left, sizeof left, "%s %s", known[i].name, known[i].argument ? known[i].argument : "");
        printf("  %-20s %s\n", left, known[i].help);
    }
    printf("\nexit codes: 0 done, 1 the loss is not a number or above --max-loss, 2 usage, 3 too little free "
           "memory,\n"
           "5 no device, 6 files, 75 stopped by a signal after saving (run again to go on)\n");
    return printed();
}

static int unknown(const RtProgram *program, const char *text, size_t length) {
    char word[64];
    snprintf(word, sizeof word, "%.*s", length < sizeof word ? (int)length : (int)sizeof word - 1, text);
    const char *nearest = NULL;
    int least = (int)strlen(word) / 3 + 1;
    for (int i = 0; i < KNOWN; i++) {
        int d = rt_distance(word, known[i].name);
        if (d < least && offered(program, &known[i])) least = d, nearest = known[i].name;
    }
    rt_say(stderr, "train: error: unknown option '%s'", word);
    if (nearest) fprintf(stderr, "; did you mean %s?", nearest);
    fprintf(stderr, "\ntry --help\n");
    return RT_EXIT_USAGE;
}

static int read_whole(const char *name, const char *text, int64_t low, int64_t high, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < low || number > high) {
        rt_say(stderr, "train: error: %s takes a whole number from %lld to %lld, not '%s'\n", name,
               (long long)low, (long long)high, text);
        return 0;
    }
    *value = number;
    return 1;
}

static int read_real(const char *name, const char *text, int zero, double *value) {
    char *end;
    *value = strtod(text, &end);
    if (end != text && !*end && isfinite(*value) && (*value > 0 || (zero && *value == 0))) return 1;
    rt_say(stderr, "train: error: %s takes a number %s, not '%s'\n", name, zero ? "from 0 on" : "above 0",
           text);
    return 0;
}

static int take_text(const char *name, const char *text, const char **value) {
    if (*text) {
        *value = text;
        return 1;
    }
    fprintf(stderr, "train: error: %s takes a name, not an empty word\n", name);
    return 0;
}

static int set_value(RtOptions *options, const char *name, const char *text) {
    int64_t number = 0;
    if (!strcmp(name, "--data")) return take_text(name, text, &options->data);
    if (!strcmp(name, "--save-dir")) return take_text(name, text, &options->save_dir);
    if (!strcmp(name, "--log")) return take_text(name, text, &options->log);
    if (!strcmp(name, "--steps")) return read_whole(name, text, 0, INT64_C(1) << 40, &options->steps);
    if (!strcmp(name, "--sample")) return read_whole(name, text, 0, 1 << 24, &options->sample);
    if (!strcmp(name, "--threads")) {
        if (!read_whole(name, text, 1, 4096, &number)) return 0;
        options->threads = (int)number;
        return 1;
    }
    if (!strcmp(name, "--temperature")) return read_real(name, text, 1, &options->temperature);
    if (!strcmp(name, "--max-loss")) return read_real(name, text, 0, &options->max_loss);
    if (!read_whole(name, text, 0, INT64_MAX, &number)) return 0;
    options->seed_given = 1;
    options->seed = (uint64_t)number;
    return 1;
}

static void set_flag(RtOptions *options, const char *name, int *resume) {
    if (!strcmp(name, "--resume")) *resume = 1;
    if (!strcmp(name, "--fresh")) options->fresh = 1;
    if (!strcmp(name, "--dry-run")) options->dry_run = 1;
    if (!strcmp(name, "--quiet")) options->quiet = 1;
    if (!strcmp(name, "--poison")) options->poison = 1;
    if (!strcmp(name, "--profile")) options->profile = 1;
    if (!strcmp(name, "--no-graph")) options->no_graph = 1;
}

int rt_options_parse(RtOptions *options, const RtProgram *program, int argc, char **argv) {
    *options = (RtOptions){
        .steps = -1, .sample = -1, .seed = program->seed, .max_loss = INFINITY, .temperature = 0.8};
    int resume = 0;
    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        size_t length = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const Option *option = NULL;
        for (int k = 0; k < KNOWN; k++)
            if (strlen(known[k].name) == length && !memcmp(known[k].name, argv[i], length) &&
                offered(program, &known[k]))
                option = &known[k];
        if (!option) return unknown(program, argv[i], length);
        if (!option->argument && equals) {
            fprintf(stderr, "train: error: %s takes no value\n", option->name);
            return RT_EXIT_USAGE;
        }
        if (!strcmp(option->name, "--help")) return print_help(program, argv[0]);
        if (!strcmp(option->name, "--version")) return print_version(program);
        if (!option->argument) {
            set_flag(options, option->name, &resume);
            continue;
        }
        if (!equals && i + 1 == argc) {
            fprintf(stderr, "train: error: %s needs a value: %s\n", option->name, option->argument);
            return RT_EXIT_USAGE;
        }
        if (!set_value(options, option->name, equals ? equals + 1 : argv[++i])) return RT_EXIT_USAGE;
    }
    if (resume && options->fresh) {
        fprintf(stderr, "train: error: --resume and --fresh contradict each other\n");
        return RT_EXIT_USAGE;
    }
    return -1;
}
