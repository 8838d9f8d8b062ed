/* The memory-plan graph as a picture: the forward pass runs down the left side, the backward pass up the
 * right, the loss is where it turns. Between them stand the tensors saved for backward. */
#ifndef REMAT_DOT_H
#define REMAT_DOT_H

#include "planner/plan.h"

/* What a picture can be written as: "svg", "png", "pdf", "dot" (text for Graphviz, with places). */
enum { DOT_FORMATS = 4 };
extern const char *const dot_format[DOT_FORMATS];

typedef struct DotRequest {
    const Graph *g;
    const Plan *plan;
    const Layout *layout;
    const Cost *cost;
    const char *title;
    const char *source; /* what was compiled */
    int layer;          /* an index of the graph's blocks, which stays by itself; -1: none */
    bool blocks_only;   /* other blocks are a box each */
    const char *format; /* of dot_format */
} DotRequest;

typedef enum DotAnswer {
    DOT_DRAWN,
    DOT_REFUSED, /* Graphviz says why not */
    DOT_BROKEN,  /* Graphviz, or what it stands on, crashed or ran out of memory or time */
} DotAnswer;

/* The bytes of a picture. Repeated blocks of equal structure and equal decisions are folded into one. `error`
 * is a message in the arena of `out` where there is none. */
DotAnswer dot_draw(const DotRequest *request, Text *out, const char **error);

#endif
