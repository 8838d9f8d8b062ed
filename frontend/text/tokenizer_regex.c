/* The regular expressions of a tokenizer.json are Oniguruma's with Ruby's syntax, which is what the library
 * matches with. Here each is written anew for PCRE2, character by character: what both understand alike is
 * copied, what they take for different things is spelled out, and anything else is refused by name.
 *
 *     \s \S       the 25 characters of White_Space, or all others (PCRE2 has U+180E among them)
 *     \uHHHH      \x{HHHH}
 *     \p{Han}     \p{sc:Han}: the script, not its extensions
 *     ^ $         at lines, as in Ruby (PCRE2_MULTILINE)
 *
 * PCRE2's tables may be older than the library's. So each is compiled twice: as it is, and for texts with
 * young characters with these spelled out beside every property. */
#include "frontend/text/tokenizer_parts.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_PATTERN = 1 << 16,
    DEEPEST_GROUPS = 32,
    LARGEST_REPEAT = 1000,
    MATCH_LIMIT = 10000000, /* steps of one match, as many as the library's engine takes */
    DEPTH_LIMIT = 100000,
    HEAP_LIMIT_KIB = 64 << 10,
    JIT_STACK_FIRST = 32 << 10,
    JIT_STACK_MOST = 8 << 20,
};

struct Regex {
    pcre2_general_context *memory;
    pcre2_compile_context *compiling;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    struct {
        pcre2_code *code;
        pcre2_match_data *match;
        bool jit;
    } of[2]; /* [1]: for texts with young characters */
};

/* ---- from one syntax to the other ---- */

typedef struct Rewriter {
    Arena *arena;
    bool young; /* spells young characters out */
    const char *at, *end;
    Text out;
    uint32_t depth;                    /* of groups */
    bool caseless[DEEPEST_GROUPS + 1]; /* inside (?i:...) */
    bool asserts[DEEPEST_GROUPS + 1];  /* looks ahead or behind */
    char before;                       /* in a caseless group: the letter before, else 0 */
    bool repeatable;                   /* a quantifier may follow */
    const char *error;
} Rewriter;

static bool refuse(Rewriter *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(Rewriter *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    r->error = arena_vprintf(r->arena, format, args);
    va_end(args);
    return false;
}

static const char space_set[] = "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"
                                "\\x{202f}\\x{205f}\\x{3000}";
static const char no_space_set[] =
    "\\x{0}-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";

static bool is_ascii_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A set of characters by its property, "L" or "sc:Han". */
static bool write_property(Rewriter *r, const char *property, bool negated, bool in_class) {
    const char *name = strchr(property, ':') ? strchr(property, ':') + 1 : property;
    if (in_class && negated) return refuse(r, "the complement of a set inside [...]");
    if (!in_class) text_add(&r->out, negated ? "[^" : "[");
    text_add(&r->out, "\\p{%s}", property);
    if (r->young) unicode_write_young(name, &r->out);
    if (!in_class) text_add(&r->out, "]");
    return true;
}

/* \p{X}, \P{X}, \p{^X}: general categories and four scripts. Of marks, one went from Mn to Mc. */
static bool property(Rewriter *r, bool in_class) {
    static const char categories[] =
        " L Ll Lm Lo Lt Lu M Me N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs "
        "Cc Cf ";
    static const char scripts[] = " Han Hangul Hiragana Katakana ";
    const char *begin = r->at - 2; /* behind "\p" */
    bool negated = begin[1] == 'P';
    const char *close = r->at < r->end && *r->at == '{' ? memchr(r->at, '}', (size_t)(r->end - r->at)) : NULL;
    if (!close) return refuse(r, "'\\%c' without {...}", begin[1]);
    const char *name = r->at + 1;
    if (name < close && *name == '^') name++, negated = !negated;
    int length = close - name > 10 ? 0 : (int)(close - name);
    const char *word = arena_printf(r->arena, " %.*s ", length, name);
    bool script = strstr(scripts, word);
    if (!length || strchr(word + 1, ' ') != word + 1 + length || (!script && !strstr(categories, word)))
        return refuse(r, "'%.*s'", (int)(close + 1 - begin), begin);
    r->at = close + 1;
    return write_property(r, arena_printf(r->arena, "%s%.*s", script ? "sc:" : "", length, name), negated,
                          in_class);
}

static bool hexadecimal(Rewriter *r, bool braces) {
    uint32_t code = 0, digits = 0;
    const char *begin = r->at - 2;
    if (braces) r->at++;
    for (; r->at < r->end && strchr("0123456789abcdefABCDEF", *r->at) && *r->at && digits < 6;
         r->at++, digits++)
        code = code * 16 + (uint32_t)(*r->at <= '9' ? *r->at - '0' : (*r->at | 0x20) - 'a' + 10);
    bool ended = braces ? digits && r->at < r->end && *r->at == '}' : digits == 4;
    if (!ended || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return refuse(r, "'%.*s'", (int)(r->at - begin), begin);
    if (braces) r->at++;
    text_add(&r->out, "\\x{%x}", code);
    return true;
}

/* Behind a backslash. `one`: whether it is one character, which may begin or end a range. */
static bool escape(Rewriter *r, bool in_class, bool *one) {
    r->at++;
    if (r->at == r->end) return refuse(r, "a '\\' at the end");
    char c = *r->at++;
    *one = false;
    if (r->caseless[r->depth] && strchr("pPxu", c) && c) return refuse(r, "'\\%c' inside (?i:...)", c);
    if (c == 's' || c == 'S') {
        text_add(&r->out, in_class ? "%s" : "[%s]", c == 's' ? space_set : no_space_set);
        return true;
    }
    if (c == 'd' || c == 'D') return write_property(r, "Nd", c == 'D', in_class);
    if (c == 'p' || c == 'P') return property(r, in_class);
    if (!in_class && (c == 'A' || c == 'z')) {
        text_add(&r->out, "\\%c", c);
        r->repeatable = false;
        return true;
    }
    *one = true;
    if (c == 'n' || c == 'r' || c == 't' || c == 'f') return text_add(&r->out, "\\%c", c), true;
    if (c == 'x' && r->at < r->end && *r->at == '{') return hexadecimal(r, true);
    if (c == 'u') return hexadecimal(r, false);
    if ((unsigned char)c > 0x20 && (unsigned char)c < 0x7f && !is_ascii_letter(c) && !(c >= '0' && c <= '9'))
        return text_add(&r->out, "\\%c", c), true;
    if ((unsigned char)c >= 0x80 || c == ' ') { /* the character itself */
        if (r->caseless[r->depth] && c != ' ') return refuse(r, "a letter beyond ASCII inside (?i:...)");
        r->at--;
        uint32_t size;
        text_add(&r->out, "\\x{%x}", unicode_read(r->at, &size));
        r->at += size;
        return true;
    }
    return (unsigned char)c > 0x20 && c != 0x7f ? refuse(r, "'\\%c'", c)
                                                : refuse(r, "'\\' before \\x%02x", c);
}

/* A character for itself. */
static bool literal(Rewriter *r) {
    /* what folds into two letters, such as U+FB01 into "fi", is a match for both in the library */
    static const char folded[] = "ff fi fl ss st ";
    uint32_t size, c = unicode_read(r->at, &size);
    if (r->caseless[r->depth]) {
        char lower = (char)(*r->at | 0x20);
        if (c >= 0x80) return refuse(r, "a letter beyond ASCII inside (?i:...)");
        if (r->before && is_ascii_letter((char)c)) {
            char pair[4] = {r->before, lower, ' ', 0};
            if (strstr(folded, pair)) return refuse(r, "'%.2s' inside (?i:...)", pair);
        }
        r->before = is_ascii_letter((char)c) ? lower : 0;
    }
    if (c < 0x80 && (is_ascii_letter((char)c) || (c >= '0' && c <= '9')))
        text_add_n(&r->out, r->at, 1);
    else
        text_add(&r->out, "\\x{%x}", c);
    r->at += size;
    return true;
}

static bool class_item(Rewriter *r, bool *one) {
    *one = true;
    if (*r->at == '[') return refuse(r, "'[' inside [...]");
    if (*r->at == '&' && r->at + 1 < r->end && r->at[1] == '&') return refuse(r, "'&&' inside [...]");
    if (*r->at == '\\') return escape(r, true, one);
    bool fine = literal(r);
    r->before = 0;
    return fine;
}

static bool class(Rewriter *r) {
    text_add(&r->out, "[");
    r->at++;
    if (r->at < r->end && *r->at == '^') text_add(&r->out, "^"), r->at++;
    if (r->at < r->end && *r->at == ']') return refuse(r, "']' at the start of [...]");
    while (r->at < r->end && *r->at != ']') {
        bool one = true, other = true;
        if (!class_item(r, &one)) return false;
        if (r->at + 1 >= r->end || *r->at != '-' || r->at[1] == ']') continue;
        if (!one) return refuse(r, "'-' behind a set inside [...]");
        text_add(&r->out, "-");
        r->at++;
        if (!class_item(r, &other)) return false;
        if (!other) return refuse(r, "'-' before a set inside [...]");
    }
    if (r->at == r->end) return refuse(r, "'[' without ']'");
    r->at++;
    text_add(&r->out, "]");
    r->before = 0;
    return true;
}

static bool open_group(Rewriter *r) {
    static const char *const kind[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    size_t left = (size_t)(r->end - r->at);
    const char *head = "(";
    bool caseless = r->caseless[r->depth];
    if (left > 1 && r->at[1] == '?') {
        head = NULL;
        for (size_t i = 0; i < COUNT_OF(kind); i++)
            if (left >= strlen(kind[i]) && !memcmp(r->at, kind[i], strlen(kind[i]))) head = kind[i];
        if (!head) {
            int shown = left < 4 ? (int)left : 4;
            while (shown > 2 && (unsigned char)r->at[shown - 1] >= 0x80) shown--;
            return refuse(r, "'%.*s'", shown, r->at);
        }
        caseless |= ends_in(head, "i:");
    }
    if (r->depth == DEEPEST_GROUPS) return refuse(r, "groups more than %d deep", DEEPEST_GROUPS);
    r->caseless[++r->depth] = caseless;
    r->asserts[r->depth] = strchr(head, '=') || strchr(head, '!');
    text_add(&r->out, "%s", head);
    r->at += strlen(head);
    r->before = 0;
    r->repeatable = false;
    return true;
}

/* {n}, {n,}, {n,m} */
static bool interval(Rewriter *r) {
    uint32_t bound[2] = {0, 0}, digits[2] = {0, 0}, bounds = 0;
    const char *at = r->at + 1;
    for (; at < r->end && *at != '}' && digits[bounds] < 5; at++) {
        if (*at == ',' && !bounds && digits[0])
            bounds = 1;
        else if (*at >= '0' && *at <= '9')
            bound[bounds] = bound[bounds] * 10 + (uint32_t)(*at - '0'), digits[bounds]++;
        else
            break;
    }
    if (at == r->end || *at != '}' || !digits[0]) return refuse(r, "'{' that is no repeat");
    if (bound[0] > LARGEST_REPEAT || bound[1] > LARGEST_REPEAT || (digits[1] && bound[1] < bound[0]))
        return refuse(r, "'%.*s'", (int)(at + 1 - r->at), r->at);
    at++;
    if (at < r->end && (*at == '+' || *at == '?')) return refuse(r, "'%c' behind {...}", *at);
    text_add_n(&r->out, r->at, (size_t)(at - r->at));
    r->at = at;
    return true;
}

static bool quantifier(Rewriter *r) {
    if (!r->repeatable) return refuse(r, "'%c' with nothing to repeat", *r->at);
    r->repeatable = false;
    r->before = 0;
    if (*r->at == '{') return interval(r);
    text_add_n(&r->out, r->at++, 1);
    if (r->at < r->end && (*r->at == '?' || *r->at == '+')) text_add_n(&r->out, r->at++, 1);
    return true;
}

static bool rewrite(Rewriter *r) {
    bool one;
    while (r->at < r->end) {
        char c = *r->at;
        if (strchr("*+?{", c) && c) {
            if (!quantifier(r)) return false;
            continue;
        }
        r->repeatable = true;
        if (c == '(') {
            if (!open_group(r)) return false;
            continue;
        }
        if (c == ')') {
            if (!r->depth) return refuse(r, "')' without '('");
            text_add(&r->out, ")");
            r->at++, r->before = 0, r->repeatable = !r->asserts[r->depth--];
            continue;
        }
        if (c == '|' || c == '^' || c == '$' || c == '.') {
            text_add_n(&r->out, r->at++, 1);
            r->before = 0, r->repeatable = c == '.';
            continue;
        }
        if (c == '\\') r->before = 0;
        if (!(c == '\\' ? escape(r, false, &one) : c == '[' ? class(r) : literal(r))) return false;
    }
    return r->depth ? refuse(r, "'(' without ')'") : true;
}

/* ---- PCRE2 ---- */

static void *pcre_alloc(size_t bytes, void *unused) {
    (void)unused;
    return alloc_or_exit(bytes);
}

static void pcre_release(void *at, void *unused) {
    (void)unused;
    free(at);
}

/* What is wrong with it, or NULL. */
static const char *compile(Arena *arena, Regex *regex, int young, const Text *pattern) {
    int code;
    PCRE2_SIZE where;
    uint32_t empty = 0, options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                  PCRE2_NO_AUTO_CAPTURE;
    PCRE2_SPTR at = (PCRE2_SPTR)(pattern->at ? pattern->at : "");
    pcre2_code *made = pcre2_compile(at, pattern->length, options, &code, &where, regex->compiling);
    if (!made) {
        unsigned char why[160];
        pcre2_get_error_message(code, why, sizeof why);
        return arena_printf(arena, "PCRE2: %s", (char *)why);
    }
    regex->of[young].code = made;
    pcre2_pattern_info(made, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) return "it may match nothing at all";
    regex->of[young].match = pcre2_match_data_create_from_pattern(made, regex->memory);
    regex->of[young].jit = regex->stack && !pcre2_jit_compile(made, PCRE2_JIT_COMPLETE);
    return NULL;
}

static void prepare(Regex *regex) {
    regex->memory = pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
    regex->compiling = pcre2_compile_context_create(regex->memory);
    pcre2_set_newline(regex->compiling, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(regex->compiling, DEEPEST_GROUPS + 2);
    regex->limits = pcre2_match_context_create(regex->memory);
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_LIMIT_KIB);
    regex->stack =
        pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, regex->memory); /* NULL without JIT */
    if (regex->stack) pcre2_jit_stack_assign(regex->limits, NULL, regex->stack);
}

Regex *regex_new(Arena *arena, const char *pattern, size_t length, const char **error) {
    Regex *regex = NEW(arena, Regex);
    *error = length > LONGEST_PATTERN ? "it is longer than 64 KiB" : NULL;
    if (!*error) prepare(regex);
    for (int young = 0; young < 2 && !*error; young++) {
        Rewriter r = {
            .arena = arena, .young = young, .at = pattern, .end = pattern + length, .out = {.arena = arena}};
        *error = rewrite(&r) ? compile(arena, regex, young, &r.out)
                             : arena_printf(arena, "%s is not supported", r.error);
    }
    if (!*error) return regex;
    regex_free(regex);
    return NULL;
}

void regex_free(Regex *regex) {
    for (int young = 0; young < 2; young++) {
        pcre2_match_data_free(regex->of[young].match);
        pcre2_code_free(regex->of[young].code);
    }
    pcre2_jit_stack_free(regex->stack);
    pcre2_match_context_free(regex->limits);
    pcre2_compile_context_free(regex->compiling);
    pcre2_general_context_free(regex->memory);
}

RegexFound regex_find(Regex *regex, const char *text, size_t length, size_t from, bool young, size_t *begin,
                      size_t *end) {
    const pcre2_code *code = regex->of[young].code;
    pcre2_match_data *match = regex->of[young].match;
    PCRE2_SPTR at = (PCRE2_SPTR)text;
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (regex->of[young].jit) found = pcre2_jit_match(code, at, length, from, 0, match, regex->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, at, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, regex->limits);
    if (found == PCRE2_ERROR_NOMATCH) return REGEX_NONE;
    if (found < 0) return REGEX_LIMIT;
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(match);
    *begin = bounds[0];
    *end = bounds[1];
    return REGEX_MATCH;
}

const char *regex_version(Arena *arena) {
    char version[64], tables[64];
    if (pcre2_config(PCRE2_CONFIG_VERSION, version) > (int)sizeof version ||
        pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, tables) > (int)sizeof tables)
        die("PCRE2 does not say its version");
    return arena_printf(arena, "%s, Unicode %s", version, tables);
}
