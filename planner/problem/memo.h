/* Results kept from one request to the next, under all that they depend on: of one model in other tiles, with
 * other settings, or planned once more. */
#ifndef REMAT_PROBLEM_MEMO_H
#define REMAT_PROBLEM_MEMO_H

#include "ir/base.h"

typedef struct Memo Memo;
/* What is kept lies in the arena, which must live as long as requests use it. */
Memo *memo_new(Arena *arena);
Arena *memo_arena(const Memo *memo);

/* What was kept under a key, compared byte by byte; NULL: nothing. Keys of different kinds of results begin
 * with a number of their own. */
enum { MEMO_KIND = 1, MEMO_PACKING };
const void *memo_recall(const Memo *memo, const Text *key);
/* Keeps `result`, made in the memo's arena, under a key that nothing is kept under. */
void memo_remember(Memo *memo, const Text *key, const void *result);

#endif
