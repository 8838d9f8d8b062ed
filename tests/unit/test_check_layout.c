/* layout_check against mutants: a buffer elsewhere, of another size or lifetime, and other totals.
 *
 *     test_check_layout [mutants a kind]        default 1000 */
#include "tests/support/mutants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Buf *pick_buffer(Toy *t, uint64_t *seed) {
    return &t->layout->buf.at[below(seed, t->layout->buf.count)];
}

static Buf *pick_host_buffer(Toy *t, uint64_t *seed) {
    uint32_t start = below(seed, t->layout->buf.count);
    for (uint32_t i = 0; i < t->layout->buf.count; i++) {
        Buf *buf = &t->layout->buf.at[(start + i) % t->layout->buf.count];
        if (buf->kind == BUF_HOST) return buf;
    }
    return NULL;
}

static bool shift_host_offset(Toy *t, uint64_t *seed) {
    Buf *buf = pick_host_buffer(t, seed);
    int64_t by = PLAN_ALIGN * ((int64_t)below(seed, 5) - 2);
    if (buf) buf->offset += by;
    return buf && by != 0;
}
static bool swap_host_offsets(Toy *t, uint64_t *seed) {
    Buf *a = pick_host_buffer(t, seed), *b = pick_host_buffer(t, seed);
    if (!a || a->offset == b->offset) return false;
    int64_t offset = a->offset;
    a->offset = b->offset;
    b->offset = offset;
    return true;
}
static bool change_host_buffer(Toy *t, uint64_t *seed) {
    Buf *buf = pick_host_buffer(t, seed);
    if (!buf) return false;
    switch (below(seed, 7)) {
    case 0: buf->lo++; break;
    case 1: buf->lo--; break;
    case 2: buf->hi++; break;
    case 3: buf->hi--; break;
    case 4: buf->offset += 1 + below(seed, PLAN_ALIGN - 1); break;
    case 5: buf->kind = (BufKind)below(seed, BUF_HOST); break;
    default: buf->bytes += below(seed, 2) ? PLAN_ALIGN : -PLAN_ALIGN; break;
    }
    return true;
}
/* Packed again for lifetimes that one copy's are shorter than it needs. */
static bool shorten_host_life(Toy *t, uint64_t *seed) {
    Buf *buf = pick_host_buffer(t, seed);
    if (!buf || buf->hi - buf->lo < 3) return false;
    *(below(seed, 2) ? &buf->lo : &buf->hi) = buf->lo + 1 + below(seed, buf->hi - buf->lo - 1);
    toy_totals(t->layout, t->g, &t->plan, t->g->arena);
    return true;
}
static bool wrong_copy(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, COPIES, &s)) return false;
    Buf *buf = pick_host_buffer(t, seed);
    uint32_t *bind = &t->layout->bind.at[t->layout->first[s] + 1];
    uint32_t to = below(seed, 4) ? (uint32_t)(buf - t->layout->buf.at) : NONE;
    bool changed = *bind != to;
    *bind = to;
    return changed;
}

static bool shift_offset(Toy *t, uint64_t *seed) {
    int64_t by = PLAN_ALIGN * ((int64_t)below(seed, 9) - 4);
    pick_buffer(t, seed)->offset += by;
    return by != 0;
}
static bool swap_offsets(Toy *t, uint64_t *seed) {
    Buf *a = pick_buffer(t, seed), *b = pick_buffer(t, seed);
    int64_t offset = a->offset;
    a->offset = b->offset;
    b->offset = offset;
    return a->offset != b->offset;
}
static bool misalign(Toy *t, uint64_t *seed) {
    pick_buffer(t, seed)->offset += 1 + below(seed, PLAN_ALIGN - 1);
    return true;
}
static bool change_life(Toy *t, uint64_t *seed) {
    Buf *buf = pick_buffer(t, seed);
    uint32_t by = 2 + below(seed, 5);
    switch (below(seed, 4)) {
    case 0: buf->lo++; break;
    case 1: buf->lo--; break;
    case 2: buf->hi += by; break;
    default: buf->hi -= by; break;
    }
    return true;
}
static bool change_size(Toy *t, uint64_t *seed) {
    pick_buffer(t, seed)->bytes += below(seed, 2) ? PLAN_ALIGN : -PLAN_ALIGN;
    return true;
}
static bool drop_buffer(Toy *t, uint64_t *seed) {
    uint32_t b = below(seed, t->layout->buf.count);
    memmove(&t->layout->buf.at[b], &t->layout->buf.at[b + 1], sizeof(Buf) * (t->layout->buf.count - b - 1));
    t->layout->buf.count--;
    for (uint32_t i = 0; i < t->layout->bind.count; i++) /* the others keep their operands */
        if (t->layout->bind.at[i] != NONE && t->layout->bind.at[i] > b)
            t->layout->bind.at[i]--;
        else if (t->layout->bind.at[i] == b)
            t->layout->bind.at[i] = below(seed, 2) ? NONE : below(seed, t->layout->buf.count);
    return true;
}
static bool double_buffer(Toy *t, uint64_t *seed) {
    t->layout->buf.at[t->layout->buf.count] = *pick_buffer(t, seed);
    t->layout->buf.count++;
    return true;
}
static bool wrong_bind(Toy *t, uint64_t *seed) {
    uint32_t at = below(seed, t->layout->bind.count), to = below(seed, t->layout->buf.count + 1);
    if (to == t->layout->buf.count) to = NONE;
    bool changed = t->layout->bind.at[at] != to;
    t->layout->bind.at[at] = to;
    return changed;
}
static bool wrong_height(Toy *t, uint64_t *seed) {
    int64_t by = below(seed, 2) ? 1 : PLAN_ALIGN;
    int64_t *height = below(seed, 2) ? &t->layout->height_bytes : &t->layout->host_bytes;
    *height += below(seed, 2) ? by : -by;
    if (below(seed, 2)) t->plan.peak_bytes = t->layout->height_bytes;
    if (below(seed, 2)) t->plan.host_bytes = t->layout->host_bytes;
    return true;
}
static bool wrong_totals(Toy *t, uint64_t *seed) {
    int64_t *const total[] = {&t->layout->live_bytes, &t->plan.live_bytes, &t->plan.peak_bytes,
                              &t->plan.host_bytes};
    *total[below(seed, 4)] += below(seed, 2) ? PLAN_ALIGN : -PLAN_ALIGN;
    return true;
}
static bool not_persistent(Toy *t, uint64_t *seed) {
    Buf *buf = pick_buffer(t, seed);
    buf->persistent = !buf->persistent;
    return true;
}
static bool persistent_end(Toy *t, uint64_t *seed) {
    t->layout->persistent_bytes += below(seed, 2) ? PLAN_ALIGN : -PLAN_ALIGN;
    return true;
}
static bool wrong_label(Toy *t, uint64_t *seed) {
    Buf *buf = pick_buffer(t, seed);
    if (below(seed, 2)) {
        buf->kind = buf->kind == BUF_VALUE ? BUF_WORKSPACE : BUF_VALUE;
        return true;
    }
    ValueId v = below(seed, t->g->value.count);
    bool changed = buf->value != v;
    buf->value = v;
    return changed;
}

/* One output takes over the buffer of one of its step's inputs; everything else follows suit. */
static bool force_in_place(Toy *t, uint64_t *seed) {
    Layout *layout = t->layout;
    uint32_t s;
    if (!pick_step(&t->plan, seed, RUNS, &s)) return false;
    const Node *node = &t->g->node.at[t->plan.step.at[s].node];
    const uint32_t *bind = &layout->bind.at[layout->first[s]];
    uint32_t made = bind[below(seed, node->nout)], read = bind[node->nout + below(seed, node->nin)];
    if (made == read || layout->buf.at[made].lo != s || layout->buf.at[made].persistent) return false;
    if (layout->buf.at[read].persistent) return false;
    if (layout->buf.at[read].hi < layout->buf.at[made].hi) layout->buf.at[read].hi = layout->buf.at[made].hi;
    for (uint32_t i = 0; i < layout->bind.count; i++) {
        uint32_t *b = &layout->bind.at[i];
        if (*b == made) *b = read;
        if (*b != NONE && *b > made) --*b;
    }
    memmove(&layout->buf.at[made], &layout->buf.at[made + 1], sizeof(Buf) * (layout->buf.count - made - 1));
    layout->buf.count--;
    toy_totals(layout, t->g, &t->plan, t->g->arena);
    return true;
}

static const Mutation mutation[] = {
    {"shift an offset", shift_offset, false},
    {"swap two offsets", swap_offsets, false},
    {"shift a host offset", shift_host_offset, false},
    {"swap two host offsets", swap_host_offsets, false},
    {"change a host buffer", change_host_buffer, true},
    {"shorten a host lifetime", shorten_host_life, true},
    {"another host buffer", wrong_copy, true},
    {"in place by force", force_in_place, false},
    {"misalign a buffer", misalign, true},
    {"change a lifetime", change_life, true},
    {"change a size", change_size, true},
    {"drop a buffer", drop_buffer, true},
    {"double a buffer", double_buffer, true},
    {"another buffer", wrong_bind, false},
    {"another height", wrong_height, true},
    {"other totals", wrong_totals, true},
    {"persistent or not", not_persistent, true},
    {"where persistent ends", persistent_end, true},
    {"another label", wrong_label, true},
};

static int each = MUTANTS_A_KIND;

static void layout_mutants_die(void **state) {
    (void)state;
    mutants_die(mutation, COUNT_OF(mutation), each, true);
}

int main(int argc, char **argv) {
    if (argc > 1) each = atoi(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(layout_mutants_die)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
