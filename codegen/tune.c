/* In: a planned training program. Out: the source of a program that runs each of its distinct operations by
 * itself and takes their times (runtime/tune.h):
 *
 *     // h.0.mlp.fc and 5 more: 48 runs a step
 *     static void operation_3(RtRun *run, const int64_t *at) {
 *         CALL(linear, OUT(F32(at[0], 4, 256, 512)), IN(F32(at[1], ...), ...), NO_ATTR, NO_WORKSPACE);
 *     }
 *
 * Operations are distinct as records of a profile are. Those that take most of a step come first. A product
 * whose weight is packed is there in both ways, whichever the plan has. On the host the training program
 * itself stands before them, with which operation each of its calls is: whole steps are timed too. */
#include "codegen/emit.h"
#include "codegen/item.h"
#include "codegen/names.h"
#include "ir/ops.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct Kind {
    const char *key;
    const Graph *graph; /* the plan's; of what the plan does not have, that of Ways */
    const Cost *cost;   /* of its nodes */
    NodeId node;        /* the first of them */
    uint32_t nodes;     /* how many */
    int64_t runs;       /* a step, recomputation counted */
    double seconds;     /* of one run, as planned */
    double step; /* seconds a step of all runs; of what the plan does not have, of what it has in its place */
    uint32_t found; /* as which of them */
} Kind;

/* How products with packed weights may be done, each once: a node that dequantises the weight, the product of
 * what that makes, and the product that takes it packed. */
enum { WAY_DEQUANTIZE, WAY_APART, WAY_WITHIN, WAYS };
typedef struct Ways {
    Graph *graph;
    Cost *cost;
    Map *of_key; /* the first node of three, by the key of the last, where the target has a choice */
} Ways;

typedef struct Kinds {
    VEC(Kind) list;
    uint32_t *of_node; /* which of them each node of the graph is; NONE: a view */
    Map *of_key;
    Ways ways;
} Kinds;

static int by_seconds(const void *left, const void *right) {
    const Kind *a = left, *b = right;
    if (a->step != b->step) return a->step < b->step ? 1 : -1;
    return (a->found > b->found) - (a->found < b->found);
}

/* A step that is a call of its node's kernel. */
static bool is_call(const Graph *g, const Step *step) {
    return (step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE) &&
           !(op_info[g->node.at[step->node].op].flags & OPF_VIEW);
}

static ValueId like(Graph *g, const Value *value, Type type, ValueKind kind, Role role) {
    const ValueId v = graph_value(g, type, kind, role, value->name, value->span);
    g->value.at[v].room = value->room;
    return v;
}

static const char *key_of(const Graph *g, const Node *node, Arena *arena) {
    Text key = {.arena = arena};
    profile_key(g, node, &key);
    return key.at;
}

/* The ways of a product, where its weight is packed or dequantised; `known`: of which there are some. */
static void add_ways(const Graph *from, const Node *product, Graph *g, Map *known) {
    const Value *x = &from->value.at[product->in[0]], *weight = &from->value.at[product->in[1]];
    const Node *made = weight->def == NONE ? NULL : &from->node.at[weight->def];
    const Value *packed = made && made->op == OP_DEQUANTIZE ? &from->value.at[made->in[0]] : weight;
    if (dtype_bytes[packed->type.dtype]) return;
    Type stored = packed->type;
    stored.dtype = x->type.dtype;
    ValueId in[3];
    in[0] = like(g, x, x->type, VALUE_ACTIVATION, ROLE_ACTIVATION);
    const ValueId q = like(g, packed, packed->type, VALUE_FROZEN, ROLE_WEIGHT);
    if (product->nin > 2) { /* a bias, or what it is added to */
        const Value *third = &from->value.at[product->in[2]];
        in[2] = third->type.rank == 1 ? like(g, third, third->type, VALUE_FROZEN, ROLE_WEIGHT)
                                      : like(g, third, third->type, VALUE_ACTIVATION, third->role);
    }
    const NodeId first = g->node.count;
    in[1] = graph_op_as(g, OP_DEQUANTIZE, &q, 1, &stored, NULL, PHASE_FORWARD, NONE, product->name,
                        product->span);
    for (int way = WAY_APART; way < WAYS; way++, in[1] = q)
        graph_node(g, product->op, in, product->nin, 0, 1, &product->attr, PHASE_FORWARD, NONE, product->name,
                   product->span);
    const char *key = key_of(g, &g->node.at[first + WAY_WITHIN], g->arena);
    if (map_get(known, key) == NONE)
        map_set(known, key, first);
    else
        g->node.count = first; /* as one before */
}

static bool is_choice(const Ways *ways, NodeId first) {
    return ways->cost[first + WAY_WITHIN].family != K_FAMILY_NONE;
}

static Ways find_ways(const Graph *from, const Device *device, Arena *arena) {
    Ways ways = {.graph = graph_new(arena), .of_key = map_new(arena)};
    Map *known = map_new(arena);
    for (NodeId n = 0; n < from->node.count; n++) {
        const Node *node = &from->node.at[n];
        if (node->op == OP_LINEAR || node->op == OP_LINEAR_BWD_X) add_ways(from, node, ways.graph, known);
    }
    ways.cost = cost_graph(ways.graph, device, arena);
    for (NodeId first = 0; first < ways.graph->node.count; first += WAYS)
        if (is_choice(&ways, first))
            map_set(ways.of_key, key_of(ways.graph, &ways.graph->node.at[first + WAY_WITHIN], arena), first);
    return ways;
}

/* The kind of a node; a new one where there is none yet. */
static uint32_t kind_of(Kinds *kinds, const Graph *g, const Cost *cost, NodeId n, Arena *arena) {
    const char *key = key_of(g, &g->node.at[n], arena);
    uint32_t k = map_get(kinds->of_key, key);
    if (k != NONE) return k;
    k = kinds->list.count;
    map_set(kinds->of_key, key, k);
    *vec_add(arena, &kinds->list) =
        (Kind){.key = key, .graph = g, .cost = cost, .node = n, .seconds = cost[n].seconds, .found = k};
    return k;
}

/* What the plan does not have of a product's ways comes where that is which it has. */
static void add_other_ways(Kinds *kinds, Arena *arena) {
    const Ways *ways = &kinds->ways;
    for (NodeId first = 0; first < ways->graph->node.count; first += WAYS) {
        uint32_t k[WAYS];
        double step = 0;
        if (!is_choice(ways, first)) continue;
        for (int way = 0; way < WAYS; way++) {
            k[way] = kind_of(kinds, ways->graph, ways->cost, first + (NodeId)way, arena);
            const Kind *kind = &kinds->list.at[k[way]];
            if (kind->runs && kind->step > step) step = kind->step;
        }
        for (int way = 0; way < WAYS; way++) {
            Kind *kind = &kinds->list.at[k[way]];
            if (!kind->nodes) kind->nodes = 1;
            if (!kind->runs && step > kind->step) kind->step = step;
        }
    }
}

static Kinds find_kinds(const Part *part, const Device *device, Arena *arena) {
    const Graph *g = part->graph;
    Kinds kinds = {.of_node = NEW_ARRAY(arena, uint32_t, g->node.count), .of_key = map_new(arena)};
    kinds.ways = find_ways(g, device, arena);
    for (NodeId n = 0; n < g->node.count; n++) {
        kinds.of_node[n] = NONE;
        if (op_info[g->node.at[n].op].flags & OPF_VIEW) continue;
        kinds.of_node[n] = kind_of(&kinds, g, part->cost, n, arena);
        kinds.list.at[kinds.of_node[n]].nodes++;
    }
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        const Step *step = &part->plan->step.at[s];
        if (!is_call(g, step)) continue;
        bool micro = g->node.at[step->node].phase != PHASE_UPDATE;
        kinds.list.at[kinds.of_node[step->node]].runs += micro ? g->accumulate : 1;
    }
    for (uint32_t k = 0; k < kinds.list.count; k++)
        kinds.list.at[k].step = (double)kinds.list.at[k].runs * kinds.list.at[k].seconds;
    add_other_ways(&kinds, arena);
    uint32_t *place = NEW_ARRAY(arena, uint32_t, kinds.list.count + 1);
    qsort(kinds.list.at, kinds.list.count, sizeof *kinds.list.at, by_seconds);
    for (uint32_t k = 0; k < kinds.list.count; k++) place[kinds.list.at[k].found] = k;
    for (NodeId n = 0; n < g->node.count; n++)
        if (kinds.of_node[n] != NONE) kinds.of_node[n] = place[kinds.of_node[n]];
    return kinds;
}

/* ---- what tensors hold ---- */

/* Whether they are rows of the batch's tokens or targets. */
static bool are_tokens(const Graph *g, ValueId v) {
    while (g->value.at[v].def != NONE) {
        const Node *node = &g->node.at[g->value.at[v].def];
        if (node->op != OP_SLICE_ROWS && !(op_info[node->op].flags & OPF_VIEW)) return false;
        v = node->in[0];
    }
    return v == g->tokens || v == g->targets;
}

/* Moments and metrics are no less than 0, and so are what an operation says of rows beside its first output:
 * means, reciprocal deviations, sums of exponentials. */
static const char *fill_of(const Graph *g, ValueId v) {
    const Value *value = &g->value.at[v];
    if (v == g->last_query) return "LAST"; /* a document a row: its first keys, and positions, may be 0 */
    if (value->type.dtype == DT_I32) return are_tokens(g, v) ? "TOKENS" : "ZEROS";
    if (value->type.dtype != DT_F32 && value->type.dtype != DT_BF16) return "BYTES";
    if (value->role == ROLE_OPTIMIZER || value->role == ROLE_METRIC) return "POSITIVE";
    if (value->def == NONE || !value->out_index) return "SIGNED";
    const Value *first = &g->value.at[g->node.at[value->def].out[0]];
    return value->type.rank < first->type.rank ? "POSITIVE" : "SIGNED";
}

static int64_t vocabulary(const Graph *g) {
    int64_t least = 0;
    for (NodeId n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (node->op != OP_EMBED || !are_tokens(g, node->in[0])) continue;
        int64_t rows = g->value.at[node->in[1]].type.dim[0];
        if (!least || rows < least) least = rows;
    }
    return least;
}

/* ---- printing ---- */

static void print_tensor(int64_t bytes, DType dtype, const char *fill, Text *out) {
    text_add(out, "    {INT64_C(%" PRId64 "), K_%s, RT_FILL_%s},\n", bytes, dtype_macro[dtype], fill);
}

/* The same product of what dequantises its weight before, whose result is the tensor `at`; its workspace
 * follows. */
static void print_apart(const Ways *ways, NodeId first, uint32_t number, uint32_t at, Text *out) {
    const Graph *g = ways->graph;
    const Node *dequantize = &g->node.at[first + WAY_DEQUANTIZE], *product = &g->node.at[first + WAY_APART];
    const char *weight = arena_printf(out->arena, "at[%u]", at);
    const char *const of_dequantize[] = {weight, "at[2]"};
    VEC(const char *) slot = {0};
    *vec_add(out->arena, &slot) = "at[0]";
    *vec_add(out->arena, &slot) = "at[1]";
    *vec_add(out->arena, &slot) = weight;
    if (product->nin > 2) *vec_add(out->arena, &slot) = "at[3]";
    *vec_add(out->arena, &slot) = arena_printf(out->arena, "at[%u]", at + 1);
    text_add(out, "static void apart_%u(RtRun *run, const int64_t *at) {\n", number);
    item_print_call(g, dequantize, 0, of_dequantize, out);
    item_print_call(g, product, ways->cost[first + WAY_APART].workspace_bytes, slot.at, out);
    text_add(out, "}\n");
}

/* The function of an operation, with what is tried in its place, and the table of what they need. */
static void print_operation(const Kinds *kinds, const Kind *kind, uint32_t number, Text *out) {
    const Graph *g = kind->graph;
    const Node *node = &g->node.at[kind->node];
    const int64_t workspace = kind->cost[kind->node].workspace_bytes;
    const NodeId way = map_get(kinds->ways.of_key, kind->key);
    VEC(const char *) slot = {0};
    Text tensors = {.arena = out->arena};
    uint32_t places = 0;
    for (uint32_t i = 0; i < node->nout; i++) {
        const Value *value = &g->value.at[node->out[i]];
        bool shares = i >= node->nout - node->nmut;
        ValueId read = shares ? node->in[node->nin - (node->nout - i)] : NONE;
        *vec_add(out->arena, &slot) = arena_printf(out->arena, "at[%u]", places++);
        print_tensor(value_bytes(value), value->type.dtype, shares ? fill_of(g, read) : "NONE", &tensors);
    }
    for (uint32_t i = 0; i < node->nin; i++) {
        const Value *value = &g->value.at[node->in[i]];
        if (i >= node->nin - node->nmut) {
            *vec_add(out->arena, &slot) = slot.at[node->nout - (node->nin - i)];
            continue;
        }
        *vec_add(out->arena, &slot) = arena_printf(out->arena, "at[%u]", places++);
        print_tensor(value_bytes(value), value->type.dtype, fill_of(g, node->in[i]), &tensors);
    }
#define ATTR_F(name)
#define ATTR_I(name)                                                                                         \
    if (node->attr.name != 0)                                                                                \
        *vec_add(out->arena, &slot) = arena_printf(out->arena, "%" PRId64, node->attr.name);
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
    if (workspace) {
        *vec_add(out->arena, &slot) = arena_printf(out->arena, "at[%u]", places++);
        print_tensor(workspace, DT_F32, "NONE", &tensors);
    }
    if (way != NONE) {
        const Cost *apart = &kinds->ways.cost[way + WAY_APART];
        const Value *weight = &kinds->ways.graph->value.at[kinds->ways.graph->node.at[way].out[0]];
        print_tensor(value_bytes(weight), weight->type.dtype, "NONE", &tensors);
        if (apart->workspace_bytes) print_tensor(apart->workspace_bytes, DT_F32, "NONE", &tensors);
        print_apart(&kinds->ways, way, number, places, out);
    }
    text_add(out, "/* %s", name_comment(out->arena, node->name));
    if (kind->nodes > 1) text_add(out, " and %u more", kind->nodes - 1);
    text_add(out, ": %" PRId64 " run%s a step */\n", kind->runs, kind->runs == 1 ? "" : "s");
    text_add(out, "static void operation_%u(RtRun *run, const int64_t *at) {\n", number);
    item_print_call(g, node, workspace, slot.at, out);
    text_add(out, "}\nstatic const RtTuneTensor tensors_%u[] = {\n%s};\n\n", number, tensors.at);
}

/* Which operation each call is, of the plan's steps [begin, end). */
static uint32_t print_calls(const Part *part, const Kinds *kinds, const char *name, uint32_t begin,
                            uint32_t end, Text *out) {
    enum { A_LINE = 20 };
    uint32_t calls = 0;
    text_add(out, "static const int %s[] = {", name);
    for (uint32_t s = begin; s < end; s++) {
        const Step *step = &part->plan->step.at[s];
        if (!is_call(part->graph, step)) continue;
        text_add(out, "%s%u,", calls++ % A_LINE ? " " : "\n    ", kinds->of_node[step->node]);
    }
    text_add(out, calls ? "\n};\n" : "0};\n");
    return calls;
}

static void print_steps(const Part *part, const Kinds *kinds, Text *out) {
    const uint32_t all = part->plan->step.count, update = part->plan->update_begin;
    const uint32_t micro = print_calls(part, kinds, "micro_calls", 0, update, out);
    const uint32_t rest = print_calls(part, kinds, "update_calls", update, all, out);
    text_add(out,
             "static const RtTuneSteps steps = {\n    .time = rt_tune_steps,\n    .program = &program,\n    "
             ".micro_call = micro_calls,\n"
             "    .update_call = update_calls,\n    .micro_calls = %u,\n    .update_calls = %u,\n};\n\n",
             micro, rest);
}

static void print_table(const Kinds *kinds, Text *out) {
    text_add(out, "static const RtTuneOperation operations[] = {\n");
    for (uint32_t k = 0; k < kinds->list.count; k++) {
        const Kind *kind = &kinds->list.at[k];
        char digits[32];
        text_add(
            out,
            "    {\"%s\",\n     operation_%u, tensors_%u, (int)(sizeof tensors_%u / sizeof *tensors_%u), ",
            kind->key, k, k, k, k);
        text_add(out, "INT64_C(%" PRId64 "), %s, K_FAMILY_%s, ", kind->runs,
                 format_number(kind->seconds, digits), k_family_name(kind->cost[kind->node].family));
        if (map_get(kinds->ways.of_key, kind->key) == NONE)
            text_add(out, "NULL},\n");
        else
            text_add(out, "apart_%u},\n", k);
    }
    text_add(out, "};\n\n");
}

void emit_tuner_source(const EmitRequest *request, Text *out) {
    const Part *part = &request->train;
    const Device *device = request->device;
    Kinds kinds = find_kinds(part, device, out->arena);
    text_add(out,
             "/* Made by rematc from %s: times the %u distinct operations of a training step of %s\n"
             " * on %s, target %s, and writes them into a profile. runtime/tune.h explains the tables,\n"
             " * runtime/rt.h the notation. */\n"
             "#include \"runtime/tune.h\"\n\n",
             name_comment(out->arena, request->spec->path), kinds.list.count, request->spec->model,
             device_text(device, out->arena), request->cuda ? "cuda" : "host");
    if (!request->cuda) emit_training(request, out);
    for (uint32_t k = 0; k < kinds.list.count; k++) print_operation(&kinds, &kinds.list.at[k], k, out);
    print_table(&kinds, out);
    if (!request->cuda) print_steps(part, &kinds, out);
    text_add(out,
             "static const RtTuner tuner = {\n"
             "    .model = \"%s\",\n    .target = \"%s\",\n    .device = ",
             request->spec->model, request->cuda ? "cuda" : "host");
    emit_string(out, device->name);
    text_add(out,
             ",\n"
             "    .kernels = \"%016" PRIx64 "\",\n    .capability = %d,\n    .multiprocessors = %d,\n"
             "    .memory_bytes = INT64_C(%" PRId64 "),\n    .vocab = INT64_C(%" PRId64 "),\n"
             "    .context = INT64_C(%" PRId64 "),\n"
             "    .operation = operations,\n    .operations = %u,\n    .steps = %s,\n};\n\n",
             emit_kernels_hash(request->cuda), device->capability, device->multiprocessors,
             device->memory_pretended ? 0 : device->memory_bytes, vocabulary(part->graph),
             part->graph->context, kinds.list.count, request->cuda ? "NULL" : "&steps");
    text_add(out, "int main(int argc, char **argv) {\n    return rt_tune_main(&tuner, argc, argv);\n}\n");
}
