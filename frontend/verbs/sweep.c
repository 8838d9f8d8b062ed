/* The verb `sweep`: one plan after another over budgets and devices, or the longest context that fits.
 * In: a file, a range of budgets, devices. Out: a row for each pair, every row a plan that the
 * checkers passed. Plans of a row are those `rematc plan` makes with the same settings. */
#include "frontend/verbs/verb.h"

#include "codegen/json_tree.h"
#include "frontend/driver/budgets.h"
#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

#include <inttypes.h>
#include <string.h>

typedef BudgetRow Row;
typedef VEC(Row) Rows;

/* ---- budgets ---- */

/* One budget as the language spells it: the file is read again with it. 0 after a message. */
static int64_t read_size(const Compilation *c, const char *text, size_t length) {
    Compilation variant;
    const char *set = arena_printf(c->arena, "budget=%.*s", (int)length, text);
    if (compile_variant(c, &set, 1, &variant)) return variant.spec.budget_bytes;
    const char *size = arena_strndup(c->arena, text, length);
    const char *meant = size_meant(size, c->arena);
    message_fail_help(c->options, EXIT_USAGE,
                      meant ? arena_printf(c->arena, "did you mean '%s'?", meant) : NULL,
                      "--budget: '%s' is no size: write 21GiB, 300MiB, 24GB", size);
    return 0;
}

static int read_range(const Compilation *c, int64_t *low, int64_t *high) {
    const char *text = c->options->budget;
    const char *dots = strstr(text, "..");
    *low = read_size(c, text, dots ? (size_t)(dots - text) : strlen(text));
    if (!*low) return EXIT_USAGE;
    *high = dots ? read_size(c, dots + 2, strlen(dots + 2)) : *low;
    if (!*high) return EXIT_USAGE;
    if (*low > *high)
        return message_fail(c->options, EXIT_USAGE, "--budget goes from the smaller to the larger size");
    return -1;
}

/* ---- rows ---- */

/* The file with contexts of `context` tokens and as many micro-steps a step as it has. */
static bool with_context(const Compilation *c, int64_t context, Compilation *variant) {
    const char *set[] = {arena_printf(c->arena, "T=%" PRId64, context),
                         arena_printf(c->arena, "tokens_per_step=%" PRId64,
                                      context * c->forward->batch * c->forward->accumulate)};
    return compile_variant(c, set, c->spec.tokens_per_step ? 2 : 1, variant);
}

static bool context_row(const Compilation *c, int64_t budget_bytes, int64_t context, Row *row) {
    Compilation variant;
    if (!with_context(c, context, &variant)) return false;
    *row = budgets_row(&variant, budget_bytes, 0);
    row->device = &c->device;
    return row->feasible;
}

/* The longest context that fits, in units of 64 tokens (or what the file has, when that is less): doubling,
 * then halving the interval. Infeasible when not even one unit fits. */
static Row longest_context(const Compilation *c, int64_t budget_bytes) {
    const int64_t most = INT64_C(1) << 24;
    int64_t unit = c->forward->context < 64 ? c->forward->context : 64, low = 0, high = 1;
    Row best = {.device = &c->device, .budget_bytes = budget_bytes}, row;
    while (high * unit <= most && context_row(c, budget_bytes, high * unit, &row)) {
        best = row;
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (context_row(c, budget_bytes, middle * unit, &row)) {
            best = row;
            low = middle;
        } else {
            high = middle;
        }
    }
    Compilation shortest;
    if (!best.feasible && with_context(c, unit, &shortest)) {
        best.context = unit;
        best.smallest_bytes = planned_least_bytes(&shortest, POLICY_OPTIMAL);
    }
    return best;
}

/* ---- printing ---- */

static bool beyond_device(const Row *row) {
    return row->device->memory_bytes && row->budget_bytes > row->device->memory_bytes;
}

static void print_misfit(const Row *row, bool contexts, Text *out) {
    char size[24];
    if (beyond_device(row))
        text_add(out, "more than the device has, %s\n", format_bytes(row->device->memory_bytes, size));
    else if (contexts)
        text_add(out, "no context fits; the smallest budget for T = %" PRId64 " is %s\n", row->context,
                 format_bytes_up(row->smallest_bytes, size));
    else
        text_add(out, "does not fit; the smallest budget is %s\n",
                 format_bytes_up(row->smallest_bytes, size));
}

static void print_rows(const Rows *rows, bool contexts, Text *out) {
    char a[24], b[24], h[24];
    bool host = false;
    for (uint32_t i = 0; i < rows->count; i++) {
        const Device *device = rows->at[i].device;
        host |= rows->at[i].host_bytes > 0;
        if (device->memory_pretended && (!i || rows->at[i - 1].device != device))
            text_add(out, "%s\n", device_text(device, out->arena));
    }
    text_add(out, "%-12s %12s %6s %9s%s %12s %12s %12s%s\n", "device", "budget", "B", "T",
             contexts ? "  tokens/step" : "", "peak", "step", "tokens/s", host ? "         host" : "");
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        /* a budget that is copied from here is enough; one more than the device has would be too much */
        bool whole = row->budget_bytes == row->device->memory_bytes;
        text_add(out, "%-12s %12s ", row->device->name,
                 !row->budget_bytes ? "none"
                 : whole            ? format_bytes(row->budget_bytes, a)
                                    : format_bytes_up(row->budget_bytes, a));
        if (!row->feasible) {
            print_misfit(row, contexts, out);
            continue;
        }
        text_add(out, "%6" PRId64 " %9" PRId64, row->batch, row->context);
        if (contexts) text_add(out, " %12.0f", budgets_tokens(row));
        text_add(out, " %12s %10.4f s %12.0f%s\n", format_bytes(row->peak_bytes, b), row->seconds,
                 budgets_tokens(row) / row->seconds,
                 host ? arena_printf(out->arena, " %12s", format_bytes(row->host_bytes, h)) : "");
    }
}

static void print_json(const Rows *rows, Text *out) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        double rate = row->seconds > 0 ? budgets_tokens(row) / row->seconds : 0;
        json_t *object = json_object();
        json_set(object, "device", json_text(row->device->name));
        json_set(object, "device_memory_bytes", json_integer(row->device->memory_bytes));
        json_set(object, "memory_pretended", json_boolean(row->device->memory_pretended));
        json_set(object, "budget_bytes", json_integer(row->budget_bytes));
        json_set(object, "fits", json_boolean(row->feasible));
        json_set(object, "batch", json_integer(row->batch));
        json_set(object, "context", json_integer(row->context));
        json_set(object, "tokens_per_step", json_integer((json_int_t)budgets_tokens(row)));
        json_set(object, "peak_bytes", json_integer(row->peak_bytes));
        json_set(object, "host_bytes", json_integer(row->host_bytes));
        json_set(object, "seconds", json_number(row->seconds));
        json_set(object, "tokens_per_second", json_number(rate));
        if (row->smallest_bytes) json_set(object, "smallest_bytes", json_integer(row->smallest_bytes));
        json_add(list, object);
    }
    json_tree_print(list, 2, out);
}

/* ---- the verb ---- */

/* The budget for the longest context where the command line names none: the file's, or all memory of a device
 * that the command line names, which the file's budget was not written for. */
static int64_t context_budget(const Compilation *c, bool named) {
    return named && c->device.memory_bytes ? c->device.memory_bytes : c->budget.device_bytes;
}

/* `device` NULL: the file's. */
static int sweep_device(const Compilation *c, const char *device, bool contexts, Rows *rows,
                        const char **model) {
    Options *options = NEW(c->arena, Options);
    Compilation *one = NEW(c->arena, Compilation);
    *options = *c->options;
    *one = (Compilation){.arena = c->arena, .options = options};
    options->device = device;
    options->budget = NULL;
    options->warned = rows->count > 0;
    int code = compile_parse(one);
    if (code < 0) code = compile_lower(one);
    if (code >= 0) return code;
    *model = one->spec.model;
    options->budget = c->options->budget;
    int64_t low, high, smallest = contexts ? 0 : planned_least_bytes(one, POLICY_OPTIMAL);
    if (options->budget) {
        code = read_range(one, &low, &high);
        if (code >= 0) return code;
    } else if (contexts) {
        low = high = context_budget(one, device != NULL);
        if (!low)
            return message_fail(c->options, EXIT_USAGE,
                                "the longest context needs a budget, in the file or with --budget");
        if (!device) compile_warn_capped(one);
    } else {
        budgets_range(one, smallest, &low, &high);
    }
    int64_t points = low == high ? 1 : options->points;
    for (int64_t i = 0; i < points; i++) {
        int64_t budget = budgets_step(low, high, points, i);
        *vec_add(c->arena, rows) =
            contexts ? longest_context(one, budget) : budgets_row(one, budget, smallest);
    }
    return -1;
}

/* Where not one row fits, says so and what would. */
static int say_misfit(const Options *options, const Rows *rows) {
    int64_t smallest = 0;
    char size[24];
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        if (row->feasible) return EXIT_FINE;
        if (!smallest || (row->smallest_bytes && row->smallest_bytes < smallest))
            smallest = row->smallest_bytes;
    }
    message_error(options, "nothing fits; the smallest feasible budget is %s",
                  format_bytes_up(smallest, size));
    return EXIT_INFEASIBLE;
}

/* A line a device: what fits. */
static void draw_rows(const Compilation *c, const Rows *rows, bool contexts, const char *model, Text *out) {
    BudgetLine *line = NEW_ARRAY(c->arena, BudgetLine, rows->count + 1);
    BudgetChart chart = {.line = line,
                         .seconds = !contexts,
                         .apart = true,
                         .what = contexts ? "longest context (tokens)" : "step time",
                         .label = "plans over budgets"};
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        if (!row->feasible) continue;
        const char *name = device_text(row->device, c->arena);
        if (!chart.lines || strcmp(line[chart.lines - 1].name, name) != 0) line[chart.lines++].name = name;
        *vec_add(c->arena, &line[chart.lines - 1].point) =
            (BudgetPoint){.budget_bytes = row->budget_bytes,
                          .peak_bytes = row->peak_bytes,
                          .value = contexts ? (double)row->context : row->seconds,
                          .bound = contexts ? 0 : row->lower_bound_seconds};
    }
    budget_chart_file(&chart, arena_printf(c->arena, "%s: %s over the budget", model, chart.what), out);
}

static int check_output(const Compilation *c) {
    const char *path = c->options->output;
    int code = verbs_names_place(c, "-o", path, "file");
    if (code >= 0 || !path) return code;
    if (!ends_in(path, ".svg"))
        return message_fail(c->options, EXIT_USAGE, "a chart is FILE.svg, not '%s'", path);
    return output_not_input(c->options);
}

int verb_sweep(Compilation *c) {
    const Options *options = c->options;
    bool contexts = options->maximize && !strcmp(options->maximize, "T");
    Rows rows = {0};
    const char *list = options->device, *model = NULL;
    int code = check_output(c);
    if (code >= 0) return code;
    do {
        size_t length = list ? strcspn(list, ",") : 0;
        const char *device = list ? arena_strndup(c->arena, list, length) : NULL;
        code = sweep_device(c, device, contexts, &rows, &model);
        if (code >= 0) return code;
        list = list && list[length] ? list + length + 1 : NULL;
    } while (list);
    Text out = {.arena = c->arena};
    if (options->json)
        print_json(&rows, &out);
    else
        print_rows(&rows, contexts, &out);
    code = output_print(options, &out);
    if (code == EXIT_FINE) code = say_misfit(options, &rows);
    if (code != EXIT_FINE || !options->output) return code;
    Text chart = {.arena = c->arena};
    draw_rows(c, &rows, contexts, model, &chart);
    return output_write(options, options->output, &chart);
}
