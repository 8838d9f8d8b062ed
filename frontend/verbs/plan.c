/* The verb `plan`: the summary of one plan, a row for each policy, or why an operation is planned as it is.
 */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"
#include "frontend/driver/output.h"

static CompareRow compare_row(const Compilation *c, Policy policy) {
    Budget budget = c->budget; /* where the file gives no host memory, what the policy would take of it */
    if (policy == POLICY_OFFLOAD_BLOCKS && !budget.host_bytes) budget.host_bytes = INT64_MAX;
    Planned planned = planned_by(c, policy, budget);
    const PlanResult *result = planned.train.result;
    const Graph *g = planned.train.graph;
    CompareRow row = {.policy = policy,
                      .feasible = planned.fits,
                      .peak_bytes = planned.request.arena_bytes,
                      .host_bytes = result->plan.host_bytes,
                      .seconds = result->plan.seconds,
                      .tokens_per_second =
                          (double)(g->batch * g->context * g->accumulate) / result->plan.seconds,
                      .keep_all_bytes = result->keep_all_bytes,
                      .keep_all_seconds = result->keep_all_seconds,
                      .batch = g->batch,
                      .reason = result->reason.at,
                      .reasons = result->reason.count};
    if (result->plan.host_bytes <= c->spec.host_bytes) return row;
    char bytes[24];
    const char **reason = NEW_ARRAY(c->arena, const char *, row.reasons + 1);
    for (uint32_t i = 0; i < row.reasons; i++) reason[i] = row.reason[i];
    reason[row.reasons++] =
        arena_printf(c->arena, "takes %s of host memory, and the file gives %s",
                     format_bytes(result->plan.host_bytes, bytes),
                     c->spec.host_bytes ? "less" : "none: write `host SIZE` beside the budget");
    row.reason = reason;
    row.feasible = false;
    return row;
}

static int compare(Compilation *c) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code >= 0) return code;
    Comparison all = {.spec = &c->spec,
                      .device = &c->device,
                      .budget = c->budget,
                      .smallest_bytes = planned_least_bytes(c, POLICY_OPTIMAL),
                      .rows = POLICY_COUNT};
    bool any = false;
    for (int p = 0; p < POLICY_COUNT; p++) {
        all.row[p] = compare_row(c, (Policy)p);
        any |= all.row[p].feasible;
    }
    compile_warn_capped(c);
    Text out = {.arena = c->arena};
    if (c->options->json)
        summary_compare_json(&all, &out);
    else
        summary_compare(&all, &out);
    code = output_print(c->options, &out);
    if (any || code != EXIT_FINE) return code;
    char budget[24], least[24];
    message_error(c->options, "no policy fits %s; the smallest feasible budget is %s",
                  format_bytes(c->budget.device_bytes, budget), format_bytes_up(all.smallest_bytes, least));
    return EXIT_INFEASIBLE;
}

int verb_plan(Compilation *c) {
    if (c->options->compare && (c->options->policy || c->options->why))
        return message_fail(c->options, EXIT_USAGE,
                            "--compare shows every policy; it goes without --policy and --why");
    if (c->options->why && c->options->json)
        return message_fail(c->options, EXIT_USAGE, "--why answers in text; it goes without --json");
    if (c->options->compare) return compare(c);
    Planned planned = {0};
    c->asks_least = !c->options->why;
    int code = verbs_plan(c, &planned);
    if (code >= 0) return code;
    PlanSummary summary = verbs_summary(c, &planned);
    if (!c->options->why) summary.smallest_bytes = planned_least_bytes(c, c->policy);
    Text out = {.arena = c->arena};
    if (c->options->why) {
        if (summary_why(&summary, c->options->why, &out)) return output_print(c->options, &out);
        const Graph *g = planned.train.graph;
        const char **names = NEW_ARRAY(c->arena, const char *, g->node.count + 1);
        for (uint32_t n = 0; n < g->node.count; n++) names[n] = g->node.at[n].name;
        const char *near = diag_nearest(c->options->why, names, g->node.count);
        return message_fail(c->options, EXIT_USAGE, "no forward operation is called '%s'%s%s%s",
                            c->options->why, near ? "; did you mean '" : "", near ? near : "",
                            near ? "'?" : "");
    }
    if (c->options->json)
        summary_plan_json(&summary, &out);
    else
        summary_plan(&summary, &out);
    return output_print(c->options, &out);
}
