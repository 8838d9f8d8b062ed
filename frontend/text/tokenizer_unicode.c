/* Characters as the tokenizers library classes them: it knows Unicode 16, whatever the tables here know. */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

_Static_assert(UTF8PROC_VERSION_MAJOR > 2 || (UTF8PROC_VERSION_MAJOR == 2 && UTF8PROC_VERSION_MINOR >= 7),
               "utf8proc 2.7 is the first that knows Unicode 14");

enum { FIRST_UNASSIGNED = 0x378 };

typedef struct Range {
    uint32_t first, last;
    const char *category, *script;
} Range;

static const Range since[] = {
#define SINCE(first, last, category, script) {first, last, #category, #script},
#include "frontend/text/unicode_since.def"
};
static const Range newer[] = {
#define NEWER(first, last) {first, last, "", ""},
#include "frontend/text/unicode_since.def"
};

static const Range *range_of(const Range *range, size_t count, uint32_t c) {
    size_t low = 0, high = c < range[0].first ? 0 : count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > range[middle].last)
            low = middle + 1;
        else if (c < range[middle].first)
            high = middle;
        else
            return &range[middle];
    }
    return NULL;
}

bool unicode_is_young(uint32_t c) {
    return range_of(since, COUNT_OF(since), c);
}

bool unicode_is_newer(uint32_t c) {
    if (c < FIRST_UNASSIGNED || unicode_is_young(c)) return false;
    bool never = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
    return range_of(newer, COUNT_OF(newer), c) ||
           (!never && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_CN);
}

void unicode_write_young(const char *property, Text *out) {
    for (size_t i = 0; i < COUNT_OF(since); i++) {
        bool of =
            !strncmp(since[i].category, property, strlen(property)) || !strcmp(since[i].script, property);
        if (of) text_add(out, "\\x{%x}-\\x{%x}", since[i].first, since[i].last);
    }
}

/* "Lu", "Nd": general category */
static const char *category(uint32_t c) {
    const Range *young = range_of(since, COUNT_OF(since), c);
    if (young) return young->category;
    return range_of(newer, COUNT_OF(newer), c) ? "Cn" : utf8proc_category_string((utf8proc_int32_t)c);
}

bool unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool unicode_is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    return *category(c) == 'N';
}

bool unicode_is_word(uint32_t c) {
    const char *of = category(c);
    if (*of == 'L' || *of == 'M' || !strcmp(of, "Nd") || !strcmp(of, "Nl") || !strcmp(of, "Pc")) return true;
    /* joiners, and letters in circles and squares, which are alphabetic symbols */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

uint32_t unicode_read(const char *text, uint32_t *size) {
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] < 0x80) return *size = 1, at[0];
    if (at[0] < 0xe0) return *size = 2, (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu);
    if (at[0] < 0xf0) return *size = 3, (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    *size = 4;
    return (at[0] & 7u) << 18 | (at[1] & 0x3fu) << 12 | (at[2] & 0x3fu) << 6 | (at[3] & 0x3fu);
}

uint32_t unicode_write(uint32_t c, char at[4]) {
    return (uint32_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)at);
}
