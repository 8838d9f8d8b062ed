/* See copies.h. For every instance [made, freed) of a storage the steps that use it are u0 = made < u1 < ...
 * ; in a gap that is drawn, with x and y drawn between its ends,
 *
 *     u(i)  OFFLOAD   x FREE     y FETCH  u(i+1)        OFFLOAD only in the first such gap, anywhere before x
 */
#include "tests/support/copies.h"
#include "planner/layout/layout.h"
#include "planner/layout/live.h"

static uint32_t below(uint64_t *seed, uint32_t n) {
    return (uint32_t)(random_next(seed) % n);
}

/* Steps to be put before step `at`, in the order they were drawn: of one storage they must stay so. */
typedef struct Insertion {
    uint32_t at;
    Step step;
} Insertion;
typedef VEC(Insertion) Insertions;

static void put(Insertions *list, uint32_t at, StepKind kind, ValueId v, Arena *arena) {
    *vec_add(arena, list) = (Insertion){at, {kind, NONE, v}};
}

static bool uses(const Graph *g, const Step *step, ValueId root) {
    if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) return false;
    const Node *node = &g->node.at[step->node];
    for (uint32_t i = 0; i < node->nin; i++)
        if (graph_root(g, node->in[i]) == root) return true;
    return false;
}

/* The instance of `root` that step `made` makes. */
static void copy_instance(const Graph *g, const Plan *plan, uint32_t made, ValueId root, uint64_t *seed,
                          uint32_t rarity, Insertions *list, Arena *arena) {
    bool copied = false;
    for (uint32_t s = made + 1, last = made; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind == STEP_FREE && step->value == root) return;
        if (!uses(g, step, root)) continue;
        uint32_t from = last;
        last = s;
        if (below(seed, rarity)) continue;
        /* before steps from + 1 .. s: what is put before one step stays in order */
        uint32_t x = from + 1 + below(seed, s - from), y = x + below(seed, s - x + 1);
        if (!copied) put(list, made + 1 + below(seed, x - made), STEP_OFFLOAD, root, arena);
        put(list, x, STEP_FREE, root, arena);
        put(list, y, STEP_FETCH, root, arena);
        copied = true;
    }
}

Plan with_copies(const Graph *g, const Plan *plan, uint64_t *seed, uint32_t rarity, Arena *arena) {
    bool *written = NEW_ARRAY(arena, bool, g->value.count), *done = NEW_ARRAY(arena, bool, g->value.count);
    for (NodeId n = 0; n < g->node.count; n++)
        for (uint32_t i = 0; i < g->node.at[n].nmut; i++)
            written[graph_root(g, g->node.at[n].in[g->node.at[n].nin - 1 - i])] = true;
    Insertions list = {0};
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        const Node *node = &g->node.at[step->node];
        for (uint32_t i = 0; i < node->nout; i++) {
            ValueId v = node->out[i];
            if (graph_root(g, v) != v || value_persistent(g, v) || written[v] || done[v]) continue;
            uint32_t before = list.count;
            copy_instance(g, plan, s, v, seed, rarity, &list, arena);
            done[v] = list.count != before; /* a version is copied once */
        }
    }
    Plan to = *plan;
    to.step.at = NULL;
    to.step.count = to.step.capacity = 0;
    for (uint32_t s = 0; s <= plan->step.count; s++) {
        for (uint32_t i = 0; i < list.count; i++)
            if (list.at[i].at == s) *vec_add(arena, &to.step) = list.at[i].step;
        if (s == plan->update_begin) to.update_begin = to.step.count;
        if (s < plan->step.count) *vec_add(arena, &to.step) = plan->step.at[s];
    }
    return to;
}

Layout *copies_layout(const Graph *g, const Cost *cost, Plan *plan, Arena *arena) {
    Layout *layout = live_analyse(g, cost, plan, arena);
    pack_layout(layout, g, NULL, arena);
    plan->live_bytes = layout->live_bytes;
    plan->peak_bytes = layout->height_bytes;
    plan->host_bytes = layout->host_bytes;
    return layout;
}
