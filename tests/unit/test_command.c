/* The command line's tables: every option of every verb is read into its field, rows are whole, and numbers
 * that the trainer and the documents share are the same. */
#include "frontend/driver/command.h"
#include "runtime/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One number means one thing, in rematc and in what it emits. */
_Static_assert((int)EXIT_USAGE == (int)RT_EXIT_USAGE, "wrong use");
_Static_assert((int)EXIT_INFEASIBLE == (int)RT_EXIT_MEMORY, "too little memory");
_Static_assert((int)EXIT_ENVIRONMENT == (int)RT_EXIT_DEVICE, "the machine lacks something");
_Static_assert((int)EXIT_IO == (int)RT_EXIT_IO, "files");

static bool is_sentence(const char *text) {
    size_t length = strlen(text);
    return length > 1 && text[length - 1] == '.' && !strstr(text, "  ") && !strstr(text, "\n");
}

static void test_rows_are_whole(void **state) {
    (void)state;
    for (int v = 0; v < VERB_COUNT; v++) {
        const VerbRow *row = &verb_row[v];
        assert_true(*row->argument && *row->summary && is_sentence(row->description));
        assert_int_equal(row->argument[0] == '[', !(row->traits & NEEDS_ARGUMENT));
        for (int other = 0; other < v; other++) assert_string_not_equal(row->name, verb_row[other].name);
    }
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        assert_true(row->verbs && row->verbs < 1u << VERB_COUNT && *row->summary);
        assert_int_equal(row->argument == NULL, row->kind == KIND_SWITCH);
        assert_int_equal(row->detail.word_count > 0, row->kind == KIND_CHOICE);
        for (uint32_t other = 0; other < i; other++)
            if (!strcmp(row->name, option_row[other].name)) {
                assert_int_equal(row->verbs & option_row[other].verbs, 0);
                assert_int_equal(row->offset, option_row[other].offset);
                assert_int_equal(row->kind, option_row[other].kind);
            } else {
                assert_int_not_equal(row->offset, option_row[other].offset);
            }
    }
}

/* `rematc VERB ARGUMENT OPTION [VALUE]`, in one word where it can be */
static void parse(Options *options, Arena *arena, int verb, const OptionRow *row, const char *value,
                  bool joined) {
    char *words[6] = {"rematc", arena_strdup(arena, verb_row[verb].name), "argument",
                      arena_strdup(arena, row->name), arena_strdup(arena, value ? value : "")};
    int count = value ? 5 : 4;
    if (joined) {
        words[3] = arena_printf(arena, "%s=%s", row->name, value);
        count = 4;
    }
    assert_int_equal(options_parse(options, arena, count, words), -1);
    assert_int_equal(options->verb, verb);
    assert_string_equal(options->file, "argument");
}

static void check_value(const Options *options, const OptionRow *row, const char *value) {
    const void *field = (const char *)options + row->offset;
    switch (row->kind) {
    case KIND_SWITCH: assert_true(*(const bool *)field); break;
    case KIND_TEXT:
    case KIND_CHOICE: assert_string_equal(*(const char *const *)field, value); break;
    case KIND_SIZE:
    case KIND_COUNT: assert_int_equal(*(const int64_t *)field, row->detail.low); break;
    case KIND_LIST: {
        const TextList *list = field;
        assert_int_equal(list->count, 1);
        assert_string_equal(list->at[0], value);
        break;
    }
    }
}

static void test_every_option_of_every_verb(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Options options;
    uint32_t parsed = 0;
    for (int verb = 0; verb < VERB_COUNT; verb++)
        for (uint32_t i = 0; i < option_row_count; i++) {
            const OptionRow *row = &option_row[i];
            if (!(row->verbs >> verb & 1)) continue;
            uint32_t values = row->kind == KIND_CHOICE ? row->detail.word_count : 1;
            for (uint32_t k = 0; k < values; k++) {
                const bool counts = row->kind == KIND_COUNT, sizes = row->kind == KIND_SIZE;
                const char *value =
                    row->kind == KIND_SWITCH ? NULL
                    : counts || sizes
                        ? arena_printf(arena, "%lld%s", (long long)row->detail.low, sizes ? "B" : "")
                    : row->kind == KIND_CHOICE ? row->detail.words[k]
                                               : "value";
                parse(&options, arena, verb, row, value, false);
                check_value(&options, row, value);
                if (!value || row->name[1] != '-') continue;
                parse(&options, arena, verb, row, value, true);
                check_value(&options, row, value);
            }
            parsed++;
        }
    assert_true(parsed > option_row_count);
    arena_free(arena);
}

static void test_what_is_not_given(void **state) {
    (void)state;
    Arena *arena = arena_new();
    Options options;
    char *words[] = {"rematc", "plan", "argument"};
    assert_int_equal(options_parse(&options, arena, 3, words), -1);
    for (uint32_t i = 0; i < option_row_count; i++) {
        const OptionRow *row = &option_row[i];
        const void *field = (const char *)&options + row->offset;
        if (row->kind == KIND_COUNT || row->kind == KIND_SIZE)
            assert_int_equal(*(const int64_t *)field, row->detail.otherwise);
        if (row->kind == KIND_TEXT || row->kind == KIND_CHOICE) assert_null(*(const char *const *)field);
        if (row->kind == KIND_SWITCH) assert_false(*(const bool *)field);
    }
    arena_free(arena);
}

static void test_exit_codes_of_the_guide(void **state) {
    (void)state;
    Arena *arena = arena_new();
    size_t length;
    const char *guide = read_file(arena, SOURCE_DIR "/docs/guide.md", &length);
    assert_non_null(guide);
    for (uint32_t i = 0; i < exit_row_count; i++) {
        const char *line = arena_printf(arena, "\n| %d | %s |\n", exit_row[i].number, exit_row[i].meaning);
        if (!strstr(guide, line)) fail_msg("docs/guide.md has no row%s", line);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_whole),
        cmocka_unit_test(test_every_option_of_every_verb),
        cmocka_unit_test(test_what_is_not_given),
        cmocka_unit_test(test_exit_codes_of_the_guide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
