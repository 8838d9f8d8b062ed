/* Exact liveness of a plan: which buffers there are, and when each is live. */
#ifndef REMAT_LAYOUT_LIVE_H
#define REMAT_LAYOUT_LIVE_H

#include "planner/plan.h"

/* Replays `plan`, decides running in place, and yields buffers without offsets. Dies on an impossible plan
 * (plan_check finds those with a message first). */
Layout *live_analyse(const Graph *g, const Cost *cost, const Plan *plan, Arena *arena);
/* Live bytes by role at each step: table[step * (ROLE_COUNT + 1) + role]; the last column is workspace. */
int64_t *live_by_role(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena);
/* The row of that table with the most bytes, and what its columns are called for people. */
enum { LIVE_COLUMNS = ROLE_COUNT + 1 };
const int64_t *live_at_peak(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena);
extern const char *const live_label[LIVE_COLUMNS];

#endif
