/* Plans over budgets: how long a step takes with how much memory. For the report page, and for `rematc sweep
 * -o`. */
#ifndef REMAT_BUDGET_CHART_H
#define REMAT_BUDGET_CHART_H

#include "ir/base.h"

typedef struct BudgetPoint {
    int64_t budget_bytes, peak_bytes;
    double value; /* seconds of a step, or what the chart is of */
    double bound; /* no schedule of this micro-batch and tiling takes less; 0: not known */
} BudgetPoint;

typedef struct BudgetLine {
    const char *name; /* "B = 4" */
    int64_t batch;
    int64_t tokens;         /* a step's */
    VEC(BudgetPoint) point; /* ascending; plans that fit */
} BudgetLine;

/* One of the plans, with a ring around it. */
typedef struct BudgetMark {
    int64_t bytes;
    double value;
    const char *markup; /* NULL: none */
} BudgetMark;

typedef struct BudgetChart {
    const BudgetLine *line;
    uint32_t lines;
    BudgetMark mark;
    bool seconds;     /* else counts */
    bool apart;       /* lines are of different devices: each has bounds of its own */
    const char *what; /* goes up */
    const char *label;
} BudgetChart;

/* Of the fastest plan at each budget, the bound; the lines' names come in a key above the chart. */
void budget_chart_draw(const BudgetChart *chart, Text *out);
/* The same as a file of its own, SVG, under a title. */
void budget_chart_file(const BudgetChart *chart, const char *title, Text *out);
void budget_chart_key(const BudgetChart *chart, Text *out);

#endif
