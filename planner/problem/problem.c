/* From a graph to the planner's problem. In: a checked graph with costs; out: operations, storages and gaps
 * (problem.h). Invariant: every transient byte of the graph belongs to exactly one storage, and an operation
 * reads a storage that an earlier one made. */
#include "planner/problem/problem.h"
#include "ir/ops.h"

#include <string.h>

static int64_t round_up(int64_t bytes) {
    return (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

/* Collects lists in order of their index; the same item twice in one list counts once. */
typedef struct Collector {
    Arena *arena;
    VEC(uint32_t) first, item;
} Collector;

static void begin_list(Collector *c) {
    *vec_add(c->arena, &c->first) = c->item.count;
}

static void add_item(Collector *c, uint32_t item) {
    for (uint32_t i = c->first.at[c->first.count - 1]; i < c->item.count; i++)
        if (c->item.at[i] == item) return;
    *vec_add(c->arena, &c->item) = item;
}

static Lists finish(Collector *c) {
    begin_list(c);
    return (Lists){c->first.at, c->item.at};
}

/* Storages some operation writes over: what they held before is gone, so nothing that reads or makes them
 * may run again. */
static bool *find_overwritten(const Graph *g, const Problem *p, Arena *arena) {
    bool *overwritten = NEW_ARRAY(arena, bool, p->storages + 1);
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        for (uint32_t i = node->nin - node->nmut; i < node->nin; i++) {
            uint32_t s = p->value_storage[node->in[i]];
            if (s != NONE) overwritten[s] = true;
        }
    }
    return overwritten;
}

/* Storages of dequantised weights; NULL where there are none. */
static bool *find_dequantized(const Graph *g, const Problem *p, Arena *arena) {
    bool *dequantized = NULL;
    for (uint32_t n = 0; n < g->node.count; n++) {
        if (g->node.at[n].op != OP_DEQUANTIZE) continue;
        if (!dequantized) dequantized = NEW_ARRAY(arena, bool, p->storages + 1);
        dequantized[p->value_storage[g->node.at[n].out[0]]] = true;
    }
    return dequantized;
}

/* graph_root of every value in one pass: an operation's inputs come before its outputs. */
static void find_roots(const Graph *g, Problem *p, Arena *arena) {
    p->value_root = NEW_ARRAY(arena, ValueId, g->value.count + 1);
    for (ValueId v = 0; v < g->value.count; v++) p->value_root[v] = v;
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) p->value_root[node->out[0]] = p->value_root[node->in[0]];
        for (uint32_t i = 1; i <= node->nmut; i++)
            p->value_root[node->out[node->nout - i]] = p->value_root[node->in[node->nin - i]];
    }
}

static void number_storages(const Graph *g, Problem *p, Arena *arena) {
    p->value_storage = NEW_ARRAY(arena, uint32_t, g->value.count + 1);
    p->storage_root = NEW_ARRAY(arena, ValueId, g->value.count + 1);
    p->bytes = NEW_ARRAY(arena, int64_t, g->value.count + 1);
    for (ValueId v = 0; v < g->value.count; v++) {
        ValueId root = p->value_root[v];
        const Value *value = &g->value.at[root];
        if (value->kind != VALUE_ACTIVATION) {
            p->value_storage[v] = NONE;
            if (root == v) p->persistent_bytes += round_up(value_bytes(value));
        } else if (root == v) {
            p->value_storage[v] = p->storages;
            p->storage_root[p->storages] = v;
            p->bytes[p->storages++] = round_up(value_bytes(value));
        } else {
            p->value_storage[v] = p->value_storage[root];
        }
    }
}

/* Whether the first output may take the place of input i: nothing else of the node is read from there. */
static bool may_share(const Graph *g, const Problem *p, const Node *node, uint32_t i) {
    const uint32_t s = p->value_storage[node->in[i]];
    for (uint32_t k = 0; k < node->nin; k++)
        if (p->value_storage[node->in[k]] == s && !node_may_share(g, node, k)) return false;
    return true;
}

/* Storages whose dying instance the first output may take over: same element size, count and room. */
static void add_takeovers(const Graph *g, const Problem *p, const Node *node, const bool *overwritten,
                          Collector *takeover) {
    if (!(op_info[node->op].flags & (OPF_INPLACE | OPF_ONTO)) || node->nout == 0) return;
    uint32_t made = p->value_storage[node->out[0]];
    if (made == NONE || p->storage_root[made] != node->out[0] || overwritten[made]) return;
    const Value *out = &g->value.at[node->out[0]];
    for (uint32_t i = 0; i < node->nin; i++) {
        const Value *in = &g->value.at[node->in[i]];
        uint32_t s = p->value_storage[node->in[i]];
        if (s != NONE && !overwritten[s] && dtype_bytes[in->type.dtype] == dtype_bytes[out->type.dtype] &&
            type_elements(&in->type) == type_elements(&out->type) && in->room == out->room &&
            p->bytes[s] == p->bytes[made] && may_share(g, p, node, i))
            add_item(takeover, s);
    }
}

/* When each operation must have run for the last time: nothing is recomputed in the update, nor after a
 * parameter that it reads was written over. */
static void find_rerun_ends(const Graph *g, Problem *p, Arena *arena) {
    uint32_t *written =
        NEW_ARRAY(arena, uint32_t, g->value.count + 1); /* by root of a persistent value: when */
    p->rerun_end = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    for (ValueId v = 0; v < g->value.count; v++) written[v] = p->update_begin;
    for (uint32_t op = p->update_begin; op-- > 0;) {
        const Node *node = &g->node.at[p->op_node[op]];
        for (uint32_t i = node->nin - node->nmut; i < node->nin; i++)
            written[p->value_root[node->in[i]]] = op;
    }
    for (uint32_t op = 0; op < p->ops; op++) {
        const Node *node = &g->node.at[p->op_node[op]];
        p->rerun_end[op] = p->update_begin;
        for (uint32_t i = 0; i < node->nin; i++) {
            ValueId root = p->value_root[node->in[i]];
            if (p->value_storage[root] == NONE && written[root] < p->rerun_end[op])
                p->rerun_end[op] = written[root];
        }
    }
}

Problem *problem_from_graph(const Graph *g, const Cost *cost, Arena *arena) {
    Problem *p = NEW(arena, Problem);
    find_roots(g, p, arena);
    number_storages(g, p, arena);
    bool *overwritten = p->overwritten = find_overwritten(g, p, arena);
    p->dequantized = find_dequantized(g, p, arena);
    p->maker = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    p->seconds = NEW_ARRAY(arena, double, g->node.count + 1);
    p->workspace_bytes = NEW_ARRAY(arena, int64_t, g->node.count + 1);
    p->rerun = NEW_ARRAY(arena, bool, g->node.count + 1);
    p->updates = NEW_ARRAY(arena, bool, g->node.count + 1);
    p->op_node = NEW_ARRAY(arena, NodeId, g->node.count + 1);
    p->node_op = NEW_ARRAY(arena, uint32_t, g->node.count + 1);
    Collector reads = {.arena = arena}, makes = {.arena = arena}, takeover = {.arena = arena};
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        p->node_op[n] = NONE;
        if (op_info[node->op].flags & OPF_VIEW) continue;
        uint32_t op = p->ops++;
        p->node_op[n] = op;
        p->op_node[op] = n;
        bool micro = node->phase != PHASE_UPDATE;
        p->updates[op] = !micro;
        if (micro) p->update_begin = op + 1;
        p->seconds[op] = cost[n].seconds * (micro ? (double)g->accumulate : 1.0);
        p->workspace_bytes[op] = cost[n].workspace_bytes;
        p->rerun[op] = micro && node->nmut == 0;
        begin_list(&reads), begin_list(&makes), begin_list(&takeover);
        for (uint32_t i = 0; i < node->nin; i++) {
            uint32_t s = p->value_storage[node->in[i]];
            if (s == NONE) continue;
            add_item(&reads, s);
            if (overwritten[s]) p->rerun[op] = false;
        }
        for (uint32_t i = 0; i < node->nout; i++) {
            uint32_t s = p->value_storage[node->out[i]];
            if (s == NONE || p->storage_root[s] != node->out[i]) continue;
            add_item(&makes, s);
            p->maker[s] = op;
            if (overwritten[s]) p->rerun[op] = false;
        }
        add_takeovers(g, p, node, overwritten, &takeover);
    }
    find_rerun_ends(g, p, arena);
    p->reads = finish(&reads);
    p->makes = finish(&makes);
    p->takeover = finish(&takeover);
    problem_index(p, arena);
    return p;
}

/* Until when each operation runs again in a replay. What can be made again up to its last use, and no longer,
 * is not kept for the sake of its readers: they end when it does. */
static void find_lazy_ends(Problem *p, Arena *arena) {
    p->lazy_end = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    for (uint32_t op = 0; op < p->ops; op++) {
        uint32_t end = p->rerun_end ? p->rerun_end[op] : p->update_begin;
        for (EACH(i, p->reads, op)) {
            uint32_t s = p->reads.list[i], maker = p->maker[s];
            uint32_t last_use = p->gap_begin[p->gap_first[s + 1] - 1];
            if (p->rerun[maker] && p->lazy_end[maker] > last_use && p->lazy_end[maker] < end)
                end = p->lazy_end[maker];
        }
        p->lazy_end[op] = end;
    }
}

/* Past its last use, only operations that run again read a storage. */
static bool may_drop(const Problem *p, uint32_t s, uint32_t gap) {
    uint32_t maker = p->maker[s], end = p->lazy_end[maker];
    bool last = gap + 1 == p->gap_first[s + 1];
    if (!p->rerun[maker]) return false;
    return last ? end > p->gap_begin[gap] || end >= p->update_begin : p->gap_end[gap] < end;
}

void problem_allow_copies(Problem *p, const Device *device, int64_t host_bytes, int64_t accumulate) {
    if (device->copy_bytes_per_second <= 0) return;
    p->host_bytes = host_bytes;
    p->copies_beside = device->copies_beside;
    p->copy_byte_seconds = (double)accumulate / device->copy_bytes_per_second;
    p->copy_start_seconds = (double)accumulate * device->launch_seconds;
}

void problem_index(Problem *p, Arena *arena) {
    uint32_t *uses =
        NEW_ARRAY(arena, uint32_t, p->storages + 1); /* the making included: one gap follows each */
    for (uint32_t s = 0; s < p->storages; s++) uses[s] = 1;
    for (uint32_t i = 0; i < p->reads.first[p->ops]; i++) uses[p->reads.list[i]]++;
    p->gap_first = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    for (uint32_t s = 0; s < p->storages; s++) p->gap_first[s + 1] = p->gap_first[s] + uses[s];
    p->gaps = p->gap_first[p->storages];
    p->gap_begin = NEW_ARRAY(arena, uint32_t, p->gaps + 1);
    p->gap_end = NEW_ARRAY(arena, uint32_t, p->gaps + 1);
    p->may_drop = NEW_ARRAY(arena, bool, p->gaps + 1);

    uint32_t *next = NEW_ARRAY(arena, uint32_t, p->storages + 1);
    memcpy(next, p->gap_first, sizeof *next * p->storages);
    for (uint32_t op = 0; op < p->ops; op++) {
        for (EACH(i, p->reads, op)) p->gap_begin[next[p->reads.list[i]]++] = op;
        for (EACH(i, p->makes, op)) p->gap_begin[next[p->makes.list[i]]++] = op;
    }
    for (uint32_t s = 0; s < p->storages; s++)
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++) {
            bool last = gap + 1 == p->gap_first[s + 1];
            p->gap_end[gap] = last ? p->ops : p->gap_begin[gap + 1];
        }
    find_lazy_ends(p, arena);
    for (uint32_t s = 0; s < p->storages; s++)
        for (uint32_t gap = p->gap_first[s]; gap < p->gap_first[s + 1]; gap++)
            p->may_drop[gap] = may_drop(p, s, gap);
}

int64_t problem_operation_bytes(const Problem *p, uint32_t op) {
    int64_t bytes = p->workspace_bytes[op];
    for (EACH(i, p->reads, op)) bytes += p->bytes[p->reads.list[i]];
    for (EACH(i, p->makes, op)) bytes += p->bytes[p->makes.list[i]];
    if (list_begin(&p->takeover, op) < list_end(&p->takeover, op))
        bytes -= p->bytes[p->makes.list[list_begin(&p->makes, op)]];
    return bytes;
}

Blocks problem_blocks(const Graph *g, const Problem *p, Arena *arena) {
    Blocks blocks = {.boundary = p->ops};
    uint32_t *number = NEW_ARRAY(arena, uint32_t, g->block.count + 1);
    for (uint32_t i = 0; i < g->block.count; i++) number[i] = NONE;
    blocks.op_block = NEW_ARRAY(arena, uint32_t, p->ops + 1);
    blocks.backward_begin = NEW_ARRAY(arena, uint32_t, g->block.count + 1);
    for (uint32_t op = 0; op < p->ops; op++) {
        const Node *node = &g->node.at[p->op_node[op]];
        if (node->phase != PHASE_FORWARD && op < blocks.boundary) blocks.boundary = op;
        blocks.op_block[op] = NONE;
        if (node->block >= g->block.count) continue;
        if (number[node->block] == NONE) {
            blocks.backward_begin[blocks.count] = p->ops;
            number[node->block] = blocks.count++;
        }
        uint32_t block = blocks.op_block[op] = number[node->block];
        if (node->phase == PHASE_BACKWARD && op < blocks.backward_begin[block])
            blocks.backward_begin[block] = op;
    }
    return blocks;
}
