/* What a file and the command line come to: text -> Ast -> Spec + forward Graph (a Compilation), and then its
 * three programs, planned (Planned). The stages between the two stand in stages.h. */
#ifndef REMAT_COMPILE_H
#define REMAT_COMPILE_H

#include "codegen/emit.h"
#include "frontend/driver/options.h"
#include "frontend/language/ast.h"

/* A file, lowered, with what the command line says in its place. */
typedef struct Compilation {
    Arena *arena;
    const Options *options;
    Diag *diag;
    bool imported; /* the text was made of a published model's config.json */
    Ast *ast;
    Spec spec;
    Device device; /* a copy: the target may override what it is */
    Policy policy;
    Budget budget;             /* of the whole program, at most what the device has */
    bool budget_capped;        /* more was asked for than the device has */
    Graph *forward;            /* as written; of the smallest batch where the file leaves that open */
    struct Stats *stats;       /* of --stats (planner/problem/stats.h); NULL without */
    struct Programs *programs; /* all that were made of it (programs.h) */
    struct Tasks *tasks;       /* ir/tasks.h; NULL: one thread alone */
    struct Least *least;       /* planned.h; NULL: nothing of it was begun */
    bool asks_least;           /* the smallest budget is told of what fits too */
    struct Memo *known; /* what the planner found for blocks and packings of all of them, and of variants */
} Compilation;

/* Each returns -1 to go on, or the exit code to leave with after the messages were printed. */
int compile_parse(Compilation *c);
int compile_lower(Compilation *c); /* settings, device, and the forward graph */

/* After compile_lower: the same file with further settings, e.g. "T=4096", lowered into `variant`. Prints
 * nothing; false when the changed file has errors. */
bool compile_variant(const Compilation *c, const char *const *set, uint32_t count, Compilation *variant);

/* The same file for another thread: with nothing made of it yet, in an arena of its own. */
Compilation *compile_aside(const Compilation *c);
void compile_aside_end(const Compilation *c, Compilation *aside); /* with all that was made of it */

/* The arena's part of a budget for the whole program. */
Budget compile_arena_budget(const Compilation *c, Budget whole);
void compile_warn_capped(const Compilation *c); /* on stderr, where the budget is more than the device has */

#endif
