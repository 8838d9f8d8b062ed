/* A retention, which says for each gap what is kept, and what it comes to: a sequence of runs, its seconds
 * and its peak. */
#ifndef REMAT_PROBLEM_REPLAY_H
#define REMAT_PROBLEM_REPLAY_H

#include "planner/problem/problem.h"

/* Of one gap: what is made (or live at the gap's start) at time `since` or later is kept for readers up to
 * time `until`, and what is so at time `from` or later to the gap's end. `host`: it is kept throughout, in
 * host memory as far as copies there and back find the time; HOST_STAGED makes the operations wait for them
 * so that at most two instances lie on the device that are on their way each way, HOST_NOW so that its own
 * does not. */
enum { HOST_NEVER, HOST_EASY, HOST_STAGED, HOST_NOW };
typedef struct Keep {
    uint32_t since, until, from, host;
} Keep;

/* An execution of operation `op`; `again` marks recomputation. */
typedef struct Run {
    uint32_t op;
    bool again;
} Run;

/* A retention replayed lazily: what is missing is recomputed just before its first need, in order of first
 * execution, and freed after its last. */
typedef struct Sequence {
    VEC(Run) run;
    double seconds;      /* waiting included */
    double wait_seconds; /* for copies */
    int64_t peak_bytes;  /* highest live bytes, persistent ones included */
    uint32_t peak_run;   /* where */
} Sequence;

/* Scratch memory reused over many replays of one problem. */
typedef struct Replay Replay;
Replay *replay_new(const Problem *p, Arena *arena);
/* Generates the runs, their seconds and their peak. The sequence's array is reused. */
void replay(Replay *r, const Keep *retain, Sequence *sequence);
/* Puts what was replayed last aside. When something else was replayed, into the same sequence, it can be
 * taken back once, which is faster than replaying it again: as if that had not been. False: there are copies,
 * and it has to be. */
void replay_put_aside(Replay *r, Sequence *sequence);
bool replay_take_back(Replay *r, Sequence *sequence);
/* The same for a problem without copies; replay_changed may then be asked. */
void replay_base(Replay *r, const Keep *retain, Sequence *sequence);
/* Replays the last base with one gap changed, which was `before`, from where that makes a difference on.
 * False: nowhere does it, and nothing was done. */
bool replay_changed(Replay *r, const Keep *retain, uint32_t gap, Keep before, Sequence *sequence);
/* After replay: live bytes during each run, persistent ones included. */
const int64_t *replay_live(const Replay *r);
/* After replay: the first-execution time each run serves. */
const uint32_t *replay_time(const Replay *r);
/* After replay: the storages that die with each run, as lists; not those that leave for host memory. */
const Lists *replay_deaths(const Replay *r);
/* After replay: copies to host memory and back, in order of their going out; NULL when there are none. */
struct Copies;
const struct Copies *replay_copies(const Replay *r);

/* The plan that runs `sequence` (the last one replayed). */
void replay_plan(Replay *r, const Sequence *sequence, Arena *arena, Plan *plan);

#endif
