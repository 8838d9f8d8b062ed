/* See beam.h. In: a problem and a budget; out: runs. A set holds what must be live at some point of the
 * schedule; followed backwards, the run before that point either made one of them, x, and the set becomes the
 * rest and what x reads, or was the first run of the operation before:
 *
 *     time 4          | set {1, 3} | run 2 again | set {2, 3} | 4 runs first | set {4}, which 5 reads
 *
 * (2 reads 1; 4 reads 2 and 3). Sets of one time are followed in order of merit: seconds of recomputation so
 * far, and the bytes over the budget at the worst earlier time if everything were kept from there on, at a
 * price. */
#include "planner/dag/beam.h"

#include <math.h>
#include <string.h>

typedef struct Set {
    uint32_t parent, op; /* this set, then `op` runs, then the parent; NONE at the end of the schedule */
    double seconds, merit;
    int64_t bytes;
    uint64_t *bits; /* NULL: only a link */
} Set;

#define MISSING_WEIGHT 8 /* of a byte over the budget at once, to one at an earlier time */

typedef struct Move {
    uint32_t from, op; /* NONE: the set itself */
    double merit;
} Move;

typedef struct Beam {
    const BeamRequest *request;
    const Problem *p;
    Arena *arena, *scratch;
    int64_t room;
    uint32_t words;
    VEC(Set) set;
    VEC(Move) heap;
    VEC(uint32_t) next; /* sets of the time before, by merit */
    uint32_t time;      /* the next first run, going back, is time - 1 */
    int64_t *kept;      /* by time before: live bytes if first runs up to `time` were all */
    uint32_t *read;     /* by storage: the last first run before `time` that reads it, or makes it */
    int64_t *enter;     /* by time */
    uint32_t *table;    /* sets by hash */
    uint32_t table_mask;
    Set made;
    VEC(uint32_t) steps; /* back to `made` */
} Beam;

static bool has(const uint64_t *bits, uint32_t storage) {
    return bits[storage / 64] >> (storage % 64) & 1;
}

/* Makes `made` the given set. */
static void start_from(Beam *b, uint32_t from) {
    const Set *set = &b->set.at[from];
    uint64_t *bits = b->made.bits;
    b->made = *set;
    b->made.bits = bits;
    memcpy(bits, set->bits, sizeof *bits * b->words);
    b->made.parent = from;
    b->steps.count = 0;
}

/* Makes `made` the set before `op` ran; false if the run does not fit. */
static bool step_back(Beam *b, uint32_t op) {
    const Problem *p = b->p;
    Set *made = &b->made;
    uint64_t *bits = made->bits;
    *vec_add(b->arena, &b->steps) = op;
    if (op != b->time - 1) made->seconds += p->seconds[op];
    for (EACH(i, p->reads, op)) {
        uint32_t read = p->reads.list[i];
        if (!has(bits, read)) made->bytes += p->bytes[read];
        bits[read / 64] |= (uint64_t)1 << (read % 64);
    }
    int64_t more = p->workspace_bytes[op], less = 0;
    for (EACH(i, p->makes, op)) {
        uint32_t u = p->makes.list[i];
        *(has(bits, u) ? &less : &more) += p->bytes[u];
        bits[u / 64] &= ~((uint64_t)1 << (u % 64));
    }
    bool fits = made->bytes + more <= b->room;
    made->bytes -= less;
    return fits;
}

/* Bytes missing for the first run of time - 1 after `made`. */
static int64_t missing(const Beam *b) {
    const Problem *p = b->p;
    uint32_t op = b->time - 1;
    int64_t bytes = b->made.bytes + p->workspace_bytes[op];
    for (EACH(i, p->reads, op))
        if (!has(b->made.bits, p->reads.list[i])) bytes += p->bytes[p->reads.list[i]];
    for (EACH(i, p->makes, op))
        if (!has(b->made.bits, p->makes.list[i])) bytes += p->bytes[p->makes.list[i]];
    return bytes - b->room;
}

/* Bytes gained by a step that adds no operand; 0 if it does. */
static int64_t free_bytes(const Beam *b, uint32_t op) {
    const Problem *p = b->p;
    int64_t gain = 0;
    for (EACH(i, p->makes, op))
        if (has(b->made.bits, p->makes.list[i])) gain += p->bytes[p->makes.list[i]];
    for (EACH(i, p->reads, op))
        if (!has(b->made.bits, p->reads.list[i])) return 0;
    return gain;
}

/* Steps that add no operands, the cheapest a byte first, until the first run of time - 1 fits. */
static void take_free(Beam *b) {
    const Problem *p = b->p;
    while (missing(b) > 0) {
        uint32_t best = NONE;
        double price = HUGE_VAL;
        for (uint32_t w = 0; w < b->words; w++)
            for (uint64_t bits = b->made.bits[w]; bits; bits &= bits - 1) {
                uint32_t op = p->maker[w * 64 + (uint32_t)__builtin_ctzll(bits)];
                if (op >= b->time - 1) continue;
                int64_t gain = free_bytes(b, op);
                if (gain > 0 && p->seconds[op] / (double)gain < price)
                    price = p->seconds[op] / (double)gain, best = op;
            }
        if (best == NONE || !step_back(b, best)) return;
    }
}

/* Merit of `made` at `time`. */
static double merit(Beam *b, uint32_t time) {
    const Problem *p = b->p;
    memset(b->enter, 0, sizeof *b->enter * (time + 1));
    for (uint32_t w = 0; w < b->words; w++)
        for (uint64_t bits = b->made.bits[w]; bits; bits &= bits - 1) {
            uint32_t u = w * 64 + (uint32_t)__builtin_ctzll(bits);
            b->enter[b->read[u] + 1] += p->bytes[u];
        }
    int64_t worst = b->made.bytes, sum = 0;
    int64_t here = 0;
    for (uint32_t t = 0; t < time; t++) {
        sum += b->enter[t];
        here = b->kept[t] + sum;
        if (here > worst) worst = here;
    }
    double over = worst > b->room ? (double)(worst - b->room) : 0;
    if (here > b->room) over += MISSING_WEIGHT * (double)(here - b->room);
    return b->made.seconds + b->request->price * (over + b->request->bytes_weight * (double)b->made.bytes);
}

/* Of the first runs before `time`: what they keep live, and the last that reads each storage. */
static void weigh(Beam *b, uint32_t time) {
    const Problem *p = b->p;
    for (uint32_t op = 0; op < time; op++) {
        for (EACH(i, p->makes, op)) b->read[p->makes.list[i]] = op;
        for (EACH(i, p->reads, op)) b->read[p->reads.list[i]] = op;
    }
    memset(b->kept, 0, sizeof *b->kept * (p->ops + 1));
    for (uint32_t u = 0; u < p->storages; u++)
        if (p->maker[u] < time) {
            b->kept[p->maker[u]] += p->bytes[u];
            b->kept[b->read[u] + 1] -= p->bytes[u];
        }
    for (uint32_t t = 1; t < time; t++) b->kept[t] += b->kept[t - 1];
    for (uint32_t t = 0; t < time; t++) b->kept[t] += p->workspace_bytes[t];
}

static void push(Beam *b, Move step) {
    uint32_t at = b->heap.count;
    (void)vec_add(b->arena, &b->heap);
    for (; at > 0 && step.merit < b->heap.at[(at - 1) / 2].merit; at = (at - 1) / 2)
        b->heap.at[at] = b->heap.at[(at - 1) / 2];
    b->heap.at[at] = step;
}

static Move pop(Beam *b) {
    Move top = b->heap.at[0], last = b->heap.at[--b->heap.count];
    uint32_t at = 0;
    for (;;) {
        uint32_t down = 2 * at + 1;
        if (down >= b->heap.count) break;
        if (down + 1 < b->heap.count && b->heap.at[down + 1].merit < b->heap.at[down].merit) down++;
        if (b->heap.at[down].merit >= last.merit) break;
        b->heap.at[at] = b->heap.at[down];
        at = down;
    }
    b->heap.at[at] = last;
    return top;
}

static uint32_t add_set(Beam *b) {
    Set set = b->made;
    set.bits = NEW_ARRAY(b->arena, uint64_t, b->words);
    memcpy(set.bits, b->made.bits, sizeof *set.bits * b->words);
    *vec_add(b->arena, &b->set) = set;
    return b->set.count - 1;
}

/* Adds the sets of the steps that led from `from` to `made`, unless the table has `made`. */
static uint32_t add_made(Beam *b, uint32_t from) {
    uint64_t hash = b->time * (uint64_t)0x2545f4914f6cdd1d;
    for (uint32_t w = 0; w < b->words; w++)
        hash = (hash ^ b->made.bits[w]) * 0x9e3779b97f4a7c15u ^ hash >> 29;
    uint32_t slot = (uint32_t)(hash >> 32) & b->table_mask;
    for (; b->table[slot] != NONE; slot = (slot + 1) & b->table_mask)
        if (!memcmp(b->set.at[b->table[slot]].bits, b->made.bits, sizeof *b->made.bits * b->words))
            return NONE;
    uint32_t steps = b->steps.count;
    for (uint32_t i = 0; i + 1 < steps; i++) { /* only links */
        Set link = {.parent = from, .op = b->steps.at[i]};
        *vec_add(b->arena, &b->set) = link;
        from = b->set.count - 1;
    }
    b->made.parent = from;
    b->made.op = b->steps.at[steps - 1];
    b->table[slot] = add_set(b);
    return b->table[slot];
}

/* Puts into `next` the set before the first run of time - 1, if that fits. */
static void keep_next(Beam *b, uint32_t from) {
    start_from(b, from);
    if (!step_back(b, b->time - 1)) return;
    b->made.op = b->time - 1;
    b->made.merit = merit(b, b->time - 1);
    uint32_t at = b->next.count;
    if (at == b->request->width) {
        if (b->set.at[b->next.at[at - 1]].merit <= b->made.merit) return;
        b->next.count--, at--;
    }
    for (uint32_t i = 0; i < b->next.count; i++)
        if (!memcmp(b->set.at[b->next.at[i]].bits, b->made.bits, sizeof *b->made.bits * b->words)) {
            if (b->set.at[b->next.at[i]].merit <= b->made.merit) return;
            memmove(&b->next.at[i], &b->next.at[i + 1], sizeof *b->next.at * (b->next.count - i - 1));
            b->next.count--, at--;
            break;
        }
    uint32_t set = add_set(b);
    (void)vec_add(b->arena, &b->next);
    for (; at > 0 && b->set.at[b->next.at[at - 1]].merit > b->made.merit; at--)
        b->next.at[at] = b->next.at[at - 1];
    b->next.at[at] = set;
}

/* Makes `made` the set before `op` ran again, and before free steps; false if that does not fit. */
static bool go_back(Beam *b, uint32_t from, uint32_t op) {
    start_from(b, from);
    if (!step_back(b, op)) return false;
    take_free(b);
    return true;
}

static void offer_steps(Beam *b, uint32_t from) {
    const Problem *p = b->p;
    for (uint32_t op = b->time - 1; op-- > 0;) {
        bool made = false;
        for (EACH(i, p->makes, op)) made = made || has(b->set.at[from].bits, p->makes.list[i]);
        if (made && go_back(b, from, op)) push(b, (Move){from, op, merit(b, b->time)});
    }
}

/* Follows the sets of one time back to the time before. */
static void follow(Beam *b) {
    b->heap.count = 0;
    memset(b->table, 0xff, sizeof *b->table * (b->table_mask + 1));
    for (uint32_t i = 0; i < b->next.count; i++)
        push(b, (Move){b->next.at[i], NONE, b->set.at[b->next.at[i]].merit});
    b->next.count = 0;
    for (uint32_t i = 0; i < (b->next.count ? b->request->enough : b->request->followed) && b->heap.count;) {
        if (deadline_passed(b->request->deadline)) break;
        Move step = pop(b);
        uint32_t set = step.from;
        if (b->next.count == b->request->width && step.merit > b->set.at[b->next.at[b->next.count - 1]].merit)
            break;
        if (step.op != NONE) {
            go_back(b, step.from, step.op);
            b->made.merit = step.merit;
            if ((set = add_made(b, step.from)) == NONE) continue;
        }
        i++;
        keep_next(b, set);
        offer_steps(b, set);
    }
}

BeamRuns beam_runs(const BeamRequest *request, Arena *arena) {
    const Problem *p = request->p;
    Beam b = {.request = request, .p = p, .arena = arena_new()};
    b.room = request->budget_bytes - p->persistent_bytes;
    b.words = p->storages / 64 + 1;
    b.kept = NEW_ARRAY(b.arena, int64_t, p->ops + 2);
    b.enter = NEW_ARRAY(b.arena, int64_t, p->ops + 2);
    b.read = NEW_ARRAY(b.arena, uint32_t, p->storages + 1);
    b.made.bits = NEW_ARRAY(b.arena, uint64_t, b.words);
    for (b.table_mask = 1024; b.table_mask < 4 * request->followed; b.table_mask *= 2) continue;
    b.table = NEW_ARRAY(b.arena, uint32_t, b.table_mask--);
    *vec_add(b.arena, &b.set) = (Set){NONE, NONE, 0, 0, 0, NEW_ARRAY(b.arena, uint64_t, b.words)};
    *vec_add(b.arena, &b.next) = 0;
    for (b.time = p->ops; b.time > 0 && b.next.count && !deadline_passed(request->deadline); b.time--) {
        weigh(&b, b.time);
        follow(&b);
    }
    BeamRuns runs = {.found = b.time == 0 && b.next.count > 0};
    for (uint32_t set = runs.found ? b.next.at[0] : 0; b.set.at[set].parent != NONE;
         set = b.set.at[set].parent)
        *vec_add(arena, &runs.run) = b.set.at[set].op;
    arena_free(b.arena);
    return runs;
}
