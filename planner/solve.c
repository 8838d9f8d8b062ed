/* A schedule within a budget, and how far from the best it can be. In: a problem and a budget; out: runs, a
 * lower bound. Steps, until the two meet: everything kept; every schedule there is, for a few operations; the
 * closure bound at the instants that do not fit, and its sets replayed lazily; local search. */
#include "bound.h"
#include "outside.h"
#include "prove.h"
#include "refine.h"

#include <math.h>
#include <string.h>
#include <time.h>

typedef struct Solver {
    const Problem *p;
    const SolveRequest *request;
    Arena *arena, *scratch;
    Refiner *refiner;
    Schedule best;
    double bound; /* seconds of reruns */
    double total; /* seconds of all first executions */
    double deadline;
    VEC(uint32_t) cells;
    bool *there; /* by storage */
} Solver;

static double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool too_late(void *context) {
    const Solver *s = context;
    return s->deadline > 0 && clock_seconds() > s->deadline;
}

static bool is_proved(const Solver *s) {
    return s->best.found && s->best.seconds <= s->bound + 1e-9 * s->total;
}

/* ---- sets of closures, replayed ---- */

/* Runs again, before `time`, what `op` needs and is not there. */
static void make_operands(Solver *s, uint32_t op, uint32_t time) {
    const Problem *p = s->p;
    for (EACH(i, p->reads, op)) {
        uint32_t u = p->reads.list[i], maker = p->maker[u];
        if (s->there[u] || !p->rerun[maker]) continue;
        for (EACH(k, p->makes, maker)) s->there[p->makes.list[k]] = true;
        *vec_add(s->scratch, &s->cells) = grid_cell(time, maker);
        make_operands(s, maker, time);
    }
}

/* What is not kept at the instant is made again just before its first need, and kept then. */
static bool try_trade(Solver *s, uint32_t instant, const bool *keep) {
    const Problem *p = s->p;
    s->cells.count = 0;
    for (uint32_t u = 0; u < p->storages; u++) s->there[u] = p->maker[u] >= instant || keep[u];
    for (EACH(i, p->reads, instant)) s->there[p->reads.list[i]] = true;
    for (uint32_t time = instant + 1; time < p->update_begin; time++) make_operands(s, time, time);
    return refiner_try(s->refiner, s->cells.at, s->cells.count, &s->best);
}

/* ---- bounds ---- */

typedef struct Instant {
    uint32_t time;
    double seconds;
} Instant;
typedef VEC(Instant) Instants;

/* The instants that do not fit when everything is kept, dearest first, at most `most`. */
static Instants bound_all(Solver *s, const int64_t *live, uint32_t most) {
    const Problem *p = s->p;
    int64_t budget = s->request->budget_bytes;
    Instants found = {0};
    uint32_t *over = NEW_ARRAY(s->scratch, uint32_t, p->ops + 1), count = 0;
    for (uint32_t time = 0; time < p->ops; time++)
        if (live[time] > budget) over[count++] = time;
    uint32_t stride = count / 400 + 1;
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < count; i += stride) {
        Closure *closure = closure_new(p, over[i], arena);
        double seconds = closure_bound(closure, budget - closure_fixed_bytes(closure), 12);
        if (seconds > s->bound) s->bound = seconds;
        uint32_t at = found.count;
        (void)vec_add(s->scratch, &found);
        for (; at > 0 && found.at[at - 1].seconds < seconds; at--) found.at[at] = found.at[at - 1];
        found.at[at] = (Instant){over[i], seconds};
        arena_reset(arena);
    }
    arena_free(arena);
    if (found.count > most) found.count = most;
    return found;
}

static void try_hulls(Solver *s, const Instants *instants) {
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < instants->count && !is_proved(s); i++) {
        Trades hull = closure_hull(closure_new(s->p, instants->at[i].time, arena), 24, arena);
        for (uint32_t k = 0; k < hull.count && !is_proved(s); k++)
            try_trade(s, instants->at[i].time, hull.at[k].keep);
        arena_reset(arena);
    }
    arena_free(arena);
}

/* ---- proofs ---- */

static double try_set(void *context, uint32_t instant, const bool *keep) {
    Solver *s = context;
    try_trade(s, instant, keep);
    return s->best.found ? s->best.seconds : HUGE_VAL;
}

static void prove(Solver *s, const Instants *instants, uint32_t cuts) {
    Proof proof = {.unit_seconds = prove_unit(s->p), .found = try_set, .context = s};
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < instants->count && !is_proved(s) && !too_late(s); i++) {
        proof.upper_seconds = s->best.found ? s->best.seconds : HUGE_VAL;
        proof.cuts = cuts;
        double seconds = prove_instant(s->p, instants->at[i].time, s->request->budget_bytes, &proof, arena);
        if (seconds > s->bound) s->bound = seconds;
        arena_reset(arena);
    }
    arena_free(arena);
}

static int64_t *keep_all(const Problem *p, Solution *solution, Arena *arena) {
    Grid *grid = grid_new(p, arena);
    int64_t *live = NEW_ARRAY(arena, int64_t, p->ops + 1);
    for (uint32_t time = 0; time < p->ops; time++) {
        live[time] = grid_highest(grid, grid_cell(time, time), grid_cell(time, time) + 1);
        solution->keep_all_seconds += p->seconds[time];
    }
    solution->keep_all_bytes = grid_peak(grid, NULL);
    return live;
}

static void write_runs(const Solver *s, Solution *solution) {
    uint32_t next = 0;
    solution->seconds = 0;
    for (uint32_t time = 0; time < s->p->ops; time++) {
        for (; next < s->best.cell.count && s->best.cell.at[next] < grid_cell(time, time); next++)
            *vec_add(s->arena, &solution->run) = s->best.cell.at[next] - grid_cell(time, 0);
        *vec_add(s->arena, &solution->run) = time;
    }
    for (uint32_t i = 0; i < solution->run.count; i++)
        solution->seconds += s->p->seconds[solution->run.at[i]];
    solution->peak_bytes = s->best.peak_bytes;
}

int64_t outside_keep_all(const Problem *p) {
    Arena *scratch = arena_new();
    int64_t bytes = grid_peak(grid_new(p, scratch), NULL);
    arena_free(scratch);
    return bytes;
}

Solution solve(const SolveRequest *request, Arena *arena) {
    const Problem *p = request->problem;
    Solution solution = {0};
    Solver s = {.p = p, .request = request, .arena = arena, .scratch = arena_new()};
    if (request->time_seconds > 0) s.deadline = clock_seconds() + request->time_seconds;
    int64_t *live = keep_all(p, &solution, s.scratch);
    s.total = solution.keep_all_seconds;
    s.there = NEW_ARRAY(s.scratch, bool, p->storages + 1);
    s.refiner = refiner_new(p, 1, s.scratch);
    refiner_budget(s.refiner, request->budget_bytes);
    solution.feasible = refiner_try(s.refiner, NULL, 0, &s.best);
    if (!solution.feasible || !is_proved(&s)) {
        Instants instants = bound_all(&s, live, 6);
        try_hulls(&s, &instants);
        solution.feasible = s.best.found;
        if (!s.best.found) {
            Schedule least = {.found = true, .peak_bytes = solution.keep_all_bytes};
            refiner_shrink(s.refiner, &least, request->budget_bytes, 2000000, too_late, &s);
            solution.feasible = least.peak_bytes <= request->budget_bytes;
            s.best = least;
        }
        if (solution.feasible && !is_proved(&s))
            refiner_improve(s.refiner, &s.best, s.bound + 1e-9 * s.total, 300000, too_late, &s);
        for (uint32_t cuts = 500; cuts <= 5000 && !is_proved(&s); cuts *= 10) prove(&s, &instants, cuts);
        if (solution.feasible && !is_proved(&s))
            refiner_improve(s.refiner, &s.best, s.bound + 1e-9 * s.total,
                            request->changes ? request->changes : 20000000, too_late, &s);
    }
    write_runs(&s, &solution);
    solution.lower_bound_seconds = s.total + s.bound;
    solution.proved = solution.feasible && is_proved(&s);
    arena_free(s.scratch);
    return solution;
}
