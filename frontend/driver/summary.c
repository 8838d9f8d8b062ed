/* See summary.h. In: a plan and its layout. Nothing is decided here. */
#include "frontend/driver/summary.h"

#include "ir/glob.h"
#include "frontend/driver/options.h"
#include "frontend/driver/profiles.h"
#include "ir/ops.h"
#include "planner/cost/packed.h"
#include "planner/layout/live.h"
#include "runtime/sizes.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static double tokens_of(const Graph *g) {
    return (double)(g->batch * g->context * g->accumulate);
}

/* Of a step's seconds, the shares that were measured, and interpolated. */
typedef struct Shares {
    double measured, interpolated;
} Shares;
static Shares shares_of(const Part *part) {
    const Graph *g = part->graph;
    double all = part->plan->wait_seconds;
    Shares shares = {0, 0};
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        const Step *step = &part->plan->step.at[s];
        if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        bool micro = g->node.at[step->node].phase != PHASE_UPDATE;
        double seconds = part->cost[step->node].seconds * (micro ? (double)g->accumulate : 1);
        all += seconds;
        if (part->cost[step->node].measured) shares.measured += seconds;
        if (part->cost[step->node].interpolated) shares.interpolated += seconds;
    }
    return all > 0 ? (Shares){shares.measured / all, shares.interpolated / all} : (Shares){0, 0};
}

const char *summary_sources(const EmitRequest *request, Arena *arena) {
    const Device *device = request->device;
    const char *figures =
        device->cuda
            ? arena_printf(arena, "%s's data sheet, at the share of it that each kernel %s", device->name,
                           device->capability == 90 ? "reached on an H100" : "is taken to reach")
            : arena_printf(arena, "figures for %s", device->about);
    if (!device->profile) return figures;
    const ProfileOrigin *origin = profile_origin(device->profile);
    const Shares shares = shares_of(&request->train);
    const char *times =
        arena_printf(arena, "times measured on %s (driver %s, %s)", profile_text(origin->card, arena),
                     profile_text(origin->driver, arena), profile_text(origin->compiler, arena));
    if (device->profile->others)
        times = arena_printf(arena, "%s, %u under another driver, clock or compiler left out", times,
                             device->profile->others);
    const double nearly_all = 0.9995; /* what the rest is from makes no difference */
    if (shares.measured > nearly_all) return times;
    times = arena_printf(arena, "%s, %.1f%% of the step", times, 100 * shares.measured);
    if (shares.interpolated >= 1 - nearly_all)
        times = arena_printf(arena, "%s, %.1f%% interpolated between them", times, 100 * shares.interpolated);
    if (shares.measured + shares.interpolated > nearly_all) return times;
    return arena_printf(arena, "%s, and %s", times, figures);
}

/* What a program does in its arena, one after the other. Loading, quantising, saving and merging go through a
 * buffer of the host's and use nothing of the arena but the tensors that stay. */
typedef struct Phases {
    int64_t bytes[4];
    int count, highest;
} Phases;
static const char *const phase_word[] = {"training", "evaluation", "sampling", "by the token"};
static const char *const phase_key[] = {"training", "evaluation", "sampling", "sampling_by_token"};

static Phases phases_of(const EmitRequest *request) {
    Phases phases = {.bytes = {request->train.layout->height_bytes, request->evaluate.layout->height_bytes,
                               request->sample.layout->height_bytes},
                     .count = 3};
    if (request->step.graph) phases.bytes[phases.count++] = request->step.layout->height_bytes;
    for (int i = 1; i < phases.count; i++)
        if (phases.bytes[i] > phases.bytes[phases.highest]) phases.highest = i;
    return phases;
}

/* Of keys and values that sampling keeps. */
static int64_t cache_bytes(const EmitRequest *request) {
    int64_t bytes = 0;
    const Part *step = &request->step;
    for (uint32_t b = 0; step->graph && b < step->layout->buf.count; b++) {
        const Buf *buf = &step->layout->buf.at[b];
        if (buf->persistent && step->graph->value.at[buf->value].role == ROLE_CACHE) bytes += buf->bytes;
    }
    return bytes;
}

static void add_sampling(const EmitRequest *request, Text *out) {
    char a[24];
    const int64_t context = request->sample.graph->context;
    if (request->step.graph)
        text_add(
            out, "  sampling        a token at a time%s; keys and values of %" PRId64 " tokens take %s\n",
            request->prompt_at_once ? arena_printf(out->arena, ", prompts of %" PRId64 " and more at once",
                                                   request->prompt_at_once)
                                    : "",
            context, format_bytes(cache_bytes(request), a));
    else
        text_add(out, "  sampling        %" PRId64 " tokens again for each token: %s\n", context,
                 request->why_no_step);
}

static void add_phases(const EmitRequest *request, Text *out) {
    const Phases phases = phases_of(request);
    char a[24];
    text_add(out, "  highest in      %s", phase_word[phases.highest]);
    for (int i = 0; i < phases.count; i++)
        if (i != phases.highest) text_add(out, "; %s %s", phase_word[i], format_bytes(phases.bytes[i], a));
    text_add(out, "\n");
}

/* What a step issues on a GPU. */
typedef struct Issued {
    int64_t first, later,
        update;        /* launches, fills and copies of micro-steps and the update: graphs' nodes */
    int64_t launches;  /* all of these in a step */
    int64_t transfers; /* of batches, numbers and results, in a step */
} Issued;

static Issued issued_in(const EmitRequest *request) {
    const Part *part = &request->train;
    const int judged = request->spec->guard_spread > 0;
    const Graph *g = part->graph;
    const Plan *plan = part->plan;
    Issued issued = {.first = 1, .update = judged}; /* the loss begins at zero; the guard decides */
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        const bool copies = step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH;
        if (!copies && step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        static const int one[] = {1, 1};
        const int *launches = copies ? one : part->cost[step->node].launches;
        if (s >= plan->update_begin) {
            issued.update += launches[0];
            continue;
        }
        issued.first += launches[0];
        issued.later += launches[1];
    }
    if (g->accumulate == 1) issued.later = 0;
    issued.launches = issued.first + (g->accumulate - 1) * issued.later + issued.update;
    const ValueId sent[] = {g->tokens, g->targets, g->mask, g->first_key, g->last_query, g->positions};
    issued.transfers = 1 + (g->norm_sum != NONE) + judged; /* the loss; what the guard made of it */
    for (size_t i = 0; i < COUNT_OF(sent); i++) issued.transfers += g->accumulate * (sent[i] != NONE);
    issued.transfers += g->accumulate; /* what differs between micro-steps */
    return issued;
}

static void add_launches(const EmitRequest *request, Text *out) {
    const Issued issued = issued_in(request);
    text_add(out, "  launches        %" PRId64 " a step, as graphs of %" PRId64 " nodes", issued.launches,
             issued.first);
    if (issued.later) text_add(out, " (%" PRId64 " in later micro-steps)", issued.later);
    if (issued.update) text_add(out, " and %" PRId64, issued.update);
    text_add(out, "; %" PRId64 " copies of batches and results\n", issued.transfers);
}

void summary_plan(const PlanSummary *summary, Text *out) {
    const EmitRequest *request = summary->request;
    const PlanResult *result = summary->result;
    const Part *train = &request->train;
    const Graph *g = train->graph;
    char a[24], b[24], c[24], d[24];
    text_add(out, "%s on %s, policy %s\n", request->spec->model, device_text(request->device, out->arena),
             policy_name[train->plan->policy]);
    text_add(out,
             "  micro-batch     B = %" PRId64 ", T = %" PRId64 ", %" PRId64
             " micro-step%s a step (%.0f tokens)\n",
             g->batch, g->context, g->accumulate, g->accumulate == 1 ? "" : "s", tokens_of(g));
    if (summary->budget.limited)
        text_add(out, "  budget          %s%s\n", format_bytes(summary->budget.device_bytes, a),
                 request->device->reserved_bytes
                     ? arena_printf(out->arena, " (%s of it reserved for the context)",
                                    format_bytes(request->device->reserved_bytes, b))
                     : "");
    text_add(out, "  peak            %s (%" PRId64 " bytes)\n", format_bytes(request->arena_bytes, a),
             request->arena_bytes);
    const int64_t *roles = live_at_peak(g, train->plan, train->layout, out->arena);
    int64_t total = 0;
    for (int r = 0; r < LIVE_COLUMNS; r++) {
        total += roles[r];
        if (roles[r]) text_add(out, "    %-21s %s\n", live_label[r], format_bytes(roles[r], a));
    }
    int64_t packed = train->layout->height_bytes;
    if (packed > total) text_add(out, "    %-21s %s\n", "packing", format_bytes(packed - total, a));
    if (request->arena_bytes > packed)
        text_add(out, "    %-21s %s\n", "evaluation, sampling",
                 format_bytes(request->arena_bytes - packed, a));
    if (!request->cuda)
        text_add(out,
                 "  process         %s beside that, and %s a thread: code, buffers, files on their way in "
                 "and out\n",
                 format_bytes(process_bytes(request), a), format_bytes(RT_THREAD_BYTES, b));
    add_phases(request, out);
    add_sampling(request, out);
    /* a plan that keeps dequantised weights takes more memory than policy none, and less time */
    double saved = 100.0 * (1 - (double)request->arena_bytes / (double)result->keep_all_bytes);
    double over = 100 * (train->plan->seconds / result->keep_all_seconds - 1);
    text_add(out, "  keep-all peak   %s; this plan %s %.1f%%%s\n", format_bytes(result->keep_all_bytes, a),
             saved < 0 ? "takes" : "saves", fabs(saved), saved < 0 ? " more" : "");
    text_add(out, "  smallest budget %s\n", format_bytes_up(summary->smallest_bytes, a));
    text_add(out, "  step time       %s, of which recomputation %s (%.2f%% %s keep-all), %.0f tokens/s\n",
             format_seconds(train->plan->seconds, a), format_seconds(train->plan->recompute_seconds, b),
             fabs(over), over < 0 ? "under" : "over", tokens_of(g) / train->plan->seconds);
    text_add(out, "  computed from   %s\n", summary_sources(request, out->arena));
    if (request->cuda) add_launches(request, out);
    if (train->plan->host_bytes)
        text_add(out, "  host memory     %s of %s; %s go out and back in a micro-step, operations wait %s\n",
                 format_bytes(train->plan->host_bytes, a), format_bytes(request->spec->host_bytes, b),
                 format_bytes(train->plan->offload_bytes, c), format_seconds(train->plan->wait_seconds, d));
    text_add(out, "  lower bound     %s; gap %.3f%%\n", format_seconds(result->lower_bound_seconds, a),
             100 * result->gap);
    if (summary->more_seconds > 0)
        text_add(out, "  %s more         %s a step (%.2f%% faster)\n", format_bytes(summary->more_bytes, a),
                 format_seconds(summary->more_seconds, b),
                 100 * (train->plan->seconds / summary->more_seconds - 1));
    for (uint32_t i = 0; i < result->reason.count; i++)
        text_add(out, "  because         %s\n", result->reason.at[i]);
    Decisions decisions = decisions_of(train, out->arena);
    text_add(out, "\n  %-40s %-16s %6s %6s %12s %12s%s\n", "forward operation", "op", "kept", "again",
             "kept bytes", "again time", decisions.moves ? "   away   away bytes" : "");
    for (uint32_t i = 0; i < decisions.row.count; i++) {
        const DecisionRow *row = &decisions.row.at[i];
        if (!row->kept && !row->recomputed && !row->moved) continue;
        text_add(out, "  %-40s %-16s %6u %6u %12s %12s", row->name, row->op, row->kept, row->recomputed,
                 row->kept_bytes ? format_bytes(row->kept_bytes, a) : "-",
                 row->recomputed ? format_seconds(row->recompute_seconds, b) : "-");
        if (decisions.moves)
            text_add(out, " %6u %12s", row->moved, row->moved ? format_bytes(row->moved_bytes, c) : "-");
        text_add(out, "\n");
    }
}

/* ---- why ---- */

/* One for each pin. */
static Glob **pin_globs(const Spec *spec, Arena *arena) {
    Glob **glob = NEW_ARRAY(arena, Glob *, spec->pin.count);
    for (uint32_t i = 0; i < spec->pin.count; i++) glob[i] = glob_new(arena, spec->pin.at[i].pattern);
    return glob;
}

static const char *pin_of(const Spec *spec, Glob *const *glob, const Node *node) {
    static const char *const word[] = {
        [PIN_KEEP] = "keep", [PIN_RECOMPUTE] = "recompute", [PIN_OFFLOAD] = "offload"};
    for (uint32_t i = spec->pin.count; i-- > 0;) /* the last that matches holds */
        if (glob_matches(glob[i], node->name)) return word[spec->pin.at[i].kind];
    return NULL;
}

/* Who reads the node's outputs in the backward phase; NULL when nobody does. */
static const char *backward_reader(const Graph *g, const Node *node) {
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *reader = &g->node.at[n];
        if (reader->phase != PHASE_BACKWARD || op_info[reader->op].flags & OPF_VIEW) continue;
        for (uint32_t i = 0; i < reader->nin; i++)
            for (uint32_t o = 0; o < node->nout; o++)
                if (graph_root(g, reader->in[i]) == node->out[o]) return reader->name;
    }
    return NULL;
}

/* Seconds to make the node's outputs again from what is kept: itself and everything before it that is not. */
static double chain_seconds(const Part *part, const Fates *fates, NodeId n, bool *seen) {
    const Graph *g = part->graph;
    if (seen[n]) return 0;
    seen[n] = true;
    double seconds = part->cost[n].seconds;
    const Node *node = &g->node.at[n];
    for (uint32_t i = 0; i < node->nin; i++) {
        ValueId root = graph_root(g, node->in[i]);
        if (!value_persistent(g, root) && !fates->kept[root])
            seconds += chain_seconds(part, fates, g->value.at[root].def, seen);
    }
    return seconds;
}

/* When a node's outputs leave for host memory, when they come back, and what that takes. */
static void add_moved(const PlanSummary *summary, const Fates *fates, const Node *node, int64_t bytes,
                      Text *out) {
    const Part *part = &summary->request->train;
    const Plan *plan = part->plan;
    char a[24], b[24];
    uint32_t leaves = NONE, gone = NONE, back = NONE;
    for (uint32_t o = 0; o < node->nout; o++) {
        uint32_t step = fates->moved[node->out[o]];
        if (step == NONE) continue;
        leaves = step;
        for (uint32_t s = step + 1; s < plan->step.count && back == NONE; s++) {
            if (plan->step.at[s].value != node->out[o]) continue;
            if (plan->step.at[s].kind == STEP_FREE && gone == NONE) gone = s;
            if (plan->step.at[s].kind == STEP_FETCH) back = s;
        }
        break;
    }
    text_add(
        out,
        "  away in host memory: %s copied out at step %u, off the device from step %u to %u; %s each way\n",
        format_bytes(bytes, a), leaves, gone, back,
        format_seconds((double)bytes / summary->request->device->copy_bytes_per_second, b));
}

/* How a product has its weight, where that is packed; else which variant its kernel is. */
static void add_way(const PlanSummary *summary, const Node *node, Text *out) {
    const Part *part = &summary->request->train;
    const Device *device = summary->request->device;
    static const char *const why[] = {[PACKED_MEASURED] = "the faster when both were measured",
                                      [PACKED_ASSUMED] = "as always where nothing was measured",
                                      [PACKED_ONLY] = "the only way for these shapes and types"};
    const PackedWay way = packed_way(part->graph, node);
    const int variant = part->cost[node - part->graph->node.at].variant;
    if (way != PACKED_NOT)
        text_add(out, "  its weight is dequantised %s, %s\n",
                 way == PACKED_WITHIN ? "within the product" : "apart from the product",
                 why[packed_reason(device, part->graph, node)]);
    else if (variant)
        text_add(out, "  its kernel is the variant %s, the fastest when they were measured\n",
                 k_variant_name(variant));
}

/* `scaled`: by a profile, which does not have it. */
static void add_source(const Cost *cost, bool scaled, Text *out) {
    const ProfileTime *time = cost->measured;
    char a[24], b[24];
    if (!time) {
        text_add(out, "  its time is %s: %s%s\n",
                 cost->interpolated ? "interpolated between those measured of its kind, by" : "computed from",
                 cost->source,
                 scaled && !cost->interpolated ? ", times what measured operations took of that" : "");
        return;
    }
    text_add(out, "  its time was measured: the median of %" PRId64 "%s, of which 80%% took %s to %s\n",
             time->count, time->within ? " whole steps" : "", format_seconds(time->p10_seconds, a),
             format_seconds(time->p90_seconds, b));
}

uint32_t summary_why(const PlanSummary *summary, const char *pattern, Text *out) {
    const Part *part = &summary->request->train;
    const Graph *g = part->graph;
    Fates fates = decisions_fates(part, out->arena);
    /* what a byte is worth: the time that a little more budget saves, over what it adds */
    double price = summary->more_seconds > 0
                       ? (part->plan->seconds - summary->more_seconds) / (double)summary->more_bytes
                       : 0;
    uint32_t found = 0;
    char a[24], b[24], c[24];
    Glob *wanted = glob_new(out->arena, pattern), **pinned = pin_globs(summary->request->spec, out->arena);
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        if (!decisions_covers(g, node) || !glob_matches(wanted, node->name)) continue;
        found++;
        int64_t bytes = 0, kept = decisions_kept_bytes(g, &fates, node);
        for (uint32_t o = 0; o < node->nout; o++) bytes += value_bytes(&g->value.at[node->out[o]]);
        double seconds = part->cost[n].seconds * (double)g->accumulate;
        double chain = chain_seconds(part, &fates, n, NEW_ARRAY(out->arena, bool, g->node.count)) *
                       (double)g->accumulate;
        const char *reader = backward_reader(g, node), *pin = pin_of(summary->request->spec, pinned, node);
        uint64_t runs = (uint64_t)g->accumulate * (1 + fates.again[n]);
        text_add(out, "%s: %s, %s, %s a run, %" PRIu64 " run%s a step\n", node->name, op_info[node->op].name,
                 format_bytes(bytes, a), format_seconds(part->cost[n].seconds, b), runs,
                 runs == 1 ? "" : "s");
        add_way(summary, node, out);
        add_source(&part->cost[n], summary->request->device->between != NULL, out);
        if (pin) text_add(out, "  pinned by the file: %s\n", pin);
        if (fates.again[n])
            text_add(out, "  recomputed %u time%s a micro-step, %s a step, for %s\n", fates.again[n],
                     fates.again[n] == 1 ? "" : "s", format_seconds(seconds * fates.again[n], b),
                     reader ? reader : "what is recomputed after it");
        if (kept)
            text_add(out, "  kept, %s, from forward to backward%s%s\n", format_bytes(kept, a),
                     reader ? " for " : "", reader ? reader : "");
        int64_t moved = decisions_moved_bytes(g, &fates, node);
        if (moved) add_moved(summary, &fates, node, moved, out);
        if (!fates.again[n] && !kept && !moved)
            text_add(out, reader ? "  in memory only around its readers\n"
                                 : "  freed at once: the backward phase does not read it\n");
        if (price > 0 && bytes && (kept || fates.again[n]))
            text_add(
                out,
                "  keeping costs its bytes over the peak at step %u (%s at this budget's price of %s a MiB);"
                " making it again from what is kept costs %s; both a step\n",
                fates.peak_step, format_seconds(price * (double)bytes, a), format_seconds(price * 0x1p20, b),
                format_seconds(chain, c));
        else if (kept && part->plan->seconds <= summary->result->keep_all_seconds)
            text_add(
                out,
                "  nothing is gained by recomputing it: a larger budget would not make the step faster\n");
    }
    return found;
}

static json_t *texts(const char *const *text, uint32_t count) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) json_add(list, json_text(text[i]));
    return list;
}

/* Products with packed weights, by whether they dequantise them themselves. */
static void add_ways(json_t *root, const Graph *g) {
    int64_t count[] = {[PACKED_NOT] = 0, [PACKED_WITHIN] = 0, [PACKED_APART] = 0};
    for (NodeId n = 0; n < g->node.count; n++) count[packed_way(g, &g->node.at[n])]++;
    if (!count[PACKED_WITHIN] && !count[PACKED_APART]) return;
    json_t *ways = json_object();
    json_set(ways, "within", json_integer(count[PACKED_WITHIN]));
    json_set(ways, "apart", json_integer(count[PACKED_APART]));
    json_set(root, "products_dequantising", ways);
}

static void add_device(json_t *root, const Device *device) {
    json_set(root, "device", json_text(device->name));
    json_set(root, "device_memory_bytes", json_integer(device->memory_bytes));
    json_set(root, "memory_pretended", json_boolean(device->memory_pretended));
}

json_t *summary_plan_tree(const PlanSummary *summary, Arena *arena) {
    const EmitRequest *request = summary->request;
    const PlanResult *result = summary->result;
    const Part *train = &request->train;
    const Graph *g = train->graph;
    json_t *root = json_object(), *peak = json_object(), *list = json_array();
    json_set(root, "feasible", json_true());
    json_set(root, "model", json_text(request->spec->model));
    add_device(root, request->device);
    json_set(root, "policy", json_text(policy_name[train->plan->policy]));
    json_set(root, "batch", json_integer(g->batch));
    json_set(root, "context", json_integer(g->context));
    json_set(root, "loss_chunks", json_integer(summary->tile.loss_chunks));
    json_set(root, "mlp_tiles", json_integer(summary->tile.mlp_tiles));
    json_set(root, "accumulate", json_integer(g->accumulate));
    json_set(root, "budget_bytes", json_integer(summary->budget.device_bytes));
    json_set(root, "reserved_bytes", json_integer(request->device->reserved_bytes));
    json_set(root, "peak_bytes", json_integer(request->arena_bytes));
    if (!request->cuda) {
        json_set(root, "process_bytes", json_integer(process_bytes(request)));
        json_set(root, "thread_bytes", json_integer(RT_THREAD_BYTES));
    }
    json_set(root, "live_bytes", json_integer(train->layout->live_bytes));
    const Phases phases = phases_of(request);
    json_t *each = json_object();
    for (int i = 0; i < phases.count; i++) json_set(each, phase_key[i], json_integer(phases.bytes[i]));
    json_set(root, "phase_bytes", each);
    json_set(root, "sampling_cache_bytes", json_integer(cache_bytes(request)));
    if (request->prompt_at_once)
        json_set(root, "sampling_prompt_at_once", json_integer(request->prompt_at_once));
    if (request->why_no_step) json_set(root, "sampling_without_cache", json_text(request->why_no_step));
    json_set(root, "persistent_bytes", json_integer(train->layout->persistent_bytes));
    json_set(root, "keep_all_bytes", json_integer(result->keep_all_bytes));
    json_set(root, "smallest_bytes", json_integer(summary->smallest_bytes));
    if (request->cuda) {
        const Issued issued = issued_in(request);
        json_t *nodes = json_object();
        json_set(nodes, "first_micro_step", json_integer(issued.first));
        json_set(nodes, "later_micro_step", json_integer(issued.later));
        json_set(nodes, "update", json_integer(issued.update));
        json_set(root, "graph_nodes", nodes);
        json_set(root, "launches", json_integer(issued.launches));
        json_set(root, "transfers", json_integer(issued.transfers));
    }
    add_ways(root, g);
    json_set(root, "seconds", json_number(train->plan->seconds));
    json_set(root, "recompute_seconds", json_number(train->plan->recompute_seconds));
    json_set(root, "wait_seconds", json_number(train->plan->wait_seconds));
    json_set(root, "host_budget_bytes", json_integer(request->spec->host_bytes));
    json_set(root, "host_bytes", json_integer(train->plan->host_bytes));
    json_set(root, "offload_bytes", json_integer(train->plan->offload_bytes));
    json_set(root, "keep_all_seconds", json_number(result->keep_all_seconds));
    json_set(root, "lower_bound_seconds", json_number(result->lower_bound_seconds));
    json_set(root, "gap", json_number(result->gap));
    if (request->device->profile) {
        const Shares shares = shares_of(train);
        json_set(root, "measured_share", json_number(shares.measured));
        json_set(root, "interpolated_share", json_number(shares.interpolated));
    }
    json_set(root, "tokens_per_second", json_number(tokens_of(g) / train->plan->seconds));
    if (summary->more_seconds > 0) {
        json_set(root, "more_bytes", json_integer(summary->more_bytes));
        json_set(root, "more_seconds", json_number(summary->more_seconds));
    }
    const int64_t *roles = live_at_peak(g, train->plan, train->layout, arena);
    for (int r = 0; r < LIVE_COLUMNS; r++) json_set(peak, live_label[r], json_integer(roles[r]));
    json_set(root, "peak", peak);
    json_set(root, "reasons", texts(result->reason.at, result->reason.count));
    Decisions decisions = decisions_of(train, arena);
    for (uint32_t i = 0; i < decisions.row.count; i++) {
        const DecisionRow *row = &decisions.row.at[i];
        json_add(list,
                 json_pack("{s:o, s:s, s:i, s:i, s:i, s:I, s:o, s:I}", "name", json_text(row->name), "op",
                           row->op, "kept", (int)row->kept, "recomputed", (int)row->recomputed, "away",
                           (int)row->moved, "kept_bytes", (json_int_t)row->kept_bytes, "recompute_seconds",
                           json_number(row->recompute_seconds), "away_bytes", (json_int_t)row->moved_bytes));
    }
    json_set(root, "decisions", list);
    return root;
}

void summary_plan_json(const PlanSummary *summary, Text *out) {
    json_tree_print(summary_plan_tree(summary, out->arena), 2, out);
}

void summary_infeasible_json(const Infeasible *answer, Text *out) {
    json_t *root = json_object(), *floor = json_object(), *error = json_object();
    json_set(root, "feasible", json_false());
    json_set(root, "model", json_text(answer->spec->model));
    add_device(root, answer->device);
    json_set(root, "policy", json_text(policy_name[answer->policy]));
    json_set(root, "batch", json_integer(answer->batch));
    json_set(root, "context", json_integer(answer->context));
    json_set(root, "budget_bytes", json_integer(answer->budget.device_bytes));
    json_set(root, "reserved_bytes", json_integer(answer->device->reserved_bytes));
    json_set(root, "smallest_bytes", json_integer(answer->smallest_bytes));
    for (uint32_t i = 0; i < answer->part.count; i++)
        json_set(floor, answer->part.at[i].name, json_integer(answer->part.at[i].bytes));
    json_set(root, "floor", floor);
    json_set(error, "exit", json_integer(EXIT_INFEASIBLE));
    json_set(error, "message", json_text(answer->message));
    json_set(error, "notes", texts(answer->note.at, answer->note.count));
    json_set(error, "help", texts(answer->help.at, answer->help.count));
    json_set(root, "error", error);
    json_tree_print(root, 2, out);
}

/* What a plan saves of keeping everything, and how much longer it takes: of the same B and tiles, as the
 * summary of a plan has it. */
static double saving(const CompareRow *row) {
    return 1 - (double)row->peak_bytes / (double)row->keep_all_bytes;
}

static double slowdown(const CompareRow *row) {
    return row->seconds / row->keep_all_seconds - 1;
}

static void compare_head(const Comparison *all, Text *out) {
    char a[24], b[24];
    text_add(out, "%s on %s", all->spec->model, device_text(all->device, out->arena));
    if (all->budget.limited) text_add(out, ", budget %s", format_bytes(all->budget.device_bytes, a));
    if (all->budget.limited && all->device->reserved_bytes)
        text_add(out, " (%s of it reserved for the context)", format_bytes(all->device->reserved_bytes, b));
    text_add(out, "\n");
}

void summary_compare(const Comparison *all, Text *out) {
    const CompareRow *row = all->row;
    char a[24], b[24], c[24];
    bool host = false, limit = all->budget.limited;
    for (uint32_t i = 0; i < all->rows; i++) host |= row[i].host_bytes > 0;
    compare_head(all, out);
    text_add(out, "%-14s %5s %12s %8s %12s %9s %10s%s%s\n", "policy", "B", "peak", "saving", "step",
             "slowdown", "tokens/s", host ? "         host" : "", limit ? "  fits" : "");
    for (uint32_t i = 0; i < all->rows; i++)
        text_add(out, "%-14s %5" PRId64 " %12s %7.1f%% %12s %8.2f%% %10.0f%s%s\n", policy_name[row[i].policy],
                 row[i].batch, format_bytes(row[i].peak_bytes, a), 100 * saving(&row[i]),
                 format_seconds(row[i].seconds, b), 100 * slowdown(&row[i]), row[i].tokens_per_second,
                 !host ? ""
                       : arena_printf(out->arena, " %12s",
                                      row[i].host_bytes ? format_bytes(row[i].host_bytes, c) : "-"),
                 !limit            ? ""
                 : row[i].feasible ? "  yes"
                                   : "  no");
    for (uint32_t i = 0; i < all->rows; i++)
        for (uint32_t j = 0; j < row[i].reasons; j++)
            text_add(out, "%s: %s\n", policy_name[row[i].policy], row[i].reason[j]);
    text_add(out, "smallest budget %s\n", format_bytes_up(all->smallest_bytes, a));
}

void summary_compare_json(const Comparison *all, Text *out) {
    json_t *root = json_object(), *list = json_array();
    bool any = false;
    for (uint32_t i = 0; i < all->rows; i++) any |= all->row[i].feasible;
    json_set(root, "feasible", json_boolean(any));
    json_set(root, "model", json_text(all->spec->model));
    add_device(root, all->device);
    json_set(root, "budget_bytes", json_integer(all->budget.device_bytes));
    json_set(root, "reserved_bytes", json_integer(all->device->reserved_bytes));
    json_set(root, "smallest_bytes", json_integer(all->smallest_bytes));
    for (uint32_t i = 0; i < all->rows; i++) {
        const CompareRow *row = &all->row[i];
        json_add(list, json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "policy",
                                 policy_name[row->policy], "fits", (int)row->feasible, "batch",
                                 (json_int_t)row->batch, "peak_bytes", (json_int_t)row->peak_bytes,
                                 "keep_all_bytes", (json_int_t)row->keep_all_bytes, "host_bytes",
                                 (json_int_t)row->host_bytes, "saving", saving(row), "seconds", row->seconds,
                                 "slowdown", slowdown(row), "tokens_per_second", row->tokens_per_second,
                                 "reasons", texts(row->reason, row->reasons)));
    }
    json_set(root, "policies", list);
    json_tree_print(root, 2, out);
}
