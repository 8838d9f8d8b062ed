/* The pipeline: each arrow of the flow is one function here, each result is checked by code that shares
 * nothing with its producer, and each can be dumped.
 *
 *   text -> Ast -> Spec + forward Graph -> + backward, update -> fused, ordered -> Cost -> Plan -> Layout ->
 * program
 */
#ifndef REMAT_COMPILE_H
#define REMAT_COMPILE_H

#include "codegen/emit.h"
#include "frontend/language/ast.h"
#include "frontend/driver/options.h"

typedef struct Compilation {
    Arena *arena;
    const Options *options;
    Diag *diag;
    bool imported; /* the text was made of a published model's config.json */
    Ast *ast;
    Spec spec;
    Device device; /* a copy: the target may override what it is */
    Policy policy;
    int64_t budget_bytes; /* of the whole program, at most what the device has; 0: none */
    bool budget_capped;   /* more was asked for than the device has */
    Graph *forward;       /* as written */
    TileRule tile;        /* how it was cut into tiles of tokens; all 1: not */
    Graph *grad;          /* with backward and update */
    Graph *fused;
    Graph *graph;        /* updates in order: what is planned */
    PlanMemo *memo;      /* of `graph` */
    struct Memos *memos; /* of all graphs that were planned: one for each micro-batch and tiling */
    PlanResult *result;
    EmitRequest request; /* the parts, once planned */
} Compilation;

/* Each returns -1 to go on, or the exit code to leave with after the messages were printed. */
int compile_parse(Compilation *c);
int compile_lower(Compilation *c); /* settings, device, and the forward graph of the smallest batch */
int compile_plan(Compilation *c);  /* everything else; picks the micro-batch when it is `auto` */

/* A plan of the same file with another policy or budget, for comparisons: in brief, without its bound. NULL when it
 * cannot be built. */
PlanResult *compile_replan(Compilation *c, Policy policy, int64_t budget_bytes);
/* After compile_lower: the plan of a policy at the micro-batch it is fastest with under the budget (0: no
 * limit), or, where none fits, at the smallest. */
typedef struct PolicyPlan {
    const Graph *graph;
    const PlanResult *result;
    bool feasible;
    int64_t peak_bytes; /* the arena's, evaluation and sampling included */
} PolicyPlan;
PolicyPlan compile_policy(const Compilation *c, Policy policy, int64_t budget_bytes);

/* After compile_lower: the smallest budget that the file can be planned with, what the device reserves included:
 * at whichever micro-batch and tiling needs the least. */
int64_t compile_smallest(const Compilation *c, Policy policy);
void compile_warn_capped(const Compilation *c); /* on stderr, where the budget is more than the device has */

/* After compile_lower: the same file with further settings, e.g. "T=4096", lowered into `variant`. Prints
 * nothing; false when the changed file has errors. */
bool compile_variant(const Compilation *c, const char *const *set, uint32_t count, Compilation *variant);

/* Bytes an arena may have under a budget for the whole program; 0: no limit. -1: nothing is left. */
int64_t compile_arena_budget(const Compilation *c, int64_t budget_bytes);

#endif
