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
    LocalSearch *r = NEW(arena, LocalSearch);
    r->p = p;
    r->arena = arena;
    r->grid = grid_new(p, passes, arena);
    r->deadline = deadline;
    r->random = 1;
    r->chained = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    return r;
}

bool local_search_is_late(const LocalSearch *r) {
    return deadline_passed(r->deadline);
}

const Grid *local_search_grid(const LocalSearch *r) {
    return r->grid;
}

uint64_t local_search_changes(const LocalSearch *r) {
    return r->changes;
}

int64_t local_search_budget(const LocalSearch *r) {
    return r->budget;
}

void local_search_limit(LocalSearch *r, int64_t budget_bytes) {
    r->budget = budget_bytes;
}

static uint32_t below(LocalSearch *r, uint32_t bound) {
    return (uint32_t)(random_next(&r->random) % bound);
}

static void insert(LocalSearch *r, uint32_t cell) {
    grid_insert(r->grid, cell);
    *vec_add(r->arena, &r->journal) = (Change){cell, true};
    r->changes++;
}

static void take_out(LocalSearch *r, uint32_t cell) {
    grid_remove(r->grid, cell);
    *vec_add(r->arena, &r->journal) = (Change){cell, false};
    r->changes++;
}

static void go_back(LocalSearch *r) {
    while (r->journal.count) {
        Change change = r->journal.at[--r->journal.count];
        if (change.inserted)
            grid_remove(r->grid, change.cell);
        else
            grid_insert(r->grid, change.cell);
        r->changes++;
    }
}

/* ---- recreate ---- */

/* Puts `op` in `row` into the chain, and whatever it reads that is not there then: kept since its last
 * touch where the budget allows, else run again too. False when that cannot be. */
static bool chain_up(LocalSearch *r, uint32_t op, uint32_t row, uint32_t peak, uint32_t depth) {
    const Problem *p = r->p;
    uint32_t cell = grid_cell(r->grid, row, op);
    if (r->chained[op] == r->query || grid_has(r->grid, cell)) return true;
    if (!problem_may_rerun(p, op, grid_time(r->grid, row)) || depth == 0) return false;
    r->chained[op] = r->query;
    *vec_add(r->arena, &r->chain) = cell;
    r->chain_seconds += p->seconds[op];
    if (r->chain_seconds > r->chain_limit) return false;
    for (EACH(i, p->reads, op)) {
        uint32_t s = p->reads.list[i], maker = p->maker[s];
        if (r->chained[maker] == r->query) continue;
        Touch touch = grid_touch(r->grid, s, cell);
        if (touch.next != NONE && touch.next_reads) continue;
        bool rises = touch.before < peak && peak <= cell;
        bool fits = !rises && grid_highest(r->grid, touch.before + 1, cell + 1) + p->bytes[s] <= r->budget;
        if (!fits && problem_may_rerun(p, maker, grid_time(r->grid, row)) && below(r, 8)) {
            if (!chain_up(r, maker, row, peak, depth - 1)) return false;
            continue;
        }
        if (rises) r->chain_bytes += p->bytes[s];
    }
    return true;
}

/* The last row at which every operand of `op` that is gone by `row` is still there; NONE if some are gone by
 * the peak, `row` if none is gone. */
static uint32_t while_there(const LocalSearch *r, uint32_t op, uint32_t row, uint32_t peak) {
    const Problem *p = r->p;
    uint32_t earliest = row;
    for (EACH(i, p->reads, op)) {
        Touch touch = grid_touch(r->grid, p->reads.list[i], grid_cell(r->grid, row, op));
        if (touch.next != NONE && touch.next_reads) continue;
        uint32_t last = grid_row(r->grid, touch.before);
        if (touch.before < grid_cell(r->grid, last, op)) { /* gone when it would be the turn of `op` */
            if (last-- == 0) return NONE;
        }
        if (last < earliest) earliest = last;
    }
    return grid_time(r->grid, earliest) > op && grid_cell(r->grid, earliest, op) > peak ? earliest : NONE;
}

/* Prices giving up a storage at the peak and making it again in `row`, at `factor` times its seconds. */
static void offer_drop(LocalSearch *r, uint32_t storage, uint32_t row, uint32_t peak, int64_t excess,
                       double factor) {
    const Problem *p = r->p;
    uint32_t maker = p->maker[storage];
    if (grid_has(r->grid, grid_cell(r->grid, row, maker))) return;
    int64_t most = p->bytes[storage] < excess ? p->bytes[storage] : excess;
    r->query++;
    r->chain.count = 0;
    r->chain_seconds = 0;
    r->chain_limit = r->best_price * (double)most / factor;
    r->chain_bytes = 0;
    bool may = chain_up(r, maker, row, peak, 64);
    r->changes += r->chain.count;
    int64_t gain = p->bytes[storage] - r->chain_bytes;
    if (gain > excess) gain = excess;
    if (!may || gain <= 0) return;
    double price = (r->chain_seconds + 1e-12) / (double)gain * factor;
    if (price >= r->best_price) return;
    r->best_price = price;
    Cells swap = r->best_chain;
    r->best_chain = r->chain;
    r->chain = swap;
}

/* Finds the best drop at the highest cell; false when there is none. */
static bool find_drop(LocalSearch *r, uint32_t peak, int64_t excess) {
    const Problem *p = r->p;
    uint32_t peak_time = grid_time(r->grid, grid_row(r->grid, peak));
    r->best_price = HUGE_VAL;
    for (uint32_t s = 0; s < p->storages; s++) {
        uint32_t maker = p->maker[s];
        if (maker > peak_time || !p->rerun[maker]) continue;
        double factor = 1 + r->noise * random_unit(&r->random);
        int64_t most = p->bytes[s] < excess ? p->bytes[s] : excess;
        if (p->seconds[maker] * factor >= r->best_price * (double)most) continue;
        Touch touch = grid_touch(r->grid, s, peak);
        if (touch.before == NONE || touch.next == peak || touch.next == NONE || !touch.next_reads) continue;
        uint32_t row = grid_row(r->grid, touch.next);
        if (grid_cell(r->grid, row, maker) <= peak || !problem_may_rerun(p, maker, grid_time(r->grid, row)))
            continue;
        if (local_search_is_late(r)) return false; /* one search may take long */
        offer_drop(r, s, row, peak, excess, factor);
        uint32_t early = while_there(r, maker, row, peak);
        if (early != NONE && early != row) offer_drop(r, s, early, peak, excess, factor);
    }
    return r->best_price < HUGE_VAL;
}

/* Over a large problem a repair that takes long is given up: it seldom gets there. */
static bool repair(LocalSearch *r) {
    uint64_t end = r->p->ops > EFFORT_DAG_LARGE_OPS ? r->changes + EFFORT_LOCAL_SEARCH_REPAIR : UINT64_MAX;
    uint32_t peak;
    int64_t bytes;
    for (uint32_t tries = r->p->ops * 2 + 64; (bytes = grid_peak(r->grid, &peak)) > r->budget; tries--) {
        if (tries == 0 || r->changes > end || local_search_is_late(r) ||
            !find_drop(r, peak, bytes - r->budget))
            return false;
        for (uint32_t i = 0; i < r->best_chain.count; i++) insert(r, r->best_chain.at[i]);
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
static bool may_go(const LocalSearch *r, uint32_t cell) {
    const Problem *p = r->p;
    uint32_t op = grid_op(r->grid, cell), first = list_begin(&p->makes, op);
    if (list_end(&p->makes, op) != first + 1) return true;
    uint32_t s = p->makes.list[first];
    Touch before = grid_touch(r->grid, s, cell), after = grid_touch(r->grid, s, cell + 1);
    if (after.next == NONE || !after.next_reads) return true;
    int64_t more = p->bytes[s];
    for (EACH(i, p->reads, op)) more -= p->bytes[p->reads.list[i]];
    return grid_highest(r->grid, before.before + 1, cell) + more <= r->budget;
}

/* Takes out reruns as long as the budget holds without them. */
static void prune(LocalSearch *r) {
    uint32_t count;
    const uint32_t *cells = grid_cells(r->grid, &count);
    Arena *scratch = arena_new();
    Removal *removal = NEW_ARRAY(scratch, Removal, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        double seconds = r->p->seconds[grid_op(r->grid, cells[i])];
        removal[i] = (Removal){seconds * (1 + r->noise * random_unit(&r->random)), cells[i]};
    }
    qsort(removal, count, sizeof *removal, dearest_first);
    if (r->p->ops > EFFORT_DAG_LARGE_OPS) r->changes += count / 4; /* looking at them takes time, too */
    for (uint32_t i = 0; i < count && !local_search_is_late(r); i++) {
        if (!may_go(r, removal[i].cell)) continue;
        take_out(r, removal[i].cell);
        if (grid_peak(r->grid, NULL) > r->budget) insert(r, removal[i].cell);
    }
    arena_free(scratch);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void take_if_better(LocalSearch *r, Schedule *best) {
    double seconds = grid_seconds(r->grid);
    if (best->found && seconds >= best->seconds) return;
    uint32_t count;
    const uint32_t *cells = grid_cells(r->grid, &count);
    best->found = true;
    best->seconds = seconds;
    best->peak_bytes = grid_peak(r->grid, NULL);
    best->cell.count = 0;
    for (uint32_t i = 0; i < count; i++) *vec_add(r->arena, &best->cell) = cells[i];
    if (count > 1) qsort(best->cell.at, count, sizeof *best->cell.at, by_number);
}

bool local_search_try(LocalSearch *r, const uint32_t *cells, uint32_t count, Schedule *best) {
    r->noise = 0;
    grid_load(r->grid, cells, count);
    r->journal.count = 0;
    if (!repair(r)) return false;
    prune(r);
    take_if_better(r, best);
    return true;
}

bool local_search_start(LocalSearch *r, double noise, Schedule *start) {
    r->noise = noise;
    grid_load(r->grid, NULL, 0);
    r->journal.count = 0;
    if (!repair(r)) return false;
    prune(r);
    start->found = false;
    take_if_better(r, start);
    return true;
}

/* ---- ruin ---- */

/* Takes out a few reruns: around one of them in time or among the operations, or anywhere. */
static void ruin(LocalSearch *r) {
    uint32_t count;
    const uint32_t *cells = grid_cells(r->grid, &count);
    r->changes++; /* a round counts even if it changes nothing */
    if (!count) return;
    uint32_t centre = cells[below(r, count)], kind = below(r, 3);
    uint32_t most = 1 + below(r, count < 12 ? count : 12);
    uint32_t reach = 1 + below(r, 1 + r->p->ops / 8);
    uint32_t row = grid_row(r->grid, centre), op = grid_op(r->grid, centre);
    r->order.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t t = grid_row(r->grid, cells[i]), o = grid_op(r->grid, cells[i]);
        uint32_t apart = kind == 0   ? (t > row ? t - row : row - t)
                         : kind == 1 ? (o > op ? o - op : op - o)
                                     : 0;
        if (apart <= reach) *vec_add(r->arena, &r->order) = cells[i];
    }
    for (uint32_t i = 0; i < most && r->order.count; i++) {
        uint32_t pick = below(r, r->order.count);
        take_out(r, r->order.at[pick]);
        r->order.at[pick] = r->order.at[--r->order.count];
    }
}

uint64_t local_search_improve(LocalSearch *r, Schedule *best, double enough_seconds, uint64_t changes) {
    static const double noises[] = {0.1, 0.5, 1, 3};
    uint64_t begin = r->changes;
    grid_load(r->grid, best->cell.at, best->cell.count);
    double now = best->seconds, hot = best->seconds * 0.1, last_best = now;
    uint64_t since = r->changes;
    while (best->seconds > enough_seconds && r->changes - begin < changes && !local_search_is_late(r)) {
        double left = 1 - (double)(r->changes - begin) / (double)changes;
        double heat = hot * left * left;
        r->journal.count = 0;
        r->noise = noises[below(r, COUNT_OF(noises))];
        ruin(r);
        if (repair(r)) {
            prune(r);
            take_if_better(r, best);
            double seconds = grid_seconds(r->grid);
            if (seconds <= now || random_unit(&r->random) < exp((now - seconds) / (heat + 1e-300))) {
                now = seconds;
                if (best->seconds < last_best) last_best = best->seconds, since = r->changes;
                if (r->changes - since > changes / 8) { /* nothing new for long: from the best again */
                    grid_load(r->grid, best->cell.at, best->cell.count);
                    now = best->seconds;
                    since = r->changes;
                }
                continue;
            }
        }
        go_back(r);
    }
    return r->changes - begin;
}

/* One round of ruin and recreate; false, and nothing changed, when it could not be made to fit. */
static bool wander(LocalSearch *r, bool tidy) {
    r->journal.count = 0;
    ruin(r);
    if (!repair(r)) {
        go_back(r);
        return false;
    }
    if (tidy) prune(r);
    return true;
}

bool local_search_shrink(LocalSearch *r, Schedule *least, int64_t target_bytes, uint64_t changes) {
    uint64_t begin = r->changes;
    int64_t step = (least->peak_bytes - target_bytes) / 8;
    grid_load(r->grid, least->cell.at, least->cell.count);
    for (uint32_t round = 0; least->peak_bytes > target_bytes && r->changes - begin < changes; round++) {
        if (local_search_is_late(r)) break;
        int64_t room = least->peak_bytes - target_bytes, fine = room / 256;
        if (step < fine) step = fine;
        if (step > room) step = room;
        if (step < 1) step = 1;
        r->budget = least->peak_bytes - step;
        r->noise = random_unit(&r->random) * (round % 4);
        if (wander(r, round % 2)) {
            least->found = false; /* a lower peak is better at any cost */
            take_if_better(r, least);
            step *= 2;
            continue;
        }
        step -= step / 8;
        r->budget = least->peak_bytes; /* elsewhere at the same height */
        r->noise = random_unit(&r->random);
        wander(r, true);
    }
    r->budget = target_bytes;
    return least->peak_bytes <= target_bytes;
}
