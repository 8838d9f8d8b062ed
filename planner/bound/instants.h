/* A bound from several instants: what must run again between one and the next adds up. */
#ifndef REMAT_BOUND_INSTANTS_H
#define REMAT_BOUND_INSTANTS_H

#include "planner/bound/closure.h"

/* Seconds of recomputation no schedule under the budget can avoid, over chains of instants from the highest
 * of keep-all's live bytes (by operation) to the update. INFINITY: no schedule fits. */
double instants_seconds(const Problem *p, const int64_t *live, int64_t budget_bytes);

#endif
