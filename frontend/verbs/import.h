/* `rematc import`, and published models where other verbs take a spec. */
#ifndef REMAT_VERB_IMPORT_H
#define REMAT_VERB_IMPORT_H

#include "frontend/driver/compile.h"

/* Where the verb's file is a folder or ends in ".json" (and whatever it is, for `import` itself): its
 * config.json as the text of a spec, after warnings. -1 to go on, with `text` NULL where it is no such file;
 * or the exit code to leave with after a message. */
int import_if_folder(const Options *options, Arena *arena, const char **text, size_t *length);

/* The verb: the spec with the command line's settings in it, checked as `check` does, on standard output or
 * in the file after -o. Returns the exit code. */
int import_write(Compilation *c);

#endif
