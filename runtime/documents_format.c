/* See documents_format.h. */
#include "documents_format.h"

#include <string.h>

static const char magic[DOCUMENTS_MAGIC_BYTES] = {'r', 'e', 'm', 'a', 't', 'd', 'o', 'c'};

int documents_magic(const void *bytes) {
    return memcmp(bytes, magic, sizeof magic) == 0;
}

/* Where each field stands; zeros lie at 36. */
#define FIELDS(FIELD)                                                                                        \
    FIELD(8, version)                                                                                        \
    FIELD(12, token_bytes)                                                                                   \
    FIELD(16, documents)                                                                                     \
    FIELD(24, tokens)                                                                                        \
    FIELD(DOCUMENTS_CHECKSUM_AT, checksum)                                                                   \
    FIELD(40, encoding)                                                                                      \
    FIELD(48, text)                                                                                          \
    FIELD(56, vocabulary_bytes)
enum { ZEROS_AT = 36, ZEROS_END = 40 };

void documents_put_head(const DocumentsHead *head, unsigned char bytes[DOCUMENTS_HEADER_BYTES]) {
    memset(bytes, 0, DOCUMENTS_HEADER_BYTES);
    memcpy(bytes, magic, sizeof magic);
#define PUT(at, field) memcpy(bytes + (at), &head->field, sizeof head->field);
    FIELDS(PUT)
}

int documents_get_head(const unsigned char bytes[DOCUMENTS_HEADER_BYTES], DocumentsHead *head) {
#define GET(at, field) memcpy(&head->field, bytes + (at), sizeof head->field);
    FIELDS(GET)
    for (int i = ZEROS_AT; i < ZEROS_END; i++)
        if (bytes[i]) return 0;
    return 1;
}

int documents_is_whole(const DocumentsHead *head, uint64_t bytes) {
    const uint64_t held = bytes - DOCUMENTS_HEADER_BYTES;
    if (bytes < DOCUMENTS_HEADER_BYTES || head->token_bytes > 4 ||
        head->documents > held / DOCUMENTS_START_BYTES || head->tokens > held ||
        head->vocabulary_bytes > held)
        return 0; /* then nothing below overflows */
    return head->documents * DOCUMENTS_START_BYTES + head->tokens * ((uint64_t)head->token_bytes + 1) +
               head->vocabulary_bytes ==
           held;
}

/* Eight bytes at a time (Kounavis and Berry 2005, "slicing by 8"). */
void crc_begin(Crc *crc) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        crc->table[0][i] = c;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++) {
            uint32_t c = crc->table[k - 1][i];
            crc->table[k][i] = c >> 8 ^ crc->table[0][c & 255];
        }
    crc->value = 0xffffffffu;
}

void crc_add(Crc *crc, const void *bytes, int64_t count) {
    const unsigned char *at = bytes;
    uint32_t c = crc->value;
    for (; count >= 8; count -= 8, at += 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low ^= c;
        c = crc->table[7][low & 255] ^ crc->table[6][low >> 8 & 255] ^ crc->table[5][low >> 16 & 255] ^
            crc->table[4][low >> 24] ^ crc->table[3][high & 255] ^ crc->table[2][high >> 8 & 255] ^
            crc->table[1][high >> 16 & 255] ^ crc->table[0][high >> 24];
    }
    for (; count > 0; count--, at++) c = c >> 8 ^ crc->table[0][(c ^ *at) & 255];
    crc->value = c;
}

uint32_t crc_value(const Crc *crc) {
    return crc->value ^ 0xffffffffu;
}
