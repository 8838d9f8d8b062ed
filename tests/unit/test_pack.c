/* Packing: every packing is checked pair by pair, never below the bound, and on structured lifetimes near it;
 * the exact search agrees with brute force on what is possible. The minimalloc instances are read from
 * $REMAT_DATA or the shared data folder beside the sources, and skipped where there is neither. */
#include "frontend/verbs/csv.h"
#include "planner/layout/pack_exact.h"
#include "planner/layout/pack_tree.h"
#include "planner/plan.h"
#include "planner/layout/pack.h"
#include "planner/layout/pack_lowest.h"
#include "planner/layout/pack_rest.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* others may use the machine */
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
        int64_t bound = pack_bound(item, count, arena), height = pack_items(item, count, 0, arena);
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
        int64_t height = pack_items(item, count, 0, arena);
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
    int64_t height = pack_items(item, count, 0, arena), bound = pack_bound(item, count, arena);
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
    height = pack_items(item, count, 0, arena);
    print_message("unstructured: %u buffers, %.3f s, height / bound %.4f\n", count, now_seconds() - begin,
                  (double)height / (double)pack_bound(item, count, arena));
    assert_int_equal(check_packing(item, count), height);
    arena_free(arena);
}

static void nothing_to_pack(void **state) {
    (void)state;
    Arena *arena = arena_new();
    assert_int_equal(pack_items(NULL, 0, 0, arena), 0);
    assert_int_equal(pack_bound(NULL, 0, arena), 0);
    PackItem empty[2] = {{3, 3, 100, 1, 7}, {1, 5, 0, 1, 7}};
    assert_int_equal(pack_items(empty, 2, 0, arena), 0);
    PackItem one = {2, 9, 100, 64, 7};
    assert_int_equal(pack_items(&one, 1, 0, arena), 100);
    assert_int_equal(one.offset, 0);
    arena_free(arena);
}

/* ---- the exact search ---- */

/* The height of a packing of items with gaps, after checking every pair of runs; -1: `wrong` says why not. */
static int64_t validate(const PackExactItem *item, uint32_t count, const char **wrong) {
    int64_t height = 0;
    *wrong = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const PackExactItem *a = &item[i];
        if (a->offset < 0) *wrong = "an offset is negative";
        if (a->align > 1 && a->offset % a->align) *wrong = "an offset is not aligned";
        if (a->fixed >= 0 && a->offset != a->fixed) *wrong = "a fixed offset was changed";
        if (a->runs && a->offset + a->bytes > height) height = a->offset + a->bytes;
        for (uint32_t j = 0; j < i; j++) {
            const PackExactItem *b = &item[j];
            if (a->offset >= b->offset + b->bytes || b->offset >= a->offset + a->bytes) continue;
            for (uint32_t r = 0; r < a->runs; r++)
                for (uint32_t q = 0; q < b->runs; q++)
                    if (a->run[r].lo < b->run[q].hi && b->run[q].lo < a->run[r].hi)
                        *wrong = "two items share a byte at a time";
        }
    }
    return *wrong ? -1 : height;
}

static bool meet(const PackExactItem *a, const PackExactItem *b) {
    for (uint32_t r = 0; r < a->runs; r++)
        for (uint32_t q = 0; q < b->runs; q++)
            if (a->run[r].lo < b->run[q].hi && b->run[q].lo < a->run[r].hi) return true;
    return false;
}

/* The lowest height there is, by every order of placing; each item goes on top of those placed before. With
 * `used` the items placed so far. INT64_MAX: fixed offsets allow none. */
static int64_t brute_height(PackExactItem *item, uint32_t count, uint32_t used, int64_t height,
                            int64_t best) {
    if (height >= best) return best;
    if (used + 1 == 1u << count) return height;
    for (uint32_t i = 0; i < count; i++) {
        if (used & 1u << i) continue;
        int64_t at = 0, align = item[i].align;
        for (uint32_t j = 0; j < count; j++)
            if (used & 1u << j && meet(&item[i], &item[j]) && item[j].offset + item[j].bytes > at)
                at = item[j].offset + item[j].bytes;
        at = (at + align - 1) / align * align;
        if (item[i].fixed >= 0 && at > item[i].fixed) continue;
        if (item[i].fixed >= 0) at = item[i].fixed;
        item[i].offset = at;
        int64_t end = at + item[i].bytes;
        best = brute_height(item, count, used | 1u << i, end > height ? end : height, best);
    }
    return best;
}

enum { KIND_PLAIN, KIND_ALIGNED, KIND_GAPS, KIND_FIXED, KIND_ALL, KIND_COUNT };

static void random_exact(PackExactItem *item, uint32_t count, int kind, uint64_t *seed, Arena *arena) {
    uint32_t times = 2 + (uint32_t)(random_next(seed) % 8);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t lo = (uint32_t)(random_next(seed) % times),
                 hi = lo + 1 + (uint32_t)(random_next(seed) % times);
        item[i] =
            (PackExactItem){.run = NEW_ARRAY(arena, PackExactRun, 2), .runs = 1, .align = 1, .fixed = -1};
        item[i].run[0] = (PackExactRun){lo, hi};
        item[i].bytes = 1 + (int64_t)(random_next(seed) % 9);
        bool all = kind == KIND_ALL;
        if ((kind == KIND_ALIGNED || all) && random_next(seed) % 2)
            item[i].align = (int64_t)1 << random_next(seed) % 3;
        if ((kind == KIND_GAPS || all) && hi - lo >= 3 && random_next(seed) % 2) {
            uint32_t from = lo + 1 + (uint32_t)(random_next(seed) % (hi - lo - 2));
            item[i].run[0].hi = from;
            item[i].run[1] = (PackExactRun){from + 1, hi};
            item[i].runs = 2;
        }
        if ((kind == KIND_FIXED || all) && random_next(seed) % 4 == 0)
            item[i].fixed = (int64_t)(random_next(seed) % 12) * 4;
    }
}

/* Small instances of every kind: found at the best height, proved impossible one below, and the way from a
 * first fit ends there. */
static void against_brute_force(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 11;
    uint32_t proved = 0, above_bound = 0, hopeless = 0;
    for (int round = 0; round < 4000; round++) {
        arena_reset(arena);
        int kind = round % KIND_COUNT;
        uint32_t count = 1 + (uint32_t)(random_next(&seed) % 7);
        const char *wrong;
        PackExactItem *item = NEW_ARRAY(arena, PackExactItem, count);
        random_exact(item, count, kind, &seed, arena);
        int64_t best = brute_height(item, count, 0, 0, INT64_MAX),
                bound = pack_lowest_bound(item, count, arena);
        if (best == INT64_MAX) {
            assert_int_equal(pack_exact(item, count, 1000, 1000000, NULL, arena), PACK_EXACT_IMPOSSIBLE);
            hopeless++;
            continue;
        }
        assert_true(bound <= best);
        above_bound += bound < best;
        assert_int_equal(pack_exact(item, count, best, 1000000, NULL, arena), PACK_EXACT_FOUND);
        assert_int_equal(validate(item, count, &wrong), best);
        assert_int_equal(pack_exact(item, count, best - 1, 1000000, NULL, arena), PACK_EXACT_IMPOSSIBLE);
        PackLowestProof proof;
        int64_t first = pack_lowest_first_fit(item, count, arena);
        assert_int_equal(validate(item, count, &wrong), first);
        assert_true(first >= best);
        assert_int_equal(pack_lowest(item, count, first, 0, 0, 1000000, &proof, arena), best);
        assert_int_equal(validate(item, count, &wrong), best);
        assert_true(proof.bound <= best);
        proved += proof.bound == best;
    }
    print_message("%u proved, %u above the liveness bound, %u impossible at any height\n", proved,
                  above_bound, hopeless);
    assert_true(above_bound > 100 && hopeless > 10);
    assert_true(proved > 3000);
    arena_free(arena);
}

/* Middling instances, cut out of a full rectangle, so that the bound can be reached but is hard to. */
static void cut_rectangles(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 12;
    uint32_t found = 0, rounds = 60;
    for (uint32_t round = 0; round < rounds; round++) {
        arena_reset(arena);
        enum { PIECES = 40 };
        struct Cut {
            uint32_t lo, hi;
            int64_t beg, end;
        } cut[PIECES] = {{0, 60, 0, 1000}};
        uint32_t count = 1;
        while (count < PIECES) {
            struct Cut *c = &cut[random_next(&seed) % count], *d = &cut[count];
            *d = *c;
            if (random_next(&seed) % 2 && c->hi - c->lo > 3) {
                c->hi = d->lo = c->lo + 1 + (uint32_t)(random_next(&seed) % (c->hi - c->lo - 1));
                count++;
            } else if (c->end - c->beg > 20) {
                c->end = d->beg =
                    c->beg + 5 + (int64_t)(random_next(&seed) % (uint64_t)(c->end - c->beg - 10));
                count++;
            }
        }
        PackExactItem *item = NEW_ARRAY(arena, PackExactItem, count);
        for (uint32_t i = 0; i < count; i++) {
            item[i] = (PackExactItem){.run = NEW(arena, PackExactRun), .runs = 1, .align = 1, .fixed = -1};
            item[i].run[0] = (PackExactRun){cut[i].lo, cut[i].hi};
            item[i].bytes = cut[i].end - cut[i].beg;
        }
        const char *wrong;
        uint64_t nodes;
        PackExactAnswer answer = pack_exact(item, count, 1000, 20000, &nodes, arena);
        assert_int_not_equal(answer, PACK_EXACT_IMPOSSIBLE);
        if (answer != PACK_EXACT_FOUND) continue;
        found++;
        assert_int_equal(validate(item, count, &wrong), 1000);
        int64_t *before = NEW_ARRAY(arena, int64_t, count);
        for (uint32_t i = 0; i < count; i++) before[i] = item[i].offset;
        uint64_t again;
        assert_int_equal(pack_exact(item, count, 1000, 20000, &again, arena), PACK_EXACT_FOUND);
        assert_true(again == nodes);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(item[i].offset, before[i]);
    }
    print_message("%u of %u found\n", found, rounds);
    assert_true(found * 10 >= rounds * 9);
    arena_free(arena);
}

/* A wrong packing must not pass the validator the other tests rest on. */
static void validator_rejects(void **state) {
    (void)state;
    PackExactRun run[2] = {{0, 4}, {2, 6}}, split[2] = {{0, 2}, {6, 8}};
    PackExactItem item[2] = {{&run[0], 1, 8, 4, -1, 0}, {&run[1], 1, 8, 1, -1, 8}};
    const char *wrong;
    assert_int_equal(validate(item, 2, &wrong), 16);
    item[1].offset = 7;
    assert_int_equal(validate(item, 2, &wrong), -1);
    item[0].run = split, item[0].runs = 2; /* the other lies in its gap */
    assert_int_equal(validate(item, 2, &wrong), 15);
    item[0].offset = 2;
    assert_int_equal(validate(item, 2, &wrong), -1);
    item[0].offset = 4, item[0].fixed = 8;
    assert_int_equal(validate(item, 2, &wrong), -1);
}

/* minimalloc's own instances at their capacity, each in less than 2 s. */
static void published_instances(void **state) {
    (void)state;
    const char *data = getenv("REMAT_DATA");
    if (!data) data = REMAT_SOURCE_DIR "/../shared/data";
    Arena *arena = arena_new();
    for (char name = 'A'; name <= 'F'; name++) {
        arena_reset(arena);
        size_t length;
        uint32_t line;
        const char *path = arena_printf(arena, "%s/pack/%c.1048576.csv", data, name);
        const char *text = read_file(arena, path, &length);
        if (!text) {
            print_message("no %s: left out\n", path);
            arena_free(arena);
            skip();
        }
        BufferTable table;
        assert_null(csv_read(&table, text, length, &line, arena));
        uint32_t count = table.row.count;
        PackExactItem *item = NEW_ARRAY(arena, PackExactItem, count);
        for (uint32_t i = 0; i < count; i++) {
            const BufferRow *row = &table.row.at[i];
            item[i] = (PackExactItem){
                .run = NEW(arena, PackExactRun), .runs = 1, .bytes = row->bytes, .align = 1, .fixed = -1};
            item[i].run[0] = (PackExactRun){(uint32_t)row->lower, (uint32_t)row->upper};
        }
        const char *wrong;
        uint64_t nodes;
        double begin = now_seconds();
        assert_int_equal(pack_exact(item, count, 1048576, 1000000, &nodes, arena), PACK_EXACT_FOUND);
        double seconds = now_seconds() - begin;
        int64_t height = validate(item, count, &wrong);
        print_message("%c: %u buffers, %lu placements, %.3f s, height / bound %.4f\n", name, count,
                      (unsigned long)nodes, seconds,
                      (double)height / (double)pack_lowest_bound(item, count, arena));
        assert_in_range(height, 1, 1048576);
        assert_true(seconds < 2);
    }
    arena_free(arena);
}

/* Placed by the sets that were found before, items come to lie where they do otherwise, for as much work. */
static void known_sets_are_those_met(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 1;
    for (int round = 0; round < 300; round++) {
        arena_reset(arena);
        uint32_t count = 1 + (uint32_t)(random_next(&seed) % 200),
                 times = 1 + (uint32_t)(random_next(&seed) % 90);
        uint32_t *lo = NEW_ARRAY(arena, uint32_t, count), *hi = NEW_ARRAY(arena, uint32_t, count);
        PackTree plain = pack_tree_new(times, arena), known = pack_tree_new(times, arena);
        for (uint32_t i = 0; i < count; i++) {
            lo[i] = (uint32_t)(random_next(&seed) % times);
            hi[i] = lo[i] + 1 + (uint32_t)(random_next(&seed) % (times - lo[i]));
            pack_tree_expect(&plain, lo[i], hi[i]);
            pack_tree_expect(&known, lo[i], hi[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            int64_t bytes = 1 + (int64_t)(random_next(&seed) % 40), align = 1 + round % 4;
            PackPath path = pack_tree_path(&known, lo[i], hi[i], arena);
            int64_t at = pack_tree_fit(&plain, lo[i], hi[i], bytes, align);
            assert_int_equal(pack_tree_fit_on(&known, &path, bytes, align), at);
            pack_tree_add(&plain, lo[i], hi[i], at, at + bytes);
            pack_tree_add_on(&known, &path, at, at + bytes);
            assert_int_equal(plain.work, known.work);
        }
    }
    arena_free(arena);
}

/* The lowest multiple of its alignment that is free for item `i` beside those that are `placed`. */
static int64_t lowest_free(const PackItem *item, uint32_t count, const bool *placed, uint32_t i) {
    const PackItem *e = &item[i];
    for (int64_t at = 0;; at += e->align) {
        bool free = true;
        for (uint32_t k = 0; k < count && free; k++) {
            const PackItem *other = &item[k];
            free = !placed[k] || other->lo >= e->hi || e->lo >= other->hi || other->offset >= at + e->bytes ||
                   at >= other->offset + other->bytes;
        }
        if (free) return at;
    }
}

/* What is left lies as low as can be beside what was placed, in order of birth, and nowhere if it would end
 * too high. */
static void rest_takes_the_lowest(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t seed = 5;
    for (int round = 0; round < 500; round++) {
        arena_reset(arena);
        uint32_t count = 1 + (uint32_t)(random_next(&seed) % 120), chosen = 0;
        PackItem *item = NEW_ARRAY(arena, PackItem, count), *first = NEW_ARRAY(arena, PackItem, count);
        bool *placed = NEW_ARRAY(arena, bool, count);
        for (uint32_t i = 0, lo = 0; i < count; i++) {
            lo += (uint32_t)(random_next(&seed) % 2);
            int64_t align = round % 2 ? 4 : 1;
            item[i] = (PackItem){lo, lo + 1 + (uint32_t)(random_next(&seed) % 20),
                                 align * (1 + (int64_t)(random_next(&seed) % 9)), align, -1};
            placed[i] = random_next(&seed) % 3 == 0;
            if (placed[i]) first[chosen++] = item[i];
        }
        pack_items(first, chosen, 0, arena);
        for (uint32_t i = 0, next = 0; i < count; i++)
            if (placed[i]) item[i].offset = first[next++].offset;
        PackItem *again = NEW_ARRAY(arena, PackItem, count);
        memcpy(again, item, sizeof *item * count);
        assert_int_equal(pack_rest(item, count, INT64_MAX, arena), 0);
        check_packing(item, count);
        int64_t highest = 0; /* of the rest */
        for (uint32_t i = 0; i < count; i++) {
            if (placed[i]) continue;
            assert_int_equal(item[i].offset, lowest_free(item, count, placed, i));
            placed[i] = true;
            if (item[i].offset + item[i].bytes > highest) highest = item[i].offset + item[i].bytes;
        }
        if (!highest) continue;
        PackItem *over = memcpy(NEW_ARRAY(arena, PackItem, count), again, sizeof *item * count);
        assert_int_equal(pack_rest(again, count, highest, arena), 0);
        uint32_t left = pack_rest(over, count, highest - 1, arena), unplaced = 0;
        for (uint32_t i = 0; i < count; i++) unplaced += over[i].offset < 0;
        assert_true(left > 0 && left == unplaced);
    }
    arena_free(arena);
}

/* A step of many runs, few of which are where memory is short: it is packed as low as those alone, and soon.
 */
static void runs_again_and_again(void **state) {
    (void)state;
    enum { AGAIN = 400, RUNS = 200, SCRATCH = 3 };
    Arena *arena = arena_new();
    uint64_t seed = 6;
    uint32_t count = 0;
    PackItem *item = NEW_ARRAY(arena, PackItem, AGAIN * (RUNS + 1) * SCRATCH + AGAIN);
    for (uint32_t a = 0; a < AGAIN; a++) {
        item[count++] = (PackItem){a * RUNS, (a + 1) * RUNS, 256 * 40, 256, 0};
        for (uint32_t r = 0; r < RUNS; r++)
            for (uint32_t k = 0; k < SCRATCH; k++) {
                int64_t bytes = 256 * (1 + (int64_t)(random_next(&seed) % 16));
                if (r + 2 > RUNS && a % 40 == 7) bytes *= 9; /* where memory is short */
                item[count++] = (PackItem){
                    a * RUNS + r, a * RUNS + r + 1 + (uint32_t)(random_next(&seed) % 3), bytes, 256, 0};
            }
    }
    double begin = now_seconds();
    int64_t height = pack_items(item, count, 0, arena), bound = pack_bound(item, count, arena);
    double seconds = now_seconds() - begin;
    print_message("runs again and again: %u buffers, %.3f s, height / bound %.4f\n", count, seconds,
                  (double)height / (double)bound);
    assert_int_equal(height, bound);
    int64_t *offset = NEW_ARRAY(arena, int64_t, count); /* pair by pair, of what begins soon after */
    for (uint32_t i = 0; i < count; i++) {
        offset[i] = item[i].offset;
        assert_in_range(offset[i] + item[i].bytes, 1, height);
        for (uint32_t k = i + 1; k < count && item[k].lo < item[i].hi; k++)
            assert_true(item[k].offset >= offset[i] + item[i].bytes ||
                        offset[i] >= item[k].offset + item[k].bytes);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rest_takes_the_lowest),    cmocka_unit_test(runs_again_and_again),
        cmocka_unit_test(nothing_to_pack),          cmocka_unit_test(random_items),
        cmocka_unit_test(mixed_alignments),         cmocka_unit_test(ten_thousand),
        cmocka_unit_test(validator_rejects),        cmocka_unit_test(against_brute_force),
        cmocka_unit_test(cut_rectangles),           cmocka_unit_test(published_instances),
        cmocka_unit_test(known_sets_are_those_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
