/* What the two halves of the trainer share: train.c prepares a run and ends it, loop.c does its steps. */
#ifndef REMAT_RT_TRAINER_H
#define REMAT_RT_TRAINER_H

#include "internal.h"

typedef struct RtAhead { /* a step that was issued and whose results were not read yet */
    RtStepRecord record;
    double targets, begin; /* that count; when it was issued */
} RtAhead;

typedef struct RtTrainer {
    const RtProgram *program;
    RtOptions options;
    RtRun run;
    RtLog log;
    RtState state; /* after the last step whose results were read */
    RtData train, validate;
    RtFolder folder;
    RtWatch watch;
    int64_t steps, saved_step;
    RtBatch batch;
    RtResults results;
    RtAhead ahead;
    int is_ahead;     /* there is one */
    double last_read; /* when results were */
    void *chunk;
} RtTrainer;

/* ---- loop.c ---- */
/* The steps that are left: 0 when all are done, 75 when a signal ended them. */
int rt_loop(RtTrainer *trainer);
void rt_loop_catch_signals(void);
extern volatile sig_atomic_t rt_stop_asked; /* a signal came */
/* Nobody reads what the run says: it is saved and ends. */
_Noreturn void rt_loop_output_lost(RtTrainer *trainer);

#endif
