/* The ways to run a block (struct Choice), kept for equal blocks of other graphs: of one model in other
 * tiles, or planned once more. */
#ifndef REMAT_CHAIN_KINDS_H
#define REMAT_CHAIN_KINDS_H

#include "planner/chain/choices.h"
#include "planner/problem/memo.h"

/* Under which a kind's choices are found again: all that they depend on, as bytes. */
Text kind_key(const Kind *kind, bool explored, Arena *arena);
/* Fills in the choices where they are known. */
bool kind_recall(Memo *memo, const Text *key, Kind *kind);
void kind_remember(Memo *memo, const Text *key, const Kind *kind);

#endif
