/* See printable.h. Which characters: Unicode 15, General_Category Cc and Cf, Zl, Zp (the tags of E0000 too),
 * but the joiners U+200C and U+200D, which words of several scripts need and which move nothing. */
#include "printable.h"

#include <stdio.h>
#include <string.h>

size_t printable_decode(const char *text, size_t length, unsigned *code) {
    const unsigned char *at = (const unsigned char *)text;
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!length) return 0;
    size_t size = at[0] < 0x80   ? 1
                  : at[0] < 0xc2 ? 0
                  : at[0] < 0xe0 ? 2
                  : at[0] < 0xf0 ? 3
                  : at[0] < 0xf5 ? 4
                                 : 0;
    if (!size || size > length) return 0;
    *code = size == 1 ? at[0] : at[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    if (*code < least[size] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000)) return 0;
    return size;
}

static int is_invisible(unsigned code) {
    static const struct {
        unsigned first, last;
    } range[] = {{0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},
                 {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
                 {0x8e2, 0x8e2},     {0x180e, 0x180e},   {0x200b, 0x200b},   {0x200e, 0x200f},
                 {0x2028, 0x202e},   {0x2060, 0x2064},   {0x2066, 0x206f},   {0xfeff, 0xfeff},
                 {0xfff9, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
                 {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (code >= range[i].first && code <= range[i].last) return 1;
    return 0;
}

size_t printable(char *to, size_t size, const char *text, size_t length, const char *keep) {
    size_t whole = 0, written = 0;
    for (size_t i = 0; i < length;) {
        unsigned code;
        char escape[16];
        const char *shown = text + i;
        size_t taken = printable_decode(text + i, length - i, &code), bytes = taken;
        int kept = taken == 1 && code && strchr(keep, (int)code);
        if (!taken || (!kept && is_invisible(code))) {
            bytes = (size_t)(taken > 1 ? snprintf(escape, sizeof escape, "\\u{%x}", code)
                                       : snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)text[i]));
            shown = escape;
            if (!taken) taken = 1;
        }
        if (written == whole && whole + bytes < size) {
            memcpy(to + written, shown, bytes);
            written += bytes;
        }
        whole += bytes;
        i += taken;
    }
    if (size) to[written] = 0;
    return whole;
}
