/* IN_ARENA(test): a test whose *state is an Arena of its own. */
#ifndef REMAT_TESTS_IN_ARENA_H
#define REMAT_TESTS_IN_ARENA_H

#include "ir/base.h"

static inline int arena_set_up(void **state) {
    *state = arena_new();
    return 0;
}

static inline int arena_tear_down(void **state) {
    arena_free(*state);
    return 0;
}

#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, arena_set_up, arena_tear_down)

#endif
