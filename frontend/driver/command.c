/* See command.h: the rows of verbs.def, options.def and exit_codes.def. */
#include "frontend/driver/command.h"

#include "codegen/picture/dot.h"
#include "frontend/driver/stages.h"

#define VERB(id, name, argument, traits, completes, summary, description)                                    \
    [VERB_##id] = {#name, argument, traits, OFFER_##completes, summary, description},
const VerbRow verb_row[VERB_COUNT] = {
#include "frontend/verbs/verbs.def"
};
#undef VERB

const char *const shell_word[SHELL_COUNT] = {
#define WORD(id, word) [SHELL_##id] = word,
    SHELL_WORDS(WORD)
#undef WORD
};
static const char *const level_word[] = {"operations", "blocks"};
static const char *const maximize_word[] = {"tokens_per_second", "T"};
static const char *const target_word[] = {"host", "cuda"};
static const char *const diagnostics_word[] = {"text", "json"};

/* ---- options ---- */

_Static_assert(VERB_COUNT < 32, "a bit a verb");
#define ONLY(verb) (1u << VERB_##verb)
/* The verbs of a trait: every row of verbs.def that has it adds its bit. */
#define VERB(id, name, argument, traits, completes, summary, description)                                    \
    +((traits)&TRAIT ? 1u << VERB_##id : 0u)
enum VerbSet {
#define TRAIT READS_SPEC
    SET_READS_SPEC =
#include "frontend/verbs/verbs.def"
#undef TRAIT
#define TRAIT PLANS
        ,
    SET_PLANS =
#include "frontend/verbs/verbs.def"
#undef TRAIT
#define TRAIT ANSWERS_JSON
        ,
    SET_ANSWERS_JSON =
#include "frontend/verbs/verbs.def"
#undef TRAIT
#define TRAIT WRITES_FOLDER
        , SET_WRITES_FOLDER =
#include "frontend/verbs/verbs.def"
#undef TRAIT
};
#undef VERB
#define VERBS_WITH(trait) ((unsigned)SET_##trait)

/* A second row of a field has the field's kind. */
#define OPTION(kind, field, name, argument, verbs, detail, summary)
#define OPTION_ALSO(kind, field, name, argument, verbs, detail, summary)                                     \
    _Static_assert(_Generic(((const Options *)NULL)->field, FIELD_##kind : 1, default : 0),                  \
                   #field " is no " #kind);
#include "frontend/driver/options.def"
#undef OPTION
#undef OPTION_ALSO

#define NO_VALUE                                                                                             \
    { .offer = OFFER_NOTHING }
#define OFFERS(what)                                                                                         \
    { .offer = OFFER_##what }
#define RANGE(least, most, absent)                                                                           \
    { .low = least, .high = most, .otherwise = absent }
#define WORDS(list)                                                                                          \
    { .words = list, .word_count = COUNT_OF(list), .offer = OFFER_WORDS }
#define OPTION(kind, field, name, argument, verbs, detail, summary)                                          \
    {name, argument, KIND_##kind, verbs, offsetof(Options, field), detail, summary},
#define OPTION_ALSO OPTION
const OptionRow option_row[] = {
#include "frontend/driver/options.def"
};
#undef OPTION
#undef OPTION_ALSO
const uint32_t option_row_count = COUNT_OF(option_row);

#define EXIT(id, number, brief, meaning) {number, brief, meaning},
const ExitRow exit_row[] = {
#include "frontend/driver/exit_codes.def"
};
#undef EXIT
const uint32_t exit_row_count = COUNT_OF(exit_row);

/* ---- texts ---- */

const char *command_join(Arena *arena, const char *const *words, uint32_t count) {
    Text out = {.arena = arena};
    for (uint32_t i = 0; i < count; i++)
        text_add(&out, "%s%s", !i ? "" : i + 1 < count ? ", " : " or ", words[i]);
    return out.at;
}

const char *command_summary(Arena *arena, const OptionRow *row) {
    if (row->kind != KIND_CHOICE) return row->summary;
    return arena_printf(arena, "%s%s", command_join(arena, row->detail.words, row->detail.word_count),
                        row->summary);
}

const char *command_version(void) {
    return REMAT_VERSION;
}
