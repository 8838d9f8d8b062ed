/* Tokenizers: ids, ranges and decoded texts as the tokenizers library gave them (tests/cases/tokenizer, which
 * tests/campaign/tokenizer_files.py makes); texts that are none, and long ones that are cut. */
#include "frontend/text/tokenizer.h"
#include "runtime/printable.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const kinds[] = {"cl100k", "deepseek",      "gemma",  "gpt2",      "gpt2_prefix",
                                    "llama2", "llama2_across", "llama3", "metaspace", "mistral",
                                    "qwen2",  "smollm",        "tekken", "unknown"};

/* ---- as the library ---- */

/* The library's texts have U+FFFD for a byte that is no UTF-8. */
static void add_lossy(Text *to, const char *text, size_t length) {
    unsigned code;
    for (size_t i = 0, size; i < length; i += size ? size : 1) {
        size = printable_decode(text + i, length - i, &code);
        text_add_n(to, size ? text + i : "\xef\xbf\xbd", size ? size : 3);
    }
}

static void expect_text(const Tokenizer *tokenizer, const uint32_t *id, size_t count, bool skip,
                        const json_t *expected, const char *where) {
    Arena *scratch = arena_new();
    Text bytes = {.arena = scratch}, text = {.arena = scratch};
    text_add_n(&text, "", 0);
    assert_true(tokenizer_decode(tokenizer, id, count, skip, &bytes));
    add_lossy(&text, bytes.at, bytes.length);
    if (text.length != json_string_length(expected) ||
        memcmp(text.at, json_string_value(expected), text.length))
        fail_msg("%s decodes to '%s', not '%s'", where, text.at, json_string_value(expected));
    arena_free(scratch);
}

static void expect_row(Tokenizer *tokenizer, const char *kind, size_t number, json_t *row) {
    json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    json_t *ranges = json_object_get(row, "ranges");
    char where[64];
    uint32_t id[256];
    Encoding made;
    snprintf(where, sizeof where, "%s, text %zu", kind, number);
    if (!tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), &made))
        fail_msg("%s: %s", where, made.error);
    if (made.count != json_array_size(ids))
        fail_msg("%s: %u tokens, not %zu", where, made.count, json_array_size(ids));
    assert_true(made.count <= COUNT_OF(id));
    for (uint32_t i = 0; i < made.count; i++) {
        json_t *range = json_array_get(ranges, i);
        Token token = made.token[i];
        id[i] = token.id;
        if (token.id != json_integer_value(json_array_get(ids, i)) ||
            token.begin != json_integer_value(json_array_get(range, 0)) ||
            token.end != json_integer_value(json_array_get(range, 1)))
            fail_msg("%s: token %u is %u [%u, %u)", where, i, token.id, token.begin, token.end);
    }
    expect_text(tokenizer, id, made.count, false, json_object_get(row, "decoded"), where);
    expect_text(tokenizer, id, made.count, true, json_object_get(row, "without_special"), where);
}

static Tokenizer *read_case(Arena *arena, const char *kind) {
    const char *error, *path = arena_printf(arena, "%s/%s.json", REMAT_TOKENIZER_CASES, kind);
    Tokenizer *tokenizer = tokenizer_read(arena, path, &error);
    if (!tokenizer) fail_msg("%s", error);
    return tokenizer;
}

static void test_library(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        Arena *arena = arena_new();
        Tokenizer *tokenizer = read_case(arena, kinds[k]);
        json_t *rows = json_load_file(arena_printf(arena, "%s/%s.expected", REMAT_TOKENIZER_CASES, kinds[k]),
                                      JSON_ALLOW_NUL, NULL);
        assert_true(json_array_size(rows) > 20);
        for (int again = 0; again < 2; again++) /* the second time from what was kept */
            for (size_t i = 0; i < json_array_size(rows); i++)
                expect_row(tokenizer, kinds[k], i, json_array_get(rows, i));
        json_decref(rows);
        tokenizer_close(tokenizer);
        arena_free(arena);
    }
}

/* Text that is no UTF-8 is refused; what is too young for tables is counted; memory is used again. */
static void test_texts(void **state) {
    static const struct {
        const char *text, *error;
    } table[] = {{"ab\xff", "byte 2 (0xff) is not UTF-8"},
                 {"\xc0\x80", "byte 0 (0xc0) is not UTF-8"},
                 {"a\xed\xa0\x80", "byte 1 (0xed) is not UTF-8"},
                 {"0123456789abcdef\x80", "byte 16 (0x80) is not UTF-8"},
                 {"\xf4\x90\x80\x80", "byte 0 (0xf4) is not UTF-8"},
                 {"\xe2\x96", "byte 0 (0xe2) is not UTF-8"}};
    (void)state;
    Arena *arena = arena_new();
    Encoding made;
    Tokenizer *tokenizer = read_case(arena, "llama3");
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_false(tokenizer_encode(tokenizer, table[i].text, strlen(table[i].text), &made));
        assert_string_equal(made.error, table[i].error);
        assert_int_equal(made.count, 0);
    }
    assert_true(tokenizer_encode(tokenizer, "a\0b", 3, &made));
    assert_int_equal(made.count, 3);
    assert_true(tokenizer_encode(tokenizer, "", 0, &made));
    assert_int_equal(made.count, 0);
    /* U+0378 has no meaning in any version, U+10FFFF never will, U+1C89 came with Unicode 16 */
    static const char young[] = "\xcd\xb8 \xf4\x8f\xbf\xbf \xe1\xb2\x89";
    assert_true(tokenizer_encode(tokenizer, young, sizeof young - 1, &made));
    assert_int_equal(made.newer, 1);
    assert_int_equal(made.newer_character, 0x378);
    char *long_text = arena_alloc(arena, 100000);
    for (int i = 0; i < 100000; i++) long_text[i] = "the theme\n "[i % 11];
    assert_true(tokenizer_encode(tokenizer, long_text, 100000, &made));
    const Token *token = made.token;
    for (int i = 0; i < 50; i++) {
        assert_true(tokenizer_encode(tokenizer, long_text + i, (size_t)(100000 - 2 * i), &made));
        assert_ptr_equal(made.token, token);
    }
    tokenizer_close(tokenizer);
    arena_free(arena);
}

/* ---- a text cut where it may be ---- */

enum { CUT_TEXTS = 40, CUT_LENGTHS = 30 };

static void add_encoded(Tokenizer *tokenizer, const char *text, size_t length, Text *out) {
    Encoding made;
    assert_true(tokenizer_encode(tokenizer, text, length, &made));
    for (uint32_t i = 0; i < made.count; i++) text_add(out, "%u ", made.token[i].id);
}

/* Texts of the cases, special tokens and white space, in any order. */
static void mix(const Tokenizer *tokenizer, const json_t *rows, uint64_t *random, Text *out) {
    const uint32_t size = tokenizer_size(tokenizer);
    for (int part = 0; part < 12; part++) {
        const json_t *text =
            json_object_get(json_array_get(rows, random_next(random) % json_array_size(rows)), "text");
        size_t length = 0;
        uint32_t id = (uint32_t)(random_next(random) % size), tries = 0;
        while (!tokenizer_is_special(tokenizer, id) && tries++ < size) id = (id + 1) % size;
        const char *special = tokenizer_bytes(tokenizer, id, &length);
        if (random_next(random) % 3 && length) text_add_n(out, special, length);
        if (random_next(random) % 2) text_add_n(out, " \n  ", random_next(random) % 5);
        text_add_n(out, json_string_value(text), json_string_length(text));
    }
}

/* Both parts have the tokens of the whole, wherever the text was known up to. */
static void test_cuts(void **state) {
    (void)state;
    uint64_t random = 7;
    int kinds_cut = 0;
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        Arena *arena = arena_new();
        Tokenizer *tokenizer = read_case(arena, kinds[k]);
        json_t *rows = json_load_file(arena_printf(arena, "%s/%s.expected", REMAT_TOKENIZER_CASES, kinds[k]),
                                      JSON_ALLOW_NUL, NULL);
        int cuts = 0;
        for (int i = 0; i < CUT_TEXTS; i++) {
            Text text = {.arena = arena}, whole = {.arena = arena};
            mix(tokenizer, rows, &random, &text);
            add_encoded(tokenizer, text.at, text.length, &whole);
            for (int j = 0; j < CUT_LENGTHS; j++) {
                Text parts = {.arena = arena};
                size_t valid;
                const size_t known = random_next(&random) % (text.length + 1),
                             cut = tokenizer_cut(tokenizer, text.at, known, &valid);
                assert_true(cut <= known && valid <= known && known < valid + 4);
                if (!cut) continue;
                cuts++;
                add_encoded(tokenizer, text.at, cut, &parts);
                add_encoded(tokenizer, text.at + cut, text.length - cut, &parts);
                if (strcmp(parts.at, whole.at))
                    fail_msg("%s: cut at %zu of %zu: %s", kinds[k], cut, known, text.at);
            }
        }
        kinds_cut += cuts > CUT_TEXTS;
        json_decref(rows);
        tokenizer_close(tokenizer);
        arena_free(arena);
    }
    assert_true(kinds_cut > (int)COUNT_OF(kinds) / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
