/* See compile.h. */
#include "frontend/driver/compile.h"

#include "ir/check.h"
#include "ir/glob.h"
#include "ir/ops.h"
#include "planner/problem/memo.h"
#include "planner/problem/stats.h"
#include "kernels/cuda_sizes.h"

#include "frontend/driver/devices.h"
#include "frontend/driver/message.h"
#include "frontend/driver/profiles.h"
#include "frontend/driver/programs.h"
#include "frontend/driver/published.h"
#include "frontend/lower/lower.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int source_errors(const Compilation *c) {
    return message_fail_source(c->options, EXIT_SOURCE, c->diag);
}

/* What the command line says in place of the file, but for the budget, which may be a range there. */
static bool apply_options(const Compilation *c, Ast *ast, Diag *diag) {
    const Options *options = c->options;
    for (uint32_t i = 0; i < options->set.count; i++)
        if (!ast_override(ast, options->set.at[i], diag)) return false;
    if (options->device && !ast_override_option(ast, "device", options->device, diag)) return false;
    return !options->device_memory || ast_override_option(ast, "device-memory", options->device_memory, diag);
}

int compile_parse(Compilation *c) {
    const Options *options = c->options;
    size_t length;
    const char *text = NULL;
    int code = published_spec(options, c->arena, &text, &length);
    if (code >= 0) return code;
    c->imported = text;
    if (!text) text = read_file_head(c->arena, options->file, AST_LARGEST_BYTES + 1, &length);
    if (!text)
        return message_fail(c->options, EXIT_IO, "cannot read '%s': %s", options->file, strerror(errno));
    c->diag = diag_new(c->arena, options->file, text, length);
    c->ast = ast_parse(c->arena, options->file, text, length, c->diag);
    if (!c->ast) return source_errors(c);
    if (!apply_options(c, c->ast, c->diag)) return source_errors(c);
    if (options->budget && !ast_override_option(c->ast, "budget", options->budget, c->diag))
        return source_errors(c);
    return -1;
}

static int find_device(Compilation *c) {
    int code = devices_read(c->options, c->arena, c->spec.device, &c->device);
    if (code > 0) return code;
    if (code == 0) {
        uint32_t count;
        const char **names = devices_names(c->arena, &count);
        Text list = {.arena = c->arena};
        for (uint32_t i = 0; i < count; i++) text_add(&list, "%s%s", i ? ", " : "", names[i]);
        diag_error(c->diag, E0702, c->spec.device_span, "unknown device '%s'", c->spec.device);
        diag_note(c->diag, NO_SPAN, "known devices: %s", list.at);
        diag_suggest(c->diag, c->spec.device, names, count);
        return source_errors(c);
    }
    if (c->spec.device_memory_bytes) {
        c->device.memory_bytes = c->spec.device_memory_bytes;
        c->device.memory_pretended = true;
    }
    const char *target = c->options->target;
    if (target) c->device.cuda = !strcmp(target, "cuda");
    code = profiles_read(c->options, c->arena, &c->device);
    if (code >= 0) return code;
    if (c->device.flops_per_second[c->spec.compute] <= 0) {
        diag_error(c->diag, E0703, c->spec.device_span, "device '%s' has no arithmetic in %s", c->device.name,
                   dtype_name[c->spec.compute]);
        return source_errors(c);
    }
    c->policy = c->options->policy ? policy_find(c->options->policy) : POLICY_OPTIMAL;
    int64_t asked = c->spec.budget_bytes, has = c->device.memory_bytes;
    c->budget_capped = has && asked > has;
    c->budget = (Budget){.limited = asked || has,
                         .device_bytes = asked && !c->budget_capped ? asked : has,
                         .host_bytes = c->spec.host_bytes};
    return -1;
}

/* Pins are matched against what is planned: operations that were fused into others and views have no memory
 * that could be kept or freed. False, and said, where a pin fits nothing else. */
static bool pins_fit(const Compilation *c) {
    if (!c->spec.pin.count) return true;
    const Graph *g = stages_fused(c, c->forward, c->arena);
    bool all = true;
    for (uint32_t i = 0; i < c->spec.pin.count; i++) {
        const Pin *pin = &c->spec.pin.at[i];
        bool any = false;
        Glob *glob = glob_new(c->arena, pin->pattern);
        for (uint32_t n = 0; n < g->node.count && !any; n++) {
            const Node *node = &g->node.at[n];
            any = node->phase == PHASE_FORWARD && !(op_info[node->op].flags & OPF_VIEW) &&
                  glob_matches(glob, node->name);
        }
        if (any) continue;
        diag_error(c->diag, E0208, pin->span,
                   "'%s' names only views and operations that become part of the next one", pin->pattern);
        diag_help(c->diag, "`rematc dump --stage fuse` lists the names that are left");
        all = false;
    }
    return all;
}

/* Whether the device has the shared memory that attention keeps its tiles in. */
static bool heads_fit(const Compilation *c) {
    int64_t has = c->device.cuda ? device_block_bytes(&c->device) : INT64_MAX;
    bool all = true;
    for (uint32_t n = 0; n < c->forward->node.count; n++) {
        const Node *node = &c->forward->node.at[n];
        if (node->op != OP_ATTEND) continue;
        const Type *type = &c->forward->value.at[node->in[0]].type;
        const int64_t width = type->dim[3], bytes = k_cuda_attend_shared_bytes(type->dtype, width);
        int64_t most = width;
        if (bytes <= has) continue;
        while (most > 1 && k_cuda_attend_shared_bytes(type->dtype, most) > has) most--;
        diag_error(c->diag, E0326, node->span,
                   "attend: heads of %" PRId64 " numbers take %" PRId64
                   " bytes of shared memory a block, and %s has %" PRId64,
                   width, bytes, c->device.name, has);
        diag_help(c->diag, "heads of at most %" PRId64 " numbers fit it", most);
        all = false;
    }
    return all;
}

int compile_lower(Compilation *c) {
    bool fine = lower_spec(c->ast, c->diag, c->arena, &c->spec);
    c->forward = lower_graph(c->ast, &c->spec, 0, 0, c->diag, c->arena);
    c->known = memo_new(c->arena);
    c->programs = programs_new(c->arena);
    if (!fine || !c->forward) return source_errors(c);
    const char *broken = graph_check(c->forward, c->arena);
    if (broken) die("lowered graph: %s", broken);
    if (!pins_fit(c)) return source_errors(c);
    int code = find_device(c);
    if (code >= 0) return code;
    if (!heads_fit(c)) return source_errors(c);
    if (diag_warnings(c->diag) && !c->options->warned) message_diagnostics(c->options, c->diag);
    diag_mark_shown(c->diag);
    return -1;
}

Budget compile_arena_budget(const Compilation *c, Budget whole) {
    if (whole.limited) whole.device_bytes -= c->device.reserved_bytes;
    return whole;
}

bool compile_variant(const Compilation *c, const char *const *set, uint32_t count, Compilation *variant) {
    *variant = *c;
    variant->least = NULL; /* of another file */
    variant->asks_least = false;
    variant->diag = diag_new(c->arena, c->ast->path, c->ast->source, c->ast->length);
    variant->ast = ast_parse(c->arena, c->ast->path, c->ast->source, c->ast->length, variant->diag);
    bool fine = variant->ast && apply_options(c, variant->ast, variant->diag);
    for (uint32_t i = 0; fine && i < count; i++) fine = ast_override(variant->ast, set[i], variant->diag);
    if (!fine || !lower_spec(variant->ast, variant->diag, c->arena, &variant->spec)) return false;
    variant->budget.host_bytes = variant->spec.host_bytes;
    variant->forward = lower_graph(variant->ast, &variant->spec, 0, 0, variant->diag, c->arena);
    variant->programs = programs_new(c->arena);
    return variant->forward != NULL;
}

Compilation *compile_aside(const Compilation *c) {
    Arena *arena = arena_new();
    Compilation *aside = NEW(arena, Compilation);
    *aside = *c;
    aside->arena = arena;
    aside->least = NULL;
    aside->diag = diag_new(arena, c->ast->path, c->ast->source, c->ast->length);
    aside->programs = programs_new(arena);
    if (c->stats) aside->stats = NEW(arena, Stats);
    return aside;
}

void compile_aside_end(const Compilation *c, Compilation *aside) {
    if (c->stats) stats_add(c->stats, aside->stats);
    arena_free(aside->arena);
}

void compile_warn_capped(const Compilation *c) {
    char budget[24], memory[24];
    if (c->budget_capped)
        message_warn(c->options, "the budget of %s is more than %s has: planned for its %s",
                     format_bytes(c->spec.budget_bytes, budget), c->device.name,
                     format_bytes(c->device.memory_bytes, memory));
}
