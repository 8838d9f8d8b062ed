/* A published configuration: a spec that parses, is its own format and lowers, or one error. */
#include "exits.h"
#include "frontend/import/import.h"
#include "source.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char *input;
static size_t length;

static void import_and_lower(void *arena) {
    Import made;
    if (!import_config(input, length, "m", "m", arena, &made)) {
        MUST(made.error && !made.text);
        return;
    }
    MUST(made.text && !made.error);
    Diag *diag = diag_new(arena, "imported", made.text, made.length);
    Ast *ast = ast_parse(arena, "imported", made.text, made.length, diag);
    MUST(ast);
    Text again = {.arena = arena};
    fmt_print(ast, &again);
    MUST(again.length == made.length && memcmp(again.at, made.text, again.length) == 0);
    lower_holds(ast, diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes;
    length = count;
    Arena *arena = arena_new();
    run_to_exit(import_and_lower, arena);
    arena_free(arena);
    return 0;
}
