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
 * exactly (exact_closure.c) for the bytes it holds, which share r. What a block had when its own window began
 * was worth some of what follows p(d) too: the rest of both together is owed by the next window at least.
 * Levels of that, rounded down, are a second state of F. Later instants of a block raise what it costs after
 * p(d).
 *
 * Bytes count in units, rounded down. The loss head's instant starts the first window and has its own room.
 * What a window costs stands in block_cost.c. */
#include "planner/chain/revolve.h"
#include "planner/chain/block_cost.h"

#include <math.h>
#include <string.h>

static double smaller(double a, double b) {
    return a < b ? a : b;
}

/* ---- windows ---- */

/* The level of what block's second part is owed once the window before had class k of it. */
static uint32_t debt_level(const BlockCosts *c, int64_t k) {
    uint32_t level = DEBTS - 1;
    while (level > 0 && block_step(&c->owed, k) < c->debt[level]) level--;
    return level;
}

/* A window with `room` units whose block holds class k. After the head there is no second part. */
static double window_cost(const BlockCosts *c, int64_t k, int64_t room, double debt, bool head) {
    if (room < k) return HUGE_VAL;
    return block_step(&c->first, k) + (head ? 0 : fmax(block_step(&c->second, room - k), debt));
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
    double debt;              /* of the window before the first */
    bool head;                /* the first window is the loss head's */
    double *held[DEBTS];      /* l is held from the start */
    double *lacks[DEBTS];     /* it is, or came in since; from the most windows to the fewest */
    double *serves[DEBTS];    /* the same, and nothing is left to give what window l - 1 wants */
    double *lower;            /* something lower is held where each of the windows above begins */
    double *held_last[DEBTS]; /* as held, where l's is the last window, and has its own room */
    bool empty[DEBTS];        /* nothing of lacks and serves */
    double alone;             /* the last window where it is the first too, nothing held */
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
        row.held[e] = new_line(c, arena), row.held_last[e] = new_line(c, arena);
        row.lacks[e] = new_line(c, arena), row.serves[e] = new_line(c, arena);
        row.again[e] = window_again(c, row.room, c->debt[e], false);
        row.empty[e] = true;
    }
    row.lower = new_line(c, arena);
    row.passes = new_line(c, arena);
    for (uint32_t i = 0; i < c->count; i++) row.passes[i] = block_cost_pass_seconds(c, i, row.room);
    return row;
}

static void lower_to(double *value, double other) {
    if (other < *value) *value = other;
}

/* l has class k where its window begins, with some windows above. */
static void list_class(const BlockCosts *c, Row *row, const Tables *t, uint32_t debt, int64_t k) {
    int64_t room = row->room, below = c->room - room, beneath = below + c->least;
    uint32_t e = debt_level(c, k), end = c->count - 1;
    bool all = (k + 1) * c->unit > c->both_bytes;
    double first = block_step(&c->first, k), cost = window_cost(c, k, room, 0, false),
           own = c->least_pass + cost;
    const double *held = t->closed[debt][below + k], *lower = t->open[PLAIN][debt][beneath];
    const double *within = t->open[WITHOUT_LOWER][debt][beneath];
    const double *before = t->open[last_with_less(c, k - c->least)][debt][beneath];
    const double *beside = k + c->least <= room ? t->open[PLAIN][debt][beneath + k] : NULL;
    for (uint32_t i = 1; i < c->count; i++) {
        /* held from the start; or in since the window above its own, or since before */
        double late = fmax(lower[i] + own, within[i + 1]);
        double entered = smaller(late, (row->head && i == 1 ? lower : before)[i] + own);
        double best = smaller(held[i] + first, entered);
        lower_to(&row->held[e][i], held[i] + first);
        lower_to(&row->lacks[e][end - i], best);
        if (all) lower_to(&row->serves[e][end - i], best);
        if (beside) lower_to(&row->serves[e][end - i], beside[i] + cost);
    }
}

static void list_options(const BlockCosts *c, Row *row, const Tables *t, uint32_t debt) {
    int64_t room = row->room, least = c->least, below = c->room - room;
    int64_t most = room > row->first_room ? room : row->first_room;
    uint32_t end = c->count - 1;
    for (int64_t k = least; k <= most; k++) {
        uint32_t e = debt_level(c, k);
        bool all = (k + 1) * c->unit > c->both_bytes;
        double alone = window_cost(c, k, row->first_room, row->debt, row->head);
        row->empty[e] = false;
        lower_to(&row->held[e][0], alone);
        lower_to(&row->lacks[e][end], alone);
        if (all) lower_to(&row->serves[e][end], alone);
        if (k <= room) list_class(c, row, t, debt, k);
    }
    if (room < least) return;
    for (uint32_t i = 1; i < c->count; i++) row->lower[end - i] = t->open[PLAIN][debt][below + least][i];
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
        double cost = window_cost(c, k, room, 0, false), first = block_step(&c->first, k);
        for (uint32_t i = 1; i < c->count; i++)
            lower_to(&held_last[i],
                     last == WITHOUT_LOWER ? open[i] + cost : fmax(open[i] + cost, closed[i] + first));
    }
}

/* The least of a[i] + b[i], i < n. */
static double least_sum(const double *a, const double *b, uint32_t n) {
    double best[4] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL}; /* they need not wait for each other */
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (uint32_t k = 0; k < 4; k++) best[k] = smaller(best[k], a[i + k] + b[i + k]);
    for (; i < n; i++) best[0] = smaller(best[0], a[i] + b[i]);
    return smaller(smaller(best[0], best[1]), smaller(best[2], best[3]));
}

/* The chains that may follow a period, by debt and length, and those with the passes of as many blocks. */
typedef struct Next {
    double *chain[DEBTS + 1], *restart[DEBTS];
} Next;

/* The chain of length L whose period begins with its first window. */
static double best_period(const BlockCosts *c, const Row *row, const Next *next, uint32_t L) {
    double best = L == 1 && !row->head  ? row->alone
                  : row->first_room < 0 ? HUGE_VAL
                                        : window_again(c, row->first_room, row->debt, row->head) +
                                              (row->head ? block_cost_pass_seconds(c, L - 1, row->first_room)
                                                         : row->passes[L - 1]) +
                                              next->chain[0][L - 1];
    for (uint32_t e = 0; e < DEBTS; e++) best = smaller(best, row->held_last[e][L - 1] + next->chain[e][0]);
    if (L == 1) return best;
    /* l = 2, and more of them, with L - l windows above */
    uint32_t two = c->count + 1 - L;
    const double *once = next->restart[0];
    for (uint32_t e = 0; e < DEBTS; e++) {
        if (row->empty[e]) continue;
        best = smaller(best, least_sum(row->lacks[e] + two, next->restart[e] + 1, L - 1));
        best = smaller(best, row->serves[e][two] + row->again_last[e] + once[0]);
        best = smaller(best, least_sum(row->serves[e] + two + 1, once + 1, L - 2) + row->again[e]);
    }
    best = smaller(best, row->lower[two - 1] + row->again_last[0] + once[0]);
    return smaller(best, least_sum(row->lower + two, once + 1, L - 2) + row->again[0]);
}

/* One variant of a row: all lengths, for every debt and for the head. */
static void fill(const BlockCosts *c, Row *rows, const Tables *t, uint32_t last, bool closed, int64_t below,
                 Next *next) {
    for (uint32_t d = 0; d <= DEBTS; d++) {
        next->chain[d] = (closed ? t->closed[d] : t->open[last][d])[below];
        if (d < DEBTS)
            next->chain[d][0] = closed ? fmax(block_step(&c->second, rows[d].room), c->debt[d]) : 0;
        list_last(c, &rows[d], t, d, last);
    }
    for (uint32_t L = 0; L <= c->count; L++) {
        for (uint32_t d = 0; d <= DEBTS && L > 0; d++) next->chain[d][L] = best_period(c, &rows[d], next, L);
        for (uint32_t d = 0; d < DEBTS && L < c->count; d++)
            next->restart[d][L] = rows[0].passes[L] + next->chain[d][L];
    }
}

static double count_seconds(const BlockCosts *c, Arena *arena) {
    Tables *t = NEW(arena, Tables);
    for (uint32_t d = 0; d <= DEBTS; d++) {
        t->closed[d] = new_table(c, arena);
        for (uint32_t last = 0; last < LASTS; last++) t->open[last][d] = new_table(c, arena);
    }
    Next next;
    for (uint32_t d = 0; d < DEBTS; d++) next.restart[d] = new_line(c, arena);
    for (int64_t below = c->room; below >= 0; below--) {
        Row rows[DEBTS + 1];
        for (uint32_t d = 0; d <= DEBTS; d++) {
            rows[d] = new_row(c, below, d, arena);
            list_options(c, &rows[d], t, d);
        }
        for (uint32_t last = 0; last < LASTS; last++) fill(c, rows, t, last, false, below, &next);
        fill(c, rows, t, PLAIN, true, below, &next);
    }
    return t->closed[DEBTS][0][c->count];
}

double revolve_seconds(const Problem *p, uint32_t boundary, int64_t budget_bytes) {
    Arena *arena = arena_new(), *scratch = arena_new();
    BlockRun *run = block_cost_run(p, boundary, arena);
    double best = 0;
    for (uint32_t i = 0; run && i < block_cost_instants(run); i++) {
        const BlockCosts *costs = block_cost_at(run, i, budget_bytes, scratch);
        if (costs) best = fmax(best, count_seconds(costs, scratch));
        arena_reset(scratch);
    }
    arena_free(scratch);
    arena_free(arena);
    return best;
}
