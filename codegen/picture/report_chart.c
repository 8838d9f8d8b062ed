/* See report_parts.h: what charts are made of. */
#include "codegen/picture/report_parts.h"

#include <math.h>

const LiveColumn stack_order[LIVE_COLUMNS] = {(LiveColumn)ROLE_WEIGHT,    LIVE_FROZEN,
                                              (LiveColumn)ROLE_OPTIMIZER, (LiveColumn)ROLE_INPUT,
                                              (LiveColumn)ROLE_METRIC,    (LiveColumn)ROLE_WGRAD,
                                              LIVE_DEQUANTIZED,           (LiveColumn)ROLE_ACTIVATION,
                                              (LiveColumn)ROLE_GRADIENT,  LIVE_WORKSPACE,
                                              (LiveColumn)ROLE_CACHE};

uint32_t stack_place(LiveColumn column) {
    uint32_t place = 0;
    while (stack_order[place] != column) place++;
    return place;
}

ByteScale scale_of(int64_t base, int64_t top) {
    static const double most = 0.45, room = 0.22; /* of the height */
    ByteScale scale = {.base = base, .top = top};
    scale.base_share = top > 0 ? (double)base / (double)top : 0;
    if (scale.base_share > most) scale.base_share = room;
    return scale;
}

bool scale_is_broken(const ByteScale *scale) {
    return scale->base > 0 && scale->base_share < (double)scale->base / (double)scale->top - 0.01;
}

double scale_y(const ByteScale *scale, int64_t bytes) {
    double share = bytes <= scale->base
                       ? scale->base_share * (double)bytes / (double)(scale->base ? scale->base : 1)
                       : scale->base_share + (1 - scale->base_share) * (double)(bytes - scale->base) /
                                                 (double)(scale->top - scale->base);
    return PLANE * (1 - share);
}

const char *percent(double share, Arena *arena) {
    return arena_printf(arena, "%.2f%%", 100 * share);
}

void chart_open(Text *out, const char *id, const char *what, int height, const char *label) {
    html_add(
        out,
        "<svg id=\"$\" class=\"chart $\" height=\"$\" role=\"img\" aria-label=\"$\" focusable=\"true\">\n",
        id, what, arena_printf(out->arena, "%d", height), label);
}

void chart_close(Text *out) {
    text_add(out, "</svg>\n");
}

void chart_plane_open(Text *out) {
    text_add(out,
             "<svg class=\"plane\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" width=\"100%%\" "
             "height=\"100%%\">\n",
             PLANE, PLANE);
}

void chart_plane_close(Text *out) {
    text_add(out, "</svg>\n");
}

void chart_text(Text *out, double x, double y, const char *what, const char *markup) {
    html_add(out, "<text x=\"@\" y=\"@\" class=\"@\">@</text>\n", percent(x, out->arena),
             percent(y, out->arena), what, markup);
}

/* 1, 2, 5, 10, .., 500 of a unit: at most `most` of them in `span`. */
int64_t byte_step(int64_t span, int most) {
    static const int64_t step[] = {1, 2, 5, 10, 20, 50, 100, 200, 500};
    for (int64_t unit = 1;; unit <<= 10)
        for (size_t i = 0; i < COUNT_OF(step); i++)
            if (span / (step[i] * unit) <= most) return step[i] * unit;
}

/* "40 MiB": in the unit of the distance between ticks. */
const char *bytes_tick(int64_t bytes, int64_t step, Arena *arena) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t u = 0;
    for (; step >= 1024 && u + 1 < COUNT_OF(unit); u++) step >>= 10, value /= 1024;
    if (bytes == 0) return "0";
    return arena_printf(arena, "%.*f %s", value == floor(value) ? 0 : 1, value, unit[u]);
}

static void add_bytes_tick(Text *out, double share, const char *label) {
    const char *y = percent(share, out->arena);
    html_add(out, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"$\" y2=\"$\"/>", y, y);
    html_add(out, "<text class=\"tick y\" x=\"-8\" y=\"$\" dy=\".32em\">$</text>\n", y, label);
}

/* Two strokes across the axis, where the scale breaks. */
static void add_break(Text *out, double share) {
    text_add(out, "<g class=\"break\">");
    for (int i = 0; i < 2; i++)
        html_add(out, "<line x1=\"-5\" x2=\"5\" y1=\"$\" y2=\"$\"/>",
                 percent(share + 0.018 * i + 0.012, out->arena),
                 percent(share + 0.018 * i - 0.012, out->arena));
    text_add(out, "</g>\n");
}

void chart_bytes_axis(Text *out, const ByteScale *scale) {
    enum { MOST_TICKS = 5 };
    static const double close = 0.07; /* too near to the tick before */
    bool broken = scale_is_broken(scale);
    int64_t from = broken ? scale->base : 0, step = byte_step(scale->top - from, MOST_TICKS);
    double base = scale_y(scale, from) / PLANE, last = base;
    add_bytes_tick(out, 1, "0");
    if (broken) {
        add_bytes_tick(out, base, bytes_tick(scale->base, step, out->arena));
        add_break(out, (1 + base) / 2);
    }
    for (int64_t at = from / step * step + step; at <= scale->top; at += step) {
        double share = scale_y(scale, at) / PLANE;
        if (last - share < close) continue;
        add_bytes_tick(out, share, bytes_tick(at, step, out->arena));
        last = share;
    }
}

double tick_step(double span, int most) {
    double step = pow(10, floor(log10(span / most)));
    while (span / step > most) step *= span / step > 5 * most ? 10 : span / step > 2 * most ? 5 : 2;
    return step;
}

const char *seconds_tick(double seconds, double span, Arena *arena) {
    double unit = span < 1e-3 ? 1e6 : span < 1 ? 1e3 : 1;
    return arena_printf(arena, "%.6g %s", seconds * unit, span < 1e-3 ? "\u00b5s" : span < 1 ? "ms" : "s");
}

static void phase_label(const Page *page, double from, double to, const char *name) {
    static const double narrow = 0.07; /* no room for the word */
    if (from > 0)
        html_add(page->out, "<line class=\"phase\" x1=\"$\" x2=\"$\" y1=\"-14\" y2=\"100%\"/>",
                 percent(from, page->arena), percent(from, page->arena));
    if (to - from < narrow) return;
    html_add(page->out, "<text class=\"phase\" x=\"$\" y=\"-6\">$</text>\n",
             percent((from + to) / 2, page->arena), name);
}

void chart_time_axis(const Page *page) {
    enum { MOST_TICKS = 5 };
    const Timeline *t = &page->timeline;
    if (t->end_seconds <= 0) return;
    double step = tick_step(t->end_seconds, MOST_TICKS);
    for (double at = 0; at <= t->end_seconds * 0.96; at += step)
        html_add(page->out, "<text class=\"tick x$\" x=\"$\" y=\"100%\" dy=\"1.5em\">$</text>\n",
                 at > 0 ? "" : " first", percent(at / t->end_seconds, page->arena),
                 at > 0 ? seconds_tick(at, t->end_seconds, page->arena) : "0");
    double turn = timeline_share(t, t->backward_begin), update = t->micro_seconds / t->end_seconds;
    phase_label(page, 0, turn, "forward");
    if (turn < 1) phase_label(page, turn, update, "backward");
    if (update < 1) phase_label(page, update, 1, "update");
}
