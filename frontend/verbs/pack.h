/* The verb `pack`: offsets for buffers from outside. */
#ifndef REMAT_PACK_VERB_H
#define REMAT_PACK_VERB_H

#include "frontend/driver/options.h"

/* The exit code; results are printed or written. */
int pack_outside(const Options *options, Arena *arena);

#endif
