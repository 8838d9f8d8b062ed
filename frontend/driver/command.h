/* The tables behind the command line as data: for the parser, help, the completions and the manual. */
#ifndef REMAT_COMMAND_H
#define REMAT_COMMAND_H

#include "frontend/driver/options.h"

/* What a verb is, for the options that it shares with others. */
enum VerbTrait {
    NEEDS_ARGUMENT = 1 << 0,
    READS_SPEC = 1 << 1,    /* lowers a .remat file: --set, --device, --budget, ... */
    PLANS = 1 << 2,         /* makes one plan of it: --policy, --target */
    ANSWERS_JSON = 1 << 3,  /* --json */
    WRITES_FOLDER = 1 << 4, /* -o DIR, --force */
    ANSWERS_TEXT = 0,
};

/* What a shell offers where an argument is typed. */
typedef enum Offer {
    OFFER_NOTHING,
    OFFER_FILE,
    OFFER_FOLDER,
    OFFER_SPEC,   /* *.remat */
    OFFER_GRAPH,  /* *.json */
    OFFER_TABLE,  /* *.csv */
    OFFER_DEVICE, /* names of devices, *.device */
    OFFER_CODE,   /* error codes */
    OFFER_SHELL,
    OFFER_WORDS, /* an option's own */
} Offer;

typedef struct VerbRow {
    const char *name, *argument;
    unsigned traits;
    Offer offer;
    const char *summary, *description;
} VerbRow;
extern const VerbRow verb_row[VERB_COUNT];

typedef enum OptionKind { KIND_SWITCH, KIND_TEXT, KIND_LIST, KIND_COUNT, KIND_SIZE, KIND_CHOICE } OptionKind;
typedef struct OptionRow {
    const char *name, *argument; /* argument NULL: a switch */
    OptionKind kind;
    unsigned verbs; /* a bit each */
    size_t offset;  /* in Options */
    struct {
        int64_t low, high, otherwise;
        const char *const *words;
        uint32_t word_count;
        Offer offer;
    } detail;
    const char *summary;
} OptionRow;
extern const OptionRow option_row[];
extern const uint32_t option_row_count;

typedef struct ExitRow {
    int number;
    const char *brief, *meaning;
} ExitRow;
extern const ExitRow exit_row[];
extern const uint32_t exit_row_count;

extern const char *const shell_word[SHELL_COUNT];

/* "ast, graph or plan" */
const char *command_join(Arena *arena, const char *const *words, uint32_t count);
/* What an option's line in help says: its words, then its summary. */
const char *command_summary(Arena *arena, const OptionRow *row);
/* The version of rematc, "0.2.0". */
const char *command_version(void);

#endif
