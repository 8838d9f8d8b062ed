/* See sweep.h. In: a file, a range of budgets, devices. Out: a row for each pair, every row a plan that the
 * checkers passed. Plans of a row are those `rematc plan` makes with the same settings. */
#include "sweep.h"

#include "message.h"
#include "output.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Row {
    const char *device;
    int64_t budget_bytes, batch, context, peak_bytes, host_bytes;
    bool feasible;
    double seconds, tokens_per_second;
} Row;
typedef VEC(Row) Rows;

/* ---- budgets ---- */

/* One budget as the language spells it: the file is read again with it. 0 after a message. */
static int64_t read_size(const Compilation *c, const char *text, size_t length) {
    Compilation variant;
    const char *set = arena_printf(c->arena, "budget=%.*s", (int)length, text);
    if (compile_variant(c, &set, 1, &variant)) return variant.spec.budget_bytes;
    message_fail(c->options, EXIT_USAGE, "'%.*s' is no size: write 21GiB, 300MiB, 24GB", (int)length, text);
    return 0;
}

/* From the smallest budget that works to where everything is kept, for the file's own micro-batch. */
static void natural_range(const Compilation *c, int64_t *low, int64_t *high) {
    const Graph *g;
    const PlanResult *result = compile_policy(c, POLICY_OPTIMAL, 0, &g);
    *low = result->smallest_bytes + c->device.reserved_bytes;
    *high = result->keep_all_bytes + c->device.reserved_bytes;
}

static int read_range(const Compilation *c, int64_t *low, int64_t *high) {
    const char *text = c->options->budget;
    if (!text) {
        natural_range(c, low, high);
        return -1;
    }
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

static Row plan_row(const Compilation *c, int64_t budget_bytes) {
    const Graph *g;
    const PlanResult *result = compile_policy(c, POLICY_OPTIMAL, budget_bytes, &g);
    return (Row){.device = c->device.name,
                 .budget_bytes = budget_bytes,
                 .batch = g->batch,
                 .context = g->context,
                 .peak_bytes = result->plan.peak_bytes + c->device.reserved_bytes,
                 .host_bytes = result->plan.host_bytes,
                 .feasible = result->feasible,
                 .seconds = result->plan.seconds,
                 .tokens_per_second = (double)(g->batch * g->context * g->accumulate) / result->plan.seconds};
}

/* The plan with contexts of `context` tokens and as many micro-steps a step as the file has. */
static bool context_row(const Compilation *c, int64_t budget_bytes, int64_t context, Row *row) {
    Compilation variant;
    const char *set[] = {arena_printf(c->arena, "T=%" PRId64, context),
                         arena_printf(c->arena, "tokens_per_step=%" PRId64,
                                      context * c->forward->batch * c->forward->accumulate)};
    uint32_t settings = c->spec.tokens_per_step ? 2 : 1;
    if (!compile_variant(c, set, settings, &variant)) return false;
    *row = plan_row(&variant, budget_bytes);
    return row->feasible;
}

/* The longest context that fits, in units of 64 tokens (or what the file has, when that is less): doubling,
 * then halving the interval. Infeasible when not even one unit fits. */
static Row longest_context(const Compilation *c, int64_t budget_bytes) {
    const int64_t most = INT64_C(1) << 24;
    int64_t unit = c->forward->context < 64 ? c->forward->context : 64, low = 0, high = 1;
    Row best = {.device = c->device.name, .budget_bytes = budget_bytes}, row;
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
    return best;
}

/* ---- printing ---- */

static void print_rows(const Rows *rows, bool contexts, Text *out) {
    char a[24], b[24], h[24];
    bool host = false;
    for (uint32_t i = 0; i < rows->count; i++) host |= rows->at[i].host_bytes > 0;
    text_add(out, "%-12s %12s %6s %9s %12s %12s %12s%s\n", "device", "budget", "B", "T", "peak", "step",
             "tokens/s", host ? "         host" : "");
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        text_add(out, "%-12s %12s ", row->device,
                 row->budget_bytes ? format_bytes(row->budget_bytes, a) : "none");
        if (row->feasible)
            text_add(out, "%6" PRId64 " %9" PRId64 " %12s %10.4f s %12.0f%s\n", row->batch, row->context,
                     format_bytes(row->peak_bytes, b), row->seconds, row->tokens_per_second,
                     host ? arena_printf(out->arena, " %12s", format_bytes(row->host_bytes, h)) : "");
        else if (contexts)
            text_add(out, "no context fits\n");
        else
            text_add(out, "does not fit; the smallest plan found needs %s\n",
                     format_bytes(row->peak_bytes, b));
    }
}

static void print_json(const Rows *rows, Text *out) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < rows->count; i++) {
        const Row *row = &rows->at[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:I, s:f, s:f}", "device",
                                        row->device, "budget_bytes", (json_int_t)row->budget_bytes, "fits",
                                        (int)row->feasible, "batch", (json_int_t)row->batch, "context",
                                        (json_int_t)row->context, "peak_bytes", (json_int_t)row->peak_bytes,
                                        "host_bytes", (json_int_t)row->host_bytes, "seconds", row->seconds,
                                        "tokens_per_second", row->tokens_per_second));
    }
    char *text = json_dumps(list, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text) die("a sweep has no JSON form");
    text_add(out, "%s\n", text);
    free(text); /* jansson's own allocation */
    json_decref(list);
}

/* ---- the verb ---- */

static int sweep_device(Compilation *c, const char *device, bool contexts, Rows *rows) {
    Options options = *c->options;
    Compilation one = {.arena = c->arena, .options = &options};
    options.device = device;
    options.budget = NULL;
    options.warned = rows->count > 0;
    int code = compile_parse(&one);
    if (code < 0) code = compile_lower(&one);
    if (code >= 0) return code;
    options.budget = c->options->budget;
    int64_t low, high;
    if (contexts && !options.budget) {
        low = high = one.budget_bytes;
        if (!low)
            return message_fail(c->options, EXIT_USAGE,
                                "the longest context needs a budget, in the file or with --budget");
    } else {
        code = read_range(&one, &low, &high);
        if (code >= 0) return code;
    }
    int64_t points = low == high ? 1 : options.points;
    for (int64_t i = 0; i < points; i++) {
        /* equal ratios: budgets differ by factors */
        double ratio = points == 1 ? 0 : (double)i / (double)(points - 1);
        int64_t budget =
            i == points - 1 ? high : (int64_t)ceil((double)low * pow((double)high / (double)low, ratio));
        *vec_add(c->arena, rows) = contexts ? longest_context(&one, budget) : plan_row(&one, budget);
    }
    return -1;
}

int verb_sweep(Compilation *c) {
    const Options *options = c->options;
    bool contexts = options->maximize && !strcmp(options->maximize, "T");
    if (options->maximize && !contexts && strcmp(options->maximize, "tokens_per_second"))
        return message_fail(c->options, EXIT_USAGE, "--maximize is tokens_per_second or T, not '%s'",
                            options->maximize);
    Rows rows = {0};
    const char *list = options->device;
    do {
        size_t length = list ? strcspn(list, ",") : 0;
        const char *device = list ? arena_strndup(c->arena, list, length) : NULL;
        int code = sweep_device(c, device, contexts, &rows);
        if (code >= 0) return code;
        list = list && list[length] ? list + length + 1 : NULL;
    } while (list);
    Text out = {.arena = c->arena};
    if (options->json)
        print_json(&rows, &out);
    else
        print_rows(&rows, contexts, &out);
    return output_print(c->options, &out);
}
