/* In: the training graph and its layout. Out: tables of byte offsets,
 *
 *     static const struct h_row {
 *         int64_t ln_1_weight; // f32[128], 512 B
 *         ...
 *     } at_h[6] = {
 *         {131072, 131584, ...}, // h.0
 *
 * and `#define at_lm_head_weight ...` for what stands outside. A family has tables where its blocks have the
 * same parameters in the same order. */
#include "codegen/homes.h"

#include <inttypes.h>
#include <string.h>

const char *const home_row[HOME_KIND_COUNT] = {"w", "master", "m", "v", "grad"};
static const char *const kind_prefix[HOME_KIND_COUNT] = {"", "master_", "m_", "v_", "grad_"};
static const char *const kind_text[HOME_KIND_COUNT] = {"weights", "masters of weights",
                                                       "first moments of weights",
                                                       "second moments of weights", "gradients of weights"};

ValueId home_value(const Param *param, HomeKind kind) {
    const ValueId value[HOME_KIND_COUNT] = {param->value, param->master, param->moment1, param->moment2,
                                            param->accumulator};
    return value[kind];
}

typedef VEC(uint32_t) Parameters;

static bool alike(const Value *a, const Value *b) {
    return type_equal(&a->type, &b->type) && a->room == b->room;
}

/* Whether the parameters of two blocks are the same but for the block. */
static bool same_parameters(const Homes *homes, uint32_t a_block, const Parameters *a, uint32_t b_block,
                            const Parameters *b) {
    const Graph *g = homes->graph;
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const Param *left = &g->param.at[a->at[i]], *right = &g->param.at[b->at[i]];
        if (strcmp(families_rest(homes->blocks, a_block, g->value.at[left->value].name),
                   families_rest(homes->blocks, b_block, g->value.at[right->value].name)) != 0)
            return false;
        for (HomeKind kind = 0; kind < HOME_KIND_COUNT; kind++) {
            ValueId x = home_value(left, kind), y = home_value(right, kind);
            if ((x == NONE) != (y == NONE)) return false;
            if (x == NONE) continue;
            if (homes->of_value[x] == NONE || homes->of_value[y] == NONE) return false;
            if (!alike(&g->value.at[x], &g->value.at[y])) return false;
        }
    }
    return true;
}

/* The states of a family's weights have the rows of the weights, where all of these have such a state. */
static const char *row_type(const Homes *homes, const HomeTable *table) {
    for (uint32_t t = 0; t < homes->table.count; t++) {
        const HomeTable *other = &homes->table.at[t];
        bool same = other->family == table->family && other->column.count == table->column.count;
        for (uint32_t c = 0; c < table->column.count && same; c++)
            same = !strcmp(other->column.at[c].member, table->column.at[c].member);
        if (same) return other->row;
    }
    return arena_printf(homes->arena, "%s_row", table->name + strlen("at_"));
}

static void add_table(Homes *homes, uint32_t f, HomeKind kind, const Parameters *of_block) {
    const Graph *g = homes->graph;
    const Family *family = &homes->blocks->families.at[f];
    uint32_t first = family->member.at[0];
    HomeTable table = {.family = f, .kind = kind};
    Scope members = scope_new(homes->arena, NULL);
    for (uint32_t i = 0; i < of_block[first].count; i++) {
        const Param *param = &g->param.at[of_block[first].at[i]];
        ValueId value = home_value(param, kind);
        if (value == NONE) continue;
        const char *rest = families_rest(homes->blocks, first, g->value.at[param->value].name);
        const char *member = name_unique(&members, name_member(homes->arena, rest));
        for (uint32_t m = 0; m < family->member.count; m++) {
            ValueId its = home_value(&g->param.at[of_block[family->member.at[m]].at[i]], kind);
            homes->home.at[homes->of_value[its]].table = homes->table.count;
            homes->home.at[homes->of_value[its]].column = table.column.count;
            homes->home.at[homes->of_value[its]].ordinal = m;
        }
        *vec_add(homes->arena, &table.column) = (HomeColumn){.member = member, .first = value};
    }
    if (!table.column.count) return;
    char *stem = name_squeeze(name_identifier(homes->arena, kind_prefix[kind], family->name));
    table.name = name_unique(&homes->scope, arena_printf(homes->arena, "at_%s", stem));
    table.row = row_type(homes, &table);
    *vec_add(homes->arena, &homes->table) = table;
}

static void find_tables(Homes *homes) {
    const Graph *g = homes->graph;
    const Families *blocks = homes->blocks;
    Parameters *of_block = NEW_ARRAY(homes->arena, Parameters, blocks->name.count);
    for (uint32_t p = 0; p < g->param.count; p++) {
        uint32_t block = families_block(blocks, homes->arena, g->value.at[g->param.at[p].value].name);
        if (block != NONE) *vec_add(homes->arena, &of_block[block]) = p;
    }
    for (uint32_t f = 0; f < blocks->families.count; f++) {
        const Family *family = &blocks->families.at[f];
        uint32_t first = family->member.at[0];
        bool same = family->member.count > 1;
        for (uint32_t m = 1; m < family->member.count; m++)
            same &= same_parameters(homes, first, &of_block[first], family->member.at[m],
                                    &of_block[family->member.at[m]]);
        for (HomeKind kind = 0; same && kind < HOME_KIND_COUNT; kind++) add_table(homes, f, kind, of_block);
    }
}

Homes *homes_find(const Graph *g, const Layout *layout, const Families *blocks, Arena *arena) {
    Homes *homes = NEW(arena, Homes);
    *homes = (Homes){.arena = arena, .graph = g, .blocks = blocks, .by_name = map_new(arena)};
    homes->scope = scope_new(arena, NULL);
    homes->of_value = NEW_ARRAY(arena, uint32_t, g->value.count);
    memset(homes->of_value, 0xff, sizeof *homes->of_value * g->value.count);
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind != BUF_VALUE || !buf->persistent) continue;
        homes->of_value[buf->value] = homes->home.count;
        map_set(homes->by_name, g->value.at[buf->value].name, homes->home.count);
        *vec_add(arena, &homes->home) = (Home){
            .name = g->value.at[buf->value].name, .offset = buf->offset, .bytes = buf->bytes, .table = NONE};
    }
    find_tables(homes);
    for (uint32_t h = 0; h < homes->home.count; h++) {
        Home *home = &homes->home.at[h];
        if (home->table == NONE) {
            home->text = name_unique(&homes->scope, name_identifier(arena, "at_", home->name));
            continue;
        }
        const HomeTable *table = &homes->table.at[home->table];
        home->text = arena_printf(arena, "%s[%u].%s", table->name, home->ordinal,
                                  table->column.at[home->column].member);
    }
    return homes;
}

uint32_t homes_of_buffer(const Homes *homes, const Graph *g, const Buf *buf) {
    uint32_t home = map_get(homes->by_name, g->value.at[buf->value].name);
    return home != NONE && homes->home.at[home].offset == buf->offset ? home : NONE;
}

static const char *table_type(const Graph *g, const HomeTable *table) {
    const DType first = g->value.at[table->column.at[0].first].type.dtype;
    for (uint32_t c = 1; c < table->column.count; c++)
        if (g->value.at[table->column.at[c].first].type.dtype != first) return "more than one type";
    return dtype_name[first];
}

static void print_table(const Homes *homes, const HomeTable *table, Text *out) {
    const Graph *g = homes->graph;
    const Family *family = &homes->blocks->families.at[table->family];
    const char *const *block = homes->blocks->name.at;
    uint32_t rows = family->member.count, columns = table->column.count;
    int64_t *offset = NEW_ARRAY(homes->arena, int64_t, rows * columns), most = 0;
    char size[24];
    for (uint32_t h = 0; h < homes->home.count; h++) {
        const Home *home = &homes->home.at[h];
        if (home->table != NONE && &homes->table.at[home->table] == table)
            offset[home->ordinal * columns + home->column] = home->offset;
        if (home->offset > most) most = home->offset;
    }
    int width = snprintf(NULL, 0, "%" PRId64, most);
    const char *type = table_type(g, table);
    text_add(out, "/* %s of %s, in %s: a row a block, a column a tensor */\nstatic const struct %s ",
             kind_text[table->kind], name_comment(homes->arena, family->name), type, table->row);
    bool first = true; /* of its type of rows */
    int longest = 0;   /* name of a column */
    for (uint32_t c = 0; c < columns; c++) {
        int length = (int)strlen(table->column.at[c].member);
        if (length > longest) longest = length;
    }
    for (const HomeTable *other = homes->table.at; other < table; other++) first &= other->row != table->row;
    if (first) text_add(out, "{\n");
    for (uint32_t c = 0; c < columns && first; c++) {
        const Value *value = &g->value.at[table->column.at[c].first];
        text_add(out, "    int64_t %s;%*s /* %s, %s */\n", table->column.at[c].member,
                 longest - (int)strlen(table->column.at[c].member), "", type_text(homes->arena, &value->type),
                 format_bytes(value_bytes(value), size));
    }
    text_add(out, "%s%s[%u] = {\n", first ? "} " : "", table->name, rows);
    for (uint32_t r = 0; r < rows; r++) {
        text_add(out, "    {");
        for (uint32_t c = 0; c < columns; c++)
            text_add(out, "%s%*" PRId64, c ? ", " : "", width, offset[r * columns + c]);
        text_add(out, "}, /* %s */\n", name_comment(homes->arena, block[family->member.at[r]]));
    }
    text_add(out, "};\n\n");
}

void homes_print(const Homes *homes, Text *out) {
    char size[24];
    for (uint32_t h = 0; h < homes->home.count; h++) {
        const Home *home = &homes->home.at[h];
        if (home->table == NONE && home->used)
            text_add(out, "#define %-40s INT64_C(%" PRId64 ") /* %s */\n", home->text, home->offset,
                     format_bytes(home->bytes, size));
    }
    text_add(out, "\n");
    for (uint32_t t = 0; t < homes->table.count; t++) print_table(homes, &homes->table.at[t], out);
}
