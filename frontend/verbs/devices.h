/* The verb `devices`: the cards that are known, or the whole account of one. */
#ifndef REMAT_DEVICES_H
#define REMAT_DEVICES_H

#include "planner/cost/device.h"
#include "frontend/driver/options.h"

/* A table, or where a name or a .device file is given what that card's memory is spent on and how fast it is.
 * The exit code; the result is printed. */
int devices_print(const Options *options, Arena *arena);

/* A built-in device or a .device file's, copied to `out`. -1, or the exit code after a message; 0 where there
 * is no such name, which is said by the caller. */
int devices_read(const Options *options, Arena *arena, const char *name, Device *out);

/* The names of the built-in devices. */
const char **devices_names(Arena *arena, uint32_t *count);

#endif
