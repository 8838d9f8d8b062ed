/* Is a layout right for a plan? In: buffers with lifetimes and offsets, and which buffer each operand of each
 * step has. Out: NULL, or the first thing wrong. Bindings, lifetimes, places and overlaps are worked out
 * anew. */
#include "planner/check/check.h"

#include "ir/ops.h"
#include "planner/check/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Life {
    uint32_t lo, hi; /* hi: the step that frees it */
    bool begun;
    ValueId owner; /* storage in it now; NONE before and after */
} Life;

typedef struct Check {
    CheckReplay r;
    const Cost *cost;
    const Layout *layout;
    Life *life; /* per buffer */
} Check;

static int64_t rounded(int64_t bytes) {
    return (bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

/* Buffer `b`, of this kind, begins at step `s`, holding `home` (NONE: workspace of `bytes`). */
static bool life_begins(Check *c, uint32_t s, uint32_t b, BufKind kind, ValueId home, int64_t bytes) {
    CheckReplay *r = &c->r;
    const char *what = home == NONE ? "its workspace" : check_name(r, home);
    const Buf *buf = &c->layout->buf.at[b];
    Life *life = &c->life[b];
    if (buf->persistent)
        return check_fail(r, "%s puts %s into buffer %u, which is persistent", check_step(r, s), what, b);
    if (life->begun)
        return check_fail(r, "%s puts %s into buffer %u, which step %u began for another", check_step(r, s),
                          what, b, life->lo);
    if (buf->kind != kind || buf->value != home)
        return check_fail(r, "%s puts %s into buffer %u, which is not labelled so", check_step(r, s), what,
                          b);
    if (buf->bytes != rounded(bytes))
        return check_fail(r, "%s: %s takes %" PRId64 " bytes, but buffer %u has %" PRId64, check_step(r, s),
                          what, rounded(bytes), b, buf->bytes);
    *life = (Life){.lo = s, .hi = NONE, .begun = true, .owner = kind == BUF_HOST ? NONE : home};
    return true;
}

/* May output 0 of `node` overwrite the storage `held`, which lies in the buffer it is bound to? */
static bool in_place_is_right(Check *c, uint32_t s, const Node *node, uint32_t i, ValueId held) {
    CheckReplay *r = &c->r;
    const Value *out = &r->g->value.at[node->out[i]];
    bool allowed = false, shares = true;
    for (uint32_t k = 0; k < node->nin - node->nmut; k++) {
        if (r->home[node->in[k]] != held) continue;
        allowed = true;
        shares &= node_may_share(r->g, node, k);
    }
    for (uint32_t k = node->nin - node->nmut; k < node->nin; k++) allowed &= r->home[node->in[k]] != held;
    const Value *in = &r->g->value.at[held];
    allowed &= r->storage[held].leaves == NONE; /* else it may still be copied from */
    allowed &= i == 0 && shares && value_bytes(in) == value_bytes(out) &&
               type_elements(&in->type) == type_elements(&out->type);
    if (allowed) return true;
    return check_fail(r, "%s: output %s shares its buffer with %s, which it may not overwrite",
                      check_step(r, s), check_name(r, node->out[i]), check_name(r, held));
}

static bool bind_output(Check *c, uint32_t s, const Node *node, uint32_t i, uint32_t b) {
    CheckReplay *r = &c->r;
    ValueId v = node->out[i], home = r->home[v];
    if (b >= c->layout->buf.count)
        return check_fail(r, "%s: output %s has no buffer", check_step(r, s), check_name(r, v));
    CheckStorage *storage = &r->storage[home];
    if (i >= node->nout - node->nmut) {
        if (b == storage->buffer) return true;
        return check_fail(r, "%s: output %s must be written over its input in buffer %u, not %u",
                          check_step(r, s), check_name(r, v), storage->buffer, b);
    }
    ValueId held = c->life[b].owner;
    if (c->life[b].begun && held != NONE) {
        if (!in_place_is_right(c, s, node, i, held)) return false;
        r->storage[held].taken = true;
        c->life[b].owner = home;
    } else if (!life_begins(c, s, b, BUF_VALUE, home, value_bytes(&r->g->value.at[home]))) {
        return false;
    }
    storage->buffer = b;
    storage->taken = false;
    return true;
}

static bool bind_node(Check *c, uint32_t s, const uint32_t *bind) {
    CheckReplay *r = &c->r;
    NodeId n = r->plan->step.at[s].node;
    const Node *node = &r->g->node.at[n];
    for (uint32_t i = 0; i < node->nin; i++) {
        CheckStorage *storage = &r->storage[r->home[node->in[i]]];
        if (storage->taken)
            return check_fail(r, "%s reads %s (%s), which was overwritten in place", check_step(r, s),
                              check_name(r, node->in[i]), check_size(r, node->in[i]));
        if (bind[node->nout + i] != storage->buffer)
            return check_fail(r, "%s reads %s from buffer %u, but it lies in %u", check_step(r, s),
                              check_name(r, node->in[i]), bind[node->nout + i], storage->buffer);
        if (storage->brings == NONE) continue;
        c->life[storage->host_buffer].hi = s + 1; /* unless it is fetched again */
        storage->brings = NONE;
    }
    for (uint32_t i = 0; i < node->nout; i++)
        if (!bind_output(c, s, node, i, bind[i])) return false;
    uint32_t workspace = bind[node->nout + node->nin];
    int64_t bytes = c->cost[n].workspace_bytes;
    if (bytes == 0 && workspace == NONE) return true;
    if (bytes == 0) return check_fail(r, "%s is given workspace and needs none", check_step(r, s));
    if (workspace >= c->layout->buf.count)
        return check_fail(r, "%s has no workspace and needs %" PRId64 " bytes", check_step(r, s), bytes);
    if (!life_begins(c, s, workspace, BUF_WORKSPACE, NONE, bytes)) return false;
    c->life[workspace].hi = s + 1;
    return true;
}

/* Device buffer `b` and host buffer `host` of a copy. */
static bool bind_copy(Check *c, uint32_t s, uint32_t b, uint32_t host) {
    CheckReplay *r = &c->r;
    const Step *step = &r->plan->step.at[s];
    CheckStorage *storage = &r->storage[step->value];
    int64_t bytes = value_bytes(&r->g->value.at[step->value]);
    if (b >= c->layout->buf.count) return check_fail(r, "%s has no buffer", check_step(r, s));
    if (host >= c->layout->buf.count)
        return check_fail(r, "%s has no buffer in host memory", check_step(r, s));
    if (step->kind == STEP_FETCH) {
        if (host != storage->host_buffer)
            return check_fail(r, "%s reads host buffer %u, but the copy lies in %u", check_step(r, s), host,
                              storage->host_buffer);
        storage->buffer = b;
        storage->brings = s;
        return life_begins(c, s, b, BUF_VALUE, step->value, bytes);
    }
    if (storage->taken) return check_fail(r, "%s: it was overwritten in place", check_step(r, s));
    if (b != storage->buffer)
        return check_fail(r, "%s is bound to buffer %u, but lies in %u", check_step(r, s), b,
                          storage->buffer);
    storage->host_buffer = host;
    storage->leaves = s;
    return life_begins(c, s, host, BUF_HOST, step->value, bytes);
}

static bool bind_free(Check *c, uint32_t s, uint32_t b) {
    CheckReplay *r = &c->r;
    CheckStorage *storage = &r->storage[r->plan->step.at[s].value];
    /* Freeing what was overwritten in place frees no bytes: the buffer, if one is named, lives on. */
    if (storage->taken ? b != NONE && (b != storage->buffer || c->life[b].owner == NONE)
                       : b != storage->buffer)
        return check_fail(r, "%s is bound to buffer %u, but lies in %u", check_step(r, s), b,
                          storage->buffer);
    if (!storage->taken) {
        c->life[storage->buffer].hi = s;
        c->life[storage->buffer].owner = NONE;
    }
    storage->buffer = storage->leaves = NONE;
    storage->taken = false;
    return true;
}

/* Follows every operand to its buffer; fills the lifetimes of the transient ones. */
static bool bindings(Check *c) {
    CheckReplay *r = &c->r;
    const Layout *layout = c->layout;
    uint32_t steps = r->plan->step.count;
    for (uint32_t s = 0; s < steps; s++) {
        const Step *step = &r->plan->step.at[s];
        bool runs = step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE;
        const Node *node = runs ? &r->g->node.at[step->node] : NULL;
        bool copies = step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH;
        uint32_t first = layout->first[s], count = runs ? node->nout + node->nin + 1 : copies ? 2 : 1;
        if (first > layout->bind.count || layout->first[s + 1] != first + count ||
            first + count > layout->bind.count)
            return check_fail(r, "%s: operands %u..%u of %u are bound, %u were expected", check_step(r, s),
                              first, layout->first[s + 1], layout->bind.count, count);
        const uint32_t *bind = &layout->bind.at[first];
        if (runs     ? !bind_node(c, s, bind)
            : copies ? !bind_copy(c, s, bind[0], bind[1])
                     : !bind_free(c, s, bind[0]))
            return false;
    }
    return layout->first[steps] == layout->bind.count ||
           check_fail(r, "%u operands are bound, %u were expected", layout->bind.count, layout->first[steps]);
}

/* Each persistent storage has one buffer, for the whole plan. */
static bool persistent_buffers(Check *c) {
    CheckReplay *r = &c->r;
    uint32_t steps = r->plan->step.count;
    for (uint32_t b = 0; b < c->layout->buf.count; b++) {
        const Buf *buf = &c->layout->buf.at[b];
        if (!buf->persistent) continue;
        ValueId v = buf->value;
        if (buf->kind != BUF_VALUE || v >= r->g->value.count || r->home[v] != v || !check_kept(r, v))
            return check_fail(r, "buffer %u is persistent, but holds no persistent storage", b);
        if (r->storage[v].buffer != NONE)
            return check_fail(r, "%s has two buffers, %u and %u", check_name(r, v), r->storage[v].buffer, b);
        if (buf->bytes != rounded(value_bytes(&r->g->value.at[v])))
            return check_fail(r, "%s takes %s, but its buffer %u has %" PRId64 " bytes", check_name(r, v),
                              check_size(r, v), b, buf->bytes);
        r->storage[v].buffer = b;
        c->life[b] = (Life){.lo = 0, .hi = steps, .begun = true, .owner = NONE};
    }
    for (ValueId v = 0; v < r->g->value.count; v++)
        if (r->home[v] == v && check_kept(r, v) && r->storage[v].buffer == NONE)
            return check_fail(r, "%s (%s) is persistent and has no buffer", check_name(r, v),
                              check_size(r, v));
    return true;
}

static const char *buffer_text(const Check *c, uint32_t b) {
    const Buf *buf = &c->layout->buf.at[b];
    return arena_printf(c->r.arena, "buffer %u (%s%s, bytes [%" PRId64 ", %" PRId64 "), steps [%u, %u))", b,
                        buf->kind == BUF_WORKSPACE ? "workspace" : check_name(&c->r, buf->value),
                        buf->kind == BUF_HOST ? " in host memory" : "", buf->offset, buf->offset + buf->bytes,
                        buf->lo, buf->hi);
}

static bool places(Check *c) {
    CheckReplay *r = &c->r;
    const Layout *layout = c->layout;
    int64_t highest = 0, host_highest = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        const Life *life = &c->life[b];
        bool host = buf->kind == BUF_HOST;
        int64_t height = host ? layout->host_bytes : layout->height_bytes,
                *end = host ? &host_highest : &highest;
        if (!life->begun) return check_fail(r, "buffer %u is used by no step", b);
        /* A storage is live until the step that frees it; counting that step too changes nothing. */
        bool exact = buf->persistent || buf->kind != BUF_VALUE;
        if (buf->lo != life->lo || (buf->hi != life->hi && (exact || buf->hi != life->hi + 1)))
            return check_fail(r, "%s is live during steps [%u, %u)", buffer_text(c, b), life->lo, life->hi);
        if (buf->offset % PLAN_ALIGN)
            return check_fail(r, "%s is not aligned to %d", buffer_text(c, b), PLAN_ALIGN);
        if (buf->offset < 0 || buf->offset > height - buf->bytes)
            return check_fail(r, "%s is not inside the arena of %" PRId64 " bytes", buffer_text(c, b),
                              height);
        if (buf->offset + buf->bytes > *end) *end = buf->offset + buf->bytes;
        if (host) continue;
        if (buf->persistent ? buf->offset + buf->bytes > layout->persistent_bytes
                            : buf->offset < layout->persistent_bytes)
            return check_fail(r, "%s is on the wrong side of byte %" PRId64 ", where persistent buffers end",
                              buffer_text(c, b), layout->persistent_bytes);
    }
    if (host_highest != layout->host_bytes)
        return check_fail(r, "the host arena has %" PRId64 " bytes, but copies end at %" PRId64,
                          layout->host_bytes, host_highest);
    return highest == layout->height_bytes ||
           check_fail(r, "the arena has %" PRId64 " bytes, but buffers end at %" PRId64, layout->height_bytes,
                      highest);
}

/* ---- no two live buffers share a byte: a sweep over time; the live ones stand in order of offset ---- */

typedef struct Event {
    uint32_t time, buffer;
    bool begins;
} Event;

static int event_compare(const void *left, const void *right) {
    const Event *a = left, *b = right;
    if (a->time != b->time) return a->time < b->time ? -1 : 1;
    if (a->begins != b->begins) return a->begins ? 1 : -1;
    return a->buffer < b->buffer ? -1 : a->buffer > b->buffer;
}

/* The buffers of one memory; `live_bytes`: the most that are live at once. */
static bool no_overlap(Check *c, bool host, int64_t *live_bytes) {
    const Layout *layout = c->layout;
    uint32_t n = 0, active = 0;
    Event *event = NEW_ARRAY(c->r.arena, Event, 2 * (size_t)layout->buf.count);
    uint32_t *live = NEW_ARRAY(c->r.arena, uint32_t, layout->buf.count);
    int64_t bytes = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        if ((layout->buf.at[b].kind == BUF_HOST) != host) continue;
        /* a persistent buffer is live even in a plan without steps */
        uint32_t end = layout->buf.at[b].persistent ? NONE : c->life[b].hi;
        event[2 * n] = (Event){c->life[b].lo, b, true};
        event[2 * n++ + 1] = (Event){end, b, false};
    }
    if (n) qsort(event, 2 * (size_t)n, sizeof *event, event_compare);
    *live_bytes = 0;
    for (uint32_t e = 0; e < 2 * n; e++) {
        const Buf *buf = &layout->buf.at[event[e].buffer];
        uint32_t low = 0, high = active; /* the first live buffer at or above this one's offset */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (layout->buf.at[live[middle]].offset >= buf->offset)
                high = middle;
            else
                low = middle + 1;
        }
        bytes += event[e].begins ? buf->bytes : -buf->bytes;
        if (bytes > *live_bytes) *live_bytes = bytes;
        if (!event[e].begins) {
            active--;
            memmove(&live[low], &live[low + 1], sizeof *live * (active - low));
            continue;
        }
        uint32_t below = low ? live[low - 1] : NONE, above = low < active ? live[low] : NONE, other = NONE;
        if (below != NONE && layout->buf.at[below].offset + layout->buf.at[below].bytes > buf->offset)
            other = below;
        if (above != NONE && buf->offset + buf->bytes > layout->buf.at[above].offset) other = above;
        if (other != NONE)
            return check_fail(&c->r, "%s and %s overlap", buffer_text(c, other),
                              buffer_text(c, event[e].buffer));
        memmove(&live[low + 1], &live[low], sizeof *live * (active - low));
        live[low] = event[e].buffer;
        active++;
    }
    return true;
}

const char *layout_check(const Graph *g, const Cost *cost, const Plan *plan, const Layout *layout,
                         const Budget *budget, Arena *arena) {
    Check c = {.r = check_replay(g, plan, arena), .cost = cost, .layout = layout};
    int64_t live_bytes, host_live_bytes;
    c.life = NEW_ARRAY(arena, Life, layout->buf.count);
    for (uint32_t b = 0; b < layout->buf.count; b++) c.life[b].owner = NONE;
    if (!persistent_buffers(&c) || !bindings(&c) || !places(&c) || !no_overlap(&c, false, &live_bytes) ||
        !no_overlap(&c, true, &host_live_bytes))
        return c.r.error;
    if (layout->live_bytes != live_bytes || plan->live_bytes != live_bytes)
        return arena_printf(arena,
                            "live bytes are %" PRId64 "; the layout says %" PRId64 ", the plan %" PRId64,
                            live_bytes, layout->live_bytes, plan->live_bytes);
    if (plan->peak_bytes != layout->height_bytes)
        return arena_printf(arena, "the arena has %" PRId64 " bytes, the plan says %" PRId64,
                            layout->height_bytes, plan->peak_bytes);
    if (plan->host_bytes != layout->host_bytes)
        return arena_printf(arena, "the host arena has %" PRId64 " bytes, the plan says %" PRId64,
                            layout->host_bytes, plan->host_bytes);
    if (budget && layout->host_bytes > budget->host_bytes)
        return arena_printf(arena, "the host arena has %" PRId64 " bytes, %" PRId64 " over the budget",
                            layout->host_bytes, layout->host_bytes - budget->host_bytes);
    if (budget && budget->limited && layout->height_bytes > budget->device_bytes)
        return arena_printf(arena, "the arena has %" PRId64 " bytes, %" PRId64 " over the budget",
                            layout->height_bytes, layout->height_bytes - budget->device_bytes);
    return NULL;
}
