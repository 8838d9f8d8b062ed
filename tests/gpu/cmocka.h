/* As much of cmocka as the operation tests use, for machines that do not have it. */
#ifndef REMAT_GPU_CMOCKA_H
#define REMAT_GPU_CMOCKA_H

#include <fnmatch.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    void *setup, *teardown, *state;
};
#define cmocka_unit_test(test)                                                                               \
    { #test, test, NULL, NULL, NULL }
static jmp_buf cmocka_failed;
static const char *cmocka_filter = "*";

#define fail_msg(...) (printf(__VA_ARGS__), printf("\n"), longjmp(cmocka_failed, 1))
#define assert_true(condition)                                                                               \
    do {                                                                                                     \
        if (!(condition)) fail_msg("%s:%d: %s", __FILE__, __LINE__, #condition);                             \
    } while (0)
#define assert_non_null(pointer) assert_true((pointer) != NULL)

static inline void cmocka_set_test_filter(const char *filter) {
    cmocka_filter = filter;
}
static inline int cmocka_run(const struct CMUnitTest *test, size_t count) {
    static volatile size_t i, failures;
    for (i = 0; i < count; i++) {
        if (fnmatch(cmocka_filter, test[i].name, 0) != 0) continue;
        if (setjmp(cmocka_failed)) {
            printf("FAILED: %s\n", test[i].name);
            failures++;
            continue;
        }
        void *state = test[i].state;
        test[i].test(&state);
    }
    printf("%zu operations, %zu failed\n", count, failures);
    return (int)failures;
}
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                            \
    cmocka_run(tests, sizeof(tests) / sizeof *(tests))

#endif
