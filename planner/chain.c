/* Optimal checkpointing of a chain by dynamic programming (Beaumont, Eyraud-Dubois, Herrmann, Joly and
 * Shilova, "Optimal checkpointing for heterogeneous chains"). In: links with their choices; out: retentions.
 *
 * S(i, j, m): least seconds of recomputation to run blocks i..j backward with m bytes besides block i's
 * input: run block i by choice c, keep what it keeps and its output, then S(i + 1, j, less those bytes); or
 *   run i..k-1 keeping nothing, keep block k's input: S(k, j, less its bytes), and then S(i, k - 1, m) from
 * i.
 *
 * Segments whose kinds read the same share one table, so equal blocks cost run length x memory. A segment
 * that ends with the loss head has not run before: its forward pass is free. The others are run again while
 * the gradient that enters them is live, so their m is net of it. Gradients that live until the update shrink
 * m. Where memory is too small to keep the head's input while it runs, or all but a few blocks' inputs, a
 * segment ends with the block before the head: it runs again, and serves that block's own backward pass too.
 */
#include "chain.h"

#include <math.h>
#include <string.h>

enum { SLOTS = 4096, TABLES = 1024, MANY_OPS = 1000 };
#define MOST_AGAIN 3.0 /* recomputation beyond this many times the step itself is not worth a plan */

/* One way to run a segment: seconds + after[m - after_slots] + before[m - before_slots], from `least` slots
 * on. */
typedef struct Move {
    double seconds;
    uint32_t least, after_slots, before_slots, choice,
        split;                    /* split: NONE for a choice of the first block */
    const double *after, *before; /* NULL: nothing */
} Move;

typedef struct Chain {
    const Problem *p;
    Links links;
    const Kind *kinds;
    uint32_t *equal;  /* by first * count + last: the first segment whose kinds read the same */
    Arena *arena;     /* tables */
    int64_t unit;     /* bytes a slot */
    uint32_t most;    /* slots that tables are filled for */
    uint32_t end;     /* the last link of the whole chain: the loss head, or that before it ... */
    bool again;       /* ... where that runs again, for its output too */
    double **whole;   /* by first link: segments that end with it */
    double **segment; /* by first * count + last: the others */
    double *run_seconds;
    double step_seconds; /* nothing recomputed */
    double finest;       /* share of a step that plans differ by at least */
    int64_t *grown;      /* prefix sums over links */
    int64_t incoming_most, incoming_least;
    Move *move;
    void (*use)(void *context, Keep *retain);
    void *context;
    Keep *retain;
} Chain;

/* What was decided for a link. */
typedef struct Decision {
    const Choice *choice;
    uint32_t since, input_since; /* times from which its inside and its input are kept; 0: the first pass */
} Decision;

static const Kind *kind_of(const Chain *c, uint32_t i) {
    return &c->kinds[c->links.at[i].kind];
}

static uint32_t slots(const Chain *c, int64_t bytes) {
    double exact = (double)(bytes + c->unit - 1) / (double)c->unit; /* of whole numbers: never up to one */
    return bytes <= 0 ? 0 : exact >= SLOTS + 1 ? SLOTS + 1 : (uint32_t)exact;
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static int64_t grown_bytes(const Chain *c, uint32_t first, uint32_t last) {
    return c->grown[last + 1] - c->grown[first];
}

/* Least bytes a forward pass over link `i` takes. */
static int64_t pass_bytes(const Chain *c, uint32_t i) {
    const Kind *kind = kind_of(c, i);
    int64_t least = INT64_MAX;
    for (uint32_t k = 0; k < kind->choice.count; k++)
        if (kind->choice.at[k].forward_bytes < least) least = kind->choice.at[k].forward_bytes;
    return least;
}

/* The moves of a segment of one link. */
static uint32_t single_moves(Chain *c, uint32_t i, bool end) {
    const Kind *kind = kind_of(c, i);
    uint32_t count = 0;
    for (uint32_t k = 0; k < kind->choice.count; k++) {
        const Choice *choice = &kind->choice.at[k];
        if (!end && choice->kept_bytes > 0) continue; /* it runs again just before its backward pass */
        int64_t bytes = choice->backward_bytes - (end && !c->again ? 0 : c->incoming_least);
        if (end && choice->forward_bytes > bytes) bytes = choice->forward_bytes;
        c->move[count++] = (Move){.seconds = choice->seconds + (end && c->again ? kind->forward_seconds : 0),
                                  .least = slots(c, bytes),
                                  .choice = k,
                                  .split = NONE};
    }
    return count;
}

static uint32_t list_moves(Chain *c, uint32_t i, uint32_t j) {
    uint32_t n = c->links.count, count = 0;
    bool end = j == c->end, head = end && !c->again;
    if (i == j) return single_moves(c, i, end);
    const Kind *kind = kind_of(c, i);
    const double *after = end ? c->whole[i + 1] : c->segment[(i + 1) * n + j];
    int64_t credit = head ? 0 : c->incoming_least;
    for (uint32_t k = 0; k < kind->choice.count; k++) {
        const Choice *choice = &kind->choice.at[k];
        uint32_t forward = slots(c, choice->forward_bytes);
        uint32_t backward = slots(c, choice->backward_bytes + grown_bytes(c, i + 1, j) - credit);
        c->move[count++] =
            (Move){.seconds = choice->seconds + (head ? 0 : kind->forward_seconds),
                   .least = larger(forward, backward),
                   .after_slots = slots(c, choice->kept_bytes + kind_of(c, i + 1)->input_bytes),
                   .after = after,
                   .choice = k,
                   .split = NONE};
    }
    int64_t pass = 0;
    for (uint32_t k = i + 1; k <= j; k++) {
        int64_t bytes = pass_bytes(c, k - 1) + (k - 1 > i ? kind_of(c, k - 1)->input_bytes : 0);
        if (bytes > pass) pass = bytes;
        c->move[count++] =
            (Move){.seconds = head ? 0 : c->run_seconds[k] - c->run_seconds[i],
                   .least = slots(c, pass),
                   .after_slots = slots(c, kind_of(c, k)->input_bytes),
                   .before_slots = slots(c, grown_bytes(c, k, j) + (head ? c->incoming_most : 0)),
                   .after = end ? c->whole[k] : c->segment[k * n + j],
                   .before = c->segment[i * n + k - 1],
                   .split = k};
    }
    return count;
}

/* The first slot a table is finite at, SLOTS + 1 if none; it stands before the table's seconds. */
static uint32_t table_first(const double *table) {
    return table ? (uint32_t)table[-1] : 0;
}

/* The first slot a move is possible at. */
static uint32_t move_first(const Move *move) {
    uint32_t after = move->after_slots + table_first(move->after);
    uint32_t before = move->before_slots + table_first(move->before);
    return larger(move->least, larger(after, before));
}

static double move_seconds(const Move *move, uint32_t m) {
    if (m < move_first(move)) return HUGE_VAL;
    return move->seconds + (move->after ? move->after[m - move->after_slots] : 0) +
           (move->before ? move->before[m - move->before_slots] : 0);
}

/* The best of the first `count` moves by memory. */
static double *fill_table(Chain *c, uint32_t count) {
    uint32_t least = SLOTS + 1, most = c->most;
    double *restrict table = NEW_ARRAY(c->arena, double, most + 2) + 1;
    for (uint32_t m = 0; m <= most; m++) table[m] = HUGE_VAL;
    for (uint32_t k = 0; k < count; k++) {
        const Move *move = &c->move[k];
        uint32_t first = move_first(move);
        if (first > most) continue;
        if (first < least) least = first;
        static const double nothing[SLOTS + 2];
        const double *restrict after = move->after ? move->after + (first - move->after_slots) : nothing;
        const double *restrict before = move->before ? move->before + (first - move->before_slots) : nothing;
        double seconds = move->seconds, *restrict best = table + first;
        for (uint32_t m = 0; m < most + 1 - first; m++) {
            double sum = seconds + after[m] + before[m];
            best[m] = sum < best[m] ? sum : best[m];
        }
    }
    table[-1] = least;
    return table;
}

/* For every segment the first one whose kinds read the same; false when there are too many. */
static bool find_equals(const Links *links, uint32_t *equal) {
    uint32_t n = links->count, distinct = n;
    for (uint32_t length = 1; length < n; length++)
        for (uint32_t i = 0; i + length < n; i++) {
            uint32_t j = i + length - 1, same = 0;
            for (; same < i; same++) {
                bool prefix = length == 1 || equal[same * n + same + length - 2] == equal[i * n + j - 1];
                if (prefix && links->at[same + length - 1].kind == links->at[j].kind) break;
            }
            equal[i * n + j] = same * n + same + length - 1;
            if (same == i && ++distinct > TABLES) return false;
        }
    return true;
}

static void fill_tables(Chain *c) {
    uint32_t n = c->links.count, *equal = c->equal;
    for (uint32_t length = 1; length <= c->end; length++)
        for (uint32_t i = 0; i + length <= c->end; i++) {
            uint32_t at = i * n + i + length - 1;
            c->segment[at] =
                equal[at] == at ? fill_table(c, list_moves(c, i, i + length - 1)) : c->segment[equal[at]];
        }
    for (uint32_t i = c->end + 1; i-- > 0;) c->whole[i] = fill_table(c, list_moves(c, i, c->end));
}

/* ---- from tables to retentions ---- */

static Move best_move(const Chain *c, uint32_t count, uint32_t m) {
    uint32_t best = 0;
    for (uint32_t k = 1; k < count; k++)
        if (move_seconds(&c->move[k], m) < move_seconds(&c->move[best], m)) best = k;
    return c->move[best];
}

static void decide(Chain *c, uint32_t i, uint32_t j, uint32_t m, uint32_t since, Decision *decision) {
    Move move = best_move(c, list_moves(c, i, j), m);
    if (move.split == NONE) {
        decision[i].choice = &kind_of(c, i)->choice.at[move.choice];
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
    const Kind *kind = kind_of(c, i);
    const Problem *own = kind->own;
    uint32_t output = i + 1 < c->links.count ? c->links.at[i + 1].input : NONE;
    for (uint32_t t = 0; t < own->storages; t++) {
        uint32_t s = block_storage(p, link, kind, t);
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

/* Gives what was decided to whoever asked. */
static void emit(const Chain *c, const Decision *decision) {
    const Problem *p = c->p;
    Keep *retain = c->retain;
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
    c->use(c->context, retain);
}

/* Tables for the chain up to link `end` in `unit`s of memory, up to `most` of them. */
static void solve(Chain *c, uint32_t end, bool again, int64_t unit, uint32_t most) {
    uint32_t n = c->links.count;
    arena_reset(c->arena);
    c->end = end;
    c->again = again;
    c->unit = unit;
    c->most = most < SLOTS ? most : SLOTS;
    c->whole = NEW_ARRAY(c->arena, double *, n);
    c->segment = NEW_ARRAY(c->arena, double *, (size_t)n *n);
    fill_tables(c);
}

static int64_t highest_bytes(const Choice *choice) {
    return choice->forward_bytes > choice->backward_bytes ? choice->forward_bytes : choice->backward_bytes;
}

/* Least bytes a choice of the loss head takes. */
static int64_t head_bytes(const Chain *c) {
    const Kind *head = kind_of(c, c->links.count - 1);
    int64_t least = INT64_MAX;
    for (uint32_t h = 0; h < head->choice.count; h++)
        if (highest_bytes(&head->choice.at[h]) < least) least = highest_bytes(&head->choice.at[h]);
    return least;
}

/* The fastest choice of the loss head that takes at most so many bytes. */
static const Choice *head_within(const Chain *c, int64_t bytes) {
    const Kind *head = kind_of(c, c->links.count - 1);
    const Choice *best = NULL;
    for (uint32_t h = 0; h < head->choice.count; h++) {
        const Choice *choice = &head->choice.at[h];
        if (highest_bytes(choice) <= bytes && (!best || choice->seconds < best->seconds)) best = choice;
    }
    return best;
}

/* Tables for as many inputs of links as stay from the first pass on while the loss head runs, its own not
 * among them; what is after the last of them runs again once a backward operation wants the head's input. */
enum { MOST_KEPT = 16 };
typedef struct Kept {
    uint32_t most, since;       /* since: the time from which the head's input is there again */
    int64_t each;               /* bytes of one input */
    double **by[MOST_KEPT + 1]; /* by[count][i][m]: links i.., as S above */
} Kept;

static uint32_t list_kept_moves(Chain *c, const Kept *kept, uint32_t count, uint32_t i) {
    uint32_t n = c->links.count, moves = 0;
    for (uint32_t k = i + 1; k <= c->end; k++)
        c->move[moves++] = (Move){.after_slots = slots(c, kind_of(c, k)->input_bytes),
                                  .before_slots = slots(c, grown_bytes(c, k, c->end)),
                                  .after = kept->by[count - 1][k],
                                  .before = c->segment[i * n + k - 1],
                                  .split = k};
    return moves;
}

static uint32_t most_kept(const Chain *c) {
    uint32_t n = c->links.count;
    return n - 2 < MOST_KEPT ? n - 2 : MOST_KEPT;
}

/* The head and one input more than are kept. */
static int64_t kept_bytes(const Chain *c) {
    return head_bytes(c) + (most_kept(c) + 1) * kind_of(c, c->links.count - 1)->input_bytes;
}

/* A slot is a part of a block's input, so that many of them round to themselves. False where that input may
 * not go. */
static bool fill_kept(Chain *c, Kept *kept) {
    uint32_t n = c->links.count, gap = gap_at(c->p, c->links.at[n - 1].input, c->links.boundary);
    int64_t unit = kind_of(c, n - 1)->input_bytes;
    *kept = (Kept){.most = most_kept(c), .since = c->p->gap_end[gap], .each = unit};
    if (!c->p->may_drop[gap] || kept->since >= c->p->update_begin || unit <= 0) return false;
    int64_t most_bytes = kept_bytes(c);
    while (unit > 1 && unit * (SLOTS / 2) > most_bytes) unit = (unit + 1) / 2;
    solve(c, n - 2, true, unit, (uint32_t)(most_bytes / unit) + 1);
    kept->by[0] = c->whole;
    for (uint32_t count = 1; count <= kept->most; count++) {
        kept->by[count] = NEW_ARRAY(c->arena, double *, n);
        for (uint32_t i = 0; i <= c->end; i++)
            kept->by[count][i] = fill_table(c, list_kept_moves(c, kept, count, i));
    }
    return true;
}

static void decide_kept(Chain *c, const Kept *kept, uint32_t count, uint32_t i, uint32_t m,
                        Decision *decision) {
    if (count == 0) {
        decide(c, i, c->end, m, kept->since, decision);
        return;
    }
    Move move = best_move(c, list_kept_moves(c, kept, count, i), m);
    decision[move.split].input_since = 0;
    decide_kept(c, kept, count - 1, move.split, m - move.after_slots, decision);
    decide(c, i, move.split - 1, m - move.before_slots, c->links.at[move.split - 1].backward_begin, decision);
}

/* Whether a plan with so many seconds of recomputation is enough faster than the last one to be worth a
 * replay: the more is computed again, the longer replays are and the larger the steps. */
static bool is_worth_it(const Chain *c, double again, double *last) {
    static const double most = 0.015;
    double seconds = c->step_seconds + again, ratio = seconds / c->step_seconds;
    if (ratio > 1 + MOST_AGAIN || seconds > *last * (1 - fmin(c->finest * pow(ratio, 3), most))) return false;
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
        const Choice *head = head_within(c, bytes - count * kept->each);
        if (!head || m < table_first(kept->by[count][0])) continue;
        double seconds = kept->by[count][0][m] + head->seconds;
        if (seconds < best.seconds) best = (Restart){seconds, count, m, head};
    }
    return best;
}

static void add_restarts(Chain *c) {
    Kept kept;
    if (!fill_kept(c, &kept)) return;
    double last = HUGE_VAL;
    uint32_t head = c->links.count - 1;
    Decision *decision = NEW_ARRAY(c->arena, Decision, c->links.count);
    for (uint32_t m = 0; m <= c->most; m++) {
        Restart best = best_restart(c, &kept, m * c->unit);
        if (!is_worth_it(c, best.seconds, &last)) continue;
        decide_kept(c, &kept, best.count, 0, best.m, decision);
        decision[head] = (Decision){.choice = best.head, .input_since = kept.since};
        emit(c, decision);
    }
}

/* Adds what the recursion finds for memories up to `most_bytes`, in steps of time, and leaves the lower part
 * of them to a finer round, if any is enough: their bytes, or 0. Slots are rounded up for every block. */
static int64_t add_levels(Chain *c, int64_t most_bytes) {
    enum { LOWER = SLOTS / 4 };
    uint32_t n = c->links.count;
    solve(c, n - 1, false, most_bytes / SLOTS + 1, SLOTS);
    Decision *decision = NEW_ARRAY(c->arena, Decision, n);
    uint32_t least = table_first(c->whole[0]);
    double last = HUGE_VAL;
    for (uint32_t m = larger(least, LOWER); m <= SLOTS; m++) {
        double again = c->whole[0][m];
        if (!is_worth_it(c, again, &last)) continue;
        decide(c, 0, n - 1, m, 0, decision);
        emit(c, decision);
    }
    return least < LOWER ? LOWER * c->unit : 0;
}

static void add_all(Chain *c, int64_t most_bytes) {
    while (most_bytes > 0) most_bytes = add_levels(c, most_bytes);
    add_restarts(c);
}

/* Finds the links and what their kinds come to together; false where they are no chain. */
static bool chain_of(Chain *c, const Problem *p, uint32_t boundary, Arena *tables, Arena *scratch) {
    *c = (Chain){.p = p, .arena = tables, .links = blocks_find(p, boundary, scratch)};
    uint32_t n = c->links.count;
    c->equal = NEW_ARRAY(scratch, uint32_t, (size_t)n * n);
    if (n < 2 || n > TABLES || !find_equals(&c->links, c->equal)) return false;
    c->kinds = blocks_kinds(p, &c->links, true, scratch);
    c->move = NEW_ARRAY(scratch, Move, BLOCK_CHOICES + n);
    c->run_seconds = NEW_ARRAY(scratch, double, n + 1);
    c->grown = NEW_ARRAY(scratch, int64_t, n + 1);
    c->incoming_least = INT64_MAX;
    for (uint32_t op = 0; op < p->ops; op++) c->step_seconds += p->seconds[op];
    c->finest = 0.001;
    for (uint32_t i = 0; i < n; i++) {
        const Kind *kind = kind_of(c, i);
        c->run_seconds[i + 1] = c->run_seconds[i] + kind->forward_seconds;
        c->grown[i + 1] = c->grown[i] + kind->grown_bytes;
        if (i + 1 == n) break;
        if (kind->incoming_bytes > c->incoming_most) c->incoming_most = kind->incoming_bytes;
        if (kind->incoming_bytes < c->incoming_least) c->incoming_least = kind->incoming_bytes;
    }
    return true;
}

void chain_retentions(const Problem *p, uint32_t boundary, int64_t most_bytes,
                      void (*use)(void *context, Keep *retain), void *context) {
    Arena *scratch = arena_new(), *tables = arena_new();
    Chain c;
    if (chain_of(&c, p, boundary, tables, scratch)) {
        c.use = use;
        c.context = context;
        c.retain = NEW_ARRAY(scratch, Keep, p->gaps + 1);
        add_all(&c, most_bytes);
        if (p->ops < MANY_OPS) { /* what a search makes of other plans is hard to foretell */
            c.kinds = blocks_kinds(p, &c.links, false, scratch);
            add_all(&c, most_bytes);
        }
    }
    arena_free(tables);
    arena_free(scratch);
}

double chain_seconds(const Problem *p, uint32_t boundary, int64_t bytes) {
    Arena *scratch = arena_new(), *tables = arena_new();
    Chain c;
    double best = 0;
    if (chain_of(&c, p, boundary, tables, scratch)) {
        solve(&c, c.links.count - 1, false, bytes / SLOTS + 1, SLOTS);
        uint32_t m = (uint32_t)(bytes / c.unit);
        best = m < table_first(c.whole[0]) ? HUGE_VAL : c.whole[0][m];
        Kept kept;
        bool scarce = bytes <= kept_bytes(&c); /* above, there are better ways */
        if (scarce && fill_kept(&c, &kept)) best = fmin(best, best_restart(&c, &kept, bytes).seconds);
    }
    arena_free(tables);
    arena_free(scratch);
    return best;
}

int64_t chain_least(const Problem *p, uint32_t boundary, int64_t most_bytes) {
    Arena *scratch = arena_new(), *tables = arena_new();
    Chain c;
    int64_t best = 0;
    if (chain_of(&c, p, boundary, tables, scratch)) {
        best = INT64_MAX;
        for (int64_t bytes = most_bytes; bytes > 0;) {
            solve(&c, c.links.count - 1, false, bytes / SLOTS + 1, SLOTS);
            int64_t least = table_first(c.whole[0]);
            if (least <= SLOTS) best = least * c.unit;
            bytes = least < SLOTS / 4 ? 2 * best : 0;
        }
        Kept kept;
        for (uint32_t m = 0, more = fill_kept(&c, &kept); more && m <= c.most; m++) {
            if (best_restart(&c, &kept, m * c.unit).seconds == HUGE_VAL) continue;
            if (m * c.unit < best) best = m * c.unit;
            break;
        }
    }
    arena_free(tables);
    arena_free(scratch);
    return best;
}
