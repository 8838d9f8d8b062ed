/* The report: one page that shows a plan to people, by itself (no network, nothing beside it). Charts are
 * drawn here, as SVG; the script only answers a pointer and the keyboard. Every number that is written on it
 * carries where it is from (data-key, data-value), so that a test can hold it against what `rematc plan
 * --json` and plan.json say. */
#ifndef REMAT_PICTURE_REPORT_H
#define REMAT_PICTURE_REPORT_H

#include "codegen/json_tree.h"
#include "codegen/picture/budget_chart.h"
#include "codegen/emit.h"

/* What a trainer logged of a step it trained. */
typedef struct RunStep {
    int64_t step;
    double loss, seconds; /* NAN: not known */
} RunStep;
typedef struct RunLog {
    const char *path;
    VEC(RunStep) step;                               /* ascending */
    int64_t planned_bytes, measured_bytes;           /* the last that were logged; 0: none */
    int64_t planned_host_bytes, measured_host_bytes; /* the same */
} RunLog;

typedef struct ReportRequest {
    const EmitRequest *emit;
    json_t *plan;           /* what `rematc plan --json` prints; the page holds it, too */
    const char *sources;    /* what its seconds are computed from, as the summary says it */
    const BudgetLine *line; /* plans over budgets, a line a micro-batch */
    uint32_t lines;
    const RunLog *run; /* NULL: none is shown */
} ReportRequest;

/* Gives the tree up. */
void report_page(const ReportRequest *request, Text *out);

#endif
