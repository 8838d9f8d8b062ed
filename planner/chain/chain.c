/* From the recursion over a chain of blocks (planner/chain/chain_tables.c) to plans. In: a problem; out:
 * retentions for memories from keep-all's down to the least, and what they are foreseen to cost. Invariant:
 * what was decided takes, where nothing is pinned, the seconds its table says; its peak is higher by no more
 * than what a block's backward pass makes before it first needs the block's input. */
#include "planner/chain/chain_tables.h"
#include "planner/chain/chain.h"
#include "planner/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What was decided for a link. */
typedef struct Decision {
    const Choice *choice;
    uint32_t since, input_since; /* times from which its inside and its input are kept; 0: the first pass */
} Decision;

/* A plan that was found, before it is written as a retention. */
typedef struct Decided {
    Decision *of;  /* by link */
    int64_t bytes; /* kept from the first pass over the loss head: no peak is lower */
    uint32_t number;
} Decided;

/* Who is given the plans, and those that wait for it. */
typedef struct Taker {
    const ChainTaker *by;
    Keep *retain;
    Decision *decision; /* as it is made */
    VEC(Decided) decided;
    Arena *arena;
} Taker;

static void decide(Chain *c, uint32_t i, uint32_t j, uint32_t m, uint32_t since, Decision *decision) {
    Move move = chain_best(c, chain_moves(c, i, j), m);
    if (move.split == NONE) {
        decision[i].choice = &chain_kind(c, i)->choice.at[move.choice];
        decision[i].since = since;
        if (i == j) return;
        decision[i + 1].input_since = since;
        decide(c, i + 1, j, m - move.after_slots, since, decision);
        return;
    }
    decision[move.split].input_since = since;
    decide(c, move.split, j, m - move.after_slots, since, decision);
    uint32_t again = c->links.at[move.split - 1].backward_begin;
    decide(c, i, move.split - 1, m - move.before_slots, again, decision);
}

/* The gap of `s` that begins at `time`, or holds it. */
static uint32_t gap_at(const Problem *p, uint32_t s, uint32_t time) {
    uint32_t gap = p->gap_first[s];
    while (gap + 1 < p->gap_first[s + 1] && p->gap_end[gap] <= time) gap++;
    return gap;
}

/* A time of a kind's own problem as one of the whole, in a gap `over` the loss head or not. */
static uint32_t time_of(const Chain *c, const Link *link, const Kind *kind, uint32_t own, bool over) {
    if (own <= kind->forward_ops) return over ? link->backward_begin : link->begin + own;
    uint32_t backward = own - kind->forward_ops - 1;
    return backward < link->backward_end - link->backward_begin ? link->backward_begin + backward : c->p->ops;
}

static void retain_inside(const Chain *c, uint32_t i, const Decision *decision, Keep *retain) {
    const Problem *p = c->p;
    const Link *link = &c->links.at[i];
    const Kind *kind = chain_kind(c, i);
    const Problem *own = kind->own;
    uint32_t output = i + 1 < c->links.count ? c->links.at[i + 1].input : NONE;
    for (uint32_t t = 0; t < own->storages; t++) {
        uint32_t s = choices_storage(p, link, kind, t);
        if (s == NONE || s == output) continue;
        for (uint32_t gap = own->gap_first[t]; gap < own->gap_first[t + 1]; gap++) {
            uint32_t begin = own->gap_begin[gap];
            if (begin == kind->forward_ops || begin + 1 == own->ops) continue;
            uint32_t time = begin < kind->forward_ops
                                ? link->begin + begin
                                : link->backward_begin + (begin - kind->forward_ops - 1);
            uint32_t at = gap_at(p, s, time);
            if (!p->may_drop[at]) continue;
            bool over = p->gap_begin[at] < c->links.boundary && p->gap_end[at] >= c->links.boundary;
            const Keep *keep = &decision->choice->retain[gap];
            if (keep->from <= begin) {
                retain[at] = (Keep){.from = over ? decision->since : 0};
            } else {
                bool a_while = keep->until > begin && keep->until > kind->forward_ops;
                retain[at] = (Keep){.since = over && a_while ? decision->since : 0,
                                    .until = a_while ? time_of(c, link, kind, keep->until, over) : 0,
                                    .from = time_of(c, link, kind, keep->from, over)};
            }
        }
    }
}

static void write_retention(const Chain *c, const Decision *decision, Keep *retain) {
    const Problem *p = c->p;
    memset(retain, 0, sizeof *retain * p->gaps);
    for (uint32_t i = 0; i < c->links.count; i++) {
        retain_inside(c, i, &decision[i], retain);
        uint32_t s = c->links.at[i].input;
        if (s == NONE) continue;
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++)
            if (p->may_drop[gap] && p->gap_begin[gap] < c->links.boundary &&
                p->gap_end[gap] >= c->links.boundary)
                retain[gap] = (Keep){.from = decision[i].input_since};
    }
}

static int64_t kept_over(const Chain *c, const Decision *decision) {
    int64_t bytes = c->p->persistent_bytes;
    for (uint32_t i = 0; i < c->links.count; i++) {
        if (decision[i].since == 0) bytes += decision[i].choice->kept_bytes;
        if (decision[i].input_since == 0 && c->links.at[i].input != NONE)
            bytes += chain_kind(c, i)->input_bytes;
    }
    return bytes;
}

/* Takes down what was decided. */
static void add_decided(const Chain *c, Taker *taker) {
    Decided *decided = vec_add(taker->arena, &taker->decided);
    *decided = (Decided){.bytes = kept_over(c, taker->decision), .number = taker->decided.count - 1};
    decided->of = NEW_ARRAY(taker->arena, Decision, c->links.count);
    memcpy(decided->of, taker->decision, sizeof *decided->of * c->links.count);
}

static int by_bytes(const void *a, const void *b) {
    const Decided *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Gives what was decided to whoever asked. */
static void give(const Chain *c, Taker *taker) {
    const ChainTaker *by = taker->by;
    if (by->leaves_out && taker->decided.count)
        qsort(taker->decided.at, taker->decided.count, sizeof *taker->decided.at, by_bytes);
    for (uint32_t i = 0; i < taker->decided.count; i++) {
        const Decided *decided = &taker->decided.at[i];
        if (by->leaves_out && by->leaves_out(by->context, decided->bytes)) continue;
        write_retention(c, decided->of, taker->retain);
        by->use(by->context, taker->retain, decided->number);
    }
}

static int64_t highest_bytes(const Choice *choice) {
    return choice->forward_bytes > choice->backward_bytes ? choice->forward_bytes : choice->backward_bytes;
}

/* Least bytes a choice of the loss head takes. */
static int64_t head_bytes(const Chain *c) {
    const Kind *head = chain_kind(c, c->links.count - 1);
    int64_t least = INT64_MAX;
    for (uint32_t h = 0; h < head->choice.count; h++)
        if (highest_bytes(&head->choice.at[h]) < least) least = highest_bytes(&head->choice.at[h]);
    return least;
}

/* Tables for as many inputs of links as stay from the first pass on while the loss head runs, its own not
 * among them; what is after the last of them runs again once a backward operation wants the head's input. */
typedef struct Kept {
    uint32_t most, since;                    /* since: the time from which the head's input is there again */
    int64_t each;                            /* bytes of one input */
    double **by[EFFORT_CHAIN_HEAD + 1];      /* by[count][i][m]: links i.., as S of chain_tables.c */
    const Choice *head[EFFORT_CHOICES_MOST]; /* of the loss head: those worth it, of the most bytes first */
    uint32_t heads;
} Kept;

/* The choices of the loss head that are faster than every other that takes as few bytes, the first of equals:
 * those of the most bytes first. */
static uint32_t list_heads(const Chain *c, const Choice **list) {
    const Kind *head = chain_kind(c, c->links.count - 1);
    uint32_t count = 0;
    for (uint32_t h = 0; h < head->choice.count; h++) {
        const Choice *choice = &head->choice.at[h];
        int64_t bytes = highest_bytes(choice);
        bool beaten = false;
        for (uint32_t i = 0; i < head->choice.count && !beaten; i++) {
            const Choice *other = &head->choice.at[i];
            bool faster = other->seconds < choice->seconds || (other->seconds == choice->seconds && i < h);
            beaten = faster && highest_bytes(other) <= bytes;
        }
        if (beaten) continue;
        uint32_t at = count++;
        for (; at > 0 && highest_bytes(list[at - 1]) < bytes; at--) list[at] = list[at - 1];
        list[at] = choice;
    }
    return count;
}

/* The fastest choice of the loss head that takes at most so many bytes. */
static const Choice *head_within(const Kept *kept, int64_t bytes) {
    for (uint32_t h = 0; h < kept->heads; h++)
        if (highest_bytes(kept->head[h]) <= bytes) return kept->head[h];
    return NULL;
}

static uint32_t list_kept_moves(Chain *c, const Kept *kept, uint32_t count, uint32_t i) {
    uint32_t n = c->links.count, moves = 0;
    for (uint32_t k = i + 1; k <= c->end; k++)
        c->move[moves++] = (Move){.after_slots = chain_slots(c, chain_kind(c, k)->input_bytes),
                                  .before_slots = chain_slots(c, chain_grown_bytes(c, k, c->end)),
                                  .after = kept->by[count - 1][k],
                                  .before = c->segment[i * n + k - 1],
                                  .split = k};
    return moves;
}

static uint32_t most_kept(const Chain *c) {
    uint32_t n = c->links.count;
    return n - 2 < EFFORT_CHAIN_HEAD ? n - 2 : EFFORT_CHAIN_HEAD;
}

/* The head and one input more than are kept. */
static int64_t kept_bytes(const Chain *c) {
    return head_bytes(c) + (most_kept(c) + 1) * chain_kind(c, c->links.count - 1)->input_bytes;
}

/* A slot is a part of a block's input, so that many of them round to themselves. False where that input may
 * not go. */
static bool fill_kept(Chain *c, Kept *kept) {
    uint32_t n = c->links.count, gap = gap_at(c->p, c->links.at[n - 1].input, c->links.boundary);
    int64_t unit = chain_kind(c, n - 1)->input_bytes;
    *kept = (Kept){.most = most_kept(c), .since = c->p->gap_end[gap], .each = unit};
    if (!c->p->may_drop[gap] || kept->since >= c->p->update_begin || unit <= 0) return false;
    int64_t most_bytes = kept_bytes(c);
    while (unit > 1 && unit * (SLOTS / 2) > most_bytes) unit = (unit + 1) / 2;
    chain_solve(c, n - 2, true, unit, (uint32_t)(most_bytes / unit) + 1);
    kept->by[0] = c->whole;
    kept->heads = list_heads(c, kept->head);
    for (uint32_t count = 1; count <= kept->most; count++) {
        kept->by[count] = NEW_ARRAY(c->arena, double *, n);
        for (uint32_t i = 0; i <= c->end; i++)
            kept->by[count][i] = chain_fill(c, list_kept_moves(c, kept, count, i));
    }
    return true;
}

static void decide_kept(Chain *c, const Kept *kept, uint32_t count, uint32_t i, uint32_t m,
                        Decision *decision) {
    if (count == 0) {
        decide(c, i, c->end, m, kept->since, decision);
        return;
    }
    Move move = chain_best(c, list_kept_moves(c, kept, count, i), m);
    decision[move.split].input_since = 0;
    decide_kept(c, kept, count - 1, move.split, m - move.after_slots, decision);
    decide(c, i, move.split - 1, m - move.before_slots, c->links.at[move.split - 1].backward_begin, decision);
}

/* Whether a plan with so many seconds of recomputation is enough faster than the last one to be worth a
 * replay: the more is computed again, the longer replays are and the larger the steps. */
static bool is_worth_it(const Chain *c, double again, double *last) {
    static const double finest = EFFORT_CHAIN_FINEST / 1000., most = EFFORT_CHAIN_COARSEST / 1000.;
    double seconds = c->step_seconds + again, ratio = seconds / c->step_seconds;
    if (ratio > 1 + EFFORT_CHAIN_TIMES || seconds > *last * (1 - fmin(finest * pow(ratio, 3), most)))
        return false;
    *last = seconds;
    return true;
}

/* One way to have restarts: so many inputs are kept, and beside the gradient there are `m` slots. */
typedef struct Restart {
    double seconds; /* HUGE_VAL: none fits */
    uint32_t count, m;
    const Choice *head;
} Restart;

static Restart best_restart(const Chain *c, const Kept *kept, int64_t bytes) {
    Restart best = {.seconds = HUGE_VAL};
    int64_t beside = (bytes - c->incoming_least) / c->unit;
    uint32_t m = beside < 0 ? 0 : beside < c->most ? (uint32_t)beside : c->most;
    for (uint32_t count = 0; count <= kept->most; count++) {
        const Choice *head = head_within(kept, bytes - count * kept->each);
        if (!head || m < chain_table_first(kept->by[count][0])) continue;
        double seconds = kept->by[count][0][m] + head->seconds;
        if (seconds < best.seconds) best = (Restart){seconds, count, m, head};
    }
    return best;
}

static void add_restarts(Chain *c, Taker *taker) {
    Kept kept;
    if (!EFFORT_CHAIN_HEAD || !fill_kept(c, &kept)) return;
    double last = HUGE_VAL;
    uint32_t head = c->links.count - 1;
    Decision *decision = taker->decision;
    for (uint32_t m = 0; m <= c->most; m++) {
        Restart best = best_restart(c, &kept, m * c->unit);
        if (!is_worth_it(c, best.seconds, &last)) continue;
        decide_kept(c, &kept, best.count, 0, best.m, decision);
        decision[head] = (Decision){.choice = best.head, .input_since = kept.since};
        add_decided(c, taker);
    }
}

/* Adds what the recursion finds for memories up to `most_bytes`, in steps of time, and leaves the lower part
 * of them to a finer round, if any is enough: their bytes, or 0. Slots are rounded up for every block. */
static int64_t add_levels(Chain *c, int64_t most_bytes, Taker *taker) {
    enum { LOWER = SLOTS / 4 };
    uint32_t n = c->links.count;
    chain_solve(c, n - 1, false, most_bytes / SLOTS + 1, SLOTS);
    uint32_t least = chain_table_first(c->whole[0]);
    double last = HUGE_VAL;
    bool finer = least < LOWER && c->unit > 1;
    for (uint32_t m = finer ? LOWER : least; m <= SLOTS; m++) {
        double again = c->whole[0][m];
        if (!is_worth_it(c, again, &last)) continue;
        decide(c, 0, n - 1, m, 0, taker->decision);
        add_decided(c, taker);
    }
    return finer ? LOWER * c->unit : 0;
}

static void add_all(Chain *c, int64_t most_bytes, Taker *taker) {
    while (most_bytes > 0) most_bytes = add_levels(c, most_bytes, taker);
    add_restarts(c, taker);
}

void chain_retentions(const Problem *p, uint32_t boundary, int64_t most_bytes, const ChainTaker *by) {
    Arena *scratch = arena_new(), *tables = arena_new();
    Chain c;
    if (chain_of(&c, p, boundary, tables, scratch)) {
        Taker taker = {.by = by, .arena = scratch};
        taker.retain = NEW_ARRAY(scratch, Keep, p->gaps + 1);
        taker.decision = NEW_ARRAY(scratch, Decision, c.links.count);
        add_all(&c, most_bytes, &taker);
        if (p->ops < EFFORT_CHAIN_MANY_OPS) { /* what a search makes of other plans is hard to foretell */
            chain_explore(&c, false, scratch);
            add_all(&c, most_bytes, &taker);
        }
        give(&c, &taker);
    }
    arena_free(tables);
    arena_free(scratch);
}

double chain_seconds(const Problem *p, uint32_t boundary, int64_t bytes) {
    if (bytes <= 0) return HUGE_VAL;
    Arena *scratch = arena_new(), *tables = arena_new();
    Chain c;
    double best = 0;
    if (chain_of(&c, p, boundary, tables, scratch)) {
        chain_solve(&c, c.links.count - 1, false, bytes / SLOTS + 1, SLOTS);
        uint32_t m = (uint32_t)(bytes / c.unit);
        best = m < chain_table_first(c.whole[0]) ? HUGE_VAL : c.whole[0][m];
        Kept kept;
        bool scarce = bytes <= kept_bytes(&c); /* above, there are better ways */
        if (scarce && fill_kept(&c, &kept)) best = fmin(best, best_restart(&c, &kept, bytes).seconds);
    }
    arena_free(tables);
    arena_free(scratch);
    return best;
}
