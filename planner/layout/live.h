/* Exact liveness of a plan: which buffers there are, and when each is live. */
#ifndef REMAT_LAYOUT_LIVE_H
#define REMAT_LAYOUT_LIVE_H

#include "planner/plan.h"

/* Replays `plan`, decides running in place, and yields buffers without offsets. Dies on an impossible plan
 * (plan_check finds those with a message first). */
Layout *live_analyse(const Graph *g, const Cost *cost, const Plan *plan, Arena *arena);
/* What live bytes are for: the roles of values, but for frozen weights and what is dequantised of them, which
 * have columns of their own. */
typedef enum LiveColumn {
    LIVE_WORKSPACE = ROLE_COUNT,
    LIVE_FROZEN,
    LIVE_DEQUANTIZED,
    LIVE_COLUMNS
} LiveColumn;
LiveColumn live_column(const Graph *g, ValueId v);
/* Live bytes at each step: table[step * LIVE_COLUMNS + column]. */
int64_t *live_by_column(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena);
/* The row of that table with the most bytes, and what its columns are called for people. */
const int64_t *live_at_peak(const Graph *g, const Plan *plan, const Layout *layout, Arena *arena);
extern const char *const live_label[LIVE_COLUMNS];

#endif
