/* The invariants of a graph, checked from its arrays alone. Shares no code with the passes, and trusts no id.
 *
 * In: any graph. Out: NULL, or the first invariant that does not hold and where. What must hold stands over
 * each function below; versions are tracked by replaying the nodes in order:
 *
 *     storage[v]  the value whose bytes v lives in          (through views and writes over inputs)
 *     epoch[v]    how often that storage had been written over when v was made
 *     now[s]      how often storage s has been written over so far: reading v is right while epoch[v] ==
 * now[s] */
#include "ir/check.h"
#include "ir/ops.h"

#include <stdarg.h>
#include <string.h>

typedef struct Check {
    const Graph *g;
    Arena *arena;
    uint32_t nodes, values;
    uint32_t losses; /* nodes that add to the loss: more than one when the loss is in chunks of tokens */
    Phase phase;     /* of the latest node, those of an early update left out */
    ValueId *storage;
    uint32_t *epoch, *now;
    uint32_t *uses;     /* by value: operands that read it */
    uint32_t *reads;    /* by storage: operands of the node that are in it */
    uint32_t *param_of; /* by value: its row in g->param, NONE */
    Type *types;        /* room for one node's operands */
} Check;

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        const char *wrong_ = (call);                                                                         \
        if (wrong_) return wrong_;                                                                           \
    } while (0)

static const char *node_wrong(Check *c, NodeId id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static const char *node_wrong(Check *c, NodeId id, const char *format, ...) {
    const Node *node = &c->g->node.at[id];
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    bool known = node->op < OP_COUNT;
    return arena_printf(c->arena, "node %u '%s' (%s): %s", id, node->name ? node->name : "",
                        known ? op_info[node->op].name : "unknown operation", what);
}

static const char *value_wrong(Check *c, ValueId v, const char *what) {
    const char *name = c->g->value.at[v].name;
    return arena_printf(c->arena, "value %u '%s': %s", v, name ? name : "", what);
}

static bool is_type(const Type *t, DType dtype, int rank, int64_t d0, int64_t d1) {
    return t->dtype == dtype && t->rank == rank && t->dim[0] == d0 && (rank < 2 || t->dim[1] == d1);
}

static bool has_dims(const Type *a, const Type *b) {
    if (a->rank != b->rank) return false;
    return memcmp(a->dim, b->dim, sizeof a->dim[0] * (size_t)a->rank) == 0;
}

/* ---- values ---- */

static bool role_fits(ValueKind kind, Role role) {
    switch (kind) {
    case VALUE_INPUT: return role == ROLE_INPUT;
    case VALUE_PARAM:
    case VALUE_FROZEN: return role == ROLE_WEIGHT;
    case VALUE_STATE:
        return role == ROLE_OPTIMIZER || role == ROLE_WGRAD || role == ROLE_METRIC || role == ROLE_CACHE;
    default: return role != ROLE_INPUT;
    }
}

/* Types are of 1 to 4 positive dimensions and a size that fits 63 bits; names are there and unique;
 * activations, and only they, have a node, which has them among its outputs; the role is one the kind can
 * have. */
static const char *check_values(Check *c) {
    const Graph *g = c->g;
    Map *names = map_new(c->arena);
    for (ValueId v = 0; v < c->values; v++) {
        const Value *value = &g->value.at[v];
        const Type *t = &value->type;
        if (!value->name || !*value->name) return value_wrong(c, v, "has no name");
        if (map_get(names, value->name) != NONE) return value_wrong(c, v, "has the name of another value");
        map_set(names, value->name, v);
        if (t->dtype >= DT_COUNT || t->rank < 1 || t->rank > MAX_RANK)
            return value_wrong(c, v, "has no proper type");
        int64_t room = (int64_t)1 << 56;
        if (value->room < 0 || value->room > room) return value_wrong(c, v, "has an impossible room");
        for (int i = 0; i < t->rank; i++) {
            if (t->dim[i] < 1 || t->dim[i] > room) return value_wrong(c, v, "has an impossible dimension");
            room /= t->dim[i];
        }
        if (value->kind >= VALUE_KIND_COUNT || value->role >= ROLE_COUNT ||
            !role_fits(value->kind, value->role))
            return value_wrong(c, v, "has a role its kind cannot have");
        if ((value->kind == VALUE_ACTIVATION) != (value->def != NONE))
            return value_wrong(c, v, "must have a defining node if and only if it is an activation");
        if (value->def == NONE) continue;
        if (value->def >= c->nodes) return value_wrong(c, v, "is defined by a node that is not there");
        const Node *node = &g->node.at[value->def];
        if (value->out_index >= node->nout || node->out[value->out_index] != v)
            return value_wrong(c, v, "is not the output it says it is");
    }
    return NULL;
}

/* ---- one node ---- */

/* Ids are in range, inputs come from earlier nodes, outputs are this node's; phases never go back, except
 * that a chunk of the loss may follow the backward part of another, outside all blocks, and that the update's
 * nodes may stand anywhere when one micro-step makes a step. */
static const char *check_links(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    if (node->op >= OP_COUNT) return node_wrong(c, id, "operation %d", (int)node->op);
    if (!node->name || !*node->name) return node_wrong(c, id, "has no name");
    if (node->phase >= PHASE_COUNT) return node_wrong(c, id, "phase %d", (int)node->phase);
    Phase before = c->phase;
    bool next_chunk = c->losses > 1 && before == PHASE_BACKWARD && node->block == NONE;
    if (node->phase < before && !next_chunk)
        return node_wrong(c, id, "phase %s after %s", phase_name[node->phase], phase_name[before]);
    if (node->phase != PHASE_UPDATE || g->accumulate != 1) c->phase = node->phase;
    if (node->block != NONE && node->block >= g->block.count)
        return node_wrong(c, id, "block %u", node->block);
    if (!op_takes(node->op, node->nin, node->nout))
        return node_wrong(c, id, "%u inputs, %u outputs", node->nin, node->nout);
    for (uint32_t i = 0; i < node->nin; i++) {
        if (node->in[i] >= c->values) return node_wrong(c, id, "input %u is no value", i);
        NodeId def = g->value.at[node->in[i]].def;
        if (def != NONE && def >= id) return node_wrong(c, id, "input %u is made only later", i);
    }
    for (uint32_t i = 0; i < node->nout; i++) {
        ValueId v = node->out[i];
        if (v >= c->values || g->value.at[v].def != id || g->value.at[v].out_index != i)
            return node_wrong(c, id, "output %u is not defined by it", i);
    }
    return NULL;
}

/* The shape rule, given the types the outputs have, comes to the same types. */
static const char *check_types(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    Type *in = c->types, *out = c->types + node->nin;
    for (uint32_t i = 0; i < node->nin; i++) in[i] = g->value.at[node->in[i]].type;
    for (uint32_t i = 0; i < node->nout; i++) out[i] = g->value.at[node->out[i]].type;
    const char *wrong = op_infer(node->op, in, node->nin, &node->attr, out, node->nout, c->arena);
    if (wrong) return node_wrong(c, id, "%s", wrong);
    for (uint32_t i = 0; i < node->nout; i++)
        if (!type_equal(&out[i], &g->value.at[node->out[i]].type))
            return node_wrong(c, id, "output %u has not the type the operation gives it", i);
    return NULL;
}

static bool sums_gradients(Op op) {
    const OpOver rule = op_info[op].over;
    return rule == OVER_GRADIENT || rule == OVER_SUMS || rule == OVER_PAIR_SUMS;
}

/* How many inputs an operation writes over follows from its operands; `acc` says whether what they hold
 * counts: an accumulator starts over in each step (2), a sum begun in this micro-step goes on (1). */
static const char *check_accumulation(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    const OpOver rule = op_info[node->op].over;
    uint32_t want = 0;
    switch (rule) {
    case OVER_NOTHING: break;
    case OVER_GRADIENT: want = node->nin - (uint32_t)op_info[node->op].min_in; break;
    case OVER_SUMS:
    case OVER_PAIR_SUMS: want = node->attr.acc ? op_sums(node->op, node->nout) : 0; break;
    case OVER_LOSS:
    case OVER_NORM: want = 1; break;
    case OVER_CACHE:
    case OVER_STATES: want = node->nout;
    }
    if (node->nmut != want) return node_wrong(c, id, "writes over %u inputs, must over %u", node->nmut, want);

    const Value *over = node->nmut ? &g->value.at[node->in[node->nin - node->nmut]] : NULL;
    bool begins = over && over->kind == VALUE_STATE;
    int64_t acc = 0;
    if (sums_gradients(node->op))
        acc = !over ? 0 : begins ? 2 : 1;
    else if (rule == OVER_NORM)
        acc = !begins;
    if (node->attr.acc != acc)
        return node_wrong(c, id, "acc is %lld, must be %lld", (long long)node->attr.acc, (long long)acc);
    if (acc == 2 && g->accumulate == 1) return node_wrong(c, id, "an accumulator without accumulation");
    return NULL;
}

/* Roles follow the phase: what is made, and what may be written over. */
static const char *check_roles(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    uint32_t fresh = node->nout - node->nmut;
    for (uint32_t i = 0; i < node->nout; i++) {
        Role role = g->value.at[node->out[i]].role;
        bool fits;
        if (i >= fresh) {
            Role over = g->value.at[node->in[node->nin - node->nmut + i - fresh]].role;
            if (role != over)
                return node_wrong(c, id, "output %u is %s over %s", i, role_name[role], role_name[over]);
            fits = node->phase == PHASE_FORWARD
                       ? role == (op_info[node->op].over == OVER_CACHE ? ROLE_CACHE : ROLE_METRIC)
                   : node->phase == PHASE_BACKWARD
                       ? role == (op_info[node->op].over == OVER_LOSS ? ROLE_METRIC : ROLE_WGRAD)
                       : role == ROLE_METRIC || role == ROLE_WEIGHT || role == ROLE_OPTIMIZER;
        } else {
            fits = node->phase == PHASE_FORWARD ? role == ROLE_ACTIVATION
                   : node->phase == PHASE_BACKWARD
                       ? role == ROLE_GRADIENT || (role == ROLE_WGRAD && sums_gradients(node->op))
                       : role == ROLE_METRIC;
            if (role == ROLE_WGRAD && g->accumulate > 1)
                return node_wrong(c, id, "a gradient that does not outlive its micro-step");
        }
        if (!fits)
            return node_wrong(c, id, "makes %s in the %s phase", role_name[role], phase_name[node->phase]);
    }
    for (uint32_t i = 0; node->phase == PHASE_UPDATE && i < node->nin; i++) {
        Role role = g->value.at[node->in[i]].role;
        if (role == ROLE_ACTIVATION || role == ROLE_GRADIENT || role == ROLE_INPUT)
            return node_wrong(c, id, "the update reads input %u, which belongs to a micro-step", i);
    }
    return NULL;
}

/* ---- versions ---- */

/* Every input is the storage's current version; what is written over is persistent or a parameter's gradient,
 * is no view, is read by no other operand of the node, and is written over once. */
static const char *check_versions(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    uint32_t first = node->nin - node->nmut, fresh = node->nout - node->nmut;
    for (uint32_t i = 0; i < node->nin; i++) {
        ValueId v = node->in[i];
        if (c->epoch[v] != c->now[c->storage[v]])
            return node_wrong(c, id, "reads '%s', which was written over", g->value.at[v].name);
        c->uses[v]++;
        c->reads[c->storage[v]] = 0;
    }
    for (uint32_t i = 0; i < node->nin; i++) c->reads[c->storage[node->in[i]]]++;
    for (uint32_t i = 0; i < node->nout; i++) c->storage[node->out[i]] = node->out[i];
    if (op_info[node->op].flags & OPF_VIEW) {
        c->storage[node->out[0]] = c->storage[node->in[0]];
        c->epoch[node->out[0]] = c->epoch[node->in[0]];
    }
    for (uint32_t i = first; i < node->nin; i++) {
        ValueId v = node->in[i], s = c->storage[v], made = node->out[fresh + i - first];
        const Value *root = &g->value.at[s];
        bool may = root->kind == VALUE_STATE ||
                   (root->kind == VALUE_PARAM && op_info[node->op].over == OVER_STATES) ||
                   (root->kind == VALUE_ACTIVATION && root->role == ROLE_WGRAD);
        if (!may) return node_wrong(c, id, "may not write over '%s'", root->name);
        NodeId def = g->value.at[v].def;
        if (def != NONE && (op_info[g->node.at[def].op].flags & OPF_VIEW))
            return node_wrong(c, id, "writes over the view '%s'", g->value.at[v].name);
        if (c->reads[s] > 1) return node_wrong(c, id, "reads and writes over '%s'", g->value.at[v].name);
        if (!type_equal(&g->value.at[v].type, &g->value.at[made].type))
            return node_wrong(c, id, "writes over '%s' with another type", g->value.at[v].name);
        c->storage[made] = s;
        c->epoch[made] = ++c->now[s];
    }
    return NULL;
}

/* ---- room ---- */

/* Does value `v` hold rows that lie apart: is it the first output of an operation that makes such ones? */
static bool lies_apart(const Check *c, ValueId v) {
    const Value *value = &c->g->value.at[v];
    return value->room && value->def != NONE && value->out_index == 0 &&
           op_info[c->g->node.at[value->def].op].flags & OPF_PITCH_OUT;
}

/* Elements from row to row of `v`. */
static int64_t pitch(const Check *c, ValueId v) {
    const Type *t = &c->g->value.at[v].type;
    return c->g->value.at[v].room / (type_elements(t) / t->dim[t->rank - 1]);
}

/* With zeros in what it has more than elements. */
static bool has_room(const Check *c, ValueId v, int64_t elements) {
    const Graph *g = c->g;
    const Value *root = &g->value.at[c->storage[v]];
    bool cleared = root->kind != VALUE_ACTIVATION || op_info[g->node.at[root->def].op].flags & OPF_CLEARS;
    return cleared && g->value.at[v].room >= elements;
}

/* All values of a storage have its room, which is more than their type needs. Rows that lie apart are whole
 * rows, read where that is known alone, and the weight, bias and weight gradient beside them have as many
 * rows as they are wide. */
static const char *check_room(Check *c, NodeId id) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    unsigned flags = op_info[node->op].flags;
    for (uint32_t i = 0; i < node->nin; i++)
        if (lies_apart(c, node->in[i]) && (i > 0 || !(flags & OPF_PITCH_IN)))
            return node_wrong(c, id, "reads '%s', whose rows lie apart", g->value.at[node->in[i]].name);
    for (uint32_t i = 0; i < node->nout; i++) {
        const Value *value = &g->value.at[node->out[i]];
        if (value->room != g->value.at[c->storage[node->out[i]]].room)
            return node_wrong(c, id, "output %u has another room than its storage", i);
        if (!value->room) continue;
        if (value->room <= type_elements(&value->type))
            return node_wrong(c, id, "output %u has less room than elements", i);
    }
    ValueId y = node->op == OP_LINEAR ? node->out[0] : node->in[0];
    if (!lies_apart(c, y)) return NULL;
    const Type *t = &g->value.at[y].type;
    int64_t wide = pitch(c, y);
    bool fine = g->value.at[y].room == type_elements(t) / t->dim[t->rank - 1] * wide;
    if (node->op == OP_LINEAR || node->op == OP_LINEAR_BWD_X)
        fine &= has_room(c, node->in[1], wide * g->value.at[node->in[1]].type.dim[1]);
    if (node->op == OP_LINEAR && node->nin > 2 && g->value.at[node->in[2]].type.rank == 1)
        fine &= has_room(c, node->in[2], wide);
    if (node->op == OP_LINEAR_BWD_W)
        fine &= g->value.at[node->out[0]].room >= wide * g->value.at[node->out[0]].type.dim[1];
    return fine ? NULL : node_wrong(c, id, "an operand has no room for rows of %lld", (long long)wide);
}

/* ---- the whole ---- */

/* Backward and update nodes are there because something reads what they make, or because it is a last
 * version. */
static const char *check_used(Check *c) {
    const Graph *g = c->g;
    for (NodeId id = 0; id < c->nodes; id++) {
        const Node *node = &g->node.at[id];
        bool used = node->phase == PHASE_FORWARD;
        for (uint32_t i = 0; i < node->nout; i++)
            used |=
                c->uses[node->out[i]] > 0 || g->value.at[c->storage[node->out[i]]].kind != VALUE_ACTIVATION;
        if (!used) return node_wrong(c, id, "nothing uses what it makes");
    }
    return NULL;
}

static bool draws_overlap(const Graph *g, const Node *a, const Node *b) {
    if (a->attr.rng != b->attr.rng) return false;
    int64_t a_end = a->attr.element + type_elements(&g->value.at[a->out[0]].type);
    int64_t b_end = b->attr.element + type_elements(&g->value.at[b->out[0]].type);
    return a->attr.element < b_end && b->attr.element < a_end;
}

/* An element of a random stream belongs to one forward node; its backward node draws the same numbers. */
static const char *check_streams(Check *c) {
    const Graph *g = c->g;
    Map *streams = map_new(c->arena);
    VEC(NodeId) forward = {0};
    for (NodeId id = 0; id < c->nodes; id++) {
        const Node *node = &g->node.at[id];
        if (!(op_info[node->op].flags & OPF_RANDOM)) continue;
        long long rng = (long long)node->attr.rng;
        if (node->attr.element < 0) return node_wrong(c, id, "draws from before random stream %lld", rng);
        char key[64];
        snprintf(key, sizeof key, "%lld %lld", rng, (long long)node->attr.element);
        NodeId first = map_get(streams, key);
        if (node->phase == PHASE_FORWARD) {
            for (uint32_t i = 0; i < forward.count; i++)
                if (draws_overlap(g, node, &g->node.at[forward.at[i]]))
                    return node_wrong(c, id, "shares random stream %lld", rng);
            *vec_add(c->arena, &forward) = id;
            map_set(streams, key, id);
            continue;
        }
        if (node->phase != PHASE_BACKWARD || first == NONE)
            return node_wrong(c, id, "no forward node draws from random stream %lld", rng);
        const Node *origin = &g->node.at[first];
        if (origin->op != node->op || origin->attr.p != node->attr.p ||
            !type_equal(&g->value.at[origin->out[0]].type, &g->value.at[node->out[0]].type))
            return node_wrong(c, id, "draws other numbers than '%s'", origin->name);
    }
    return NULL;
}

static bool is_state(const Check *c, ValueId v, Role role, const Type *dims) {
    if (v >= c->values) return false;
    const Value *value = &c->g->value.at[v];
    return value->kind == VALUE_STATE && value->role == role && has_dims(&value->type, dims);
}

/* Each weight has one row, trained ones first; optimizer state comes whole, fits its weight and is not
 * shared. */
static const char *check_params(Check *c) {
    const Graph *g = c->g;
    bool frozen_seen = false;
    for (uint32_t v = 0; v < c->values; v++) c->param_of[v] = NONE;
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Param *param = &g->param.at[p];
        ValueId v = param->value;
        if (v >= c->values) return arena_printf(c->arena, "parameter %u is no value", p);
        const Value *value = &g->value.at[v];
        bool trained = value->kind == VALUE_PARAM;
        if (!trained && value->kind != VALUE_FROZEN) return value_wrong(c, v, "is listed as a parameter");
        if (c->param_of[v] != NONE) return value_wrong(c, v, "is listed twice");
        if (trained && frozen_seen) return value_wrong(c, v, "is trained and listed after a frozen one");
        frozen_seen |= !trained;
        c->param_of[v] = p;
        if ((unsigned)param->init >= INIT_KIND_COUNT) return value_wrong(c, v, "has no initialisation");

        const ValueId state[] = {param->moment1, param->moment2, param->master, param->accumulator};
        for (uint32_t i = 0; i < COUNT_OF(state); i++) {
            if (state[i] == NONE) continue;
            if (!is_state(c, state[i], i < 3 ? ROLE_OPTIMIZER : ROLE_WGRAD, &value->type))
                return value_wrong(c, v, "has a state that does not fit it");
            if (c->param_of[state[i]] != NONE) return value_wrong(c, v, "shares a state");
            c->param_of[state[i]] = p;
        }
        bool updated = param->moment1 != NONE;
        if ((param->moment2 != NONE) != updated || (!updated && param->master != NONE) ||
            (updated && !trained))
            return value_wrong(c, v, "has part of an optimizer state");
        if (updated && (param->master != NONE) != (value->type.dtype != DT_F32))
            return value_wrong(c, v, "must have a master copy if and only if it is not stored in f32");
    }
    for (uint32_t v = 0; v < c->values; v++) {
        const Value *value = &g->value.at[v];
        bool own = value->kind == VALUE_STATE && (value->role == ROLE_METRIC || value->role == ROLE_CACHE);
        if (value->kind != VALUE_INPUT && value->kind != VALUE_ACTIVATION && !own && c->param_of[v] == NONE)
            return value_wrong(c, v, "belongs to no parameter");
    }
    return NULL;
}

/* Weight `t` of those that the node updates: a parameter, its states and its gradient; one more update of it.
 */
static const char *check_updated(Check *c, NodeId id, uint32_t t, uint32_t *updates) {
    const Graph *g = c->g;
    const Node *node = &g->node.at[id];
    const uint32_t states = node->nmut / op_tensors(node);
    const ValueId *in = node->in + node->nin - node->nmut + t * states;
    uint32_t p = c->param_of[in[0]];
    if (p == NONE || g->param.at[p].value != in[0]) return node_wrong(c, id, "updates what is no parameter");
    const Param *param = &g->param.at[p];
    if (in[1] != param->moment1 || in[2] != param->moment2 || (states == 4 ? in[3] : NONE) != param->master)
        return node_wrong(c, id, "has not the states of its parameter");
    const Value *gradient = &g->value.at[c->storage[node->in[t]]];
    if (gradient->role != ROLE_WGRAD ||
        (gradient->kind == VALUE_STATE && c->storage[node->in[t]] != param->accumulator))
        return node_wrong(c, id, "has not the gradient of its parameter");
    updates[p]++;
    return NULL;
}

/* Each parameter with optimizer state is updated once, from its own states and its own gradient; a gradient
 * sum over an accumulator writes over one that is listed. */
static const char *check_update(Check *c) {
    const Graph *g = c->g;
    uint32_t *updates = NEW_ARRAY(c->arena, uint32_t, g->param.count);
    for (NodeId id = 0; id < c->nodes; id++) {
        const Node *node = &g->node.at[id];
        if (op_info[node->op].over != OVER_STATES) continue;
        if (node->phase != PHASE_UPDATE) return node_wrong(c, id, "outside the update");
        for (uint32_t t = 0; t < op_tensors(node); t++) {
            const char *wrong = check_updated(c, id, t, updates);
            if (wrong) return wrong;
        }
    }
    for (uint32_t p = 0; p < g->param.count; p++)
        if (updates[p] != (g->param.at[p].moment1 != NONE))
            return value_wrong(c, g->param.at[p].value, "is not updated exactly once");
    return NULL;
}

static bool is_metric(const Check *c, ValueId v) {
    const Type scalar = {.dtype = DT_F32, .rank = 1, .dim = {1}};
    return is_state(c, v, ROLE_METRIC, &scalar) && c->g->value.at[v].type.dtype == DT_F32;
}

static bool is_batch(const Check *c, ValueId v, DType dtype) {
    const Graph *g = c->g;
    return v < c->values && g->value.at[v].kind == VALUE_INPUT &&
           is_type(&g->value.at[v].type, dtype, 2, g->batch, g->context);
}

/* The named values are what they are named for. Without a loss there are neither targets nor a loss sum. */
static const char *check_fields(Check *c) {
    const Graph *g = c->g;
    if (g->batch < 1 || g->context < 1 || g->accumulate < 1)
        return "batch, context and accumulate must be positive";
    if (!is_batch(c, g->tokens, DT_I32)) return "tokens are no i32 [batch, context] input";
    if (g->targets != NONE && !is_batch(c, g->targets, DT_I32))
        return "targets are no i32 [batch, context] input";
    if (g->mask != NONE && !is_batch(c, g->mask, DT_F32)) return "the mask is no f32 [batch, context] input";
    const ValueId of_documents[] = {g->first_key, g->last_query, g->positions};
    for (size_t i = 0; i < COUNT_OF(of_documents); i++)
        if (of_documents[i] != NONE && !is_batch(c, of_documents[i], DT_I32))
            return "what tells documents apart is no i32 [batch, context] input";
    if ((g->first_key == NONE) != (g->last_query == NONE))
        return "a first key without a last query, or without a first key one";
    if (g->loss_sum != NONE && !is_metric(c, g->loss_sum)) return "loss_sum is no f32 [1] metric";
    if (g->norm_sum != NONE && !is_metric(c, g->norm_sum)) return "norm_sum is no f32 [1] metric";
    bool in_chunks = g->logits == NONE && c->losses > 1;
    if (!in_chunks &&
        (g->logits >= c->values || g->value.at[g->logits].kind != VALUE_ACTIVATION ||
         g->value.at[g->logits].role != ROLE_ACTIVATION || g->value.at[g->logits].type.rank != 3))
        return "logits are no activation [batch, context, vocabulary]";
    bool loss = false;
    for (NodeId id = 0; id < c->nodes; id++) {
        const Op op = g->node.at[id].op;
        if (op_info[op].over != OVER_LOSS) continue;
        loss = true;
        if (g->node.at[id].phase != (op == OP_CROSS_ENTROPY ? PHASE_FORWARD : PHASE_BACKWARD))
            return node_wrong(c, id, "in the %s phase", phase_name[g->node.at[id].phase]);
        if (c->storage[g->node.at[id].out[1]] != g->loss_sum)
            return node_wrong(c, id, "does not add to loss_sum");
    }
    if (loss && g->targets == NONE) return "a loss without targets";
    if (c->nodes && g->node.at[c->nodes - 1].phase != PHASE_FORWARD && (!loss || g->norm_sum == NONE))
        return "a backward phase without a loss or without norm_sum";
    return NULL;
}

const char *graph_check(const Graph *g, Arena *arena) {
    Check c = {.g = g, .arena = arena, .nodes = g->node.count, .values = g->value.count};
    c.storage = NEW_ARRAY(arena, ValueId, c.values);
    c.epoch = NEW_ARRAY(arena, uint32_t, c.values);
    c.now = NEW_ARRAY(arena, uint32_t, c.values);
    c.uses = NEW_ARRAY(arena, uint32_t, c.values);
    c.reads = NEW_ARRAY(arena, uint32_t, c.values);
    c.param_of = NEW_ARRAY(arena, uint32_t, c.values);
    uint32_t operands = 0;
    for (NodeId id = 0; id < c.nodes; id++) {
        const Op op = g->node.at[id].op; /* not looked at yet: it may be none */
        c.losses += op < OP_COUNT && op_info[op].over == OVER_LOSS;
        uint32_t n = g->node.at[id].nin + g->node.at[id].nout;
        if (n > operands) operands = n;
    }
    c.types = NEW_ARRAY(arena, Type, operands);
    TRY(check_values(&c));
    for (ValueId v = 0; v < c.values; v++) c.storage[v] = v;
    for (NodeId id = 0; id < c.nodes; id++) {
        TRY(check_links(&c, id));
        TRY(check_types(&c, id));
        TRY(check_accumulation(&c, id));
        TRY(check_versions(&c, id));
        TRY(check_roles(&c, id));
        TRY(check_room(&c, id));
    }
    TRY(check_params(&c));
    TRY(check_used(&c));
    TRY(check_streams(&c));
    TRY(check_update(&c));
    return check_fields(&c);
}
