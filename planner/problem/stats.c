/* See stats.h. */
#include "planner/problem/stats.h"

#include <inttypes.h>
#include <time.h>

static const struct {
    int depth;
    const char *name, *results;
} row[STATS_COUNT] = {
#define PHASE(NAME, depth, name, results) {depth, name, results},
#include "planner/problem/phase.def"
#undef PHASE
};

static double seconds_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double stats_clock(void) {
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

void stats_add(Stats *to, const Stats *from) {
    for (int i = 0; i < STATS_COUNT; i++) {
        to->phase[i].seconds += from->phase[i].seconds;
        to->phase[i].calls += from->phase[i].calls;
        to->phase[i].results += from->phase[i].results;
    }
}

void stats_print(const Stats *stats, Text *out) {
    double whole = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    text_add(out, "%-34s %10s %7s %9s %10s\n", "phase", "seconds", "share", "calls", "results");
    for (int i = 0; i < STATS_COUNT; i++) {
        if (!stats->phase[i].calls) continue;
        text_add(out, "%*s%-*s %10.3f %6.1f%% %9" PRIu64 " %10" PRIu64 " %s\n", 2 * row[i].depth, "",
                 34 - 2 * row[i].depth, row[i].name, stats->phase[i].seconds,
                 whole > 0 ? 100 * stats->phase[i].seconds / whole : 0, stats->phase[i].calls,
                 stats->phase[i].results, row[i].results);
    }
    text_add(out, "%-34s %10.3f %6.1f%%\n", "in all", whole, 100.0);
}
