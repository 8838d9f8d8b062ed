/* See dag.h. In: nodes and links, or a schedule; out: a problem, or what is wrong with the schedule. */
#include "planner/dag/dag.h"

#include <math.h>
#include <string.h>

Problem *dag_problem(uint32_t nodes, const double *seconds, const int64_t *bytes, const DagLink *link,
                     uint32_t links, Arena *arena) {
    Problem *p = NEW(arena, Problem);
    p->ops = p->storages = p->update_begin = nodes;
    p->seconds = NEW_ARRAY(arena, double, nodes + 1);
    p->workspace_bytes = NEW_ARRAY(arena, int64_t, nodes + 1);
    p->rerun = NEW_ARRAY(arena, bool, nodes + 1);
    p->bytes = NEW_ARRAY(arena, int64_t, nodes + 1);
    p->maker = NEW_ARRAY(arena, uint32_t, nodes + 1);
    p->takeover.first = NEW_ARRAY(arena, uint32_t, nodes + 1);
    p->makes = (Lists){NEW_ARRAY(arena, uint32_t, nodes + 1), p->maker};
    for (uint32_t i = 0; i < nodes; i++) {
        p->seconds[i] = seconds[i];
        p->bytes[i] = bytes[i];
        p->rerun[i] = true;
        p->maker[i] = p->makes.first[i] = i;
    }
    p->makes.first[nodes] = nodes;

    Arena *scratch = arena_new();
    uint32_t *at = NEW_ARRAY(scratch, uint32_t, nodes + 2); /* of node i: at[i + 1] */
    for (uint32_t i = 0; i < links; i++) at[link[i].to + 1]++;
    for (uint32_t i = 0; i < nodes; i++) at[i + 1] += at[i];
    uint32_t *from = NEW_ARRAY(scratch, uint32_t, links + 1), *fill = NEW_ARRAY(scratch, uint32_t, nodes + 1);
    for (uint32_t i = 0; i < links; i++) from[at[link[i].to] + fill[link[i].to]++] = link[i].from;
    uint32_t *seen = NEW_ARRAY(scratch, uint32_t, nodes + 1); /* by node: the last reader + 1 */
    p->reads = (Lists){NEW_ARRAY(arena, uint32_t, nodes + 1), NEW_ARRAY(arena, uint32_t, links + 1)};
    uint32_t count = 0;
    for (uint32_t i = 0; i < nodes; i++) {
        p->reads.first[i] = count;
        for (uint32_t k = at[i]; k < at[i + 1]; k++) {
            if (seen[from[k]] == i + 1) continue;
            seen[from[k]] = i + 1;
            p->reads.list[count++] = from[k];
        }
    }
    p->reads.first[nodes] = count;
    arena_free(scratch);
    problem_index(p, arena);
    return p;
}

int64_t *dag_live(const Problem *p, Arena *arena) {
    int64_t *live = NEW_ARRAY(arena, int64_t, p->ops + 1);
    uint32_t *last = NEW_ARRAY(arena, uint32_t, p->storages + 1); /* by storage: its last touch */
    memcpy(last, p->maker, sizeof *last * p->storages);
    for (uint32_t op = 0; op < p->ops; op++)
        for (EACH(i, p->reads, op)) last[p->reads.list[i]] = op;
    for (uint32_t s = 0; s < p->storages; s++) {
        live[p->maker[s]] += p->bytes[s];
        live[last[s] + 1] -= p->bytes[s];
    }
    for (uint32_t op = 1; op < p->ops; op++) live[op] += live[op - 1];
    for (uint32_t op = 0; op < p->ops; op++) live[op] += p->persistent_bytes + p->workspace_bytes[op];
    return live;
}

int64_t dag_keep_all(const Problem *p) {
    Arena *scratch = arena_new();
    const int64_t *live = dag_live(p, scratch);
    int64_t peak = p->persistent_bytes;
    for (uint32_t op = 0; op < p->ops; op++)
        if (live[op] > peak) peak = live[op];
    arena_free(scratch);
    return peak;
}

const char *dag_check(const Problem *p, const uint32_t *run, uint32_t runs, int64_t peak_bytes,
                      double seconds, Arena *arena) {
    uint32_t *last_made = NEW_ARRAY(arena, uint32_t, p->ops + 1),
             *dies = NEW_ARRAY(arena, uint32_t, runs + 1);
    memset(last_made, 0xff, sizeof *last_made * p->ops);
    uint32_t next = 0;
    double sum = 0;
    for (uint32_t i = 0; i < runs; i++) {
        if (run[i] > next || run[i] >= p->ops)
            return arena_printf(arena, "run %u is node %u before node %u ran", i, run[i], next);
        next += run[i] == next;
        sum += p->seconds[run[i]];
        for (uint32_t k = p->reads.first[run[i]]; k < p->reads.first[run[i] + 1]; k++) {
            uint32_t read = p->reads.list[k];
            if (last_made[read] == NONE)
                return arena_printf(arena, "run %u reads node %u too early", i, read);
            dies[last_made[read]] = i;
        }
        last_made[run[i]] = dies[i] = i;
    }
    if (next != p->ops) return arena_printf(arena, "node %u never runs", next);
    if (fabs(sum - seconds) > 1e-9 * (sum + 1)) return arena_printf(arena, "takes %g, told %g", sum, seconds);
    /* an output is there from its run until the last one that reads that very output */
    int64_t *freed = NEW_ARRAY(arena, int64_t, runs + 1), live = p->persistent_bytes, peak = live;
    for (uint32_t i = 0; i < runs; i++) freed[dies[i]] += p->bytes[run[i]];
    for (uint32_t i = 0; i < runs; i++) {
        live += p->bytes[run[i]];
        if (live > peak) peak = live;
        live -= freed[i];
    }
    if (peak != peak_bytes)
        return arena_printf(arena, "peaks at %lld bytes, told %lld", (long long)peak, (long long)peak_bytes);
    return NULL;
}
