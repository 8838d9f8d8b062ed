/* The verb `solve`: rematerialisation of a DAG from outside. */
#ifndef REMAT_SOLVE_H
#define REMAT_SOLVE_H

#include "frontend/driver/options.h"

/* Reads options->file, finds a schedule for options->budget, prints it. The exit code. */
int solve_outside(const Options *options, Arena *arena);

#endif
