/* From a graph and its plan to the boxes and edges of the picture; see picture.h.
 *
 * Every forward operation is a row; backward operations join the row whose name begins theirs, else the row
 * of the latest forward tensor they read. Blocks with equal rows in the same order are one group, drawn once.
 */
#include "codegen/picture/picture.h"
#include "codegen/decisions.h"
#include "ir/ops.h"

#include <string.h>

enum { DETAILED_GROUPS = 2 };

/* ---- what became of each tensor ---- */

/* By root: kept if its first instance lives when the backward pass begins, recomputed if it was ever made
 * again, offloaded if it was ever copied. */
static Fate *find_fates(const Graph *g, const Plan *plan, Arena *arena) {
    Fate *fate = NEW_ARRAY(arena, Fate, g->value.count);
    bool *live = NEW_ARRAY(arena, bool, g->value.count), backward = false;
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind == STEP_FREE) live[step->value] = false;
        if (step->kind == STEP_FETCH) live[step->value] = true;
        if (step->kind == STEP_OFFLOAD) fate[step->value] = FATE_OFFLOADED;
        if (step->kind > STEP_RECOMPUTE) continue;
        const Node *node = &g->node.at[step->node];
        if (step->kind == STEP_RUN && node->phase != PHASE_FORWARD && !backward) {
            backward = true;
            for (ValueId v = 0; v < g->value.count; v++)
                if (live[v] && fate[v] == FATE_FREED) fate[v] = FATE_KEPT;
        }
        for (uint32_t i = 0; i < node->nout - node->nmut; i++) {
            live[node->out[i]] = true;
            if (step->kind == STEP_RECOMPUTE && fate[node->out[i]] != FATE_OFFLOADED)
                fate[node->out[i]] = FATE_RECOMPUTED;
        }
    }
    return fate;
}

static void find_peak(Picture *p, const Plan *plan, const Layout *layout, Arena *arena) {
    uint32_t steps = plan->step.count;
    int64_t *live = NEW_ARRAY(arena, int64_t, steps + 2), sum = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        if (layout->buf.at[b].kind == BUF_HOST) continue;
        live[layout->buf.at[b].lo] += layout->buf.at[b].bytes;
        live[layout->buf.at[b].hi] -= layout->buf.at[b].bytes;
    }
    p->peak_node = NONE;
    for (uint32_t s = 0; s < steps; s++) {
        sum += live[s];
        if (plan->step.at[s].kind > STEP_RECOMPUTE || sum <= p->peak_bytes) continue;
        p->peak_bytes = sum;
        p->peak_step = s;
        p->peak_node = plan->step.at[s].node;
    }
}

/* ---- rows ---- */

/* Whether a node makes nothing but a weight in another type. */
static bool is_made_of_weight(const Graph *g, const Node *node) {
    if (node->op != OP_CAST && node->op != OP_DEQUANTIZE) return false;
    ValueKind kind = g->value.at[graph_root(g, node->in[0])].kind;
    return node->phase == PHASE_FORWARD && (kind == VALUE_PARAM || kind == VALUE_FROZEN);
}

static void add_weights(Row *row, const Graph *g, const Node *node) {
    for (uint32_t i = 0; i < node->nin; i++) {
        const Value *value = &g->value.at[graph_root(g, node->in[i])];
        if (value->kind == VALUE_PARAM) row->weight_bytes += value_bytes(value);
        if (value->kind == VALUE_FROZEN) row->frozen_bytes += value_bytes(value);
    }
}

static void count_outputs(Picture *p, const Node *node, const Fate *fate, int64_t bytes[FATE_COUNT]) {
    for (uint32_t i = 0; i < node->nout - node->nmut; i++) {
        Fate became = fate[node->out[i]];
        int64_t more = value_bytes(&p->g->value.at[node->out[i]]);
        bytes[became] += more;
        p->bytes[became] += more;
        p->tensors[became]++;
    }
}

static Fate most_of(const int64_t bytes[FATE_COUNT]) {
    int most = 0;
    for (int f = 1; f < FATE_COUNT; f++)
        if (bytes[f] > bytes[most]) most = f;
    return (Fate)most;
}

/* What a node reads of weights that were made into another type, and no row has yet. */
static void take_made(Picture *p, NodeId n, const Fate *fate) {
    const Graph *g = p->g;
    const Node *node = &g->node.at[n];
    Row *row = &p->row.at[p->row_of_node[n]];
    for (uint32_t i = 0; i < node->nin; i++) {
        NodeId def = g->value.at[graph_root(g, node->in[i])].def;
        if (def == NONE || p->row_of_node[def] != NONE || !is_made_of_weight(g, &g->node.at[def])) continue;
        int64_t bytes[FATE_COUNT] = {0};
        count_outputs(p, &g->node.at[def], fate, bytes);
        row->made = most_of(bytes);
        for (int f = 0; f < FATE_COUNT; f++) row->made_bytes += bytes[f];
        add_weights(row, g, &g->node.at[def]);
        p->row_of_node[def] = p->row_of_node[n];
    }
}

/* Of pieces, `bytes` are those of all so far, by what becomes of them. */
static void add_row(Picture *p, NodeId n, const Fate *fate, Map *pieces, Arena *arena) {
    const Node *node = &p->g->node.at[n];
    const char *name = decisions_without_pieces(node->name, arena);
    uint32_t r = name == node->name ? NONE : map_get(pieces, name);
    if (r == NONE) {
        r = p->row.count;
        *vec_add(arena, &p->row) = (Row){.node = n, .block = node->block, .backward = HASH_SEED};
        map_set(pieces, name, r);
    }
    Row *row = &p->row.at[r];
    count_outputs(p, node, fate, row->of_fate);
    row->bytes = 0;
    for (int f = 0; f < FATE_COUNT; f++) row->bytes += row->of_fate[f];
    row->fate = most_of(row->of_fate);
    if (!row->pieces++) add_weights(row, p->g, node);
    p->row_of_node[n] = r;
    take_made(p, n, fate);
}

/* The row whose name, followed by a dot, begins `name`; the longest such. */
static uint32_t row_by_name(const Map *rows, const char *name, char *room, size_t room_bytes) {
    size_t length = strlen(name);
    if (length >= room_bytes) return NONE;
    memcpy(room, name, length + 1);
    for (char *dot; (dot = strrchr(room, '.'));) {
        *dot = 0;
        uint32_t row = map_get(rows, room);
        if (row != NONE) return row;
    }
    return NONE;
}

static void join_backward(Picture *p, NodeId n, const Map *rows, uint32_t *last) {
    const Graph *g = p->g;
    const Node *node = &g->node.at[n];
    char room[512];
    uint32_t row = row_by_name(rows, node->name, room, sizeof room);
    for (uint32_t i = 0; i < node->nin && row == NONE; i++) {
        NodeId def = g->value.at[graph_root(g, node->in[i])].def;
        if (def != NONE && g->node.at[def].phase == PHASE_FORWARD) row = p->row_of_node[def];
    }
    if (row == NONE) row = *last;
    if (row == NONE) return;
    *last = row;
    p->row_of_node[n] = row;
    Row *r = &p->row.at[row];
    r->has_backward = true;
    r->backward = hash_bytes(r->backward, &node->op, sizeof node->op);
}

static void find_rows(Picture *p, const Fate *fate, Arena *arena) {
    const Graph *g = p->g;
    Map *rows = map_new(arena), *pieces = map_new(arena);
    uint32_t last = NONE;
    p->row_of_node = NEW_ARRAY(arena, uint32_t, g->node.count);
    for (NodeId n = 0; n < g->node.count; n++) p->row_of_node[n] = NONE;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW || is_made_of_weight(g, node)) continue;
        if (node->phase == PHASE_FORWARD) {
            add_row(p, n, fate, pieces, arena);
            map_set(rows, node->name, p->row_of_node[n]);
        } else if (node->phase == PHASE_BACKWARD) {
            join_backward(p, n, rows, &last);
        }
    }
}

/* ---- groups of blocks ---- */

static uint64_t row_hash(const Picture *p, const Row *row, uint64_t hash) {
    const Node *node = &p->g->node.at[row->node];
    const Type *type = &p->g->value.at[node->out[0]].type;
    int64_t word[] = {node->op,          row->fate,         row->bytes,
                      row->weight_bytes, row->frozen_bytes, (int64_t)row->backward,
                      type->dtype,       row->pieces,       row->made_bytes,
                      row->made};
    return hash_bytes(hash, word, sizeof word);
}

/* The group of every block, numbered by first appearance. */
static uint32_t *find_groups(Picture *p, int layer, Arena *arena) {
    uint32_t blocks = p->g->block.count, *group_of = NEW_ARRAY(arena, uint32_t, blocks + 1);
    uint64_t *hash = NEW_ARRAY(arena, uint64_t, blocks + 1);
    for (uint32_t b = 0; b < blocks; b++) hash[b] = HASH_SEED;
    for (uint32_t r = 0; r < p->row.count; r++) {
        const Row *row = &p->row.at[r];
        if (row->block != NONE) hash[row->block] = row_hash(p, row, hash[row->block]);
    }
    if (layer >= 0 && (uint32_t)layer < blocks) hash[layer] = ~hash[layer];
    for (uint32_t b = 0; b < blocks; b++) {
        uint32_t group = 0;
        while (group < p->group.count && hash[p->group.at[group].block.at[0]] != hash[b]) group++;
        if (group == p->group.count) (void)vec_add(arena, &p->group);
        *vec_add(arena, &p->group.at[group].block) = b;
        group_of[b] = group;
    }
    for (uint32_t r = 0; r < p->row.count; r++) {
        const Row *row = &p->row.at[r];
        if (row->block == NONE) continue;
        Group *group = &p->group.at[group_of[row->block]];
        if (group->block.at[0] != row->block) continue;
        for (int f = 0; f < FATE_COUNT; f++) group->bytes[f] += row->of_fate[f];
        group->bytes[row->made] += row->made_bytes;
        group->weight_bytes += row->weight_bytes;
        group->frozen_bytes += row->frozen_bytes;
    }
    return group_of;
}

/* The largest few groups and the layer asked for are drawn in detail. */
static void choose_details(Picture *p, int layer, bool blocks_only) {
    for (uint32_t i = 0; i < p->group.count; i++) {
        Group *group = &p->group.at[i];
        uint32_t larger = 0;
        for (uint32_t k = 0; k < p->group.count; k++)
            larger += p->group.at[k].block.count > group->block.count ||
                      (k < i && p->group.at[k].block.count == group->block.count);
        group->whole = (blocks_only || larger >= DETAILED_GROUPS) &&
                       !(layer >= 0 && group->block.at[0] == (uint32_t)layer);
    }
}

/* Assigns every row its box: rows of a folded block share those of the first block of their group. */
static void fold(Picture *p, const uint32_t *group_of, Arena *arena) {
    uint32_t *first_row = NEW_ARRAY(arena, uint32_t, p->g->block.count + 1);
    uint32_t *whole = NEW_ARRAY(arena, uint32_t, p->group.count + 1), position = 0, block = NONE;
    for (uint32_t i = 0; i < p->group.count; i++) whole[i] = NONE;
    for (uint32_t r = 0; r < p->row.count; r++) {
        Row *row = &p->row.at[r];
        if (row->block != block || row->block == NONE) position = 0;
        block = row->block;
        uint32_t group = block == NONE ? NONE : group_of[block];
        if (group != NONE && position == 0) first_row[block] = r;
        bool first = group == NONE || p->group.at[group].block.at[0] == block;
        if (group != NONE && p->group.at[group].whole) {
            if (whole[group] == NONE) {
                whole[group] = p->shown.count;
                *vec_add(arena, &p->shown) = (Shown){NONE, group};
            }
            row->shown = whole[group];
        } else if (first) {
            row->shown = p->shown.count;
            *vec_add(arena, &p->shown) = (Shown){r, group};
        } else {
            row->shown = p->row.at[first_row[p->group.at[group].block.at[0]] + position].shown;
        }
        position++;
    }
}

/* ---- edges ---- */

static void add_edge(Picture *p, PictureEdge edge, Arena *arena) {
    for (uint32_t i = 0; i < p->edge.count; i++) {
        PictureEdge *other = &p->edge.at[i];
        if (other->kind != edge.kind || other->from != edge.from || other->to != edge.to) continue;
        if (edge.bytes > other->bytes) {
            other->bytes = edge.bytes;
            other->fate = edge.fate;
        }
        return;
    }
    *vec_add(arena, &p->edge) = edge;
}

static void find_edges(Picture *p, const uint32_t *group_of, const Fate *fate, Arena *arena) {
    const Graph *g = p->g;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        uint32_t to = p->row_of_node[n];
        for (uint32_t i = 0; i < node->nin && to != NONE; i++) {
            ValueId root = graph_root(g, node->in[i]);
            NodeId def = g->value.at[root].def;
            uint32_t from = def == NONE ? NONE : p->row_of_node[def];
            if (from == NONE) continue;
            const Node *maker = &g->node.at[def];
            int64_t bytes = value_bytes(&g->value.at[root]);
            if (bytes * 16 < value_bytes(&g->value.at[maker->out[0]])) continue; /* means, scales */
            uint32_t from_block = p->row.at[from].block, to_block = p->row.at[to].block;
            bool wraps = from_block != to_block && from_block != NONE && to_block != NONE &&
                         group_of[from_block] == group_of[to_block];
            PictureEdge edge = {
                .fate = fate[root], .from = p->row.at[from].shown, .to = p->row.at[to].shown, .bytes = bytes};
            edge.kind = node->phase == PHASE_FORWARD    ? EDGE_FORWARD
                        : maker->phase == PHASE_FORWARD ? EDGE_SAVED
                                                        : EDGE_GRADIENT;
            if (edge.kind == EDGE_GRADIENT && g->value.at[root].role == ROLE_WGRAD) continue;
            if (wraps || (edge.from == edge.to && edge.kind != EDGE_SAVED)) continue;
            /* Groups that alternate stand one above the other; their edges back up would only confuse. */
            bool crosses = p->shown.at[edge.from].group != p->shown.at[edge.to].group;
            if (crosses && (edge.kind == EDGE_GRADIENT ? edge.from < edge.to : edge.from > edge.to)) continue;
            add_edge(p, edge, arena);
        }
    }
}

Picture *picture_new(const Graph *g, const Plan *plan, const Layout *layout, int layer, bool blocks_only,
                     Arena *arena) {
    Picture *p = NEW(arena, Picture);
    p->g = g;
    Fate *fate = find_fates(g, plan, arena);
    find_peak(p, plan, layout, arena);
    find_rows(p, fate, arena);
    uint32_t *group_of = find_groups(p, layer, arena);
    choose_details(p, layer, blocks_only);
    fold(p, group_of, arena);
    find_edges(p, group_of, fate, arena);
    return p;
}

/* "3" of "h.3" */
static const char *number_of(const char *block) {
    const char *dot = strrchr(block, '.');
    return dot ? dot + 1 : block;
}

const char *picture_group_name(const Picture *p, const Group *group, Arena *arena) {
    Text name = {.arena = arena};
    uint32_t count = group->block.count;
    for (uint32_t i = 0, runs = 0, end; i < count; i = end, runs++) {
        for (end = i + 1; end < count && group->block.at[end] == group->block.at[end - 1] + 1;) end++;
        if (runs == 4) {
            text_add(&name, ", ...");
            break;
        }
        const char *first = p->g->block.at[group->block.at[i]],
                   *last = p->g->block.at[group->block.at[end - 1]];
        text_add(&name, "%s%s", runs ? ", " : "", runs ? number_of(first) : first);
        if (end > i + 1) text_add(&name, "%s%s", end > i + 2 ? " to " : ", ", number_of(last));
    }
    if (count > 1) text_add(&name, ": \u00d7%u layers", count);
    return name.at;
}
