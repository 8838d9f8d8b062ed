/* Results kept from one request to the next, under all that they depend on: of one model in other tiles, with
 * other settings, or planned once more. Threads may use one at a time: all find the same for a key, whichever
 * is first. */
#ifndef REMAT_PROBLEM_MEMO_H
#define REMAT_PROBLEM_MEMO_H

#include "ir/base.h"

typedef struct Memo Memo;
/* What is kept goes with the arena. */
Memo *memo_new(Arena *arena);

/* What was kept under a key, compared byte by byte; NULL: nothing. Keys of different kinds of results begin
 * with a number of their own. */
enum { MEMO_KIND = 1, MEMO_PACKING };
const void *memo_recall(Memo *memo, const Text *key);
/* Where what shall be kept under a key is to be made, for memo_remember, which follows at once: until then no
 * other thread gets at the memo. NULL: another has kept it meanwhile. */
Arena *memo_begin(Memo *memo, const Text *key);
void memo_remember(Memo *memo, const Text *key, const void *result);

#endif
