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
 *     l came in since, instead of something lower       F(L - l, r - m), a pass, window l with b; R = l, l -
 * 1 in window l + 1: something lower was there      at least F(L - l + 1, r - m), but r in its last window or
 * before, and was held at p(l + 2) too         r - b in the last window of F(L - l, r - m) something lower is
 * held until window R            F(L - R, r - m)
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
 * Bytes count in units, rounded down. The loss head's instant starts the first window and has its own room. A
 * block's incoming gradient is held, or made again from the loss on. */
#include "nested.h"
#include "blocks.h"
#include "cut.h"
#include "prove.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRICES = 40, FINE = 16, INSTANTS = 2, PROVE_CUTS = 400, DEBTS = 5 };

/* Seconds by class: class k holds k units and less than one more; the last stands for all above. */
typedef struct Steps {
    double *at;
    uint32_t count;
} Steps;

typedef struct Nested {
    const Problem *p;
    Links links;
    uint32_t begin, count; /* the run of equal links */
    Kind kind;
    uint32_t *rerun_end;                 /* by operation of the kind: after the last time one may run again */
    double gradient_seconds;             /* to make a block's incoming gradient again */
    uint32_t instant;                    /* p(d) in the kind's own problem */
    int64_t output_bytes, both_bytes;    /* m; and of a set that gives the window's wants of its block */
    int64_t unit;                        /* bytes */
    int64_t room, head_room;             /* units; negative: none */
    uint32_t least;                      /* class of m */
    Steps pass, first, second;           /* output; output and first part; second part */
    Steps owed;                          /* all of it, less output and first part */
    double debt[DEBTS];                  /* levels of that, ascending from 0 */
    double least_pass;                   /* by a block that holds less than m */
    double price[PRICES], cheap[PRICES]; /* a pass and its bytes at a price, below m */
    Arena *arena;
} Nested;

static double smaller(double a, double b) {
    return a < b ? a : b;
}

/* The longest run of consecutive equal links between the first and the last. */
static bool find_run(Nested *n) {
    for (uint32_t i = 1, length = 1; i + 1 < n->links.count; i++, length++) {
        if (n->links.at[i].kind != n->links.at[i - 1].kind) length = 1;
        if (length > n->count) n->count = length, n->begin = i + 1 - length;
    }
    return n->count >= 2;
}

static int64_t fixed_bytes(const Problem *p, uint32_t op) {
    int64_t bytes = p->workspace_bytes[op];
    for (EACH(i, p->reads, op)) bytes += p->bytes[p->reads.list[i]];
    for (EACH(i, p->makes, op)) bytes += p->bytes[p->makes.list[i]];
    if (list_begin(&p->takeover, op) < list_end(&p->takeover, op))
        bytes -= p->bytes[p->makes.list[list_begin(&p->makes, op)]];
    return bytes;
}

static bool reads(const Problem *p, uint32_t op, uint32_t s) {
    for (EACH(i, p->reads, op))
        if (p->reads.list[i] == s) return true;
    return false;
}

/* Whether `op` reads nothing of the forward pass but what was made in [begin, end). */
static bool keeps_to(const Problem *p, uint32_t boundary, uint32_t op, uint32_t begin, uint32_t end) {
    for (EACH(i, p->reads, op)) {
        uint32_t maker = p->maker[p->reads.list[i]];
        if (maker < boundary && (maker < begin || maker >= end)) return false;
    }
    return true;
}

/* Operations of [begin, end) that read no block but their own, [from, to), before the last read of `input`:
 * the few with the most bytes. */
static uint32_t pick_instants(const Nested *n, uint32_t begin, uint32_t end, uint32_t from, uint32_t to,
                              uint32_t input, uint32_t *instant, uint32_t most) {
    const Problem *p = n->p;
    uint32_t count = 0, last = end;
    while (last > begin && !reads(p, last - 1, input)) last--;
    for (uint32_t op = begin; op + 1 < last; op++) {
        if (!keeps_to(p, n->links.boundary, op, from, to)) continue;
        uint32_t at = count < most ? count++ : most;
        for (; at > 0 && fixed_bytes(p, instant[at - 1]) < fixed_bytes(p, op); at--)
            if (at < most) instant[at] = instant[at - 1];
        if (at < most) instant[at] = op;
    }
    return count;
}

/* The kind's problem with nothing read by the middle, which may run again, nor after `until`; the output is
 * read by the operation after the middle if `output`, and that is all it reads if `alone`. */
static Problem *variant(const Nested *n, bool output, bool alone, uint32_t until) {
    const Problem *own = n->kind.own;
    Arena *arena = n->arena;
    Problem *v = NEW(arena, Problem);
    *v = *own;
    uint32_t middle = n->kind.forward_ops, total = own->reads.first[own->ops], count = 0;
    v->reads.first = NEW_ARRAY(arena, uint32_t, own->ops + 1);
    v->reads.list = NEW_ARRAY(arena, uint32_t, 2 * (size_t)total + 1);
    v->rerun = NEW_ARRAY(arena, bool, own->ops + 1);
    v->bytes = NEW_ARRAY(arena, int64_t, own->storages + 1);
    memcpy(v->rerun, own->rerun, sizeof *v->rerun * own->ops);
    memcpy(v->bytes, own->bytes, sizeof *v->bytes * own->storages);
    v->seconds = NEW_ARRAY(arena, double, own->ops + 1);
    memcpy(v->seconds, own->seconds, sizeof *v->seconds * own->ops);
    v->rerun_end = n->rerun_end;
    v->rerun[middle] = true;
    v->seconds[middle] = n->gradient_seconds;
    for (uint32_t op = 0; op < own->ops; op++) {
        v->reads.first[op] = count;
        if (op == middle || op > until) continue;
        if (op == middle + 1 && output)
            for (EACH(i, own->reads, middle)) v->reads.list[count++] = own->reads.list[i];
        if (op == middle + 1 && alone) continue;
        for (EACH(i, own->reads, op)) v->reads.list[count++] = own->reads.list[i];
    }
    v->reads.first[own->ops] = count;
    return v;
}

/* Least bytes of a set that gives what is read after the middle of `v` without the block's input. */
static int64_t least_bytes(const Nested *n, const Problem *v) {
    const Link *link = &n->links.at[n->begin];
    uint32_t middle = n->kind.forward_ops;
    Cut *cut = cut_new(2 + v->storages + v->ops, n->arena);
    bool *wanted = NEW_ARRAY(n->arena, bool, v->storages + 1);
    for (uint32_t i = v->reads.first[middle]; i < v->reads.first[v->ops]; i++) {
        uint32_t s = v->reads.list[i];
        if (v->maker[s] >= middle || wanted[s]) continue;
        wanted[s] = true;
        cut_arc(cut, CUT_SOURCE, 2 + s, CUT_INFINITE);
    }
    for (uint32_t s = 0; s < v->storages; s++)
        if (v->maker[s] < middle) cut_arc(cut, 2 + s, 2 + v->storages + v->maker[s], v->bytes[s]);
    for (uint32_t op = 0; op < middle; op++) {
        uint32_t vertex = 2 + v->storages + op;
        if (!v->rerun[op] || reads(n->p, link->begin + op, link->input))
            cut_arc(cut, vertex, CUT_SINK, CUT_INFINITE);
        for (EACH(i, v->reads, op)) cut_arc(cut, vertex, 2 + v->reads.list[i], CUT_INFINITE);
    }
    return cut_solve(cut);
}

/* Least seconds after `instant` of `v` by class, up to class `most`. Sizes are rounded down to a fraction of
 * the unit, so that cuts can tell a byte too many from none. */
static Steps exact_steps(const Nested *n, Problem *v, uint32_t instant, uint32_t most) {
    Steps steps = {NEW_ARRAY(n->arena, double, most + 1), 0};
    for (uint32_t s = 0; s < v->storages; s++) v->bytes[s] /= n->unit / FINE;
    v->workspace_bytes = NEW_ARRAY(n->arena, int64_t, v->ops + 1);
    int64_t fixed = closure_fixed_bytes(closure_new(v, instant, n->arena));
    double upper = HUGE_VAL;
    Arena *scratch = arena_new();
    while (steps.count <= most && upper > 0) {
        Proof proof = {.upper_seconds = upper, .cuts = PROVE_CUTS};
        int64_t bytes = fixed + (int64_t)(steps.count + 1) * FINE - 1;
        upper = smaller(upper, prove_instant(v, instant, bytes, &proof, scratch));
        steps.at[steps.count++] = upper;
        arena_reset(scratch);
    }
    arena_free(scratch);
    return steps;
}

/* What many blocks pay for their outputs when together they hold few bytes, each less than m. */
static void price_passes(Nested *n) {
    uint32_t middle = n->kind.forward_ops;
    Problem *v = variant(n, true, true, middle + 1);
    for (uint32_t s = 0; s < v->storages; s++)
        if (v->bytes[s] >= n->output_bytes) v->bytes[s] *= 1024; /* dearer than any pass */
    Closure *closure = closure_new(v, middle, n->arena);
    for (uint32_t i = 0; i < PRICES; i++) {
        Trade trade;
        n->price[i] = n->kind.forward_seconds / (double)n->output_bytes * pow(2, (i - 30.) / 5);
        n->cheap[i] = closure_at(closure, n->price[i], 0, &trade, NULL, NULL);
    }
}

static double pass_seconds(const Nested *n, double passes, int64_t room) {
    double best = passes * n->least_pass, bytes = (double)((room + 1) * n->unit);
    for (uint32_t i = 0; i < PRICES; i++)
        if (passes * n->cheap[i] - n->price[i] * bytes > best)
            best = passes * n->cheap[i] - n->price[i] * bytes;
    return best;
}

static double step(const Steps *steps, int64_t k) {
    return steps->at[k < steps->count ? k : steps->count - 1];
}

/* ---- windows ---- */

/* The level of what block's second part is owed once the window before had class k of it. */
static uint32_t debt_level(const Nested *n, int64_t k) {
    uint32_t level = DEBTS - 1;
    while (level > 0 && step(&n->owed, k) < n->debt[level]) level--;
    return level;
}

/* A window with `room` units whose block holds class k. After the head there is no second part. */
static double window_cost(const Nested *n, int64_t k, int64_t room, double debt, bool head) {
    if (room < k) return HUGE_VAL;
    return step(&n->first, k) + (head ? 0 : fmax(step(&n->second, room - k), debt));
}

/* A window whose block holds less than m. */
static double window_again(const Nested *n, int64_t room, double debt, bool head) {
    double best = HUGE_VAL;
    for (int64_t k = 0; k < n->least; k++) best = smaller(best, window_cost(n, k, room, debt, head));
    return best;
}

/* How much less room there is at the start of a chain's last window, in m. */
static const int less[] = {0, -1, 2, 8};
enum { PLAIN, WITHOUT_LOWER, LASTS = COUNT_OF(less) };

static uint32_t last_with_less(const Nested *n, int64_t units) {
    uint32_t last = PLAIN;
    for (uint32_t i = WITHOUT_LOWER + 1; i < LASTS; i++)
        if (less[i] * (int64_t)n->least <= units) last = i;
    return last;
}

/* F by debt of the window before, units below and length; `open` by room of the last window, without what its
 * block's second part costs afterwards. One more set for chains that begin with the head's window. */
typedef struct Tables {
    double **open[LASTS][DEBTS + 1], **closed[DEBTS + 1];
} Tables;

static double **new_table(const Nested *n) {
    double **table = NEW_ARRAY(n->arena, double *, n->room + 1);
    for (int64_t below = 0; below <= n->room; below++)
        table[below] = NEW_ARRAY(n->arena, double, n->count + 1);
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

static double *new_line(const Nested *n) {
    double *line = NEW_ARRAY(n->arena, double, n->count + 1);
    for (uint32_t i = 0; i <= n->count; i++) line[i] = HUGE_VAL;
    return line;
}

static Row new_row(const Nested *n, int64_t below, uint32_t debt) {
    Row row = {.room = n->room - below, .head = debt == DEBTS};
    row.first_room = row.head ? n->head_room - below : row.room;
    row.debt = row.head ? 0 : n->debt[debt];
    for (uint32_t e = 0; e < DEBTS; e++) {
        row.held[e] = new_line(n), row.both[e] = new_line(n), row.beside[e] = new_line(n);
        row.entered[e] = new_line(n), row.all[e] = new_line(n), row.held_last[e] = new_line(n);
        row.again[e] = window_again(n, row.room, n->debt[e], false);
    }
    row.lower = new_line(n);
    row.passes = new_line(n);
    for (uint32_t i = 0; i < n->count; i++) row.passes[i] = pass_seconds(n, i, row.room);
    return row;
}

static void lower_to(double *value, double other) {
    if (other < *value) *value = other;
}

/* l came in since, with class k: in the window above its own, from something lower; or before, and was held
 * since. */
static double entered_seconds(const Nested *n, const Row *row, const Tables *t, uint32_t debt, uint32_t i,
                              int64_t k) {
    int64_t below = n->room - row->room + n->least;
    double own = n->least_pass + window_cost(n, k, row->room, 0, false);
    double within = t->open[WITHOUT_LOWER][debt][below][i + 1];
    double late = fmax(t->open[PLAIN][debt][below][i] + own, within);
    uint32_t last = row->head && i == 1 ? PLAIN : last_with_less(n, k - n->least);
    return smaller(late, t->open[last][debt][below][i] + own);
}

static void list_options(const Nested *n, Row *row, const Tables *t, uint32_t debt) {
    int64_t room = row->room, least = n->least, below = n->room - room;
    int64_t most = room > row->first_room ? room : row->first_room;
    for (int64_t k = least; k <= most; k++) {
        uint32_t e = debt_level(n, k);
        bool all = (k + 1) * n->unit > n->both_bytes;
        double first = window_cost(n, k, row->first_room, row->debt, row->head);
        lower_to(&row->held[e][0], first);
        if (all) lower_to(&row->both[e][0], first);
        if (k > room) continue;
        const double *held = t->closed[debt][below + k];
        const double *beside = k + least <= room ? t->open[PLAIN][debt][below + k + least] : NULL;
        for (uint32_t i = 1; i < n->count; i++) {
            double sum = held[i] + step(&n->first, k);
            lower_to(&row->held[e][i], sum);
            if (all) lower_to(&row->both[e][i], sum);
            if (beside) lower_to(&row->beside[e][i], beside[i] + window_cost(n, k, room, 0, false));
            double entered = entered_seconds(n, row, t, debt, i, k);
            lower_to(&row->entered[e][i], entered);
            if (all) lower_to(&row->all[e][i], entered);
        }
    }
    if (room < least) return;
    for (uint32_t i = 1; i < n->count; i++) row->lower[i] = t->open[PLAIN][debt][below + least][i];
}

/* The options of the last window. */
static void list_last(const Nested *n, Row *row, const Tables *t, uint32_t debt, uint32_t last) {
    int64_t below = n->room - row->room, room = row->room - less[last] * (int64_t)n->least;
    row->alone = window_again(n, room, row->debt, false);
    for (uint32_t e = 0; e < DEBTS; e++) {
        row->again_last[e] = window_again(n, room, n->debt[e], false);
        if (last == PLAIN)
            memcpy(row->held_last[e], row->held[e], sizeof(double) * (n->count + 1));
        else
            for (uint32_t i = 0; i <= n->count; i++) row->held_last[e][i] = HUGE_VAL;
        if (row->head) row->held_last[e][0] = row->held[e][0];
    }
    for (int64_t k = n->least; k <= room && last != PLAIN; k++) {
        double *held_last = row->held_last[debt_level(n, k)];
        if (!row->head) lower_to(&held_last[0], window_cost(n, k, room, row->debt, false));
        if (k > row->room) continue;
        const double *open = t->open[PLAIN][debt][below + k], *closed = t->closed[debt][below + k];
        double cost = window_cost(n, k, room, 0, false), first = step(&n->first, k);
        for (uint32_t i = 1; i < n->count; i++)
            lower_to(&held_last[i],
                     last == WITHOUT_LOWER ? open[i] + cost : fmax(open[i] + cost, closed[i] + first));
    }
}

/* The chain of length L whose period begins with its first window; `next` are those that begin after it. */
static double best_period(const Nested *n, const Row *row, double *const *next, uint32_t L) {
    double best = L == 1 && !row->head ? row->alone
                  : row->first_room < 0
                      ? HUGE_VAL
                      : window_again(n, row->first_room, row->debt, row->head) +
                            (row->head ? pass_seconds(n, L - 1, row->first_room) : row->passes[L - 1]) +
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
static void fill(const Nested *n, Row *rows, const Tables *t, uint32_t last, bool closed, int64_t below) {
    double *next[DEBTS + 1];
    for (uint32_t d = 0; d <= DEBTS; d++) {
        next[d] = (closed ? t->closed[d] : t->open[last][d])[below];
        if (d < DEBTS) next[d][0] = closed ? fmax(step(&n->second, rows[d].room), n->debt[d]) : 0;
        list_last(n, &rows[d], t, d, last);
    }
    for (uint32_t L = 1; L <= n->count; L++)
        for (uint32_t d = 0; d <= DEBTS; d++) next[d][L] = best_period(n, &rows[d], next, L);
}

static double count_seconds(Nested *n) {
    Tables *t = NEW(n->arena, Tables);
    for (uint32_t d = 0; d <= DEBTS; d++) {
        t->closed[d] = new_table(n);
        for (uint32_t last = 0; last < LASTS; last++) t->open[last][d] = new_table(n);
    }
    for (int64_t below = n->room; below >= 0; below--) {
        Row rows[DEBTS + 1];
        for (uint32_t d = 0; d <= DEBTS; d++) {
            rows[d] = new_row(n, below, d);
            list_options(n, &rows[d], t, d);
        }
        for (uint32_t last = 0; last < LASTS; last++) fill(n, rows, t, last, false, below);
        fill(n, rows, t, PLAIN, true, below);
    }
    return t->closed[DEBTS][0][n->count];
}

/* A time of the whole as one of the kind's own problem. */
static uint32_t own_time(const Nested *n, const Link *link, uint32_t time) {
    uint32_t middle = n->kind.forward_ops;
    if (time >= link->backward_end) return n->kind.own->ops;
    return time < link->backward_begin ? middle : middle + 1 + (time - link->backward_begin);
}

/* In a replay some operations stop earlier than they must: not here. The latest of the run's blocks. */
static void find_rerun_ends(Nested *n, Arena *arena) {
    const Problem *p = n->p;
    uint32_t middle = n->kind.forward_ops, ops = n->kind.own->ops;
    n->rerun_end = NEW_ARRAY(arena, uint32_t, ops + 1);
    n->rerun_end[middle] = n->rerun_end[ops - 1] = ops;
    for (uint32_t i = 0; i < n->count; i++) {
        const Link *link = &n->links.at[n->begin + i];
        for (uint32_t t = 0; t + 1 < ops; t++) {
            if (t == middle) continue;
            uint32_t op = t < middle ? link->begin + t : link->backward_begin + (t - middle - 1);
            uint32_t end = own_time(n, link, p->rerun_end ? p->rerun_end[op] : p->update_begin);
            if (end > n->rerun_end[t]) n->rerun_end[t] = end;
        }
    }
}

/* The gradient that block `i` of the run reads and does not make; NONE unless there is just one. */
static uint32_t incoming(const Nested *n, uint32_t i) {
    const Problem *p = n->p;
    const Link *link = &n->links.at[n->begin + i];
    uint32_t found = NONE;
    for (uint32_t op = link->backward_begin; op < link->backward_end; op++)
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            bool before = p->maker[s] >= link->end && p->maker[s] < link->backward_begin;
            if (!before || s == found) continue;
            if (found != NONE) return NONE;
            found = s;
        }
    return found;
}

/* Least bytes of what a block's backward pass makes that give the gradient `s` without its incoming one. */
static int64_t least_gradient_bytes(const Nested *n, const Link *link, uint32_t s) {
    const Problem *p = n->p;
    uint32_t ops = link->backward_end - link->backward_begin;
    Cut *cut = cut_new(2 + p->storages + ops, n->arena);
    cut_arc(cut, CUT_SOURCE, 2 + s, CUT_INFINITE);
    for (uint32_t op = link->backward_begin; op < link->backward_end; op++) {
        uint32_t vertex = 2 + p->storages + (op - link->backward_begin);
        if (!p->rerun[op]) cut_arc(cut, vertex, CUT_SINK, CUT_INFINITE);
        for (EACH(k, p->makes, op)) cut_arc(cut, 2 + p->makes.list[k], vertex, p->bytes[p->makes.list[k]]);
        for (EACH(k, p->reads, op)) {
            uint32_t from = p->reads.list[k], maker = p->maker[from];
            if (maker >= link->backward_begin)
                cut_arc(cut, vertex, 2 + from, CUT_INFINITE);
            else if (maker >= link->end)
                cut_arc(cut, vertex, CUT_SINK, CUT_INFINITE);
        }
    }
    return cut_solve(cut);
}

/* Seconds to make a block's incoming gradient again where less than its bytes of it and of those after it is
 * held: back to the loss, through all that is too large to be held, blocks of the run left out. Nothing where
 * fewer bytes would do inside a block. */
static double gradient_again(const Nested *n) {
    const Problem *p = n->p;
    const Link *last = &n->links.at[n->begin + n->count - 1];
    uint32_t s = incoming(n, n->count - 1), first = incoming(n, 0);
    if (s == NONE || first == NONE || p->bytes[first] != p->bytes[s] ||
        least_gradient_bytes(n, &n->links.at[n->begin + 1], first) < p->bytes[s])
        return 0;
    bool *again = NEW_ARRAY(n->arena, bool, p->ops + 1);
    double seconds = 0;
    again[p->maker[s]] = true;
    for (uint32_t op = last->backward_begin; op-- > last->end;) {
        if (!again[op]) continue;
        if (!p->rerun[op]) return 1e3 * p->ops * n->kind.forward_seconds; /* never */
        seconds += p->seconds[op];
        for (EACH(k, p->reads, op))
            if (p->bytes[p->reads.list[k]] >= p->bytes[s]) again[p->maker[p->reads.list[k]]] = true;
    }
    return seconds;
}

/* What the second part costs with a later instant of the backward pass besides: what runs again between the
 * two, and after the later one. */
static void raise_second(Nested *n, uint32_t at, uint32_t later) {
    const Problem *p = n->p;
    uint32_t instant = own_time(n, &n->links.at[n->begin], later), most = (uint32_t)n->room;
    int64_t more = fixed_bytes(p, at) - fixed_bytes(p, later) + n->unit - 1;
    int64_t highest = (most * n->unit + more) / n->unit;
    if (highest < 0) return;
    Steps between = exact_steps(n, variant(n, false, false, instant), n->instant, most);
    Steps after = exact_steps(n, variant(n, false, false, n->kind.own->ops - 2), instant, (uint32_t)highest);
    Steps raised = {NEW_ARRAY(n->arena, double, most + 1), most + 1};
    for (uint32_t k = 0; k <= most; k++) {
        int64_t bytes = k * n->unit + more;
        double sum = bytes < 0 ? HUGE_VAL : step(&between, k) + step(&after, bytes / n->unit);
        raised.at[k] = fmax(step(&n->second, k), sum);
    }
    n->second = raised;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Levels among what is owed by class. */
static void choose_debts(Nested *n) {
    double *owed = NEW_ARRAY(n->arena, double, n->owed.count + 1);
    uint32_t count = 0;
    for (uint32_t k = 0; k < n->owed.count; k++) {
        n->owed.at[k] = fmax(0, n->owed.at[k] - step(&n->first, k));
        if (k >= n->least) owed[count++] = n->owed.at[k];
    }
    qsort(owed, count, sizeof *owed, ascending);
    for (uint32_t e = 1; e < DEBTS; e++) n->debt[e] = count ? owed[(count - 1) * e / (DEBTS - 1)] : 0;
}

/* The bound with p(d) at operation `at` of the first block of the run, and `head` in the loss head. */
static double bound_at(Nested *n, const uint32_t *instant, uint32_t count, uint32_t at, uint32_t head,
                       int64_t budget_bytes) {
    enum { MOST_UNITS = 100 };
    const Problem *p = n->p;
    uint32_t middle = n->kind.forward_ops;
    int64_t room = budget_bytes - p->persistent_bytes - fixed_bytes(p, at);
    int64_t head_room = budget_bytes - p->persistent_bytes - fixed_bytes(p, head);
    if (room < 0 || head_room < 0) return 0; /* the closure bound says so */
    n->gradient_seconds = gradient_again(n);
    n->instant = own_time(n, &n->links.at[n->begin], at);
    n->output_bytes = least_bytes(n, variant(n, true, true, middle + 1));
    n->both_bytes = least_bytes(n, variant(n, true, false, n->instant));
    if (n->output_bytes < FINE * 4 || n->output_bytes >= CUT_INFINITE) return 0;
    int64_t outputs = n->output_bytes * n->count;
    if (room >= outputs && head_room >= outputs) return 0; /* no block need run for another's sake */
    n->least = 4;
    while (n->least > 1 && room / (n->output_bytes / n->least) > MOST_UNITS) n->least /= 2;
    n->unit = n->output_bytes / n->least;
    n->room = room / n->unit, n->head_room = head_room / n->unit;
    if (n->room > MOST_UNITS) return 0;
    n->pass = exact_steps(n, variant(n, true, true, middle + 1), middle, n->least - 1);
    uint32_t most = (uint32_t)(n->room > n->head_room ? n->room : n->head_room);
    n->first = exact_steps(n, variant(n, true, false, n->instant), middle, most);
    n->second = exact_steps(n, variant(n, false, false, n->kind.own->ops - 2), n->instant, (uint32_t)n->room);
    n->owed = exact_steps(n, variant(n, true, false, n->kind.own->ops - 2), middle, most);
    choose_debts(n);
    for (uint32_t i = 0; i < count; i++)
        if (instant[i] > at) raise_second(n, at, instant[i]);
    n->least_pass = n->pass.at[n->pass.count - 1];
    price_passes(n);
    return count_seconds(n);
}

double nested_seconds(const Problem *p, uint32_t boundary, int64_t budget_bytes) {
    Arena *links = arena_new(), *scratch = arena_new();
    Nested n = {.p = p, .links = blocks_find(p, boundary, links), .arena = links};
    double best = 0;
    if (find_run(&n)) {
        const Link *link = &n.links.at[n.begin], *last = &n.links.at[n.begin + n.count - 1];
        uint32_t instant[INSTANTS], head;
        n.kind = block_kind(p, link, links);
        find_rerun_ends(&n, links);
        uint32_t count = pick_instants(&n, link->backward_begin, link->backward_end, link->begin, link->end,
                                       link->input, instant, INSTANTS);
        uint32_t heads =
            pick_instants(&n, last->end, last->backward_begin, last->end, boundary, last[1].input, &head, 1);
        n.arena = scratch;
        for (uint32_t i = 0; i < count && heads && link->input != NONE; i++) {
            double seconds = bound_at(&n, instant, count, instant[i], head, budget_bytes);
            if (seconds > best) best = seconds;
            arena_reset(scratch);
        }
    }
    arena_free(scratch);
    arena_free(links);
    return best;
}
