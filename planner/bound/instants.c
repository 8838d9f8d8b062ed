/* The closure bound over chains of instants. In: a problem and a budget; out: a bound no smaller than that of
 * the chain's first instant alone.
 *
 *     forward            p1        backward  p2          p3         update
 *     ------------------- | ------------------ | --------- | ---------
 *                           W(p1, p2) before p2  W(p2, p3)   W(p3, end)
 *
 * W(a, b) is the closure bound at a with only the first executions in (a, b] demanding: whatever the schedule
 * holds at a, it then runs that much again between the first execution of a and that of b. These stretches
 * are disjoint, and each is bounded by what fits at its own start, so their sum is a valid bound for every
 * chain; the best one is a longest path. Where memory is too small for the checkpoints themselves, it counts
 * what must be recomputed over and over. */
#include "planner/bound/instants.h"
#include "planner/effort.h"

#include <math.h>

/* In each of a number of equal stretches after `first`: the operation that needs most bytes by itself. */
static uint32_t pick_instants(const Problem *p, uint32_t first, uint32_t *instant) {
    uint32_t count = 0, end = p->update_begin;
    uint32_t windows = p->ops > EFFORT_INSTANTS_MANY_OPS ? EFFORT_INSTANTS_MOST / 2
                                                         : EFFORT_INSTANTS_MOST; /* their pairs count */
    instant[count++] = first;
    for (uint32_t w = 0; w < windows && first + 1 < end; w++) {
        uint32_t low = first + 1 + (end - first - 1) * w / windows;
        uint32_t high = first + 1 + (end - first - 1) * (w + 1) / windows, best = NONE;
        int64_t most = -1;
        for (uint32_t op = low; op < high; op++) {
            int64_t bytes = problem_operation_bytes(p, op);
            if (bytes > most) most = bytes, best = op;
        }
        if (best != NONE) instant[count++] = best;
    }
    return count;
}

static double between(const Problem *p, uint32_t from, uint32_t until, int64_t budget_bytes, double seconds,
                      Arena *scratch) {
    arena_reset(scratch);
    Closure *closure = closure_between(p, from, until, scratch);
    return closure_bound_over(closure, budget_bytes - closure_fixed_bytes(closure), EFFORT_INSTANTS_CUTS,
                              seconds);
}

double instants_seconds(const Problem *p, const int64_t *live, int64_t budget_bytes) {
    uint32_t first, instant[EFFORT_INSTANTS_MOST + 1];
    if (!closure_instants(p, live, 0, &first, 1)) return 0;
    uint32_t count = pick_instants(p, first, instant);
    double best[EFFORT_INSTANTS_MOST + 1];
    Arena *scratch = arena_new();
    for (uint32_t i = count; i-- > 0;) {
        double whole = best[i] = between(p, instant[i], p->ops - 1, budget_bytes, 0, scratch);
        for (uint32_t k = i + 1; k < count && best[i] < HUGE_VAL; k++) {
            if (best[k] == HUGE_VAL) best[i] = HUGE_VAL;
            if (whole + best[k] <= best[i]) continue;
            double sum =
                best[k] + between(p, instant[i], instant[k], budget_bytes, best[i] - best[k], scratch);
            if (sum > best[i]) best[i] = sum;
        }
    }
    double highest = 0;
    for (uint32_t i = 0; i < count; i++)
        if (best[i] > highest) highest = best[i];
    arena_free(scratch);
    return highest;
}
