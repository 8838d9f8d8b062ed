/* plan_check against mutants: a step dropped, moved, repeated, or of something else.
 *
 *     test_check_plan [mutants a kind]        default 1000 */
#include "tests/support/mutants.h"
#include "ir/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

static const Mutation mutation[] = {
    {"drop a run", drop_run, true},
    {"drop a recompute", drop_recompute, true},
    {"drop a free", drop_free, true},
    {"drop a fetch", drop_fetch, true},
    {"drop an offload", drop_offload, true},
    {"move a copy or its free", move_copy, false},
    {"swap two neighbours", swap_adjacent, false},
    {"swap two steps", swap_any, false},
    {"move a step", move_step, false},
    {"repeat a step", repeat_step, true},
    {"another node", wrong_node, true},
    {"another value", wrong_value, true},
    {"run for recompute", wrong_kind, true},
    {"free a persistent storage", free_persistent, true},
    {"free a view or version", free_view, true},
    {"move the update", move_update, true},
    {"recompute after the update", recompute_late, true},
};

static int each = MUTANTS_A_KIND;

static void plan_mutants_die(void **state) {
    (void)state;
    mutants_die(mutation, COUNT_OF(mutation), each, false);
}

int main(int argc, char **argv) {
    if (argc > 1) each = atoi(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(plan_mutants_die)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
