/* Retentions of a chain of blocks by dynamic programming over run length and memory. */
#ifndef REMAT_CHAIN_H
#define REMAT_CHAIN_H

#include "blocks.h"

typedef VEC(Keep *) Retentions;

/* The best the recursion finds for memories in even steps up to `most_bytes` of transient storages, and again
 * in finer steps where memory is scarce. They depend on the problem alone; each is to be measured by replay.
 * None for a problem that is no chain of at least two blocks. */
Retentions chain_retentions(const Problem *p, uint32_t boundary, int64_t most_bytes, Arena *arena);

#endif
