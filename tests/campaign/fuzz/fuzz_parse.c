/* A .remat file: parsed, formatted, lowered. */
#include "source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char *input;
static size_t length;

static void compile(void *arena) {
    Diag *diag = diag_new(arena, "x.remat", input, length);
    Ast *ast = ast_parse(arena, "x.remat", input, length, diag);
    MUST((ast != NULL) == (diag_errors(diag) == 0));
    if (ast)
        format_holds(ast), lower_holds(ast, diag);
    else
        messages_print(diag, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    input = (const char *)bytes; /* of exactly this size: the sanitizer sees a read behind its end */
    length = count;
    Arena *arena = arena_new();
    run_to_exit(compile, arena);
    arena_free(arena);
    return 0;
}
