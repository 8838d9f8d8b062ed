/* Which blocks are of a kind: "h.0", "h.1", ... are the family "h.*". */
#ifndef REMAT_FAMILIES_H
#define REMAT_FAMILIES_H

#include "ir/graph.h"

typedef struct Family {
    const char *name; /* "model.layers.*": with a star where the members' names differ */
    VEC(uint32_t) member;
    bool numbered;  /* one number differs, and goes up by one from member to member ... */
    uint32_t first; /* ... from this one */
} Family;

/* The repeated blocks of a graph, then the tiles outside them ("tile.3"), each with what is computed of some
 * tokens. */
typedef struct Families {
    VEC(const char *) name;
    uint32_t *of_node;          /* by node: its block, NONE outside */
    uint32_t *family, *ordinal; /* by block: its family, its place among the members */
    VEC(Family) families;
    Map *by_name;
} Families;

Families *families_find(const Graph *g, Arena *arena);
/* The block of "h.0.attn.qkv", by its name; NONE when it has none. */
uint32_t families_block(const Families *blocks, Arena *arena, const char *name);
/* "h.0.attn.qkv" without its block: "attn.qkv". */
const char *families_rest(const Families *blocks, uint32_t block, const char *name);
/* "h.*.attn.qkv", where the name begins with its block's. */
const char *families_starred(const Families *blocks, uint32_t block, const char *name, Arena *arena);

#endif
