/* Work that another thread may do meanwhile. What a task computes depends on nothing but what it is given:
 * which thread does it, and whether any other does, changes no answer. Nothing here is shared but by saying
 * so: a task allocates from an arena of its own. */
#ifndef REMAT_TASKS_H
#define REMAT_TASKS_H

#include "ir/base.h"

enum { TASKS_MOST_THREADS = 4 };

/* The threads of a run; NULL is one alone, as where none can be made: then each task is done by whoever ends
 * it. */
typedef struct Tasks Tasks;
/* As many at once, the caller's among them; NULL of fewer than two. They are made when there is work. */
Tasks *tasks_new(Arena *arena, uint32_t threads);
void tasks_free(Tasks *tasks); /* every task was ended or dropped before */

typedef struct Task {
    void (*run)(void *context);
    void *context;
    bool alone; /* neither begins other tasks nor ends them: a thread that waits for another may do it */
    enum { TASK_NEW, TASK_BEGUN, TASK_RUNS, TASK_DONE } state;
    struct Task *next;
} Task;

/* Another thread does it as soon as one has nothing else to do. Neither the task nor what it reads may change
 * until it was ended or dropped. */
void task_begin(Tasks *tasks, Task *task);
/* It is done when this returns: by this thread if no other has taken it. Once: a second time does nothing. */
void task_end(Tasks *tasks, Task *task);
/* The same for what need not be done: whether it was, by another thread. */
bool task_drop(Tasks *tasks, Task *task);

#endif
