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
