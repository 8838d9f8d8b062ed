/* A memetic search (Moscato 1989). In: a schedule that fits and a number of changes; out: a cheaper one. The
 * first members start from the schedule given and from repairs of the empty grid under noise; when several
 * end at the same schedule, that is the answer. Then two parents are cut at a row, and the runs before it of
 * one and after it of the other are made to fit, or one parent is improved under a larger budget first; the
 * offspring is improved and takes the place of the worst. Each search gets an equal share of the changes;
 * over large problems, where so short a search ends far from good, one search gets them all. Where hardly
 * anything fits, so that no other start is found, one schedule is searched over and over. */
#include "planner/dag/memetic.h"
#include "planner/effort.h"

#include <math.h>

typedef struct Population {
    LocalSearch *local;
    Schedule member[EFFORT_MEMETIC_MEMBERS + 1]; /* the last is the offspring */
    uint32_t members;
    double enough;
    uint64_t share, end, random; /* in changes: of each search, and of the local search at the end */
    Arena *arena;
} Population;

static void copy(Population *h, const Schedule *from, Schedule *to) {
    to->found = from->found;
    to->seconds = from->seconds;
    to->peak_bytes = from->peak_bytes;
    to->cell.count = 0;
    for (uint32_t i = 0; i < from->cell.count; i++) *vec_add(h->arena, &to->cell) = from->cell.at[i];
}

static void search(Population *h, Schedule *schedule, Schedule *best) {
    local_search_improve(h->local, schedule, h->enough, h->share);
    if (schedule->seconds < best->seconds) copy(h, schedule, best);
}

static bool same(const Schedule *a, const Schedule *b) {
    return fabs(a->seconds - b->seconds) <= 1e-12 * a->seconds;
}

/* Runs of one parent before some row, of the other from there on. */
static bool cross(Population *h, const Schedule *a, const Schedule *b, Schedule *child) {
    const Grid *grid = local_search_grid(h->local);
    uint32_t whole = a->cell.count + b->cell.count;
    if (!whole) return false;
    uint32_t pick = (uint32_t)(random_next(&h->random) % whole);
    uint32_t cell = pick < a->cell.count ? a->cell.at[pick] : b->cell.at[pick - a->cell.count];
    uint32_t cut = grid_cell(grid, grid_row(grid, cell), 0);
    VEC(uint32_t) cells = {0};
    for (uint32_t i = 0; i < a->cell.count; i++)
        if (a->cell.at[i] < cut) *vec_add(h->arena, &cells) = a->cell.at[i];
    for (uint32_t i = 0; i < b->cell.count; i++)
        if (b->cell.at[i] >= cut) *vec_add(h->arena, &cells) = b->cell.at[i];
    child->found = false;
    return local_search_try(h->local, cells.at, cells.count, child);
}

/* A parent improved under a larger budget, then made to fit again (strategic oscillation: Glover 1989). */
static bool loosen(Population *h, const Schedule *parent, Schedule *child) {
    int64_t budget = local_search_budget(h->local);
    copy(h, parent, child);
    local_search_limit(h->local, budget + (int64_t)((double)budget * 0.05 * random_unit(&h->random)));
    local_search_improve(h->local, child, h->enough, h->share / 8);
    local_search_limit(h->local, budget);
    VEC(uint32_t) cells = {0};
    for (uint32_t i = 0; i < child->cell.count; i++) *vec_add(h->arena, &cells) = child->cell.at[i];
    child->found = false;
    return local_search_try(h->local, cells.at, cells.count, child);
}

/* The dearest member, or one the offspring equals. */
static uint32_t worst(const Population *h) {
    uint32_t worst = 0;
    for (uint32_t i = 0; i < h->members; i++) {
        if (same(&h->member[i], &h->member[EFFORT_MEMETIC_MEMBERS])) return i;
        if (h->member[i].seconds > h->member[worst].seconds) worst = i;
    }
    return worst;
}

/* A start of its own, where luck finds one in a few attempts. */
static bool begin(Population *h, Schedule *member) {
    for (uint32_t i = 0; i < EFFORT_MEMETIC_STARTS; i++)
        if (local_search_start(h->local, 0.1 * i, member)) return true;
    return false;
}

static bool is_over(const Population *h, const Schedule *best) {
    return local_search_changes(h->local) >= h->end || best->seconds <= h->enough ||
           local_search_is_late(h->local);
}

/* Members from starts of their own. False when no start is found or several end alike. */
static bool first_members(Population *h, Schedule *best) {
    for (; h->members < EFFORT_MEMETIC_MEMBERS && !is_over(h, best); h->members++) {
        Schedule *member = &h->member[h->members];
        if (h->members == 0)
            copy(h, best, member);
        else if (!begin(h, member))
            return false;
        search(h, member, best);
        uint32_t alike = 0;
        for (uint32_t i = 0; i <= h->members; i++) alike += same(&h->member[i], best);
        if (alike >= EFFORT_MEMETIC_ALIKE) h->end = 0;
    }
    return true;
}

/* One schedule searched again and again, by turns as it is and from a larger budget. */
static void search_alone(Population *h, Schedule *best) {
    Schedule *child = &h->member[EFFORT_MEMETIC_MEMBERS];
    h->share *= EFFORT_MEMETIC_SHARES / EFFORT_MEMETIC_ALONE;
    for (uint32_t i = 0; !is_over(h, best); i++) {
        if (i % 2 == 0 || !loosen(h, best, child)) copy(h, best, child);
        search(h, child, best);
    }
}

void memetic_improve(const Problem *p, LocalSearch *local, Schedule *best, double enough_seconds,
                     uint64_t changes, Arena *arena) {
    const uint64_t least = (uint64_t)EFFORT_MEMETIC_LEAST * p->ops;
    Population h = {
        .local = local, .enough = enough_seconds, .share = changes / EFFORT_MEMETIC_SHARES + 1, .random = 2};
    if (h.share < least) h.share = least;
    if (h.share > changes / (2 * EFFORT_MEMETIC_MEMBERS) + 1) { /* too few searches for a population */
        local_search_improve(local, best, enough_seconds, changes);
        return;
    }
    h.arena = arena;
    h.end = local_search_changes(local) + changes;
    Schedule *child = &h.member[EFFORT_MEMETIC_MEMBERS];
    if (!first_members(&h, best)) search_alone(&h, best);
    while (!is_over(&h, best)) {
        uint32_t a = (uint32_t)(random_next(&h.random) % EFFORT_MEMETIC_MEMBERS),
                 b = (uint32_t)(random_next(&h.random) % (EFFORT_MEMETIC_MEMBERS - 1));
        b += b >= a;
        bool made = random_next(&h.random) % 2 ? cross(&h, &h.member[a], &h.member[b], child)
                                               : loosen(&h, &h.member[a], child);
        if (!made) copy(&h, &h.member[a], child);
        search(&h, child, best);
        Schedule *loser = &h.member[worst(&h)];
        if (child->seconds < loser->seconds) copy(&h, child, loser);
    }
}
