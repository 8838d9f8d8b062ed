/* The account of a device's memory, and the format of .device files. */
#include "tests/support/replaced.h"
#include "planner/cost/device_file.h"
#include "planner/cost/this_computer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((int64_t)1 << 20)

static const char whole[] = "# a card\n"
                            "device mine\n"
                            "memory 10 GiB # of the box\n"
                            "multiprocessors 10\n"
                            "threads 1024\n"
                            "capability 12.0\n"
                            "bf16 100 TFLOP/s\n"
                            "f32 12.5 TFLOP/s\r\n"
                            "bandwidth 500 GB/s\n"
                            "link 25 GB/s";

static void what_is_not_said_follows_from_rules(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Device d;
    DeviceError error;
    assert_true(device_parse(whole, strlen(whole), arena, &d, &error));
    assert_string_equal(d.name, "mine");
    assert_string_equal(d.about, "mine");
    assert_string_equal(d.board.source, "of the box");
    assert_int_equal(d.board.bytes, 10240 * MIB);
    assert_int_equal(d.driver.bytes, 153 * MIB);
    assert_int_equal(d.context.bytes, 20 * MIB);
    assert_int_equal(d.code.bytes, 256 * MIB);
    assert_int_equal(d.memory_bytes, (10240 - 153) * MIB);
    assert_int_equal(d.reserved_bytes, 276 * MIB);
    assert_int_equal(d.capability, 120);
    assert_true(d.flops_per_second[DT_F32] == 12.5e12 && d.bytes_per_second == 500e9);
    arena_free(arena);
}

/* A line in place of another, or behind the last one; the line that is named, and a part of what is said. */
static void a_wrong_line_is_named(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        uint32_t line;
        const char *said;
    } cases[] = {
        {"memory 10 GiB", "memry 10 GiB", 3, "there is no key 'memry'"},
        {"memory 10 GiB", "memory 10 GB", 3, "the unit is MiB or GiB, not 'GB'"},
        {"memory 10 GiB", "memory", 3, "its value is missing"},
        {"memory 10 GiB", "memory -1 GiB", 3, "no number above 0"},
        {"memory 10 GiB", "memory nan GiB", 3, "no number above 0"},
        {"memory 10 GiB", "memory 1e30 GiB", 3, "no device has that much"},
        {"memory 10 GiB", "memory 10 GiB free", 3, "'free' is too much"},
        {"memory 10 GiB", "memory 20 MiB", 0, "take all of its memory"},
        {"memory 10 GiB", "", 0, "memory is missing"},
        {"device mine", "device my card", 2, "is no name"},
        {"device mine", "", 3, "the first line names it"},
        {"multiprocessors 10", "multiprocessors 10.5", 4, "is no such count"},
        {"multiprocessors 10", "threads 1024", 5, "a second time"},
        {"capability 12.0", "capability 12", 6, "two numbers with a dot"},
        {"bf16 100 TFLOP/s", "bf16 100 TFLOPS", 7, "the unit is TFLOP/s"},
        {"bandwidth 500 GB/s", "bandwidth 500", 9, "the unit is GB/s"},
    };
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = replaced(arena, whole, cases[i].from, cases[i].to);
        Device d;
        DeviceError error = {0};
        assert_false(device_parse(text, strlen(text), arena, &d, &error));
        if (error.line != cases[i].line || !strstr(error.text, cases[i].said))
            fail_msg("%s: line %u: %s", cases[i].to, error.line, error.text);
    }
    arena_free(arena);
}

/* Cores multiply a host's arithmetic; eight of them keep its memory busy. */
static void a_host_has_its_cores(void **state) {
    (void)state;
    Arena *arena = arena_new();
    const Device *kind = this_computer_kind();
    assert_true(!kind->cuda && strncmp(kind->name, "host-", 5) == 0 && this_computer_cores() >= 1);
    static const struct {
        int cores;
        double arithmetic, memory;
    } cases[] = {{1, 0.5, 0.5}, {2, 1, 1}, {8, 4, 4}, {64, 32, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Device d = this_computer(kind, cases[i].cores, arena);
        assert_string_equal(d.name, "host");
        assert_true(d.flops_per_second[DT_F32] == cases[i].arithmetic * kind->flops_per_second[DT_F32]);
        assert_true(d.flops_per_second[DT_BF16] == cases[i].arithmetic * kind->flops_per_second[DT_BF16]);
        assert_true(d.bytes_per_second == cases[i].memory * kind->bytes_per_second);
    }
    arena_free(arena);
}

/* On every card something is left for tensors, and the parts add up to what is sold. */
static void the_account_of_every_card_adds_up(void **state) {
    (void)state;
    uint32_t count;
    const Device *list = device_list(&count);
    assert_true(count > 25);
    for (uint32_t i = 0; i < count; i++) {
        const Device *d = &list[i];
        if (device_find(d->name) != d) fail_msg("two devices are called %s", d->name);
        if (!d->cuda) continue;
        assert_int_equal(d->board.bytes, d->driver.bytes + d->memory_bytes);
        assert_int_equal(d->reserved_bytes, d->context.bytes + d->code.bytes);
        assert_true(d->reserved_bytes < d->memory_bytes / 10);
        assert_true(*d->board.source && *d->driver.source && *d->context.source && *d->code.source);
        assert_true(d->flops_per_second[DT_F32] > 1e12 && d->bytes_per_second > 1e11);
        assert_true(d->copy_bytes_per_second < d->bytes_per_second && d->capability >= 75);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_follows_from_rules), cmocka_unit_test(a_wrong_line_is_named),
        cmocka_unit_test(a_host_has_its_cores), cmocka_unit_test(the_account_of_every_card_adds_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
