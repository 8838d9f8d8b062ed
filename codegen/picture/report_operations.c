/* Where the time of a step goes, by kind of operation, and in which part of the step. */
#include "codegen/picture/report_parts.h"
#include "ir/ops.h"

#include <stdlib.h>

enum { ROWS = 14 };
typedef enum Share { SHARE_FORWARD, SHARE_AGAIN, SHARE_BACKWARD, SHARE_UPDATE, SHARES } Share;
static const struct {
    const char *what, *said;
} share_look[SHARES] = {[SHARE_FORWARD] = {"forward", "forward"},
                        [SHARE_AGAIN] = {"again", "computed again"},
                        [SHARE_BACKWARD] = {"backward", "backward"},
                        [SHARE_UPDATE] = {"update", "update"}};

typedef struct Kind {
    const char *name;
    double seconds[SHARES], total; /* of a step, all micro-steps */
} Kind;

static int longer_first(const void *left, const void *right) {
    const Kind *a = left, *b = right;
    return a->total < b->total ? 1 : a->total > b->total ? -1 : (a->name > b->name) - (a->name < b->name);
}

/* Of every operation; how many have any. */
static uint32_t find_kinds(const Page *page, Kind *kind) {
    const Plan *plan = page->train->plan;
    for (int op = 0; op < OP_COUNT; op++) kind[op] = (Kind){.name = op_info[op].name};
    for (uint32_t s = 0; s < plan->step.count; s++) {
        const Step *step = &plan->step.at[s];
        if (step->kind != STEP_RUN && step->kind != STEP_RECOMPUTE) continue;
        const Node *node = &page->g->node.at[step->node];
        double times = node->phase == PHASE_UPDATE ? 1 : (double)page->g->accumulate;
        Share share = step->kind == STEP_RECOMPUTE    ? SHARE_AGAIN
                      : node->phase == PHASE_FORWARD  ? SHARE_FORWARD
                      : node->phase == PHASE_BACKWARD ? SHARE_BACKWARD
                                                      : SHARE_UPDATE;
        double seconds = times * page->train->cost[step->node].seconds;
        kind[node->op].seconds[share] += seconds;
        kind[node->op].total += seconds;
    }
    qsort(kind, OP_COUNT, sizeof *kind, longer_first);
    uint32_t count = 0;
    while (count < OP_COUNT && kind[count].total > 0) count++;
    return count;
}

static void add_row(const Page *page, const Kind *kind, const char *name, double longest) {
    Text *out = page->out;
    double x = 0, step = page_double(page, "seconds");
    html_add(
        out,
        "<tr><th scope=\"row\" class=\"name\">$</th><td class=\"cells\"><svg class=\"strip\" width=\"100%\" "
        "height=\"16\" aria-hidden=\"true\">",
        name);
    for (int share = 0; share < SHARES; share++) {
        double width = kind->seconds[share] / longest;
        if (width <= 0) continue;
        html_add(out, "<rect class=\"p-$\" x=\"$\" width=\"$\" height=\"100%\"><title>$, $: $</title></rect>",
                 share_look[share].what, percent(x, page->arena), percent(width, page->arena), name,
                 share_look[share].said, seconds_text(kind->seconds[share], page->arena));
        x += width;
    }
    html_add(out, "</svg></td><td>@</td><td>@</td></tr>\n",
             page_value(page, "span", arena_printf(page->arena, "operation.%s.seconds", kind->name),
                        kind->total, FORM_SECONDS),
             page_value(page, "span", arena_printf(page->arena, "operation.%s.share", kind->name),
                        kind->total / step, FORM_PERCENT));
}

void report_operations(Page *page) {
    Text *out = page->out;
    Kind kind[OP_COUNT], rest = {.name = "rest"};
    uint32_t count = find_kinds(page, kind), shown = count <= ROWS ? count : ROWS - 1;
    for (uint32_t i = shown; i < count; i++) {
        for (int share = 0; share < SHARES; share++) rest.seconds[share] += kind[i].seconds[share];
        rest.total += kind[i].total;
    }
    double wait = page_double(page, "wait_seconds"), longest = count ? kind[0].total : 1;
    html_add(
        out,
        "<section id=\"operations\"><h2>Where the time goes</h2>\n<p>Seconds of a step by kind of operation, "
        "computed from <span class=\"said\">$</span>.</p>\n<ul class=\"key\">",
        page->request->sources);
    for (int share = 0; share < SHARES; share++)
        html_add(
            out,
            "<li><svg class=\"swatch\" width=\"22\" height=\"14\" aria-hidden=\"true\"><rect width=\"22\" "
            "height=\"14\" rx=\"2\" class=\"p-$\"/></svg>$</li>",
            share_look[share].what, share_look[share].said);
    text_add(
        out,
        "</ul>\n<div class=\"wide cellwise\" tabindex=\"0\" role=\"region\" aria-label=\"Seconds by kind of "
        "operation\"><table class=\"layers\"><thead><tr><th scope=\"col\">operation</th><th scope=\"col\" "
        "class=\"cells\"></th><th scope=\"col\">a step</th><th "
        "scope=\"col\">share</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < shown; i++) add_row(page, &kind[i], kind[i].name, longest);
    if (shown < count)
        add_row(page, &rest, arena_printf(page->arena, "%u more kinds", count - shown), longest);
    if (wait > 0)
        html_add(out,
                 "<tr><th scope=\"row\">waiting for copies</th><td "
                 "class=\"cells\"></td><td>@</td><td></td></tr>\n",
                 page_number(page, "span", "wait_seconds", FORM_SECONDS));
    text_add(out, "</tbody></table></div></section>\n");
}
