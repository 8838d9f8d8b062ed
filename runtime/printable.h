/* Text of others (names in files, paths, data) as a terminal may see it. Knows nothing of the compiler and
 * nothing of the trainer: both link it. */
#ifndef REMAT_PRINTABLE_H
#define REMAT_PRINTABLE_H

#include <stddef.h>

/* Writes `length` bytes of UTF-8 text into `to` (`size` bytes, always ended by NUL where size > 0) with
 * everything spelled out that could steer a terminal or turn the order of what it shows: control characters
 * (C0, DEL, C1) but those in `keep`, bidirectional and other format characters, line and paragraph
 * separators, and bytes that are no UTF-8. A byte becomes \x1b, a character \u{202e}; what would be such an
 * escape already is not told apart. Returns the bytes the whole takes, as snprintf does; a character is never
 * cut in two. */
size_t printable(char *to, size_t size, const char *text, size_t length, const char *keep);

/* Bytes of the character at `text` (1 to 4) and its code, or 0 where the bytes are no UTF-8 (overlong forms
 * and surrogates are none). */
size_t printable_decode(const char *text, size_t length, unsigned *code);

#endif
