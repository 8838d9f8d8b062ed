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
 * what p's own operation fixes. A restart is a window in which the first block above the base runs. Until
 * then the lowest held block never moves down. If that is l in the last window before the restart, at least
 * m bytes were taken all along, so that the windows above l are a chain with base l and less room:
 *
 *     F(L, r) = min of
 *       window L with nothing held, L - 1 passes, F(L - 1, r)
 *       F(L - l, r - b), window l with b bytes of l held, l - 1 passes, F(l - 1, r)
 *       F(L - l, r - b), window l with b bytes of l held, and window l - 1 with nothing held, l - 2 passes,
 *         F(l - 2, r): where b gives all that window l wants of l without its input
 *       the last two with b = m above l, where l came in since, for a pass, or something below l is held
 *
 * A block held from the period's start has b bytes at all its instants, or its window would cost what fewer
 * bytes do. Work that no window wants can wait until one does. A window pays for its block's backward pass
 * up to p(d) and for that of block d + 1 after p(d + 1), each exactly (prove.c) for the bytes it holds, which
 * share r. Bytes count in units, rounded down. The loss head's instant starts the first window and has its
 * own room. A block's incoming gradients may be made again for nothing. */
#include "nested.h"
#include "blocks.h"
#include "cut.h"
#include "prove.h"

#include <math.h>
#include <string.h>

enum { PRICES = 40, FINE = 16, INSTANTS = 4, PROVE_CUTS = 400 };

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
    uint32_t instant;                    /* p(d) in the kind's own problem */
    int64_t output_bytes, both_bytes;    /* m; and of a set that gives the window's wants of its block */
    int64_t unit;                        /* bytes */
    int64_t room, head_room;             /* units; negative: none */
    uint32_t least;                      /* class of m */
    Steps pass, first, second;           /* output; output and first part; second part */
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
    v->rerun[middle] = true;
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

/* A window with `room` units whose block holds class k. After the head there is no second part. */
static double window_cost(const Nested *n, int64_t k, int64_t room, bool head) {
    if (room < k) return HUGE_VAL;
    return step(&n->first, k) + (head ? 0 : step(&n->second, room - k));
}

static double cheapest(const Nested *n, int64_t from, int64_t to, int64_t room, bool head) {
    double best = HUGE_VAL;
    for (int64_t k = from; k < to; k++) best = smaller(best, window_cost(n, k, room, head));
    return best;
}

/* One row of the recursion: a number of units below, and what the row's options cost. */
typedef struct Row {
    double *next;                    /* F in a row of its own room, by length */
    double *held, *both, *beside;    /* by L - l: the windows above l and l's own */
    double *entered;                 /* l came in since, or something lower is held */
    double *restart, *after, *other; /* by l: what follows a restart in window l, one in window l - 1 */
} Row;

static Row new_row(const Nested *n, double *next) {
    size_t width = n->count + 1;
    double *at = NEW_ARRAY(n->arena, double, 7 * width);
    return (Row){
        next, at, at + width, at + 2 * width, at + 3 * width, at + 4 * width, at + 5 * width, at + 6 * width};
}

/* `table` is F by units below, of the chains whose first window is the head's if `head`. */
static void list_options(const Nested *n, Row *row, double *const *table, uint32_t below, bool head) {
    uint32_t length = n->count;
    int64_t room = n->room - below, first_room = head ? n->head_room - below : room, least = n->least;
    int64_t most = room > first_room ? room : first_room;
    for (uint32_t i = 0; i <= length; i++)
        row->held[i] = row->both[i] = row->beside[i] = row->entered[i] = HUGE_VAL;
    for (int64_t k = least; k <= most; k++) {
        double cost = window_cost(n, k, room, false), first = window_cost(n, k, first_room, head);
        double lower = window_cost(n, k, room - least, false);
        double first_lower = window_cost(n, k, first_room - least, head);
        for (uint32_t i = 0; i < length; i++) {
            double sum = !i ? first : k <= room ? table[below + k][i] + cost : HUGE_VAL;
            double sum_lower = !i                  ? first_lower
                               : k + least <= room ? table[below + k + least][i] + lower
                                                   : HUGE_VAL;
            row->held[i] = smaller(row->held[i], sum);
            if ((k + 1) * n->unit > n->both_bytes) row->both[i] = smaller(row->both[i], sum);
            row->beside[i] = smaller(row->beside[i], sum_lower);
        }
    }
    row->entered[0] = cheapest(n, 0, least, first_room - least, head);
    if (room < least) return;
    double out = cheapest(n, 0, least, room - least, false);
    double in = n->least_pass + cheapest(n, least, room + 1, room, false);
    for (uint32_t i = 1; i < length; i++) row->entered[i] = table[below + least][i] + smaller(out, in);
}

/* What follows the period that ends with window l. */
static void list_restarts(const Nested *n, Row *row, uint32_t below, uint32_t l) {
    int64_t room = n->room - below;
    row->restart[l] = pass_seconds(n, l - 1, room) + row->next[l - 1];
    row->after[l] = row->other[l] = 0;
    if (l < 2) return;
    double rest = pass_seconds(n, l - 2, room) + row->next[l - 2];
    double again = cheapest(n, 0, n->least, room, false);
    double held = n->least_pass + cheapest(n, n->least, room + 1, room, false);
    row->after[l] = again + rest;
    row->other[l] = smaller(again, held) + rest;
}

static double best_period(const Nested *n, const Row *row, uint32_t below, uint32_t L, bool head) {
    int64_t room = head ? n->head_room - below : n->room - below;
    double first_passes = pass_seconds(n, L - 1, room);
    double best =
        room < 0 ? HUGE_VAL : cheapest(n, 0, n->least, room, head) + first_passes + row->next[L - 1];
    for (uint32_t l = 1; l <= L; l++) {
        double restart = l < L ? row->restart[l] : first_passes + row->next[l - 1];
        best = smaller(best, row->held[L - l] + restart);
        best = smaller(best, row->both[L - l] + row->after[l]);
        if (l < 2) continue;
        best = smaller(best, row->entered[L - l] + smaller(restart, row->other[l]));
        best = smaller(best, row->beside[L - l] + row->other[l]);
    }
    return best;
}

static double count_seconds(Nested *n) {
    uint32_t length = n->count, rows = (uint32_t)n->room + 1;
    double **table = NEW_ARRAY(n->arena, double *, rows), **head = NEW_ARRAY(n->arena, double *, rows);
    for (uint32_t u = 0; u < rows; u++) {
        table[u] = NEW_ARRAY(n->arena, double, length + 1);
        head[u] = NEW_ARRAY(n->arena, double, length + 1);
    }
    for (uint32_t u = rows; u-- > 0;) {
        Row row = new_row(n, table[u]), head_row = row;
        list_options(n, &row, table, u, false);
        for (uint32_t L = 1; L <= length; L++) {
            list_restarts(n, &row, u, L);
            table[u][L] = best_period(n, &row, u, L, false);
        }
        list_options(n, &head_row, head, u, true);
        for (uint32_t L = 1; L <= length; L++) head[u][L] = best_period(n, &head_row, u, L, true);
    }
    return head[0][length] + step(&n->second, n->room);
}

/* The bound with p(d) at operation `at` of the first block of the run, and `head` in the loss head. */
static double bound_at(Nested *n, uint32_t at, uint32_t head, int64_t budget_bytes) {
    enum { MOST_UNITS = 140 };
    const Problem *p = n->p;
    uint32_t middle = n->kind.forward_ops;
    int64_t room = budget_bytes - p->persistent_bytes - fixed_bytes(p, at);
    int64_t head_room = budget_bytes - p->persistent_bytes - fixed_bytes(p, head);
    if (room < 0 || head_room < 0) return 0; /* the closure bound says so */
    n->instant = middle + 1 + (at - n->links.at[n->begin].backward_begin);
    n->output_bytes = least_bytes(n, variant(n, true, true, middle + 1));
    n->both_bytes = least_bytes(n, variant(n, true, false, n->instant));
    if (n->output_bytes < FINE * 4 || n->output_bytes >= CUT_INFINITE) return 0;
    n->least = 4;
    while (n->least > 1 && room / (n->output_bytes / n->least) > MOST_UNITS) n->least /= 2;
    n->unit = n->output_bytes / n->least;
    n->room = room / n->unit, n->head_room = head_room / n->unit;
    if (n->room > MOST_UNITS) return 0;
    n->pass = exact_steps(n, variant(n, true, true, middle + 1), middle, n->least - 1);
    uint32_t most = (uint32_t)(n->room > n->head_room ? n->room : n->head_room);
    n->first = exact_steps(n, variant(n, true, false, n->instant), middle, most);
    n->second = exact_steps(n, variant(n, false, false, n->kind.own->ops - 2), n->instant, (uint32_t)n->room);
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
        uint32_t count = pick_instants(&n, link->backward_begin, link->backward_end, link->begin, link->end,
                                       link->input, instant, INSTANTS);
        uint32_t heads =
            pick_instants(&n, last->end, last->backward_begin, last->end, boundary, last[1].input, &head, 1);
        n.arena = scratch;
        for (uint32_t i = 0; i < count && heads && link->input != NONE; i++) {
            double seconds = bound_at(&n, instant[i], head, budget_bytes);
            if (seconds > best) best = seconds;
            arena_reset(scratch);
        }
    }
    arena_free(scratch);
    arena_free(links);
    return best;
}
