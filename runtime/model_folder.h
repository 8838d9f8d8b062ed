/* The folder that a model is written into: nothing of it is there before all of it is. */
#ifndef REMAT_MODEL_FOLDER_H
#define REMAT_MODEL_FOLDER_H

#include "internal.h"

/* In __metadata__ of every safetensors file written for other tools, so that a later run knows its own. */
#define MODEL_FOLDER_KEY "remat_model"

typedef struct ModelFolder {
    char *target, *aside;
} ModelFolder;

/* Exits 6 where the target is, lies in or holds the base folder, or holds what no run wrote. */
void model_folder_check(const char *target, const char *base);
/* Of a target that was checked. What ends the program before the commit removes what was begun. */
void model_folder_begin(ModelFolder *folder, const char *target);
char *model_folder_file(const ModelFolder *folder, const char *name);
void model_folder_put(const ModelFolder *folder, const char *name, const char *text, size_t bytes);
/* Configuration, tokenizer, licence: every file of the base that is no weights, config.json without its
 * quantization_config. Returns the bytes; with no folder, no fewer than they will be. */
int64_t model_folder_carry_over(const ModelFolder *folder, const char *base);
/* What was there before, an earlier run's, becomes TARGET.old. */
void model_folder_commit(ModelFolder *folder);
_Noreturn void model_folder_fail(const ModelFolder *folder, const char *what, const char *why);

/* The string under `key` of config.json in the base, from rt_allocate; NULL: not there. */
char *model_folder_config(const char *base, const char *key);

#endif
