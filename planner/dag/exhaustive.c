/* Shortest path over states (first runs done, storages live): Dijkstra (1959). In: a problem of a few
 * operations; out: its fastest schedule. A move runs an operation whose operands are live, or frees a
 * storage; the schedule may run anything any number of times. First runs are in every schedule and cost
 * nothing here, so that only states within fewer seconds of reruns than the answer's are looked at. */
#include "planner/dag/exhaustive.h"

#include <math.h>
#include <string.h>

typedef struct Entry {
    double seconds;
    uint32_t state;
} Entry;

typedef struct Paths {
    const Problem *p;
    Arena *arena;
    int64_t budget;
    double upper;
    double *best;   /* by state: first runs done << storages | live */
    uint32_t *from; /* by state: the state before */
    uint8_t *move;  /* by state: the operation that led there; FREED if none ran */
    int64_t *bytes; /* by set of storages */
    VEC(Entry) heap;
} Paths;
enum { FREED = 255 };

static bool is_before(const Entry *a, const Entry *b) {
    return a->seconds < b->seconds || (a->seconds == b->seconds && a->state < b->state);
}

static void push(Paths *s, Entry entry) {
    uint32_t at = s->heap.count;
    (void)vec_add(s->arena, &s->heap);
    for (; at > 0 && is_before(&entry, &s->heap.at[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap.at[at] = s->heap.at[(at - 1) / 2];
    s->heap.at[at] = entry;
}

static Entry pop(Paths *s) {
    Entry top = s->heap.at[0], last = s->heap.at[--s->heap.count];
    uint32_t at = 0;
    for (;;) {
        uint32_t down = 2 * at + 1;
        if (down >= s->heap.count) break;
        if (down + 1 < s->heap.count && is_before(&s->heap.at[down + 1], &s->heap.at[down])) down++;
        if (!is_before(&s->heap.at[down], &last)) break;
        s->heap.at[at] = s->heap.at[down];
        at = down;
    }
    s->heap.at[at] = last;
    return top;
}

static void reach(Paths *s, uint32_t state, double seconds, uint32_t from, uint8_t move) {
    if (seconds >= s->best[state] || seconds >= s->upper) return;
    s->best[state] = seconds;
    s->from[state] = from;
    s->move[state] = move;
    push(s, (Entry){seconds, state});
}

static uint32_t set_of(const Lists *lists, uint32_t op) {
    uint32_t set = 0;
    for (EACH(i, *lists, op)) set |= 1u << lists->list[i];
    return set;
}

static void expand(Paths *s, uint32_t state, double seconds) {
    const Problem *p = s->p;
    uint32_t done = state >> p->storages, live = state & ((1u << p->storages) - 1);
    for (uint32_t u = 0; u < p->storages; u++)
        if (live >> u & 1) reach(s, state & ~(1u << u), seconds, state, FREED);
    for (uint32_t op = 0; op <= done; op++) {
        uint32_t reads = set_of(&p->reads, op), makes = set_of(&p->makes, op);
        if ((reads & live) != reads) continue;
        if (op < done && (!problem_may_rerun(p, op, done - 1) || (makes & live) == makes)) continue;
        if (p->persistent_bytes + s->bytes[live | makes] + p->workspace_bytes[op] > s->budget) continue;
        uint32_t next = (done + (op == done)) << p->storages | live | makes;
        reach(s, next, op < done ? seconds + p->seconds[op] : seconds, state, (uint8_t)op);
    }
}

static void trace(const Paths *s, uint32_t state, ExhaustiveRuns *runs, Arena *arena) {
    for (; state; state = s->from[state])
        if (s->move[state] != FREED) *vec_add(arena, &runs->run) = s->move[state];
    for (uint32_t i = 0, j = runs->run.count; i + 1 < j; i++) {
        uint32_t swap = runs->run.at[i];
        runs->run.at[i] = runs->run.at[--j];
        runs->run.at[j] = swap;
    }
}

ExhaustiveRuns exhaustive_runs(const Problem *p, int64_t budget_bytes, double upper_seconds, Arena *arena) {
    uint32_t sets = 1u << p->storages, states = (p->ops + 1) << p->storages;
    ExhaustiveRuns runs = {0};
    Paths s = {.p = p, .budget = budget_bytes, .upper = upper_seconds, .arena = arena_new()};
    s.best = NEW_ARRAY(s.arena, double, states);
    s.from = NEW_ARRAY(s.arena, uint32_t, states);
    s.move = NEW_ARRAY(s.arena, uint8_t, states);
    s.bytes = NEW_ARRAY(s.arena, int64_t, sets);
    for (uint32_t i = 0; i < states; i++) s.best[i] = HUGE_VAL;
    for (uint32_t set = 1; set < sets; set++) {
        uint32_t u = 0;
        while (!(set >> u & 1)) u++;
        s.bytes[set] = s.bytes[set & (set - 1)] + p->bytes[u];
    }
    reach(&s, 0, 0, 0, FREED);
    while (s.heap.count && !runs.exists) {
        Entry entry = pop(&s);
        if (entry.seconds > s.best[entry.state]) continue;
        if (entry.state >> p->storages == p->ops) {
            runs.exists = true;
            runs.seconds = entry.seconds;
            trace(&s, entry.state, &runs, arena);
        } else {
            expand(&s, entry.state, entry.seconds);
        }
    }
    arena_free(s.arena);
    return runs;
}
