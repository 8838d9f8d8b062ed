/* In: a graph, its plan and layout. Out: the straight-line C of the steps, one call a step, one function for
 * each stretch of steps in the same phase and block, every offset a named constant. An update within the
 * micro-step stands in the stretch of the gradient it follows. Copies to host memory and back have a ticket
 * each, and a WAIT for it where the plan says so (planner/plan.h).
 * Invariant: the code does exactly the plan's steps in the plan's order. */
#include "codegen/emit.h"
#include "ir/ops.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

typedef struct Names {
    Arena *arena;
    const Part *part;
    Map *taken;
    const char **buffer_name; /* one a layout buffer */
    const char *prefix;
    uint32_t tickets; /* given out */
    uint32_t *ticket; /* by root: the copy its current instance must be waited for; NONE */
    bool *fetched;    /* by root: that copy is a fetch */
} Names;

/* "at_", "h.0.attn.qkv" -> "at_h_0_attn_qkv": what the prefix begins is no other name of C or of rt.h. */
static char *identifier(Arena *arena, const char *prefix, const char *name) {
    char *text = arena_printf(arena, "%s%s", prefix, name);
    for (char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c)) *c = '_';
    if (isdigit((unsigned char)text[0])) text = arena_printf(arena, "_%s", text);
    return text;
}

static char *unique(Names *names, char *wish) {
    char *name = wish;
    for (int n = 2; map_get(names->taken, name) != NONE; n++)
        name = arena_printf(names->arena, "%s_%d", wish, n);
    map_set(names->taken, name, 1);
    return name;
}

static const char *const dtype_macro[DT_COUNT] = {[DT_F32] = "F32", [DT_BF16] = "BF16", [DT_I32] = "I32"};

static void name_some(Names *names, Text *out, BufKind kind, bool persistent) {
    const Layout *layout = names->part->layout;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind != kind || buf->persistent != persistent) continue;
        const char *value = names->part->graph->value.at[buf->value].name;
        names->buffer_name[b] =
            unique(names, identifier(names->arena, kind == BUF_HOST ? "host_" : "at_", value));
        text_add(out, "#define %-40s INT64_C(%" PRId64 ")", names->buffer_name[b], buf->offset);
        char size[24];
        format_bytes(buf->bytes, size);
        if (persistent)
            text_add(out, " /* %s */\n", size);
        else
            text_add(out, " /* [%u, %u) %s */\n", buf->lo, buf->hi, size);
    }
}

static void name_buffers(Names *names, Text *out) {
    names->buffer_name = NEW_ARRAY(names->arena, const char *, names->part->layout->buf.count);
    text_add(out, "/* persistent: byte offsets into the arena */\n");
    name_some(names, out, BUF_VALUE, true);
    text_add(out, "/* transient: [first step, one past the last) */\n");
    name_some(names, out, BUF_VALUE, false);
    if (names->part->layout->host_bytes)
        text_add(out, "/* copies: byte offsets into pinned host memory */\n");
    name_some(names, out, BUF_HOST, false);
    text_add(out, "\n");
}

static void add_tensor(const Names *names, Text *out, ValueId value, uint32_t buffer) {
    const Value *tensor = &names->part->graph->value.at[value];
    const Type *type = &tensor->type;
    if (tensor->room)
        text_add(out, "ROOM(INT64_C(%" PRId64 "), %s, %s", tensor->room, dtype_macro[type->dtype],
                 names->buffer_name[buffer]);
    else
        text_add(out, "%s(%s", dtype_macro[type->dtype], names->buffer_name[buffer]);
    for (int i = 0; i < type->rank; i++) text_add(out, ", %" PRId64, type->dim[i]);
    text_add(out, ")");
}

static void add_attributes(Text *out, const Attr *attr) {
    const char *comma = "";
    char digits[32];
    Text list = {.arena = out->arena};
#define ATTR_F(name)                                                                                         \
    if (attr->name != 0)                                                                                     \
        text_add(&list, "%s." #name " = %s", comma, format_number(attr->name, digits)), comma = ", ";
#define ATTR_I(name)                                                                                         \
    if (attr->name != 0) text_add(&list, "%s." #name " = %" PRId64, comma, attr->name), comma = ", ";
#include "kernels/attr.def"
#undef ATTR_F
#undef ATTR_I
    if (list.length)
        text_add(out, "ATTR(%s)", list.at);
    else
        text_add(out, "NO_ATTR");
}

static void add_wait(Names *names, Text *out, ValueId root) {
    if (names->ticket[root] != NONE) text_add(out, "    WAIT(%u);\n", names->ticket[root]);
    names->ticket[root] = NONE;
}

/* OFFLOAD or FETCH. */
static void add_copy(Names *names, Text *out, uint32_t s, int64_t live_bytes) {
    const Part *part = names->part;
    const Step *step = &part->plan->step.at[s];
    const Value *value = &part->graph->value.at[step->value];
    const uint32_t *bind = &part->layout->bind.at[part->layout->first[s]];
    bool offload = step->kind == STEP_OFFLOAD;
    char live[24], size[24];
    text_add(out, "    /* %u %s %s: %s, %s %s host memory; live %s */\n", s, step_kind_name[step->kind],
             emit_comment(out->arena, value->name), type_text(out->arena, &value->type),
             format_bytes(value_bytes(value), size), offload ? "to" : "from", format_bytes(live_bytes, live));
    text_add(out, "    %s(%u, %s, %s, INT64_C(%" PRId64 "));\n", offload ? "OFFLOAD" : "FETCH",
             names->tickets, names->buffer_name[bind[0]], names->buffer_name[bind[1]], value_bytes(value));
    names->ticket[step->value] = names->tickets++;
    names->fetched[step->value] = !offload;
}

static void add_free(Names *names, Text *out, uint32_t s) {
    const Layout *layout = names->part->layout;
    uint32_t b = layout->bind.at[layout->first[s]];
    add_wait(names, out, names->part->plan->step.at[s].value);
    /* storage that another value took over in place is not dead yet */
    if (b != NONE && layout->buf.at[b].hi <= s + 1)
        text_add(out, "    FREE(%s, INT64_C(%" PRId64 "));\n", names->buffer_name[b],
                 layout->buf.at[b].bytes);
}

static void add_call(Names *names, Text *out, uint32_t s, int64_t live_bytes) {
    const Part *part = names->part;
    const Step *step = &part->plan->step.at[s];
    const Node *node = &part->graph->node.at[step->node];
    const uint32_t *bind = &part->layout->bind.at[part->layout->first[s]];
    char live[24];
    text_add(out, "    /* %u %s %s: %s -> %s; live %s */\n", s, step->kind == STEP_RUN ? "run" : "RECOMPUTE",
             emit_comment(out->arena, node->name), op_info[node->op].name,
             type_text(out->arena, &part->graph->value.at[node->out[0]].type),
             format_bytes(live_bytes, live));
    for (uint32_t i = 0; i < node->nin && names->tickets; i++) {
        ValueId root = graph_root(part->graph, node->in[i]);
        if (names->fetched[root]) add_wait(names, out, root);
        names->fetched[root] = false;
    }
    text_add(out, "    CALL(%s, OUT(", op_info[node->op].name);
    for (uint32_t i = 0; i < node->nout; i++) {
        if (i) text_add(out, ", ");
        add_tensor(names, out, node->out[i], bind[i]);
    }
    text_add(out, "),\n         IN(");
    for (uint32_t i = 0; i < node->nin; i++) {
        if (i) text_add(out, ", ");
        add_tensor(names, out, node->in[i], bind[node->nout + i]);
    }
    text_add(out, "),\n         ");
    add_attributes(out, &node->attr);
    uint32_t workspace = bind[node->nout + node->nin];
    if (workspace == NONE) {
        text_add(out, ", NO_WORKSPACE);\n");
    } else {
        const Buf *buf = &part->layout->buf.at[workspace];
        text_add(out, ", WORKSPACE(INT64_C(%" PRId64 "), INT64_C(%" PRId64 ")));\n", buf->offset, buf->bytes);
    }
}

/* Live bytes during each step, persistent ones included. */
static int64_t *live_at_steps(const Part *part, Arena *arena) {
    uint32_t steps = part->plan->step.count;
    int64_t *live = NEW_ARRAY(arena, int64_t, steps + 1);
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        if (buf->kind == BUF_HOST) continue;
        live[buf->lo] += buf->bytes;
        if (buf->hi <= steps) live[buf->hi] -= buf->bytes;
    }
    for (uint32_t s = 1; s <= steps; s++) live[s] += live[s - 1];
    return live;
}

/* The block a step belongs to: a FREE, a copy and, within the micro-step, an update go with the step before
 * them. */
static uint32_t step_group(const Part *part, uint32_t s, uint32_t previous) {
    const Step *step = &part->plan->step.at[s];
    if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) return previous;
    const Node *node = &part->graph->node.at[step->node];
    if (node->phase == PHASE_UPDATE && previous != NONE) return previous;
    /* recomputation belongs where it happens: with the backward step it serves */
    if (step->kind == STEP_RECOMPUTE) {
        for (uint32_t t = s + 1; t < part->plan->step.count; t++)
            if (part->plan->step.at[t].kind == STEP_RUN) {
                const Node *served = &part->graph->node.at[part->plan->step.at[t].node];
                if (served->phase == PHASE_UPDATE && previous != NONE) return previous;
                return (uint32_t)served->phase * 0x10000000u + (served->block & 0xfffffffu);
            }
    }
    return (uint32_t)node->phase * 0x10000000u + (node->block & 0xfffffffu);
}

static char *group_name(Names *names, uint32_t group) {
    const Graph *g = names->part->graph;
    uint32_t block = group & 0xfffffffu;
    const char *where = block < g->block.count ? g->block.at[block] : "model";
    return unique(names, identifier(names->arena, "",
                                    arena_printf(names->arena, "%s_%s_%s", names->prefix,
                                                 phase_name[group >> 28], where)));
}

static const char *emit_sequence(Names *names, Text *out, const char *name, const char *const *function,
                                 uint32_t count) {
    if (!count) return "NULL";
    text_add(out, "static void %s(RtRun *run) {\n", name);
    for (uint32_t i = 0; i < count; i++) text_add(out, "    %s(run);\n", function[i]);
    text_add(out, "}\n\n");
    map_set(names->taken, name, 1);
    return name;
}

void emit_steps(const Part *part, const char *prefix, Text *out, const char **micro, const char **update) {
    Arena *arena = out->arena;
    Names names = {.arena = arena, .part = part, .taken = map_new(arena), .prefix = prefix};
    names.ticket = NEW_ARRAY(arena, uint32_t, part->graph->value.count + 1);
    names.fetched = NEW_ARRAY(arena, bool, part->graph->value.count + 1);
    memset(names.ticket, 0xff, sizeof *names.ticket * part->graph->value.count);
    name_buffers(&names, out);
    int64_t *live = live_at_steps(part, arena);
    VEC(const char *) function = {0};
    uint32_t update_function = NONE, group = NONE;
    for (uint32_t s = 0; s < part->plan->step.count; s++) {
        uint32_t next = step_group(part, s, group);
        if (s == part->plan->update_begin)
            update_function = function.count, next = (uint32_t)PHASE_UPDATE << 28 | 0xfffffffu;
        else if (update_function != NONE)
            next = group;
        if (next != group) {
            if (group != NONE) text_add(out, "}\n\n");
            const char *name = group_name(&names, next);
            *vec_add(arena, &function) = name;
            text_add(out, "static void %s(RtRun *run) {\n", name);
            group = next;
        }
        const Step *step = &part->plan->step.at[s];
        if (step->kind == STEP_FREE)
            add_free(&names, out, s);
        else if (step->kind == STEP_OFFLOAD || step->kind == STEP_FETCH)
            add_copy(&names, out, s, live[s]);
        else
            add_call(&names, out, s, live[s]);
    }
    if (group != NONE) text_add(out, "}\n\n");
    uint32_t micro_count = update_function == NONE ? function.count : update_function;
    *micro =
        emit_sequence(&names, out, arena_printf(arena, "%s_micro_step", prefix), function.at, micro_count);
    *update = emit_sequence(&names, out, arena_printf(arena, "%s_update", prefix), function.at + micro_count,
                            function.count - micro_count);
    for (uint32_t b = 0; b < part->layout->buf.count; b++)
        if (names.buffer_name[b]) text_add(out, "#undef %s\n", names.buffer_name[b]);
    text_add(out, "\n");
}
