/* config.json while it is read: an object of JSON that knows which of its keys were asked for, and the first
 * thing that is wrong with it, with its place. */
#ifndef REMAT_IMPORT_CONFIG_H
#define REMAT_IMPORT_CONFIG_H

#include "frontend/import/import.h"

#include <jansson.h>

typedef struct Config {
    Arena *arena;
    const char *text; /* all of the file */
    size_t length;
    json_t *object;
    const char *inside; /* the key of the outer object that this one stands under; NULL: this is the file */
    Map *asked;
    Import *out;
} Config;

/* The object under `key`, which is one. */
Config config_inner(const Config *outer, const char *key, json_t *object);

/* The value, or NULL where it is absent or null. Counts as asked for. */
json_t *config_value(Config *c, const char *key);

/* Each leaves `out` alone where the key is absent or null. False after an error: another kind of value, or
 * one out of range. */
bool config_count(Config *c, const char *key, int64_t low, int64_t high, int64_t *out);
bool config_number(Config *c, const char *key, double low, double high, double *out);
bool config_flag(Config *c, const char *key, bool *out);
bool config_word(Config *c, const char *key, const char **out);
/* The same for a value that has no default: absent is an error. */
bool config_needs(Config *c, const char *key, int64_t low, int64_t high, int64_t *out);
bool config_needs_number(Config *c, const char *key, double low, double high, double *out);

/* Errors about a key (NULL: about the file). The first one stands. Always false. */
bool config_wrong(Config *c, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A help line for the error. */
void config_help(Config *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void config_warn(Config *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "rope_scaling.factor": the key with what it stands in. */
const char *config_path(const Config *c, const char *key);
/* The value as it would stand in JSON, shortened. */
const char *config_shown(const Config *c, const json_t *value);

#endif
