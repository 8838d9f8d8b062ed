/* In: stretches of steps that are alike. Out: the function that does them,
 *
 *     static const struct train_forward_h_row {
 *         int layer;
 *         int64_t ln_1; // f32[16, 256, 128], 2.00 MiB
 *     } train_forward_h_rows[5] = {
 *         {1, 31457280, ...}, // h.1: steps 47 to 92, 27.10 MiB live
 *     ...
 *     static void train_forward_h(RtRun *run, const struct train_forward_h_row *at) {
 *         const struct h_row *w = &at_h[at->layer];
 *         CALL(layernorm, OUT(F32(at->ln_1, ...)), IN(..., F32(w->ln_1_weight, 128), ...), ...);
 *
 * A slot that is the same in all of them is a constant of the function; a persistent tensor of the stretch's
 * own block is found in its table; the others are columns, one for all slots that are the same in each of
 * them. */
#include "codegen/body.h"
#include "codegen/item.h"
#include "ir/ops.h"

#include <inttypes.h>
#include <string.h>

/* One number that the function calls by name. */
typedef struct Column {
    SlotKind kind;
    uint32_t slot; /* of a stretch: one that it stands for */
    const char *name;
} Column;

typedef struct Printer {
    PartNames *names;
    const Steps *steps;
    const Body *body;
    Arena *arena;
    uint32_t rows;
    const char **slot_text; /* by slot of a stretch */
    VEC(Column) column;     /* of the table */
    VEC(Column) constant;   /* offsets that are the same in every row */
    Map *known;             /* what a slot is in every row -> its text */
    const char **known_text;
    uint32_t knowns;
    bool uses_table[HOME_KIND_COUNT];
    uint32_t table[HOME_KIND_COUNT];
    Scope members;
} Printer;

static const Stretch *stretch_of(const Printer *p, uint32_t row) {
    return &p->steps->stretch.at[p->body->stretch.at[row]];
}

static const Slot *slot_of(const Printer *p, uint32_t row, uint32_t slot) {
    return &p->steps->slot.at[stretch_of(p, row)->slot + slot];
}

/* Whether a slot is the same buffer in every row. */
static bool same_buffer(const Steps *steps, const Body *body, uint32_t slot) {
    const Stretch *first = &steps->stretch.at[body->stretch.at[0]];
    for (uint32_t r = 1; r < body->stretch.count; r++) {
        const Stretch *other = &steps->stretch.at[body->stretch.at[r]];
        if (steps->slot.at[other->slot + slot].buffer != steps->slot.at[first->slot + slot].buffer)
            return false;
    }
    return true;
}

void bodies_find_users(PartNames *names) {
    const Steps *steps = names->steps;
    uint32_t buffers = steps->part->layout->buf.count;
    for (uint32_t b = 0; b < buffers; b++) names->buffer_user[b] = NONE;
    for (uint32_t i = 0; i < steps->body.count; i++) {
        const Body *body = &steps->body.at[i];
        const Stretch *first = &steps->stretch.at[body->stretch.at[0]];
        for (uint32_t s = 0; s < first->slots; s++) {
            const Slot *slot = &steps->slot.at[first->slot + s];
            if (slot->kind != SLOT_BUFFER || !names->buffer_name[slot->buffer]) continue;
            if (!same_buffer(steps, body, s)) continue;
            uint32_t *user = &names->buffer_user[slot->buffer];
            *user = *user == NONE || *user == i ? i : BUFFER_SHARED;
        }
    }
}

/* ---- what a slot is called ---- */

static const char *number_text(const Printer *p, const Slot *slot) {
    return arena_printf(p->arena, slot->kind == SLOT_WORKSPACE ? "INT64_C(%" PRId64 ")" : "%" PRId64,
                        slot->number);
}

static uint32_t home_of(const Printer *p, const Slot *slot) {
    const Part *part = p->steps->part;
    const Buf *buf = &part->layout->buf.at[slot->buffer];
    return buf->persistent ? homes_of_buffer(p->names->homes, part->graph, buf) : NONE;
}

/* A buffer that is the same in every row. */
static const char *buffer_text(Printer *p, uint32_t s) {
    const Slot *slot = slot_of(p, 0, s);
    uint32_t home = home_of(p, slot);
    if (home != NONE) {
        p->names->homes->home.at[home].used = true;
        return p->names->homes->home.at[home].text;
    }
    const char *text = p->names->buffer_name[slot->buffer];
    if (p->names->buffer_user[slot->buffer] == BUFFER_SHARED || map_get(p->known, text) != NONE) return text;
    map_set(p->known, text, 0);
    *vec_add(p->arena, &p->constant) = (Column){.kind = slot->kind, .slot = s, .name = text};
    return text;
}

/* "w->attn_qkv_weight", when it is that of the stretch's own block in every row; NULL otherwise. */
static const char *table_text(Printer *p, uint32_t slot) {
    const Homes *homes = p->names->homes;
    uint32_t first = home_of(p, slot_of(p, 0, slot));
    if (first == NONE || homes->home.at[first].table == NONE) return NULL;
    const Home *home = &homes->home.at[first];
    const HomeTable *table = &homes->table.at[home->table];
    const char *family = homes->blocks->families.at[table->family].name;
    for (uint32_t r = 0; r < p->rows; r++) {
        uint32_t block = stretch_of(p, r)->block, h = home_of(p, slot_of(p, r, slot));
        if (block == NONE || h == NONE) return NULL;
        const Home *other = &homes->home.at[h];
        if (other->table != home->table || other->column != home->column ||
            other->ordinal != p->steps->blocks->ordinal[block] ||
            strcmp(family, p->steps->blocks->families.at[p->steps->blocks->family[block]].name) != 0)
            return NULL;
    }
    if (p->uses_table[table->kind] && p->table[table->kind] != home->table) return NULL;
    p->uses_table[table->kind] = true;
    p->table[table->kind] = home->table;
    return arena_printf(p->arena, "%s->%s", home_row[table->kind], table->column.at[home->column].member);
}

/* What the buffer of a row is called, seen from the row's block: "attn.qkv", "before.mlp.add". */
static const char *name_in_row(const Printer *p, uint32_t row, uint32_t slot) {
    const Part *part = p->steps->part;
    const Families *blocks = p->steps->blocks;
    const Buf *buf = &part->layout->buf.at[slot_of(p, row, slot)->buffer];
    const char *name = part->graph->value.at[buf->value].name, *where = "";
    uint32_t own = stretch_of(p, row)->block, block = families_block(blocks, p->arena, name);
    if (own != NONE && block != NONE && blocks->family[own] == blocks->family[block]) {
        int64_t distance = (int64_t)blocks->ordinal[block] - (int64_t)blocks->ordinal[own];
        where = distance == 0 ? "" : distance < 0 ? "before." : "after.";
        if (distance < -1 || distance > 1)
            where = arena_printf(p->arena, "%s%d.", where, (int)(distance < 0 ? -distance : distance));
        name = families_rest(blocks, block, name);
    }
    return arena_printf(p->arena, "%s%s%s", buf->kind == BUF_HOST ? "pinned." : "", where, name);
}

/* The name that most rows have for it, of those the first. */
static const char *column_name(const Printer *p, uint32_t slot) {
    SlotKind kind = slot_of(p, 0, slot)->kind;
    const char *const other[SLOT_KIND_COUNT] = {[SLOT_WORKSPACE] = "workspace",
                                                [SLOT_TICKET] = "ticket",
                                                [SLOT_ATTRIBUTE] = slot_of(p, 0, slot)->attribute};
    if (kind != SLOT_BUFFER) return other[kind];
    Map *votes = map_new(p->arena);
    const char *best = NULL;
    uint32_t most = 0;
    for (int round = 0; round < 2; round++)
        for (uint32_t r = 0; r < p->rows; r++) {
            const char *name = name_in_row(p, r, slot);
            uint32_t count = map_get(votes, name);
            if (round == 0) {
                count = count == NONE ? 1 : count + 1;
                map_set(votes, name, count);
                if (count > most) most = count;
            } else if (!best && count == most) {
                best = name;
            }
        }
    return best;
}

/* One text for all slots that are the same in every row. */
static const char *column_text(Printer *p, uint32_t slot) {
    Text key = {.arena = p->arena};
    const Slot *first = slot_of(p, 0, slot);
    bool constant = true;
    text_add(&key, "%d %s", first->kind, first->attribute ? first->attribute : "");
    for (uint32_t r = 0; r < p->rows; r++) {
        const Slot *it = slot_of(p, r, slot);
        if (it->kind == SLOT_BUFFER)
            text_add(&key, " %u", it->buffer);
        else
            text_add(&key, " %" PRId64, it->number);
        constant &= it->number == first->number;
    }
    uint32_t known = map_get(p->known, key.at);
    if (known != NONE) return p->known_text[known];
    const char *text;
    if (constant && first->kind != SLOT_BUFFER) {
        text = number_text(p, first);
    } else if (constant) {
        text = name_unique(&p->members, name_identifier(p->arena, "at_", column_name(p, slot)));
        *vec_add(p->arena, &p->constant) = (Column){.kind = first->kind, .slot = slot, .name = text};
    } else {
        const char *member = name_unique(&p->members, name_member(p->arena, column_name(p, slot)));
        *vec_add(p->arena, &p->column) = (Column){.kind = first->kind, .slot = slot, .name = member};
        text = arena_printf(p->arena, "at->%s", member);
    }
    map_set(p->known, key.at, p->knowns);
    p->known_text[p->knowns++] = text;
    return text;
}

static const char *text_of_slot(Printer *p, uint32_t slot) {
    const Slot *first = slot_of(p, 0, slot);
    if (p->rows == 1) return first->kind == SLOT_BUFFER ? buffer_text(p, slot) : number_text(p, first);
    if (first->kind != SLOT_BUFFER) return column_text(p, slot);
    if (same_buffer(p->steps, p->body, slot)) return buffer_text(p, slot);
    const char *text = table_text(p, slot);
    return text ? text : column_text(p, slot);
}

/* ---- the function ---- */

static const char *function_name(Printer *p) {
    static const char *const kind_name[] = {"forward", "backward", "again", "update"};
    const Stretch *first = stretch_of(p, 0);
    const Families *blocks = p->steps->blocks;
    const Graph *g = p->steps->part->graph;
    const char *what = kind_name[first->kind], *only = NULL, *where = "model";
    bool one_operation = first->kind == STRETCH_UPDATE;
    for (uint32_t i = 0; i < first->items && one_operation; i++) {
        const Item *item = &p->steps->item.at[first->item + i];
        if (item->kind != ITEM_CALL && item->kind != ITEM_TAKE) continue;
        const char *name = op_info[g->node.at[p->steps->part->plan->step.at[item->step].node].op].name;
        one_operation = !only || !strcmp(name, only);
        only = name;
    }
    if (one_operation && only) what = only;
    if (first->block != NONE)
        where = p->rows > 1 ? blocks->families.at[blocks->family[first->block]].name
                            : blocks->name.at[first->block];
    char *name = name_squeeze(
        name_identifier(p->arena, "", arena_printf(p->arena, "%s_%s_%s", p->names->prefix, what, where)));
    return p->rows > 1 ? name_variant(&p->names->scope, name) : name_unique(&p->names->scope, name);
}

static int64_t live_in(const Printer *p, const Item *from, const Item *to) {
    int64_t most = 0;
    for (uint32_t s = from->step; s <= to->step; s++)
        if (p->steps->live[s] > most) most = p->steps->live[s];
    return most;
}

/* "steps 47 to 92, 27.10 MiB live" */
static void print_extent(const Printer *p, uint32_t row, Text *out) {
    const Stretch *stretch = stretch_of(p, row);
    if (!stretch->items) return;
    const Item *from = &p->steps->item.at[stretch->item], *to = from + stretch->items - 1;
    char live[24];
    if (from->step == to->step)
        text_add(out, "step %u", from->step);
    else
        text_add(out, "steps %u to %u", from->step, to->step);
    text_add(out, ", %s live", format_bytes(live_in(p, from, to), live));
}

static void print_column(const Printer *p, const Column *column, int width, Text *out) {
    const Slot *slot = slot_of(p, 0, column->slot);
    const Graph *g = p->steps->part->graph;
    char size[24];
    if (column->kind == SLOT_TICKET || column->kind == SLOT_ATTRIBUTE) {
        text_add(out, "    int64_t %s;\n", column->name);
        return;
    }
    const Buf *buf = &p->steps->part->layout->buf.at[slot->buffer];
    text_add(out, "    int64_t %s;%*s /* ", column->name, width - (int)strlen(column->name), "");
    if (slot->value != NONE) text_add(out, "%s, ", type_text(p->arena, &g->value.at[slot->value].type));
    text_add(out, "%s */\n", format_bytes(buf->bytes, size));
}

static uint32_t row_of_tables(const Printer *p, uint32_t row) {
    return p->steps->blocks->ordinal[stretch_of(p, row)->block];
}

static void print_table(const Printer *p, const BodyText *text, bool layer, Text *out) {
    const Families *blocks = p->steps->blocks;
    int *width = NEW_ARRAY(p->arena, int, p->column.count);
    int longest = 0; /* name */
    for (uint32_t c = 0; c < p->column.count; c++) {
        int length = (int)strlen(p->column.at[c].name);
        if (length > longest) longest = length;
    }
    text_add(out, "static const struct %s_row {\n", text->name);
    if (layer) text_add(out, "    int layer;\n");
    for (uint32_t c = 0; c < p->column.count; c++) {
        print_column(p, &p->column.at[c], longest, out);
        for (uint32_t r = 0; r < p->rows; r++) {
            int digits = snprintf(NULL, 0, "%" PRId64, slot_of(p, r, p->column.at[c].slot)->number);
            if (digits > width[c]) width[c] = digits;
        }
    }
    text_add(out, "} %s[%u] = {\n", text->rows, p->rows);
    for (uint32_t r = 0; r < p->rows; r++) {
        text_add(out, "    {");
        if (layer) text_add(out, "%2u, ", row_of_tables(p, r));
        for (uint32_t c = 0; c < p->column.count; c++)
            text_add(out, "%s%*" PRId64, c ? ", " : "", width[c],
                     slot_of(p, r, p->column.at[c].slot)->number);
        text_add(out, "}, /* %s: ", name_comment(p->arena, blocks->name.at[stretch_of(p, r)->block]));
        print_extent(p, r, out);
        text_add(out, " */\n");
    }
    text_add(out, "};\n");
}

static void print_heading(const Printer *p, Text *out) {
    static const char *const what[] = {"forward pass", "backward pass", "forward pass again", "update"};
    const Stretch *first = stretch_of(p, 0);
    const Families *blocks = p->steps->blocks;
    text_add(out, "/* %s", what[first->kind]);
    if (first->block == NONE)
        text_add(out, " outside the blocks: ");
    else if (p->rows == 1)
        text_add(out, " of %s: ", name_comment(p->arena, blocks->name.at[first->block]));
    if (p->rows == 1) {
        print_extent(p, 0, out);
    } else {
        text_add(out, " of %u blocks, %s ", p->rows, name_comment(p->arena, blocks->name.at[first->block]));
        text_add(out, "to %s; the first: ",
                 name_comment(p->arena, blocks->name.at[stretch_of(p, p->rows - 1)->block]));
        print_extent(p, 0, out);
    }
    text_add(out, " */\n");
}

/* Which tensor a later call takes. */
static void print_taken(const Printer *p, const Item *item, Text *out) {
    const Graph *g = p->steps->part->graph;
    const Families *blocks = p->steps->blocks;
    const Node *node = &g->node.at[p->steps->part->plan->step.at[item->step].node];
    if (item->tensor == op_tensors(node)) return;
    const Value *value = &g->value.at[node->in[item->tensor]];
    const char *name = value->name;
    if (p->rows > 1) name = families_starred(blocks, families_block(blocks, p->arena, name), name, p->arena);
    text_add(out, "    /* %s for %s: %s */\n", name_comment(p->arena, name), op_info[node->op].name,
             type_text(p->arena, &value->type));
}

/* What a step does, before its line. */
static void print_comment(const Printer *p, const Item *item, Text *out) {
    const Graph *g = p->steps->part->graph;
    const Step *step = &p->steps->part->plan->step.at[item->step];
    const Families *blocks = p->steps->blocks;
    char live[24], number[16] = "";
    if (item->kind == ITEM_FREE || item->kind == ITEM_WAIT) return;
    if (item->kind == ITEM_TAKE) {
        print_taken(p, item, out);
        return;
    }
    bool call = item->kind == ITEM_CALL;
    const Node *node = call ? &g->node.at[step->node] : NULL;
    ValueId value = call ? node->out[0] : step->value;
    const char *name = call ? node->name : g->value.at[value].name;
    if (p->rows == 1)
        snprintf(number, sizeof number, "%u ", item->step);
    else
        name = families_starred(blocks, families_block(blocks, p->arena, name), name, p->arena);
    text_add(out, "    /* %s%s %s: ", number,
             step->kind == STEP_RECOMPUTE ? "RECOMPUTE" : step_kind_name[step->kind],
             name_comment(p->arena, name));
    if (call) text_add(out, "%s -> ", op_info[node->op].name);
    text_add(out, "%s", type_text(p->arena, &g->value.at[value].type));
    if (!call) text_add(out, " %s host memory", item->kind == ITEM_OFFLOAD ? "to" : "from");
    if (p->rows == 1) text_add(out, "; live %s", format_bytes(p->steps->live[item->step], live));
    text_add(out, " */\n");
}

static void print_constant(const Printer *p, const Column *constant, Text *out) {
    const Slot *slot = slot_of(p, 0, constant->slot);
    const Part *part = p->steps->part;
    const Buf *buf = &part->layout->buf.at[slot->buffer];
    char size[24];
    text_add(out, "    const int64_t %s = INT64_C(%" PRId64 "); /* ", constant->name, slot->number);
    if (p->rows == 1) text_add(out, "[%u, %u) ", buf->lo, buf->hi);
    text_add(out, "%s, %s */\n", type_text(p->arena, &part->graph->value.at[slot->value].type),
             format_bytes(buf->bytes, size));
}

static void print_function(const Printer *p, const BodyText *text, Text *out) {
    static const char *const layer[] = {[TAKES_LAYER] = "layer", [TAKES_ROW] = "at->layer"};
    const Stretch *first = stretch_of(p, 0);
    const HomeTable *table = p->names->homes->table.at;
    text_add(out, "static void %s(RtRun *run", text->name);
    if (text->takes == TAKES_LAYER) text_add(out, ", int layer");
    if (text->takes == TAKES_ROW) text_add(out, ", const struct %s_row *at", text->name);
    text_add(out, ") {\n");
    for (HomeKind kind = 0; kind < HOME_KIND_COUNT; kind++)
        if (p->uses_table[kind])
            text_add(out, "    const struct %s *%s = &%s[%s];\n", table[p->table[kind]].row, home_row[kind],
                     table[p->table[kind]].name, layer[text->takes]);
    for (uint32_t c = 0; c < p->constant.count; c++) print_constant(p, &p->constant.at[c], out);
    for (uint32_t i = 0; i < first->items; i++) {
        const Item *item = &p->steps->item.at[first->item + i];
        print_comment(p, item, out);
        item_print(p->steps, item, p->slot_text + (item->slot - first->slot), out);
    }
    text_add(out, "}\n\n");
}

BodyText body_print(PartNames *names, uint32_t index, Text *out) {
    const Body *body = &names->steps->body.at[index];
    Arena *arena = out->arena;
    Printer p = {
        .names = names, .steps = names->steps, .body = body, .arena = arena, .rows = body->stretch.count};
    uint32_t slots = stretch_of(&p, 0)->slots;
    p.known = map_new(arena);
    p.known_text = NEW_ARRAY(arena, const char *, slots + 1);
    p.slot_text = NEW_ARRAY(arena, const char *, slots + 1);
    p.members = scope_new(arena, &names->scope);
    map_set(p.members.taken, "layer", 1);
    for (uint32_t i = 0; i < slots; i++) p.slot_text[i] = text_of_slot(&p, i);
    BodyText text = {.name = function_name(&p)};
    bool layer = false;
    for (HomeKind kind = 0; kind < HOME_KIND_COUNT; kind++) layer |= p.uses_table[kind];
    text.rows = arena_printf(arena, "%s_rows", text.name);
    text.takes = p.column.count ? TAKES_ROW : layer ? TAKES_LAYER : TAKES_NOTHING;
    print_heading(&p, out);
    if (text.takes == TAKES_ROW) print_table(&p, &text, layer, out);
    print_function(&p, &text, out);
    return text;
}
