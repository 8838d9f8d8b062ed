/* See budget_chart.h. Budgets go to the right, on a scale that is linear; seconds up, from a little below the
 * least. */
#include "codegen/picture/report_parts.h"

#include <math.h>
#include <string.h>

typedef struct Frame {
    const BudgetChart *chart;
    Text *out;
    int64_t low, high;
    double bottom, top;
    bool logarithmic;
} Frame;

enum { SHAPES = 6 };
/* Marks that can be told apart without colour. */
static const char *const shape[SHAPES] = {"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
                                          "M-3.6-3.6h7.2v7.2h-7.2z",
                                          "M0-5L4.6 3.4H-4.6z",
                                          "M0-5.2L5.2 0 0 5.2-5.2 0z",
                                          "M0 5L4.6-3.4H-4.6z",
                                          "M-1.4-5h2.8v3.6h3.6v2.8h-3.6v3.6h-2.8v-3.6h-3.6v-2.8h3.6z"};

static void widen(Frame *f, int64_t budget, double value) {
    if (value <= 0) return;
    if (!f->high || budget < f->low) f->low = budget;
    if (budget > f->high) f->high = budget;
    if (f->top == 0 || value < f->bottom) f->bottom = value;
    if (value > f->top) f->top = value;
}

static Frame frame_of(const BudgetChart *chart, Text *out) {
    Frame f = {.chart = chart, .out = out};
    for (uint32_t i = 0; i < chart->lines; i++)
        for (uint32_t k = 0; k < chart->line[i].point.count; k++) {
            const BudgetPoint *point = &chart->line[i].point.at[k];
            widen(&f, point->budget_bytes, point->value);
            widen(&f, point->budget_bytes, point->bound);
        }
    widen(&f, chart->mark.bytes, chart->mark.value);
    const double far = 2;
    f.logarithmic = f.top > far * f.bottom;
    const double above = 0.06, below = 0.22; /* below: room for what names the mark */
    double span_up = f.logarithmic ? log(f.top / f.bottom) : f.top - f.bottom, flat = f.top * 0.04;
    if (f.logarithmic) {
        f.top *= exp(above * span_up);
        f.bottom /= exp(below * span_up);
    } else {
        if (span_up < flat) span_up = flat; /* what is flat stays flat */
        f.top += above * span_up;
        f.bottom = fmax(0, f.bottom - below * span_up);
    }
    int64_t span = f.high - f.low, margin = span > 0 ? span / 25 : f.high / 10;
    f.low = f.low > margin ? f.low - margin : 0;
    f.high += margin + 1;
    return f;
}

static double x_of(const Frame *f, int64_t bytes) {
    return (double)(bytes - f->low) / (double)(f->high - f->low);
}

static double y_of(const Frame *f, double value) {
    return f->logarithmic ? 1 - log(value / f->bottom) / log(f->top / f->bottom)
                          : 1 - (value - f->bottom) / (f->top - f->bottom);
}

static void draw_value(const Frame *f, double value) {
    Arena *arena = f->out->arena;
    const char *y = percent(y_of(f, value), arena);
    html_add(f->out, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"$\" y2=\"$\"/>", y, y);
    html_add(f->out, "<text class=\"tick y\" x=\"-8\" y=\"$\" dy=\".32em\">$</text>\n", y,
             f->chart->seconds ? seconds_tick(value, f->top, arena) : form_text(value, FORM_COUNT, arena));
}

static void draw_values(const Frame *f) {
    enum { MOST_TICKS = 5 };
    static const double part[] = {1, 1.5, 2, 3, 5, 7}, many = 8;
    if (!f->logarithmic) {
        double step = tick_step(f->top - f->bottom, MOST_TICKS);
        for (double at = ceil(f->bottom / step) * step; at <= f->top; at += step) draw_value(f, at);
        return;
    }
    for (double unit = pow(10, floor(log10(f->bottom))); unit <= f->top; unit *= 10)
        for (size_t i = 0; i<COUNT_OF(part); i += f->top> many * f->bottom ? 2 : 1)
            if (unit * part[i] >= f->bottom && unit * part[i] <= f->top) draw_value(f, unit * part[i]);
}

static void draw_axes(const Frame *f) {
    enum { MOST_TICKS = 5 };
    Arena *arena = f->out->arena;
    draw_values(f);
    int64_t wide = byte_step(f->high - f->low, MOST_TICKS);
    for (int64_t at = (f->low + wide - 1) / wide * wide; at <= f->high; at += wide) {
        double share = x_of(f, at);
        if (share > 0.88) continue; /* the axis's name is there */
        html_add(f->out, "<line class=\"grid x\" x1=\"$\" x2=\"$\" y1=\"100%\" y2=\"100%\"/>",
                 percent(share, arena), percent(share, arena));
        html_add(f->out, "<text class=\"tick x\" x=\"$\" y=\"100%\" dy=\"1.5em\">$</text>\n",
                 percent(share, arena), bytes_tick(at, wide, arena));
    }
    html_add(f->out,
             "<text class=\"tick x last\" x=\"100%\" y=\"100%\" dy=\"1.5em\">budget \u2192</text>"
             "<text class=\"tick\" x=\"0\" y=\"-6\">\u2191 $</text>\n",
             f->chart->what);
}

static void draw_line(const Frame *f, const BudgetLine *line, uint32_t number, bool bound) {
    html_add(f->out, "<path class=\"$\" d=\"",
             bound ? "bound" : arena_printf(f->out->arena, "line s%u", number % SHAPES));
    for (uint32_t k = 0; k < line->point.count; k++) {
        const BudgetPoint *point = &line->point.at[k];
        text_add(f->out, "%c%d %d", k ? 'L' : 'M', (int)(x_of(f, point->budget_bytes) * PLANE),
                 (int)(y_of(f, bound ? point->bound : point->value) * PLANE));
    }
    text_add(f->out, "\"/>\n");
}

/* The bound of the fastest plan, at each budget of the line that has most. */
static BudgetLine bounds_of(const BudgetChart *chart, Arena *arena) {
    BudgetLine bounds = {.name = "lower bound"};
    const BudgetLine *most = &chart->line[0];
    for (uint32_t i = 1; i < chart->lines; i++)
        if (chart->line[i].point.count > most->point.count) most = &chart->line[i];
    for (uint32_t k = 0; k < most->point.count; k++) {
        BudgetPoint fastest = most->point.at[k];
        for (uint32_t i = 0; i < chart->lines; i++)
            for (uint32_t j = 0; j < chart->line[i].point.count; j++) {
                const BudgetPoint *point = &chart->line[i].point.at[j];
                if (point->budget_bytes == fastest.budget_bytes && point->value < fastest.value)
                    fastest = *point;
            }
        if (fastest.bound > 0) *vec_add(arena, &bounds.point) = fastest;
    }
    return bounds;
}

static void draw_point(const Frame *f, const BudgetLine *line, uint32_t number, const BudgetPoint *point) {
    Arena *arena = f->out->arena;
    char budget[24], peak[24];
    html_add(f->out,
             "<svg x=\"$\" y=\"$\" class=\"mark s$\"><path d=\"$\"><title>$: $ with a budget of $, peak "
             "$</title></path></svg>\n",
             percent(x_of(f, point->budget_bytes), arena), percent(y_of(f, point->value), arena),
             arena_printf(arena, "%u", number % SHAPES), shape[number % SHAPES], line->name,
             form_text(point->value, f->chart->seconds ? FORM_SECONDS : FORM_COUNT, arena),
             format_bytes_up(point->budget_bytes, budget), format_bytes(point->peak_bytes, peak));
}

/* Named below it, where no plan is. */
static void draw_mark(const Frame *f, const BudgetMark *mark) {
    Arena *arena = f->out->arena;
    const char *x = percent(x_of(f, mark->bytes), arena), *y = percent(y_of(f, mark->value), arena);
    const char *side = x_of(f, mark->bytes) > 0.8 ? "left" : x_of(f, mark->bytes) < 0.2 ? "right" : "middle";
    html_add(f->out, "<circle class=\"chosen\" cx=\"$\" cy=\"$\" r=\"9\"/>", x, y);
    html_add(f->out, "<text class=\"note chosen $\" x=\"$\" y=\"$\" dy=\"26\">@</text>\n", side, x, y,
             mark->markup);
}

void budget_chart_key(const BudgetChart *chart, Text *out) {
    text_add(out, "<ul class=\"key\">");
    for (uint32_t i = 0; i < chart->lines; i++)
        html_add(out,
                 "<li><svg class=\"swatch mark s$\" width=\"26\" height=\"14\" viewBox=\"-13 -7 26 14\" "
                 "aria-hidden=\"true\"><path class=\"line s$\" d=\"M-13 0H13\"/><path d=\"$\"/></svg><b "
                 "class=\"name\">$</b></li>",
                 arena_printf(out->arena, "%u", i % SHAPES), arena_printf(out->arena, "%u", i % SHAPES),
                 shape[i % SHAPES], chart->line[i].name);
    text_add(out,
             "<li><svg class=\"swatch\" width=\"26\" height=\"14\" viewBox=\"-13 -7 26 14\" "
             "aria-hidden=\"true\"><path class=\"bound\" d=\"M-13 0H13\"/></svg>lower bound</li></ul>\n");
}

static void draw_content(const Frame *f, const BudgetLine *bounds) {
    const BudgetChart *chart = f->chart;
    draw_axes(f);
    chart_plane_open(f->out);
    for (uint32_t i = 0; chart->apart && bounds->point.count && i < chart->lines; i++)
        draw_line(f, &chart->line[i], i, true);
    if (!chart->apart && bounds->point.count) draw_line(f, bounds, 0, true);
    for (uint32_t i = chart->lines; i-- > 0;) draw_line(f, &chart->line[i], i, false);
    chart_plane_close(f->out);
    for (uint32_t i = 0; i < chart->lines; i++)
        for (uint32_t k = 0; k < chart->line[i].point.count; k++)
            draw_point(f, &chart->line[i], i, &chart->line[i].point.at[k]);
    if (chart->mark.markup) draw_mark(f, &chart->mark);
}

void budget_chart_draw(const BudgetChart *chart, Text *out) {
    Frame f = frame_of(chart, out);
    BudgetLine bounds = bounds_of(chart, out->arena);
    chart_open(out, "budget-chart", "", 320, chart->label);
    draw_content(&f, &bounds);
    chart_close(out);
}

/* ---- a file of its own ---- */

/* For all who show SVG, so without what only browsers know. */
static const char file_style[] =
    "text{font:13px Helvetica,Arial,'DejaVu "
    "Sans',sans-serif;fill:#575c66}.title{font-size:20px;font-weight:bold;"
    "fill:#1b1d21}.grid{stroke:#e4e4de}.axis{stroke:#575c66}.tick.y{text-anchor:end}.tick.x{text-anchor:"
    "middle}"
    ".tick.last{text-anchor:end}.line,.bound{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}"
    ".bound{stroke:#575c66;stroke-dasharray:2 4}"
    ".s0{stroke:#0072b2}.s1{stroke:#d55e00}.s2{stroke:#009e73}.s3{stroke:#cc79a7}.s4{stroke:#b28f00}.s5{"
    "stroke:#56b4e9}"
    ".mark{overflow:visible;stroke:none}.mark.s0{fill:#0072b2}.mark.s1{fill:#d55e00}.mark.s2{fill:#009e73}"
    ".mark.s3{fill:#cc79a7}.mark.s4{fill:#b28f00}.mark.s5{fill:#56b4e9}";

/* A mark and a name for each line, one after the other. */
static void add_file_key(const BudgetChart *chart, bool bound, Text *out) {
    int y = 62;
    for (uint32_t i = 0; i <= chart->lines; i++, y += 20) {
        if (i == chart->lines && !bound) break;
        const char *at = arena_printf(out->arena, "%d", y), *text = arena_printf(out->arena, "%d", y + 4);
        const char *number = arena_printf(out->arena, "%u", i % SHAPES);
        if (i < chart->lines)
            html_add(out,
                     "<path class=\"line s$\" d=\"M20 @h30\"/><svg x=\"35\" y=\"@\" class=\"mark s$\"><path "
                     "d=\"$\"/></svg><text x=\"60\" y=\"@\">$</text>\n",
                     number, at, at, number, shape[i % SHAPES], text, chart->line[i].name);
        else
            html_add(out, "<path class=\"bound\" d=\"M20 @h30\"/><text x=\"60\" y=\"@\">lower bound</text>\n",
                     at, text);
    }
}

void budget_chart_file(const BudgetChart *chart, const char *title, Text *out) {
    enum { WIDTH = 960, CHART = 320, LEFT = 90, RIGHT = 30 };
    Frame f = frame_of(chart, out);
    BudgetLine bounds = bounds_of(chart, out->arena);
    int top = 90 + 20 * ((int)chart->lines + (bounds.point.count > 0)), height = top + CHART + 40;
    text_add(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
             "role=\"img\">\n",
             WIDTH, height, WIDTH, height);
    html_add(out, "<title>$</title><style>@</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
             title, file_style);
    html_add(out, "<text class=\"title\" x=\"20\" y=\"34\">$</text>\n", title);
    add_file_key(chart, bounds.point.count > 0, out);
    text_add(out, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" overflow=\"visible\">\n", LEFT, top,
             WIDTH - LEFT - RIGHT, CHART);
    draw_content(&f, &bounds);
    text_add(out, "<line class=\"axis\" x1=\"0\" x2=\"100%%\" y1=\"100%%\" y2=\"100%%\"/></svg>\n</svg>\n");
}
