/* The tables of the recursion over a chain of blocks (planner/chain/chain_tables.c), for
 * planner/chain/chain.c alone. */
#ifndef REMAT_CHAIN_CHAIN_TABLES_H
#define REMAT_CHAIN_CHAIN_TABLES_H

#include "planner/chain/choices.h"
#include "planner/effort.h"

enum { SLOTS = EFFORT_CHAIN_SLOTS };

/* One way to run a segment: seconds + after[m - after_slots] + before[m - before_slots], from `least` slots
 * on. */
typedef struct Move {
    double seconds;
    uint32_t least, after_slots, before_slots;
    uint32_t choice, split;       /* split: NONE for a choice of the first block */
    const double *after, *before; /* NULL: nothing */
} Move;

typedef struct Chain {
    const Problem *p;
    Links links;
    const Kind *kinds;
    uint32_t *equal;  /* by first * count + last: the first segment whose kinds read the same */
    Arena *arena;     /* tables */
    int64_t unit;     /* bytes a slot */
    uint32_t most;    /* slots that tables are filled for */
    uint32_t end;     /* the last link of the whole chain: the loss head, or that before it ... */
    bool again;       /* ... where that runs again, for its output too */
    double **whole;   /* by first link: segments that end with it */
    double **segment; /* by first * count + last: the others */
    double *run_seconds;
    double step_seconds; /* nothing recomputed */
    int64_t *grown;      /* prefix sums over links */
    int64_t *pass_bytes; /* by link: the least a forward pass over it takes */
    int64_t incoming_most, incoming_least;
    Move *move;
    uint32_t *first; /* by move that is a choice: the first slot it is possible at */
    bool *beaten;    /* .. and whether another beats it */
} Chain;

static inline const Kind *chain_kind(const Chain *c, uint32_t i) {
    return &c->kinds[c->links.at[i].kind];
}
static inline uint32_t chain_larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}
/* Slots for so many bytes, rounded up; SLOTS + 1 where they are too many. */
uint32_t chain_slots(const Chain *c, int64_t bytes);
/* Bytes that links first..last leave live for the update. */
int64_t chain_grown_bytes(const Chain *c, uint32_t first, uint32_t last);

/* Finds the links and what their kinds come to together, with explored choices; false where they are
 * no chain. */
bool chain_of(Chain *c, const Problem *p, uint32_t boundary, Arena *tables, Arena *scratch);
/* Puts other choices in place of those (blocks.h). */
void chain_explore(Chain *c, bool explored, Arena *scratch);
/* Tables for the chain up to link `end` in `unit`s of memory, up to `most` of them, in place of the last
 * ones. */
void chain_solve(Chain *c, uint32_t end, bool again, int64_t unit, uint32_t most);

/* Into c->move: the ways to run links i..j; how many there are. */
uint32_t chain_moves(Chain *c, uint32_t i, uint32_t j);
/* The best of the first `count` moves: by memory, and with `m` slots. */
double *chain_fill(Chain *c, uint32_t count);
Move chain_best(const Chain *c, uint32_t count, uint32_t m);

/* The first slot a table is finite at, SLOTS + 1 if none; it stands before the table's seconds. */
static inline uint32_t chain_table_first(const double *table) {
    return table ? (uint32_t)table[-1] : 0;
}
/* The slot it stays the same from; before that. */
static inline uint32_t chain_table_last(const double *table) {
    return table ? (uint32_t)table[-2] : 0;
}

#endif
