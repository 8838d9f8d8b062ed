/* The verbs: one function each, in the file of its name (`build` and `run` in emit.c), one row each in
 * verbs.def. */
#ifndef REMAT_VERB_H
#define REMAT_VERB_H

#include "frontend/driver/planned.h"
#include "frontend/driver/summary.h"

/* In: the options, nothing compiled. Prints or writes its results; the exit code. */
#define VERB(id, name, argument, traits, completes, summary, description) int verb_##name(Compilation *c);
#include "frontend/verbs/verbs.def"
#undef VERB

/* The function of options->verb. */
int verbs_call(Compilation *c);
/* Source to plan: -1, or the exit code to leave with after the messages were printed. */
int verbs_plan(Compilation *c, Planned *planned);
/* What `plan` and `report` say of it, but the smallest budget, which takes longer to find. */
PlanSummary verbs_summary(const Compilation *c, const Planned *planned);
/* Where results go that the command line gives no name: "examples/bytes-gpt.remat" -> "bytes-gpt.train" */
const char *verbs_default_path(const Compilation *c, const char *ending);

/* Whether what an option says can be the name of a file or folder (`what`): NULL can, "" and "-" cannot. -1,
 * or the exit code after the message. */
int verbs_names_place(const Compilation *c, const char *option, const char *path, const char *what);

#endif
