/* The single-instant closure bound: what must be recomputed after one operation ran, given what may be
 * resident while it runs. Any schedule, with any number of recomputations, passes through that instant. */
#ifndef REMAT_BOUND_CLOSURE_H
#define REMAT_BOUND_CLOSURE_H

#include "planner/problem/problem.h"

/* A point of the trade: bytes resident besides the fixed ones, seconds of recomputation afterwards. */
typedef struct Trade {
    int64_t bytes;
    double seconds;
    bool *keep; /* by storage: resident; NULL where only the value was asked for */
} Trade;
typedef VEC(Trade) Trades;

typedef struct Closure Closure;
/* The problem at the instant when operation `instant` runs for the first time. */
Closure *closure_new(const Problem *p, uint32_t instant, Arena *arena);
/* The same, of what runs again before operation `until` has run for the first time. */
Closure *closure_between(const Problem *p, uint32_t instant, uint32_t until, Arena *arena);
/* Resident at the instant whatever the schedule: persistent storages, operands and workspace of the
 * operation, counted as if it ran in place wherever it may. */
int64_t closure_fixed_bytes(const Closure *closure);
/* No schedule whose resident bytes at the instant are at most `bytes` besides the fixed ones recomputes for
 * less. INFINITY: none exists. */
double closure_bound(Closure *closure, int64_t bytes, uint32_t cuts);
/* The same where more than `seconds` is of use: it stops once there is no more to find. */
double closure_bound_over(Closure *closure, int64_t bytes, uint32_t cuts, double seconds);
/* That where storages may be in host memory at the instant. */
double closure_bound_copies(Closure *closure, int64_t bytes, uint32_t cuts, double seconds);
/* Corners of the lower convex hull of (bytes, seconds), most bytes first; at most `cuts` minimum cuts. */
Trades closure_hull(Closure *closure, uint32_t cuts, Arena *arena);

/* For branching: whether `op` is in the network at all, and what it is made to do from now on. */
typedef enum Force { FORCE_FREE, FORCE_AGAIN, FORCE_NEVER } Force;
bool closure_may_run(const Closure *closure, uint32_t op);
void closure_force(Closure *closure, uint32_t op, Force force);
/* One cut at `price` seconds a byte: a bound for `bytes` under the forces in place, the cut's trade, and in
 * `again` the operations that run again. */
double closure_at(Closure *closure, double price, int64_t bytes, Trade *trade, bool *again, Arena *arena);

/* The operations with the highest live bytes when everything is kept, at most `count`, none closer to another
 * than `apart`; highest first. `live` is by operation. */
uint32_t closure_instants(const Problem *p, const int64_t *live, uint32_t apart, uint32_t *instant,
                          uint32_t count);
/* Seconds of recomputation no schedule under the budget can avoid: the largest bound over the instants. */
double closure_seconds(const Problem *p, const int64_t *live, int64_t budget_bytes);

#endif
