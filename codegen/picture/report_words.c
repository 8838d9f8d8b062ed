/* The summary in words, and the few numbers that a plan is known by. */
#include "codegen/picture/report_parts.h"

#include <math.h>

static const char *number(const Page *page, const char *path, Form form) {
    return arena_printf(page->arena, "<b>%s</b>", page_number(page, "span", path, form));
}

static const char *derived(const Page *page, const char *key, double value, Form form) {
    return page_value(page, "span", arena_printf(page->arena, "derived.%s", key), value, form);
}

static double sum_of(const Page *page, const char *key) {
    double sum = 0;
    for (uint32_t i = 0; i < page->decisions.row.count; i++)
        sum += page_double(page, arena_printf(page->arena, "decisions.%u.%s", i, key));
    return sum;
}

static void add_memory(const Page *page) {
    Text *out = page->out;
    double peak = page_double(page, "peak_bytes"), all = page_double(page, "keep_all_bytes"),
           budget = page_double(page, "budget_bytes"), reserved = page_double(page, "reserved_bytes");
    html_add(out, "<p>The program allocates @ once, and never more", number(page, "peak_bytes", FORM_BYTES));
    if (budget > 0)
        html_add(out, "$@ of the budget of @",
                 reserved > 0 ? ": with what is set aside for the context, " : ": ",
                 derived(page, "budget_share", (peak + reserved) / budget, FORM_PERCENT),
                 number(page, "budget_bytes", FORM_BYTES));
    double saved = 1 - peak / all;
    html_add(out, ". To keep everything that the backward pass reads would take @",
             number(page, "keep_all_bytes", FORM_BYTES));
    if (fabs(saved) < 5e-5)
        text_add(out, ", and that is what this plan does.");
    else
        html_add(out, "; this plan $ @.", saved < 0 ? "takes more, by" : "saves",
                 derived(page, "saved_share", fabs(saved), FORM_PERCENT));
    text_add(out, "</p>\n");
}

static void add_decisions(const Page *page) {
    Text *out = page->out;
    double kept = sum_of(page, "kept_bytes"), away = sum_of(page, "away_bytes"),
           again = page_double(page, "recompute_seconds");
    html_add(out, "<p>Of what the forward pass makes, @ stay in memory for the backward pass",
             page_value(page, "span", "sum.kept_bytes", kept, FORM_BYTES));
    if (away > 0)
        html_add(out, ", @ wait in host memory",
                 page_value(page, "span", "sum.away_bytes", away, FORM_BYTES));
    if (again > 0)
        html_add(out, ", and what is missing is computed again, in @ of the @ that a step takes",
                 number(page, "recompute_seconds", FORM_SECONDS), number(page, "seconds", FORM_SECONDS));
    else
        html_add(out, "; nothing is computed twice. A step takes @", number(page, "seconds", FORM_SECONDS));
    double over = page_double(page, "seconds") / page_double(page, "keep_all_seconds") - 1;
    if (fabs(over) >= 5e-5)
        html_add(out, ", @ $ than keeping everything", derived(page, "over_share", fabs(over), FORM_PERCENT),
                 over < 0 ? "less" : "longer");
    text_add(out, ".</p>\n");
}

static void add_bound(const Page *page) {
    Text *out = page->out;
    double gap = page_double(page, "gap");
    html_add(out, "<p>No schedule within this budget is faster than @: ",
             number(page, "lower_bound_seconds", FORM_SECONDS));
    if (gap < 5e-7)
        text_add(out, "the plan is proved optimal for these costs.");
    else
        html_add(out, "the plan is at most @ from the best there is.",
                 page_number(page, "span", "gap", FORM_PERCENT));
    html_add(out, " The smallest budget that this file can be planned with is @",
             number(page, "smallest_bytes", FORM_BYTES_UP));
    if (json_object_get(page->request->plan, "more_bytes"))
        html_add(out, "; with @ more a step would take @",
                 page_number(page, "span", "more_bytes", FORM_BYTES),
                 page_number(page, "span", "more_seconds", FORM_SECONDS));
    text_add(out, ".</p>\n");
    const json_t *reasons = json_object_get(page->request->plan, "reasons");
    for (size_t i = 0; i < json_array_size(reasons); i++)
        html_add(out, "<p class=\"said\">Because $.</p>\n", json_string_value(json_array_get(reasons, i)));
}

static void add_figure(const Page *page, const char *what, const char *value, const char *more) {
    html_add(page->out, "<li>$<b>@</b><span class=\"more\">@</span></li>\n", what, value, more);
}

/* From nothing to what keeping everything takes: where the smallest budget, the peak and the budget are. */
static const char *memory_meter(const Page *page) {
    Text out = {.arena = page->arena};
    double peak = page_double(page, "peak_bytes") + page_double(page, "reserved_bytes"),
           budget = page_double(page, "budget_bytes"), all = fmax(page_double(page, "keep_all_bytes"), peak);
    double whole = budget > 0 ? budget : all;
    html_add(&out,
             "<svg class=\"meter\" width=\"100%\" height=\"8\" aria-hidden=\"true\"><rect class=\"room\" "
             "width=\"100%\" height=\"8\" rx=\"2\"/><rect class=\"full\" width=\"$\" height=\"8\" "
             "rx=\"2\"/></svg>",
             percent(fmin(peak / whole, 1), page->arena));
    if (budget > 0) html_add(&out, "of @", page_number(page, "span", "budget_bytes", FORM_BYTES));
    return out.at;
}

static const char *time_meter(const Page *page) {
    Text out = {.arena = page->arena};
    double step = page_double(page, "seconds"), again = page_double(page, "recompute_seconds");
    html_add(&out,
             "<svg class=\"meter\" width=\"100%\" height=\"8\" aria-hidden=\"true\"><rect class=\"full\" "
             "width=\"100%\" height=\"8\" rx=\"2\"/><rect class=\"f-again\" width=\"$\" x=\"$\" height=\"8\" "
             "rx=\"2\"/></svg>@",
             percent(again / step, page->arena), percent(1 - again / step, page->arena),
             again > 0 ? arena_printf(page->arena, "%s recomputation",
                                      derived(page, "again_share", again / step, FORM_PERCENT))
                       : "nothing is computed twice");
    return out.at;
}

static void add_figures(const Page *page) {
    double tokens =
        page_double(page, "batch") * page_double(page, "context") * page_double(page, "accumulate");
    text_add(page->out, "<ul class=\"figures\">\n");
    add_figure(page, "peak memory", page_number(page, "span", "peak_bytes", FORM_BYTES), memory_meter(page));
    add_figure(page, "step time", page_number(page, "span", "seconds", FORM_SECONDS), time_meter(page));
    add_figure(page, "gap to the bound", page_number(page, "span", "gap", FORM_PERCENT),
               arena_printf(page->arena, "nothing is faster than %s",
                            page_number(page, "span", "lower_bound_seconds", FORM_SECONDS)));
    add_figure(page, "smallest budget", page_number(page, "span", "smallest_bytes", FORM_BYTES_UP),
               arena_printf(page->arena, "keeping all: %s",
                            page_number(page, "span", "keep_all_bytes", FORM_BYTES)));
    add_figure(page, "tokens a second", page_number(page, "span", "tokens_per_second", FORM_COUNT),
               arena_printf(page->arena, "%s a step", derived(page, "tokens", tokens, FORM_COUNT)));
    text_add(page->out, "</ul>\n");
}

void report_words(Page *page) {
    Text *out = page->out;
    const EmitRequest *emit = page->request->emit;
    double micro_steps = page_double(page, "accumulate");
    html_add(out,
             "<header><p class=\"kicker\">memory plan</p><h1><span class=\"name\">$</span> on <span "
             "class=\"name\">$</span></h1>\n",
             emit->spec->model, device_text(emit->device, page->arena));
    add_figures(page);
    html_add(out,
             "<div class=\"words\"><p>A micro-step takes @ sequence$ of @ tokens, and @ micro-step$ make$ a "
             "step. The "
             "policy is <span class=\"name\">$</span>.</p>\n",
             number(page, "batch", FORM_COUNT), page_double(page, "batch") == 1 ? "" : "s",
             number(page, "context", FORM_COUNT), number(page, "accumulate", FORM_COUNT),
             micro_steps == 1 ? "" : "s", micro_steps == 1 ? "s" : "",
             policy_name[page->train->plan->policy]);
    add_memory(page);
    add_decisions(page);
    add_bound(page);
    text_add(out, "</div></header>\n");
}
