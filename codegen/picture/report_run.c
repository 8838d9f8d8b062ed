/* What a run measured, over what was planned: its peak, and how long its steps took. Of many steps each point
 * is the median of neighbours. */
#include "codegen/picture/report_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { POINTS = 500 };

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Of those that are known; NAN: none is. */
static double median(double *value, uint32_t count) {
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(value[i])) value[known++] = value[i];
    if (!known) return NAN;
    qsort(value, known, sizeof *value, ascending);
    return known % 2 ? value[known / 2] : (value[known / 2 - 1] + value[known / 2]) / 2;
}

typedef struct Curve {
    double at[POINTS], value[POINTS];
    uint32_t count;
    double low, high;
} Curve;

static Curve curve_of(const RunLog *run, bool losses, Arena *arena) {
    Curve curve = {.low = INFINITY, .high = -INFINITY};
    uint32_t steps = run->step.count, each = (steps + POINTS - 1) / POINTS;
    double *value = NEW_ARRAY(arena, double, each + 1);
    int64_t first = run->step.at[0].step, last = run->step.at[steps - 1].step;
    for (uint32_t i = 0; i < steps; i += each) {
        uint32_t count = steps - i < each ? steps - i : each;
        for (uint32_t k = 0; k < count; k++)
            value[k] = losses ? run->step.at[i + k].loss : run->step.at[i + k].seconds;
        double middle = median(value, count);
        if (!isfinite(middle)) continue;
        curve.at[curve.count] =
            last > first ? (double)(run->step.at[i + count / 2].step - first) / (double)(last - first) : 0.5;
        curve.value[curve.count++] = middle;
        curve.low = fmin(curve.low, middle);
        curve.high = fmax(curve.high, middle);
    }
    return curve;
}

typedef struct Axis {
    double low, high;
    bool seconds;
} Axis;

static double up(const Axis *axis, double value) {
    double share = (axis->high - value) / (axis->high - axis->low);
    return share < 0 ? 0 : share;
}

static void draw_axes(const Page *page, const Axis *axis, const char *what) {
    enum { MOST_TICKS = 4 };
    Text *out = page->out;
    const RunLog *run = page->request->run;
    double step = tick_step(axis->high - axis->low, MOST_TICKS);
    for (double at = ceil(axis->low / step) * step; at <= axis->high; at += step) {
        const char *y = percent(up(axis, at), page->arena);
        html_add(out, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"$\" y2=\"$\"/>", y, y);
        html_add(out, "<text class=\"tick y\" x=\"-8\" y=\"$\" dy=\".32em\">$</text>\n", y,
                 axis->seconds ? seconds_tick(at, axis->high, page->arena)
                               : arena_printf(page->arena, "%.6g", at));
    }
    html_add(out, "<text class=\"tick\" x=\"0\" y=\"-6\">\u2191 $</text>", what);
    html_add(out, "<text class=\"tick x first\" x=\"0\" y=\"100%\" dy=\"1.5em\">step $</text>",
             arena_printf(page->arena, "%" PRId64, run->step.at[0].step));
    html_add(out, "<text class=\"tick x last\" x=\"100%\" y=\"100%\" dy=\"1.5em\">step $</text>\n",
             arena_printf(page->arena, "%" PRId64, run->step.at[run->step.count - 1].step));
}

static void draw_curve(const Page *page, const Curve *curve, const Axis *axis, const char *id,
                       const char *what, const char *label) {
    Text *out = page->out;
    text_add(out, "<figure>\n");
    chart_open(out, id, "", 170, label);
    draw_axes(page, axis, what);
    chart_plane_open(out);
    text_add(out, "<path class=\"line s0\" d=\"");
    for (uint32_t i = 0; i < curve->count; i++)
        text_add(out, "%c%d %d", i ? 'L' : 'M', (int)(curve->at[i] * PLANE),
                 (int)(up(axis, curve->value[i]) * PLANE));
    text_add(out, "\"/>\n");
    chart_plane_close(out);
    if (axis->seconds) {
        const char *y = percent(up(axis, page_double(page, "seconds")), page->arena);
        html_add(out, "<line class=\"budget\" x1=\"0\" x2=\"100%\" y1=\"$\" y2=\"$\"/>", y, y);
        html_add(out, "<text class=\"note budget left\" x=\"100%\" y=\"$\" dy=\"-5\">planned @</text>\n", y,
                 page_number(page, "tspan", "seconds", FORM_SECONDS));
    }
    chart_close(out);
    text_add(out, "</figure>\n");
}

/* From nothing to three times what is usual: what takes longer ends at the top. */
static void draw_times(const Page *page, double middle) {
    const double far = 3;
    Curve curve = curve_of(page->request->run, false, page->arena);
    double usual = fmax(middle, page_double(page, "seconds"));
    Axis axis = {.high = 1.08 * fmin(fmax(curve.high, usual), far * usual), .seconds = true};
    if (curve.count)
        draw_curve(page, &curve, &axis, "time-chart", "time of a step",
                   "Seconds of each step, and as planned");
}

static void draw_losses(const Page *page) {
    Curve curve = curve_of(page->request->run, true, page->arena);
    double room = fmax(0.08 * (curve.high - curve.low), 1e-3);
    Axis axis = {.low = curve.low - room, .high = curve.high + room};
    if (curve.count) draw_curve(page, &curve, &axis, "loss-chart", "loss", "Loss of each step");
}

static void add_memory(const Page *page) {
    Text *out = page->out;
    const RunLog *run = page->request->run;
    double planned = page_double(page, "peak_bytes"), measured = (double)run->measured_bytes;
    if (run->planned_bytes != (int64_t)planned) {
        html_add(out,
                 "<p class=\"warning\">The log is that of another plan: it was made for a peak of @, and "
                 "this plan's is "
                 "@.</p>\n",
                 page_value(page, "span", "run.planned_bytes", (double)run->planned_bytes, FORM_BYTES),
                 page_number(page, "span", "peak_bytes", FORM_BYTES));
        return;
    }
    html_add(out, "<p>Memory: planned @, measured @", page_number(page, "span", "peak_bytes", FORM_BYTES),
             page_value(page, "span", "run.measured_bytes", measured, FORM_BYTES));
    if (measured == planned)
        text_add(out, ", equal to the byte");
    else
        html_add(out, ", @ $",
                 page_value(page, "span", "run.off_bytes", fabs(measured - planned), FORM_BYTES),
                 measured < planned ? "less: some part of the program had not run yet" : "more");
    if (run->planned_host_bytes)
        html_add(
            out, "; host memory: planned @, measured @",
            page_value(page, "span", "run.planned_host_bytes", (double)run->planned_host_bytes, FORM_BYTES),
            page_value(page, "span", "run.measured_host_bytes", (double)run->measured_host_bytes,
                       FORM_BYTES));
    text_add(out, ".</p>\n");
}

void report_run(Page *page) {
    Text *out = page->out;
    const RunLog *run = page->request->run;
    if (!run) return;
    double *seconds = NEW_ARRAY(page->arena, double, run->step.count + 1);
    for (uint32_t i = 0; i < run->step.count; i++) seconds[i] = run->step.at[i].seconds;
    double middle = median(seconds, run->step.count), slowest = 0;
    for (uint32_t i = 0; i < run->step.count; i++) slowest = fmax(slowest, run->step.at[i].seconds);
    html_add(
        out,
        "<section id=\"run\"><h2>What a run measured</h2>\n<p>The log <b class=\"name\">$</b> has @ steps.",
        run->path, page_value(page, "span", "run.steps", run->step.count, FORM_COUNT));
    if (isfinite(middle))
        html_add(
            out, " The median step took @, @ of the @ that were planned; the slowest @.",
            page_value(page, "span", "run.median_seconds", middle, FORM_SECONDS),
            page_value(page, "span", "run.time_share", middle / page_double(page, "seconds"), FORM_PERCENT),
            page_number(page, "span", "seconds", FORM_SECONDS),
            page_value(page, "span", "run.slowest_seconds", slowest, FORM_SECONDS));
    text_add(out, "</p>\n");
    add_memory(page);
    draw_times(page, middle);
    draw_losses(page);
    text_add(out, "</section>\n");
}
