/* Retentions of a chain of blocks by dynamic programming over run length and memory. */
#ifndef REMAT_CHAIN_CHAIN_H
#define REMAT_CHAIN_CHAIN_H

#include "planner/chain/blocks.h"
#include "planner/problem/replay.h"

/* Calls `use` with the best the recursion finds for memories up to `most_bytes` of transient storages, in
 * steps of the time it foresees; the retention is the callee's until it returns. They depend on the problem
 * alone; each is to be measured by replay. None for a problem that is no chain of at least two blocks. */
void chain_retentions(const Problem *p, uint32_t boundary, int64_t most_bytes,
                      void (*use)(void *context, Keep *retain), void *context);

/* The seconds of recomputation it foresees with so many bytes of transient storages, for kinds with explored
 * choices. A search may find better from there. HUGE_VAL: the recursion finds nothing that fits; 0: the
 * problem is no chain. */
double chain_seconds(const Problem *p, uint32_t boundary, int64_t bytes);

#endif
