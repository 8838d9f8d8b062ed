/* Local search under a budget. In: a schedule; out: a cheaper one that fits. Ruin and recreate (Schrimpf et
 * al. 2000): take some reruns out, mostly near each other; while the peak is over the budget, give up the
 * live storage there that is cheapest to make again before its next read, with what it needs in turn; take
 * out reruns that turned out not to be needed. Worse results are accepted as in simulated annealing.
 * Invariant: between rounds the schedule on the grid fits. */
#include "planner/dag/local_search.h"
#include "planner/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(uint32_t) Cells;

typedef struct Change {
    uint32_t cell;
    bool inserted;
} Change;

struct LocalSearch {
    const Problem *p;
    Arena *arena;
    Grid *grid;
    const Deadline *deadline;
    int64_t budget;
    uint64_t random, changes;
    VEC(Change) journal;     /* since the round began */
    Cells chain, best_chain; /* reruns of the drop being priced and of the best so far */
    uint32_t *chained;       /* by operation: the query that put it into the chain */
    uint32_t query;
    double chain_seconds, chain_limit;
    int64_t chain_bytes; /* that the chain's operands add at the peak */
    double best_price;   /* seconds for each byte gained */
    double noise;
    VEC(uint32_t) order;
};

LocalSearch *local_search_new(const Problem *p, const uint32_t *passes, const Deadline *deadline,
                              Arena *arena) {
    LocalSearch *local = NEW(arena, LocalSearch);
    local->p = p;
    local->arena = arena;
    local->grid = grid_new(p, passes, arena);
    local->deadline = deadline;
    local->random = 1;
    local->chained = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    return local;
}

bool local_search_is_late(const LocalSearch *local) {
    return deadline_passed(local->deadline);
}

const Grid *local_search_grid(const LocalSearch *local) {
    return local->grid;
}

uint64_t local_search_changes(const LocalSearch *local) {
    return local->changes;
}

int64_t local_search_budget(const LocalSearch *local) {
    return local->budget;
}

void local_search_limit(LocalSearch *local, int64_t budget_bytes) {
    local->budget = budget_bytes;
}

static uint32_t below(LocalSearch *local, uint32_t bound) {
    return (uint32_t)(random_next(&local->random) % bound);
}

static void insert(LocalSearch *local, uint32_t cell) {
    grid_insert(local->grid, cell);
    *vec_add(local->arena, &local->journal) = (Change){cell, true};
    local->changes++;
}

static void take_out(LocalSearch *local, uint32_t cell) {
    grid_remove(local->grid, cell);
    *vec_add(local->arena, &local->journal) = (Change){cell, false};
    local->changes++;
}

static void go_back(LocalSearch *local) {
    while (local->journal.count) {
        Change change = local->journal.at[--local->journal.count];
        if (change.inserted)
            grid_remove(local->grid, change.cell);
        else
            grid_insert(local->grid, change.cell);
        local->changes++;
    }
}

/* ---- recreate ---- */

/* Puts `op` in `row` into the chain, and whatever it reads that is not there then: kept since its last
 * touch where the budget allows, else run again too. False when that cannot be. */
static bool chain_up(LocalSearch *local, uint32_t op, uint32_t row, uint32_t peak, uint32_t depth) {
    const Problem *p = local->p;
    uint32_t cell = grid_cell(local->grid, row, op);
    if (local->chained[op] == local->query || grid_has(local->grid, cell)) return true;
    if (!problem_may_rerun(p, op, grid_time(local->grid, row)) || depth == 0) return false;
    local->chained[op] = local->query;
    *vec_add(local->arena, &local->chain) = cell;
    local->chain_seconds += p->seconds[op];
    if (local->chain_seconds > local->chain_limit) return false;
    for (EACH(i, p->reads, op)) {
        uint32_t s = p->reads.list[i], maker = p->maker[s];
        if (local->chained[maker] == local->query) continue;
        Touch touch = grid_touch(local->grid, s, cell);
        if (touch.next != NONE && touch.next_reads) continue;
        bool rises = touch.before < peak && peak <= cell;
        bool fits =
            !rises && grid_highest(local->grid, touch.before + 1, cell + 1) + p->bytes[s] <= local->budget;
        if (!fits && problem_may_rerun(p, maker, grid_time(local->grid, row)) && below(local, 8)) {
            if (!chain_up(local, maker, row, peak, depth - 1)) return false;
            continue;
        }
        if (rises) local->chain_bytes += p->bytes[s];
    }
    return true;
}

/* The last row at which every operand of `op` that is gone by `row` is still there; NONE if some are gone by
 * the peak, `row` if none is gone. */
static uint32_t while_there(const LocalSearch *local, uint32_t op, uint32_t row, uint32_t peak) {
    const Problem *p = local->p;
    uint32_t earliest = row;
    for (EACH(i, p->reads, op)) {
        Touch touch = grid_touch(local->grid, p->reads.list[i], grid_cell(local->grid, row, op));
        if (touch.next != NONE && touch.next_reads) continue;
        uint32_t last = grid_row(local->grid, touch.before);
        if (touch.before < grid_cell(local->grid, last, op)) { /* gone when it would be the turn of `op` */
            if (last-- == 0) return NONE;
        }
        if (last < earliest) earliest = last;
    }
    return grid_time(local->grid, earliest) > op && grid_cell(local->grid, earliest, op) > peak ? earliest
                                                                                                : NONE;
}

/* Prices giving up a storage at the peak and making it again in `row`, at `factor` times its seconds. */
static void offer_drop(LocalSearch *local, uint32_t storage, uint32_t row, uint32_t peak, int64_t excess,
                       double factor) {
    const Problem *p = local->p;
    uint32_t maker = p->maker[storage];
    if (grid_has(local->grid, grid_cell(local->grid, row, maker))) return;
    int64_t most = p->bytes[storage] < excess ? p->bytes[storage] : excess;
    local->query++;
    local->chain.count = 0;
    local->chain_seconds = 0;
    local->chain_limit = local->best_price * (double)most / factor;
    local->chain_bytes = 0;
    bool may = chain_up(local, maker, row, peak, 64);
    local->changes += local->chain.count;
    int64_t gain = p->bytes[storage] - local->chain_bytes;
    if (gain > excess) gain = excess;
    if (!may || gain <= 0) return;
    double price = (local->chain_seconds + 1e-12) / (double)gain * factor;
    if (price >= local->best_price) return;
    local->best_price = price;
    Cells swap = local->best_chain;
    local->best_chain = local->chain;
    local->chain = swap;
}

/* Finds the best drop at the highest cell; false when there is none. */
static bool find_drop(LocalSearch *local, uint32_t peak, int64_t excess) {
    const Problem *p = local->p;
    uint32_t peak_time = grid_time(local->grid, grid_row(local->grid, peak));
    local->best_price = HUGE_VAL;
    for (uint32_t s = 0; s < p->storages; s++) {
        uint32_t maker = p->maker[s];
        if (maker > peak_time || !p->rerun[maker]) continue;
        double factor = 1 + local->noise * random_unit(&local->random);
        int64_t most = p->bytes[s] < excess ? p->bytes[s] : excess;
        if (p->seconds[maker] * factor >= local->best_price * (double)most) continue;
        Touch touch = grid_touch(local->grid, s, peak);
        if (touch.before == NONE || touch.next == peak || touch.next == NONE || !touch.next_reads) continue;
        uint32_t row = grid_row(local->grid, touch.next);
        if (grid_cell(local->grid, row, maker) <= peak ||
            !problem_may_rerun(p, maker, grid_time(local->grid, row)))
            continue;
        if (local_search_is_late(local)) return false; /* one search may take long */
        offer_drop(local, s, row, peak, excess, factor);
        uint32_t early = while_there(local, maker, row, peak);
        if (early != NONE && early != row) offer_drop(local, s, early, peak, excess, factor);
    }
    return local->best_price < HUGE_VAL;
}

/* Over a large problem a repair that takes long is given up: it seldom gets there. */
static bool repair(LocalSearch *local) {
    uint64_t end =
        local->p->ops > EFFORT_DAG_LARGE_OPS ? local->changes + EFFORT_LOCAL_SEARCH_REPAIR : UINT64_MAX;
    uint32_t peak;
    int64_t bytes;
    for (uint32_t tries = local->p->ops * 2 + 64; (bytes = grid_peak(local->grid, &peak)) > local->budget;
         tries--) {
        if (tries == 0 || local->changes > end || local_search_is_late(local) ||
            !find_drop(local, peak, bytes - local->budget))
            return false;
        for (uint32_t i = 0; i < local->best_chain.count; i++) insert(local, local->best_chain.at[i]);
    }
    return true;
}

/* ---- clean up ---- */

typedef struct Removal {
    double key;
    uint32_t cell;
} Removal;

static int dearest_first(const void *a, const void *b) {
    const Removal *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* Whether the budget might hold without a rerun: its output would be kept since it was there last, and at
 * best all it reads would be gone meanwhile. */
static bool may_go(const LocalSearch *local, uint32_t cell) {
    const Problem *p = local->p;
    uint32_t op = grid_op(local->grid, cell), first = list_begin(&p->makes, op);
    if (list_end(&p->makes, op) != first + 1) return true;
    uint32_t s = p->makes.list[first];
    Touch before = grid_touch(local->grid, s, cell), after = grid_touch(local->grid, s, cell + 1);
    if (after.next == NONE || !after.next_reads) return true;
    int64_t more = p->bytes[s];
    for (EACH(i, p->reads, op)) more -= p->bytes[p->reads.list[i]];
    return grid_highest(local->grid, before.before + 1, cell) + more <= local->budget;
}

/* Takes out reruns as long as the budget holds without them. */
static void prune(LocalSearch *local) {
    uint32_t count;
    const uint32_t *cells = grid_cells(local->grid, &count);
    Arena *scratch = arena_new();
    Removal *removal = NEW_ARRAY(scratch, Removal, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        double seconds = local->p->seconds[grid_op(local->grid, cells[i])];
        removal[i] = (Removal){seconds * (1 + local->noise * random_unit(&local->random)), cells[i]};
    }
    qsort(removal, count, sizeof *removal, dearest_first);
    if (local->p->ops > EFFORT_DAG_LARGE_OPS)
        local->changes += count / 4; /* looking at them takes time, too */
    for (uint32_t i = 0; i < count && !local_search_is_late(local); i++) {
        if (!may_go(local, removal[i].cell)) continue;
        take_out(local, removal[i].cell);
        if (grid_peak(local->grid, NULL) > local->budget) insert(local, removal[i].cell);
    }
    arena_free(scratch);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void take_if_better(LocalSearch *local, Schedule *best) {
    double seconds = grid_seconds(local->grid);
    if (best->found && seconds >= best->seconds) return;
    uint32_t count;
    const uint32_t *cells = grid_cells(local->grid, &count);
    best->found = true;
    best->seconds = seconds;
    best->peak_bytes = grid_peak(local->grid, NULL);
    best->cell.count = 0;
    for (uint32_t i = 0; i < count; i++) *vec_add(local->arena, &best->cell) = cells[i];
    if (count > 1) qsort(best->cell.at, count, sizeof *best->cell.at, by_number);
}

bool local_search_try(LocalSearch *local, const uint32_t *cells, uint32_t count, Schedule *best) {
    local->noise = 0;
    grid_load(local->grid, cells, count);
    local->journal.count = 0;
    if (!repair(local)) return false;
    prune(local);
    take_if_better(local, best);
    return true;
}

bool local_search_start(LocalSearch *local, double noise, Schedule *start) {
    local->noise = noise;
    grid_load(local->grid, NULL, 0);
    local->journal.count = 0;
    if (!repair(local)) return false;
    prune(local);
    start->found = false;
    take_if_better(local, start);
    return true;
}

/* ---- ruin ---- */

/* Takes out a few reruns: around one of them in time or among the operations, or anywhere. */
static void ruin(LocalSearch *local) {
    uint32_t count;
    const uint32_t *cells = grid_cells(local->grid, &count);
    local->changes++; /* a round counts even if it changes nothing */
    if (!count) return;
    uint32_t centre = cells[below(local, count)], kind = below(local, 3);
    uint32_t most = 1 + below(local, count < 12 ? count : 12);
    uint32_t reach = 1 + below(local, 1 + local->p->ops / 8);
    uint32_t row = grid_row(local->grid, centre), op = grid_op(local->grid, centre);
    local->order.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t t = grid_row(local->grid, cells[i]), o = grid_op(local->grid, cells[i]);
        uint32_t apart = kind == 0   ? (t > row ? t - row : row - t)
                         : kind == 1 ? (o > op ? o - op : op - o)
                                     : 0;
        if (apart <= reach) *vec_add(local->arena, &local->order) = cells[i];
    }
    for (uint32_t i = 0; i < most && local->order.count; i++) {
        uint32_t pick = below(local, local->order.count);
        take_out(local, local->order.at[pick]);
        local->order.at[pick] = local->order.at[--local->order.count];
    }
}

uint64_t local_search_improve(LocalSearch *local, Schedule *best, double enough_seconds, uint64_t changes) {
    static const double noises[] = {0.1, 0.5, 1, 3};
    uint64_t begin = local->changes;
    grid_load(local->grid, best->cell.at, best->cell.count);
    double now = best->seconds, hot = best->seconds * 0.1, last_best = now;
    uint64_t since = local->changes;
    while (best->seconds > enough_seconds && local->changes - begin < changes &&
           !local_search_is_late(local)) {
        double left = 1 - (double)(local->changes - begin) / (double)changes;
        double heat = hot * left * left;
        local->journal.count = 0;
        local->noise = noises[below(local, COUNT_OF(noises))];
        ruin(local);
        if (repair(local)) {
            prune(local);
            take_if_better(local, best);
            double seconds = grid_seconds(local->grid);
            if (seconds <= now || random_unit(&local->random) < exp((now - seconds) / (heat + 1e-300))) {
                now = seconds;
                if (best->seconds < last_best) last_best = best->seconds, since = local->changes;
                if (local->changes - since > changes / 8) { /* nothing new for long: from the best again */
                    grid_load(local->grid, best->cell.at, best->cell.count);
                    now = best->seconds;
                    since = local->changes;
                }
                continue;
            }
        }
        go_back(local);
    }
    return local->changes - begin;
}

/* One round of ruin and recreate; false, and nothing changed, when it could not be made to fit. */
static bool wander(LocalSearch *local, bool tidy) {
    local->journal.count = 0;
    ruin(local);
    if (!repair(local)) {
        go_back(local);
        return false;
    }
    if (tidy) prune(local);
    return true;
}

bool local_search_shrink(LocalSearch *local, Schedule *least, int64_t target_bytes, uint64_t changes) {
    uint64_t begin = local->changes;
    int64_t step = (least->peak_bytes - target_bytes) / 8;
    grid_load(local->grid, least->cell.at, least->cell.count);
    for (uint32_t round = 0; least->peak_bytes > target_bytes && local->changes - begin < changes; round++) {
        if (local_search_is_late(local)) break;
        int64_t room = least->peak_bytes - target_bytes, fine = room / 256;
        if (step < fine) step = fine;
        if (step > room) step = room;
        if (step < 1) step = 1;
        local->budget = least->peak_bytes - step;
        local->noise = random_unit(&local->random) * (round % 4);
        if (wander(local, round % 2)) {
            least->found = false; /* a lower peak is better at any cost */
            take_if_better(local, least);
            step *= 2;
            continue;
        }
        step -= step / 8;
        local->budget = least->peak_bytes; /* elsewhere at the same height */
        local->noise = random_unit(&local->random);
        wander(local, true);
    }
    local->budget = target_bytes;
    return least->peak_bytes <= target_bytes;
}
