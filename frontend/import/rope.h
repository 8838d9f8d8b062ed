/* How positions turn queries and keys. */
#ifndef REMAT_IMPORT_ROPE_H
#define REMAT_IMPORT_ROPE_H

#include "frontend/import/config.h"

typedef enum RopeScaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 } RopeScaling;
typedef struct Rope {
    double theta;
    RopeScaling scaling;
    double factor, low, high; /* low and high: llama3's */
    int64_t original;
} Rope;

/* `positions`: llama3's original length where it names none. False after an error. */
bool rope_read(Config *c, int64_t positions, Rope *out);

#endif
