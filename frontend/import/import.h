/* A published model's config.json as a spec that a person could have written: blocks, a repeat, the tensors'
 * own names, comments, and settings for a small fine-tuning run.
 *
 * In: the text of config.json. Out: canonical text that parses, or one error with its place in the JSON.
 * Nothing of the configuration is dropped in silence: a key is used, stands in keys.def, or is warned of by
 * name; what would train another model than the published one is refused by name with what is missing. */
#ifndef REMAT_IMPORT_H
#define REMAT_IMPORT_H

#include "ir/base.h"

enum { IMPORT_LARGEST_BYTES = 1 << 20 };

typedef struct Import {
    const char *text; /* the spec */
    size_t length;
    VEC(const char *) warning;
    const char *error, *help; /* error NULL: all is well; help NULL: none */
    uint32_t line, column;    /* of the error in the JSON, from 1; 0: of the whole */
} Import;

/* `name`: what the model is called, for its comment and (as far as letters go) behind `model`. `weights`: the
 * folder its tensors lie in, as the trainer is to open it; NULL: no `weights` line. False after an error. */
bool import_config(const char *json, size_t length, const char *name, const char *weights, Arena *arena,
                   Import *out);

#endif
