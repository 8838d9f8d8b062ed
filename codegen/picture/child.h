/* Work in a child process: whatever ends it (a crash, a failed allocation deep in a library, time), this
 * process goes on and says so. */
#ifndef REMAT_CHILD_H
#define REMAT_CHILD_H

#include "ir/base.h"

typedef enum ChildEnd {
    CHILD_DONE,    /* `out` has all that was written */
    CHILD_REFUSED, /* it said no: `out` is its message */
    CHILD_BROKEN,  /* it ended in another way, or could not be started: `out` says how */
} ChildEnd;

/* Writes its result, or where it returns false a message, with child_write. Nothing else it does is seen by
 * this process; what it prints goes to standard error. */
typedef bool ChildWork(void *context, int fd);

ChildEnd child_run(ChildWork *work, void *context, unsigned most_seconds, Text *out);
void child_write(int fd, const void *bytes, size_t count);

#endif
