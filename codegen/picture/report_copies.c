/* Copies to host memory and back: what computes, what is copied when, and how full host memory is. Left out
 * where a plan has none. */
#include "codegen/picture/report_parts.h"

enum { LANE = 26, LANE_BAR = 16, HEAD = 2 };

static void draw_bar(const Page *page, double from, double to, int lane, const char *what) {
    double end = page->timeline.end_seconds, width = (to - from) / end;
    char y[16], height[16];
    snprintf(y, sizeof y, "%d", HEAD + lane * LANE);
    snprintf(height, sizeof height, "%d", LANE_BAR);
    html_add(page->out, "<rect class=\"$\" x=\"$\" width=\"$\" y=\"$\" height=\"$\"/>", what,
             percent(from / end, page->arena), percent(width, page->arena), y, height);
}

/* Copies without a pause between them are one bar. */
static void draw_queue(const Page *page, bool out, int lane) {
    const Timeline *t = &page->timeline;
    double from = -1, to = -1, close = t->end_seconds / PLANE;
    for (uint32_t i = 0; i < t->copy.count; i++) {
        const TimedCopy *copy = &t->copy.at[i];
        if (copy->out != out) continue;
        if (copy->begin > to + close) {
            if (from >= 0) draw_bar(page, from, to, lane, out ? "copy out" : "copy in");
            from = copy->begin;
        }
        to = copy->end;
    }
    if (from >= 0) draw_bar(page, from, to, lane, out ? "copy out" : "copy in");
}

/* From one wait to the next it computes; what stands between is nothing but copies. */
static void draw_computing(const Page *page) {
    const Timeline *t = &page->timeline;
    double from = 0, close = t->end_seconds / PLANE;
    for (uint32_t s = 0; s < page->train->plan->step.count; s++) {
        if (t->wait[s] <= close) continue;
        draw_bar(page, from, t->begin[s] - t->wait[s], 0, "computing");
        draw_bar(page, t->begin[s] - t->wait[s], t->begin[s], 0, "waiting");
        from = t->begin[s];
    }
    draw_bar(page, from, t->end_seconds, 0, "computing");
}

static void draw_lanes(const Page *page) {
    static const char *const name[] = {"compute", "out", "back"};
    Text *out = page->out;
    chart_open(out, "queue-chart", "timed lanes", HEAD + LANE * (int)COUNT_OF(name),
               "What computes, waits and is copied, over a step");
    for (size_t i = 0; i < COUNT_OF(name); i++)
        html_add(out, "<text class=\"tick y\" x=\"-8\" y=\"$\" dy=\".32em\">$</text>",
                 arena_printf(page->arena, "%d", HEAD + LANE * (int)i + LANE_BAR / 2), name[i]);
    draw_computing(page);
    draw_queue(page, true, 1);
    draw_queue(page, false, 2);
    chart_time_axis(page);
    chart_close(out);
}

/* Bytes of host memory that are live, as steps of a line. */
static void draw_host(const Page *page) {
    const Layout *layout = page->train->layout;
    uint32_t steps = page->train->plan->step.count;
    int64_t *change = NEW_ARRAY(page->arena, int64_t, steps + 2), live = 0;
    Text *out = page->out;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind != BUF_HOST) continue;
        change[buf->lo] += buf->bytes;
        change[buf->hi] -= buf->bytes;
    }
    ByteScale scale = scale_of(0, layout->host_bytes + layout->host_bytes / 20);
    chart_open(out, "host-chart", "timed", 130, "Host memory in use over a step");
    chart_bytes_axis(out, &scale);
    chart_plane_open(out);
    text_add(out, "<path class=\"area away\" d=\"M0 %d", PLANE);
    for (uint32_t s = 0; s < steps; s++) {
        if (!change[s]) continue;
        live += change[s];
        text_add(out, "H%dV%d", (int)(timeline_share(&page->timeline, s) * PLANE),
                 (int)scale_y(&scale, live));
    }
    text_add(out, "H%dV%dZ\"/>\n", PLANE, PLANE);
    chart_plane_close(out);
    chart_time_axis(page);
    chart_close(out);
}

void report_copies(Page *page) {
    Text *out = page->out;
    if (!page->train->layout->host_bytes) return;
    text_add(out, "<section id=\"copies\"><h2>Host memory and its copies</h2>\n");
    html_add(out, "<p>In every micro-step @ leave for host memory and come back, $. ",
             page_number(page, "span", "offload_bytes", FORM_BYTES),
             page->request->emit->device->copies_beside
                 ? "beside the computation, one copy each way at a time"
                 : "in the processor's own time");
    if (page_double(page, "wait_seconds") > 0)
        html_add(out, "Operations wait @ a step for them. ",
                 page_number(page, "span", "wait_seconds", FORM_SECONDS));
    else
        text_add(out, "Nothing waits for them. ");
    html_add(out, "Pinned host memory holds @ of the @ that the file gives.</p>\n<figure>\n",
             page_number(page, "span", "host_bytes", FORM_BYTES),
             page_number(page, "span", "host_budget_bytes", FORM_BYTES));
    draw_lanes(page);
    text_add(out, "</figure>\n<h3>Host memory in use</h3>\n<figure>\n");
    draw_host(page);
    text_add(out, "</figure></section>\n");
}
