/* See idle.h. In: a sequence; out: its idle stretches. Invariant: what makes a storage anew ends no
 * stretch: the instance before it was not needed. */
#include "planner/problem/idle.h"

#include <stdlib.h>
#include <string.h>

IdleStretches idle_new(const Problem *p, Arena *arena) {
    return (IdleStretches){.p = p,
                           .arena = arena,
                           .last = NEW_ARRAY(arena, uint32_t, p->storages + 1),
                           .gap = NEW_ARRAY(arena, uint32_t, p->storages + 1)};
}

static void touch(IdleStretches *x, const uint32_t *time, uint32_t s, uint32_t i, bool made) {
    const Problem *p = x->p;
    uint32_t last = x->last[s], gap = x->gap[s];
    x->last[s] = i;
    if (last == NONE || made || (p->overwritten && p->overwritten[s])) return;
    while (gap + 1 < p->gap_first[s + 1] && p->gap_end[gap] <= time[last]) gap++;
    x->gap[s] = gap;
    if (p->gap_begin[gap] == time[last] && time[i] > time[last])
        *vec_add(x->arena, &x->found) =
            (IdleStretch){.storage = s, .gap = gap, .out_run = last, .back_run = i};
}

static int by_out(const void *a, const void *b) {
    const IdleStretch *x = a, *y = b;
    if (x->out_run != y->out_run) return x->out_run < y->out_run ? -1 : 1;
    return x->storage < y->storage ? -1 : x->storage > y->storage;
}

void idle_find(IdleStretches *x, const bool *only, const Sequence *sequence, const uint32_t *time) {
    const Problem *p = x->p;
    x->found.count = x->start.count = 0;
    memset(x->last, 0xff, sizeof *x->last * p->storages);
    memcpy(x->gap, p->gap_first, sizeof *x->gap * p->storages);
    double now = 0;
    for (uint32_t i = 0; i < sequence->run.count; i++) {
        uint32_t op = sequence->run.at[i].op;
        *vec_add(x->arena, &x->start) = now;
        now += p->seconds[op];
        for (EACH(k, p->reads, op))
            if (!only || only[p->reads.list[k]]) touch(x, time, p->reads.list[k], i, false);
        for (EACH(k, p->makes, op))
            if (!only || only[p->makes.list[k]]) touch(x, time, p->makes.list[k], i, true);
    }
    *vec_add(x->arena, &x->start) = now;
    if (x->found.count) qsort(x->found.at, x->found.count, sizeof *x->found.at, by_out);
}

void idle_order_add(IdleOrder *order, uint32_t run, uint32_t number, Arena *arena) {
    *vec_add(arena, order) = (uint64_t)run << 32 | number;
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void idle_order_sort(IdleOrder *order) {
    if (order->count) qsort(order->at, order->count, sizeof *order->at, by_key);
}
