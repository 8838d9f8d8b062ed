/* Ids back to bytes. The library's decoders work on lists of strings; those that are supported give every
 * token its bytes by itself, but for the space that may be left out at the start. */
#include "frontend/text/tokenizer_parts.h"

#include <string.h>

/* The byte that a character of a byte-level vocabulary stands for (GPT-2); NONE. Visible characters of
 * Latin-1 stand for themselves, the others from U+0100 on for the rest, in order. */
uint32_t byte_of_character(uint32_t c) {
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad)) return c;
    if (c < 0x100 || c > 0x143) return NONE;
    c -= 0x100;
    return c < 0x21 ? c : c < 0x43 ? c - 0x21 + 0x7f : 0xad;
}

bool bytes_of_token(Bytes token, char *out, uint32_t *length) {
    *length = 0;
    for (uint32_t i = 0, size; i < token.length; i += size) {
        uint32_t byte = byte_of_character(unicode_read(token.at + i, &size));
        if (byte == NONE) return false;
        out[(*length)++] = (char)byte;
    }
    return true;
}

static uint32_t hexadecimal(char c) {
    return c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
           : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
           : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                                  : NONE;
}

uint32_t byte_of_fallback(Bytes token) {
    if (token.length != 6 || memcmp(token.at, "<0x", 3) || token.at[5] != '>') return NONE;
    uint32_t high = hexadecimal(token.at[3]), low = hexadecimal(token.at[4]);
    return high == NONE || low == NONE ? NONE : high << 4 | low;
}

static void replace_all(Text *text, Bytes pattern, Bytes content) {
    Text made = {.arena = text->arena};
    size_t done = 0;
    for (size_t i = 0; i + pattern.length <= text->length;) {
        if (memcmp(text->at + i, pattern.at, pattern.length)) {
            i++;
            continue;
        }
        text_add_n(&made, text->at + done, i - done);
        text_add_n(&made, content.at, content.length);
        done = i += pattern.length;
    }
    if (!done) return;
    text_add_n(&made, text->at + done, text->length - done);
    *text = made;
}

void decode_token(const Decoder *decoder, Bytes token, bool first, Text *out) {
    static const Bytes space = {" ", 1}, nothing = {"", 0};
    Text text = {.arena = out->arena};
    uint32_t length;
    text_add_n(&text, token.at, token.length);
    if (decoder->byte_level) {
        char *bytes = arena_alloc_raw(out->arena, token.length + 1);
        if (bytes_of_token(token, bytes, &length)) text.length = 0, text_add_n(&text, bytes, length);
    }
    if (decoder->metaspace.length)
        replace_all(&text, decoder->metaspace, first && decoder->drop == DROP_METASPACE ? nothing : space);
    for (uint32_t i = 0; i < decoder->replace.count; i++)
        replace_all(&text, decoder->replace.at[i].pattern, decoder->replace.at[i].content);
    if (decoder->byte_fallback && text.at) {
        uint32_t byte = byte_of_fallback((Bytes){text.at, (uint32_t)text.length});
        if (byte != NONE) text.at[0] = (char)byte, text.length = 1;
    }
    bool drops = first && decoder->drop == DROP_SPACE && text.length && text.at[0] == ' ';
    text_add_n(out, text.at + drops, text.length - drops);
}

bool tokenizer_decode(const Tokenizer *tokenizer, const uint32_t *id, size_t count, bool skip_special,
                      Text *out) {
    size_t begin = out->length;
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (!tokenizer_has(tokenizer, id[i])) return false;
        const TokenText *token = &tokenizer->token.at[id[i]];
        if (skip_special && token->skipped) continue;
        Bytes bytes = first ? token->first : token->middle;
        text_add_n(out, bytes.at, bytes.length);
        first = tokenizer->decoder.drop == DROP_SPACE ? out->length == begin && !token->middle.length : false;
    }
    return true;
}

const char *tokenizer_bytes(const Tokenizer *tokenizer, uint32_t id, size_t *length) {
    bool has = tokenizer_has(tokenizer, id);
    *length = has ? tokenizer->token.at[id].middle.length : 0;
    return has ? tokenizer->token.at[id].middle.at : "";
}

bool tokenizer_drops_first_space(const Tokenizer *tokenizer) {
    return tokenizer->decoder.drop != DROP_NOTHING;
}

uint32_t tokenizer_size(const Tokenizer *tokenizer) {
    return tokenizer->token.count;
}

bool tokenizer_has(const Tokenizer *tokenizer, uint32_t id) {
    return id < tokenizer->token.count && tokenizer->token.at[id].written.at;
}

bool tokenizer_is_special(const Tokenizer *tokenizer, uint32_t id) {
    return tokenizer_has(tokenizer, id) && tokenizer->token.at[id].special;
}

uint32_t tokenizer_id(const Tokenizer *tokenizer, const char *token) {
    return lookup_get(&tokenizer->by_text, token, strlen(token));
}

uint32_t tokenizer_named(const Tokenizer *tokenizer, const char *role) {
    for (size_t i = 0; i < COUNT_OF(tokenizer->role); i++)
        if (tokenizer->role[i].name && !strcmp(tokenizer->role[i].name, role)) return tokenizer->role[i].id;
    return NONE;
}

TokenizerFrame tokenizer_frame(const Tokenizer *tokenizer) {
    return (TokenizerFrame){tokenizer->before.at, tokenizer->behind.at, tokenizer->before.count,
                            tokenizer->behind.count};
}

uint64_t tokenizer_fingerprint(const Tokenizer *tokenizer) {
    return tokenizer->fingerprint;
}
