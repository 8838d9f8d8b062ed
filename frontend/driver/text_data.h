/* Data that is text (formats text, jsonl and chat): prepared once, into files of documents in the cache
 * folder, beside which nothing else is kept. A file's name ends in fingerprints of its text and of what made
 * tokens of it, so that another tokenizer, template, option or text is another file, and none is ever written
 * over. */
#ifndef REMAT_TEXT_DATA_H
#define REMAT_TEXT_DATA_H

#include "frontend/driver/compile.h"
#include "frontend/text/prepare.h"

typedef struct TextFile {
    const char *text, *path; /* what the spec names; what was made of it; NULL: there is none */
    uint64_t fingerprint;    /* of the text */
    bool made;               /* by this call: `prepared` is set */
    Prepared prepared;
} TextFile;

typedef struct TextData {
    uint64_t encoding; /* fingerprint of tokenizer, template and options */
    TextFile train, validate;
} TextData;

/* Requires a spec whose data is text (data_is_prepared), lowered. -1, or the exit code after a message. */
int text_data(const Compilation *c, TextData *out);
/* $REMAT_CACHE, else $XDG_CACHE_HOME/remat, else ~/.cache/remat; NULL: none of them is set. */
const char *text_data_folder(Arena *arena);

#endif
