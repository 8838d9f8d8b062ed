/* Pins: what the file says of single operations' results, against or before any search. */
#ifndef REMAT_IR_PIN_H
#define REMAT_IR_PIN_H

#include "ir/graph.h"

typedef enum PinKind { PIN_KEEP, PIN_RECOMPUTE, PIN_OFFLOAD } PinKind;

typedef struct Pin {
    PinKind kind;
    const char *pattern; /* glob over node names */
    Span span;
} Pin;
typedef VEC(Pin) Pins;

#endif
