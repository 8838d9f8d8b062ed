/* A text with a part of it replaced, for tests of what a reader says of a wrong line. */
#ifndef REMAT_TESTS_REPLACED_H
#define REMAT_TESTS_REPLACED_H

#include "ir/base.h"

#include <string.h>

/* The first `from` in `whole` is replaced; dies where there is none. */
static inline char *replaced(Arena *arena, const char *whole, const char *from, const char *to) {
    const char *at = strstr(whole, from);
    if (!at) die("'%s' is not in the text", from);
    return arena_printf(arena, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
}

#endif
