/* The verb `report`: a plan as a page. */
#include "frontend/verbs/verb.h"

#include "codegen/picture/report.h"
#include "frontend/driver/budgets.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"
#include "frontend/driver/run_log.h"

#include <string.h>

int verb_report(Compilation *c) {
    const Options *options = c->options;
    if (options->output && !*options->output) return message_fail(options, EXIT_USAGE, "-o '' names no file");
    int code = output_not_input(options);
    RunLog *run = NULL;
    if (code < 0 && options->log) code = run_log_read(options, c->arena, &run);
    Planned planned = {0};
    c->asks_least = true;
    if (code < 0) code = verbs_plan(c, &planned);
    if (code >= 0) return code;
    PlanSummary summary = verbs_summary(c, &planned);
    summary.smallest_bytes = planned_least_bytes(c, c->policy);
    const BudgetLine *lines;
    ReportRequest request = {.emit = &planned.request,
                             .plan = summary_plan_tree(&summary, c->arena),
                             .sources = summary_sources(&planned.request, c->arena),
                             .lines = budgets_lines(c, summary.smallest_bytes, options->points,
                                                    planned.train.graph->batch, &lines),
                             .run = run};
    request.line = lines;
    Text page = {.arena = c->arena};
    report_page(&request, &page);
    const char *path = options->output ? options->output : verbs_default_path(c, ".html");
    code = output_write(options, path, &page);
    if (code != EXIT_FINE || !strcmp(path, "-")) return code;
    Text said = {.arena = c->arena};
    text_add_printable(&said, path, "");
    text_add(&said, "\n");
    return output_print(options, &said);
}
