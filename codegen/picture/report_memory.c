/* Memory over a step, stacked by what it is for. The chart has as many columns as can be told apart on a
 * screen; each shows the fullest step that falls into it, so that no peak is lost. */
#include "codegen/picture/report_parts.h"

#include <stdlib.h>

enum { MANY_STEPS = 5000 }; /* lines between areas would hide them */
enum { COLUMNS = 1250, WIDTH = PLANE / COLUMNS };

static int64_t total_at(const Page *page, uint32_t step) {
    int64_t total = 0;
    for (int c = 0; c < LIVE_COLUMNS; c++) total += page->live[(size_t)step * LIVE_COLUMNS + (size_t)c];
    return total;
}

static uint32_t column_at(const Page *page, uint32_t step) {
    double column = timeline_share(&page->timeline, step) * COLUMNS;
    return column >= COLUMNS ? COLUMNS - 1 : (uint32_t)column;
}

/* By column of the chart, the step that it shows. */
static uint32_t *find_skyline(const Page *page) {
    uint32_t steps = page->train->plan->step.count, *skyline = NEW_ARRAY(page->arena, uint32_t, COLUMNS);
    for (uint32_t i = 0; i < COLUMNS; i++) skyline[i] = NONE;
    for (uint32_t s = 0; s < steps; s++) {
        uint32_t to = column_at(page, s + 1);
        for (uint32_t i = column_at(page, s); i <= to; i++)
            if (skyline[i] == NONE || total_at(page, s) > total_at(page, skyline[i])) skyline[i] = s;
    }
    return skyline;
}

/* Bytes of the categories below place `place` of the stack. */
static int64_t below(const Page *page, uint32_t step, uint32_t place) {
    int64_t bytes = 0;
    for (uint32_t k = 0; k < place; k++) bytes += page->live[(size_t)step * LIVE_COLUMNS + stack_order[k]];
    return bytes;
}

/* Along the top to the right, along the bottom back. */
static void draw_area(const Page *page, const uint32_t *skyline, uint32_t place) {
    Text *out = page->out;
    html_add(out, "<path class=\"area c$\" d=\"", arena_printf(page->arena, "%u", place));
    for (int edge = 0; edge < 2; edge++) {
        int last = -1;
        for (uint32_t i = 0; i < COLUMNS; i++) {
            uint32_t column = edge ? COLUMNS - 1 - i : i;
            int y = (int)scale_y(&page->scale, below(page, skyline[column], place + (edge ? 0 : 1)));
            if (y == last) continue;
            uint32_t x = edge ? (column + 1) * WIDTH : column * WIDTH;
            text_add(out, i || edge ? "H%uV%d" : "M%u %d", x, y);
            last = y;
        }
        text_add(out, edge ? "H0" : "H%d", PLANE);
    }
    text_add(out, "Z\"/>\n");
}

static void draw_budget(const Page *page) {
    const ByteScale *scale = &page->scale;
    if (!page->limit_bytes) return;
    bool above = page->limit_bytes > scale->top, whole = page_double(page, "reserved_bytes") == 0;
    const char *amount =
        whole ? page_number(page, "tspan", "budget_bytes", FORM_BYTES)
              : page_value(page, "tspan", "derived.limit_bytes", (double)page->limit_bytes, FORM_BYTES);
    const char *y = above ? "0" : percent(scale_y(scale, page->limit_bytes) / PLANE, page->arena);
    if (!above) html_add(page->out, "<line class=\"budget\" x1=\"0\" x2=\"100%\" y1=\"$\" y2=\"$\"/>", y, y);
    html_add(page->out, "<text class=\"note budget left\" x=\"100%\" y=\"$\" dy=\"$\">$@$</text>\n", y,
             above ? "14" : "-6", above ? "\u2191 budget " : "budget ", amount,
             whole ? "" : " without context");
}

/* Named on the side from which memory grew. */
static void draw_peak(const Page *page) {
    const double early = 0.2; /* no room for its name before it */
    double x = timeline_share(&page->timeline, page->fates.peak_step);
    int64_t bytes = total_at(page, page->fates.peak_step);
    const char *at = percent(x, page->arena), *y = percent(scale_y(&page->scale, bytes) / PLANE, page->arena);
    html_add(page->out, "<line class=\"peak\" x1=\"$\" x2=\"$\" y1=\"$\" y2=\"100%\"/>", at, at, y);
    html_add(page->out, "<circle class=\"peak\" cx=\"$\" cy=\"$\" r=\"4.5\"/>", at, y);
    html_add(page->out, "<text class=\"note peak $\" x=\"$\" y=\"$\" dx=\"$\" dy=\"$\">peak @</text>\n",
             x > early ? "left" : "right", at, y, x > early ? "-10" : "10", x > early ? "4" : "-9",
             page_value(page, "tspan", "live_bytes", (double)bytes, FORM_BYTES));
}

/* For the script: the step that every column shows, and what is live there. */
static void tell_script(Page *page, const uint32_t *skyline) {
    json_t *columns = json_array(), *places = json_array(), *names = json_array();
    for (uint32_t k = 0; k < LIVE_COLUMNS; k++) {
        if (!page->used[stack_order[k]]) continue;
        json_add(places, json_integer(k));
        json_add(names, json_text(live_label[stack_order[k]]));
    }
    for (uint32_t i = 0, last = NONE; i < COLUMNS; i++) {
        if (skyline[i] == last) continue;
        last = skyline[i];
        json_add(columns, json_integer(i));
        json_add(columns, json_integer(last));
        for (uint32_t k = 0; k < LIVE_COLUMNS; k++)
            if (page->used[stack_order[k]])
                json_add(columns, json_integer(page->live[(size_t)last * LIVE_COLUMNS + stack_order[k]]));
    }
    json_set(page->script, "columns", json_integer(COLUMNS));
    json_set(page->script, "places", places);
    json_set(page->script, "categories", names);
    json_set(page->script, "skyline", columns);
}

/* What is live at the peak, from the top of the stack down. */
static void add_legend(const Page *page) {
    Text *out = page->out;
    double total = page_double(page, "live_bytes");
    text_add(out, "<table class=\"legend\"><caption>Live at the peak</caption><thead class=\"spoken\"><tr>"
                  "<th scope=\"col\">what</th><th scope=\"col\">bytes</th></tr></thead><tbody>\n");
    for (uint32_t k = LIVE_COLUMNS; k-- > 0;) {
        LiveColumn column = stack_order[k];
        if (!page->used[column]) continue;
        const char *path = arena_printf(page->arena, "peak.%s", live_label[column]);
        double share = page_double(page, path) / total;
        html_add(
            out,
            "<tr><th scope=\"row\"><svg class=\"swatch\" width=\"12\" height=\"12\" aria-hidden=\"true\">"
            "<rect width=\"12\" height=\"12\" rx=\"2\" class=\"c$\"/></svg>$</th><td>@</td>"
            "<td class=\"bar\"><svg class=\"bar\" width=\"100%\" height=\"8\" aria-hidden=\"true\">"
            "<rect class=\"c$\" width=\"$\" height=\"8\" rx=\"1\"/></svg></td></tr>\n",
            arena_printf(page->arena, "%u", k), live_label[column],
            page_number(page, "span", path, FORM_BYTES), arena_printf(page->arena, "%u", k),
            percent(share, page->arena));
    }
    text_add(out, "</tbody></table>\n");
}

/* Tensors of one name, in all layers. */
typedef struct Sum {
    uint32_t name, count;
    int64_t bytes;
} Sum;

static int larger_first(const void *left, const void *right) {
    const Sum *a = left, *b = right;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->name < b->name ? -1 : a->name > b->name;
}

/* Of what is not always there, the tensors that take most of the peak. */
static void add_largest(Page *page) {
    enum { ROWS = 6 };
    Text *out = page->out;
    const Layout *layout = page->train->layout;
    VEC(Sum) sum = {0};
    uint32_t peak = page->fates.peak_step;
    ValueId *occupant = NEW_ARRAY(page->arena, ValueId, layout->buf.count + 1);
    for (uint32_t b = 0; b < layout->buf.count; b++) occupant[b] = layout->buf.at[b].value;
    for (uint32_t i = 0; i < page->fates.handover.count && page->fates.handover.at[i].step <= peak; i++)
        occupant[page->fates.handover.at[i].buffer] = page->fates.handover.at[i].value;
    for (uint32_t b = 0; b < layout->buf.count; b++) {
        const Buf *buf = &layout->buf.at[b];
        if (buf->kind != BUF_VALUE || buf->persistent || buf->lo > peak || buf->hi <= peak) continue;
        uint32_t name = names_of(&page->names, page->g->value.at[occupant[b]].name).name, i = 0;
        while (i < sum.count && sum.at[i].name != name) i++;
        if (i == sum.count) *vec_add(page->arena, &sum) = (Sum){.name = name};
        sum.at[i].count++;
        sum.at[i].bytes += buf->bytes;
    }
    if (!sum.count) return;
    qsort(sum.at, sum.count, sizeof *sum.at, larger_first);
    text_add(out,
             "<table class=\"legend\"><caption>Of these, the largest that come and go</caption><thead "
             "class=\"spoken\"><tr><th scope=\"col\">tensors</th><th scope=\"col\">bytes</th></tr></thead>"
             "<tbody>\n");
    for (uint32_t i = 0; i < sum.count && i < ROWS; i++) {
        const char *name = page->names.general.at[sum.at[i].name];
        html_add(out, "<tr><th scope=\"row\" class=\"name\">@@</th><td>@</td></tr>\n",
                 html_name(name, page->arena),
                 sum.at[i].count == 1
                     ? ""
                     : arena_printf(page->arena, " <i>\u00d7%s</i>",
                                    page_value(page, "span", arena_printf(page->arena, "peak_count.%s", name),
                                               sum.at[i].count, FORM_COUNT)),
                 page_value(page, "span", arena_printf(page->arena, "peak_tensor.%s", name),
                            (double)sum.at[i].bytes, FORM_BYTES));
    }
    text_add(out, "</tbody></table>\n");
}

static const char *step_name(const Page *page, uint32_t step) {
    const Step *s = &page->train->plan->step.at[step];
    return s->kind == STEP_RUN || s->kind == STEP_RECOMPUTE ? page->g->node.at[s->node].name
                                                            : page->g->value.at[s->value].name;
}

static void add_caption(const Page *page) {
    Text *out = page->out;
    uint32_t peak = page->fates.peak_step;
    html_add(out,
             "<p>One micro-step and the update, at the pace that the plan foresees. Memory is fullest at "
             "step @ of "
             "@, <b class=\"name\">$</b>.",
             page_value(page, "span", "peak_step", peak, FORM_COUNT),
             page_value(page, "span", "steps", page->train->plan->step.count, FORM_COUNT),
             step_name(page, peak));
    if (page->g->accumulate > 1)
        html_add(out, " The micro-step runs @ times before the update.",
                 page_number(page, "span", "accumulate", FORM_COUNT));
    if (page->train->layout->height_bytes > page->train->layout->live_bytes)
        html_add(out, " Between tensors, packing loses @.",
                 page_value(page, "span", "packing",
                            (double)(page->train->layout->height_bytes - page->train->layout->live_bytes),
                            FORM_BYTES));
    html_add(out, " Evaluation takes @ of the same memory, sampling @.",
             page_number(page, "span", "phase_bytes.evaluation", FORM_BYTES),
             page_number(page, "span", "phase_bytes.sampling", FORM_BYTES));
    if (page_double(page, "sampling_cache_bytes") > 0)
        html_add(out, " It runs a token at a time, over keys and values of earlier ones in @.",
                 page_number(page, "span", "sampling_cache_bytes", FORM_BYTES));
    if (scale_is_broken(&page->scale))
        text_add(out, " Below the break in the scale lies what is always there.");
    text_add(out, "</p>\n");
}

void report_memory(Page *page) {
    Text *out = page->out;
    const uint32_t *skyline = find_skyline(page);
    text_add(out, "<section id=\"memory\"><h2>Memory over a step</h2>\n");
    add_caption(page);
    text_add(out, "<div class=\"beside\"><figure>\n");
    chart_open(out, "memory-chart", page->train->plan->step.count < MANY_STEPS ? "timed outlined" : "timed",
               340, "Live memory over a step, stacked by category; the table beside it has the peak");
    chart_bytes_axis(out, &page->scale);
    chart_plane_open(out);
    for (uint32_t k = 0; k < LIVE_COLUMNS; k++)
        if (page->used[stack_order[k]]) draw_area(page, skyline, k);
    chart_plane_close(out);
    draw_budget(page);
    draw_peak(page);
    chart_time_axis(page);
    chart_close(out);
    text_add(out, "</figure>\n<div>\n");
    add_legend(page);
    add_largest(page);
    text_add(out, "</div></div></section>\n");
    tell_script(page, skyline);
}
