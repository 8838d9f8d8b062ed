/* The map of the arena: every buffer a rectangle, from where it lies to where it ends, from when it is made
 * to when it is freed. Persistent neighbours of one category are drawn as one; of the others, those of every
 * other layer are a little lighter, so that layers can be told apart where there is no room for lines. */
#include "codegen/picture/report_parts.h"

#include <inttypes.h>
#include <stdlib.h>

static bool in_arena(const Buf *buf) {
    return buf->kind != BUF_HOST;
}

static uint32_t place_of(const Page *page, const Buf *buf) {
    return stack_place(buf->kind == BUF_WORKSPACE ? LIVE_WORKSPACE : live_column(page->g, buf->value));
}

static const char *name_of(const Page *page, const Buf *buf) {
    return buf->kind == BUF_WORKSPACE ? "workspace" : page->g->value.at[buf->value].name;
}

static void draw_box(const Page *page, int64_t low, int64_t high, double from, double to) {
    int x = (int)(from * PLANE), right = (int)(to * PLANE);
    int y = (int)scale_y(&page->scale, high), bottom = (int)scale_y(&page->scale, low);
    if (right <= x) right = x + 1;
    if (bottom <= y) bottom = y + 1;
    text_add(page->out, "M%d %dh%dv%dh%dz", x, y, right - x, bottom - y, x - right);
}

static bool in_odd_layer(Page *page, const Buf *buf) {
    GeneralName name = names_of(&page->names, name_of(page, buf));
    return name.block != NONE && name.block % 2;
}

static void draw_persistent(const Page *page, uint32_t place) {
    const Layout *layout = page->train->layout;
    int64_t low = -1, high = -1; /* of neighbours: they come in the order in which they lie */
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (!in_arena(buf) || !buf->persistent || place_of(page, buf) != place) continue;
        if (buf->offset != high) {
            if (low >= 0) draw_box(page, low, high, 0, 1);
            low = buf->offset;
        }
        high = buf->offset + buf->bytes;
    }
    if (low >= 0) draw_box(page, low, high, 0, 1);
}

/* Those of one category, in a path for each tint. */
static void draw_category(Page *page, uint32_t place) {
    const Layout *layout = page->train->layout;
    for (int odd = 0; odd < 2; odd++) {
        html_add(page->out, "<path class=\"$ c$\" d=\"M0 0", odd ? "box odd" : "box",
                 arena_printf(page->arena, "%u", place));
        if (!odd) draw_persistent(page, place);
        for (uint32_t b = 0; b < layout->buf.count; b++) {
            const Buf *buf = &layout->buf.at[b];
            if (!in_arena(buf) || buf->persistent || place_of(page, buf) != place) continue;
            if (in_odd_layer(page, buf) == (odd == 1))
                draw_box(page, buf->offset, buf->offset + buf->bytes,
                         timeline_share(&page->timeline, buf->lo), timeline_share(&page->timeline, buf->hi));
        }
        text_add(page->out, "\"/>\n");
    }
}

static json_t *flat(const uint32_t *number, uint32_t count) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) json_add(list, json_integer(number[i]));
    return list;
}

static void add_name(Page *page, json_t *list, const char *name) {
    GeneralName general = names_of(&page->names, name);
    json_add(list, json_integer(general.name));
    json_add(list, json_integer(general.block == NONE ? -1 : (int64_t)general.block));
}

static json_t *texts(const char *const *text, uint32_t count, Arena *arena) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        Text shown = {.arena = arena};
        text_add_printable(&shown, text[i], "");
        json_add(list, json_text(shown.length ? shown.at : ""));
    }
    return list;
}

/* Buffers, six numbers each: name, block, offset, bytes, and the steps between which it lives. Steps, three
 * numbers each: kind, name, block; and when they begin, in millionths of the whole. */
static void tell_script(Page *page) {
    enum { MILLION = 1000000 };
    const Layout *layout = page->train->layout;
    const Plan *plan = page->train->plan;
    json_t *buffers = json_array(), *steps = json_array(), *handovers = json_array();
    uint32_t *number = NEW_ARRAY(page->arena, uint32_t, layout->buf.count + 1), count = 0;
    uint32_t *begin = NEW_ARRAY(page->arena, uint32_t, plan->step.count + 1);
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (!in_arena(buf)) continue;
        number[b] = count++;
        add_name(page, buffers, name_of(page, buf));
        json_add(buffers, json_integer(buf->offset));
        json_add(buffers, json_integer(buf->bytes));
        json_add(buffers, json_integer(buf->lo));
        json_add(buffers, json_integer(buf->hi));
    }
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        bool runs = step->kind == STEP_RUN || step->kind == STEP_RECOMPUTE;
        json_add(steps, json_integer(step->kind));
        add_name(page, steps, runs ? page->g->node.at[step->node].name : page->g->value.at[step->value].name);
    }
    for (uint32_t i = 0; i < page->fates.handover.count; i++) {
        const Handover *handover = &page->fates.handover.at[i];
        json_add(handovers, json_integer(number[handover->buffer]));
        json_add(handovers, json_integer(handover->step));
        add_name(page, handovers, page->g->value.at[handover->value].name);
    }
    for (uint32_t s = 0; s <= plan->step.count; s++)
        begin[s] = (uint32_t)(timeline_share(&page->timeline, s) * MILLION);
    json_set(page->script, "buffers", buffers);
    json_set(page->script, "handovers", handovers);
    json_set(page->script, "steps", steps);
    json_set(page->script, "begin", flat(begin, plan->step.count + 1));
    json_set(page->script, "seconds", json_number(page->timeline.end_seconds));
    json_set(page->script, "kinds", texts(step_kind_name, STEP_FREE + 1, page->arena));
    json_set(page->script, "names", texts(page->names.general.at, page->names.general.count, page->arena));
    json_set(page->script, "blocks", texts(page->g->block.at, page->g->block.count, page->arena));
    json_t *scale = json_object();
    json_set(scale, "base", json_integer(page->scale.base));
    json_set(scale, "top", json_integer(page->scale.top));
    json_set(scale, "share", json_number(page->scale.base_share));
    json_set(page->script, "scale", scale);
}

void report_arena(Page *page) {
    Text *out = page->out;
    const Layout *layout = page->train->layout;
    uint32_t buffers = 0;
    for (uint32_t b = 0; b < layout->buf.count; b++) buffers += in_arena(&layout->buf.at[b]);
    text_add(out, "<section id=\"arena\"><h2>The arena, byte by byte</h2>\n");
    html_add(
        out,
        "<p>All @ buffers of a step, each where it lies from when it is made to when it is freed, in the one "
        "allocation of @. Two never overlap.<span class=\"scripted\"> Point at one, or press the arrow keys, "
        "to "
        "read its name, bytes and life; <kbd>+</kbd> and <kbd>\u2212</kbd> or a pinch "
        "zoom.</span></p>\n<figure>\n",
        page_value(page, "span", "buffers", buffers, FORM_COUNT),
        page_number(page, "span", "peak_bytes", FORM_BYTES));
    chart_open(out, "arena-chart", buffers < 1000 ? "timed outlined" : "timed", 400,
               "Map of the arena: offset upwards, time to the right, every buffer a rectangle");
    chart_bytes_axis(out, &page->scale);
    chart_plane_open(out);
    for (uint32_t k = 0; k < LIVE_COLUMNS; k++)
        if (page->used[stack_order[k]]) draw_category(page, k);
    chart_plane_close(out);
    chart_time_axis(page);
    chart_close(out);
    text_add(out,
             "<p class=\"scripted zoom\"><button type=\"button\" data-zoom=\"1.5\">closer</button><button "
             "type=\"button\" data-zoom=\"0.667\">wider</button><button type=\"button\" data-zoom=\"0\">all"
             "</button></p></figure></section>\n");
    tell_script(page);
}
