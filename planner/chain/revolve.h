/* A bound where memory is too small for the checkpoints of a chain of equal blocks: how often blocks run
 * again. */
#ifndef REMAT_CHAIN_REVOLVE_H
#define REMAT_CHAIN_REVOLVE_H

#include "planner/problem/problem.h"

/* Seconds of recomputation no schedule under the budget can avoid; `boundary` is the first operation after
 * the forward phase. 0 when the problem has no chain of equal blocks, or the reasoning does not apply to it.
 */
double revolve_seconds(const Problem *p, uint32_t boundary, int64_t budget_bytes);

#endif
