/* What `--device` and `devices` take: the name of a built-in device, or a .device file. */
#ifndef REMAT_DEVICES_H
#define REMAT_DEVICES_H

#include "planner/cost/device.h"
#include "frontend/driver/options.h"

/* A built-in device or a .device file's, copied to `out`; "host" has the figures of this computer,
 * or of the built-in host that the environment names in REMAT_HOST. -1, or the exit code after a message; 0
 * where there is no such name, which is said by the caller. */
int devices_read(const Options *options, Arena *arena, const char *name, Device *out);

/* The names of the built-in devices. */
const char **devices_names(Arena *arena, uint32_t *count);

#endif
