/* The steps of one part of the program, cut into stretches, and which of them are alike.
 *
 *     step:     run h.0.ln_1   run h.0.attn.qkv   FREE   ...   run h.1.ln_1   ...
 *     item:     CALL           CALL               FREE         CALL                     one line of C each,
 * or WAIT stretch:  | forward of h.0                           |   forward of h.1 |          one function
 * call each
 *
 * What may differ between like stretches, the offsets above all, stands in slots. */
#ifndef REMAT_STRETCH_H
#define REMAT_STRETCH_H

#include "codegen/emit.h"
#include "codegen/homes.h"

typedef enum SlotKind { SLOT_BUFFER, SLOT_WORKSPACE, SLOT_TICKET, SLOT_ATTRIBUTE, SLOT_KIND_COUNT } SlotKind;
typedef struct Slot {
    SlotKind kind;
    uint32_t buffer;       /* of the layout; NONE for tickets and attributes */
    int64_t number;        /* the offset, the ticket, the attribute */
    ValueId value;         /* what lies there */
    const char *attribute; /* its name */
} Slot;

/* The operands of a call that works over several tensors are taken one tensor after the other, each where its
 * block's stretch is, before the call. */
typedef enum ItemKind { ITEM_CALL, ITEM_TAKE, ITEM_FREE, ITEM_OFFLOAD, ITEM_FETCH, ITEM_WAIT } ItemKind;
typedef struct Item {
    ItemKind kind;
    uint32_t step;
    uint32_t slot;   /* its first; they stand in the order in which its text names them */
    uint32_t tensor; /* that it takes; op_tensors of the node: what is not of one of them */
} Item;

typedef enum StretchKind { STRETCH_FORWARD, STRETCH_BACKWARD, STRETCH_AGAIN, STRETCH_UPDATE } StretchKind;
typedef struct Stretch {
    StretchKind kind;
    uint32_t block;
    uint32_t item, items, slot, slots; /* first, and how many */
    uint32_t body, row;                /* the function it is a call of, and which call */
} Stretch;

typedef struct Body {
    VEC(uint32_t) stretch; /* one a row, in the order they run */
} Body;

typedef struct Steps {
    Arena *arena;
    const Part *part;
    const Families *blocks;
    const int64_t *live; /* by step: bytes live during it */
    VEC(Slot) slot;
    VEC(Item) item;
    VEC(Stretch) stretch;
    uint32_t update; /* the first stretch after the micro-step */
    VEC(Body) body;
} Steps;

Steps *steps_cut(const Part *part, const Families *blocks, Arena *arena);

#endif
