/* Characters as the tokenizers library classes them: it knows Unicode 16, whatever the tables here know. */
#include "frontend/text/tokenizer_parts.h"

#include <utf8proc.h>

_Static_assert(UTF8PROC_VERSION_MAJOR > 2 || (UTF8PROC_VERSION_MAJOR == 2 && UTF8PROC_VERSION_MINOR >= 7),
               "utf8proc 2.7 is the first that knows Unicode 14");

enum { NO_CHARACTER_2 = 0x378, NO_CHARACTER_3 = 0xfdd0, NO_CHARACTER_4 = 0x1fffe }; /* of so many bytes */

static const struct Since {
    uint32_t first, last, stand_in;
} since[] = {
#define SINCE(first, last, stand_in) {first, last, stand_in},
#include "frontend/text/unicode_since.def"
};

static const struct Since *since_of(uint32_t c) {
    size_t low = 0, high = COUNT_OF(since);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > since[middle].last)
            low = middle + 1;
        else if (c < since[middle].first)
            high = middle;
        else
            return &since[middle];
    }
    return NULL;
}

uint32_t unicode_stand_in(uint32_t c) {
    const struct Since *row = c < since[0].first ? NULL : since_of(c);
    return row ? row->stand_in : c;
}

bool unicode_is_newer(uint32_t c) {
    if (c < since[0].first) return false;
    const struct Since *row = since_of(c);
    if (row)
        return row->stand_in == NO_CHARACTER_2 || row->stand_in == NO_CHARACTER_3 ||
               row->stand_in == NO_CHARACTER_4;
    bool never = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
    return !never && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_CN;
}

static utf8proc_category_t category(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)unicode_stand_in(c));
}

bool unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool unicode_is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    utf8proc_category_t of = category(c);
    return of == UTF8PROC_CATEGORY_ND || of == UTF8PROC_CATEGORY_NL || of == UTF8PROC_CATEGORY_NO;
}

bool unicode_is_word(uint32_t c) {
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
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
