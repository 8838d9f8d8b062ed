/* `rematc help` and `rematc VERB --help`, from the tables of command.h. */
#ifndef REMAT_HELP_H
#define REMAT_HELP_H

#include "frontend/driver/options.h"

void help_add(Text *out);
void help_add_verb(Verb verb, Text *out);

#endif
