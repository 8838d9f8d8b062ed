/* A folder of this process for what a harness writes: in memory where the system has such a place. */
#ifndef REMAT_FUZZ_FOLDER_H
#define REMAT_FUZZ_FOLDER_H

#include <stddef.h>
#include <stdint.h>

const char *folder_path(void); /* made by the first call, removed when the process ends as it should */
/* DIR/NAME; overwritten by the eighth call after it. */
const char *folder_file(const char *name);
void folder_put(const char *name, const uint8_t *bytes, size_t count);
/* Two shards of a small model: 1.safetensors has "a" f32 [1], 2.safetensors "b" f32 [1, 2], each byte 'x'. */
void folder_put_shards(void);
void folder_clear(const char *but); /* removes all files but one (NULL: all) */

#endif
