/* Configurations that anyone may have written: any value of any key, deep and huge ones, mutations
 * (`REMAT_FUZZ_ROUNDS` of them): each becomes a spec that parses, or one message. */
#include "tests/support/published_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A spec that parses, or one message. Sizes may be absurd: then lowering has messages. */
static bool must_cope(const char *json, size_t length) {
    Arena *arena = arena_new();
    Import made;
    bool fine = import_config(json, length, "m", "m", arena, &made);
    if (fine) {
        published_is_canonical(&made, arena);
        assert_null(made.error);
    } else {
        assert_non_null(made.error);
        assert_null(made.text);
    }
    arena_free(arena);
    return fine;
}

static void any_value_of_any_key(void **state) {
    (void)state;
    static const char *const values[] = {"null",
                                         "true",
                                         "false",
                                         "0",
                                         "-1",
                                         "1",
                                         "1e300",
                                         "0.5",
                                         "\"x\"",
                                         "\"\"",
                                         "[]",
                                         "{}",
                                         "[1]",
                                         "[[]]",
                                         "2147483647",
                                         "9223372036854775807",
                                         "[\"LlamaForCausalLM\"]",
                                         "{\"type\": \"linear\", \"factor\": \"x\"}",
                                         "{\"rope_type\": {}}",
                                         "{\"rope_type\": null, \"type\": []}"};
    for (size_t i = 0; i < PUBLISHED_MODELS; i++) {
        json_t *root = published_config_of(published_model[i].name), *value;
        const char *key;
        void *next;
        json_object_foreach_safe(root, next, key, value) {
            for (size_t v = 0; v < COUNT_OF(values); v++) {
                json_t *copy = json_copy(root);
                json_object_set_new(copy, key, json_loads(values[v], JSON_DECODE_ANY, NULL));
                char *json = json_dumps(copy, 0);
                must_cope(json, strlen(json));
                free(json);
                json_decref(copy);
            }
        }
        json_decref(root);
    }
}

static void repeated(const char *before, const char *unit, int times, const char *after) {
    Text text = {.arena = arena_new()};
    text_add(&text, "%s", before);
    for (int i = 0; i < times; i++) text_add(&text, "%s", unit);
    text_add(&text, "%s", after);
    assert_false(must_cope(text.at, text.length));
    arena_free(text.arena);
}

static void deep_and_huge(void **state) {
    (void)state;
    enum { MANY = 50000 };
    static const char head[] = "{\"model_type\": \"llama\", \"hidden_size\": ";
    repeated("", "[", MANY, "");
    repeated("", "{\"a\":", MANY, "");
    repeated(head, "[", MANY, "}");
    repeated(head, "[", 1000, "}");
    repeated(head, "9", MANY, "}");
    repeated("{\"model_type\": \"", "x", MANY, "\"}");
    repeated("{\"model_type\": \"", "\\u0041", MANY, "\"}");
    repeated("{\"architectures\": [\"", "\\\\", MANY, "\"]}");
    repeated("{\"model_type\": \"llama\", \"layer_types\": [1", ", 1", MANY, "]}");
    repeated("{\"model_type\": \"llama\"", " ", IMPORT_LARGEST_BYTES, "}");
    repeated("{\"model_type\": \"llama\", \"model_type\": \"gpt2\"", "", 0, "}");
    repeated("{\"model_type\": \"ll\xff\"", "", 0, "}");
    repeated("{\"model_type\": \"ll\\u0000ama\"", "", 0, "}");
    repeated("\xef\xbb\xbf{\"model_type\": \"llama\"", "", 0, "}");
    repeated("{\"model_type\": NaN", "", 0, "}");
    repeated("", "", 0, "");
    assert_false(must_cope("{\"model_type\": \"llama\"}\0", 24));
}

static size_t mutate(char *text, size_t length, size_t room, uint64_t *random) {
    static const char *const pieces[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         "null",
                                         "true",
                                         "-1",
                                         "0",
                                         "1e400",
                                         "0.5",
                                         "\n",
                                         "\"llama3\"",
                                         "\"linear\"",
                                         "\"rope_scaling\": {",
                                         "\"head_dim\": 7,",
                                         "\xff",
                                         "\xc3\xa9",
                                         "\\u0000",
                                         "\\ud800",
                                         "9"};
    int edits = 1 + (int)(random_next(random) % 3);
    for (int e = 0; e < edits && length; e++) {
        size_t at = random_next(random) % length, count = random_next(random) % 32;
        if (count > length - at) count = length - at;
        const char *piece = pieces[random_next(random) % COUNT_OF(pieces)];
        size_t size = strlen(piece);
        switch (random_next(random) % 4) {
        case 0: text[at] = (char)random_next(random); break;
        case 1: text[at] = (char)('0' + random_next(random) % 10); break;
        case 2:
            memmove(text + at, text + at + count, length - at - count);
            length -= count;
            break;
        default:
            if (length + size > room) break;
            memmove(text + at + size, text + at, length - at);
            memcpy(text + at, piece, size);
            length += size;
        }
    }
    return length;
}

static void mutations(void **state) {
    (void)state;
    const char *wanted = getenv("REMAT_FUZZ_ROUNDS");
    long rounds = wanted ? atol(wanted) : 4000;
    uint64_t random = 20250801;
    long taken = 0;
    enum { ROOM = 1 << 13 };
    for (long i = 0; i < rounds; i++) {
        json_t *root = published_config_of(published_model[(size_t)i % PUBLISHED_MODELS].name);
        char *json = json_dumps(root, JSON_INDENT(2)), text[ROOM];
        size_t length = strlen(json);
        assert_true(length < ROOM / 2);
        memcpy(text, json, length);
        length = mutate(text, length, ROOM, &random);
        /* a copy of the exact size, so that a sanitizer sees a read behind the end */
        char *exact = malloc(length ? length : 1);
        assert_non_null(exact);
        memcpy(exact, text, length);
        taken += must_cope(exact, length);
        free(exact);
        free(json);
        json_decref(root);
    }
    assert_true(rounds < 1000 || (taken > rounds / 50 && taken < rounds));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_value_of_any_key),
        cmocka_unit_test(deep_and_huge),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
