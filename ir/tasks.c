/* See tasks.h. Tasks that were begun stand in a row, and each thread takes the first. A thread that waits
 * takes only what waits for nothing itself: two threads never wait for what lies under the other's wait. */
#include "ir/tasks.h"

#include <pthread.h>

struct Tasks {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a task was begun or is done, or all end */
    Task *first;
    uint32_t waiting;       /* tasks in the row */
    uint32_t idle;          /* threads that look for one */
    uint32_t most, threads; /* besides the caller's */
    bool ends;
    pthread_t thread[TASKS_MOST_THREADS];
};

Tasks *tasks_new(Arena *arena, uint32_t threads) {
    if (threads < 2) return NULL;
    Tasks *tasks = NEW(arena, Tasks);
    tasks->most = (threads < TASKS_MOST_THREADS ? threads : TASKS_MOST_THREADS) - 1;
    if (pthread_mutex_init(&tasks->lock, NULL)) return NULL;
    if (!pthread_cond_init(&tasks->changed, NULL)) return tasks;
    pthread_mutex_destroy(&tasks->lock);
    return NULL;
}

/* The first in the row that may be done, taken out of it. Under the lock, like all that follows. */
static Task *take(Tasks *tasks, bool alone) {
    Task **at = &tasks->first;
    while (*at && alone && !(*at)->alone) at = &(*at)->next;
    Task *task = *at;
    if (!task) return NULL;
    *at = task->next;
    tasks->waiting--;
    task->state = TASK_RUNS;
    return task;
}

static void leave_row(Tasks *tasks, const Task *task) {
    Task **at = &tasks->first;
    while (*at != task) at = &(*at)->next;
    *at = task->next;
    tasks->waiting--;
}

static void run(Tasks *tasks, Task *task) {
    pthread_mutex_unlock(&tasks->lock);
    task->run(task->context);
    pthread_mutex_lock(&tasks->lock);
    task->state = TASK_DONE;
    pthread_cond_broadcast(&tasks->changed);
}

static void *work(void *context) {
    Tasks *tasks = context;
    pthread_mutex_lock(&tasks->lock);
    while (!tasks->ends) {
        Task *task = take(tasks, false);
        if (task) {
            run(tasks, task);
            continue;
        }
        tasks->idle++;
        pthread_cond_wait(&tasks->changed, &tasks->lock);
        tasks->idle--;
    }
    pthread_mutex_unlock(&tasks->lock);
    return NULL;
}

void task_begin(Tasks *tasks, Task *task) {
    task->state = TASK_NEW;
    if (!tasks) return;
    pthread_mutex_lock(&tasks->lock);
    Task **at = &tasks->first;
    while (*at) at = &(*at)->next;
    *at = task;
    task->next = NULL;
    task->state = TASK_BEGUN;
    tasks->waiting++;
    if (tasks->idle < tasks->waiting && tasks->threads < tasks->most &&
        !pthread_create(&tasks->thread[tasks->threads], NULL, work, tasks))
        tasks->threads++;
    pthread_cond_broadcast(&tasks->changed);
    pthread_mutex_unlock(&tasks->lock);
}

/* Until another thread has done it, doing others meanwhile. */
static void wait_for(Tasks *tasks, const Task *task) {
    while (task->state == TASK_RUNS) {
        Task *other = take(tasks, true);
        if (other)
            run(tasks, other);
        else
            pthread_cond_wait(&tasks->changed, &tasks->lock);
    }
}

bool task_drop(Tasks *tasks, Task *task) {
    if (!tasks) return task->state == TASK_DONE;
    pthread_mutex_lock(&tasks->lock);
    if (task->state == TASK_BEGUN) {
        leave_row(tasks, task);
        task->state = TASK_NEW;
    }
    wait_for(tasks, task);
    bool done = task->state == TASK_DONE;
    pthread_mutex_unlock(&tasks->lock);
    return done;
}

void task_end(Tasks *tasks, Task *task) {
    if (task_drop(tasks, task)) return;
    task->run(task->context);
    task->state = TASK_DONE;
}

void tasks_free(Tasks *tasks) {
    if (!tasks) return;
    pthread_mutex_lock(&tasks->lock);
    tasks->ends = true;
    pthread_cond_broadcast(&tasks->changed);
    pthread_mutex_unlock(&tasks->lock);
    for (uint32_t i = 0; i < tasks->threads; i++) pthread_join(tasks->thread[i], NULL);
    pthread_cond_destroy(&tasks->changed);
    pthread_mutex_destroy(&tasks->lock);
}
