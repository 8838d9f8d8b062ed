/* See decisions.h. In: a plan and its layout; out: what became of every forward value, by replaying the
 * steps. */
#include "codegen/decisions.h"

#include "ir/ops.h"

#include <string.h>

const char *decisions_without_pieces(const char *name, Arena *arena) {
    static const char *const piece[] = {".tile", ".slice"};
    for (size_t i = 0; i < COUNT_OF(piece); i++) {
        const char *at = strstr(name, piece[i]);
        if (!at) continue;
        at += strlen(piece[i]);
        size_t digits = strspn(at, "0123456789");
        if (digits) return arena_printf(arena, "%.*s*%s", (int)(at - name), name, at + digits);
    }
    return name;
}

/* "h.3.attn.qkv" in block "h.3" -> "h.*.attn.qkv". */
static const char *general_name(const Graph *g, const Node *node, const char *name, Arena *arena) {
    if (node->block == NONE) return decisions_without_pieces(name, arena);
    const char *block = g->block.at[node->block], *dot = strrchr(block, '.');
    size_t length = strlen(block);
    if (dot && !strncmp(name, block, length))
        name = arena_printf(arena, "%.*s.*%s", (int)(dot - block), block, name + length);
    return decisions_without_pieces(name, arena);
}

/* The first step with the most live bytes. */
static uint32_t find_peak(const Part *part, Arena *arena) {
    const Layout *layout = part->layout;
    uint32_t steps = part->plan->step.count, peak = 0;
    int64_t *live = NEW_ARRAY(arena, int64_t, steps + 1), bytes = 0, most = -1;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind == BUF_HOST) continue;
        live[buf->lo] += buf->bytes;
        if (buf->hi <= steps) live[buf->hi] -= buf->bytes;
    }
    for (uint32_t s = 0; s < steps; s++) {
        bytes += live[s];
        if (bytes > most) most = bytes, peak = s;
    }
    return peak;
}

/* What a step writes: buffers pass on in place. */
static void hand_over(const Part *part, uint32_t s, ValueId *occupant, Fates *fates, Arena *arena) {
    const Layout *layout = part->layout;
    const Node *node = &part->graph->node.at[part->plan->step.at[s].node];
    for (uint32_t o = 0; o < node->nout; o++) {
        uint32_t b = layout->bind.at[layout->first[s] + o];
        ValueId root = graph_root(part->graph, node->out[o]);
        if (root != occupant[b])
            *vec_add(arena, &fates->handover) = (Handover){.step = s, .buffer = b, .value = root};
        occupant[b] = root;
    }
}

Fates decisions_fates(const Part *part, Arena *arena) {
    const Graph *g = part->graph;
    const Plan *plan = part->plan;
    const Layout *layout = part->layout;
    Fates fates = {.again = NEW_ARRAY(arena, uint32_t, g->node.count),
                   .kept = NEW_ARRAY(arena, bool, g->value.count),
                   .moved = NEW_ARRAY(arena, uint32_t, g->value.count),
                   .peak_step = find_peak(part, arena)};
    for (uint32_t v = 0; v < g->value.count; v++) fates.moved[v] = NONE;
    ValueId *occupant = NEW_ARRAY(arena, ValueId, layout->buf.count + 1);
    ValueId *at_turn = NEW_ARRAY(arena, ValueId, layout->buf.count + 1);
    uint32_t turn = NONE; /* the first backward step */
    for (uint32_t b = 0; b < layout->buf.count; b++) occupant[b] = layout->buf.at[b].value;
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind == STEP_RECOMPUTE) fates.again[step->node]++;
        if (step->kind == STEP_OFFLOAD && fates.moved[step->value] == NONE) fates.moved[step->value] = s;
        if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        if (turn == NONE && g->node.at[step->node].phase != PHASE_FORWARD) {
            turn = s;
            memcpy(at_turn, occupant, sizeof *occupant * layout->buf.count);
        }
        hand_over(part, s, occupant, &fates, arena);
    }
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind == BUF_VALUE && !buf->persistent && buf->lo < turn && buf->hi > turn)
            fates.kept[at_turn[b]] = fates.moved[at_turn[b]] == NONE;
    }
    return fates;
}

bool decisions_covers(const Graph *g, const Node *node) {
    return node->phase == PHASE_FORWARD && !(op_info[node->op].flags & OPF_VIEW) &&
           !value_persistent(g, node->out[0]);
}

int64_t decisions_kept_bytes(const Graph *g, const Fates *fates, const Node *node) {
    int64_t bytes = 0;
    for (uint32_t o = 0; o < node->nout; o++)
        if (fates->kept[node->out[o]]) bytes += value_bytes(&g->value.at[node->out[o]]);
    return bytes;
}

int64_t decisions_moved_bytes(const Graph *g, const Fates *fates, const Node *node) {
    int64_t bytes = 0;
    for (uint32_t o = 0; o < node->nout; o++)
        if (fates->moved[node->out[o]] != NONE) bytes += value_bytes(&g->value.at[node->out[o]]);
    return bytes;
}

Decisions decisions_of(const Part *part, Arena *arena) {
    const Graph *g = part->graph;
    Fates fates = decisions_fates(part, arena);
    Decisions decisions = {0};
    Map *index = map_new(arena);
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (!decisions_covers(g, node)) continue;
        const char *name = general_name(g, node, node->name, arena);
        uint32_t i = map_get(index, name);
        if (i == NONE) {
            i = decisions.row.count;
            *vec_add(arena, &decisions.row) = (DecisionRow){.name = name, .op = op_info[node->op].name};
            map_set(index, name, i);
        }
        DecisionRow *row = &decisions.row.at[i];
        *vec_add(arena, &row->node) = n;
        int64_t bytes = decisions_kept_bytes(g, &fates, node), moved = decisions_moved_bytes(g, &fates, node);
        row->kept_bytes += bytes;
        row->moved_bytes += moved;
        decisions.moves |= moved > 0;
        if (moved) row->moved++;
        if (fates.again[n])
            row->recomputed++,
                row->recompute_seconds += (double)(fates.again[n] * g->accumulate) * part->cost[n].seconds;
        else if (bytes)
            row->kept++;
        else if (!moved)
            row->dropped++;
    }
    return decisions;
}
