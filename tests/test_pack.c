/* Packing: every packing is checked by brute force over time and bytes, never below the bound, and on
 * structured lifetimes near it. The minimalloc instances are read from $REMAT_DATA or the shared data folder
 * beside the sources, and skipped where there is neither. */
#include "planner/plan.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The height of a packing, after checking every pair. */
static int64_t check_packing(const PackItem *item, uint32_t count) {
    int64_t height = 0;
    for (uint32_t i = 0; i < count; i++) {
        const PackItem *a = &item[i];
        assert_true(a->offset >= 0);
        if (a->align) assert_int_equal(a->offset % a->align, 0);
        if (a->offset + a->bytes > height && a->bytes > 0 && a->lo < a->hi) height = a->offset + a->bytes;
        for (uint32_t j = 0; j < i; j++) {
            const PackItem *b = &item[j];
            bool in_time = a->lo < b->hi && b->lo < a->hi && a->lo < a->hi && b->lo < b->hi;
            bool in_bytes = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            assert_false(in_time && in_bytes && a->bytes && b->bytes);
        }
    }
    return height;
}

/* Highest sum of live bytes, second by second. */
static int64_t brute_bound(const PackItem *item, uint32_t count, uint32_t times) {
    int64_t highest = 0;
    for (uint32_t t = 0; t < times; t++) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < count; i++)
            if (item[i].lo <= t && t < item[i].hi) sum += item[i].bytes;
        if (sum > highest) highest = sum;
    }
    return highest;
}

static void random_items(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        arena_reset(arena);
        uint32_t count = (uint32_t)(random_next(&seed) % 60), times = 1 + (uint32_t)(random_next(&seed) % 50);
        PackItem *item = NEW_ARRAY(arena, PackItem, count + 1);
        int64_t align = round % 3 ? 1 : 4;
        for (uint32_t i = 0; i < count; i++) {
            item[i].lo = (uint32_t)(random_next(&seed) % times);
            item[i].hi = item[i].lo + (uint32_t)(random_next(&seed) % (times - item[i].lo + 1));
            item[i].bytes = (int64_t)(random_next(&seed) % 9) * align;
            item[i].align = align;
        }
        int64_t bound = pack_bound(item, count, arena), height = pack_items(item, count, arena);
        assert_int_equal(bound, brute_bound(item, count, times));
        assert_int_equal(check_packing(item, count), height);
        assert_true(height >= bound);
    }
    arena_free(arena);
}

static void mixed_alignments(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 2;
    for (int round = 0; round < 300; round++) {
        arena_reset(arena);
        uint32_t count = 1 + (uint32_t)(random_next(&seed) % 40);
        PackItem *item = NEW_ARRAY(arena, PackItem, count);
        for (uint32_t i = 0; i < count; i++) {
            item[i].lo = (uint32_t)(random_next(&seed) % 30);
            item[i].hi = item[i].lo + 1 + (uint32_t)(random_next(&seed) % 10);
            item[i].bytes = 1 + (int64_t)(random_next(&seed) % 100);
            item[i].align = (int64_t)1 << random_next(&seed) % 6;
        }
        int64_t height = pack_items(item, count, arena);
        assert_int_equal(check_packing(item, count), height);
    }
    arena_free(arena);
}

/* A training step of `blocks` blocks: each saves three buffers for its backward and uses `scratch` short
 * ones. */
static uint32_t training_items(PackItem *item, uint32_t blocks, uint32_t scratch, uint64_t *seed) {
    uint32_t n = 0, steps = blocks * 2 * scratch;
    for (uint32_t b = 0; b < blocks; b++) {
        uint32_t fwd = b * scratch, bwd = steps - (b + 1) * scratch;
        for (uint32_t k = 0; k < 3; k++)
            item[n++] = (PackItem){fwd + k, bwd + scratch - k, 256 * (4 << k), 256, 0};
        for (uint32_t k = 0; k < scratch; k++) {
            int64_t bytes = 256 * (1 + (int64_t)(random_next(seed) % 16));
            item[n++] = (PackItem){fwd + k, fwd + k + 1 + (uint32_t)(random_next(seed) % 3), bytes, 256, 0};
            item[n++] = (PackItem){bwd + k, bwd + k + 1 + (uint32_t)(random_next(seed) % 3), bytes, 256, 0};
        }
    }
    return n;
}

static void ten_thousand(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 3;
    PackItem *item = NEW_ARRAY(arena, PackItem, 12000);
    uint32_t count = training_items(item, 400, 11, &seed);
    double begin = now_seconds();
    int64_t height = pack_items(item, count, arena), bound = pack_bound(item, count, arena);
    print_message("training step: %u buffers, %.3f s, height / bound %.4f\n", count, now_seconds() - begin,
                  (double)height / (double)bound);
    assert_int_equal(check_packing(item, count), height);
    assert_true((double)height <= 1.005 * (double)bound);
    /* The worst case for time: nothing structured, so every order runs. */
    count = 10000;
    for (uint32_t i = 0; i < count; i++) {
        item[i].lo = (uint32_t)(random_next(&seed) % 5000);
        item[i].hi = item[i].lo + 1 + (uint32_t)(random_next(&seed) % (i % 10 ? 50 : 2000));
        item[i].bytes = 256 * (1 + (int64_t)(random_next(&seed) % 1000));
    }
    begin = now_seconds();
    height = pack_items(item, count, arena);
    print_message("unstructured: %u buffers, %.3f s, height / bound %.4f\n", count, now_seconds() - begin,
                  (double)height / (double)pack_bound(item, count, arena));
    assert_int_equal(check_packing(item, count), height);
    arena_free(arena);
}

static void nothing_to_pack(void **state) {
    (void)state;
    Arena *arena = arena_new();
    assert_int_equal(pack_items(NULL, 0, arena), 0);
    assert_int_equal(pack_bound(NULL, 0, arena), 0);
    PackItem empty[2] = {{3, 3, 100, 1, 7}, {1, 5, 0, 1, 7}};
    assert_int_equal(pack_items(empty, 2, arena), 0);
    PackItem one = {2, 9, 100, 64, 7};
    assert_int_equal(pack_items(&one, 1, arena), 100);
    assert_int_equal(one.offset, 0);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_pack),
        cmocka_unit_test(random_items),
        cmocka_unit_test(mixed_alignments),
        cmocka_unit_test(ten_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
