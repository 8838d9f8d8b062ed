/* The flow from a forward graph to a packed plan, on one screen (stages.c).
 *
 *   Graph --tile--> Graph --grad--> Graph --fuse--> Graph --order--> Graph --pad--> Graph
 *         --cost--> Cost per node --plan--> Plan --layout--> an offset for every buffer
 *
 * Training, evaluation, sampling, and sampling a token at a time, are programs that go through the same list;
 * they share one arena. Before
 * it stand parsing and lowering (compile.c), which a file goes through once; behind it the emission of all
 * three programs (codegen/emit.c). The search over micro-batches and tilings (batch_search.c) calls the list
 * as often as it likes, as far as it likes; the list does not know of it. */
#ifndef REMAT_STAGES_H
#define REMAT_STAGES_H

#include "frontend/driver/compile.h"
#include "ir/passes/passes.h"

typedef enum Stage {
#define STAGE(NAME, name, leaves) STAGE_##NAME,
#include "frontend/driver/stages.def"
#undef STAGE
    STAGE_COUNT
} Stage;
extern const char *const stage_name[STAGE_COUNT];

typedef enum ProgramKind {
    PROGRAM_TRAIN,
    PROGRAM_EVALUATE,
    PROGRAM_SAMPLE,
    PROGRAM_STEP /* sampling, one token a run over the keys and values of earlier ones */
} ProgramKind;

/* What a plan is asked for. */
typedef struct Wish {
    Policy policy;
    Budget budget; /* of the arena */
    PlanAsk ask;
} Wish;

/* What was checked and found right, once for all copies of a program. */
typedef struct Checked {
    bool graphs;
    VEC(const Step *) plan; /* by their steps, which plans of one memo share */
} Checked;

/* A program on its way. */
typedef struct Program {
    ProgramKind kind;
    TileRule tile;                /* how STAGE_TILE cuts it */
    const struct Program *inside; /* of all but training: the training program in whose arena it lies */
    Stage done;                   /* up to here it has come */
    Graph *made[STAGE_COST];      /* by stage, from STAGE_GRAPH on */
    Graph *graph;                 /* the last of them */
    Cost *cost;
    double seconds; /* a step, nothing recomputed */
    PlanMemo *memo; /* training: what searches found, kept from one wish to the next; NULL: nothing */
    Checked *checked;
    Wish wish;          /* what STAGE_PLAN is asked for */
    PlanResult *result; /* NULL before STAGE_PLAN */
} Program;

/* A program that has come no further than its forward graph. */
Program program_new(ProgramKind kind, Graph *forward, TileRule tile, Arena *arena);
/* Runs the stages behind `done` up to `last`; what they make lies in `arena`. Dies where a check finds
 * something wrong: a broken invariant of ours. A graph is checked at the latest before it is planned, so that
 * those which are only ranked by their costs take no longer than that. */
void stages_run(const Compilation *c, Program *program, Stage last, Arena *arena);
/* Plans a program that has its costs, whether or not it was planned before, for another wish. */
void stages_plan(const Compilation *c, Program *program, Wish wish, Arena *arena);
/* The request that STAGE_PLAN makes for a wish; and the one for all that is found without a plan, which knows
 * neither pins nor policy. */
PlanRequest stages_request(const Compilation *c, const Program *program, Wish wish);
PlanRequest stages_glance(const Compilation *c, const Program *program, Budget budget);

/* The training graph up to fusion, whole: what can be said of its operations before a micro-batch is chosen.
 */
Graph *stages_fused(const Compilation *c, Graph *forward, Arena *arena);

/* The graph, costs, plan and layout of a program that has been through all stages. */
Part program_part(const Program *program);
double program_tokens(const Program *program); /* a step's */

#endif
