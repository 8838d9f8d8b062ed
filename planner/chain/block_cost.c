/* See block_cost.h. In: a problem and its boundary; out: what blocks of the longest run of equal ones cost,
 * each by itself: on its own problem (choices.c), with its input given and its incoming gradient held, or
 * made again from the loss on. */
#include "planner/chain/block_cost.h"
#include "planner/chain/blocks.h"
#include "planner/bound/min_cut.h"
#include "planner/bound/exact_closure.h"
#include "planner/chain/choices.h"
#include "planner/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FINE = 16 }; /* units of bytes that the least of an operation is counted in */

struct BlockRun {
    const Problem *p;
    Links links;
    uint32_t begin, count; /* the run */
    Kind kind;
    uint32_t *rerun_end;     /* by operation of the kind: after the last time one may run again */
    double gradient_seconds; /* to make a block's incoming gradient again */
    uint32_t instants[EFFORT_BLOCK_COST_INSTANTS], instant_count,
        head;             /* operations of the first block, and of the head */
    uint32_t instant;     /* p in the kind's own problem */
    int64_t output_bytes; /* m */
    BlockCosts costs;
    Arena *arena;
};

/* The longest run of consecutive equal links between the first and the last. */
static bool find_run(BlockRun *run) {
    for (uint32_t i = 1, length = 1; i + 1 < run->links.count; i++, length++) {
        if (run->links.at[i].kind != run->links.at[i - 1].kind) length = 1;
        if (length > run->count) run->count = length, run->begin = i + 1 - length;
    }
    return run->count >= 2;
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

/* Bytes that an operation takes; of a pair, and what the next one reads besides. */
static int64_t instant_bytes(const Problem *p, uint32_t op, bool pair) {
    int64_t bytes = problem_operation_bytes(p, op);
    for (EACH(i, p->reads, op + 1)) {
        uint32_t s = p->reads.list[i];
        if (pair && p->maker[s] < op && !reads(p, op, s)) bytes += p->bytes[s];
    }
    return bytes;
}

/* Of the operations of [begin, end) that read no block but their own, [from, to), before the last read of
 * `input`: the one with the most bytes that is not `but`; NONE without one. */
static uint32_t pick_instant(const BlockRun *run, uint32_t begin, uint32_t end, uint32_t from, uint32_t to,
                             uint32_t input, bool pair, uint32_t but) {
    const Problem *p = run->p;
    uint32_t best = NONE, last = end;
    int64_t most = -1;
    while (last > begin && !reads(p, last - 1, input)) last--;
    for (uint32_t op = begin; op + 1 < last; op++) {
        int64_t bytes = instant_bytes(p, op, pair);
        if (op == but || bytes <= most || !keeps_to(p, run->links.boundary, op, from, to)) continue;
        best = op, most = bytes;
    }
    return best;
}

/* The operation of the first block that takes most with what the next one reads, and the one that takes most
 * alone. */
static void pick_instants(BlockRun *run, const Link *link) {
    for (uint32_t pair = 2; pair-- > 0;) {
        uint32_t but = run->instant_count ? run->instants[0] : NONE;
        uint32_t op = pick_instant(run, link->backward_begin, link->backward_end, link->begin, link->end,
                                   link->input, pair, but);
        if (op != NONE) run->instants[run->instant_count++] = op;
    }
}

/* The kind's problem with nothing read by the middle, which may run again, nor after `until`; the output is
 * read by the operation after the middle if `output`, and that is all it reads if `alone`. */
static Problem *variant(const BlockRun *run, bool output, bool alone, uint32_t until) {
    const Problem *own = run->kind.own;
    Arena *arena = run->arena;
    Problem *v = NEW(arena, Problem);
    *v = *own;
    uint32_t middle = run->kind.forward_ops, total = own->reads.first[own->ops], count = 0;
    v->reads.first = NEW_ARRAY(arena, uint32_t, own->ops + 1);
    v->reads.list = NEW_ARRAY(arena, uint32_t, 2 * (size_t)total + 1);
    v->rerun = NEW_ARRAY(arena, bool, own->ops + 1);
    v->bytes = NEW_ARRAY(arena, int64_t, own->storages + 1);
    memcpy(v->rerun, own->rerun, sizeof *v->rerun * own->ops);
    memcpy(v->bytes, own->bytes, sizeof *v->bytes * own->storages);
    v->seconds = NEW_ARRAY(arena, double, own->ops + 1);
    memcpy(v->seconds, own->seconds, sizeof *v->seconds * own->ops);
    v->rerun_end = run->rerun_end;
    v->rerun[middle] = true;
    v->seconds[middle] = run->gradient_seconds;
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
static int64_t least_bytes(const BlockRun *run, const Problem *v) {
    const Link *link = &run->links.at[run->begin];
    uint32_t middle = run->kind.forward_ops;
    MinCut *cut = min_cut_new(2 + v->storages + v->ops, run->arena);
    bool *wanted = NEW_ARRAY(run->arena, bool, v->storages + 1);
    for (uint32_t i = v->reads.first[middle]; i < v->reads.first[v->ops]; i++) {
        uint32_t s = v->reads.list[i];
        if (v->maker[s] >= middle || wanted[s]) continue;
        wanted[s] = true;
        min_cut_arc(cut, MIN_CUT_SOURCE, 2 + s, MIN_CUT_INFINITE);
    }
    for (uint32_t s = 0; s < v->storages; s++)
        if (v->maker[s] < middle) min_cut_arc(cut, 2 + s, 2 + v->storages + v->maker[s], v->bytes[s]);
    for (uint32_t op = 0; op < middle; op++) {
        uint32_t vertex = 2 + v->storages + op;
        if (!v->rerun[op] || reads(run->p, link->begin + op, link->input))
            min_cut_arc(cut, vertex, MIN_CUT_SINK, MIN_CUT_INFINITE);
        for (EACH(i, v->reads, op)) min_cut_arc(cut, vertex, 2 + v->reads.list[i], MIN_CUT_INFINITE);
    }
    return min_cut_solve(cut);
}

/* Least seconds after `instant` of `v` by class, up to class `most`. Sizes are rounded down to a fraction of
 * the unit, so that cuts can tell a byte too many from none. */
static BlockSteps exact_steps(const BlockRun *run, Problem *v, uint32_t instant, uint32_t most) {
    BlockSteps steps = {NEW_ARRAY(run->arena, double, most + 1), 0};
    for (uint32_t s = 0; s < v->storages; s++) v->bytes[s] /= run->costs.unit / FINE;
    v->workspace_bytes = NEW_ARRAY(run->arena, int64_t, v->ops + 1);
    int64_t fixed = closure_fixed_bytes(closure_new(v, instant, run->arena));
    double upper = HUGE_VAL;
    Arena *scratch = arena_new();
    while (steps.count <= most && upper > 0) {
        Proof proof = {.upper_seconds = upper, .cuts = EFFORT_BLOCK_COST_CUTS};
        int64_t bytes = fixed + (int64_t)(steps.count + 1) * FINE - 1;
        upper = fmin(upper, exact_closure_seconds(v, instant, bytes, &proof, scratch));
        steps.at[steps.count++] = upper;
        arena_reset(scratch);
    }
    arena_free(scratch);
    return steps;
}

/* What many blocks pay for their outputs when together they hold few bytes, each less than m. */
static void price_passes(BlockRun *run) {
    uint32_t middle = run->kind.forward_ops;
    Problem *v = variant(run, true, true, middle + 1);
    for (uint32_t s = 0; s < v->storages; s++)
        if (v->bytes[s] >= run->output_bytes) v->bytes[s] *= 1024; /* dearer than any pass */
    Closure *closure = closure_new(v, middle, run->arena);
    for (uint32_t i = 0; i < PASS_PRICES; i++) {
        Trade trade;
        run->costs.price[i] = run->kind.forward_seconds / (double)run->output_bytes * pow(2, (i - 30.) / 5);
        run->costs.cheap[i] = closure_at(closure, run->costs.price[i], 0, &trade, NULL, NULL);
    }
}

/* In a replay some operations stop earlier than they must: not here. The latest of the run's blocks. */
static void find_rerun_ends(BlockRun *run) {
    const Problem *p = run->p;
    uint32_t middle = run->kind.forward_ops, ops = run->kind.own->ops;
    run->rerun_end = NEW_ARRAY(run->arena, uint32_t, ops + 1);
    run->rerun_end[middle] = run->rerun_end[ops - 1] = ops;
    for (uint32_t i = 0; i < run->count; i++) {
        const Link *link = &run->links.at[run->begin + i];
        for (uint32_t t = 0; t + 1 < ops; t++) {
            if (t == middle) continue;
            uint32_t op = t < middle ? link->begin + t : link->backward_begin + (t - middle - 1);
            uint32_t end = choices_time(link, p->rerun_end ? p->rerun_end[op] : p->update_begin);
            if (end > run->rerun_end[t]) run->rerun_end[t] = end;
        }
    }
}

/* The gradient that block `i` of the run reads and does not make; NONE unless there is just one. */
static uint32_t incoming(const BlockRun *run, uint32_t i) {
    const Problem *p = run->p;
    const Link *link = &run->links.at[run->begin + i];
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
static int64_t least_gradient_bytes(const BlockRun *run, const Link *link, uint32_t s) {
    const Problem *p = run->p;
    uint32_t ops = link->backward_end - link->backward_begin;
    MinCut *cut = min_cut_new(2 + p->storages + ops, run->arena);
    min_cut_arc(cut, MIN_CUT_SOURCE, 2 + s, MIN_CUT_INFINITE);
    for (uint32_t op = link->backward_begin; op < link->backward_end; op++) {
        uint32_t vertex = 2 + p->storages + (op - link->backward_begin);
        if (!p->rerun[op]) min_cut_arc(cut, vertex, MIN_CUT_SINK, MIN_CUT_INFINITE);
        for (EACH(k, p->makes, op))
            min_cut_arc(cut, 2 + p->makes.list[k], vertex, p->bytes[p->makes.list[k]]);
        for (EACH(k, p->reads, op)) {
            uint32_t from = p->reads.list[k], maker = p->maker[from];
            if (maker >= link->backward_begin)
                min_cut_arc(cut, vertex, 2 + from, MIN_CUT_INFINITE);
            else if (maker >= link->end)
                min_cut_arc(cut, vertex, MIN_CUT_SINK, MIN_CUT_INFINITE);
        }
    }
    return min_cut_solve(cut);
}

/* Seconds to make a block's incoming gradient again where less than its bytes of it and of those after it is
 * held: back to the loss, through all that is too large to be held, blocks of the run left out. Nothing where
 * fewer bytes would do inside a block. */
static double gradient_again(const BlockRun *run) {
    const Problem *p = run->p;
    const Link *last = &run->links.at[run->begin + run->count - 1];
    uint32_t s = incoming(run, run->count - 1), first = incoming(run, 0);
    if (s == NONE || first == NONE || p->bytes[first] != p->bytes[s] ||
        least_gradient_bytes(run, &run->links.at[run->begin + 1], first) < p->bytes[s])
        return 0;
    bool *again = NEW_ARRAY(run->arena, bool, p->ops + 1);
    double seconds = 0;
    again[p->maker[s]] = true;
    for (uint32_t op = last->backward_begin; op-- > last->end;) {
        if (!again[op]) continue;
        if (!p->rerun[op]) return 1e3 * p->ops * run->kind.forward_seconds; /* never */
        seconds += p->seconds[op];
        for (EACH(k, p->reads, op))
            if (p->bytes[p->reads.list[k]] >= p->bytes[s]) again[p->maker[p->reads.list[k]]] = true;
    }
    return seconds;
}

/* What the second part costs with a later instant of the backward pass besides: what runs again between the
 * two, and after the later one. */
static void raise_second(BlockRun *run, uint32_t at, uint32_t later) {
    const Problem *p = run->p;
    uint32_t instant = choices_time(&run->links.at[run->begin], later), most = (uint32_t)run->costs.room;
    int64_t more = problem_operation_bytes(p, at) - problem_operation_bytes(p, later) + run->costs.unit - 1;
    int64_t highest = (most * run->costs.unit + more) / run->costs.unit;
    if (highest < 0) return;
    BlockSteps between = exact_steps(run, variant(run, false, false, instant), run->instant, most);
    BlockSteps after =
        exact_steps(run, variant(run, false, false, run->kind.own->ops - 2), instant, (uint32_t)highest);
    BlockSteps raised = {NEW_ARRAY(run->arena, double, most + 1), most + 1};
    for (uint32_t k = 0; k <= most; k++) {
        int64_t bytes = k * run->costs.unit + more;
        double sum =
            bytes < 0 ? HUGE_VAL : block_step(&between, k) + block_step(&after, bytes / run->costs.unit);
        raised.at[k] = fmax(block_step(&run->costs.second, k), sum);
    }
    run->costs.second = raised;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Levels among what is owed by class. */
static void choose_debts(BlockRun *run) {
    double *owed = NEW_ARRAY(run->arena, double, run->costs.owed.count + 1);
    uint32_t count = 0;
    for (uint32_t k = 0; k < run->costs.owed.count; k++) {
        run->costs.owed.at[k] = fmax(0, run->costs.owed.at[k] - block_step(&run->costs.first, k));
        if (k >= run->costs.least) owed[count++] = run->costs.owed.at[k];
    }
    qsort(owed, count, sizeof *owed, ascending);
    for (uint32_t e = 1; e < DEBTS; e++) run->costs.debt[e] = count ? owed[(count - 1) * e / (DEBTS - 1)] : 0;
}

BlockRun *block_cost_run(const Problem *p, uint32_t boundary, Arena *arena) {
    BlockRun *run = NEW(arena, BlockRun);
    *run = (BlockRun){.p = p, .links = blocks_find(p, boundary, arena), .arena = arena};
    if (!find_run(run)) return NULL;
    const Link *link = &run->links.at[run->begin], *last = &run->links.at[run->begin + run->count - 1];
    run->kind = choices_kind(p, link, arena);
    pick_instants(run, link);
    run->head =
        pick_instant(run, last->end, last->backward_begin, last->end, boundary, last[1].input, false, NONE);
    if (run->head == NONE || link->input == NONE) return NULL;
    find_rerun_ends(run);
    run->gradient_seconds = gradient_again(run);
    return run;
}

uint32_t block_cost_instants(const BlockRun *run) {
    return run->instant_count;
}

const BlockCosts *block_cost_at(BlockRun *run, uint32_t which, int64_t budget_bytes, Arena *arena) {
    const Problem *p = run->p;
    uint32_t middle = run->kind.forward_ops, at = run->instants[which], head = run->head;
    int64_t room = budget_bytes - p->persistent_bytes - problem_operation_bytes(p, at);
    int64_t head_room = budget_bytes - p->persistent_bytes - problem_operation_bytes(p, head);
    if (room < 0 || head_room < 0) return NULL; /* the closure bound says so */
    run->arena = arena;
    run->costs.count = run->count;
    run->instant = choices_time(&run->links.at[run->begin], at);
    run->output_bytes = least_bytes(run, variant(run, true, true, middle + 1));
    run->costs.both_bytes = least_bytes(run, variant(run, true, false, run->instant));
    if (run->output_bytes < FINE * 4 || run->output_bytes >= MIN_CUT_INFINITE) return NULL;
    int64_t outputs = run->output_bytes * run->count;
    if (room >= outputs && head_room >= outputs) return NULL; /* no block need run for another's sake */
    run->costs.least = 4;
    while (run->costs.least > 1 && room / (run->output_bytes / run->costs.least) > EFFORT_BLOCK_COST_UNITS)
        run->costs.least /= 2;
    run->costs.unit = run->output_bytes / run->costs.least;
    run->costs.room = room / run->costs.unit, run->costs.head_room = head_room / run->costs.unit;
    if (run->costs.room > EFFORT_BLOCK_COST_UNITS) return NULL;
    BlockSteps pass = exact_steps(run, variant(run, true, true, middle + 1), middle, run->costs.least - 1);
    uint32_t most =
        (uint32_t)(run->costs.room > run->costs.head_room ? run->costs.room : run->costs.head_room);
    run->costs.first = exact_steps(run, variant(run, true, false, run->instant), middle, most);
    run->costs.second = exact_steps(run, variant(run, false, false, run->kind.own->ops - 2), run->instant,
                                    (uint32_t)run->costs.room);
    run->costs.owed = exact_steps(run, variant(run, true, false, run->kind.own->ops - 2), middle, most);
    choose_debts(run);
    for (uint32_t i = 0; i < run->instant_count; i++)
        if (run->instants[i] > at) raise_second(run, at, run->instants[i]);
    run->costs.least_pass = pass.at[pass.count - 1];
    price_passes(run);
    return &run->costs;
}

double block_cost_pass_seconds(const BlockCosts *costs, double passes, int64_t room) {
    double best = passes * costs->least_pass, bytes = (double)((room + 1) * costs->unit);
    for (uint32_t i = 0; i < PASS_PRICES; i++)
        if (passes * costs->cheap[i] - costs->price[i] * bytes > best)
            best = passes * costs->cheap[i] - costs->price[i] * bytes;
    return best;
}
