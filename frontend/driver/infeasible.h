/* The answer where no plan fits: E0701 with what the smallest plan is made of and what would fit. */
#ifndef REMAT_INFEASIBLE_H
#define REMAT_INFEASIBLE_H

#include "frontend/driver/planned.h"

/* Prints it for `c->policy` under `c->budget`, and as JSON to stdout where --json was given. Returns
 * EXIT_INFEASIBLE. */
int infeasible_answer(Compilation *c);
/* Plans the lowered file: -1, or that answer's exit code where nothing fits. A budget that the device does
 * not have is warned of. */
int infeasible_or_plan(Compilation *c, Planned *out);

#endif
