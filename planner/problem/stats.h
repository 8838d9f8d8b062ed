/* How long each phase of planning took, how often it ran and with how many results: what `--stats` prints. A
 * request carries one, or NULL, which costs nothing; answers never depend on it. */
#ifndef REMAT_PROBLEM_STATS_H
#define REMAT_PROBLEM_STATS_H

#include "ir/base.h"

typedef enum StatsPhase {
#define PHASE(NAME, depth, name, results) STATS_##NAME,
#include "planner/problem/phase.def"
#undef PHASE
    STATS_COUNT
} StatsPhase;

typedef struct Stats {
    struct {
        double seconds; /* of the processor */
        uint64_t calls, results;
    } phase[STATS_COUNT];
} Stats;

double stats_clock(void); /* seconds that the processor gave this thread */

static inline double stats_begin(const Stats *stats) {
    return stats ? stats_clock() : 0;
}
/* One call of the phase, which began at `began` as stats_begin said. */
static inline void stats_end(Stats *stats, StatsPhase phase, double began, uint64_t results) {
    if (!stats) return;
    stats->phase[phase].seconds += stats_clock() - began;
    stats->phase[phase].calls++;
    stats->phase[phase].results += results;
}

/* Adds what another thread counted. */
void stats_add(Stats *to, const Stats *from);
/* A table of the phases that ran, and of the whole program so far. */
void stats_print(const Stats *stats, Text *out);

#endif
