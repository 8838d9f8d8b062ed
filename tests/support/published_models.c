#include "tests/support/published_models.h"

#include "frontend/language/ast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Numbers of parameters as published: the sum over the tensors of the files, tied ones once. */
const PublishedModel published_model[PUBLISHED_MODELS] = {
    {"Llama-2-7b", 6738415616},   {"Llama-3.1-8B", 8030261248},
    {"Llama-3.2-1B", 1235814400}, {"Llama-3.2-3B", 3212749824},
    {"SmolLM2-135M", 134515008},  {"SmolLM2-1.7B", 1711376384},
    {"Qwen2.5-0.5B", 494032768},  {"Qwen2.5-7B", 7615616512},
    {"Qwen3-0.6B", 596049920},    {"Qwen3-4B", 4022468096},
    {"Qwen3-8B", 8190735360},     {"TinyLlama-1.1B", 1100048384},
    {"gpt2", 124439808},          {"gpt2-medium", 354823168},
    {"gpt2-xl", 1557611200},      {"Mistral-Nemo-12B", 12247782400},
    {"Phi-4", 14659507200},
};

json_t *published_config_of(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s/config.json", REMAT_IMPORT_CASES, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (!root) fail_msg("no JSON in %s", path);
    return root;
}

void published_is_canonical(const Import *made, Arena *arena) {
    Diag *diag = diag_new(arena, "imported", made->text, made->length);
    Ast *ast = ast_parse(arena, "imported", made->text, made->length, diag);
    Text again = {.arena = arena};
    assert_non_null(ast);
    fmt_print(ast, &again);
    assert_string_equal(made->text, again.at);
}
