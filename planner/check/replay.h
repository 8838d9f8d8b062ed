/* What both checkers work out anew from the graph: the storage of each value and the versions it goes
 * through.
 *
 * A storage is named by its first value. `version` is what it must hold for a value to be read: the value
 * itself, or for a view the value it views; a node that writes over an input makes a new version. */
#ifndef REMAT_CHECK_REPLAY_H
#define REMAT_CHECK_REPLAY_H

#include "planner/plan.h"

typedef struct CheckStorage {
    ValueId now;          /* version on the device, NONE when there is none */
    ValueId host;         /* version in host memory */
    uint32_t since;       /* step that last changed `now` */
    uint32_t leaves;      /* step that began to copy `now` out, to be waited for by its FREE; NONE */
    uint32_t brings;      /* step that began to copy `now` in, where nothing has read it yet; NONE */
    uint32_t copied;      /* step that made `host`, where nothing has fetched it yet; NONE */
    uint32_t buffer;      /* layout_check.c: where `now` lies */
    uint32_t host_buffer; /* layout_check.c: where `host` lies */
    bool taken;           /* layout_check.c: an output computed in place has overwritten it */
} CheckStorage;

typedef struct CheckReplay {
    const Graph *g;
    const Plan *plan;
    Arena *arena;
    ValueId *home, *version; /* per value */
    CheckStorage *storage;   /* per value; only homes are used */
    const char *error;
} CheckReplay;

/* Homes and versions of every value; persistent storages are live from the start. */
CheckReplay check_replay(const Graph *g, const Plan *plan, Arena *arena);
/* Sets the error and yields false. */
bool check_fail(CheckReplay *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool check_kept(const CheckReplay *r, ValueId home); /* it is persistent */
/* For messages. */
const char *check_name(const CheckReplay *r, ValueId v);
const char *check_size(const CheckReplay *r, ValueId v);
const char *check_step(const CheckReplay *r, uint32_t s);

#endif
