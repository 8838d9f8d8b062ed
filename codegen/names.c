/* In: names of tensors and blocks, which may be any text. Out: identifiers that are free. */
#include "codegen/names.h"

#include <ctype.h>
#include <string.h>

Scope scope_new(Arena *arena, const Scope *outer) {
    return (Scope){.arena = arena, .taken = map_new(arena), .outer = outer};
}

char *name_identifier(Arena *arena, const char *prefix, const char *name) {
    char *text = arena_printf(arena, "%s%s", prefix, name);
    for (char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c)) *c = '_';
    if (isdigit((unsigned char)text[0])) text = arena_printf(arena, "_%s", text);
    return text;
}

char *name_squeeze(char *name) {
    for (char *c = name; *c; c++)
        while (c[0] == '_' && (c[1] == '_' || !c[1])) memmove(c, c + 1, strlen(c));
    return name;
}

/* Keywords of C11 and C++20, and what compilers define besides. */
static bool is_word(Arena *arena, const char *name) {
    static const char words[] =
        " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t "
        "char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr "
        "constinit continue decltype default delete do double dynamic_cast else enum explicit export extern "
        "false float for friend goto i386 if inline int linux long mutable namespace new noexcept not not_eq "
        "nullptr operator or or_eq private protected public register reinterpret_cast requires restrict "
        "return short signed sizeof static static_assert static_cast struct switch template this "
        "thread_local throw true try typedef typeid typename typeof union unix unsigned using virtual void "
        "volatile wchar_t while xor xor_eq ";
    return strstr(words, arena_printf(arena, " %s ", name)) != NULL;
}

char *name_member(Arena *arena, const char *name) {
    char *text = name_identifier(arena, "", name);
    bool lower = false;
    for (const char *c = text; *c; c++) lower |= islower((unsigned char)*c) != 0;
    /* macros are in capitals, or constants of ours */
    if (text[0] == '_' || !*text || !strncmp(text, "at_", 3) || !strncmp(text, "host_", 5))
        text = arena_printf(arena, "x%s", text);
    return !lower || is_word(arena, text) ? arena_printf(arena, "%s_", text) : text;
}

static bool is_taken(const Scope *scope, const char *name) {
    for (; scope; scope = scope->outer)
        if (map_get(scope->taken, name) != NONE) return true;
    return false;
}

char *name_unique(Scope *scope, char *wish) {
    char *name = wish;
    for (int n = 2; is_taken(scope, name); n++) name = arena_printf(scope->arena, "%s_%d", wish, n);
    map_set(scope->taken, name, 1);
    return name;
}

char *name_variant(Scope *scope, char *wish) {
    char *name = wish;
    for (char c = 'b'; is_taken(scope, name) && c <= 'z'; c++)
        name = arena_printf(scope->arena, "%s_%c", wish, c);
    return name_unique(scope, name);
}

const char *name_comment(Arena *arena, const char *name) {
    char *text = arena_strdup(arena, name);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || (*c == '/' && (c[1] == '*' || (c > text && c[-1] == '*')))) *c = '?';
    return text;
}
