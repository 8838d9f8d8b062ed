/* The closure bound by parametric minimum cuts. In: a problem and an instant; out: bounds and trades.
 *
 * Let d be "storage u is demanded after the instant", y "operation v runs again after it". A demanded storage
 * is resident, at lambda a byte, or its maker runs again; an operation that runs again demands its inputs:
 *
 *     source --inf--> d_u (read by a first execution after the instant)
 *     d_u --lambda m_u--> y_maker(u) --c_v--> sink
 *     y_v --inf--> d_u for every u that v reads
 *
 * and a storage whose maker may not run again pays to the sink. A cut's value less lambda x bytes is a valid
 * bound at every lambda >= 0 (Lagrange); capacities are rounded down, so it stays one. */
#include "planner/bound/closure.h"
#include "planner/bound/min_cut.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

#define UNITS ((double)((int64_t)1 << 40)) /* total seconds of the operations that may run again */

struct Closure {
    const Problem *p;
    uint32_t instant;
    int64_t fixed_bytes;
    bool *demanded;       /* by storage: read by a first execution after the instant, and not fixed */
    uint32_t *storage_at; /* vertex of a storage, NONE outside */
    uint32_t *op_at;
    uint32_t *price_arc;               /* by storage */
    uint32_t *seconds_arc, *force_arc; /* by operation */
    uint32_t *inside;                  /* storages in the network */
    uint32_t inside_count;
    int64_t all_bytes;  /* of the demanded */
    int64_t most_bytes; /* of everything inside */
    double units_per_second;
    MinCut *cut;
};

static void fix(Closure *c, bool *fixed) {
    const Problem *p = c->p;
    c->fixed_bytes = p->persistent_bytes + p->workspace_bytes[c->instant];
    for (EACH(i, p->reads, c->instant)) {
        fixed[p->reads.list[i]] = true;
        c->fixed_bytes += p->bytes[p->reads.list[i]];
    }
    for (EACH(i, p->makes, c->instant)) {
        fixed[p->makes.list[i]] = true;
        c->fixed_bytes += p->bytes[p->makes.list[i]];
    }
    if (list_begin(&p->takeover, c->instant) < list_end(&p->takeover, c->instant))
        c->fixed_bytes -= p->bytes[p->makes.list[list_begin(&p->makes, c->instant)]];
}

/* Everything reached from the storages demanded up to `until` through operations that may run again. */
static void collect(Closure *c, uint32_t until, const bool *fixed, uint32_t *vertices) {
    const Problem *p = c->p;
    for (uint32_t op = c->instant + 1; op <= until; op++)
        for (EACH(i, p->reads, op)) {
            uint32_t s = p->reads.list[i];
            if (p->maker[s] >= c->instant || fixed[s] || c->demanded[s]) continue;
            c->demanded[s] = true;
            c->all_bytes += p->bytes[s];
            c->storage_at[s] = (*vertices)++;
            c->inside[c->inside_count++] = s;
        }
    for (uint32_t next = 0; next < c->inside_count; next++) {
        uint32_t maker = p->maker[c->inside[next]];
        if (!problem_may_rerun(p, maker, c->instant) || c->op_at[maker] != NONE) continue;
        c->op_at[maker] = (*vertices)++;
        for (EACH(i, p->reads, maker)) {
            uint32_t s = p->reads.list[i];
            if (fixed[s] || c->storage_at[s] != NONE) continue;
            c->storage_at[s] = (*vertices)++;
            c->inside[c->inside_count++] = s;
        }
    }
}

Closure *closure_new(const Problem *p, uint32_t instant, Arena *arena) {
    return closure_between(p, instant, p->ops - 1, arena);
}

Closure *closure_between(const Problem *p, uint32_t instant, uint32_t until, Arena *arena) {
    Closure *c = NEW(arena, Closure);
    c->p = p;
    c->instant = instant;
    c->demanded = NEW_ARRAY(arena, bool, p->storages + 1);
    c->storage_at = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    c->op_at = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    c->price_arc = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    c->seconds_arc = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    c->force_arc = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    c->inside = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    memset(c->storage_at, 0xff, sizeof *c->storage_at * p->storages);
    memset(c->op_at, 0xff, sizeof *c->op_at * p->ops);
    bool *fixed = NEW_ARRAY(arena, bool, p->storages + 1);
    fix(c, fixed);
    uint32_t vertices = 2;
    collect(c, until, fixed, &vertices);

    double total = 0;
    for (uint32_t op = 0; op < instant; op++)
        if (c->op_at[op] != NONE) total += p->seconds[op];
    c->units_per_second = total > 0 ? UNITS / total : 1;
    c->cut = min_cut_new(vertices, arena);
    for (uint32_t i = 0; i < c->inside_count; i++) {
        uint32_t s = c->inside[i], maker = c->op_at[p->maker[s]];
        c->most_bytes += p->bytes[s];
        if (c->demanded[s]) min_cut_arc(c->cut, MIN_CUT_SOURCE, c->storage_at[s], MIN_CUT_INFINITE);
        c->price_arc[s] = min_cut_arc(c->cut, c->storage_at[s], maker == NONE ? MIN_CUT_SINK : maker, 0);
    }
    for (uint32_t op = 0; op < instant; op++) {
        if (c->op_at[op] == NONE) continue;
        c->seconds_arc[op] =
            min_cut_arc(c->cut, c->op_at[op], MIN_CUT_SINK, (int64_t)(p->seconds[op] * c->units_per_second));
        c->force_arc[op] = min_cut_arc(c->cut, MIN_CUT_SOURCE, c->op_at[op], 0);
        for (EACH(i, p->reads, op))
            if (!fixed[p->reads.list[i]])
                min_cut_arc(c->cut, c->op_at[op], c->storage_at[p->reads.list[i]], MIN_CUT_INFINITE);
    }
    return c;
}

int64_t closure_fixed_bytes(const Closure *closure) {
    return closure->fixed_bytes;
}

/* Highest price whose capacities still sum to less than MIN_CUT_INFINITE. */
static double highest_price(const Closure *c) {
    return (double)((int64_t)1 << 59) / (double)(c->most_bytes + 1);
}

bool closure_may_run(const Closure *c, uint32_t op) {
    return c->op_at[op] != NONE;
}

void closure_force(Closure *c, uint32_t op, Force force) {
    int64_t seconds = (int64_t)(c->p->seconds[op] * c->units_per_second);
    min_cut_capacity(c->cut, c->seconds_arc[op], force == FORCE_NEVER ? MIN_CUT_INFINITE : seconds);
    min_cut_capacity(c->cut, c->force_arc[op], force == FORCE_AGAIN ? MIN_CUT_INFINITE : 0);
}

/* The cut at `price` units a byte: its value in units, and its trade. */
static double cut_at(Closure *c, double price, Trade *trade, Arena *arena) {
    const Problem *p = c->p;
    for (uint32_t i = 0; i < c->inside_count; i++)
        min_cut_capacity(c->cut, c->price_arc[c->inside[i]],
                         (int64_t)(price * (double)p->bytes[c->inside[i]]));
    double value = (double)min_cut_solve(c->cut);
    *trade = (Trade){.keep = arena ? NEW_ARRAY(arena, bool, p->storages + 1) : NULL};
    for (uint32_t i = 0; i < c->inside_count; i++) {
        uint32_t s = c->inside[i], maker = c->op_at[p->maker[s]];
        bool again = maker != NONE && min_cut_source_side(c->cut, maker);
        if (!min_cut_source_side(c->cut, c->storage_at[s]) || again) continue;
        trade->bytes += p->bytes[s];
        if (trade->keep) trade->keep[s] = true;
    }
    for (uint32_t op = 0; op < c->instant; op++)
        if (c->op_at[op] != NONE && min_cut_source_side(c->cut, c->op_at[op]))
            trade->seconds += p->seconds[op];
    return value;
}

double closure_at(Closure *c, double price, int64_t bytes, Trade *trade, bool *again, Arena *arena) {
    double units = price * c->units_per_second, highest = highest_price(c);
    if (units > highest) units = highest;
    double value = cut_at(c, units, trade, arena);
    for (uint32_t op = 0; again && op < c->instant; op++)
        again[op] = c->op_at[op] != NONE && min_cut_source_side(c->cut, c->op_at[op]);
    return (value - units * (double)bytes) / c->units_per_second;
}

/* Keeps all that is demanded. */
static Trade trade_all(const Closure *c, Arena *arena) {
    Trade trade = {.bytes = c->all_bytes};
    if (!arena) return trade;
    trade.keep = NEW_ARRAY(arena, bool, c->p->storages + 1);
    memcpy(trade.keep, c->demanded, sizeof *trade.keep * c->p->storages);
    return trade;
}

static double price_between(const Closure *c, const Trade *more, const Trade *less) {
    double price =
        (less->seconds - more->seconds) * c->units_per_second / (double)(more->bytes - less->bytes);
    double highest = highest_price(c);
    return price < highest ? price : highest;
}

/* Whether the cut at the price between two trades lies below their line by more than rounding. */
static bool below(const Closure *c, double price, const Trade *corner, const Trade *end) {
    double line = end->seconds * c->units_per_second + price * (double)end->bytes;
    double value = corner->seconds * c->units_per_second + price * (double)corner->bytes;
    return value < line * (1 - 1e-9) - 1;
}

/* Between a trade that does not fit and one that does, the hull lies on or below their line. */
static double line_at(const Trade *more, const Trade *less, int64_t bytes) {
    if (less->bytes > bytes) return INFINITY;
    double part = (double)(more->bytes - bytes) / (double)(more->bytes - less->bytes);
    return more->seconds + part * (less->seconds - more->seconds);
}

double closure_bound(Closure *c, int64_t bytes, uint32_t cuts) {
    return closure_bound_over(c, bytes, cuts, 0);
}

double closure_bound_over(Closure *c, int64_t bytes, uint32_t cuts, double seconds) {
    Trade more = trade_all(c, NULL), less;
    if (more.bytes <= bytes) return 0;
    cut_at(c, highest_price(c), &less, NULL);
    double best = 0;
    /* the dearest price finds the fewest bytes but for rounding of capacities: one unit a storage */
    if ((double)less.bytes * (1 - 1e-6) > (double)bytes) {
        double price = highest_price(c), value = (double)min_cut_solve(c->cut) - price * (double)bytes;
        if (value > UNITS) return INFINITY;
    }
    for (uint32_t i = 0; i < cuts; i++) {
        if (more.bytes <= less.bytes || line_at(&more, &less, bytes) <= seconds) break;
        double price = price_between(c, &more, &less);
        Trade corner;
        double value = (cut_at(c, price, &corner, NULL) - price * (double)bytes) / c->units_per_second;
        if (value > best) best = value;
        if (!below(c, price, &corner, &more)) break;
        if (corner.bytes > bytes)
            more = corner;
        else
            less = corner;
    }
    return best;
}

/* ---- host memory ----
 *
 * Bytes in host memory at the instant went out before it: at most as many as there was time for, `free`, and
 * no more than host memory has room for. Each byte beyond `free` makes the operations before the instant,
 * first runs, reruns and waits, take copy_byte_seconds longer. So with O bytes there and S bytes besides the
 * fixed ones on the device, a schedule takes at least C + max(0, O - free) copy_byte_seconds longer than no
 * recomputation at all. A byte of what is kept costs the smaller of the prices of O and S, and at the best
 * multipliers they are equal:
 *
 *     value(price) - price bytes - min(price, knee) free - max(0, price - knee) host
 *
 * is a bound at every price, with knee = copy_byte_seconds. Copies in the operations' stead take time for
 * every byte, twice: free = 0, knee = 2 copy_byte_seconds. */
typedef struct Link {
    double free_bytes, host_bytes, knee; /* knee in units a byte */
} Link;

static Link link_of(const Closure *c) {
    const Problem *p = c->p;
    Link link = {.host_bytes = (double)p->host_bytes};
    double before = 0;
    for (uint32_t op = 0; op < c->instant; op++) before += p->seconds[op];
    if (p->copies_beside) link.free_bytes = before / p->copy_byte_seconds;
    if (link.free_bytes > link.host_bytes) link.free_bytes = link.host_bytes;
    link.knee = p->copy_byte_seconds * (p->copies_beside ? 1 : 2) * c->units_per_second;
    return link;
}

static double bound_at(Closure *c, const Link *link, double price, int64_t bytes, Trade *corner) {
    double low = price < link->knee ? price : link->knee;
    double value = cut_at(c, price, corner, NULL) - price * (double)bytes - low * link->free_bytes -
                   (price - low) * link->host_bytes;
    return value / c->units_per_second;
}

/* The best bound for `room` bytes kept, on the device or not; every price that is tried gives a valid one. */
static double best_with_room(Closure *c, const Link *link, int64_t bytes, double room, uint32_t cuts) {
    Trade more = trade_all(c, NULL), less, corner;
    double best = 0;
    cut_at(c, highest_price(c), &less, NULL);
    if ((double)more.bytes <= room) return 0;
    for (uint32_t i = 0; i < cuts && more.bytes > less.bytes; i++) {
        double price = price_between(c, &more, &less), value = bound_at(c, link, price, bytes, &corner);
        if (value > best) best = value;
        if (!below(c, price, &corner, &more)) break;
        if ((double)corner.bytes > room)
            more = corner;
        else
            less = corner;
    }
    return best;
}

double closure_bound_copies(Closure *c, int64_t bytes, uint32_t cuts, double seconds) {
    if (c->p->host_bytes <= 0) return closure_bound_over(c, bytes, cuts, seconds);
    Link link = link_of(c);
    Trade corner;
    if (bytes < 0) return INFINITY; /* not even what the operation itself needs */
    double best = best_with_room(c, &link, bytes, (double)bytes + link.free_bytes, cuts);
    double other = best_with_room(c, &link, bytes, (double)bytes + link.host_bytes, cuts);
    double knee = link.knee < highest_price(c) ? bound_at(c, &link, link.knee, bytes, &corner) : 0;
    if (other > best) best = other;
    return knee > best ? knee : best;
}

Trades closure_hull(Closure *c, uint32_t cuts, Arena *arena) {
    Trades trades = {0};
    Trade least;
    cut_at(c, highest_price(c), &least, arena);
    *vec_add(arena, &trades) = trade_all(c, arena);
    if (least.bytes >= trades.at[0].bytes) return trades;
    *vec_add(arena, &trades) = least;
    /* split the segment with the widest gap in seconds until each is a side of the hull */
    bool *side = NEW_ARRAY(arena, bool, cuts + 2);
    for (uint32_t i = 0; i < cuts; i++) {
        uint32_t widest = NONE;
        for (uint32_t k = 0; k + 1 < trades.count; k++)
            if (!side[k] && (widest == NONE || trades.at[k].bytes - trades.at[k + 1].bytes >
                                                   trades.at[widest].bytes - trades.at[widest + 1].bytes))
                widest = k;
        if (widest == NONE) break;
        const Trade *more = &trades.at[widest], *less = &trades.at[widest + 1];
        double price = price_between(c, more, less);
        Trade corner;
        cut_at(c, price, &corner, arena);
        if (!below(c, price, &corner, more) || corner.bytes >= more->bytes || corner.bytes <= less->bytes) {
            side[widest] = true;
            continue;
        }
        (void)vec_add(arena, &trades);
        memmove(&trades.at[widest + 2], &trades.at[widest + 1],
                sizeof *trades.at * (trades.count - widest - 2));
        memmove(&side[widest + 2], &side[widest + 1], sizeof *side * (cuts + 2 - widest - 2));
        trades.at[widest + 1] = corner;
        side[widest + 1] = false;
    }
    return trades;
}

uint32_t closure_instants(const Problem *p, const int64_t *live, uint32_t apart, uint32_t *instant,
                          uint32_t count) {
    uint32_t found = 0;
    while (found < count) {
        uint32_t best = NONE;
        for (uint32_t op = 0; op < p->ops; op++) {
            bool near = false;
            for (uint32_t i = 0; i < found && !near; i++)
                near = (op > instant[i] ? op - instant[i] : instant[i] - op) <= apart;
            if (!near && (best == NONE || live[op] > live[best])) best = op;
        }
        if (best == NONE) break;
        instant[found++] = best;
    }
    return found;
}

double closure_seconds(const Problem *p, const int64_t *live, int64_t budget_bytes) {
    uint32_t instant[EFFORT_CLOSURE_INSTANTS];
    uint32_t count = closure_instants(p, live, p->ops / 400, instant, EFFORT_CLOSURE_INSTANTS);
    Arena *scratch = arena_new();
    double best = 0;
    for (uint32_t i = 0; i < count; i++) {
        arena_reset(scratch);
        Closure *closure = closure_new(p, instant[i], scratch);
        double seconds = closure_bound_copies(closure, budget_bytes - closure_fixed_bytes(closure),
                                              EFFORT_CLOSURE_CUTS, best);
        if (seconds > best) best = seconds;
    }
    arena_free(scratch);
    return best;
}
