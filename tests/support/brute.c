/* See brute.h. A state is the number of first executions done and the set of live storages; running an
 * operation costs its seconds and may drop any of what is live afterwards. Dijkstra (1959) finds the cheapest
 * way to the end. Shares nothing with the planner but the problem itself. */
#include "tests/support/brute.h"

#include <math.h>
#include <string.h>

static uint32_t below(uint64_t *state, uint32_t bound) {
    return (uint32_t)(random_next(state) % bound);
}

typedef struct Growing {
    Arena *arena;
    VEC(uint32_t) first, item;
} Growing;

static void begin(Growing *list) {
    *vec_add(list->arena, &list->first) = list->item.count;
}

static bool add(Growing *list, uint32_t item) {
    for (uint32_t i = list->first.at[list->first.count - 1]; i < list->item.count; i++)
        if (list->item.at[i] == item) return false;
    *vec_add(list->arena, &list->item) = item;
    return true;
}

static Lists end(Growing *list) {
    begin(list);
    return (Lists){list->first.at, list->item.at};
}

Problem *random_problem(uint64_t seed, uint32_t ops, bool plain, Arena *arena) {
    const uint32_t most_storages = ops > 12 ? ops : 12;
    uint64_t random = seed * 7919 + 17;
    Problem *p = NEW(arena, Problem);
    p->ops = p->update_begin = 2 + below(&random, ops - 1);
    p->seconds = NEW_ARRAY(arena, double, p->ops);
    p->workspace_bytes = NEW_ARRAY(arena, int64_t, p->ops);
    p->rerun = NEW_ARRAY(arena, bool, p->ops);
    p->bytes = NEW_ARRAY(arena, int64_t, most_storages);
    p->maker = NEW_ARRAY(arena, uint32_t, most_storages);
    p->persistent_bytes = plain ? 0 : PLAN_ALIGN * (int64_t)below(&random, 4);
    Growing reads = {.arena = arena}, makes = {.arena = arena}, takeover = {.arena = arena};
    for (uint32_t op = 0; op < p->ops; op++) {
        begin(&reads), begin(&makes), begin(&takeover);
        p->seconds[op] = 1 + below(&random, 9);
        p->rerun[op] = plain || below(&random, 8) > 0;
        p->workspace_bytes[op] = plain || below(&random, 3) ? 0 : PLAN_ALIGN * (int64_t)below(&random, 5);
        uint32_t inputs = p->storages ? below(&random, p->storages < 3 ? p->storages + 1 : 4) : 0;
        /* a chain, so that distances vary, and a few more */
        if (p->storages && below(&random, 5)) add(&reads, p->storages - 1);
        for (uint32_t i = 0; i < inputs; i++) add(&reads, below(&random, p->storages));
        uint32_t outputs = plain || below(&random, 4) ? 1 : 2;
        for (uint32_t i = 0; i < outputs && p->storages + (p->ops - op - 1) < most_storages; i++) {
            uint32_t s = p->storages++;
            p->bytes[s] = PLAN_ALIGN * (int64_t)(1 + below(&random, 6));
            p->maker[s] = op;
            add(&makes, s);
            if (i || plain || below(&random, 2)) continue;
            for (uint32_t k = reads.first.at[op]; k < reads.item.count; k++)
                if (p->bytes[reads.item.at[k]] == p->bytes[s]) add(&takeover, reads.item.at[k]);
        }
    }
    p->reads = end(&reads), p->makes = end(&makes), p->takeover = end(&takeover);
    problem_index(p, arena);
    return p;
}

void random_ends(Problem *p, uint64_t seed, Arena *arena) {
    uint64_t random = seed * 104729 + 5;
    p->rerun_end = NEW_ARRAY(arena, uint32_t, p->ops);
    for (uint32_t op = 0; op < p->ops; op++)
        p->rerun_end[op] = below(&random, 3) ? p->ops : op + 1 + below(&random, p->ops - op);
    problem_index(p, arena);
}

typedef struct Brute {
    const Problem *p;
    int64_t budget;
    double *best; /* by state: done * 2^storages + live */
    bool *settled;
} Brute;

static int64_t bytes_of(const Problem *p, uint32_t set) {
    int64_t bytes = 0;
    for (uint32_t s = 0; s < p->storages; s++)
        if (set >> s & 1) bytes += p->bytes[s];
    return bytes;
}

static uint32_t set_of(const Lists *lists, uint32_t op) {
    uint32_t set = 0;
    for (uint32_t i = lists->first[op]; i < lists->first[op + 1]; i++) set |= 1u << lists->list[i];
    return set;
}

static void improve(Brute *b, uint32_t done, uint32_t live, double seconds) {
    double *best = &b->best[(done << b->p->storages) + live];
    if (seconds < *best) *best = seconds;
}

/* Runs `op` from `live`; afterwards everything is live but an input it took over. Dropping is a move of its
 * own. */
static void run(Brute *b, uint32_t done, uint32_t live, uint32_t op, double seconds) {
    const Problem *p = b->p;
    uint32_t reads = set_of(&p->reads, op), makes = set_of(&p->makes, op),
             takeover = set_of(&p->takeover, op);
    if ((reads & live) != reads) return;
    int64_t bytes = p->persistent_bytes + bytes_of(p, live | makes) + p->workspace_bytes[op];
    seconds += p->seconds[op];
    done += done == op;
    if (bytes <= b->budget) improve(b, done, live | makes, seconds);
    for (uint32_t s = 0; s < p->storages; s++)
        if (takeover >> s & 1 && bytes - p->bytes[s] <= b->budget)
            improve(b, done, (live | makes) & ~(1u << s), seconds);
}

static void expand(Brute *b, uint32_t done, uint32_t live, double seconds) {
    const Problem *p = b->p;
    for (uint32_t s = 0; s < p->storages; s++)
        if (live >> s & 1) improve(b, done, live & ~(1u << s), seconds);
    run(b, done, live, done, seconds);
    for (uint32_t op = 0; op < done; op++)
        if (p->rerun[op] && (!p->rerun_end || done <= p->rerun_end[op])) run(b, done, live, op, seconds);
}

double brute_seconds(const Problem *p, int64_t budget_bytes, Arena *arena) {
    uint32_t states = (p->ops + 1) << p->storages;
    Brute b = {.p = p, .budget = budget_bytes};
    b.best = NEW_ARRAY(arena, double, states);
    b.settled = NEW_ARRAY(arena, bool, states);
    for (uint32_t i = 0; i < states; i++) b.best[i] = INFINITY;
    b.best[0] = 0;
    /* costs are whole: a bucket a second */
    double horizon = 0;
    for (uint32_t op = 0; op < p->ops; op++) horizon += p->seconds[op];
    for (double now = 0; now <= horizon * 64; now++) {
        bool any = false, later = false;
        do {
            any = false;
            for (uint32_t i = 0; i < states; i++) {
                if (b.settled[i] || b.best[i] == INFINITY) continue;
                if (b.best[i] > now) {
                    later = true;
                    continue;
                }
                b.settled[i] = any = true;
                if (i >> p->storages == p->ops) return b.best[i];
                expand(&b, i >> p->storages, i & ((1u << p->storages) - 1), b.best[i]);
            }
        } while (any);
        if (!later) return INFINITY;
    }
    return INFINITY;
}
