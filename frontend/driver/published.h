/* Published models where verbs take a spec. */
#ifndef REMAT_PUBLISHED_H
#define REMAT_PUBLISHED_H

#include "frontend/driver/options.h"

/* Where the verb's file is a folder or ends in ".json" (and whatever it is, for `import` itself): its
 * config.json as the text of a spec, after warnings. -1 to go on, with `text` NULL where it is no such file;
 * or the exit code to leave with after a message. */
int published_spec(const Options *options, Arena *arena, const char **text, size_t *length);
/* The configuration's path, and the folder that it lies in (NULL: it comes from standard input). */
const char *published_config(const char *file, Arena *arena, const char **folder);

#endif
