/* Patterns over names: what each sign means; against an independent matcher on random patterns and names; and
 * patterns that take for ever when tried one way after the other. */
#include "tests/support/in_arena.h"
#include "ir/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool match(Arena *arena, const char *pattern, const char *name) {
    return glob_matches(glob_new(arena, pattern), name);
}

typedef struct Case {
    const char *pattern, *name;
    bool fits;
} Case;

static const Case cases[] = {
    {"wte", "wte", true},
    {"wte", "wte2", false},
    {"wte2", "wte", false},
    {"h.0", "h.0.attn", true}, /* a dotted prefix */
    {"h.0", "h.01.attn", false},
    {"h.*.attn", "h.3.attn.qkv", true},
    {"h.*.attn", "h.3.attn2", false},
    {"*", "", true},
    {"", "", true},
    {"", "h", false},
    {"", ".h", true},
    {"*.bias", "h.0.ln_1.bias", true},
    {"*bias", "h.bias.x.biases", true}, /* up to the dot */
    {"*a*ab", "aaaab", true},
    {"*a*ab", "aaaaba", false},
    {"h.?", "h.7", true},
    {"h.?", "h.", false},
    {"h.?", "h.77", false},
    {"h.?.x", "h.\xc3\xa4.x", true}, /* one character of two bytes */
    {"h.??.x", "h.\xc3\xa4.x", false},
    {"h.??.x", "h.\xe2\x82\xac\xc3\xa4.x", true},
    {"h.{1,3}.attn", "h.3.attn", true},
    {"h.{1,3}.attn", "h.2.attn", false},
    {"{a,b}{c,}", "b", true},
    {"{a,b}{c,}", "bc", true},
    {"{a,b}{c,}", "c", false},
    {"h{,.0}", "h.0", true},
    {"{a,b{c,d}e}f", "bdef", true}, /* braces in braces */
    {"{a,b{c,d}e}f", "af", true},
    {"{a,b{c,d}e}f", "bcf", false},
    {"{}x", "x", true},
    {"{a}x", "ax", true},
    {"{*.bias,wte}", "h.0.bias", true},
    {"{*.bias,wte}.x", "h.0.bias.x", true},
    {"a{b", "a{b", true}, /* without a partner they stand for themselves */
    {"a}b", "a}b", true},
    {"a,b", "a,b", true},
    {"{a{b,c}", "{ac", true},
    {"{a{b,c}", "a", false},
    {"{a,b}}", "b}", true},
};

static void signs_mean_what_they_say(void **state) {
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (match(*state, cases[i].pattern, cases[i].name) != cases[i].fits)
            fail_msg("'%s' and '%s': not %d", cases[i].pattern, cases[i].name, cases[i].fits);
}

/* ---- by trying ---- */

static bool try_plain(const char *p, const char *name) {
    if (!*p) return !*name || *name == '.';
    if (*p == '*') return try_plain(p + 1, name) || (*name && try_plain(p, name + 1));
    return *name && (*p == '?' || *p == *name) && try_plain(p + 1, name + 1);
}

/* The '}' of the '{' at `open`, or NULL. */
static const char *partner(const char *open) {
    int depth = 0;
    for (const char *p = open; *p; p++) {
        if (*p == '{' && (p == open || partner(p))) depth++;
        if (*p == '}' && --depth == 0) return p;
    }
    return NULL;
}

/* Writes out every choice of braces; the first `done` bytes of `pattern` hold none any more. */
static bool try_all(Arena *arena, const char *pattern, size_t done, const char *name) {
    while (pattern[done] && !(pattern[done] == '{' && partner(pattern + done))) done++;
    if (!pattern[done]) return try_plain(pattern, name);
    const char *open = pattern + done, *close = partner(open), *item = open + 1;
    int depth = 0;
    for (const char *p = open + 1; p <= close; p++) {
        if (p < close && *p == '{' && partner(p)) depth++;
        if (p < close && *p == '}') depth--;
        if (p != close && (*p != ',' || depth)) continue;
        const char *one =
            arena_printf(arena, "%.*s%.*s%s", (int)done, pattern, (int)(p - item), item, close + 1);
        if (try_all(arena, one, done, name)) return true;
        item = p + 1;
    }
    return false;
}

static const char *random_text(uint64_t *random, Arena *arena, const char *signs, uint32_t most) {
    uint32_t length = (uint32_t)(random_next(random) % (most + 1));
    char *text = arena_alloc(arena, length + 1);
    for (uint32_t i = 0; i < length; i++) text[i] = signs[random_next(random) % strlen(signs)];
    return text;
}

static void random_patterns_agree(void **state) {
    (void)state;
    Arena *arena = arena_new();
    uint64_t random = 7;
    uint32_t fits = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        arena_reset(arena);
        const char *pattern = random_text(&random, arena, i % 2 ? "ab.*?{,}" : "aab.*?{{,,}}", 12);
        Glob *glob = glob_new(arena, pattern);
        for (uint32_t k = 0; k < 4; k++) {
            const char *name = random_text(&random, arena, k % 2 ? "ab." : "aab.{,}", 8);
            bool want = try_all(arena, pattern, 0, name);
            if (glob_matches(glob, name) != want) fail_msg("'%s' and '%s': not %d", pattern, name, want);
            fits += want;
        }
    }
    assert_true(fits > 5000);
    arena_free(arena);
}

/* ---- long ones: each of these took minutes or was said not to fit ---- */

static const char *repeated(Arena *arena, const char *part, uint32_t times, const char *end) {
    Text text = {.arena = arena};
    for (uint32_t i = 0; i < times; i++) text_add(&text, "%s", part);
    text_add(&text, "%s", end);
    return text.at;
}

static void long_ones_are_quick(void **state) {
    Arena *arena = *state;
    const char *many_a = repeated(arena, "a", 2000, ""), *b_at_last = repeated(arena, "a", 2000, "b");
    assert_false(match(arena, repeated(arena, "*a", 40, "b"), many_a));
    assert_true(match(arena, repeated(arena, "*a", 40, "b"), b_at_last));
    assert_false(match(arena, repeated(arena, "{,}", 300, "x"), many_a));
    assert_true(match(arena, repeated(arena, "{,}", 300, "x"), "x"));
    assert_false(match(arena, repeated(arena, "{a,aa}", 300, "b"), many_a));
    assert_true(match(arena, repeated(arena, "{a,aa}", 1200, "b"), b_at_last));
    assert_true(match(arena, repeated(arena, "{", 20000, repeated(arena, "}", 20000, "x")), "x"));
    assert_true(match(arena, repeated(arena, "{", 20000, "x"), repeated(arena, "{", 20000, "x")));
    assert_true(match(arena, arena_printf(arena, "{%s,x}", many_a), many_a)); /* names of any length */
    assert_true(match(arena, many_a, arena_printf(arena, "%s.x", many_a)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ARENA(signs_mean_what_they_say),
        cmocka_unit_test(random_patterns_agree),
        IN_ARENA(long_ones_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
