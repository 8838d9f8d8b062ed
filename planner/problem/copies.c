/* See copies.h. In: a sequence and the gaps that may be spent in host memory; out: copies, their places in
 * the sequence, and how long operations wait for them. Invariant: where all are HOST_EASY and run beside the
 * operations, nothing waits. */
#include "planner/problem/copies.h"
#include "planner/effort.h"

#include <math.h>
#include <string.h>

Copies *copies_new(const Problem *p, Arena *arena) {
    Copies *c = NEW(arena, Copies);
    c->p = p;
    c->arena = arena;
    c->wanted = NEW_ARRAY(arena, bool, p->storages + 1);
    c->idle = idle_new(p, arena);
    c->head = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    return c;
}

double copies_seconds(const Problem *p, uint32_t storage) {
    return p->copy_start_seconds + (double)p->bytes[storage] * p->copy_byte_seconds;
}

/* ---- which ---- */

static bool find_wanted(Copies *c, const Keep *retain) {
    const Problem *p = c->p;
    bool any = false;
    for (uint32_t s = 0; s < p->storages; s++) {
        c->wanted[s] = false;
        if (p->overwritten && p->overwritten[s]) continue;
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++)
            c->wanted[s] |= retain[gap].host != HOST_NEVER;
        any |= c->wanted[s];
    }
    return any;
}

static void collect(Copies *c, const Keep *retain, const Sequence *sequence, const uint32_t *time) {
    idle_find(&c->idle, c->wanted, sequence, time);
    c->copy.count = 0;
    for (uint32_t i = 0; i < c->idle.found.count; i++) {
        const IdleStretch *idle = &c->idle.found.at[i];
        uint32_t host = retain[idle->gap].host;
        if (host == HOST_NEVER) continue;
        *vec_add(c->arena, &c->copy) = (Copy){.storage = idle->storage,
                                              .gap = idle->gap,
                                              .out_run = idle->out_run,
                                              .back_run = idle->back_run,
                                              .host = c->p->copies_beside ? host : HOST_NOW};
    }
}

static void put_in_order(Copies *c, IdleOrder *order, bool by_need) {
    order->count = 0;
    for (uint32_t i = 0; i < c->copy.count; i++) {
        const Copy *copy = &c->copy.at[i];
        idle_order_add(order, by_need ? copy->back_run : copy->free_run, i, c->arena);
    }
    idle_order_sort(order);
}

/* Takes out what was dropped. */
static void tidy(Copies *c) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->copy.count; i++)
        if (!c->copy.at[i].dropped) c->copy.at[kept++] = c->copy.at[i];
    c->copy.count = kept;
    put_in_order(c, &c->need, true);
}

/* ---- when ---- */

static double later(double a, double b) {
    return a > b ? a : b;
}

/* The first run that starts at `seconds` or later. */
static uint32_t run_from(const Copies *c, double seconds) {
    uint32_t low = 0, high = c->idle.start.count - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->idle.start.at[middle] >= seconds)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The copy at `number`, if it is staged, leaves at the latest before run `latest`. */
static void leave_before(Copies *c, uint32_t number, uint32_t latest) {
    if (number == NONE || c->copy.at[number].host != HOST_STAGED) return;
    Copy *copy = &c->copy.at[number];
    if (latest <= copy->out_run) latest = copy->out_run + 1;
    if (latest < copy->free_run) copy->free_run = latest;
}

/* Out: in order, each as soon as the ones before are through. What is staged leaves at the latest when the
 * second one after it is there, the last two when the last is. */
static void place_out(Copies *c) {
    double busy = 0;
    uint32_t before[2] = {NONE, NONE}; /* the two that went out last */
    memset(c->head, 0xff, sizeof *c->head * c->p->storages);
    for (uint32_t i = 0; i < c->copy.count; i++) {
        Copy *copy = &c->copy.at[i];
        uint32_t head = c->head[copy->storage];
        copy->held = head != NONE;
        copy->last_run = copy->back_run;
        if (copy->held) {
            c->copy.at[head].last_run = copy->back_run;
            copy->free_run = copy->out_run + 2; /* not with the run itself, which might take its place */
            continue;
        }
        c->head[copy->storage] = i;
        double ready = c->idle.start.at[copy->out_run + 1];
        busy = later(busy, ready) + copies_seconds(c->p, copy->storage);
        copy->free_run = copy->host == HOST_NOW ? copy->out_run + 1 : run_from(c, busy);
        leave_before(c, before[0], copy->out_run);
        before[0] = before[1];
        before[1] = i;
    }
    for (uint32_t k = 0; before[1] != NONE && k < 2; k++)
        leave_before(c, before[k], c->copy.at[before[1]].out_run + 1);
}

/* In: from the last backwards, each as late as the ones after it allow. What is staged comes when the second
 * one before it was read, the first two when the first is needed. */
static void place_in(Copies *c) {
    double free_from = HUGE_VAL;
    for (uint32_t i = c->need.count; i-- > 0;) {
        Copy *copy = &c->copy.at[(uint32_t)c->need.at[i]];
        double end = c->idle.start.at[copy->back_run];
        if (free_from < end) end = free_from;
        free_from = end - copies_seconds(c->p, copy->storage);
        uint32_t run = free_from <= 0 ? 0 : run_from(c, free_from);
        copy->fetch_run = c->idle.start.at[run] > free_from && run > 0 ? run - 1 : run;
        if (copy->host == HOST_NOW) copy->fetch_run = copy->back_run;
    }
    uint32_t earliest = 0;
    for (uint32_t i = 0; i < c->need.count; i++) {
        Copy *copy = &c->copy.at[(uint32_t)c->need.at[i]];
        if (copy->host == HOST_STAGED) {
            uint32_t read =
                i < 2 ? copies_in(c, &c->need, 0)->back_run : copies_in(c, &c->need, i - 2)->back_run + 1;
            if (read > copy->fetch_run) copy->fetch_run = read < copy->back_run ? read : copy->back_run;
        }
        if (copy->fetch_run < earliest) copy->fetch_run = earliest;
        earliest = copy->fetch_run;
    }
}

/* Places all; drops those that are not away for a single run, and what would be held from one of them. True
 * when there were such. */
static bool place(Copies *c) {
    place_out(c);
    place_in(c);
    memset(c->head, 0xff, sizeof *c->head * c->p->storages);
    bool dropped = false;
    for (uint32_t i = 0; i < c->copy.count; i++) {
        Copy *copy = &c->copy.at[i];
        copy->dropped =
            copy->free_run >= copy->fetch_run || (copy->held && c->copy.at[c->head[copy->storage]].dropped);
        if (!copy->held) c->head[copy->storage] = i;
        dropped |= copy->dropped;
    }
    return dropped;
}

/* Drops what host memory has no room for, in order of going out. */
static bool fit_host(Copies *c) {
    uint32_t runs = c->idle.start.count;
    bool dropped = false;
    while (c->released.count < runs) (void)vec_add(c->arena, &c->released);
    memset(c->released.at, 0, sizeof *c->released.at * runs);
    memset(c->head, 0xff, sizeof *c->head * c->p->storages);
    int64_t live = 0;
    c->host_bytes = 0;
    for (uint32_t i = 0, run = 0; i < c->copy.count; i++) {
        Copy *copy = &c->copy.at[i];
        int64_t bytes = c->p->bytes[copy->storage];
        for (; run <= copy->out_run; run++) live -= c->released.at[run];
        if (copy->held) {
            copy->dropped = c->copy.at[c->head[copy->storage]].dropped;
        } else {
            c->head[copy->storage] = i;
            copy->dropped = live + bytes > c->p->host_bytes;
            if (!copy->dropped) {
                live += bytes;
                c->released.at[copy->last_run] += bytes;
            }
        }
        dropped |= copy->dropped;
        if (live > c->host_bytes) c->host_bytes = live;
    }
    return dropped;
}

/* ---- how long ---- */

/* Runs the three queues. */
static void simulate(Copies *c, const Sequence *sequence) {
    const Problem *p = c->p;
    double now = 0, out = 0, in = 0, total = 0;
    uint32_t count = c->copy.count, fetched = 0, read = 0, gone = 0, freed = 0;
    while (c->done_out.count < count) (void)vec_add(c->arena, &c->done_out);
    while (c->done_in.count < count) (void)vec_add(c->arena, &c->done_in);
    for (uint32_t i = 0; i < sequence->run.count; i++) {
        for (; fetched < count && copies_in(c, &c->need, fetched)->fetch_run <= i; fetched++) {
            double seconds = copies_seconds(p, copies_in(c, &c->need, fetched)->storage);
            in = later(in, now) + seconds;
            c->done_in.at[fetched] = in;
            if (!p->copies_beside) now += seconds;
        }
        for (; read < count && copies_in(c, &c->need, read)->back_run <= i; read++)
            if (p->copies_beside) now = later(now, c->done_in.at[read]);
        now += p->seconds[sequence->run.at[i].op];
        total += p->seconds[sequence->run.at[i].op];
        for (; gone < count && c->copy.at[gone].out_run <= i; gone++) {
            double seconds = copies_seconds(p, c->copy.at[gone].storage);
            c->done_out.at[gone] = now;
            if (c->copy.at[gone].held) continue;
            out = later(out, now) + seconds;
            c->done_out.at[gone] = out;
            if (!p->copies_beside) now += seconds;
        }
        for (; freed < count && copies_in(c, &c->freed, freed)->free_run <= i + 1; freed++)
            if (p->copies_beside) now = later(now, c->done_out.at[(uint32_t)c->freed.at[freed]]);
    }
    c->wait_seconds = now - total;
    /* without waits the sums differ by rounding only */
    if (c->wait_seconds < 1e-12 * total) c->wait_seconds = 0;
}

bool copies_find(Copies *c, const Keep *retain, const Sequence *sequence, const uint32_t *time) {
    c->copy.count = 0;
    if (!find_wanted(c, retain)) return false;
    collect(c, retain, sequence, time);
    put_in_order(c, &c->need, true);
    for (uint32_t round = 0; round < EFFORT_COPIES_ROUNDS && place(c); round++)
        tidy(c); /* what the last round drops leaves the queues idle, no more */
    if (fit_host(c)) tidy(c);
    put_in_order(c, &c->freed, false);
    simulate(c, sequence);
    return c->copy.count > 0;
}
