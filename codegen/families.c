/* In: a graph, whose repeated blocks are called by what `scope` says of them. Out: families of blocks, whose
 * names differ in numbers only, in the graph's order. */
#include "codegen/families.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *end_of_digits(const char *at) {
    while (isdigit((unsigned char)*at)) at++;
    return at;
}

/* Number `n` of a name, as digits; "" when it has fewer. */
static const char *number_of(const char *name, uint32_t n, size_t *length) {
    for (; *name; name++) {
        if (!isdigit((unsigned char)*name)) continue;
        const char *end = end_of_digits(name);
        *length = (size_t)(end - name);
        if (!n--) return name;
        name = end - 1;
    }
    *length = 0;
    return name;
}

/* The name with a star in place of number `only`; NONE: of all numbers. */
static const char *starred(Arena *arena, const char *name, uint32_t only) {
    Text out = {.arena = arena};
    text_add(&out, "%s", "");
    for (uint32_t n = 0; *name;) {
        const char *end = end_of_digits(name);
        bool number = end > name;
        if (!number) end = name + 1;
        if (number && (only == NONE || only == n))
            text_add(&out, "*");
        else
            text_add_n(&out, name, (size_t)(end - name));
        n += number;
        name = end;
    }
    return out.at;
}

/* The one number that differs between the members; NONE when there are more. */
static uint32_t differing_number(const Families *blocks, const Family *family) {
    const char *first = blocks->name.at[family->member.at[0]];
    uint32_t differing = NONE;
    size_t length, other_length;
    for (uint32_t n = 0;; n++) {
        const char *number = number_of(first, n, &length);
        bool differs = false;
        if (!length) return differing;
        for (uint32_t m = 1; m < family->member.count; m++) {
            const char *other = number_of(blocks->name.at[family->member.at[m]], n, &other_length);
            differs |= other_length != length || memcmp(other, number, length) != 0;
        }
        if (differs && differing != NONE) return NONE;
        if (differs) differing = n;
    }
}

static void number_members(const Families *blocks, Family *family, Arena *arena) {
    uint32_t n = differing_number(blocks, family);
    const char *first = blocks->name.at[family->member.at[0]];
    if (family->member.count < 2) family->name = first;
    if (n == NONE) return;
    family->name = starred(arena, first, n);
    family->numbered = strchr(first, '*') == NULL;
    for (uint32_t m = 0; m < family->member.count; m++) {
        size_t length;
        const char *digits = number_of(blocks->name.at[family->member.at[m]], n, &length);
        unsigned long number = length < 9 ? strtoul(digits, NULL, 10) : NONE;
        if (m == 0) family->first = (uint32_t)number;
        family->numbered &= number == family->first + m && (length == 1 || *digits != '0');
    }
}

static uint32_t add_block(Families *blocks, Arena *arena, const char *name) {
    uint32_t id = map_get(blocks->by_name, name);
    if (id != NONE) return id;
    map_set(blocks->by_name, name, blocks->name.count);
    *vec_add(arena, &blocks->name) = name;
    return blocks->name.count - 1;
}

/* "lm_head.tile3.bwd_x" -> "tile.3"; NULL when it is of no tile. A tile's rows are cut out in
 * "lm_head.slice3". */
static const char *tile_of(Arena *arena, const char *name) {
    static const char *const word[] = {".tile", ".slice"};
    for (size_t i = 0; i < COUNT_OF(word); i++) {
        const char *at = strstr(name, word[i]);
        if (!at) continue;
        const char *digits = at + strlen(word[i]), *end = end_of_digits(digits);
        if (end > digits && (!*end || *end == '.' || *end == '_'))
            return arena_printf(arena, "tile.%.*s", (int)(end - digits), digits);
    }
    return NULL;
}

Families *families_find(const Graph *g, Arena *arena) {
    Families *blocks = NEW(arena, Families);
    Map *families = map_new(arena);
    blocks->by_name = map_new(arena);
    blocks->of_node = NEW_ARRAY(arena, uint32_t, g->node.count);
    for (uint32_t b = 0; b < g->block.count; b++) { /* ids stay as the graph has them */
        if (map_get(blocks->by_name, g->block.at[b]) == NONE) map_set(blocks->by_name, g->block.at[b], b);
        *vec_add(arena, &blocks->name) = g->block.at[b];
    }
    for (uint32_t n = 0; n < g->node.count; n++) {
        const Node *node = &g->node.at[n];
        const char *tile = node->block == NONE ? tile_of(arena, node->name) : NULL;
        blocks->of_node[n] = tile ? add_block(blocks, arena, tile) : node->block;
        if (node->phase == PHASE_UPDATE) blocks->of_node[n] = families_block(blocks, arena, node->name);
    }
    blocks->family = NEW_ARRAY(arena, uint32_t, blocks->name.count);
    blocks->ordinal = NEW_ARRAY(arena, uint32_t, blocks->name.count);
    for (uint32_t b = 0; b < blocks->name.count; b++) {
        const char *key = starred(arena, blocks->name.at[b], NONE);
        uint32_t f = map_get(families, key);
        if (f == NONE) {
            f = blocks->families.count;
            map_set(families, key, f);
            *vec_add(arena, &blocks->families) = (Family){.name = key};
        }
        Family *family = &blocks->families.at[f];
        blocks->family[b] = f;
        blocks->ordinal[b] = family->member.count;
        *vec_add(arena, &family->member) = b;
    }
    for (uint32_t f = 0; f < blocks->families.count; f++)
        number_members(blocks, &blocks->families.at[f], arena);
    return blocks;
}

uint32_t families_block(const Families *blocks, Arena *arena, const char *name) {
    char *prefix = arena_strdup(arena, name);
    for (char *dot; (dot = strrchr(prefix, '.'));) {
        *dot = 0;
        uint32_t block = map_get(blocks->by_name, prefix);
        if (block != NONE) return block;
    }
    return NONE;
}

const char *families_rest(const Families *blocks, uint32_t block, const char *name) {
    if (block == NONE) return name;
    size_t length = strlen(blocks->name.at[block]);
    bool begins = !strncmp(name, blocks->name.at[block], length) && name[length] == '.';
    return begins ? name + length + 1 : name;
}

const char *families_starred(const Families *blocks, uint32_t block, const char *name, Arena *arena) {
    const char *rest = families_rest(blocks, block, name);
    if (rest == name) return name;
    return arena_printf(arena, "%s.%s", blocks->families.at[blocks->family[block]].name, rest);
}
