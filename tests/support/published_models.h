/* The published models of tests/cases/import. */
#ifndef REMAT_TESTS_PUBLISHED_MODELS_H
#define REMAT_TESTS_PUBLISHED_MODELS_H

#include "frontend/import/import.h"

#include <jansson.h>

typedef struct PublishedModel {
    const char *name; /* of its folder */
    int64_t parameters;
} PublishedModel;
enum { PUBLISHED_MODELS = 17 };
extern const PublishedModel published_model[PUBLISHED_MODELS];

json_t *published_config_of(const char *name); /* its config.json */
/* Fails where the text of an import is not what the formatter would write. */
void published_is_canonical(const Import *made, Arena *arena);

#endif
