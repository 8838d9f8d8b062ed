/* See budgets.h. Plans are those that `rematc plan` makes with the same settings. */
#include "frontend/driver/budgets.h"

#include "frontend/lower/lower.h"

#include <inttypes.h>
#include <math.h>

double budgets_tokens(const BudgetRow *row) {
    return (double)(row->batch * row->context * row->accumulate);
}

void budgets_range(const Compilation *c, int64_t smallest, int64_t *low, int64_t *high) {
    int64_t has = c->device.memory_bytes;
    const Budget everything = {.host_bytes = c->spec.host_bytes};
    *low = smallest;
    *high = planned_figures(c, POLICY_OPTIMAL, everything).train.result->keep_all_bytes +
            c->device.reserved_bytes;
    if (has && *high > has) *high = has;
    if (*high < *low) *low = *high;
}

int64_t budgets_step(int64_t low, int64_t high, int64_t points, int64_t i) {
    double ratio = points == 1 ? 0 : (double)i / (double)(points - 1);
    return i == points - 1 ? high : (int64_t)ceil((double)low * pow((double)high / (double)low, ratio));
}

BudgetRow budgets_row(const Compilation *c, int64_t budget_bytes, int64_t smallest_bytes) {
    BudgetRow row = {.device = &c->device, .budget_bytes = budget_bytes, .smallest_bytes = smallest_bytes};
    if (c->device.memory_bytes && budget_bytes > c->device.memory_bytes) return row;
    Budget budget = {
        .limited = budget_bytes > 0, .device_bytes = budget_bytes, .host_bytes = c->spec.host_bytes};
    Planned planned = planned_figures(c, POLICY_OPTIMAL, budget);
    const Graph *g = planned.train.graph;
    const Plan *plan = &planned.train.result->plan;
    row.batch = g->batch;
    row.context = g->context;
    row.accumulate = g->accumulate;
    row.peak_bytes = planned.request.arena_bytes;
    row.host_bytes = plan->host_bytes;
    row.feasible = planned.fits;
    row.seconds = plan->seconds;
    row.lower_bound_seconds = planned.train.result->lower_bound_seconds;
    return row;
}

/* ---- a line a micro-batch ---- */

typedef VEC(int64_t) Sizes;

static void add_size(Sizes *sizes, int64_t size, Arena *arena) {
    uint32_t at = 0;
    while (at < sizes->count && sizes->at[at] < size) at++;
    if (at < sizes->count && sizes->at[at] == size) return;
    (void)vec_add(arena, sizes);
    for (uint32_t i = sizes->count - 1; i > at; i--) sizes->at[i] = sizes->at[i - 1];
    sizes->at[at] = size;
}

static Sizes batches_of(const Compilation *c, int64_t chosen) {
    enum { ALL = 4 };
    Sizes batches = {0};
    const Spec *spec = &c->spec;
    for (int64_t batch = spec->batch_low, next = batch; batch <= spec->batch_high; batch++) {
        bool is_asked =
            spec->batch_high - spec->batch_low < ALL || batch >= next || batch == spec->batch_high;
        if (!is_asked || !lower_batch_fits(spec, batch)) continue;
        add_size(&batches, batch, c->arena);
        next = 2 * batch;
    }
    add_size(&batches, chosen, c->arena);
    return batches;
}

/* Plans for the budgets from `smallest` on, which is one of them. */
static void add_line(const Compilation *c, int64_t smallest, const Sizes *budgets, uint32_t every,
                     BudgetLine *line) {
    Sizes own = {0};
    add_size(&own, smallest, c->arena);
    for (uint32_t i = (budgets->count - 1) % every; i < budgets->count; i += every)
        if (budgets->at[i] > smallest) add_size(&own, budgets->at[i], c->arena);
    for (uint32_t i = 0; i < own.count; i++) {
        BudgetRow row = budgets_row(c, own.at[i], smallest);
        line->batch = row.batch;
        line->tokens = (int64_t)budgets_tokens(&row);
        if (!row.feasible) continue;
        *vec_add(c->arena, &line->point) = (BudgetPoint){.budget_bytes = row.budget_bytes,
                                                         .peak_bytes = row.peak_bytes,
                                                         .value = row.seconds,
                                                         .bound = row.lower_bound_seconds};
    }
    line->name = arena_printf(c->arena, "B = %" PRId64, line->batch);
}

uint32_t budgets_lines(const Compilation *c, int64_t smallest, int64_t points, int64_t chosen,
                       const BudgetLine **lines) {
    const double close = 0.02;
    int64_t low, high;
    Sizes budgets = {0}, batches = {0};
    budgets_range(c, smallest, &low, &high);
    for (int64_t i = 0; i < points; i++) add_size(&budgets, budgets_step(low, high, points, i), c->arena);
    for (uint32_t i = 0; i < budgets.count;
         i++) /* the budget that is planned for, in place of one next to it */
        if (fabs((double)(budgets.at[i] - c->budget.device_bytes)) < close * (double)budgets.at[i])
            budgets.at[i] = c->budget.device_bytes;
    if (c->budget.device_bytes > low && c->budget.device_bytes < high)
        add_size(&budgets, c->budget.device_bytes, c->arena);
    if (c->spec.batch_auto) batches = batches_of(c, chosen);
    BudgetLine *line = NEW_ARRAY(c->arena, BudgetLine, batches.count + 1);
    *lines = line;
    if (batches.count < 2) {
        add_line(c, smallest, &budgets, 1, line);
        return 1;
    }
    for (uint32_t i = 0; i < batches.count; i++) {
        Compilation *one = NEW(c->arena, Compilation);
        int64_t batch = batches.at[i];
        const char *set = arena_printf(c->arena, "B=auto(%" PRId64 "..%" PRId64 ")", batch, batch);
        if (!compile_variant(c, &set, 1, one)) die("a micro-batch of %" PRId64 " does not lower", batch);
        add_line(one, planned_least_bytes(one, POLICY_OPTIMAL), &budgets, batch == chosen ? 1 : 2, &line[i]);
    }
    return batches.count;
}
