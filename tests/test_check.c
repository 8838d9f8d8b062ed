/* The checkers against mutants. Plans and layouts of random graphs are right (both checkers and the simulated
 * machine agree); then one thing is changed. A mutant that the machine finds wrong must be rejected, and so
 * must every mutant of a kind that is never harmless (a leak, a misaligned buffer, a wrong height...).
 *
 *     test_check [mutants a kind]        default 1000 */
#include "copies.h"
#include "random_graph.h"
#include "toy.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int mutants_a_kind = 1000;

static uint32_t below(uint64_t *seed, uint32_t n) {
    return (uint32_t)(random_next(seed) % n);
}

/* A copy that can be changed. */
static Toy copy(const Toy *toy, Arena *arena) {
    Toy to = *toy;
    to.plan.step.at = NEW_ARRAY(arena, Step, toy->plan.step.count + 1);
    to.plan.step.capacity = toy->plan.step.count + 1;
    memcpy(to.plan.step.at, toy->plan.step.at, sizeof(Step) * toy->plan.step.count);
    to.layout = NEW(arena, Layout);
    *to.layout = *toy->layout;
    to.layout->buf.at = NEW_ARRAY(arena, Buf, toy->layout->buf.count + 1);
    memcpy(to.layout->buf.at, toy->layout->buf.at, sizeof(Buf) * toy->layout->buf.count);
    to.layout->bind.at = NEW_ARRAY(arena, uint32_t, toy->layout->bind.count);
    memcpy(to.layout->bind.at, toy->layout->bind.at, sizeof(uint32_t) * toy->layout->bind.count);
    return to;
}

/* ---- plan mutants: each yields false when this plan has nothing to change so ---- */

static bool pick_step(const Plan *plan, uint64_t *seed, unsigned kinds, uint32_t *s) {
    uint32_t start = below(seed, plan->step.count);
    for (uint32_t i = 0; i < plan->step.count; i++) {
        *s = (start + i) % plan->step.count;
        if (kinds & 1u << plan->step.at[*s].kind) return true;
    }
    return false;
}

static void erase(Plan *plan, uint32_t s) {
    memmove(&plan->step.at[s], &plan->step.at[s + 1], sizeof(Step) * (plan->step.count - s - 1));
    plan->step.count--;
    if (plan->update_begin > s) plan->update_begin--;
}

static void insert(Plan *plan, uint32_t s, Step step) {
    memmove(&plan->step.at[s + 1], &plan->step.at[s], sizeof(Step) * (plan->step.count - s));
    plan->step.at[s] = step;
    plan->step.count++;
    if (plan->update_begin > s) plan->update_begin++;
}

enum { ANY = 31, RUNS = 1 << STEP_RUN | 1 << STEP_RECOMPUTE, COPIES = 1 << STEP_OFFLOAD | 1 << STEP_FETCH };

static bool drop(Plan *plan, uint64_t *seed, unsigned kinds) {
    uint32_t s;
    if (!pick_step(plan, seed, kinds, &s)) return false;
    erase(plan, s);
    return true;
}
static bool drop_run(Toy *t, uint64_t *seed) {
    return drop(&t->plan, seed, 1 << STEP_RUN);
}
static bool drop_recompute(Toy *t, uint64_t *seed) {
    return drop(&t->plan, seed, 1 << STEP_RECOMPUTE);
}
static bool drop_free(Toy *t, uint64_t *seed) {
    return drop(&t->plan, seed, 1 << STEP_FREE);
}
static bool drop_fetch(Toy *t, uint64_t *seed) {
    return drop(&t->plan, seed, 1 << STEP_FETCH);
}
static bool drop_offload(Toy *t, uint64_t *seed) {
    return drop(&t->plan, seed, 1 << STEP_OFFLOAD);
}

/* Elsewhere goes a copy, or the FREE or the first version of something copied. */
static bool move_copy(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, COPIES, &s)) return false;
    ValueId v = t->plan.step.at[s].value;
    uint32_t at[64], count = 0;
    for (uint32_t i = 0; i < t->plan.step.count && count < 64; i++)
        if (t->plan.step.at[i].kind > STEP_RECOMPUTE && t->plan.step.at[i].value == v) at[count++] = i;
    uint32_t from = at[below(seed, count)], to = below(seed, t->plan.step.count);
    Step step = t->plan.step.at[from];
    erase(&t->plan, from);
    insert(&t->plan, to, step);
    return from != to;
}
static bool swap_adjacent(Toy *t, uint64_t *seed) {
    uint32_t s = below(seed, t->plan.step.count - 1);
    Step step = t->plan.step.at[s];
    t->plan.step.at[s] = t->plan.step.at[s + 1];
    t->plan.step.at[s + 1] = step;
    return true;
}
static bool swap_any(Toy *t, uint64_t *seed) {
    uint32_t a = below(seed, t->plan.step.count), b = below(seed, t->plan.step.count);
    Step step = t->plan.step.at[a];
    t->plan.step.at[a] = t->plan.step.at[b];
    t->plan.step.at[b] = step;
    return a != b && memcmp(&t->plan.step.at[a], &step, sizeof step);
}
static bool move_step(Toy *t, uint64_t *seed) {
    uint32_t s = below(seed, t->plan.step.count);
    Step step = t->plan.step.at[s];
    erase(&t->plan, s);
    insert(&t->plan, below(seed, t->plan.step.count + 1), step);
    return true;
}
static bool repeat_step(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, ANY, &s)) return false;
    insert(&t->plan, below(seed, 2) ? s + 1 : below(seed, t->plan.step.count + 1), t->plan.step.at[s]);
    return true;
}
static bool wrong_node(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, RUNS, &s)) return false;
    NodeId other = below(seed, t->g->node.count + 1);
    if (other == t->plan.step.at[s].node) return false;
    t->plan.step.at[s].node = other;
    return true;
}
static bool wrong_value(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, ANY & ~RUNS, &s)) return false;
    ValueId other = below(seed, t->g->value.count + 1);
    if (other == t->plan.step.at[s].value) return false;
    t->plan.step.at[s].value = other;
    return true;
}
static bool wrong_kind(Toy *t, uint64_t *seed) {
    uint32_t s;
    if (!pick_step(&t->plan, seed, RUNS, &s)) return false;
    t->plan.step.at[s].kind = t->plan.step.at[s].kind == STEP_RUN ? STEP_RECOMPUTE : STEP_RUN;
    return true;
}
static bool free_persistent(Toy *t, uint64_t *seed) {
    ValueId v = below(seed, t->g->value.count);
    if (!value_persistent(t->g, v)) return false;
    insert(&t->plan, below(seed, t->plan.step.count + 1), (Step){STEP_FREE, NONE, v});
    return true;
}
static bool free_view(Toy *t, uint64_t *seed) {
    uint32_t s;
    ValueId v = below(seed, t->g->value.count);
    if (graph_root(t->g, v) == v || !pick_step(&t->plan, seed, 1 << STEP_FREE, &s)) return false;
    t->plan.step.at[s].value = v;
    return true;
}
static bool move_update(Toy *t, uint64_t *seed) {
    uint32_t to = below(seed, t->plan.step.count + 2), from = t->plan.update_begin;
    /* of a single micro-step, the update may be a part */
    if (t->g->accumulate == 1 && to > from && to <= t->plan.step.count) return false;
    for (uint32_t s = from < to ? from : to; s < (from < to ? to : from) && s < t->plan.step.count; s++)
        if (t->plan.step.at[s].kind <= STEP_RECOMPUTE) {
            t->plan.update_begin = to;
            return true;
        }
    return false;
}

/* Whether `node` may run again from persistent storages alone, one of which `update` writes. */
static bool reads_written(const Graph *g, const Node *node, const Node *update) {
    bool reads = false, fine = node->nmut == 0 && node->phase != PHASE_UPDATE && node->nin > 0 &&
                               !(op_info[node->op].flags & OPF_VIEW);
    for (uint32_t i = 0; i < node->nin; i++) {
        ValueId root = graph_root(g, node->in[i]);
        fine &= value_persistent(g, root);
        for (uint32_t k = update->nin - update->nmut; k < update->nin; k++)
            reads |= graph_root(g, update->in[k]) == root;
    }
    return fine && reads;
}
static bool is_live(const Plan *plan, const Graph *g, uint32_t until, ValueId root) {
    for (uint32_t s = until; s-- > 0;) {
        const Step *step = &plan->step.at[s];
        if (step->kind >= STEP_OFFLOAD && step->value == root) return step->kind != STEP_FREE;
        for (uint32_t i = 0; step->kind < STEP_OFFLOAD && i < g->node.at[step->node].nout; i++)
            if (graph_root(g, g->node.at[step->node].out[i]) == root) return true;
    }
    return false;
}
/* Right but for one thing: a parameter it reads was updated within the micro-step. */
static bool recompute_late(Toy *t, uint64_t *seed) {
    const Graph *g = t->g;
    uint32_t end = t->plan.update_begin, s = end ? below(seed, end) : 0, tries = 0;
    for (; tries < end; tries++, s = (s + 1) % end) /* an update within the micro-step */
        if (t->plan.step.at[s].kind == STEP_RUN && g->node.at[t->plan.step.at[s].node].op == OP_ADAMW) break;
    if (tries == end || s + 1 >= end) return false;
    const Node *update = &g->node.at[t->plan.step.at[s].node], *node = NULL;
    uint32_t at = s + 1 + below(seed, end - s - 1);
    NodeId n = below(seed, g->node.count);
    bool fine = false;
    for (uint32_t i = 0; i < g->node.count && !fine; i++) {
        n = (n + 1) % g->node.count;
        node = &g->node.at[n];
        fine = reads_written(g, node, update);
        for (uint32_t o = 0; o < node->nout && fine; o++)
            fine = graph_root(g, node->out[o]) == node->out[o] && !is_live(&t->plan, g, at, node->out[o]);
    }
    if (!fine) return false;
    Plan longer = {.update_begin = t->plan.update_begin};
    for (uint32_t k = 0; k < t->plan.step.count; k++) *vec_add(g->arena, &longer.step) = t->plan.step.at[k];
    for (uint32_t i = 0; i <= node->nout; i++) (void)vec_add(g->arena, &longer.step);
    longer.step.count -= node->nout + 1;
    insert(&longer, at, (Step){STEP_RECOMPUTE, n, NONE});
    for (uint32_t i = 0; i < node->nout; i++) insert(&longer, at + 1, (Step){STEP_FREE, NONE, node->out[i]});
    t->plan = longer;
    return true;
}

/* ---- layout mutants ---- */

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

typedef struct Mutation {
    const char *name;
    bool (*change)(Toy *, uint64_t *);
    bool layout;  /* else the plan, judged without a layout */
    bool harmful; /* always rejected; else only when the machine finds a difference */
} Mutation;

static const Mutation mutation[] = {
    {"drop a run", drop_run, false, true},
    {"drop a recompute", drop_recompute, false, true},
    {"drop a free", drop_free, false, true},
    {"drop a fetch", drop_fetch, false, true},
    {"drop an offload", drop_offload, false, true},
    {"move a copy or its free", move_copy, false, false},
    {"swap two neighbours", swap_adjacent, false, false},
    {"swap two steps", swap_any, false, false},
    {"move a step", move_step, false, false},
    {"repeat a step", repeat_step, false, true},
    {"another node", wrong_node, false, true},
    {"another value", wrong_value, false, true},
    {"run for recompute", wrong_kind, false, true},
    {"free a persistent storage", free_persistent, false, true},
    {"free a view or version", free_view, false, true},
    {"move the update", move_update, false, true},
    {"recompute after the update", recompute_late, false, true},
    {"shift an offset", shift_offset, true, false},
    {"swap two offsets", swap_offsets, true, false},
    {"shift a host offset", shift_host_offset, true, false},
    {"swap two host offsets", swap_host_offsets, true, false},
    {"change a host buffer", change_host_buffer, true, true},
    {"shorten a host lifetime", shorten_host_life, true, true},
    {"another host buffer", wrong_copy, true, true},
    {"in place by force", force_in_place, true, false},
    {"misalign a buffer", misalign, true, true},
    {"change a lifetime", change_life, true, true},
    {"change a size", change_size, true, true},
    {"drop a buffer", drop_buffer, true, true},
    {"double a buffer", double_buffer, true, true},
    {"another buffer", wrong_bind, true, false},
    {"another height", wrong_height, true, true},
    {"other totals", wrong_totals, true, true},
    {"persistent or not", not_persistent, true, true},
    {"where persistent ends", persistent_end, true, true},
    {"another label", wrong_label, true, true},
};

static const char *check(const Toy *t, bool layout, Arena *arena) {
    return layout ? layout_check(t->g, t->cost, &t->plan, t->layout, 0, 0, arena)
                  : plan_check(t->g, &t->plan, arena);
}

static const char *judge(const Toy *t, bool layout, Arena *arena) {
    return toy_run(t->g, t->cost, &t->plan, layout ? t->layout : NULL, arena);
}

static void unchanged_ones_pass(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 11;
    uint32_t kinds[5] = {0}, in_place = 0, in_host = 0;
    for (int i = 0; i < 1000; i++) {
        arena_reset(arena);
        Toy toy = toy_new(&seed, arena);
        for (int layout = 0; layout < 2; layout++) {
            const char *wrong = check(&toy, layout, arena), *lie = judge(&toy, layout, arena);
            if (wrong || lie) print_message("%s / %s\n", wrong ? wrong : "right", lie ? lie : "right");
            assert_null(wrong);
            assert_null(lie);
        }
        for (uint32_t s = 0; s < toy.plan.step.count; s++) kinds[toy.plan.step.at[s].kind]++;
        for (uint32_t b = 0; b < toy.layout->bind.count; b++) in_place += toy.layout->bind.at[b] == NONE;
        int64_t height = toy.layout->height_bytes;
        assert_null(layout_check(toy.g, toy.cost, &toy.plan, toy.layout, height, 0, arena));
        assert_non_null(layout_check(toy.g, toy.cost, &toy.plan, toy.layout, height - 1, 0, arena));
        int64_t host = toy.layout->host_bytes;
        assert_null(layout_check(toy.g, toy.cost, &toy.plan, toy.layout, 0, host, arena));
        if (host > 1)
            assert_non_null(layout_check(toy.g, toy.cost, &toy.plan, toy.layout, 0, host - 1, arena));
        in_host += host > 0;
    }
    for (int k = 0; k < 5; k++) assert_true(kinds[k] > 500);
    assert_true(in_place > 500 && in_host > 500);
    arena_free(arena);
}

/* One in sixteen is a real training graph, planned, and half of those are given copies. */
static Toy any_toy(uint64_t *seed, Arena *arena) {
    if (below(seed, 16)) return toy_new(seed, arena);
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    Toy toy = {.g = random_training_graph(random_next(seed), arena)};
    toy.cost = cost_graph(toy.g, device, arena);
    PlanRequest request = {.graph = toy.g, .cost = toy.cost, .device = device};
    request.policy = (Policy[]){POLICY_NONE, POLICY_EVERY_BLOCK, POLICY_SQRT}[below(seed, 3)];
    PlanResult *result = plan_graph(&request, arena);
    toy.plan = result->plan;
    toy.layout = result->layout;
    if (below(seed, 2)) {
        toy.plan = with_copies(toy.g, &result->plan, seed, 3, arena);
        toy.layout = copies_layout(toy.g, toy.cost, &toy.plan, arena);
    }
    return toy;
}

static void mutants_die(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 12;
    int survivors = 0;
    print_message("%-26s %8s %8s %8s\n", "mutants", "made", "rejected", "harmless");
    for (size_t k = 0; k < COUNT_OF(mutation); k++) {
        int made = 0, rejected = 0;
        while (made < mutants_a_kind) {
            arena_reset(arena);
            Toy toy = any_toy(&seed, arena);
            for (int i = 0; i < 10 && made < mutants_a_kind; i++) {
                Toy mutant = copy(&toy, arena);
                if (!mutation[k].change(&mutant, &seed)) continue;
                made++;
                if (check(&mutant, mutation[k].layout, arena)) {
                    rejected++;
                    continue;
                }
                const char *difference = judge(&mutant, mutation[k].layout, arena);
                if (!difference && !mutation[k].harmful) continue;
                survivors++;
                print_message("survives: %s: %s\n", mutation[k].name,
                              difference ? difference : "no difference");
            }
        }
        print_message("%-26s %8d %8d %8d\n", mutation[k].name, made, rejected, made - rejected);
        assert_true(rejected > made / 100);
    }
    assert_int_equal(survivors, 0);
    arena_free(arena);
}

/* What the planner makes of random training graphs, at every policy and at budgets in between; and that with
 * copies put in. */
static void planned_graphs_pass(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        arena_reset(arena);
        uint64_t random = seed;
        Graph *g = random_training_graph(seed, arena);
        Cost *cost = cost_graph(g, device, arena);
        PlanRequest request = {.graph = g, .cost = cost, .device = device, .policy = POLICY_NONE};
        PlanResult *all = plan_graph(&request, arena);
        for (int policy = 0; policy < POLICY_COUNT; policy++)
            for (int part = 0; part < (policy == POLICY_OPTIMAL ? 4 : 1); part++) {
                request.policy = (Policy)policy;
                request.budget_bytes = part ? all->keep_all_bytes * (10 - part) / 10 : 0;
                PlanResult *result = plan_graph(&request, arena);
                int64_t budget = result->feasible ? request.budget_bytes : 0;
                const char *wrong = layout_check(g, cost, &result->plan, result->layout, budget, 0, arena);
                const char *lie = toy_run(g, cost, &result->plan, result->layout, arena);
                if (wrong || lie)
                    print_message("seed %d, %s: %s / %s\n", (int)seed, policy_name[policy],
                                  wrong ? wrong : "right", lie ? lie : "right");
                assert_null(wrong);
                assert_null(lie);
                Plan plan = with_copies(g, &result->plan, &random, 3, arena);
                Layout *layout = copies_layout(g, cost, &plan, arena);
                wrong = layout_check(g, cost, &plan, layout, 0, 0, arena);
                lie = toy_run(g, cost, &plan, layout, arena);
                if (wrong || lie)
                    print_message("seed %d, %s, copies: %s / %s\n", (int)seed, policy_name[policy],
                                  wrong ? wrong : "right", lie ? lie : "right");
                assert_null(wrong);
                assert_null(lie);
            }
    }
    arena_free(arena);
}

/* A forward-only program in the training program's arena: the same weights in the same place, nothing of the
 * training program's persistent bytes touched but its own. */
static void forward_parts_fit(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint32_t count;
    const Device *device = &device_list(&count)[0];
    for (uint64_t seed = 1; seed <= 100; seed++) {
        arena_reset(arena);
        Graph *g = random_training_graph(seed, arena), *f = graph_forward_only(g, arena);
        PlanRequest request = {.graph = g, .cost = cost_graph(g, device, arena), .device = device};
        Layout *train = plan_graph(&request, arena)->layout;
        Cost *cost = cost_graph(f, device, arena);
        PlanResult *forward = plan_forward(f, cost, arena);
        Layout *layout = forward->layout;
        pack_forward(layout, f, train, g, arena);
        forward->plan.peak_bytes = layout->height_bytes;
        assert_null(layout_check(f, cost, &forward->plan, layout, 0, 0, arena));
        assert_null(toy_run(f, cost, &forward->plan, layout, arena));
        uint32_t shared = 0;
        for (uint32_t b = 0; b < layout->buf.count; b++) {
            const Buf *mine = &layout->buf.at[b];
            if (!mine->persistent) assert_true(mine->offset >= train->persistent_bytes);
            for (uint32_t t = 0; mine->persistent && t < train->buf.count; t++) {
                const Buf *theirs = &train->buf.at[t];
                if (!theirs->persistent) continue;
                bool same = !strcmp(f->value.at[mine->value].name, g->value.at[theirs->value].name);
                bool meet = mine->offset < theirs->offset + theirs->bytes &&
                            theirs->offset < mine->offset + mine->bytes;
                assert_true(same == meet);
                if (same) assert_int_equal(mine->offset, theirs->offset);
                shared += same;
            }
        }
        assert_true(shared > 2);
    }
    arena_free(arena);
}

int main(int argc, char **argv) {
    if (argc > 1) mutants_a_kind = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unchanged_ones_pass),
        cmocka_unit_test(mutants_die),
        cmocka_unit_test(planned_graphs_pass),
        cmocka_unit_test(forward_parts_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
