/* When copies to host memory run. A retention says which gaps a storage may spend there; the copies go out in
 * the order in which the storages are ready and come back in the order in which they are needed, each as
 * soon, or as late, as it can without anything waiting:
 *
 *     runs     | makes s | ............ | free_run ......... fetch_run | ............ | reads s |
 *     out               [- others -|- s -]
 *     in                                                  [- s -|- others -]
 *     device   [------------------- s --)                             [------- s ----------------
 *
 * A gap without time for both copies, or for which host memory has no room, keeps its storage on the device.
 */
#ifndef REMAT_PROBLEM_COPIES_H
#define REMAT_PROBLEM_COPIES_H

#include "planner/problem/idle.h"

/* Runs are positions in a sequence. */
typedef struct Copy {
    uint32_t storage, gap;
    uint32_t out_run;   /* its last touch before it leaves: copied out from the end of this run on */
    uint32_t free_run;  /* gone from the device before this run */
    uint32_t fetch_run; /* copied back from the start of this run on */
    uint32_t back_run;  /* its next touch */
    uint32_t last_run;  /* host memory has it until after this run: back_run, or that of a later copy of it */
    uint32_t host;      /* HOST_EASY, HOST_STAGED, HOST_NOW */
    bool held;          /* host memory has it from an earlier copy: nothing goes out */
    bool dropped;       /* found no time or no room; only while they are being found */
} Copy;

typedef struct Copies {
    const Problem *p;
    Arena *arena;
    IdleStretches idle;  /* of storages that may go; with the start of every run */
    VEC(Copy) copy;      /* in order of out_run */
    IdleOrder need;      /* of back_run; fetch_run ascends in it too */
    IdleOrder freed;     /* of free_run */
    int64_t host_bytes;  /* most live at once in host memory */
    double wait_seconds; /* that operations wait */
    /* while they are being found */
    bool *wanted;          /* by storage: some gap of it may go */
    uint32_t *head;        /* by storage: the copy that went out; made again, it is the same bits */
    VEC(int64_t) released; /* by run: host bytes that are free after it */
    VEC(double) done_out, done_in;
} Copies;

Copies *copies_new(const Problem *p, Arena *arena);
/* Of a sequence whose runs serve `time`; false when there are none. */
bool copies_find(Copies *copies, const Keep *retain, const Sequence *sequence, const uint32_t *time);
/* One way. */
double copies_seconds(const Problem *p, uint32_t storage);

static inline const Copy *copies_in(const Copies *copies, const IdleOrder *order, uint32_t i) {
    return &copies->copy.at[(uint32_t)order->at[i]];
}

#endif
