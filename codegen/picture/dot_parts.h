/* Inside the picture of a plan: what dot_boxes.c writes into boxes, and dot.c places and joins. */
#ifndef REMAT_DOT_PARTS_H
#define REMAT_DOT_PARTS_H

#include "codegen/picture/dot.h"
#include "codegen/picture/picture.h"

#include <graphviz/gvc.h>

typedef struct FateLook {
    const char *fill, *line, *label, *brief;
} FateLook;
extern const FateLook fate_look[FATE_COUNT];
extern const char band_fill[], band_line[];

typedef struct Point {
    double x, y;
} Point;

typedef struct Drawing {
    const Picture *p;
    Arena *arena;
    Agraph_t *graph;
    Agnode_t **forward, **backward; /* by shown box; backward NULL when there is none */
    Agnode_t **header;              /* by shown box that begins a group: its name */
    Text bands;                     /* the backgrounds of groups, as Graphviz draws them below all else */
    Agnode_t *title, *memory, *legend, *update;
    int64_t weight_bytes, frozen_bytes, optimizer_bytes;
    Point *size, *at; /* by node sequence number, in points: width and height; centre */
} Drawing;

static inline void dot_set(void *object, const char *name, const char *value) {
    agsafeset(object, (char *)name, (char *)value, "");
}
/* Makes all boxes, without places. */
void dot_boxes(Drawing *d, const DotRequest *request);

#endif
