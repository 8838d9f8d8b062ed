/* Functions of the emitted source: one for each kind of stretch. */
#ifndef REMAT_BODY_H
#define REMAT_BODY_H

#include "codegen/stretch.h"

/* What a function is told besides `run`. */
typedef enum BodyTakes {
    TAKES_NOTHING, /* it is for one stretch, or does the same for all */
    TAKES_LAYER,   /* the row of the tables of persistent tensors */
    TAKES_ROW,     /* a row of its own table */
} BodyTakes;

typedef struct BodyText {
    const char *name; /* "train_forward_h" */
    const char *rows; /* its table: "train_forward_h_rows" */
    BodyTakes takes;
} BodyText;

typedef struct PartNames {
    const Steps *steps;
    Homes *homes;
    Scope scope;
    const char *prefix;       /* "train" */
    const char **buffer_name; /* by buffer of the layout: a constant, where it is called by name; NULL: it has
                                 a home */
    uint32_t *buffer_user;    /* ... the body that calls it so, BUFFER_SHARED by several, NONE by none */
} PartNames;

#define BUFFER_SHARED (NONE - 1)

/* Fills buffer_user. */
void bodies_find_users(PartNames *names);
/* Prints the function of a body of `steps`, and the table of what differs from call to call. */
BodyText body_print(PartNames *names, uint32_t index, Text *out);

#endif
