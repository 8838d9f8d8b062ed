/* What the compiler knows, its documents tell: a table in docs/ has a line for each row of a list. */
#include "tests/support/in_arena.h"
#include "frontend/lower/lower_parts.h"
#include "ir/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char *document(Arena *arena, const char *name) {
    size_t length;
    char *text = read_file(arena, arena_printf(arena, SOURCE_DIR "/docs/%s", name), &length);
    if (!text) fail_msg("no %s", name);
    return text;
}

/* Each operation that a file can call has a line in the language's table, and the table has no others. */
static void operations_are_documented(void **state) {
    const char *text = strstr(document(*state, "language.md"), "\n## Operations\n");
    assert_non_null(text);
    const char *end = strstr(text + 1, "\n## ");
    assert_non_null(end);
    bool found[OP_COUNT] = {0};
    for (const char *line = strstr(text, "\n| `"); line && line < end; line = strstr(line + 1, "\n| `")) {
        const char *name = line + strlen("\n| `");
        char *word = arena_printf(*state, "%.*s", (int)strcspn(name, "(`"), name);
        if (!op_known(word)) fail_msg("docs/language.md has a line for '%s', which no file can call", word);
        found[op_find(word)] = true;
    }
    for (int op = 0; op < OP_COUNT; op++)
        if (op_known(op_info[op].name) && !found[op])
            fail_msg("docs/language.md, Operations, has no line for %s", op_info[op].name);
}

/* The guide's table of policies is planner/policy.def, line by line. */
static void policies_are_documented(void **state) {
    static const char *const line[] = {
#define POLICY(NAME, name, beside, rule, does) "| `" name "` | " does " |\n",
#include "planner/policy.def"
#undef POLICY
    };
    Text table = {.arena = *state};
    text_add(&table, "\n| policy | does |\n|---|---|\n");
    for (size_t i = 0; i < COUNT_OF(line); i++) text_add(&table, "%s", line[i]);
    text_add(&table, "\n");
    if (!strstr(document(*state, "guide.md"), table.at))
        fail_msg("docs/guide.md has another table than this one of planner/policy.def:%s", table.at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(operations_are_documented),
        IN_ARENA(policies_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
