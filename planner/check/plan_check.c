/* Is a plan right? In: a graph and the steps that the planner made of it. Out: NULL, or the first thing
 * wrong. The steps are replayed symbolically: what each storage holds, on the device and in host memory, is
 * followed from step to step, and every read must find the version that the graph says. */
#include "planner/check/check.h"

#include "ir/ops.h"
#include "planner/check/replay.h"

#include <inttypes.h>

static bool read_is_right(CheckReplay *r, uint32_t s, ValueId v) {
    const CheckStorage *storage = &r->storage[r->home[v]];
    if (storage->now == r->version[v]) return true;
    if (storage->now != NONE)
        return check_fail(r, "%s reads %s (%s), whose storage holds another version, %s, since step %u",
                          check_step(r, s), check_name(r, v), check_size(r, v), check_name(r, storage->now),
                          storage->since);
    if (storage->since != NONE)
        return check_fail(r, "%s reads %s (%s), which step %u freed", check_step(r, s), check_name(r, v),
                          check_size(r, v), storage->since);
    return check_fail(r, "%s reads %s (%s), which nothing has made yet", check_step(r, s), check_name(r, v),
                      check_size(r, v));
}

static bool replay_node(CheckReplay *r, uint32_t s, bool *ran) {
    const Step *step = &r->plan->step.at[s];
    bool again = step->kind == STEP_RECOMPUTE;
    if (step->node >= r->g->node.count)
        return check_fail(r, "step %u names node %u of %u", s, step->node, r->g->node.count);
    const Node *node = &r->g->node.at[step->node];
    if (op_info[node->op].flags & OPF_VIEW)
        return check_fail(r, "%s: a view has nothing to run", check_step(r, s));
    if (!again && ran[step->node]) return check_fail(r, "%s: it ran before", check_step(r, s));
    if (again && !ran[step->node]) return check_fail(r, "%s: it has not run before", check_step(r, s));
    if (again && node->nmut)
        return check_fail(r, "%s: it writes over its input, so it runs once", check_step(r, s));
    bool updates = node->phase == PHASE_UPDATE, late = s >= r->plan->update_begin;
    if (updates ? !late && r->g->accumulate > 1 : late)
        return check_fail(r, "%s: a node of the %s on the wrong side of step %u, where the update begins",
                          check_step(r, s), phase_name[node->phase], r->plan->update_begin);
    for (uint32_t i = 0; i < node->nin; i++) {
        if (!read_is_right(r, s, node->in[i])) return false;
        r->storage[r->home[node->in[i]]].brings = NONE;
    }
    for (uint32_t i = 0; i < node->nout; i++) {
        ValueId home = r->home[node->out[i]];
        if (r->storage[home].leaves != NONE)
            return check_fail(r, "%s writes over %s (%s), which step %u may still be copying to host memory",
                              check_step(r, s), check_name(r, home), check_size(r, home),
                              r->storage[home].leaves);
        if (i < node->nout - node->nmut && r->storage[home].now != NONE)
            return check_fail(r, "%s makes %s (%s), which is live since step %u", check_step(r, s),
                              check_name(r, home), check_size(r, home), r->storage[home].since);
        r->storage[home].now = node->out[i];
        r->storage[home].since = s;
    }
    ran[step->node] = true;
    return true;
}

static bool never_fetched(CheckReplay *r, ValueId v) {
    return check_fail(r, "%s (%s), copied to host memory by step %u, is never fetched", check_name(r, v),
                      check_size(r, v), r->storage[v].copied);
}

static bool replay_value(CheckReplay *r, uint32_t s) {
    const Step *step = &r->plan->step.at[s];
    ValueId v = step->value;
    if (v >= r->g->value.count) return check_fail(r, "step %u names value %u of %u", s, v, r->g->value.count);
    if (r->home[v] != v)
        return check_fail(r, "%s: its storage is that of %s; steps name the storage", check_step(r, s),
                          check_name(r, r->home[v]));
    if (check_kept(r, v))
        return check_fail(r, "%s (%s): it is persistent", check_step(r, s), check_size(r, v));
    CheckStorage *storage = &r->storage[v];
    bool fetch = step->kind == STEP_FETCH;
    if (!fetch && storage->now == NONE)
        return check_fail(r, "%s (%s): it is not live", check_step(r, s), check_size(r, v));
    if (fetch && storage->now != NONE)
        return check_fail(r, "%s (%s): it is live", check_step(r, s), check_size(r, v));
    if (fetch && storage->host == NONE)
        return check_fail(r, "%s (%s): no copy is in host memory", check_step(r, s), check_size(r, v));
    if (step->kind == STEP_OFFLOAD) {
        if (storage->host == storage->now)
            return check_fail(r, "%s (%s): it is in host memory already", check_step(r, s), check_size(r, v));
        if (storage->copied != NONE) return never_fetched(r, v);
        storage->host = storage->now;
        storage->leaves = storage->copied = s;
        return true;
    }
    if (storage->brings != NONE)
        return check_fail(r, "%s (%s): step %u fetched it, and nothing has read it", check_step(r, s),
                          check_size(r, v), storage->brings);
    storage->leaves = NONE;
    storage->now = fetch ? storage->host : NONE;
    storage->since = s;
    if (fetch) {
        storage->brings = s;
        storage->copied = NONE;
    }
    return true;
}

/* Between micro-steps only persistent storages carry anything over. */
static bool nothing_crosses(CheckReplay *r) {
    for (ValueId v = 0; v < r->g->value.count; v++) {
        if (r->storage[v].copied != NONE) return never_fetched(r, v);
        r->storage[v].host = NONE;
        if (r->home[v] == v && !check_kept(r, v) && r->storage[v].now != NONE)
            return check_fail(
                r,
                "%s (%s), made by step %u, is live where the update begins, though the micro-step runs "
                "%" PRId64 " times",
                check_name(r, v), check_size(r, v), r->storage[v].since, r->g->accumulate);
    }
    return true;
}

const char *plan_check(const Graph *g, const Plan *plan, Arena *arena) {
    CheckReplay r = check_replay(g, plan, arena);
    bool *ran = NEW_ARRAY(arena, bool, g->node.count);
    if (plan->update_begin > plan->step.count)
        return arena_printf(arena, "the update begins at step %u of %u", plan->update_begin,
                            plan->step.count);
    for (uint32_t s = 0; s <= plan->step.count; s++) {
        if (s == plan->update_begin && g->accumulate > 1 && !nothing_crosses(&r)) return r.error;
        if (s == plan->step.count) break;
        StepKind kind = plan->step.at[s].kind;
        if ((unsigned)kind > STEP_FREE) return arena_printf(arena, "step %u is of no kind: %d", s, (int)kind);
        bool runs = kind == STEP_RUN || kind == STEP_RECOMPUTE;
        if (runs ? !replay_node(&r, s, ran) : !replay_value(&r, s)) return r.error;
    }
    for (NodeId n = 0; n < g->node.count; n++)
        if (!ran[n] && !(op_info[g->node.at[n].op].flags & OPF_VIEW))
            return arena_printf(arena, "no step runs %s", g->node.at[n].name);
    for (ValueId v = 0; v < g->value.count; v++)
        if (r.home[v] == v && !check_kept(&r, v) && r.storage[v].now != NONE)
            return arena_printf(arena, "%s (%s), made by step %u, is never freed", check_name(&r, v),
                                check_size(&r, v), r.storage[v].since);
    for (ValueId v = 0; v < g->value.count; v++)
        if (r.storage[v].copied != NONE) {
            never_fetched(&r, v);
            return r.error;
        }
    return NULL;
}
