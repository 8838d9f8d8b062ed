/* The verb `devices`: the cards that are known, or the whole account of one. */
#ifndef REMAT_DEVICES_H
#define REMAT_DEVICES_H

#include "../planner/device.h"
#include "options.h"

/* A table, or what one card's memory is spent on and how fast it is: `name` is a built-in one's or a .device
 * file's, NULL: all. The exit code; the result is printed. */
int devices_print(const Options *options, Arena *arena);

/* A built-in device or a .device file's, copied to `out`. -1, or the exit code after a message; 0 where there is
 * no such name, which is said by the caller. */
int devices_read(const Options *options, Arena *arena, const char *name, Device *out);

#endif
