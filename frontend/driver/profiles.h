/* What `--profile` takes: times that were measured on the device (planner/cost/profile.h). */
#ifndef REMAT_PROFILES_H
#define REMAT_PROFILES_H

#include "frontend/driver/options.h"
#include "planner/cost/device.h"

/* Reads the profile that the command line names, if any, and hands the device those of its times that were
 * taken on it with the kernels of this rematc. -1, or the exit code after a message: where the file is
 * damaged, or none of its times is such a one. */
int profiles_read(const Options *options, Arena *arena, Device *device);

/* "NVIDIA_H100_80GB_HBM3" with blanks for what stands for them. */
const char *profile_text(const char *word, Arena *arena);

#endif
