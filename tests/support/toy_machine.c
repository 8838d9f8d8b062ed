/* The simulated machine of toy.h. Memory is bytes; a version of a storage is a 64-bit hash spread over its
 * bytes. A step's workspace is scribbled over before it reads and after it writes; freed bytes are poisoned.
 * A copy spoils where it goes when it begins, and is done as late as it may be. */
#include "tests/support/toy.h"
#include "ir/ops.h"

#include <string.h>

typedef struct Operand {
    int64_t offset, bytes;
    bool bad; /* bound to nothing, or outside the arena */
} Operand;

typedef struct Copy {
    uint8_t *to, *from; /* NULL: none */
    int64_t bytes;
} Copy;

typedef struct Machine {
    const Graph *g;
    const Cost *cost;
    const Plan *plan;
    const Layout *layout;
    Arena *arena;
    int64_t bytes, host_bytes;
    uint8_t *memory, *host;
    struct Copy *copy;      /* per root: begun and not done */
    int64_t *own;           /* without a layout: each root's place, in both memories */
    uint64_t *now, *expect; /* per root: the latest version's hash; per value: what reading it must give */
} Machine;

static const char *wrong(Machine *m, uint32_t s, const char *what, ValueId v) {
    return arena_printf(m->arena, "step %u: %s %s", s, what,
                        v < m->g->value.count ? m->g->value.at[v].name : "");
}

static void write_pattern(uint8_t *at, int64_t bytes, uint64_t hash) {
    for (int64_t k = 0; k < bytes; k++) at[k] = (uint8_t)((hash >> (8 * (k & 7))) ^ (uint64_t)(k * 29 >> 3));
}

static bool holds_pattern(const uint8_t *at, int64_t bytes, uint64_t hash) {
    for (int64_t k = 0; k < bytes; k++)
        if (at[k] != (uint8_t)((hash >> (8 * (k & 7))) ^ (uint64_t)(k * 29 >> 3))) return false;
    return true;
}

static uint64_t mix(uint64_t hash, uint64_t with) {
    return hash_bytes(hash, &with, sizeof with);
}

/* ---- what the graph means: its own order, versions kept apart ---- */

/* A micro-step, or the update after several; of a single micro-step the update may be a part. */
static void meaning(Machine *m, bool update) {
    bool whole = m->g->accumulate == 1;
    for (NodeId n = 0; n < m->g->node.count; n++) {
        const Node *node = &m->g->node.at[n];
        if (whole ? update : (node->phase == PHASE_UPDATE) != update) continue;
        if (op_info[node->op].flags & OPF_VIEW) {
            m->expect[node->out[0]] = m->expect[node->in[0]];
            continue;
        }
        uint64_t hash = mix(HASH_SEED, n);
        for (uint32_t i = 0; i < node->nin; i++) hash = mix(hash, m->expect[node->in[i]]);
        for (uint32_t i = 0; i < node->nout; i++) {
            m->expect[node->out[i]] = mix(hash, i);
            m->now[graph_root(m->g, node->out[i])] = mix(hash, i);
        }
    }
}

/* What persistent storages hold now is what the next round finds in them. */
static void carry(Machine *m) {
    for (ValueId v = 0; v < m->g->value.count; v++)
        if (m->g->value.at[v].def == NONE) m->expect[v] = m->now[v];
}

/* ---- places ---- */

static Operand place(const Machine *m, uint32_t s, uint32_t index, ValueId v) {
    Operand o = {.bytes = type_bytes(&m->g->value.at[v].type)};
    if (!m->layout) {
        o.offset = m->own[graph_root(m->g, v)];
        return o;
    }
    uint32_t at = m->layout->first[s] + index;
    uint32_t b = at < m->layout->bind.count ? m->layout->bind.at[at] : NONE;
    if (b >= m->layout->buf.count) return (Operand){.bad = true};
    o.offset = m->layout->buf.at[b].offset;
    o.bad = o.offset < 0 || o.offset + o.bytes > m->bytes;
    return o;
}

static Operand persistent_place(const Machine *m, ValueId v) {
    Operand o = {.offset = m->own[v], .bytes = type_bytes(&m->g->value.at[v].type)};
    if (!m->layout) return o;
    for (uint32_t b = 0; b < m->layout->buf.count; b++) {
        const Buf *buf = &m->layout->buf.at[b];
        if (buf->kind != BUF_VALUE || !buf->persistent || buf->value != v) continue;
        o.offset = buf->offset;
        o.bad = o.offset < 0 || o.offset + o.bytes > m->bytes;
        return o;
    }
    return (Operand){.bad = true};
}

static bool meet(Operand a, Operand b) {
    return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

/* ---- steps ---- */

static void finish_copy(Machine *m, ValueId root) {
    Copy *copy = &m->copy[root];
    if (copy->to) memcpy(copy->to, copy->from, (size_t)copy->bytes);
    copy->to = NULL;
}

static const char *begin_copy(Machine *m, uint32_t s, const Step *step, Operand device) {
    ValueId v = step->value;
    Operand host = {.offset = m->own[v], .bytes = device.bytes};
    if (m->layout) {
        uint32_t at = m->layout->first[s] + 1, b = at < m->layout->bind.count ? m->layout->bind.at[at] : NONE;
        if (b >= m->layout->buf.count) return wrong(m, s, "no host place to copy", v);
        host.offset = m->layout->buf.at[b].offset;
        host.bad = host.offset < 0 || host.offset + host.bytes > m->host_bytes;
    }
    if (device.bad || host.bad) return wrong(m, s, "no place to copy", v);
    uint8_t *there = m->host + host.offset, *here = m->memory + device.offset;
    bool out = step->kind == STEP_OFFLOAD;
    finish_copy(m, v);
    m->copy[v] = out ? (Copy){there, here, host.bytes} : (Copy){here, there, host.bytes};
    memset(m->copy[v].to, 0x77, (size_t)host.bytes);
    return NULL;
}

static const char *scribble(Machine *m, uint32_t s, const Node *node, NodeId n) {
    int64_t bytes = m->cost[n].workspace_bytes;
    if (!m->layout || !bytes) return NULL;
    uint32_t at = m->layout->first[s] + node->nout + node->nin;
    uint32_t b = at < m->layout->bind.count ? m->layout->bind.at[at] : NONE;
    if (b >= m->layout->buf.count) return wrong(m, s, "has no workspace", NONE);
    const Buf *buf = &m->layout->buf.at[b];
    if (buf->offset < 0 || buf->offset + bytes > m->bytes) return wrong(m, s, "workspace outside", NONE);
    memset(m->memory + buf->offset, 0xd7, (size_t)bytes);
    return NULL;
}

static const char *run_node(Machine *m, uint32_t s, NodeId n) {
    if (n >= m->g->node.count) return wrong(m, s, "no such node", NONE);
    const Node *node = &m->g->node.at[n];
    if (op_info[node->op].flags & OPF_VIEW) return wrong(m, s, "a view has no kernel", NONE);
    const char *bad = scribble(m, s, node, n);
    if (bad) return bad;
    enum { MOST = 1024 };
    Operand in[MOST], out[MOST];
    if (node->nin > MOST || node->nout > MOST)
        return wrong(m, s, "more operands than this machine takes", NONE);
    for (uint32_t i = 0; i < node->nin; i++) {
        const Copy *copy = &m->copy[graph_root(m->g, node->in[i])];
        if (copy->from >= m->host && copy->from < m->host + m->host_bytes)
            finish_copy(m, graph_root(m->g, node->in[i]));
        in[i] = place(m, s, node->nout + i, node->in[i]);
        if (in[i].bad) return wrong(m, s, "no place to read", node->in[i]);
        if (!holds_pattern(m->memory + in[i].offset, in[i].bytes, m->expect[node->in[i]]))
            return wrong(m, s, "reads garbage for", node->in[i]);
    }
    uint64_t hash = mix(HASH_SEED, n);
    for (uint32_t i = 0; i < node->nin; i++) hash = mix(hash, m->expect[node->in[i]]);
    for (uint32_t i = 0; i < node->nout; i++) {
        out[i] = place(m, s, i, node->out[i]);
        if (out[i].bad) return wrong(m, s, "no place to write", node->out[i]);
        for (uint32_t k = 0; k < node->nin; k++) {
            bool over = i + node->nmut >= node->nout && k + node->nout == i + node->nin;
            bool in_place = i == 0 && node_may_share(m->g, node, k) && out[i].bytes == in[k].bytes;
            if (over && out[i].offset != in[k].offset) return wrong(m, s, "not written over", node->in[k]);
            if (meet(out[i], in[k]) && !over && !(in_place && out[i].offset == in[k].offset))
                return wrong(m, s, "writes into its input", node->in[k]);
        }
    }
    for (uint32_t i = 0; i < node->nout; i++)
        write_pattern(m->memory + out[i].offset, out[i].bytes, mix(hash, i));
    return scribble(m, s, node, n);
}

static const char *run_value(Machine *m, uint32_t s, const Step *step) {
    ValueId v = step->value;
    if (v >= m->g->value.count) return wrong(m, s, "no such value", NONE);
    Operand o = place(m, s, 0, v);
    if (step->kind == STEP_FREE) {
        finish_copy(m, v);
        uint32_t b = m->layout ? m->layout->bind.at[m->layout->first[s]] : 0;
        if (m->layout && (b >= m->layout->buf.count || m->layout->buf.at[b].hi > s + 1)) return NULL;
        if (o.bad) return wrong(m, s, "no place to free", v);
        memset(m->memory + o.offset, 0xa5, (size_t)o.bytes);
        return NULL;
    }
    return begin_copy(m, s, step, o);
}

static const char *run_steps(Machine *m, uint32_t beg, uint32_t end) {
    for (uint32_t s = beg; s < end; s++) {
        const Step *step = &m->plan->step.at[s];
        const char *bad = step->kind <= STEP_RECOMPUTE ? run_node(m, s, step->node) : run_value(m, s, step);
        if (bad) return bad;
    }
    return NULL;
}

const char *toy_run(const Graph *g, const Cost *cost, const Plan *plan, const Layout *layout, Arena *arena) {
    Machine m = {.g = g, .cost = cost, .plan = plan, .layout = layout, .arena = arena};
    uint32_t count = g->value.count;
    m.own = NEW_ARRAY(arena, int64_t, count);
    m.now = NEW_ARRAY(arena, uint64_t, count);
    m.expect = NEW_ARRAY(arena, uint64_t, count);
    m.copy = NEW_ARRAY(arena, Copy, count);
    for (ValueId v = 0; v < count; v++) {
        m.own[v] = m.bytes;
        m.bytes += type_bytes(&g->value.at[v].type);
        m.now[v] = m.expect[v] = mix(HASH_SEED, 1000000 + v);
    }
    m.host_bytes = layout ? layout->host_bytes : m.bytes;
    if (layout) m.bytes = layout->height_bytes;
    if (m.bytes < 0 || m.host_bytes < 0) return "an arena of negative size";
    m.memory = NEW_ARRAY(arena, uint8_t, m.bytes);
    m.host = NEW_ARRAY(arena, uint8_t, m.host_bytes);
    memset(m.memory, 0x5a, (size_t)m.bytes);
    for (ValueId v = 0; v < count; v++) {
        if (g->value.at[v].def != NONE) continue;
        Operand o = persistent_place(&m, v);
        if (o.bad) return wrong(&m, 0, "no place for", v);
        write_pattern(m.memory + o.offset, o.bytes, m.expect[v]);
    }
    if (plan->update_begin > plan->step.count) return "the update begins past the end";
    for (int64_t round = 0; round < 2 * g->accumulate; round++) {
        Operand tokens = persistent_place(&m, g->tokens);
        m.now[g->tokens] = m.expect[g->tokens] = mix(HASH_SEED, 2000000 + (uint64_t)round);
        write_pattern(m.memory + tokens.offset, tokens.bytes, m.expect[g->tokens]);
        meaning(&m, false);
        const char *bad = run_steps(&m, 0, plan->update_begin);
        if (bad) return bad;
        if (round % g->accumulate == g->accumulate - 1) {
            meaning(&m, true);
            if ((bad = run_steps(&m, plan->update_begin, plan->step.count))) return bad;
        }
        carry(&m);
        for (ValueId v = 0; v < count; v++) {
            if (g->value.at[v].def != NONE) continue;
            Operand o = persistent_place(&m, v);
            if (!holds_pattern(m.memory + o.offset, o.bytes, m.expect[v]))
                return wrong(&m, plan->step.count, "ends wrong:", v);
        }
    }
    return NULL;
}
