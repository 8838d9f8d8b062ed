/* The log of a trainer, `train --log FILE`: JSON, a line a step. */
#ifndef REMAT_RUN_LOG_H
#define REMAT_RUN_LOG_H

#include "codegen/picture/report.h"
#include "frontend/driver/options.h"

/* Of --log. -1, or the exit code after a message: the file cannot be read, or is no such log. */
int run_log_read(const Options *options, Arena *arena, RunLog **run);

#endif
