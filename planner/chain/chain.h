/* Retentions of a chain of blocks by dynamic programming over run length and memory. */
#ifndef REMAT_CHAIN_CHAIN_H
#define REMAT_CHAIN_CHAIN_H

#include "planner/chain/blocks.h"
#include "planner/problem/replay.h"

/* Who is given the plans of a chain. */
typedef struct ChainTaker {
    void *context;
    /* A plan, the callee's until it returns, and its number: they are numbered as they are found. */
    void (*use)(void *context, Keep *retain, uint32_t number);
    /* Whether a plan that surely has a peak of so many bytes, persistent storages included, is of no use: it
     * is not written then, and those that surely keep the least come first. NULL: each is, in their order. */
    bool (*leaves_out)(void *context, int64_t bytes);
} ChainTaker;

/* Gives the best the recursion finds for memories up to `most_bytes` of transient storages, in steps of the
 * time it foresees. They depend on the problem alone; each is to be measured by replay. None for a problem
 * that is no chain of at least two blocks. */
void chain_retentions(const Problem *p, uint32_t boundary, int64_t most_bytes, const ChainTaker *taker);

/* The seconds of recomputation it foresees with so many bytes of transient storages, for kinds with explored
 * choices. A search may find better from there. HUGE_VAL: the recursion finds nothing that fits; 0: the
 * problem is no chain. */
double chain_seconds(const Problem *p, uint32_t boundary, int64_t bytes);

#endif
