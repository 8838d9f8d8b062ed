/* What must hold for any tokenizer and any text. */
#ifndef REMAT_FUZZ_TOKENIZER_HOLDS_H
#define REMAT_FUZZ_TOKENIZER_HOLDS_H

#include "exits.h"
#include "frontend/text/tokenizer.h"
#include "runtime/printable.h"

#include <string.h>

static inline bool is_utf8(const char *text, size_t length) {
    unsigned c;
    for (size_t i = 0, size; i < length; i += size)
        if (!(size = printable_decode(text + i, length - i, &c))) return false;
    return true;
}

static inline bool between_characters(const char *text, size_t length, size_t at) {
    return at == length || ((unsigned char)text[at] & 0xc0) != 0x80;
}

/* False where there is no encoding, which text that is no UTF-8 must not have. */
static inline bool encoding_holds(Tokenizer *tokenizer, const char *text, size_t length) {
    Encoding made;
    bool fine = tokenizer_encode(tokenizer, text, length, &made);
    MUST(fine ? !made.error && is_utf8(text, length) : made.error && made.error[0]);
    if (!fine) return false;
    Arena *scratch = arena_new();
    Text decoded = {.arena = scratch};
    for (uint32_t i = 0; i < made.count; i++) {
        Token token = made.token[i];
        MUST(tokenizer_has(tokenizer, token.id) && token.id < tokenizer_size(tokenizer));
        MUST(token.begin <= token.end && token.end <= length);
        MUST(between_characters(text, length, token.begin) && between_characters(text, length, token.end));
        MUST(tokenizer_decode(tokenizer, &token.id, 1, false, &decoded));
    }
    arena_free(scratch);
    return true;
}

#endif
