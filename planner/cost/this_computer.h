/* What computer this is, for the device `host`. */
#ifndef REMAT_COST_THIS_COMPUTER_H
#define REMAT_COST_THIS_COMPUTER_H

#include "planner/cost/device.h"

/* The built-in host that is like the cores here, and how many of them may be used. */
const Device *this_computer_kind(void);
int this_computer_cores(void);
/* The device "host": so many cores of a kind. */
Device this_computer(const Device *kind, int cores, Arena *arena);

#endif
