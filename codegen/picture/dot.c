/* Draws the picture of a plan (picture.h) with Graphviz; see dot.h.
 *
 * Graphviz measures the boxes, the places are ours: a row of the picture is a row on the page, forward boxes
 * in the left column and backward boxes in the right one. Between the columns run saved tensors; what passes
 * rows by goes round the outside in lanes, forward on the left, gradients on the right.
 *
 *      [update]      All of it happens in a child process (child.h): Graphviz and what it stands on end the
 *  [f0] --- [b0]     program, or go on with wrong results, where memory runs out.
 *  [f1] --- [b1]     */
#include "codegen/picture/child.h"
#include "codegen/picture/dot_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *width_of(const Drawing *d, int64_t bytes) {
    double thickness = bytes > 1024 ? 1 + 0.32 * log2((double)bytes / 1024.0) : 1;
    return arena_printf(d->arena, "%.2f", thickness > 7 ? 7.0 : thickness);
}

/* ---- places ---- */

enum { ROW_GAP = 16, HEADER = 44, BAND_END = 14, CORRIDOR = 150, LANE = 15 };

static double width_points(const Drawing *d, Agnode_t *node) {
    return d->size[AGSEQ(node)].x;
}
static double height_points(const Drawing *d, Agnode_t *node) {
    return d->size[AGSEQ(node)].y;
}
static double larger(double a, double b) {
    return a > b ? a : b;
}

static void put(Drawing *d, Agnode_t *node, double x, double y) {
    d->at[AGSEQ(node)] = (Point){x, y};
    dot_set(node, "pos", arena_printf(d->arena, "%.2f,%.2f", x, y));
}

static Point centre(const Drawing *d, Agnode_t *node) {
    return d->at[AGSEQ(node)];
}

/* What has no box of its own, but belongs to the picture. */
static void put_corner(Drawing *d, double x, double y) {
    Agnode_t *corner = agnode(d->graph, arena_printf(d->arena, "corner%d", agnnodes(d->graph)), 1);
    dot_set(corner, "style", "invis");
    dot_set(corner, "shape", "point");
    dot_set(corner, "pos", arena_printf(d->arena, "%.2f,%.2f", x, y));
}

static void put_band(Drawing *d, uint32_t first, double top, double bottom, double left, double right) {
    text_add(&d->bands, "c 7 -%s C 7 -%s P 4 %.2f %.2f %.2f %.2f %.2f %.2f %.2f %.2f ", band_line, band_fill,
             left, bottom, right, bottom, right, top, left, top);
    put_corner(d, left, bottom);
    put_corner(d, right, top);
    /* beside the forward chain; edges go below it */
    put(d, d->header[first], 12 + width_points(d, d->header[first]) / 2, top - HEADER / 2 + 2);
}

/* Requires measured boxes. The widths of the two columns come back in `half`. */
static void place(Drawing *d, double half[2], double *right_x) {
    uint32_t count = d->p->shown.count, begun = NONE;
    half[0] = half[1] = 0;
    for (uint32_t i = 0; i < count; i++) {
        half[0] = larger(half[0], width_points(d, d->forward[i]) / 2);
        if (d->backward[i]) half[1] = larger(half[1], width_points(d, d->backward[i]) / 2);
    }
    *right_x = half[0] + CORRIDOR + half[1];
    double y = 0, left = -half[0] - 6 * LANE, right = *right_x + half[1] + 6 * LANE, top = 0;
    if (d->update) {
        put(d, d->update, *right_x, -height_points(d, d->update) / 2);
        y -= height_points(d, d->update) + 2 * ROW_GAP;
    }
    for (uint32_t i = 0; i <= count; i++) {
        bool stays = i < count && begun != NONE && !d->header[i] && d->p->shown.at[i].row != NONE &&
                     d->p->shown.at[i].group == d->p->shown.at[begun].group;
        if (begun != NONE && !stays) {
            y += ROW_GAP - BAND_END;
            put_band(d, begun, top, y, left, right);
            y -= ROW_GAP;
            begun = NONE;
        }
        if (i == count) break;
        if (d->header[i]) {
            begun = i;
            top = y;
            y -= HEADER;
        }
        double height = height_points(d, d->forward[i]);
        if (d->backward[i]) height = larger(height, height_points(d, d->backward[i]));
        put(d, d->forward[i], 0, y - height / 2);
        if (d->backward[i]) put(d, d->backward[i], *right_x, y - height / 2);
        y -= height + ROW_GAP;
    }
    Agnode_t *const above[] = {d->legend, d->memory, d->title};
    double bottom = 2 * ROW_GAP;
    for (size_t i = 0; i < COUNT_OF(above); i++) {
        double tall = height_points(d, above[i]);
        put(d, above[i], left + width_points(d, above[i]) / 2, bottom + tall / 2);
        bottom += tall + ROW_GAP / 2;
    }
}

/* ---- edges ---- */

static void add_edge(Drawing *d, Agnode_t *from, Agnode_t *to, const char *color, int64_t bytes, bool dashed,
                     const char *spline) {
    Agedge_t *e = agedge(d->graph, from, to, NULL, 1);
    dot_set(e, "color", color);
    dot_set(e, "penwidth", width_of(d, bytes));
    dot_set(e, "arrowsize", "0.8");
    if (dashed) dot_set(e, "style", "dashed");
    dot_set(e, "pos", spline);
}

enum { ARROW = 9 };

/* Straight down or up between boxes that follow each other. */
static const char *straight(const Drawing *d, Agnode_t *from, Agnode_t *to) {
    Point a = centre(d, from), b = centre(d, to);
    double sign = b.y < a.y ? -1 : 1;
    double y0 = a.y + sign * height_points(d, from) / 2, y3 = b.y - sign * height_points(d, to) / 2;
    double y2 = y3 - sign * ARROW;
    return arena_printf(d->arena, "e,%.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f", b.x, y3, a.x, y0,
                        a.x, y0 + (y2 - y0) / 3, b.x, y0 + (y2 - y0) * 2 / 3, b.x, y2);
}

/* Through the corridor, leaving and arriving level. */
static const char *across(const Drawing *d, Agnode_t *from, Agnode_t *to) {
    Point a = centre(d, from), b = centre(d, to);
    double x0 = a.x + width_points(d, from) / 2, x3 = b.x - width_points(d, to) / 2, x2 = x3 - ARROW,
           bend = (x2 - x0) / 2;
    return arena_printf(d->arena, "e,%.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f", x3, b.y, x0, a.y,
                        x0 + bend, a.y, x2 - bend, b.y, x2, b.y);
}

/* Round the outside at `x`: out, along the lane, and in again. */
static const char *around(const Drawing *d, Agnode_t *from, Agnode_t *to, double x) {
    Point a = centre(d, from), b = centre(d, to);
    double side = x < a.x ? -1 : 1, down = b.y < a.y ? -1 : 1;
    double x0 = a.x + side * width_points(d, from) / 2, x3 = b.x + side * width_points(d, to) / 2;
    double y0 = a.y + down * height_points(d, from) / 5, y3 = b.y - down * height_points(d, to) / 5;
    double x2 = x3 + side * ARROW, turn = (y3 - y0) * down > 80 ? 36 : (y3 - y0) * down * 0.45;
    double y1 = y0 + down * turn, y2 = y3 - down * turn;
    Text t = {.arena = d->arena};
    text_add(&t, "e,%.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f %.2f,%.2f", x3, y3, x0, y0, x, y0, x, y0, x, y1);
    text_add(&t, " %.2f,%.2f %.2f,%.2f %.2f,%.2f", x, y1, x, y2, x, y2);
    text_add(&t, " %.2f,%.2f %.2f,%.2f %.2f,%.2f", x, y3, x, y3, x2, y3);
    return t.at;
}

/* Boxes that pass nothing by get a straight line; others the first lane that is free over their rows. Short
 * ones come first, so that long ones go round them. */
static void draw_flow(Drawing *d, EdgeKind kind, double x, double side) {
    const Picture *p = d->p;
    Agnode_t **column = kind == EDGE_FORWARD ? d->forward : d->backward;
    bool *taken = NEW_ARRAY(d->arena, bool, (size_t)(p->shown.count + 1) * (p->edge.count + 1));
    for (uint32_t span = 1; span <= p->shown.count; span++)
        for (uint32_t i = 0; i < p->edge.count; i++) {
            const PictureEdge *e = &p->edge.at[i];
            uint32_t upper = kind == EDGE_FORWARD ? e->from : e->to,
                     lower = kind == EDGE_FORWARD ? e->to : e->from;
            if (e->kind != kind || lower != upper + span || !column[upper] || !column[lower]) continue;
            uint32_t next = upper + 1;
            while (next < lower && !column[next]) next++;
            if (next == lower) {
                add_edge(d, column[e->from], column[e->to], kind == EDGE_FORWARD ? "#444444" : "#9a9a9a",
                         e->bytes, false, straight(d, column[e->from], column[e->to]));
                continue;
            }
            uint32_t lane = 0;
            for (uint32_t r = upper; r < lower;) {
                if (!taken[(size_t)lane * (p->shown.count + 1) + r])
                    r++;
                else
                    lane++, r = upper;
            }
            for (uint32_t r = upper; r < lower; r++) taken[(size_t)lane * (p->shown.count + 1) + r] = true;
            add_edge(d, column[e->from], column[e->to], kind == EDGE_FORWARD ? "#8a8a8a" : "#b9b9b9",
                     e->bytes, false,
                     around(d, column[e->from], column[e->to], x + side * LANE * (lane + 1)));
        }
}

static void draw_edges(Drawing *d, const double half[2], double right_x) {
    const Picture *p = d->p;
    draw_flow(d, EDGE_FORWARD, -half[0] - 6, -1);
    draw_flow(d, EDGE_GRADIENT, right_x + half[1] + 6, 1);
    for (uint32_t i = 0; i < p->edge.count; i++) {
        const PictureEdge *e = &p->edge.at[i];
        if (e->kind != EDGE_SAVED || !d->backward[e->to]) continue;
        add_edge(d, d->forward[e->from], d->backward[e->to], fate_look[e->fate].line, e->bytes,
                 e->fate == FATE_RECOMPUTED, across(d, d->forward[e->from], d->backward[e->to]));
    }
    uint32_t top = 0;
    while (top < p->shown.count && !d->backward[top]) top++;
    if (d->update)
        add_edge(d, d->backward[top], d->update, "#6f4fa0", 1 << 20, false,
                 straight(d, d->backward[top], d->update));
}

/* ---- to a file ---- */

/* What Graphviz says of its last error. */
static bool refuse(int fd, const char *format) {
    char *why = aglasterr(), message[256]; /* `why` is ours to free */
    snprintf(message, sizeof message, "Graphviz cannot draw this as %s%s%s", format, why ? ": " : "",
             why ? why : "");
    message[strcspn(message, "\n")] = 0;
    child_write(fd, message, strlen(message));
    free(why);
    return false;
}

/* A layout without edges, for the sizes of the boxes. */
static bool measure(Drawing *d, GVC_t *context) {
    if (gvLayout(context, d->graph, "dot") != 0) return false;
    d->size = NEW_ARRAY(d->arena, Point, agnnodes(d->graph) + 1);
    d->at = NEW_ARRAY(d->arena, Point, agnnodes(d->graph) + 1);
    for (Agnode_t *node = agfstnode(d->graph); node; node = agnxtnode(d->graph, node))
        d->size[AGSEQ(node)] = (Point){ND_width(node) * 72, ND_height(node) * 72};
    gvFreeLayout(context, d->graph);
    return true;
}

static bool render(Drawing *d, GVC_t *context, const char *format, char **data, unsigned *bytes) {
    double half[2], right_x;
    if (!measure(d, context)) return false;
    place(d, half, &right_x);
    draw_edges(d, half, right_x);
    if (d->bands.length) agattr(d->graph, AGRAPH, "_background", d->bands.at);
    agattr(d->graph, AGRAPH, "layout", "nop2"); /* a saved .dot is drawn from its places, too */
    if (gvLayout(context, d->graph, "nop2") != 0) return false;
    bool ok = gvRenderData(context, d->graph, format, data, bytes) == 0;
    gvFreeLayout(context, d->graph);
    return ok;
}

const char *const dot_format[DOT_FORMATS] = {"svg", "png", "pdf", "dot"};

/* Where memory runs out halfway Graphviz hands over what it has, which may be nothing, and calls it done. */
static bool is_whole(const char *format, const char *data, size_t bytes) {
    static const struct {
        const char *begin, *end;
    } whole[DOT_FORMATS] = {
        {"<?xml", "</svg>\n"}, {"\x89PNG", "IEND\xae\x42\x60\x82"}, {"%PDF", "%%EOF\n"}, {"digraph", "}\n"}};
    for (size_t i = 0; i < DOT_FORMATS; i++) {
        size_t begin = strlen(whole[i].begin), end = strlen(whole[i].end);
        if (strcmp(format, dot_format[i])) continue;
        return bytes >= begin + end && !memcmp(data, whole[i].begin, begin) &&
               !memcmp(data + bytes - end, whole[i].end, end);
    }
    return bytes > 0;
}

/* In the child process: Graphviz ends the program where memory runs out, and frees little. */
static bool draw(void *context, int fd) {
    const DotRequest *request = context;
    Arena *arena = arena_new();
    Drawing d = {.p = picture_new(request->g, request->plan, request->layout, request->layer,
                                  request->blocks_only, arena),
                 .arena = arena,
                 .bands = {.arena = arena}};
    agseterr(AGMAX);
    GVC_t *gvc = gvContext();
    d.graph = agopen("memory_plan", Agdirected, NULL);
    dot_boxes(&d, request);
    char *data = NULL;
    unsigned bytes = 0;
    if (!render(&d, gvc, request->format, &data, &bytes)) return refuse(fd, request->format);
    /* Errors, and parts of itself that do not load for want of memory, it draws on without. */
    char *why = aglasterr();
    if (agerrors() >= AGERR || (why && strstr(why, "Could not load"))) die("Graphviz: %s", why ? why : "");
    free(why);
    if (!is_whole(request->format, data, bytes)) die("Graphviz: half a picture");
    child_write(fd, data, bytes);
    arena_free(arena);
    return true;
}

DotAnswer dot_draw(const DotRequest *request, Text *out, const char **error) {
    enum { MOST_SECONDS = 600 };
    Text answer = {.arena = out->arena};
    DotRequest copy = *request;
    ChildEnd end = child_run(draw, &copy, MOST_SECONDS, &answer);
    if (end == CHILD_DONE) {
        text_add_n(out, answer.at, answer.length);
        return DOT_DRAWN;
    }
    *error = end == CHILD_REFUSED ? answer.at
                                  : arena_printf(out->arena, "drawing with Graphviz failed: %s", answer.at);
    return end == CHILD_REFUSED ? DOT_REFUSED : DOT_BROKEN;
}
