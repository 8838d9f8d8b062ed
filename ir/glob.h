/* Patterns over dotted names: '*' is any number of characters, dots too, '?' one, {a,b} one of several, which
 * may hold braces in turn. A brace without its partner, and a comma outside braces, stand for themselves. A
 * pattern matches a name also where it matches a dotted prefix of it ("h.*.attn" matches "h.3.attn.qkv"). */
#ifndef REMAT_GLOB_H
#define REMAT_GLOB_H

#include "ir/base.h"

typedef struct Glob Glob;

Glob *glob_new(Arena *arena, const char *pattern);
/* In time of the pattern's length times the name's, whatever they hold. `glob` holds scratch: one thread
 * each. */
bool glob_matches(Glob *glob, const char *name);

#endif
