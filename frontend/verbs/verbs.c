/* See verb.h. */
#include "frontend/verbs/verb.h"

#include "frontend/driver/message.h"

#include "frontend/driver/infeasible.h"

#include <string.h>

int verbs_call(Compilation *c) {
    static int (*const verb[VERB_COUNT])(Compilation *) = {
#define VERB(id, name, argument, traits, completes, summary, description) [VERB_##id] = verb_##name,
#include "frontend/verbs/verbs.def"
#undef VERB
    };
    return verb[c->options->verb](c);
}

int verbs_plan(Compilation *c, Planned *planned) {
    int code = compile_parse(c);
    if (code < 0) code = compile_lower(c);
    if (code < 0) code = infeasible_or_plan(c, planned);
    return code;
}

const char *verbs_default_path(const Compilation *c, const char *ending) {
    const char *slash = strrchr(c->options->file, '/'), *base = slash ? slash + 1 : c->options->file;
    const char *dot = strrchr(base, '.');
    if (c->imported || !strcmp(base, "-")) base = c->spec.model, dot = NULL;
    return arena_printf(c->arena, "%.*s%s", dot ? (int)(dot - base) : (int)strlen(base), base, ending);
}

int verbs_names_place(const Compilation *c, const char *option, const char *path, const char *what) {
    if (!path || (*path && strcmp(path, "-"))) return -1;
    return message_fail(c->options, EXIT_USAGE, "%s '%s' names no %s%s", option, path, what,
                        *path ? "; one that is called so is './-'" : "");
}

PlanSummary verbs_summary(const Compilation *c, const Planned *planned) {
    const PlanResult *result = planned->train.result;
    PlanSummary summary = {
        .request = &planned->request, .result = result, .tile = planned->train.tile, .budget = c->budget};
    /* where everything is kept, more memory buys nothing */
    if (c->budget.limited && c->policy == POLICY_OPTIMAL && result->plan.seconds > result->keep_all_seconds) {
        Budget larger = c->budget;
        summary.more_bytes = (int64_t)512 << 20;
        if (summary.more_bytes > larger.device_bytes / 10) summary.more_bytes = larger.device_bytes / 10;
        larger.device_bytes += summary.more_bytes;
        PlanResult *more = planned_again(c, planned, POLICY_OPTIMAL, larger);
        if (more->feasible && more->plan.seconds < result->plan.seconds)
            summary.more_seconds = more->plan.seconds;
    }
    return summary;
}
