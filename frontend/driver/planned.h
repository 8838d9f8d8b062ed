/* The programs of a file, planned: one for training, one for evaluation, two for sampling, in one arena. */
#ifndef REMAT_PLANNED_H
#define REMAT_PLANNED_H

#include "frontend/driver/stages.h"

typedef struct Planned {
    Program train, evaluate, sample;
    Program step;        /* sampling, a token at a time; not there: its graph is NULL */
    EmitRequest request; /* their parts */
    bool fits;           /* all, within the budget */
} Planned;

/* After compile_lower: the plan of a policy within a budget of the whole program, at the micro-batch and
 * tiling it is fastest with; where none fits, what comes nearest. */
Planned planned_by(const Compilation *c, Policy policy, Budget budget);
/* The same for who asks for its figures alone, not for its reasons, nor for how samples are drawn a token at
 * a time. */
Planned planned_figures(const Compilation *c, Policy policy, Budget budget);
/* The same for the file's policy and budget, but that evaluation and sampling are left out where training
 * does not fit; whether all do. Meanwhile another thread looks for the smallest budget, if that will be
 * asked. */
bool planned_by_file(Compilation *c, Planned *out);

/* The training program with another policy or budget, for comparisons: in brief, without its bound. */
PlanResult *planned_again(const Compilation *c, const Planned *planned, Policy policy, Budget budget);

/* The budget of the whole program that a planned training program needs, with evaluation and sampling beside
 * it in as little as they can do with, and what the device reserves. */
int64_t planned_bytes(const Compilation *c, const Program *train);
/* The smallest budget that the file can be planned with, what the device reserves included: at whichever
 * micro-batch and tiling needs the least. */
int64_t planned_least_bytes(const Compilation *c, Policy policy);
/* Where another thread looked for that, the compilation that has what was found on the way, to the same
 * answers; else `c`. */
const Compilation *planned_least_aside(const Compilation *c);
void planned_least_end(const Compilation *c); /* that is freed */

#endif
