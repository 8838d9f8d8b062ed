/* Work that another thread may do: it is done once, by whichever thread, and what is not needed is not waited
 * for where none has begun it. */
#include "ir/tasks.h"
#include "planner/problem/memo.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

typedef struct Job {
    Task task;
    atomic_bool begun;
    atomic_int runs;
    atomic_bool *until; /* it waits for that; NULL: for nothing */
    atomic_bool *sets;
    pthread_t by;
} Job;

static void do_job(void *context) {
    Job *job = context;
    job->by = pthread_self();
    atomic_store(&job->begun, true);
    while (job->until && !atomic_load(job->until)) sched_yield();
    if (job->sets) atomic_store(job->sets, true);
    atomic_fetch_add(&job->runs, 1);
}

static void begin(Tasks *tasks, Job *job, bool alone) {
    job->task = (Task){.run = do_job, .context = job, .alone = alone};
    task_begin(tasks, &job->task);
}

static void test_one_thread(void **state) {
    (void)state;
    Arena *arena = arena_new();
    assert_null(tasks_new(arena, 1));
    Job ended = {0}, dropped = {0};
    begin(NULL, &ended, true);
    begin(NULL, &dropped, true);
    assert_int_equal(ended.runs, 0);
    task_end(NULL, &ended.task);
    task_end(NULL, &ended.task);
    assert_int_equal(ended.runs, 1);
    assert_false(task_drop(NULL, &dropped.task));
    assert_true(task_drop(NULL, &ended.task));
    assert_int_equal(dropped.runs, 0);
    tasks_free(NULL);
    arena_free(arena);
}

static void test_another_thread(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Tasks *tasks = tasks_new(arena, 2);
    atomic_bool go = false;
    Job busy = {.until = &go}, waits = {0};
    begin(tasks, &busy, false);
    while (!atomic_load(&busy.begun)) sched_yield();
    /* the only other thread is busy: nobody takes this */
    begin(tasks, &waits, false);
    assert_false(task_drop(tasks, &waits.task));
    assert_int_equal(waits.runs, 0);
    /* who waits for a thread does what begins nothing itself, and leaves the rest */
    Job rest = {0}, help = {.sets = &go};
    begin(tasks, &rest, false);
    begin(tasks, &help, true);
    task_end(tasks, &busy.task);
    assert_int_equal(busy.runs, 1);
    assert_false(pthread_equal(busy.by, pthread_self()));
    task_end(tasks, &help.task);
    assert_true(pthread_equal(help.by, pthread_self()));
    task_end(tasks, &rest.task);
    assert_int_equal(rest.runs + help.runs, 2);
    tasks_free(tasks);
    arena_free(arena);
}

/* A sum by halves, each of which another thread may take. */
typedef struct Half {
    Tasks *tasks;
    uint32_t low, high;
    uint64_t sum;
    Task task;
} Half;

static void add_up(void *context) {
    Half *whole = context;
    if (whole->high - whole->low == 1) {
        whole->sum = whole->low;
        return;
    }
    uint32_t middle = whole->low + (whole->high - whole->low) / 2;
    Half half[2] = {{.tasks = whole->tasks, .low = whole->low, .high = middle},
                    {.tasks = whole->tasks, .low = middle, .high = whole->high}};
    for (int i = 0; i < 2; i++) {
        half[i].task = (Task){.run = add_up, .context = &half[i], .alone = half[i].high - half[i].low == 1};
        task_begin(whole->tasks, &half[i].task);
    }
    for (int i = 0; i < 2; i++) task_end(whole->tasks, &half[i].task);
    whole->sum = half[0].sum + half[1].sum;
}

static void test_trees(void **state) {
    (void)state;
    enum { COUNT = 64, TIMES = 50 };
    for (uint32_t threads = 1; threads <= TASKS_MOST_THREADS; threads++)
        for (int time = 0; time < TIMES; time++) {
            Arena *arena = arena_new();
            Half all = {.tasks = tasks_new(arena, threads), .high = COUNT};
            add_up(&all);
            assert_int_equal(all.sum, COUNT * (COUNT - 1) / 2);
            tasks_free(all.tasks);
            arena_free(arena);
        }
}

/* Of two that find the same the first keeps it, and the second finds it there. */
static void test_memo(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Memo *memo = memo_new(arena);
    Text key = {.arena = arena};
    text_add(&key, "key");
    assert_null(memo_recall(memo, &key));
    Arena *keeps = memo_begin(memo, &key);
    assert_non_null(keeps);
    const char *result = arena_strdup(keeps, "result");
    memo_remember(memo, &key, result);
    assert_null(memo_begin(memo, &key));
    assert_ptr_equal(memo_recall(memo, &key), result);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_thread),
                                       cmocka_unit_test(test_another_thread), cmocka_unit_test(test_trees),
                                       cmocka_unit_test(test_memo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
