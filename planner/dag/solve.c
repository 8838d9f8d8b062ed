/* A schedule within a budget, and how far from the best it can be. In: a problem and a budget; out: runs, a
 * lower bound. Steps, until the two meet: everything kept; every schedule there is, for a few operations; the
 * closure bound at the instants that do not fit, and its sets replayed lazily; local search. */
#include "planner/dag/solve.h"

#include "planner/bound/closure.h"
#include "planner/dag/exhaustive.h"
#include "planner/dag/dag.h"
#include "planner/bound/exact_closure.h"
#include "planner/dag/beam.h"
#include "planner/dag/memetic.h"
#include "planner/dag/reach.h"
#include "planner/dag/local_search.h"
#include "planner/bound/instants.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

typedef struct Solver {
    const Problem *p;
    const SolveRequest *request;
    Arena *arena, *scratch;
    LocalSearch *local;
    Schedule best;
    double bound; /* seconds of reruns */
    double total; /* seconds of all first executions */
    Deadline deadline;
    uint64_t trade_changes; /* of the grid, that try_trade may still make */
    VEC(uint32_t) cells;
    bool *there; /* by storage */
} Solver;

static bool is_large(const Solver *s) {
    return s->p->ops > EFFORT_DAG_LARGE_OPS;
}

static bool too_late(const Solver *s) {
    return deadline_passed(&s->deadline);
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
        if (s->there[u] || !problem_may_rerun(p, maker, time)) continue;
        for (EACH(k, p->makes, maker)) s->there[p->makes.list[k]] = true;
        const Grid *grid = local_search_grid(s->local);
        *vec_add(s->scratch, &s->cells) = grid_cell(grid, grid_last_row(grid, time), maker);
        make_operands(s, maker, time);
    }
}

/* What is not kept at the instant is made again just before its first need, and kept then. */
static void try_trade(Solver *s, uint32_t instant, const bool *keep) {
    const Problem *p = s->p;
    if (!s->trade_changes) return;
    s->cells.count = 0;
    for (uint32_t u = 0; u < p->storages; u++) s->there[u] = p->maker[u] >= instant || keep[u];
    for (EACH(i, p->reads, instant)) s->there[p->reads.list[i]] = true;
    for (uint32_t time = instant + 1; time < p->update_begin; time++) make_operands(s, time, time);
    uint64_t before = local_search_changes(s->local);
    local_search_try(s->local, s->cells.at, s->cells.count, &s->best);
    uint64_t changes = local_search_changes(s->local) - before;
    s->trade_changes -= changes < s->trade_changes ? changes : s->trade_changes;
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
    bool large = is_large(s);
    uint32_t instants = large ? EFFORT_DAG_INSTANTS * EFFORT_DAG_LARGE_OPS / p->ops : EFFORT_DAG_INSTANTS,
             stride = count / instants + 1;
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < count && !(i && too_late(s)); i += stride) {
        Closure *closure = closure_new(p, over[i], arena);
        double seconds = closure_bound_over(closure, budget - closure_fixed_bytes(closure),
                                            EFFORT_DAG_INSTANT_CUTS, large ? 0.9 * s->bound : 0);
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
    for (uint32_t i = 0; EFFORT_DAG_HULL_CUTS && i < instants->count && !is_proved(s) && !too_late(s); i++) {
        Trades hull =
            closure_hull(closure_new(s->p, instants->at[i].time, arena), EFFORT_DAG_HULL_CUTS, arena);
        for (uint32_t k = 0; k < hull.count && !is_proved(s) && !too_late(s); k++)
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
    Proof proof = {
        .unit_seconds = exact_closure_unit(s->p), .found = try_set, .context = s, .deadline = &s->deadline};
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < instants->count && !is_proved(s) && !too_late(s); i++) {
        proof.upper_seconds = s->best.found ? s->best.seconds : HUGE_VAL;
        proof.cuts = cuts;
        double seconds =
            exact_closure_seconds(s->p, instants->at[i].time, s->request->budget_bytes, &proof, arena);
        if (seconds > s->bound) s->bound = seconds;
        arena_reset(arena);
    }
    arena_free(arena);
}

/* ---- rows for a free order ---- */

/* Gives each ascending part of the runs a row of the grid, and starts from them. */
static void lay_runs(Solver *s, const BeamRuns *runs) {
    const Problem *p = s->p;
    uint32_t *passes = NEW_ARRAY(s->scratch, uint32_t, p->ops + 1), time = 0, row = 0;
    s->cells.count = 0;
    VEC(uint32_t) row_of = {0};
    for (uint32_t i = 0; i < runs->run.count; i++) {
        uint32_t op = runs->run.at[i];
        if (!passes[time])
            passes[time]++, row += i > 0;
        else if (op <= runs->run.at[i - 1])
            passes[time]++, row++;
        *vec_add(s->scratch, &row_of) = row;
        time += op == time;
    }
    LocalSearch *one_row = s->local;
    s->local = local_search_new(p, passes, &s->deadline, s->scratch);
    local_search_limit(s->local, s->request->budget_bytes);
    time = 0;
    for (uint32_t i = 0; i < runs->run.count; i++) {
        uint32_t op = runs->run.at[i];
        if (op < time)
            *vec_add(s->scratch, &s->cells) = grid_cell(local_search_grid(s->local), row_of.at[i], op);
        time += op == time;
    }
    if (!local_search_try(s->local, s->cells.at, s->cells.count, &s->best)) s->local = one_row;
}

/* Whether the operands of every operation can be made at all; asked of those that need half the budget. */
static bool reaches_all(Solver *s) {
    const Problem *p = s->p;
    int64_t room = s->request->budget_bytes - p->persistent_bytes;
    for (uint32_t op = 0; op < p->ops && !too_late(s); op++) {
        int64_t bytes = 0;
        for (EACH(i, p->reads, op)) bytes += p->bytes[p->reads.list[i]];
        if (bytes > room / 2 && !reach_operands(p, op, s->request->budget_bytes, EFFORT_DAG_REACH_SETS))
            return false;
    }
    return true;
}

/* Where the grid of one row a time finds nothing: runs in a free order. */
static void open_rows(Solver *s) {
    static const BeamRequest tries[] = {
        {.price = 4, .bytes_weight = 3, .width = 20, .enough = 100, .followed = 8000},
        {.price = 4, .bytes_weight = 3, .width = 50, .enough = 400, .followed = 8000},
        {.price = 4, .bytes_weight = 1, .width = 100, .enough = 1000, .followed = 8000},
        {.price = 4, .bytes_weight = 0.01, .width = 200, .enough = 4000, .followed = 8000},
    };
    const Problem *p = s->p;
    double bytes = 1;
    for (uint32_t u = 0; u < p->storages; u++) bytes += (double)p->bytes[u];
    size_t most = p->ops <= 500 ? EFFORT_DAG_BEAMS : p->ops <= 1000; /* beyond, they take minutes */
    if (most > EFFORT_DAG_BEAMS) most = EFFORT_DAG_BEAMS;
    for (size_t i = 0; i < most && !s->best.found && !too_late(s); i++) {
        BeamRequest request = tries[i];
        request.p = p;
        request.deadline = &s->deadline;
        request.budget_bytes = s->request->budget_bytes;
        request.price *= s->total / bytes;
        BeamRuns runs = beam_runs(&request, s->scratch);
        if (runs.found) lay_runs(s, &runs);
    }
}

/* ---- the answer ---- */

static void add_runs(const Solver *s, const Schedule *schedule, Solution *solution) {
    const Grid *grid = local_search_grid(s->local);
    uint32_t next = 0;
    for (uint32_t time = 0; time < s->p->ops; time++) {
        for (; next < schedule->cell.count && schedule->cell.at[next] < grid_first(grid, time); next++)
            *vec_add(s->arena, &solution->run) = grid_op(grid, schedule->cell.at[next]);
        *vec_add(s->arena, &solution->run) = time;
    }
}

/* Seconds and peak of the runs: a storage lives from its making to its last read before it is made anew. */
static void measure(const Solver *s, Solution *solution) {
    const Problem *p = s->p;
    uint32_t runs = solution->run.count;
    bool *read_later = NEW_ARRAY(s->scratch, bool, p->storages + 1);
    int64_t *change = NEW_ARRAY(s->scratch, int64_t, runs + 1); /* of the live bytes after each run */
    for (uint32_t i = runs; i-- > 0;) {
        uint32_t op = solution->run.at[i];
        for (EACH(k, p->makes, op)) {
            uint32_t u = p->makes.list[k];
            if (!read_later[u]) change[i] -= p->bytes[u];
            read_later[u] = false;
        }
        for (EACH(k, p->reads, op)) {
            uint32_t u = p->reads.list[k];
            if (!read_later[u]) change[i] -= p->bytes[u];
            read_later[u] = true;
        }
    }
    int64_t live = p->persistent_bytes;
    solution->peak_bytes = live;
    solution->seconds = 0;
    for (uint32_t i = 0; i < runs; i++) {
        uint32_t op = solution->run.at[i];
        for (EACH(k, p->makes, op)) live += p->bytes[p->makes.list[k]];
        if (live + p->workspace_bytes[op] > solution->peak_bytes)
            solution->peak_bytes = live + p->workspace_bytes[op];
        live += change[i];
        solution->seconds += p->seconds[op];
    }
}

/* Every schedule there is, where they are few. True when that settled it. */
static bool search_all(Solver *s, Solution *solution) {
    const Problem *p = s->p;
    uint32_t most =
        s->request->exhaustive_ops < EXHAUSTIVE_MOST_OPS ? s->request->exhaustive_ops : EXHAUSTIVE_MOST_OPS;
    if (p->ops > most || p->storages > EXHAUSTIVE_MOST_OPS || s->bound == HUGE_VAL) return false;
    double upper = s->best.found ? s->best.seconds * (1 - 1e-12) : HUGE_VAL;
    ExhaustiveRuns exact = exhaustive_runs(p, s->request->budget_bytes, upper, s->arena);
    if (exact.exists) {
        solution->run.at = exact.run.at;
        solution->run.count = exact.run.count;
        solution->run.capacity = exact.run.capacity;
        s->bound = exact.seconds;
    } else {
        s->bound = s->best.found ? s->best.seconds : HUGE_VAL;
    }
    return exact.exists;
}

/* Changes of the grid that take a few seconds, or more where more are allowed; few where every schedule is
 * looked at anyway. Over a large problem each takes about as long, but for its operands. */
static uint64_t default_changes(const SolveRequest *request) {
    const Problem *p = request->problem;
    double ops = p->ops, touched = ops + p->reads.first[p->ops];
    if (ops <= request->exhaustive_ops) return 2000;
    double changes = fmin(EFFORT_DAG_CHANGES * 1e6 / pow(ops + 1, 2.2), EFFORT_DAG_CHANGES_MOST * ops) + 1000;
    if (ops > EFFORT_DAG_LARGE_OPS) changes = EFFORT_DAG_CHANGES_LARGE * 1e6 * ops / fmax(touched, 4 * ops);
    return (uint64_t)(changes * fmax(1, request->time_seconds / EFFORT_DAG_CHANGES_SECONDS));
}

/* Finds any schedule that fits. `least`: the smallest found, where none does. The beam over a large problem
 * is dear, and seldom finds what shrinking does not. */
static void find_any(Solver *s, uint64_t changes, Schedule *least) {
    if (EFFORT_DAG_REACH_SETS && s->bound < HUGE_VAL && !too_late(s) && !reaches_all(s)) s->bound = HUGE_VAL;
    bool hopeless = s->bound == HUGE_VAL, large = is_large(s);
    if (!hopeless && !large) open_rows(s);
    uint64_t tries = hopeless ? changes / 32 : large ? changes * 8 : changes / 2;
    if (!s->best.found && local_search_shrink(s->local, least, s->request->budget_bytes, tries))
        s->best = *least;
    if (!hopeless && large) open_rows(s);
}

/* How many minimum cuts a proof may take: fewer where each is dear. */
static uint32_t most_cuts(const Solver *s) {
    double part = is_large(s) ? (double)EFFORT_DAG_LARGE_OPS / s->p->ops : 1;
    return (uint32_t)(EFFORT_DAG_PROOF_CUTS * part * part);
}

/* For --stats: a phase after another, and whether the best schedule or the bound is better since. */
typedef struct Lap {
    double began, seconds, bound;
    bool found;
} Lap;

static Lap lap_begin(const Solver *s) {
    return (Lap){stats_begin(s->p->stats), s->best.seconds, s->bound, s->best.found};
}

static void lap_end(const Solver *s, Lap *lap, StatsPhase phase) {
    bool cheaper = s->best.found && (!lap->found || s->best.seconds < lap->seconds);
    stats_end(s->p->stats, phase, lap->began, cheaper || s->bound > lap->bound);
    *lap = lap_begin(s);
}

static bool exhaust(Solver *s, Solution *solution) {
    double began = stats_begin(s->p->stats);
    bool settled = search_all(s, solution);
    if (s->p->ops <= s->request->exhaustive_ops) stats_end(s->p->stats, STATS_SOLVE_ALL, began, settled);
    return settled;
}

/* Finds a schedule that fits, if it can, then the best it can. `least`: the smallest found, where none fits.
 */
static void search(Solver *s, int64_t keep_all_bytes, Schedule *least) {
    uint64_t changes = s->request->changes ? s->request->changes : default_changes(s->request);
    const int64_t *live = dag_live(s->p, s->scratch);
    s->trade_changes = is_large(s) ? changes : UINT64_MAX;
    double nothing = 1e-9 * s->total;
    /* a third of the time for bounds, which hold wherever they stop, and their sets */
    Deadline whole = s->deadline;
    s->deadline = deadline_after(s->request->time_seconds / 3);
    Lap lap = lap_begin(s);
    Instants instants = bound_all(s, live, EFFORT_DAG_HULLS);
    lap_end(s, &lap, STATS_SOLVE_BOUND);
    try_hulls(s, &instants);
    lap_end(s, &lap, STATS_SOLVE_HULL);
    if (EFFORT_DAG_INSTANTS_SUM && !is_proved(s) && !too_late(s)) {
        double seconds = instants_seconds(s->p, live, s->request->budget_bytes);
        if (seconds > s->bound) s->bound = seconds;
        lap_end(s, &lap, STATS_SOLVE_SUM);
    }
    s->deadline = whole;
    *least = (Schedule){.found = true, .peak_bytes = keep_all_bytes};
    lap = lap_begin(s);
    if (!s->best.found) {
        find_any(s, changes, least);
        lap_end(s, &lap, STATS_SOLVE_ANY);
    }
    if (s->best.found && !is_proved(s)) {
        local_search_improve(s->local, &s->best, s->bound + nothing, changes / 20);
        lap_end(s, &lap, STATS_SOLVE_LOCAL);
    }
    for (uint32_t most = most_cuts(s), cuts = most / 10; cuts && cuts <= most && !is_proved(s); cuts *= 10) {
        prove(s, &instants, cuts);
        lap_end(s, &lap, STATS_SOLVE_PROOF);
    }
    if (!s->best.found || is_proved(s)) return;
    if (EFFORT_MEMETIC)
        memetic_improve(s->p, s->local, &s->best, s->bound + nothing, changes, s->scratch);
    else
        local_search_improve(s->local, &s->best, s->bound + nothing, changes);
    lap_end(s, &lap, STATS_SOLVE_MEMETIC);
}

Solution solve_dag(const SolveRequest *request, Arena *arena) {
    const Problem *p = request->problem;
    Solution solution = {0};
    Schedule least = {0};
    double began = stats_begin(p->stats);
    Solver s = {.p = p, .request = request, .arena = arena, .scratch = arena_new()};
    s.deadline = deadline_after(request->time_seconds);
    for (uint32_t op = 0; op < p->ops; op++) s.total += p->seconds[op];
    solution.keep_all_seconds = s.total;
    solution.keep_all_bytes = dag_keep_all(p);
    s.there = NEW_ARRAY(s.scratch, bool, p->storages + 1);
    s.local = local_search_new(p, NULL, &s.deadline, s.scratch);
    local_search_limit(s.local, request->budget_bytes);
    if (!local_search_try(s.local, NULL, 0, &s.best) || !is_proved(&s))
        search(&s, solution.keep_all_bytes, &least);
    bool settled = !is_proved(&s) && exhaust(&s, &solution);
    solution.feasible = settled || s.best.found;
    solution.proved = settled || is_proved(&s);
    if (!settled) add_runs(&s, s.best.found ? &s.best : &least, &solution);
    measure(&s, &solution);
    solution.lower_bound_seconds = s.total + s.bound;
    arena_free(s.scratch);
    stats_end(p->stats, STATS_SOLVE, began, solution.proved);
    return solution;
}
