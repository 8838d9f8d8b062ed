/* What stands in the boxes of the picture: operations, groups of layers, the title with what is live at the
 * peak, the legend. See dot_parts.h. */
#include "codegen/decisions.h"
#include "codegen/picture/dot_parts.h"
#include "ir/ops.h"
#include "planner/layout/live.h"

#include <inttypes.h>
#include <string.h>

const FateLook fate_look[FATE_COUNT] = {
    [FATE_FREED] = {"#f1f1f1", "#8a8a8a", "freed at once", "freed"},
    [FATE_KEPT] = {"#a9cdf0", "#1f6fb5", "kept for the backward pass", "kept"},
    [FATE_RECOMPUTED] = {"#fdc98a", "#d9730d", "recomputed in the backward pass", "again"},
    [FATE_OFFLOADED] = {"#b8e0b0", "#2e8b3d", "copied to host memory and back", "away"},
};
static const char weight_fill[] = "#ddd0ee", frozen_fill[] = "#dfe3e6", peak_line[] = "#d3122b";
const char band_fill[] = "#faf8ef", band_line[] = "#b9b49a";

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
    dot_set(node, "shape", "plain");
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
    name = decisions_without_pieces(name, d->arena);
    text_add(&html, "<tr><td><b>%s</b>", escape(d->arena, name));
    if (row->pieces > 1) text_add(&html, " \u00d7%u", row->pieces);
    if (strcmp(last ? last + 1 : name, op_info[node->op].name))
        text_add(&html, " <font point-size=\"13\">%s</font>", op_info[node->op].name);
    text_add(&html, "<br/><font point-size=\"13\">%s   %s</font></td></tr>",
             type_text(d->arena, &d->p->g->value.at[node->out[0]].type), bytes_text(d, row->bytes));
    add_weights(d, &html, row->weight_bytes, row->frozen_bytes);
    if (row->made_bytes > row->bytes / 2000)
        text_add(&html,
                 "<tr><td bgcolor=\"%s\"><font point-size=\"13\">in the type it is read in: %s, "
                 "%s</font></td></tr>",
                 fate_look[row->made].fill, bytes_text(d, row->made_bytes), fate_look[row->made].brief);
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
                 escape(d->arena, decisions_without_pieces(short_name(d, &d->p->row.at[s->row]), d->arena)));
    if (peak) add_peak(d, &html);
    text_add(&html, "</table>");
    return html.at;
}

static void draw_boxes(Drawing *d) {
    uint32_t group = NONE, count = d->p->shown.count;
    d->forward = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    d->backward = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    d->header = NEW_ARRAY(d->arena, Agnode_t *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        const Shown *s = &d->p->shown.at[i];
        uint32_t next = s->row == NONE ? NONE : s->group;
        if (next != group && next != NONE) {
            const char *name = escape(d->arena, picture_group_name(d->p, &d->p->group.at[next], d->arena));
            d->header[i] = add_box(d, arena_printf(d->arena, "group%u", i),
                                   arena_printf(d->arena,
                                                "<table border=\"0\" bgcolor=\"%s\"><tr><td><font "
                                                "point-size=\"18\"><b>%s</b></font></td></tr></table>",
                                                band_fill, name));
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

static void add_part(const Drawing *d, Text *html, const char *what, int64_t bytes) {
    if (bytes)
        text_add(html, "<tr><td align=\"left\">%s</td><td align=\"right\">   %s</td></tr>", what,
                 bytes_text(d, bytes));
}

/* What is live at the peak, a row each. */
static void draw_memory(Drawing *d, const DotRequest *request) {
    const int64_t *live = live_at_peak(request->g, request->plan, request->layout, d->arena);
    int64_t total = 0;
    Text html = {.arena = d->arena};
    text_add(&html, "<table border=\"0\" cellspacing=\"0\" cellpadding=\"2\">");
    for (int c = 0; c < LIVE_COLUMNS; c++) {
        total += live[c];
        add_part(d, &html, live_label[c], live[c]);
    }
    add_part(d, &html, "packing", request->plan->peak_bytes - total);
    add_part(d, &html, "pinned host memory", request->plan->host_bytes);
    text_add(&html, "</table>");
    d->memory = add_box(d, "memory", html.at);
}

static double recomputed_share(const DotRequest *request) {
    double recomputed = 0, all = 0;
    for (uint32_t s = 0; s < request->plan->step.count; s++) {
        const Step *step = &request->plan->step.at[s];
        if (step->kind > STEP_RECOMPUTE) continue;
        all += request->cost[step->node].seconds;
        if (step->kind == STEP_RECOMPUTE) recomputed += request->cost[step->node].seconds;
    }
    return all > 0 ? recomputed / all : 0;
}

static void draw_title(Drawing *d, const DotRequest *request) {
    const Picture *p = d->p;
    static const char line[] = "<tr><td align=\"left\">", end[] = "</td></tr>";
    Text html = {.arena = d->arena};
    text_add(&html,
             "<table border=\"0\" cellspacing=\"2\" cellpadding=\"2\">%s<font "
             "point-size=\"28\"><b>%s</b></font>%s",
             line, escape(d->arena, request->title), end);
    text_add(&html, "%s%s<br align=\"left\"/>%s", line, escape(d->arena, request->source), end);
    if (p->peak_node != NONE)
        text_add(&html,
                 "%speak: %s live at step %u of %u, %s;<br align=\"left\"/>recomputation: %.1f%% of the "
                 "micro-step's and the update's time<br align=\"left\"/>%s",
                 line, bytes_text(d, p->peak_bytes), p->peak_step, request->plan->step.count,
                 escape(d->arena, p->g->node.at[p->peak_node].name), 100 * recomputed_share(request), end);
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

void dot_boxes(Drawing *d, const DotRequest *request) {
    static const char font[] = "Helvetica,DejaVu Sans,sans-serif";
    agattr(d->graph, AGNODE, "fontname", (char *)font);
    agattr(d->graph, AGNODE, "fontsize", "16");
    agattr(d->graph, AGNODE, "margin", "0");
    agattr(d->graph, AGRAPH, "bgcolor", "white");
    agattr(d->graph, AGRAPH, "outputorder", "edgesfirst"); /* no line goes through a name */
    agattr(d->graph, AGRAPH, "notranslate", "true");
    agattr(d->graph, AGRAPH, "pad", "0.2");
    d->weight_bytes = bytes_of_kind(d->p, VALUE_PARAM, ROLE_WEIGHT);
    d->frozen_bytes = bytes_of_kind(d->p, VALUE_FROZEN, ROLE_WEIGHT);
    d->optimizer_bytes = bytes_of_kind(d->p, VALUE_STATE, ROLE_OPTIMIZER);
    draw_title(d, request);
    draw_memory(d, request);
    draw_legend(d);
    draw_boxes(d);
    draw_update(d);
}
