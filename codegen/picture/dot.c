/* Draws the picture of a plan (picture.h) with Graphviz; see dot.h.
 *
 * Graphviz measures the boxes, the places are ours: a row of the picture is a row on the page, forward boxes
 * in the left column and backward boxes in the right one. Between the columns run saved tensors; what passes
 * rows by goes round the outside in lanes, forward on the left, gradients on the right.
 *
 *      [update]      All of it happens in a child process (child.h): Graphviz and what it stands on end the
 *  [f0] --- [b0]     program, or go on with wrong results, where memory runs out.
 *  [f1] --- [b1]     */
#include "codegen/picture/dot.h"
#include "codegen/picture/child.h"
#include "codegen/picture/picture.h"
#include "ir/ops.h"

#include <graphviz/gvc.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *fill, *line, *label;
} fate_look[FATE_COUNT] = {
    [FATE_FREED] = {"#f1f1f1", "#8a8a8a", "freed at once"},
    [FATE_KEPT] = {"#a9cdf0", "#1f6fb5", "kept for the backward pass"},
    [FATE_RECOMPUTED] = {"#fdc98a", "#d9730d", "recomputed in the backward pass"},
    [FATE_OFFLOADED] = {"#b8e0b0", "#2e8b3d", "copied to host memory and back"},
};
static const char weight_fill[] = "#ddd0ee", frozen_fill[] = "#dfe3e6", peak_line[] = "#d3122b";

typedef struct Point {
    double x, y;
} Point;

typedef struct Drawing {
    const Picture *p;
    Arena *arena;
    Agraph_t *graph;
    Agnode_t **forward, **backward; /* by shown box; backward NULL when there is none */
    Agnode_t **band, **header;      /* by shown box that begins a group: its background and its name */
    Agnode_t *title, *legend, *update;
    int64_t weight_bytes, frozen_bytes, optimizer_bytes;
    Point *size, *at; /* by node sequence number, in points: width and height; centre */
} Drawing;

/* ---- attributes and labels ---- */

static void set(void *object, const char *name, const char *value) {
    agsafeset(object, (char *)name, (char *)value, "");
}

/* A label in Graphviz's HTML. */
static void set_html(Drawing *d, void *object, const char *html) {
    char *text = agstrdup_html(d->graph, (char *)html);
    agsafeset(object, "label", text, "");
    agstrfree(d->graph, text);
}

static const char *escape(Arena *arena, const char *from) {
    Text to = {.arena = arena};
    text_add_n(&to, "", 0);
    for (; *from; from++) {
        if (*from == '&')
            text_add(&to, "&amp;");
        else if (*from == '<')
            text_add(&to, "&lt;");
        else if (*from == '>')
            text_add(&to, "&gt;");
        else if (*from == '"')
            text_add(&to, "&quot;");
        else
            text_add_n(&to, from, 1);
    }
    return to.at;
}

static const char *bytes_text(const Drawing *d, int64_t bytes) {
    return format_bytes(bytes, arena_alloc(d->arena, 24));
}

/* A node's name without the block it stands in. */
static const char *short_name(const Drawing *d, const Row *row) {
    const char *name = d->p->g->node.at[row->node].name;
    if (row->block == NONE) return name;
    const char *block = d->p->g->block.at[row->block];
    size_t length = strlen(block);
    return !strncmp(name, block, length) && name[length] == '.' ? name + length + 1 : name;
}

static const char *width_of(const Drawing *d, int64_t bytes) {
    double thickness = bytes > 1024 ? 1 + 0.32 * log2((double)bytes / 1024.0) : 1;
    return arena_printf(d->arena, "%.2f", thickness > 7 ? 7.0 : thickness);
}

/* ---- boxes ---- */

static bool peak_is_in(const Drawing *d, uint32_t shown, bool backward) {
    NodeId peak = d->p->peak_node;
    if (peak == NONE) return false;
    uint32_t row = d->p->row_of_node[peak];
    return row != NONE && d->p->row.at[row].shown == shown &&
           (d->p->g->node.at[peak].phase == PHASE_BACKWARD) == backward;
}

static void add_peak(Drawing *d, Text *html) {
    uint32_t row = d->p->row_of_node[d->p->peak_node], block = row == NONE ? NONE : d->p->row.at[row].block;
    text_add(html, "<tr><td bgcolor=\"%s\"><font color=\"white\"><b>PEAK: %s live%s%s</b></font></td></tr>",
             peak_line, bytes_text(d, d->p->peak_bytes), block == NONE ? "" : " in ",
             block == NONE ? "" : escape(d->arena, d->p->g->block.at[block]));
}

static void add_table(Text *html, const char *fill, const char *line, bool peak) {
    text_add(html,
             "<table border=\"%d\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"3\" color=\"%s\" "
             "bgcolor=\"%s\">",
             peak ? 4 : 1, peak ? peak_line : line, fill);
}

static Agnode_t *add_box(Drawing *d, const char *name, const char *html) {
    Agnode_t *node = agnode(d->graph, (char *)name, 1);
    set(node, "shape", "plain");
    set_html(d, node, html);
    return node;
}

/* Norm weights and biases are too small to mention. */
static void add_weights(Drawing *d, Text *html, int64_t trained, int64_t frozen) {
    static const char row[] = "<tr><td bgcolor=\"%s\"><font point-size=\"13\">%s %s</font></td></tr>";
    if (trained > d->weight_bytes / 2000) text_add(html, row, weight_fill, "weights", bytes_text(d, trained));
    if (frozen > d->frozen_bytes / 2000)
        text_add(html, row, frozen_fill, "frozen weights", bytes_text(d, frozen));
}

static const char *forward_label(Drawing *d, uint32_t shown) {
    const Row *row = &d->p->row.at[d->p->shown.at[shown].row];
    const Node *node = &d->p->g->node.at[row->node];
    const char *name = short_name(d, row);
    const char *last = strrchr(name, '.');
    Text html = {.arena = d->arena};
    bool peak = peak_is_in(d, shown, false);
    add_table(&html, fate_look[row->fate].fill, fate_look[row->fate].line, peak);
    text_add(&html, "<tr><td><b>%s</b>", escape(d->arena, name));
    if (strcmp(last ? last + 1 : name, op_info[node->op].name))
        text_add(&html, " <font point-size=\"13\">%s</font>", op_info[node->op].name);
    text_add(&html, "<br/><font point-size=\"13\">%s   %s</font></td></tr>",
             type_text(d->arena, &d->p->g->value.at[node->out[0]].type), bytes_text(d, row->bytes));
    add_weights(d, &html, row->weight_bytes, row->frozen_bytes);
    if (peak) add_peak(d, &html);
    text_add(&html, "</table>");
    return html.at;
}

/* A whole group in one box. */
static const char *group_label(Drawing *d, uint32_t shown) {
    const Group *group = &d->p->group.at[d->p->shown.at[shown].group];
    Text html = {.arena = d->arena};
    bool peak = peak_is_in(d, shown, false);
    add_table(&html, "#ffffff", "#555555", peak);
    text_add(&html, "<tr><td><b>%s</b></td></tr>",
             escape(d->arena, picture_group_name(d->p, group, d->arena)));
    for (int f = 0; f < FATE_COUNT; f++)
        if (group->bytes[f])
            text_add(&html, "<tr><td bgcolor=\"%s\"><font point-size=\"13\">%s: %s%s</font></td></tr>",
                     fate_look[f].fill, fate_look[f].label, bytes_text(d, group->bytes[f]),
                     group->block.count > 1 ? " a layer" : "");
    add_weights(d, &html, group->weight_bytes, group->frozen_bytes);
    if (peak) add_peak(d, &html);
    text_add(&html, "</table>");
    return html.at;
}

static const char *backward_label(Drawing *d, uint32_t shown) {
    const Shown *s = &d->p->shown.at[shown];
    Text html = {.arena = d->arena};
    bool peak = peak_is_in(d, shown, true);
    add_table(&html, "#ffffff", "#9a9a9a", peak);
    if (s->row == NONE)
        text_add(&html, "<tr><td>backward of these layers</td></tr>");
    else
        text_add(&html, "<tr><td>backward of %s</td></tr>",
                 escape(d->arena, short_name(d, &d->p->row.at[s->row])));
    if (peak) add_peak(d, &html);
    text_add(&html, "</table>");
    return html.at;
}

static void draw_boxes(Drawing *d) {
    uint32_t group = NONE, count = d->p->shown.count;
    d->forward = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    d->backward = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    d->band = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    d->header = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        const Shown *s = &d->p->shown.at[i];
        uint32_t next = s->row == NONE ? NONE : s->group;
        if (next != group && next != NONE) {
            d->band[i] = agnode(d->graph, arena_printf(d->arena, "band%u", i), 1);
            const char *name = escape(d->arena, picture_group_name(d->p, &d->p->group.at[next], d->arena));
            d->header[i] = add_box(d, arena_printf(d->arena, "group%u", i),
                                   arena_printf(d->arena, "<font point-size=\"18\"><b>%s</b></font>", name));
        }
        group = next;
        d->forward[i] = add_box(d, arena_printf(d->arena, "f%u", i),
                                s->row == NONE ? group_label(d, i) : forward_label(d, i));
        if (s->row == NONE || d->p->row.at[s->row].has_backward)
            d->backward[i] = add_box(d, arena_printf(d->arena, "b%u", i), backward_label(d, i));
    }
}

/* ---- the update, the title and the legend ---- */

static void draw_update(Drawing *d) {
    uint32_t top = 0;
    while (top < d->p->shown.count && !d->backward[top]) top++;
    if (top == d->p->shown.count) return;
    Text html = {.arena = d->arena};
    NodeId peak_node = d->p->peak_node;
    bool peak = peak_node != NONE && d->p->g->node.at[peak_node].phase == PHASE_UPDATE;
    add_table(&html, weight_fill, "#6f4fa0", peak);
    text_add(&html,
             "<tr><td><b>update of the weights</b><br/><font point-size=\"13\">weights %s, optimizer "
             "%s</font></td></tr>",
             bytes_text(d, d->weight_bytes), bytes_text(d, d->optimizer_bytes));
    if (peak) add_peak(d, &html);
    text_add(&html, "</table>");
    d->update = add_box(d, "update", html.at);
}

static void add_legend(Text *html, const char *fill, const char *line, int border, const char *what) {
    text_add(
        html,
        "<tr><td width=\"46\" fixedsize=\"true\" height=\"22\" bgcolor=\"%s\" border=\"%d\" color=\"%s\">"
        "<font point-size=\"6\"> </font></td><td align=\"left\">%s</td></tr>",
        fill, border, line, what);
}

static void draw_title(Drawing *d, const char *title, const Plan *plan, const Cost *cost) {
    const Picture *p = d->p;
    double recomputed = 0, all = 0;
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind > STEP_RECOMPUTE) continue;
        all += cost[step->node].seconds;
        if (step->kind == STEP_RECOMPUTE) recomputed += cost[step->node].seconds;
    }
    static const char line[] = "<tr><td align=\"left\">", end[] = "</td></tr>";
    Text html = {.arena = d->arena};
    text_add(&html,
             "<table border=\"0\" cellspacing=\"2\" cellpadding=\"2\">%s<font "
             "point-size=\"28\"><b>%s</b></font>%s",
             line, escape(d->arena, title), end);
    text_add(&html,
             "%sarena %s: weights %s, %soptimizer %s,<br align=\"left\"/>the rest activations, gradients and "
             "workspace<br align=\"left\"/>%s",
             line, bytes_text(d, plan->peak_bytes), bytes_text(d, d->weight_bytes),
             d->frozen_bytes ? arena_printf(d->arena, "frozen weights %s, ", bytes_text(d, d->frozen_bytes))
                             : "",
             bytes_text(d, d->optimizer_bytes), end);
    if (plan->host_bytes)
        text_add(&html, "%spinned host memory %s<br align=\"left\"/>%s", line,
                 bytes_text(d, plan->host_bytes), end);
    if (p->peak_node != NONE)
        text_add(&html,
                 "%speak: %s live at step %u of %u, %s;<br align=\"left\"/>recomputation: %.1f%% of the "
                 "micro-step's and the update's time<br align=\"left\"/>%s",
                 line, bytes_text(d, p->peak_bytes), p->peak_step, plan->step.count,
                 escape(d->arena, p->g->node.at[p->peak_node].name), all > 0 ? 100 * recomputed / all : 0.0,
                 end);
    text_add(&html,
             "%s<font point-size=\"14\">left: forward, downwards; right: backward, upwards;<br "
             "align=\"left\"/>between them what is saved; the thicker, the more bytes<br "
             "align=\"left\"/></font>%s</table>",
             line, end);
    d->title = add_box(d, "title", html.at);
}

static void draw_legend(Drawing *d) {
    Text html = {.arena = d->arena};
    text_add(&html, "<table border=\"0\" cellspacing=\"3\" cellpadding=\"2\">");
    for (int f = FATE_COUNT - 1; f >= 0; f--)
        if (d->p->tensors[f])
            add_legend(&html, fate_look[f].fill, fate_look[f].line, 1,
                       arena_printf(d->arena, "%s: %u tensor%s, %s", fate_look[f].label, d->p->tensors[f],
                                    d->p->tensors[f] == 1 ? "" : "s", bytes_text(d, d->p->bytes[f])));
    add_legend(&html, weight_fill, "#6f4fa0", 1, "weights, always in memory");
    if (d->frozen_bytes) add_legend(&html, frozen_fill, "#6b7780", 1, "frozen weights, always in memory");
    add_legend(&html, "#ffffff", peak_line, 4, "where memory peaks");
    text_add(&html, "</table>");
    d->legend = add_box(d, "legend", html.at);
}

static int64_t bytes_of_kind(const Picture *p, ValueKind kind, Role role) {
    int64_t bytes = 0;
    for (ValueId v = 0; v < p->g->value.count; v++)
        if (p->g->value.at[v].kind == kind && p->g->value.at[v].role == role)
            bytes += value_bytes(&p->g->value.at[v]);
    return bytes;
}

static void draw_nodes(Drawing *d, const char *title, const Plan *plan, const Cost *cost) {
    static const char font[] = "Helvetica,DejaVu Sans,sans-serif";
    agattr(d->graph, AGNODE, "fontname", (char *)font);
    agattr(d->graph, AGNODE, "fontsize", "16");
    agattr(d->graph, AGNODE, "margin", "0");
    agattr(d->graph, AGRAPH, "bgcolor", "white");
    agattr(d->graph, AGRAPH, "outputorder", "nodesfirst");
    agattr(d->graph, AGRAPH, "pad", "0.2");
    d->weight_bytes = bytes_of_kind(d->p, VALUE_PARAM, ROLE_WEIGHT);
    d->frozen_bytes = bytes_of_kind(d->p, VALUE_FROZEN, ROLE_WEIGHT);
    d->optimizer_bytes = bytes_of_kind(d->p, VALUE_STATE, ROLE_OPTIMIZER);
    draw_title(d, title, plan, cost);
    draw_legend(d);
    draw_boxes(d);
    draw_update(d);
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
    set(node, "pos", arena_printf(d->arena, "%.2f,%.2f", x, y));
}

static Point centre(const Drawing *d, Agnode_t *node) {
    return d->at[AGSEQ(node)];
}

static void put_band(Drawing *d, uint32_t first, double top, double bottom, double left, double right) {
    Agnode_t *band = d->band[first];
    set(band, "shape", "box");
    set(band, "label", "");
    set(band, "style", "rounded,filled");
    set(band, "fillcolor", "#faf8ef");
    set(band, "color", "#b9b49a");
    set(band, "fixedsize", "true");
    set(band, "width", arena_printf(d->arena, "%.4f", (right - left) / 72));
    set(band, "height", arena_printf(d->arena, "%.4f", (top - bottom) / 72));
    put(d, band, (left + right) / 2, (top + bottom) / 2);
    /* beside the forward chain, clear of the lanes */
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
        bool stays = i < count && begun != NONE && !d->band[i] && d->p->shown.at[i].row != NONE &&
                     d->p->shown.at[i].group == d->p->shown.at[begun].group;
        if (begun != NONE && !stays) {
            y += ROW_GAP - BAND_END;
            put_band(d, begun, top, y, left, right);
            y -= ROW_GAP;
            begun = NONE;
        }
        if (i == count) break;
        if (d->band[i]) {
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
    double legend = height_points(d, d->legend), head = height_points(d, d->title);
    put(d, d->legend, left + width_points(d, d->legend) / 2, legend / 2 + 2 * ROW_GAP);
    put(d, d->title, left + width_points(d, d->title) / 2, legend + head / 2 + 2 * ROW_GAP);
}

/* ---- edges ---- */

static void add_edge(Drawing *d, Agnode_t *from, Agnode_t *to, const char *color, int64_t bytes, bool dashed,
                     const char *spline) {
    Agedge_t *e = agedge(d->graph, from, to, NULL, 1);
    set(e, "color", color);
    set(e, "penwidth", width_of(d, bytes));
    set(e, "arrowsize", "0.8");
    if (dashed) set(e, "style", "dashed");
    set(e, "pos", spline);
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
    Drawing d = {.p = picture_new(request->g, request->plan, request->layout, request->layer, arena),
                 .arena = arena};
    agseterr(AGMAX);
    GVC_t *gvc = gvContext();
    d.graph = agopen("memory_plan", Agdirected, NULL);
    draw_nodes(&d, request->title, request->plan, request->cost);
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
