/* What memory buys: a step's seconds over the budget, for each micro-batch, with the plan of this page among
 * them. */
#include "codegen/picture/report_parts.h"

#include <inttypes.h>
#include <math.h>

/* Steps of different micro-batches may have different numbers of tokens: then seconds are those of as many.
 */
typedef struct Pace {
    bool even;
    double tokens; /* that seconds are of */
} Pace;

static Pace pace_of(const Page *page) {
    const ReportRequest *request = page->request;
    Pace pace = {.even = true,
                 .tokens = page_double(page, "batch") * page_double(page, "context") *
                           page_double(page, "accumulate")};
    for (uint32_t i = 0; i < request->lines; i++)
        pace.even &= request->line[i].tokens == (int64_t)pace.tokens;
    return pace;
}

static BudgetLine *paced(const Page *page, const Pace *pace) {
    const ReportRequest *request = page->request;
    BudgetLine *line = NEW_ARRAY(page->arena, BudgetLine, request->lines + 1);
    for (uint32_t i = 0; i < request->lines; i++) {
        const BudgetLine *from = &request->line[i];
        line[i] = (BudgetLine){.name = from->name, .batch = from->batch, .tokens = from->tokens};
        for (uint32_t k = 0; k < from->point.count; k++) {
            BudgetPoint point = from->point.at[k];
            point.value *= pace->tokens / (double)from->tokens;
            point.bound *= pace->tokens / (double)from->tokens;
            *vec_add(page->arena, &line[i].point) = point;
        }
    }
    return line;
}

/* The budget of this page's plan, as far as the chart goes: from there on more buys nothing. */
static int64_t place_of(const Page *page) {
    double budget = page_double(page, "budget_bytes"), last = 0;
    if (budget <= 0) budget = page_double(page, "peak_bytes") + page_double(page, "reserved_bytes");
    for (uint32_t i = 0; i < page->request->lines; i++) {
        const BudgetLine *line = &page->request->line[i];
        if (line->point.count) last = fmax(last, (double)line->point.at[line->point.count - 1].budget_bytes);
    }
    return (int64_t)(last > 0 ? fmin(budget, last) : budget);
}

static void add_table(const Page *page) {
    Text *out = page->out;
    text_add(out,
             "<details><summary>The numbers</summary><div class=\"wide\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"Plans over budgets\"><table class=\"numbers\"><thead><tr><th scope=\"col\">"
             "micro-batch</th><th scope=\"col\">budget</th><th scope=\"col\">peak</th><th scope=\"col\">step"
             "</th><th scope=\"col\">lower bound</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < page->request->lines; i++) {
        const BudgetLine *line = &page->request->line[i];
        for (uint32_t k = 0; k < line->point.count; k++) {
            const BudgetPoint *point = &line->point.at[k];
            const char *key =
                arena_printf(page->arena, "budget.%" PRId64 ".%" PRId64, line->batch, point->budget_bytes);
            html_add(
                out,
                "<tr><th scope=\"row\" class=\"name\">$</th><td>@</td><td>@</td><td>@</td><td>@</td></tr>\n",
                line->name,
                page_value(page, "span", arena_printf(page->arena, "%s.budget_bytes", key),
                           (double)point->budget_bytes, FORM_BYTES_UP),
                page_value(page, "span", arena_printf(page->arena, "%s.peak_bytes", key),
                           (double)point->peak_bytes, FORM_BYTES),
                page_value(page, "span", arena_printf(page->arena, "%s.seconds", key), point->value,
                           FORM_SECONDS),
                page_value(page, "span", arena_printf(page->arena, "%s.lower_bound_seconds", key),
                           point->bound, FORM_SECONDS));
        }
    }
    text_add(out, "</tbody></table></div></details>\n");
}

void report_budgets(Page *page) {
    Text *out = page->out;
    Pace pace = pace_of(page);
    BudgetChart chart = {.line = paced(page, &pace),
                         .lines = page->request->lines,
                         .seconds = true,
                         .what = pace.even ? "step time" : "time of as many tokens",
                         .label =
                             "Step time over the budget, a line for each micro-batch, and the lower bound"};
    chart.mark = (BudgetMark){.bytes = place_of(page),
                              .value = page_double(page, "seconds"),
                              .markup = arena_printf(page->arena, "this plan: %s",
                                                     page_number(page, "tspan", "seconds", FORM_SECONDS))};
    text_add(out, "<section id=\"budgets\"><h2>What memory buys</h2>\n");
    html_add(
        out,
        "<p>Each mark is a plan, the fastest that was found within that budget. Below @ nothing fits; "
        "keeping "
        "everything takes @. No schedule is faster than the lower bound, which is that of the fastest plan's "
        "micro-batch at each budget.$</p>\n",
        page_number(page, "span", "smallest_bytes", FORM_BYTES_UP),
        page_number(page, "span", "keep_all_bytes", FORM_BYTES),
        pace.even ? "" : " Steps differ in tokens: seconds are those of as many as this plan's has.");
    budget_chart_key(&chart, out);
    text_add(out, "<figure>\n");
    budget_chart_draw(&chart, out);
    text_add(out, "</figure>\n");
    add_table(page);
    text_add(out, "</section>\n");
}
