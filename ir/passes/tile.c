/* Token-wise parts of a forward graph cut into pieces of some tokens each.
 *
 * Requires: a forward graph. Produces: a new one in which the loss head and each MLP run piece by piece:
 *
 *     x [B, T, D] = [rows, D] --slice--> [rows/n, D] --linear--> [rows/n, V] --cross_entropy--> loss sum,
 * written over
 *                             --slice--> [rows/n, D] --linear, gelu, linear--> [rows/n, D] --join--> y [B, T,
 * D]
 *
 * so that what is wide is live for a piece at a time. A region is what leads from one value, by operations
 * that treat each token alone, to a loss or to the output of a linear layer that narrows; nothing else reads
 * what it makes on the way. A linear layer and its adapter are taken as one layer. Liu, Abbeel 2023:
 * "Blockwise parallel transformer"; Hsu et al. 2024: "Liger kernel" (the loss). */
#include "ir/passes/passes.h"
#include "ir/ops.h"

#include <string.h>

typedef struct Region {
    int64_t pieces;
    ValueId x, y;       /* the one input of all tokens; the output, NONE for the loss */
    NodeId first, last; /* every node of it leads to the last */
} Region;

typedef struct Tile {
    const Graph *from;
    const TileRule *rule;
    Graph *g;
    Arena *scratch;
    uint32_t *reads;  /* by value: operands that are it */
    uint32_t *inside; /* the same within the region at hand; 0 between regions */
    uint32_t *region; /* by node: index in `regions`, NONE */
    bool *adapter;    /* by value: a weight of a low-rank adapter, or its cast */
    NodeId *base;     /* by node: of what adds an adapter's part, the linear layer it is added to; NONE */
    NodeId *second;   /* by node: of the same, the adapter's second layer */
    bool *adapted;    /* by node: such a layer */
    bool *begins;     /* by node: its input is the region's, whatever makes it */
    VEC(Region) regions;
    ValueId *now; /* by old value: the new one; inside a region, of the piece at hand */
    Map *names;
} Tile;

static const Node *maker(const Tile *t, ValueId v) {
    NodeId def = t->from->value.at[v].def;
    return def == NONE ? NULL : &t->from->node.at[def];
}

static int64_t last_dim(const Tile *t, ValueId v) {
    const Type *type = &t->from->value.at[v].type;
    return type->dim[type->rank - 1];
}

/* ---- linear layers and their adapters ---- */

static bool is_adapter(const Tile *t, const Node *node) {
    return node->op == OP_LINEAR && t->adapter[node->in[1]];
}

/* y = linear(x, W) + scale(linear(linear(dropout(x), A), B)): for each such sum its first layer. What is
 * scaled may be the first product, too. */
static void find_adapters(Tile *t) {
    const Graph *g = t->from;
    t->adapter = adapter_weights(g, t->scratch);
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        t->base[n] = NONE;
        t->begins[n] = node->op == OP_LINEAR;
        if (node->op != OP_ADD) continue;
        ValueId part = node->in[1];
        const Node *def = maker(t, part);
        if (def && def->op == OP_SCALE) part = def->in[0], def = maker(t, part);
        if (!def || !is_adapter(t, def)) continue;
        t->second[n] = g->value.at[part].def;
        t->base[n] = g->value.at[node->in[0]].def;
        t->adapted[t->base[n]] = true;
    }
}

/* The layer that `sum` adds an adapter's part to, and the adapter with it, begin a region, or lie within one.
 */
static void begin_adapted(Tile *t, NodeId sum, bool begins) {
    const Graph *g = t->from;
    NodeId layer = t->base[sum], b = t->second[sum], a = g->value.at[g->node.at[b].in[0]].def;
    if (g->node.at[a].op == OP_SCALE) a = g->value.at[g->node.at[a].in[0]].def;
    ValueId x = g->node.at[a].in[0];
    bool drops = x != g->node.at[layer].in[0];
    t->begins[b] = false;
    t->begins[a] = begins && !drops;
    if (drops) t->begins[g->value.at[x].def] = begins;
    t->begins[layer] = begins;
}

/* ---- finding regions ---- */

/* How many of a node's first inputs hold a row for each token, where it treats every token alone. */
typedef uint32_t TileOp(const Graph *g, const Node *node);

static uint32_t tile_none(const Graph *g, const Node *node) {
    (void)g, (void)node;
    return 0;
}

static uint32_t tile_first(const Graph *g, const Node *node) {
    (void)g, (void)node;
    return 1;
}

static uint32_t tile_all(const Graph *g, const Node *node) {
    (void)g;
    return node->nin;
}

/* What is repeated is the same for each token where it has one dimension, that of a row. */
static uint32_t tile_broadcast(const Graph *g, const Node *node) {
    return g->value.at[node->in[1]].type.rank == 1;
}

static TileOp *const tile_op[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, ...)                                                                                        \
    [OP_##NAME] = tile_##tile,
#include "ir/op.def"
#undef OP
};

static uint32_t token_inputs(const Tile *t, const Node *node) {
    return tile_op[node->op](t->from, node);
}

/* Marks as region `r` what leads to node `last` through operations on single tokens, up to linear layers.
 * False when it starts from more than one value, or holds fewer than `linears` linear layers. */
static bool collect(Tile *t, NodeId last, uint32_t r, uint32_t linears, Region *region) {
    const Graph *g = t->from;
    uint32_t block = g->node.at[last].block;
    t->region[last] = r;
    region->x = NONE;
    region->first = last;
    for (NodeId n = last + 1; n-- > region->first;) {
        const Node *node = &g->node.at[n];
        if (t->region[n] != r) continue;
        if (node->op == OP_LINEAR && !is_adapter(t, node)) linears -= linears > 0;
        if (t->base[n] != NONE) begin_adapted(t, n, n != last);
        for (uint32_t i = 0, tokens = token_inputs(t, node); i < tokens; i++) {
            ValueId v = node->in[i];
            const Node *def = maker(t, v);
            bool inside = !(t->begins[n] && n != last) && def && def->block == block &&
                          token_inputs(t, def) > 0 && def->op != OP_CROSS_ENTROPY;
            if (inside && t->region[g->value.at[v].def] != NONE && t->region[g->value.at[v].def] != r)
                return false;
            if (inside) {
                t->region[g->value.at[v].def] = r;
                if (g->value.at[v].def < region->first) region->first = g->value.at[v].def;
            } else if (region->x == NONE || region->x == v)
                region->x = v;
            else
                return false;
        }
    }
    return linears == 0 && g->value.at[region->x].type.rank >= 2;
}

/* Counts what the region reads, or forgets it again. */
static void count_inside(const Tile *t, uint32_t r, const Region *region, bool forget) {
    for (NodeId n = region->first; n <= region->last; n++) {
        const Node *node = &t->from->node.at[n];
        for (uint32_t i = 0; t->region[n] == r && i < node->nin; i++)
            t->inside[node->in[i]] = forget ? 0 : t->inside[node->in[i]] + 1;
    }
}

/* Does nothing outside read what the region makes, `y` aside? */
static bool is_closed(const Tile *t, uint32_t r, const Region *region) {
    const Graph *g = t->from;
    bool closed = maker(t, region->x) == NULL || t->region[g->value.at[region->x].def] != r;
    count_inside(t, r, region, false);
    for (NodeId n = region->first; n <= region->last; n++) {
        const Node *node = &g->node.at[n];
        if (t->region[n] != r || node->op == OP_CROSS_ENTROPY) continue;
        for (uint32_t i = 0; i < node->nout; i++)
            closed &= node->out[i] == region->y || t->inside[node->out[i]] == t->reads[node->out[i]];
    }
    count_inside(t, r, region, true);
    return closed;
}

/* Dropout, bias or scaling that alone reads the output belongs to the region too. */
static void extend(Tile *t, uint32_t r, Region *region) {
    const Graph *g = t->from;
    for (NodeId n = region->last + 1; n < g->node.count && t->reads[region->y] == 1; n++) {
        const Node *node = &g->node.at[n];
        bool reads = false;
        for (uint32_t i = 0; i < node->nin; i++) reads |= node->in[i] == region->y;
        if (!reads) continue;
        if (node->in[0] != region->y || token_inputs(t, node) != 1 || node->op == OP_LINEAR ||
            node->nout != 1 || node->op == OP_CROSS_ENTROPY || node->block != g->node.at[region->last].block)
            return;
        t->region[n] = r;
        region->last = n;
        region->y = node->out[0];
    }
}

static void add_region(Tile *t, NodeId last, int64_t pieces) {
    const Graph *g = t->from;
    const Node *node = &g->node.at[last];
    bool loss = node->op == OP_CROSS_ENTROPY;
    Region region = {.pieces = pieces, .first = last, .last = last, .y = loss ? NONE : node->out[0]};
    uint32_t r = t->regions.count;
    bool fine = pieces > 1 && pieces <= 16 && collect(t, last, r, loss ? 1 : 2, &region);
    if (fine && !loss) extend(t, r, &region);
    fine = fine && is_closed(t, r, &region);
    if (fine) {
        const Type *x = &g->value.at[region.x].type;
        fine = type_elements(x) / x->dim[x->rank - 1] % pieces == 0;
    }
    if (fine)
        *vec_add(t->scratch, &t->regions) = region;
    else
        for (NodeId n = region.first; n <= region.last; n++)
            if (t->region[n] == r) t->region[n] = NONE;
}

static void find_regions(Tile *t) {
    const Graph *g = t->from;
    uint32_t losses = 0;
    NodeId loss = NONE;
    for (ValueId v = 0; v < g->value.count; v++) t->reads[v] = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        t->region[n] = NONE;
        for (uint32_t i = 0; i < g->node.at[n].nin; i++) t->reads[g->node.at[n].in[i]]++;
        if (g->node.at[n].op == OP_CROSS_ENTROPY) loss = n, losses++;
    }
    if (losses == 1) add_region(t, loss, t->rule->loss_chunks);
    for (NodeId n = 0; n < g->node.count; n++) {
        NodeId layer = t->base[n] != NONE ? t->base[n] : n;
        const Node *node = &g->node.at[layer];
        bool narrows = node->op == OP_LINEAR && !is_adapter(t, node) &&
                       last_dim(t, node->in[0]) > last_dim(t, node->out[0]);
        if (narrows && t->region[n] == NONE && (layer != n || !t->adapted[n]))
            add_region(t, n, t->rule->mlp_tiles);
    }
}

/* ---- building ---- */

static const char *fresh_name(Tile *t, const char *base) {
    const char *name = base;
    for (unsigned n = 2; map_get(t->names, name) != NONE; n++)
        name = arena_printf(t->g->arena, "%s_%u", base, n);
    map_set(t->names, name, 1);
    return name;
}

static ValueId *moved_inputs(const Tile *t, const Node *node) {
    ValueId *in = NEW_ARRAY(t->scratch, ValueId, node->nin);
    for (uint32_t i = 0; i < node->nin; i++) in[i] = t->now[node->in[i]];
    return in;
}

static void copy_node(Tile *t, const Node *node) {
    Graph *g = t->g;
    Type *wish = NEW_ARRAY(t->scratch, Type, node->nout);
    for (uint32_t i = 0; i < node->nout; i++) wish[i] = t->from->value.at[node->out[i]].type;
    NodeId id = graph_node_as(g, node->op, moved_inputs(t, node), node->nin, node->nmut, node->nout, wish,
                              &node->attr, node->phase, node->block, node->name, node->span);
    for (uint32_t i = 0; i < node->nout; i++) {
        t->now[node->out[i]] = g->node.at[id].out[i];
        g->value.at[g->node.at[id].out[i]].name = t->from->value.at[node->out[i]].name;
    }
}

static ValueId shape_as(Tile *t, ValueId v, Type type, const Node *beside, const char *name) {
    return graph_op_as(t->g, OP_RESHAPE, &v, 1, &type, NULL, PHASE_FORWARD, beside->block, name,
                       beside->span);
}

/* `v` as [rows, ..] of rank 1 or 2: a view, or itself. */
static ValueId flat(Tile *t, ValueId v, int64_t rows, int rank, const Node *beside) {
    const Type *whole = &t->g->value.at[v].type;
    if (whole->rank == rank) return v;
    Type type = {.dtype = whole->dtype, .rank = rank, .dim = {rows}};
    if (rank == 2) type.dim[1] = whole->dim[whole->rank - 1];
    const char *name = arena_printf(t->g->arena, "%s.rows", t->g->value.at[v].name);
    return shape_as(t, v, type, beside, fresh_name(t, name));
}

static ValueId slice(Tile *t, ValueId whole, int64_t piece, int64_t rows, const Node *beside) {
    Type type = t->g->value.at[whole].type;
    type.dim[0] = rows;
    const char *name = arena_printf(t->g->arena, "%s.slice%lld", beside->name, (long long)piece);
    return graph_op_as(t->g, OP_SLICE_ROWS, &whole, 1, &type, &(Attr){.begin = piece * rows}, PHASE_FORWARD,
                       beside->block, fresh_name(t, name), beside->span);
}

/* Node `node` for the tokens of one piece. */
static void tile_node(Tile *t, const Node *node, int64_t piece, int64_t rows) {
    Type *wish = NEW_ARRAY(t->scratch, Type, node->nout);
    Attr attr = node->attr;
    for (uint32_t i = 0; i < node->nout - node->nmut; i++) {
        const Type *whole = &t->from->value.at[node->out[i]].type;
        wish[i] = (Type){.dtype = whole->dtype, .rank = 2, .dim = {rows, whole->dim[whole->rank - 1]}};
        if (node->op == OP_CROSS_ENTROPY) wish[i].rank = 1, wish[i].dim[1] = 0;
    }
    if (op_info[node->op].flags & OPF_RANDOM) attr.element += piece * rows * wish[0].dim[1];
    const char *name = arena_printf(t->g->arena, "%s.tile%lld", node->name, (long long)piece);
    NodeId id = graph_node_as(t->g, node->op, moved_inputs(t, node), node->nin, node->nmut, node->nout, wish,
                              &attr, PHASE_FORWARD, node->block, fresh_name(t, name), node->span);
    for (uint32_t i = 0; i < node->nout; i++) t->now[node->out[i]] = t->g->node.at[id].out[i];
}

static void tile_region(Tile *t, uint32_t r) {
    const Region *region = &t->regions.at[r];
    const Graph *from = t->from;
    const Node *last = &from->node.at[region->last], *first = NULL;
    const Type *x_type = &from->value.at[region->x].type;
    int64_t rows = type_elements(x_type) / x_type->dim[x_type->rank - 1], tile = rows / region->pieces;
    bool loss = last->op == OP_CROSS_ENTROPY;
    ValueId whole[4], before[4], x = flat(t, t->now[region->x], rows, 2, last), x_before = t->now[region->x],
                                 piece[16];
    uint32_t beside = loss ? last->nin - 1 : 1; /* inputs 1 .. beside - 1 of the loss go by token too */
    for (uint32_t i = 1; i < beside; i++) {
        before[i] = t->now[last->in[i]];
        whole[i] = flat(t, before[i], rows, 1, last);
    }
    for (int64_t p = 0; p < region->pieces; p++) {
        for (NodeId n = region->first; n <= region->last; n++) {
            const Node *node = &from->node.at[n];
            if (t->region[n] != r) continue;
            if (!first) first = node;
            if (node == first) t->now[region->x] = slice(t, x, p, tile, first);
            for (uint32_t i = 1; i < beside && node == last; i++)
                t->now[last->in[i]] = slice(t, whole[i], p, tile, last);
            tile_node(t, node, p, tile);
        }
        if (loss)
            t->now[last->in[beside]] = t->now[last->out[1]];
        else
            piece[p] = t->now[region->y];
        t->now[region->x] = x_before;
    }
    for (uint32_t i = 1; i < beside; i++) t->now[last->in[i]] = before[i];
    if (loss) return;
    Type type = from->value.at[region->y].type;
    bool is_flat = type.rank == 2;
    const char *name = is_flat ? last->name : fresh_name(t, arena_printf(t->g->arena, "%s.join", last->name));
    ValueId y = graph_op(t->g, OP_JOIN_ROWS, piece, (uint32_t)region->pieces, NULL, PHASE_FORWARD,
                         last->block, name, last->span);
    t->now[region->y] = is_flat ? y : shape_as(t, y, type, last, last->name);
}

static ValueId moved(const Tile *t, ValueId v) {
    return v == NONE ? NONE : t->now[v];
}

static void copy_fields(Tile *t, bool chunked) {
    const Graph *from = t->from;
    Graph *g = t->g;
    for (uint32_t p = 0; p < from->param.count; p++) {
        Param *param = vec_add(g->arena, &g->param);
        *param = from->param.at[p];
        param->value = moved(t, param->value);
        param->moment1 = param->moment2 = param->master = param->accumulator = NONE;
    }
    for (uint32_t i = 0; i < from->block.count; i++) *vec_add(g->arena, &g->block) = from->block.at[i];
    g->tokens = moved(t, from->tokens);
    g->targets = moved(t, from->targets);
    g->mask = moved(t, from->mask);
    g->first_key = moved(t, from->first_key);
    g->last_query = moved(t, from->last_query);
    g->positions = moved(t, from->positions);
    g->logits = chunked ? NONE : moved(t, from->logits);
    g->batch = from->batch;
    g->context = from->context;
    g->accumulate = from->accumulate;
}

Graph *tile_tokens(const Graph *forward, const TileRule *rule, Arena *arena) {
    Tile t = {.from = forward, .rule = rule, .g = graph_new(arena), .scratch = arena_new()};
    t.names = map_new(t.scratch);
    t.reads = NEW_ARRAY(t.scratch, uint32_t, forward->value.count);
    t.inside = NEW_ARRAY(t.scratch, uint32_t, forward->value.count);
    t.region = NEW_ARRAY(t.scratch, uint32_t, forward->node.count);
    t.base = NEW_ARRAY(t.scratch, NodeId, forward->node.count);
    t.second = NEW_ARRAY(t.scratch, NodeId, forward->node.count);
    t.adapted = NEW_ARRAY(t.scratch, bool, forward->node.count);
    t.begins = NEW_ARRAY(t.scratch, bool, forward->node.count);
    t.now = NEW_ARRAY(t.scratch, ValueId, forward->value.count);
    for (ValueId v = 0; v < forward->value.count; v++) {
        const Value *value = &forward->value.at[v];
        map_set(t.names, value->name, 1);
        t.now[v] = value->def != NONE
                       ? NONE
                       : graph_value(t.g, value->type, value->kind, value->role, value->name, value->span);
    }
    find_adapters(&t);
    find_regions(&t);
    bool chunked = false;
    ValueId loss_sum = moved(&t, forward->loss_sum);
    for (NodeId n = 0; n < forward->node.count; n++) {
        uint32_t r = t.region[n];
        if (r == NONE) {
            copy_node(&t, &forward->node.at[n]);
        } else if (n == t.regions.at[r].last) {
            tile_region(&t, r);
            chunked |= forward->node.at[n].op == OP_CROSS_ENTROPY;
        }
    }
    copy_fields(&t, chunked);
    t.g->loss_sum = loss_sum;
    arena_free(t.scratch);
    return t.g;
}
