/* What one execution of each node costs. In: a graph and a device; out: flops, bytes moved, workspace bytes
 * and seconds: those of the device's profile where the operation is in it, else, corrected by what is in it
 * (interpolate.h), by the roofline model
 * (Williams et al. 2009): the slower of arithmetic and memory traffic, each at the share of the device's peak
 * that the kernel reaches (kernels/rate.def), plus a fixed launch. A row of ir/op.def names the rule and the
 * class of rates; workspace is the kernels' own arithmetic, so plan and program agree. */
#include "planner/cost/cost.h"

#include "kernels/kernels.h"
#include "ir/ops.h"
#include "kernels/launches.h"
#include "kernels/rate.h"
#include "planner/cost/interpolate.h"
#include "planner/cost/operand.h"

#include <math.h>
#include <string.h>

typedef struct Work {
    double flops, bytes;
    double unpacked; /* bytes that pass the caches on the host alone, of a packed weight */
} Work;

static const Type *input_type(const Graph *g, const Node *node, uint32_t i) {
    return &g->value.at[node->in[i]].type;
}

static const Type *output_type(const Graph *g, const Node *node, uint32_t i) {
    return &g->value.at[node->out[i]].type;
}

static double traffic(const Graph *g, const Node *node) {
    double bytes = 0;
    for (uint32_t i = 0; i < node->nin; i++) bytes += (double)type_bytes(input_type(g, node, i));
    for (uint32_t i = 0; i < node->nout; i++) bytes += (double)type_bytes(output_type(g, node, i));
    return bytes;
}

static Work cost_view(const Graph *g, const Node *node) {
    (void)g, (void)node;
    return (Work){.flops = 0};
}

/* Operations by the element: a few each. */
static double element_flops(const Graph *g, const Node *node) {
    double flops = 0;
    for (uint32_t i = 0; i < node->nout; i++) flops += 8.0 * (double)type_elements(output_type(g, node, i));
    return flops;
}

/* A pass over the operands. */
static Work cost_stream(const Graph *g, const Node *node) {
    return (Work){.bytes = traffic(g, node), .flops = element_flops(g, node)};
}

/* Some rows of a table or value, as many as the output has. */
static Work cost_rows(const Graph *g, const Node *node) {
    return (Work){.bytes = 2.0 * (double)type_bytes(output_type(g, node, 0)),
                  .flops = element_flops(g, node)};
}

/* The rows that tokens, the first input, choose. */
static Work cost_lookup(const Graph *g, const Node *node) {
    Work work = cost_rows(g, node);
    work.bytes += (double)type_bytes(input_type(g, node, 0));
    return work;
}

static double last_dim(const Type *type) {
    return type->rank ? (double)type->dim[type->rank - 1] : 1.0;
}

/* The rows of two inputs, into caches. */
static Work cost_cache_rows(const Graph *g, const Node *node) {
    double bytes = 0;
    for (uint32_t i = 0; i < 2; i++) bytes += 2.0 * (double)type_bytes(input_type(g, node, i));
    return (Work){.bytes = bytes + (double)type_bytes(input_type(g, node, 2))};
}

/* What a packed weight stands for, in the type of the first input, passes the caches of the host once for
 * every tile of rows; on CUDA it does not leave a multiprocessor. */
static double unpacked(const Graph *g, const Node *node) {
    const Type *x = input_type(g, node, 0), *w = input_type(g, node, 1);
    if (dtype_bytes[w->dtype]) return 0;
    const double rows = (double)type_elements(x) / last_dim(x);
    return ceil(rows / K_PRODUCT_ROWS) * (double)(type_elements(w) * dtype_bytes[x->dtype]);
}

/* The rows of the first input, each element with `width` others. */
static Work matmul(const Graph *g, const Node *node, double width) {
    double outer = (double)type_elements(input_type(g, node, 0));
    return (Work){.flops = 2.0 * outer * width, .bytes = traffic(g, node), .unpacked = unpacked(g, node)};
}

/* x [.., I], w [O, I] */
static Work cost_linear(const Graph *g, const Node *node) {
    return matmul(g, node, (double)input_type(g, node, 1)->dim[0]);
}

/* dy [.., O], and w [O, I] or x [.., I] */
static Work cost_product(const Graph *g, const Node *node) {
    return matmul(g, node, last_dim(input_type(g, node, 1)));
}

/* Products of [T, E] x [E, T] a head, half of each when causal. */
static Work attention(const Graph *g, const Node *node, const Type *q, const Type *k, double products) {
    double flops = 2.0 * (double)type_elements(q) * (double)k->dim[1];
    if (node->attr.causal) flops *= 0.5;
    return (Work){.flops = flops * products, .bytes = traffic(g, node)};
}

static Work cost_attend(const Graph *g, const Node *node) {
    return attention(g, node, input_type(g, node, 0), input_type(g, node, 1), 2.0);
}

static Work cost_attend_bwd(const Graph *g, const Node *node) {
    return attention(g, node, input_type(g, node, 1), input_type(g, node, 2), 5.0);
}

/* The result is shaped as q, and as long as k; so is its gradient. */
static Work cost_attend_packed(const Graph *g, const Node *node) {
    return attention(g, node, output_type(g, node, 0), output_type(g, node, 0), 2.0);
}

static Work cost_attend_packed_bwd(const Graph *g, const Node *node) {
    return attention(g, node, input_type(g, node, 0), input_type(g, node, 0), 5.0);
}

typedef Work CostRule(const Graph *g, const Node *node);
static CostRule *const cost_rule[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, token, call, cost, rate)                                                                    \
    [OP_##NAME] = cost_##cost,
#include "ir/op.def"
#undef OP
};

static const KRateClass rate_class[OP_COUNT] = {
#define OP(NAME, name, min_in, max_in, min_out, max_out, place, flags, over, nan, shape, limit, gradient,    \
           tile, token, call, cost, rate)                                                                    \
    [OP_##NAME] = K_RATE_##rate,
#include "ir/op.def"
#undef OP
};

/* A node's operands as its kernel sees them. */
typedef struct Operands {
    KTensor *out, *in;
} Operands;

static Operands operands_of(const Graph *g, const Node *node, Arena *arena) {
    Operands x = {NEW_ARRAY(arena, KTensor, node->nout + 1), NEW_ARRAY(arena, KTensor, node->nin + 1)};
    for (uint32_t i = 0; i < node->nout; i++) x.out[i] = operand_of(&g->value.at[node->out[i]]);
    for (uint32_t i = 0; i < node->nin; i++) x.in[i] = operand_of(&g->value.at[node->in[i]]);
    return x;
}

static KAttr attributes_of(const Node *node) {
    KAttr attr;
    _Static_assert(sizeof attr == sizeof node->attr, "Attr and KAttr are pasted from one list");
    memcpy(&attr, &node->attr, sizeof attr);
    return attr;
}

static int launches(const Node *node, const Operands *x, bool first) {
    const KAttr attr = attributes_of(node);
    return k_launches(op_info[node->op].name, (int)node->nout, x->out, (int)node->nin, x->in, &attr, first);
}

static int64_t workspace(const Node *node, KTarget target, const Operands *x) {
    const KAttr attr = attributes_of(node);
    size_t bytes =
        k_workspace(target, op_info[node->op].name, (int)node->nout, x->out, (int)node->nin, x->in, &attr);
    return ((int64_t)bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

/* On the host the cores that multiply also bring the operands of a product into order, so that the one comes
 * on top of the other; elsewhere the slower of the two counts. */
static double seconds_of(const Graph *g, const Node *node, const Device *device, const Work *work,
                         const KRate *rate) {
    DType dtype = rate->unit == K_UNIT_MATRIX ? input_type(g, node, 0)->dtype : DT_F32;
    double flops = device->flops_per_second[dtype];
    if (flops <= 0) flops = device->flops_per_second[DT_F32];
    const double bytes = work->bytes + (device->cuda ? 0 : work->unpacked);
    double compute = work->flops / (flops * rate->arithmetic),
           move = bytes / (device->bytes_per_second * rate->memory);
    const bool in_turn = !device->cuda && rate->unit == K_UNIT_MATRIX;
    return (in_turn ? compute + move : compute > move ? compute : move) + device->launch_seconds;
}

/* What the device's profile, if there is one, has of a node. */
static void add_measured(const Graph *g, const Node *node, const Device *device, Arena *arena, Cost *cost) {
    if (!device->profile) return;
    Text key = {.arena = arena};
    profile_key(g, node, &key);
    cost->measured = profile_find(device->profile, key.at);
    if (cost->family) cost->variant = profile_variant(device->profile, key.at);
}

static const KChoice *chosen_product(const Node *node, const Device *device, const Operands *x) {
    KShape shape;
    if (!device->profile || !device->cuda ||
        !k_product_of(op_info[node->op].name, (int)node->nout, x->out, (int)node->nin, x->in, &shape))
        return NULL;
    return profile_product(device->profile, &shape);
}

double cost_roofline(const Graph *g, const Node *node, const Device *device, Arena *scratch) {
    const Work work = cost_rule[node->op](g, node);
    const Operands x = operands_of(g, node, scratch);
    const KRate rate = k_rate(device->capability, rate_class[node->op], x.out, x.in);
    return seconds_of(g, node, device, &work, &rate);
}

/* Of a node that the device's profile, if there is one, does not have. */
static double correction(const Graph *g, const Node *node, const Device *device, Cost *cost) {
    return device->between ? interpolation_ratio(device->between, g, node, cost->seconds, &cost->interpolated)
                           : 1;
}

static Cost cost_node(const Graph *g, const Node *node, const Device *device, Arena *scratch) {
    Cost cost = {0};
    Work work = cost_rule[node->op](g, node);
    Operands x = operands_of(g, node, scratch);
    KRate rate = k_rate(device->capability, rate_class[node->op], x.out, x.in);
    cost.flops = work.flops;
    cost.bytes = work.bytes + (device->cuda ? 0 : work.unpacked);
    const KTarget target = device->cuda ? K_CUDA : K_HOST;
    cost.workspace_bytes = workspace(node, target, &x);
    cost.family = k_variant_family_of(target, op_info[node->op].name, x.out, x.in);
    for (int later = 0; later < 2 && device->cuda; later++) cost.launches[later] = launches(node, &x, !later);
    cost.source = rate.source;
    add_measured(g, node, device, scratch, &cost);
    cost.product = chosen_product(node, device, &x);
    cost.seconds = seconds_of(g, node, device, &work, &rate);
    if (cost.measured)
        cost.seconds = cost.measured->median_seconds;
    else
        cost.seconds *= correction(g, node, device, &cost);
    return cost;
}

/* ---- nodes that cost the same: all that a cost depends on is alike, as in every block ---- */

static uint64_t hash_value(uint64_t hash, const Value *value) {
    const Type *type = &value->type;
    hash = hash_word(hash, (uint64_t)type->dtype << 32 | (uint32_t)type->rank);
    for (int i = 0; i < type->rank; i++) hash = hash_word(hash, (uint64_t)type->dim[i]);
    return hash_word(hash, (uint64_t)value->room);
}

static uint64_t hash_node(const Graph *g, const Node *node) {
    uint64_t hash = hash_word(HASH_SEED, (uint64_t)node->op << 32 | node->nin), word;
    for (size_t at = 0; at < sizeof node->attr; at += sizeof word) {
        memcpy(&word, (const char *)&node->attr + at, sizeof word);
        hash = hash_word(hash, word);
    }
    for (uint32_t i = 0; i < node->nin; i++) hash = hash_value(hash, &g->value.at[node->in[i]]);
    for (uint32_t i = 0; i < node->nout; i++) hash = hash_value(hash, &g->value.at[node->out[i]]);
    return hash;
}

static bool values_cost_alike(const Value *a, const Value *b) {
    return type_equal(&a->type, &b->type) && a->room == b->room;
}

static bool nodes_cost_alike(const Graph *g, const Node *a, const Node *b) {
    bool alike = a->op == b->op && a->nin == b->nin && a->nout == b->nout && a->nmut == b->nmut &&
                 !memcmp(&a->attr, &b->attr, sizeof a->attr);
    for (uint32_t i = 0; i < a->nin && alike; i++)
        alike = values_cost_alike(&g->value.at[a->in[i]], &g->value.at[b->in[i]]);
    for (uint32_t i = 0; i < a->nout && alike; i++)
        alike = values_cost_alike(&g->value.at[a->out[i]], &g->value.at[b->out[i]]);
    return alike;
}

Cost *cost_graph(const Graph *g, const Device *device, Arena *arena) {
    _Static_assert(sizeof(Attr) % sizeof(uint64_t) == 0, "attributes are hashed by words");
    Cost *cost = NEW_ARRAY(arena, Cost, g->node.count);
    Arena *scratch = arena_new(), *aside = arena_new();
    uint32_t places = 64;
    while (places < 2 * g->node.count) places *= 2;
    NodeId *known = arena_alloc_raw(aside, sizeof *known * places); /* by hash; NONE: a free place */
    memset(known, 0xff, sizeof *known * places);
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (op_info[node->op].flags & OPF_VIEW) continue;
        uint32_t at = (uint32_t)hash_node(g, node) & (places - 1);
        while (known[at] != NONE && !nodes_cost_alike(g, &g->node.at[known[at]], node))
            at = (at + 1) & (places - 1);
        if (known[at] != NONE) {
            cost[n] = cost[known[at]];
            continue;
        }
        known[at] = n;
        cost[n] = cost_node(g, node, device, scratch);
        arena_reset(scratch);
    }
    arena_free(aside);
    arena_free(scratch);
    return cost;
}
