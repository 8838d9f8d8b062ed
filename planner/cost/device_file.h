/* The text form of a device: a file of planner/cost/devices/, or one of the user. */
#ifndef REMAT_COST_DEVICE_FILE_H
#define REMAT_COST_DEVICE_FILE_H

#include "planner/cost/device.h"

/* Where a text is no device: its line, 1 and up, or 0 where something is missing, and what is wrong. */
typedef struct DeviceError {
    uint32_t line;
    const char *text, *key; /* key: the word that is not known, NULL otherwise */
} DeviceError;
extern const char *const device_key[];
extern const uint32_t device_key_count;
/* A device from the text of a .device file; names and sources are copied into `arena`. False with `error`. */
bool device_parse(const char *text, size_t length, Arena *arena, Device *out, DeviceError *error);

#endif
