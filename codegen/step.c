/* In: a graph, its plan and layout. Out: the C of the steps: the functions of their stretches, and one that
 * calls them in the plan's order, in a loop where the same ones follow each other. */
#include "codegen/body.h"

#include <inttypes.h>

/* The constants of transient buffers that are called by name. */
static void name_buffers(PartNames *names, BufKind kind) {
    const Part *part = names->steps->part;
    for (uint32_t b = 0; b < part->layout->buf.count; b++) {
        const Buf *buf = &part->layout->buf.at[b];
        if (buf->kind != kind) continue;
        if (buf->persistent && homes_of_buffer(names->homes, part->graph, buf) != NONE) continue;
        names->buffer_name[b] =
            name_unique(&names->scope, name_identifier(names->scope.arena, kind == BUF_HOST ? "host_" : "at_",
                                                       part->graph->value.at[buf->value].name));
    }
}

static void print_constants(const PartNames *names, BufKind kind, Text *out) {
    const Layout *layout = names->steps->part->layout;
    const char *heading =
        kind == BUF_HOST
            ? "/* copies: byte offsets into pinned host memory, as the next */\n"
            : "/* transient tensors that several functions name: [first step, one past the last) */\n";
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind != kind || names->buffer_user[b] != BUFFER_SHARED) continue;
        char size[24];
        text_add(out, "%s#define %-40s INT64_C(%" PRId64 ") /* [%u, %u) %s */\n", heading,
                 names->buffer_name[b], buf->offset, buf->lo, buf->hi, format_bytes(buf->bytes, size));
        heading = "";
    }
}

/* ---- the calls ---- */

typedef struct Calls {
    const Steps *steps;
    const BodyText *body;
    uint32_t end;
} Calls;

/* What changes from call to call: the row. */
static int64_t argument(const Calls *calls, uint32_t i) {
    const Stretch *stretch = &calls->steps->stretch.at[i];
    BodyTakes takes = calls->body[stretch->body].takes;
    if (takes == TAKES_ROW) return stretch->row;
    return takes == TAKES_LAYER ? calls->steps->blocks->ordinal[stretch->block] : 0;
}

/* How often the `period` calls from `begin` on are made, each time with rows equally far on. */
static uint32_t times(const Calls *calls, uint32_t begin, uint32_t period) {
    uint32_t count = 1;
    for (;; count++)
        for (uint32_t k = begin; k < begin + period; k++) {
            uint32_t now = k + count * period;
            if (now >= calls->end || calls->steps->stretch.at[now].body != calls->steps->stretch.at[k].body)
                return count;
            if (argument(calls, now) - argument(calls, now - period) !=
                argument(calls, k + period) - argument(calls, k))
                return count;
        }
}

/* "7", "i", "31 - i", "2 * i + 1" */
static const char *progression(Arena *arena, int64_t first, int64_t step) {
    if (step == 0) return arena_printf(arena, "%" PRId64, first);
    if (step == -1) return arena_printf(arena, "%" PRId64 " - i", first);
    const char *i = step == 1 ? "i" : arena_printf(arena, "%" PRId64 " * i", step);
    return first ? arena_printf(arena, "%s + %" PRId64, i, first) : i;
}

static void print_call(const Calls *calls, uint32_t i, int64_t step, Text *out) {
    const BodyText *body = &calls->body[calls->steps->stretch.at[i].body];
    const char *row = progression(out->arena, argument(calls, i), step);
    if (body->takes == TAKES_NOTHING)
        text_add(out, "%s(run);\n", body->name);
    else if (body->takes == TAKES_LAYER)
        text_add(out, "%s(run, %s);\n", body->name, row);
    else
        text_add(out, "%s(run, &%s[%s]);\n", body->name, body->rows, row);
}

/* Prints the calls from `begin` on that repeat most, or one; how many these are. */
static uint32_t print_some(const Calls *calls, uint32_t begin, Text *out) {
    enum { MOST_PERIOD = 32 };
    uint32_t best = 1, most = 0;
    for (uint32_t period = 1; period <= MOST_PERIOD && begin + period <= calls->end; period++) {
        uint32_t count = times(calls, begin, period), covered = count > 1 ? count * period : 0;
        if (covered > most) best = period, most = covered;
    }
    text_add(out, "    ");
    if (!most) {
        print_call(calls, begin, 0, out);
        return 1;
    }
    text_add(out, "for (int i = 0; i < %u; i++) %s", most / best, best > 1 ? "{\n" : "");
    for (uint32_t k = begin; k < begin + best; k++) {
        if (best > 1) text_add(out, "        ");
        print_call(calls, k, argument(calls, k + best) - argument(calls, k), out);
    }
    if (best > 1) text_add(out, "    }\n");
    return most;
}

static const char *print_sequence(const Steps *steps, const BodyText *body, const char *name, uint32_t begin,
                                  uint32_t end, Text *out) {
    Calls calls = {.steps = steps, .body = body, .end = end};
    if (begin == end) return "NULL";
    text_add(out, "static void %s(RtRun *run) {\n", name);
    for (uint32_t i = begin; i < end;) i += print_some(&calls, i, out);
    text_add(out, "}\n\n");
    return name;
}

void emit_steps(const Part *part, const char *prefix, Homes *homes, Text *out, const char **micro,
                const char **update) {
    Arena *arena = out->arena;
    const Steps *steps = steps_cut(part, families_find(part->graph, arena), arena);
    PartNames names = {
        .steps = steps, .homes = homes, .scope = scope_new(arena, &homes->scope), .prefix = prefix};
    names.buffer_name = NEW_ARRAY(arena, const char *, part->layout->buf.count + 1);
    names.buffer_user = NEW_ARRAY(arena, uint32_t, part->layout->buf.count + 1);
    name_buffers(&names, BUF_VALUE);
    name_buffers(&names, BUF_HOST);
    bodies_find_users(&names);
    char *micro_name = name_unique(&names.scope, arena_printf(arena, "%s_micro_step", prefix));
    char *update_name = name_unique(&names.scope, arena_printf(arena, "%s_update", prefix));
    Text functions = {.arena = arena};
    BodyText *body = NEW_ARRAY(arena, BodyText, steps->body.count + 1);
    for (uint32_t b = 0; b < steps->body.count; b++) body[b] = body_print(&names, b, &functions);
    print_constants(&names, BUF_VALUE, out);
    print_constants(&names, BUF_HOST, out);
    text_add(out, "\n");
    text_add_n(out, functions.at, functions.length);
    *micro = print_sequence(steps, body, micro_name, 0, steps->update, out);
    *update = print_sequence(steps, body, update_name, steps->update, steps->stretch.count, out);
    for (uint32_t b = 0; b < part->layout->buf.count; b++)
        if (names.buffer_user[b] == BUFFER_SHARED) text_add(out, "#undef %s\n", names.buffer_name[b]);
    text_add(out, "\n");
}
