/* How often a chain of equal blocks must run again. In: a problem, a budget; out: a bound. After Griewank,
 * "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation"
 * (1992), and Griewank and Walther, "Revolve" (2000), whose count this is where blocks have no inside.
 *
 * Take an instant p(d) in the backward pass of each block d, before its last read of the block's input, and
 * window d, from p(d + 1) to p(d). Window d wants the output of block d, and what the backward pass of d
 * reads up to p(d). Let m be the least bytes of a set inside a block that gives its output without its input,
 * a minimum cut. A block that holds less at the window's start, and whose output is wanted, runs again for
 * no less than a pass and wants its input, so that the one before it runs too, down to one that holds m, or
 * to the base. Whatever holds m counts as held, whatever it holds.
 *
 * F(L, r): least seconds over windows L..1 above a base that is always there, with r bytes at each p besides
 * what p's own operation fixes. A restart is a window R in which the first block above the base runs, because
 * no held block gives what window R wants. Until then the lowest held block never moves down. With l held at
 * p(R + 2), or p(R + 1), and l = R or R + 1, these are all the ways to come to a restart:
 *
 *     nothing is held at p(L + 1)                       R = L
 *     l is held from the start with b bytes             F(L - l, r - b), window l with b
 *       and its window lacks something                  R = l
 *       or has all, and nothing is left                 R = l - 1
 *       or something lower gives it what it lacks       F(L - l, r - b - m), R = l - 1
 *     l came in since, instead of something lower       F(L - l, r - m), a pass, window l with b; R is either
 *       in window l + 1: something lower was there      at least F(L - l + 1, r - m), r in its last window
 *       or before, and was held at p(l + 2) too         r - b in the last window of F(L - l, r - m)
 *     something lower is held until window R            F(L - R, r - m)
 *
 * A restart costs window R and R - 1 passes, and F(R - 1, r) follows; m bytes of something were taken all
 * along where the windows above are a chain with base l or R. A block held from the start has b bytes at all
 * its instants, or its window would cost what fewer bytes do. Work that no window wants can wait until one
 * does.
 *
 * A window pays for its block's backward pass up to p(d) and for that of block d + 1 after p(d + 1), each
 * exactly (prove.c) for the bytes it holds, which share r. What a block had when its own window began was
 * worth some of what follows p(d) too: the rest of both together is owed by the next window at least. Levels
 * of that, rounded down, are a second state of F. Later instants of a block raise what it costs after p(d).
 *
 * Bytes count in units, rounded down. The loss head's instant starts the first window and has its own room.
 * What a window costs stands in block_cost.c. */
#include "nested.h"
#include "block_cost.h"

#include <math.h>
#include <string.h>

static double smaller(double a, double b) {
    return a < b ? a : b;
}

/* ---- windows ---- */

/* The level of what block's second part is owed once the window before had class k of it. */
static uint32_t debt_level(const BlockCosts *c, int64_t k) {
    uint32_t level = DEBTS - 1;
    while (level > 0 && step(&c->owed, k) < c->debt[level]) level--;
    return level;
}

/* A window with `room` units whose block holds class k. After the head there is no second part. */
static double window_cost(const BlockCosts *c, int64_t k, int64_t room, double debt, bool head) {
    if (room < k) return HUGE_VAL;
    return step(&c->first, k) + (head ? 0 : fmax(step(&c->second, room - k), debt));
}

/* A window whose block holds less than m. */
static double window_again(const BlockCosts *c, int64_t room, double debt, bool head) {
    double best = HUGE_VAL;
    for (int64_t k = 0; k < c->least; k++) best = smaller(best, window_cost(c, k, room, debt, head));
    return best;
}

/* How much less room there is at the start of a chain's last window, in m. */
static const int less[] = {0, -1, 2, 8};
enum { PLAIN, WITHOUT_LOWER, LASTS = COUNT_OF(less) };

static uint32_t last_with_less(const BlockCosts *c, int64_t units) {
    uint32_t last = PLAIN;
    for (uint32_t i = WITHOUT_LOWER + 1; i < LASTS; i++)
        if (less[i] * (int64_t)c->least <= units) last = i;
    return last;
}

/* F by debt of the window before, units below and length; `open` by room of the last window, without what its
 * block's second part costs afterwards. One more set for chains that begin with the head's window. */
typedef struct Tables {
    double **open[LASTS][DEBTS + 1], **closed[DEBTS + 1];
} Tables;

static double **new_table(const BlockCosts *c, Arena *arena) {
    double **table = NEW_ARRAY(arena, double *, c->room + 1);
    for (int64_t below = 0; below <= c->room; below++) table[below] = NEW_ARRAY(arena, double, c->count + 1);
    return table;
}

/* What the options of chains with so many units below cost, by L - l (the windows above l and l's own) and by
 * what l's second part is owed. */
typedef struct Row {
    int64_t room, first_room;
    double debt;                         /* of the window before the first */
    bool head;                           /* the first window is the loss head's */
    double *held[DEBTS], *both[DEBTS];   /* l is held from the start; with all that its window wants */
    double *beside[DEBTS];               /* and something lower */
    double *entered[DEBTS], *all[DEBTS]; /* it came in since; with all that its window wants */
    double *lower;                       /* something lower is held where each of the windows above begins */
    double *held_last[DEBTS];            /* as held, where l's is the last window, and has its own room */
    double alone;                        /* the last window where it is the first too, nothing held */
    double again[DEBTS], again_last[DEBTS]; /* a window with nothing held, by what the one before left */
    double *passes;                         /* by count */
} Row;

static double *new_line(const BlockCosts *c, Arena *arena) {
    double *line = NEW_ARRAY(arena, double, c->count + 1);
    for (uint32_t i = 0; i <= c->count; i++) line[i] = HUGE_VAL;
    return line;
}

static Row new_row(const BlockCosts *c, int64_t below, uint32_t debt, Arena *arena) {
    Row row = {.room = c->room - below, .head = debt == DEBTS};
    row.first_room = row.head ? c->head_room - below : row.room;
    row.debt = row.head ? 0 : c->debt[debt];
    for (uint32_t e = 0; e < DEBTS; e++) {
        row.held[e] = new_line(c, arena), row.both[e] = new_line(c, arena),
        row.beside[e] = new_line(c, arena);
        row.entered[e] = new_line(c, arena), row.all[e] = new_line(c, arena),
        row.held_last[e] = new_line(c, arena);
        row.again[e] = window_again(c, row.room, c->debt[e], false);
    }
    row.lower = new_line(c, arena);
    row.passes = new_line(c, arena);
    for (uint32_t i = 0; i < c->count; i++) row.passes[i] = block_pass_seconds(c, i, row.room);
    return row;
}

static void lower_to(double *value, double other) {
    if (other < *value) *value = other;
}

/* l came in since, with class k: in the window above its own, from something lower; or before, and was held
 * since. */
static double entered_seconds(const BlockCosts *c, const Row *row, const Tables *t, uint32_t debt, uint32_t i,
                              int64_t k) {
    int64_t below = c->room - row->room + c->least;
    double own = c->least_pass + window_cost(c, k, row->room, 0, false);
    double within = t->open[WITHOUT_LOWER][debt][below][i + 1];
    double late = fmax(t->open[PLAIN][debt][below][i] + own, within);
    uint32_t last = row->head && i == 1 ? PLAIN : last_with_less(c, k - c->least);
    return smaller(late, t->open[last][debt][below][i] + own);
}

static void list_options(const BlockCosts *c, Row *row, const Tables *t, uint32_t debt) {
    int64_t room = row->room, least = c->least, below = c->room - room;
    int64_t most = room > row->first_room ? room : row->first_room;
    for (int64_t k = least; k <= most; k++) {
        uint32_t e = debt_level(c, k);
        bool all = (k + 1) * c->unit > c->both_bytes;
        double first = window_cost(c, k, row->first_room, row->debt, row->head);
        lower_to(&row->held[e][0], first);
        if (all) lower_to(&row->both[e][0], first);
        if (k > room) continue;
        const double *held = t->closed[debt][below + k];
        const double *beside = k + least <= room ? t->open[PLAIN][debt][below + k + least] : NULL;
        for (uint32_t i = 1; i < c->count; i++) {
            double sum = held[i] + step(&c->first, k);
            lower_to(&row->held[e][i], sum);
            if (all) lower_to(&row->both[e][i], sum);
            if (beside) lower_to(&row->beside[e][i], beside[i] + window_cost(c, k, room, 0, false));
            double entered = entered_seconds(c, row, t, debt, i, k);
            lower_to(&row->entered[e][i], entered);
            if (all) lower_to(&row->all[e][i], entered);
        }
    }
    if (room < least) return;
    for (uint32_t i = 1; i < c->count; i++) row->lower[i] = t->open[PLAIN][debt][below + least][i];
}

/* The options of the last window. */
static void list_last(const BlockCosts *c, Row *row, const Tables *t, uint32_t debt, uint32_t last) {
    int64_t below = c->room - row->room, room = row->room - less[last] * (int64_t)c->least;
    row->alone = window_again(c, room, row->debt, false);
    for (uint32_t e = 0; e < DEBTS; e++) {
        row->again_last[e] = window_again(c, room, c->debt[e], false);
        if (last == PLAIN)
            memcpy(row->held_last[e], row->held[e], sizeof(double) * (c->count + 1));
        else
            for (uint32_t i = 0; i <= c->count; i++) row->held_last[e][i] = HUGE_VAL;
        if (row->head) row->held_last[e][0] = row->held[e][0];
    }
    for (int64_t k = c->least; k <= room && last != PLAIN; k++) {
        double *held_last = row->held_last[debt_level(c, k)];
        if (!row->head) lower_to(&held_last[0], window_cost(c, k, room, row->debt, false));
        if (k > row->room) continue;
        const double *open = t->open[PLAIN][debt][below + k], *closed = t->closed[debt][below + k];
        double cost = window_cost(c, k, room, 0, false), first = step(&c->first, k);
        for (uint32_t i = 1; i < c->count; i++)
            lower_to(&held_last[i],
                     last == WITHOUT_LOWER ? open[i] + cost : fmax(open[i] + cost, closed[i] + first));
    }
}

/* The chain of length L whose period begins with its first window; `next` are those that begin after it. */
static double best_period(const BlockCosts *c, const Row *row, double *const *next, uint32_t L) {
    double best = L == 1 && !row->head ? row->alone
                  : row->first_room < 0
                      ? HUGE_VAL
                      : window_again(c, row->first_room, row->debt, row->head) +
                            (row->head ? block_pass_seconds(c, L - 1, row->first_room) : row->passes[L - 1]) +
                            next[0][L - 1];
    for (uint32_t e = 0; e < DEBTS; e++) {
        best = smaller(best, row->held_last[e][L - 1] + next[e][0]);
        for (uint32_t l = 2; l <= L; l++) {
            uint32_t above = L - l;
            double restart = row->passes[l - 1] + next[e][l - 1];
            double after = (l == 2 ? row->again_last : row->again)[e] + row->passes[l - 2] + next[0][l - 2];
            best = smaller(best, smaller(row->held[e][above], row->entered[e][above]) + restart);
            best = smaller(best, smaller(row->both[e][above], row->all[e][above]) + after);
            best = smaller(best, row->beside[e][above] + after);
        }
    }
    for (uint32_t l = 1; l < L; l++)
        best = smaller(best, row->lower[L - l] + (l == 1 ? row->again_last : row->again)[0] +
                                 row->passes[l - 1] + next[0][l - 1]);
    return best;
}

/* One variant of a row: all lengths, for every debt and for the head. */
static void fill(const BlockCosts *c, Row *rows, const Tables *t, uint32_t last, bool closed, int64_t below) {
    double *next[DEBTS + 1];
    for (uint32_t d = 0; d <= DEBTS; d++) {
        next[d] = (closed ? t->closed[d] : t->open[last][d])[below];
        if (d < DEBTS) next[d][0] = closed ? fmax(step(&c->second, rows[d].room), c->debt[d]) : 0;
        list_last(c, &rows[d], t, d, last);
    }
    for (uint32_t L = 1; L <= c->count; L++)
        for (uint32_t d = 0; d <= DEBTS; d++) next[d][L] = best_period(c, &rows[d], next, L);
}

static double count_seconds(const BlockCosts *c, Arena *arena) {
    Tables *t = NEW(arena, Tables);
    for (uint32_t d = 0; d <= DEBTS; d++) {
        t->closed[d] = new_table(c, arena);
        for (uint32_t last = 0; last < LASTS; last++) t->open[last][d] = new_table(c, arena);
    }
    for (int64_t below = c->room; below >= 0; below--) {
        Row rows[DEBTS + 1];
        for (uint32_t d = 0; d <= DEBTS; d++) {
            rows[d] = new_row(c, below, d, arena);
            list_options(c, &rows[d], t, d);
        }
        for (uint32_t last = 0; last < LASTS; last++) fill(c, rows, t, last, false, below);
        fill(c, rows, t, PLAIN, true, below);
    }
    return t->closed[DEBTS][0][c->count];
}

double nested_seconds(const Problem *p, uint32_t boundary, int64_t budget_bytes) {
    Arena *arena = arena_new(), *scratch = arena_new();
    BlockRun *run = block_run(p, boundary, arena);
    double best = 0;
    for (uint32_t i = 0; run && i < block_run_instants(run); i++) {
        const BlockCosts *costs = block_costs(run, i, budget_bytes, scratch);
        if (costs) best = fmax(best, count_seconds(costs, scratch));
        arena_reset(scratch);
    }
    arena_free(scratch);
    arena_free(arena);
    return best;
}
