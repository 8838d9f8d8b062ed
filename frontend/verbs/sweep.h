/* The verb `sweep`: one plan after another over budgets and devices, or the longest context that fits. */
#ifndef REMAT_SWEEP_H
#define REMAT_SWEEP_H

#include "frontend/driver/compile.h"

int verb_sweep(Compilation *c);

#endif
