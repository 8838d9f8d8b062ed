/* Facts as the text of a spec. */
#ifndef REMAT_IMPORT_SPEC_H
#define REMAT_IMPORT_SPEC_H

#include "frontend/import/facts.h"

/* `name`: for the comment. `identifier`: behind `model`. `weights`: as in import.h. */
typedef struct SpecNames {
    const char *name, *identifier, *weights;
} SpecNames;
void spec_write(const Facts *facts, const SpecNames *names, Text *out);

#endif
