/* SHA-256 (FIPS 180-4), as content policies name a script by it. */
#ifndef REMAT_SHA256_H
#define REMAT_SHA256_H

#include "ir/base.h"

/* "sha256-" and the hash in base64. */
const char *sha256_source(const char *bytes, size_t count, Arena *arena);

#endif
