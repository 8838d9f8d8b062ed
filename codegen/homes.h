/* Where persistent tensors lie, in the emitted source: those of repeated blocks in tables, a row a block, a
 * column a tensor, one table for the weights and one for each of their states; all others in a constant each.
 * The whole program shares them. */
#ifndef REMAT_HOMES_H
#define REMAT_HOMES_H

#include "codegen/families.h"
#include "codegen/emit.h"
#include "codegen/names.h"
#include "planner/plan.h"

typedef enum HomeKind {
    HOME_WEIGHT,
    HOME_MASTER,
    HOME_MOMENT1,
    HOME_MOMENT2,
    HOME_GRADIENT,
    HOME_KIND_COUNT
} HomeKind;
/* What a function over the rows calls a table's row: "w", "m", ... */
extern const char *const home_row[HOME_KIND_COUNT];
/* A parameter, or a state of it. */
ValueId home_value(const Param *param, HomeKind kind);

typedef struct HomeColumn {
    const char *member; /* "self_attn_q_proj_weight" */
    ValueId first;      /* the tensor of row 0 */
} HomeColumn;

typedef struct HomeTable {
    const char *name, *row; /* "at_m_model_layers", and the type of its rows: "m_model_layers_row" */
    uint32_t family;        /* of the blocks; rows are its members */
    HomeKind kind;
    VEC(HomeColumn) column;
} HomeTable;

typedef struct Home {
    const char *name; /* of the value */
    const char *text; /* "at_h[3].ln_1_weight", "at_lm_head_weight" */
    int64_t offset, bytes;
    uint32_t table, column, ordinal; /* table NONE: a constant */
    bool used;                       /* the constant is */
} Home;

struct Homes {
    Arena *arena;
    const Graph *graph; /* of training */
    Scope scope;        /* names of the whole program */
    const Families *blocks;
    VEC(HomeTable) table;
    VEC(Home) home;
    Map *by_name;       /* the name of a value -> home */
    uint32_t *of_value; /* by value of the training graph; NONE: it is not persistent */
};

Homes *homes_find(const Graph *g, const Layout *layout, const Families *blocks, Arena *arena);
/* The home that the persistent buffer of a value has; NONE where training has none at this offset. */
uint32_t homes_of_buffer(const Homes *homes, const Graph *g, const Buf *buf);
/* The tables and the constants that are used. */
void homes_print(const Homes *homes, Text *out);

#endif
