/* The ways to run one block. In: a link of the chain; out: its own problem and the choices no other beats in
 * bytes kept, seconds, forward and backward peak at once. Invariant: a choice is measured by replaying it.
 *
 *     own problem    forward ops | middle | backward ops | end
 *
 * The middle reads the block's output and makes the gradients that come from outside; the end reads what
 * outlives the block. Storages from before the block count as persistent. */
#include "planner/chain/choices.h"
#include "planner/bound/closure.h"
#include "planner/chain/kinds.h"
#include "planner/retain/policy.h"
#include "planner/retain/trim.h"
#include "planner/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Builder {
    const Problem *p;
    const Link *link;
    Problem *own;
    uint32_t forward, backward, middle, end; /* counts of operations, and two of their numbers */
    uint32_t *own_storage;                   /* by storage of p; NONE outside */
    Arena *arena;
    VEC(uint32_t) reads_first, reads, makes_first, makes, takeover_first, takeover;
    VEC(uint32_t)
    crossing, arriving, leaving; /* storages of p: read by the middle, made by it, read at the end */
} Builder;

static bool inside(const Link *link, uint32_t op) {
    return (op >= link->begin && op < link->end) || (op >= link->backward_begin && op < link->backward_end);
}

static uint32_t take(Builder *b, uint32_t s, uint32_t maker) {
    Problem *own = b->own;
    b->own_storage[s] = own->storages;
    own->bytes[own->storages] = b->p->bytes[s];
    own->maker[own->storages] = maker;
    if (own->dequantized) own->dequantized[own->storages] = b->p->dequantized[s];
    return own->storages++;
}

/* Numbers the storages and tells which cross the block's borders, and how. */
static void take_storages(Builder *b) {
    const Problem *p = b->p;
    const Link *link = b->link;
    for (uint32_t i = 0; i < b->end; i++) {
        if (i == b->middle) {
            for (uint32_t op = link->backward_begin; op < link->backward_end; op++)
                for (EACH(k, p->reads, op)) {
                    uint32_t s = p->reads.list[k];
                    bool before = p->maker[s] >= link->end && p->maker[s] < link->backward_begin;
                    if (!before || b->own_storage[s] != NONE) continue;
                    take(b, s, b->middle);
                    *vec_add(b->arena, &b->arriving) = s;
                }
            continue;
        }
        uint32_t op = i < b->middle ? link->begin + i : link->backward_begin + (i - b->middle - 1);
        for (EACH(k, p->makes, op)) take(b, p->makes.list[k], i);
    }
    bool *noted = NEW_ARRAY(b->arena, bool, p->storages + 1);
    for (uint32_t op = link->end; op < p->ops; op++) {
        if (inside(link, op)) continue;
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            if (b->own_storage[s] == NONE || noted[s] || op < p->maker[s]) continue;
            bool forward = p->maker[s] < link->end, late = op >= link->backward_end;
            if (!forward && !late) continue; /* a gradient's earlier reader */
            if (p->maker[s] >= link->end && p->maker[s] < link->backward_begin)
                continue; /* it only passes by */
            noted[s] = true;
            if (forward && !late)
                *vec_add(b->arena, &b->crossing) = s;
            else
                *vec_add(b->arena, &b->leaving) = s;
        }
    }
}

/* Bytes of what the block leaves for the update. */
static int64_t left_for_update(const Builder *b) {
    const Problem *p = b->p;
    bool *counted = NEW_ARRAY(b->arena, bool, p->storages + 1);
    int64_t bytes = 0;
    for (uint32_t i = 0; i < b->leaving.count; i++) counted[b->leaving.at[i]] = true;
    for (uint32_t op = p->update_begin; op < p->ops; op++)
        for (EACH(k, p->reads, op)) {
            uint32_t s = p->reads.list[k];
            if (counted[s]) bytes += p->bytes[s];
            counted[s] = false;
        }
    return bytes;
}

static void add_lists(Builder *b, uint32_t op) {
    const Problem *p = b->p;
    for (EACH(k, p->reads, op))
        if (b->own_storage[p->reads.list[k]] != NONE)
            *vec_add(b->arena, &b->reads) = b->own_storage[p->reads.list[k]];
    for (EACH(k, p->makes, op)) *vec_add(b->arena, &b->makes) = b->own_storage[p->makes.list[k]];
    for (EACH(k, p->takeover, op))
        if (b->own_storage[p->takeover.list[k]] != NONE)
            *vec_add(b->arena, &b->takeover) = b->own_storage[p->takeover.list[k]];
}

uint32_t choices_time(const Link *link, uint32_t time) {
    uint32_t middle = link->end - link->begin, backward = link->backward_end - link->backward_begin;
    if (time >= link->backward_end) return middle + 1 + backward + 1;
    return time < link->backward_begin ? middle : middle + 1 + (time - link->backward_begin);
}

static void take_ops(Builder *b) {
    const Problem *p = b->p;
    Problem *own = b->own;
    for (uint32_t i = 0; i <= b->end; i++) {
        *vec_add(b->arena, &b->reads_first) = b->reads.count;
        *vec_add(b->arena, &b->makes_first) = b->makes.count;
        *vec_add(b->arena, &b->takeover_first) = b->takeover.count;
        if (i == b->middle) {
            for (uint32_t k = 0; k < b->crossing.count; k++)
                *vec_add(b->arena, &b->reads) = b->own_storage[b->crossing.at[k]];
            for (uint32_t k = 0; k < b->arriving.count; k++)
                *vec_add(b->arena, &b->makes) = b->own_storage[b->arriving.at[k]];
        } else if (i == b->end) {
            for (uint32_t k = 0; k < b->leaving.count; k++)
                *vec_add(b->arena, &b->reads) = b->own_storage[b->leaving.at[k]];
        } else {
            uint32_t op = i < b->middle ? b->link->begin + i : b->link->backward_begin + (i - b->middle - 1);
            own->seconds[i] = p->seconds[op];
            own->workspace_bytes[i] = p->workspace_bytes[op];
            own->rerun[i] = p->rerun[op];
            own->rerun_end[i] = choices_time(b->link, p->lazy_end[op]);
            add_lists(b, op);
        }
    }
    *vec_add(b->arena, &b->reads_first) = b->reads.count;
    *vec_add(b->arena, &b->makes_first) = b->makes.count;
    *vec_add(b->arena, &b->takeover_first) = b->takeover.count;
    own->reads = (Lists){b->reads_first.at, b->reads.at};
    own->makes = (Lists){b->makes_first.at, b->makes.at};
    own->takeover = (Lists){b->takeover_first.at, b->takeover.at};
}

static void build(const Problem *p, const Link *link, Kind *kind, Arena *arena) {
    Builder b = {.p = p, .link = link, .arena = arena, .own = NEW(arena, Problem)};
    Problem *own = b.own;
    b.forward = link->end - link->begin;
    b.backward = link->backward_end - link->backward_begin;
    b.middle = b.forward;
    b.end = b.forward + 1 + b.backward;
    b.own_storage = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    memset(b.own_storage, 0xff, sizeof *b.own_storage * (p->storages + 1));
    own->ops = own->update_begin = b.end + 1;
    own->seconds = NEW_ARRAY(arena, double, own->ops + 1);
    own->workspace_bytes = NEW_ARRAY(arena, int64_t, own->ops + 1);
    own->rerun = NEW_ARRAY(arena, bool, own->ops + 1);
    own->rerun_end = NEW_ARRAY(arena, uint32_t, own->ops + 1);
    own->bytes = NEW_ARRAY(arena, int64_t, p->storages + 1);
    own->maker = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    if (p->dequantized) own->dequantized = NEW_ARRAY(arena, bool, p->storages + 1);
    take_storages(&b);
    kind->grown_bytes = left_for_update(&b);
    take_ops(&b);
    problem_index(own, arena);
    kind->own = own;
    kind->forward_ops = b.forward;
    for (uint32_t i = 0; i < b.forward; i++) kind->forward_seconds += own->seconds[i];
    for (uint32_t i = 0; i < b.arriving.count; i++) kind->incoming_bytes += p->bytes[b.arriving.at[i]];
    if (link->input != NONE) kind->input_bytes = p->bytes[link->input];
}

uint32_t choices_storage(const Problem *p, const Link *link, const Kind *kind, uint32_t own) {
    uint32_t maker = kind->own->maker[own];
    if (maker == kind->forward_ops) return NONE;
    uint32_t place = 0;
    while (kind->own->makes.list[list_begin(&kind->own->makes, maker) + place] != own) place++;
    uint32_t op = maker < kind->forward_ops ? link->begin + maker
                                            : link->backward_begin + (maker - kind->forward_ops - 1);
    return p->makes.list[list_begin(&p->makes, op) + place];
}

/* ---- choices ---- */

/* A run that repeats an operation, and the time it serves. */
typedef struct Again {
    uint32_t op, time;
} Again;

typedef struct Sweep {
    Kind *kind;
    Replay *replay;
    Sequence sequence;
    double base_seconds;
    int64_t output_bytes;
    Arena *arena;
    VEC(Choice) found;
    VEC(Again) again; /* of the retention that is being changed */
    uint64_t *tried;  /* hashes of retentions, by their lowest bits; 0: a free place */
    uint32_t places;  /* a power of two */
} Sweep;

/* What the retention that was replayed last is as a choice, without it. */
static Choice measure(const Sweep *w) {
    Choice choice = {.seconds = w->sequence.seconds - w->base_seconds};
    const int64_t *live = replay_live(w->replay);
    for (uint32_t i = 0, past = 0; i < w->sequence.run.count; i++) {
        Run run = w->sequence.run.at[i];
        bool middle = run.op == w->kind->forward_ops;
        if (middle) {
            past = 1;
            choice.kept_bytes = live[i] - w->kind->incoming_bytes - w->output_bytes;
        }
        int64_t *highest = past ? &choice.backward_bytes : &choice.forward_bytes;
        if (!middle && live[i] > *highest) *highest = live[i];
    }
    if (choice.kept_bytes < 0) choice.kept_bytes = 0;
    return choice;
}

static void note(Sweep *w, Choice choice, const Keep *retain) {
    const Problem *own = w->kind->own;
    choice.retain = NEW_ARRAY(w->arena, Keep, own->gaps + 1);
    memcpy(choice.retain, retain, sizeof *retain * own->gaps);
    *vec_add(w->arena, &w->found) = choice;
}

/* Whether `a` is as good as `b` in every respect, but for so many bytes and seconds. A block that runs again
 * just before its backward pass takes what keeps nothing, which next to nothing is not. */
static bool as_good(const Choice *a, const Choice *b, int64_t bytes, double seconds) {
    if (a->kept_bytes > 0 && b->kept_bytes == 0) return false;
    return a->kept_bytes <= b->kept_bytes + bytes && a->seconds <= b->seconds + seconds &&
           a->forward_bytes <= b->forward_bytes + bytes && a->backward_bytes <= b->backward_bytes + bytes;
}

static bool beats(const Choice *a, const Choice *b) {
    return as_good(a, b, 0, 0);
}

static int by_kept(const void *a, const void *b) {
    const Choice *x = a, *y = b;
    if (x->kept_bytes != y->kept_bytes) return x->kept_bytes < y->kept_bytes ? -1 : 1;
    return x->seconds < y->seconds ? -1 : x->seconds > y->seconds;
}

/* ---- neighbours ---- */

/* When a gap's storage may start to be kept again: not at all, throughout, or from a time it is made again.
 */
static uint32_t list_starts(const Sweep *w, uint32_t gap, uint32_t maker, uint32_t *start, uint32_t most) {
    const Problem *own = w->kind->own;
    uint32_t begin = own->gap_begin[gap], end = own->gap_end[gap], count = 0;
    if (begin < w->kind->forward_ops) begin = w->kind->forward_ops;
    start[count++] = 0;
    start[count++] = begin + 1;
    for (uint32_t i = 0; i < w->again.count && count < most; i++) {
        Again again = w->again.at[i];
        if (again.op == maker && again.time > begin && again.time < end) start[count++] = again.time + 1;
    }
    if (end < own->ops) start[count++] = end;
    return count;
}

static void note_again(Sweep *w, const Keep *retain) {
    replay_base(w->replay, retain, &w->sequence);
    w->again.count = 0;
    for (uint32_t i = 0; i < w->sequence.run.count; i++)
        if (w->sequence.run.at[i].again)
            *vec_add(w->arena, &w->again) = (Again){w->sequence.run.at[i].op, replay_time(w->replay)[i]};
}

/* A retention's hash is the sum of those of its gaps. */
static uint64_t keep_hash(uint32_t gap, const Keep *keep) {
    uint64_t state = (uint64_t)gap << 32 | keep->from;
    state = random_next(&state) + ((uint64_t)keep->until << 32 | keep->since);
    return random_next(&state);
}

static uint64_t retention_hash(const Problem *own, const Keep *retain) {
    uint64_t hash = 1;
    for (uint32_t gap = 0; gap < own->gaps; gap++) hash += keep_hash(gap, &retain[gap]);
    return hash;
}

/* Whether it was not tried before; it is from then on. */
static bool is_new(Sweep *w, uint64_t hash) {
    uint32_t at = (uint32_t)hash & (w->places - 1);
    for (; w->tried[at]; at = (at + 1) & (w->places - 1))
        if (w->tried[at] == hash) return false;
    w->tried[at] = hash;
    return true;
}

/* Tries the retention with one gap changed, unless it was tried before. */
static void try_change(Sweep *w, Keep *retain, uint32_t gap, Keep next, uint64_t hash) {
    Keep before = retain[gap];
    if (!is_new(w, hash - keep_hash(gap, &before) + keep_hash(gap, &next))) return;
    int64_t bytes = w->found.at[0].backward_bytes / EFFORT_CHOICES_FINE;
    double seconds = w->kind->forward_seconds / EFFORT_CHOICES_FINE;
    retain[gap] = next;
    bool known = !replay_changed(w->replay, retain, gap, before, &w->sequence); /* what it is a change of */
    Choice choice = {0};
    if (!known) choice = measure(w);
    for (uint32_t i = 0; i < w->found.count && !known; i++)
        known = as_good(&w->found.at[i], &choice, bytes, seconds);
    if (!known) note(w, choice, retain);
    retain[gap] = before;
}

/* Tries every change of one gap on what was found, and on what that finds, as long as replays are left: what
 * the cuts and trimming miss where several gaps want to change together. */
static void explore(Sweep *w) {
    const Problem *own = w->kind->own;
    Keep *retain = NEW_ARRAY(w->arena, Keep, own->gaps + 1);
    uint32_t replays = EFFORT_CHOICES_OPS / own->ops, start[EFFORT_CHOICES_STARTS + 1];
    if (replays > EFFORT_CHOICES_REPLAYS) replays = EFFORT_CHOICES_REPLAYS;
    for (w->places = 64; w->places < 2 * (replays + w->found.count);) w->places *= 2;
    w->tried = NEW_ARRAY(w->arena, uint64_t, w->places);
    for (uint32_t i = 0; i < w->found.count; i++) is_new(w, retention_hash(own, w->found.at[i].retain));
    for (uint32_t from = 0; from < w->found.count && replays; from++) {
        const Choice *base = &w->found.at[from];
        bool beaten = false;
        for (uint32_t i = from + 1; i < w->found.count && !beaten; i++) beaten = beats(&w->found.at[i], base);
        if (beaten) continue;
        memcpy(retain, base->retain, sizeof *retain * own->gaps);
        uint64_t hash = retention_hash(own, retain);
        note_again(w, retain);
        for (uint32_t gap = 0, s = 0; gap < own->gaps && replays; gap++) {
            while (gap >= own->gap_first[s + 1]) s++;
            if (!own->may_drop[gap] || own->gap_end[gap] <= w->kind->forward_ops) continue;
            Keep before = retain[gap];
            uint32_t starts = list_starts(w, gap, own->maker[s], start, EFFORT_CHOICES_STARTS);
            for (uint32_t k = 0; k < starts && replays; k++) {
                if (before.from == start[k] && !before.until) continue;
                try_change(w, retain, gap, (Keep){.from = start[k]}, hash);
                replays--;
            }
        }
    }
}

/* How much a choice lacks where another takes its place: the largest share of bytes or seconds. */
static double loss(const Sweep *w, const Choice *of, const Choice *by) {
    double bytes = (double)w->found.at[0].backward_bytes, seconds = w->kind->forward_seconds;
    if (by->kept_bytes > 0 && of->kept_bytes == 0) return HUGE_VAL;
    double share = (by->seconds - of->seconds) / seconds;
    share = fmax(share, (double)(by->kept_bytes - of->kept_bytes) / bytes);
    share = fmax(share, (double)(by->forward_bytes - of->forward_bytes) / bytes);
    return fmax(share, (double)(by->backward_bytes - of->backward_bytes) / bytes);
}

/* The choice that is best at prices for bytes kept and for the backward peak, in seconds of the forward pass
 * for all the bytes there are. */
static uint32_t best_at(const Sweep *w, const Choice *choice, uint32_t count, double kept, double peak) {
    double unit = w->kind->forward_seconds / (double)w->found.at[0].backward_bytes, least = HUGE_VAL;
    uint32_t best = 0;
    for (uint32_t i = 0; i < count; i++) {
        double price = choice[i].seconds +
                       unit * (kept * (double)choice[i].kept_bytes + peak * (double)choice[i].backward_bytes +
                               1e-3 * (double)choice[i].forward_bytes);
        if (price < least) least = price, best = i;
    }
    return best;
}

/* Into the kind: the choices that no other beats; where there are too many, those that are best at some
 * prices, and then each time the one that the chosen ones would replace worst. */
static void keep_best(Sweep *w) {
    Choice *good = NEW_ARRAY(w->arena, Choice, w->found.count);
    uint32_t count = 0, chosen = 0;
    for (uint32_t i = 0; i < w->found.count; i++) {
        bool beaten = false;
        for (uint32_t j = 0; j < w->found.count && !beaten; j++)
            beaten = i != j && beats(&w->found.at[j], &w->found.at[i]) &&
                     (!beats(&w->found.at[i], &w->found.at[j]) || j < i);
        if (!beaten) good[count++] = w->found.at[i];
    }
    double *lost = NEW_ARRAY(w->arena, double, count + 1);
    for (uint32_t i = 0; i < count; i++) lost[i] = HUGE_VAL;
    uint32_t most = count < EFFORT_CHOICES_MOST ? count : EFFORT_CHOICES_MOST;
    for (uint32_t next = 0; chosen < most; next++) {
        uint32_t pick = 0;
        if (next < EFFORT_CHOICES_PRICES * EFFORT_CHOICES_PRICES) {
            pick = best_at(w, good, count, ldexp(1, (int)(2 * (next % EFFORT_CHOICES_PRICES)) - 6),
                           ldexp(1, (int)(2 * (next / EFFORT_CHOICES_PRICES)) - 6));
            if (lost[pick] == 0) continue;
        } else {
            for (uint32_t i = 1; i < count; i++)
                if (lost[i] > lost[pick]) pick = i;
        }
        *vec_add(w->arena, &w->kind->choice) = good[pick];
        chosen++;
        for (uint32_t i = 0; i < count; i++) lost[i] = fmin(lost[i], fmax(0, loss(w, &good[i], &good[pick])));
        lost[pick] = 0;
        if (next >= EFFORT_CHOICES_PRICES * EFFORT_CHOICES_PRICES && lost[pick] == 0) {
            bool more = false;
            for (uint32_t i = 0; i < count; i++) more = more || lost[i] > 0;
            if (!more) break;
        }
    }
    qsort(w->kind->choice.at, w->kind->choice.count, sizeof *w->kind->choice.at, by_kept);
}

/* What a cut keeps over the middle; the rest is made again after it. */
static void retain_cut(const Sweep *w, const bool *keep, Keep *retain) {
    const Problem *own = w->kind->own;
    uint32_t middle = w->kind->forward_ops;
    memset(retain, 0, sizeof *retain * own->gaps);
    for (uint32_t gap = 0, s = 0; gap < own->gaps; gap++) {
        while (gap >= own->gap_first[s + 1]) s++;
        bool over = own->gap_begin[gap] < middle && own->gap_end[gap] > middle;
        if (over && own->may_drop[gap] && !keep[s]) retain[gap] = (Keep){.from = middle + 1};
    }
}

/* A cut and what trimming makes of it, and the same with no dequantised weight kept: trimmed one after the
 * other these last long. */
static void try_cut(Sweep *w, Trimmer *trimmer, const bool *keep, Keep *retain) {
    const Problem *own = w->kind->own;
    for (int bare = 0; bare <= (own->dequantized != NULL); bare++) {
        retain_cut(w, keep, retain);
        if (bare) retain_none_dequantized(own, w->kind->forward_ops, retain);
        replay(w->replay, retain, &w->sequence);
        note(w, measure(w), retain);
        for (uint32_t step = 0; step < EFFORT_CHOICES_TRIMS; step++) {
            int64_t target = w->sequence.peak_bytes - w->sequence.peak_bytes / 16 - 1;
            if (!trim_to(trimmer, target, retain, &w->sequence)) break;
            note(w, measure(w), retain);
        }
    }
}

/* Whether something is dropped within the forward pass; it no longer is. */
static bool keep_forward(const Kind *kind, Keep *retain) {
    const Problem *own = kind->own;
    bool drops = false;
    for (uint32_t gap = 0; gap < own->gaps; gap++)
        if (own->gap_end[gap] <= kind->forward_ops && retain[gap].from > own->gap_begin[gap]) {
            retain[gap] = (Keep){0};
            drops = true;
        }
    return drops;
}

/* What the choices take in a forward pass that runs again. */
static void measure_again(Sweep *w, Keep *retain) {
    for (uint32_t i = 0; i < w->kind->choice.count; i++) {
        Choice *choice = &w->kind->choice.at[i];
        choice->again_bytes = choice->forward_bytes;
        memcpy(retain, choice->retain, sizeof *retain * w->kind->own->gaps);
        if (!keep_forward(w->kind, retain)) continue;
        replay(w->replay, retain, &w->sequence);
        choice->again_bytes = measure(w).forward_bytes;
    }
}

static void sweep(Kind *kind, bool explored, Arena *arena) {
    const Problem *own = kind->own;
    Sweep w = {.kind = kind, .arena = arena, .replay = replay_new(own, arena)};
    Trimmer *trimmer = trim_new(own, NULL, w.replay, arena);
    Keep *retain = NEW_ARRAY(arena, Keep, own->gaps + 1);
    for (uint32_t op = 0; op < own->ops; op++) w.base_seconds += own->seconds[op];
    for (EACH(k, own->reads, kind->forward_ops)) w.output_bytes += own->bytes[own->reads.list[k]];
    replay(w.replay, retain, &w.sequence);
    note(&w, measure(&w), retain);
    Trades hull = closure_hull(closure_new(own, kind->forward_ops, arena), EFFORT_CHOICES_CUTS, arena);
    for (uint32_t t = 0; t < hull.count; t++) try_cut(&w, trimmer, hull.at[t].keep, retain);
    if (explored) explore(&w);
    keep_best(&w);
    measure_again(&w, retain);
}

Kind choices_kind(const Problem *p, const Link *link, Arena *arena) {
    Kind kind = {0};
    build(p, link, &kind, arena);
    return kind;
}

Kind *choices_kinds(const Problem *p, const Links *links, bool explored, Arena *arena) {
    Kind *kinds = NEW_ARRAY(arena, Kind, links->kinds + 1);
    for (uint32_t i = 0; i < links->count; i++) {
        Kind *kind = &kinds[links->at[i].kind];
        if (kind->own) continue;
        build(p, &links->at[i], kind, arena);
        Text key = {0};
        if (p->known) key = kind_key(kind, explored, arena);
        if (p->known && kind_recall(p->known, &key, kind)) continue;
        double began = stats_begin(p->stats);
        sweep(kind, explored, arena);
        stats_end(p->stats, STATS_CHOICES, began, kind->choice.count);
        if (p->known) kind_remember(p->known, &key, kind);
    }
    return kinds;
}
