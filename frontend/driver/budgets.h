/* One plan after another over budgets: for the table of `sweep`, and for the page of `report`. */
#ifndef REMAT_BUDGETS_H
#define REMAT_BUDGETS_H

#include "codegen/picture/budget_chart.h"
#include "frontend/driver/planned.h"

typedef struct BudgetRow {
    const Device *device;
    int64_t budget_bytes, smallest_bytes; /* reserved bytes included; smallest 0: not asked */
    int64_t batch, context, accumulate, peak_bytes, host_bytes;
    bool feasible;
    double seconds, lower_bound_seconds;
} BudgetRow;

/* The plan for a budget; no plan is asked for one that the device does not have. */
BudgetRow budgets_row(const Compilation *c, int64_t budget_bytes, int64_t smallest_bytes);
double budgets_tokens(const BudgetRow *row); /* a step's */
/* From the smallest budget that works to where everything is kept at the fastest micro-batch, as far as the
 * device goes. */
void budgets_range(const Compilation *c, int64_t smallest, int64_t *low, int64_t *high);
/* The i-th of so many budgets between two: equal ratios. */
int64_t budgets_step(int64_t low, int64_t high, int64_t points, int64_t i);

/* A line for each micro-batch that the file leaves the choice of, or of many for the smallest, each twice the
 * one before, the largest and `chosen`; for the file's own where it leaves none. Budgets as above, from each
 * line's own smallest on, and the one that is planned for; every other one for what was not chosen. How many
 * lines. */
uint32_t budgets_lines(const Compilation *c, int64_t smallest, int64_t points, int64_t chosen,
                       const BudgetLine **lines);

#endif
