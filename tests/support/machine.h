/* Runs a plan in-process on the host kernels, from the layout's own offsets: the meaning of a plan, without
 * emitting and compiling a program. Built twice: with the kernels as they are (f32), and with kernels
 * compiled for double (-DK_REAL=double), where every offset is doubled, for central differences. */
#ifndef REMAT_TEST_MACHINE_H
#define REMAT_TEST_MACHINE_H

#include "kernels/kernels.h"
#include "planner/plan.h"

typedef struct Machine {
    const Graph *graph;
    const Plan *plan;
    const Layout *layout;
    char *memory, *host;
    struct MachineCopy *copy; /* by root: begun, not done; in poison mode as late as it may be */
    int scale;                /* sizeof(K_REAL) / 4 */
    bool poison;              /* fill what dies with NaN */
    int64_t high_water_bytes; /* highest end of any buffer a step used, in layout bytes */
    int64_t host_high_water_bytes;
    KCtx cx;
} Machine;

Machine *machine_new(const Graph *g, const Plan *plan, const Layout *layout, bool poison);
void machine_free(Machine *m);
/* Parameters from their initialisers (norm weights jittered so that every gradient is alive), states zero. */
void machine_init(Machine *m, uint64_t seed);
/* One micro-step on a batch drawn from (seed, micro). */
void machine_micro_step(Machine *m, uint64_t seed, int64_t micro);
/* One on what the inputs hold. */
void machine_run(Machine *m, double loss_scale, int64_t micro);
void machine_update(Machine *m);
/* accumulate micro-steps and the update; the loss. */
double machine_step(Machine *m, uint64_t seed, int64_t step);
double machine_loss(const Machine *m);                  /* mean over unmasked tokens so far */
K_REAL *machine_reals(const Machine *m, ValueId value); /* of a persistent f32 value */
void *machine_bytes(const Machine *m, ValueId value);   /* of a persistent value */

#endif
