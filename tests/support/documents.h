/* Files of documents for the tests, by the table at the head of runtime/documents.c and not by its code. */
#ifndef REMAT_TESTS_DOCUMENTS_H
#define REMAT_TESTS_DOCUMENTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* CRC-32 a bit at a time. */
static inline uint32_t crc32_of(const unsigned char *at, size_t bytes) {
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        c ^= at[i];
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return c ^ 0xffffffffu;
}

static inline void documents_seal(unsigned char *file, size_t bytes) {
    memset(file + 32, 0, 4);
    const uint32_t crc = crc32_of(file, bytes);
    memcpy(file + 32, &crc, 4);
}

typedef struct DocumentsFile {
    unsigned char *at;
    size_t bytes;
    uint64_t documents, tokens;
    uint32_t token_bytes;
} DocumentsFile;

static inline size_t documents_token_at(const DocumentsFile *file, uint64_t token) {
    return (size_t)(64 + 8 * file->documents + token * file->token_bytes);
}
static inline size_t documents_mask_at(const DocumentsFile *file, uint64_t token) {
    return documents_token_at(file, file->tokens) + (size_t)token;
}

/* Documents of these lengths, tokens and masks filled in by `token` and `mask` of (document, place). */
static inline DocumentsFile documents_make(const int *length, int documents, uint32_t token_bytes,
                                           uint32_t (*token)(int, int), int (*mask)(int, int)) {
    DocumentsFile file = {.documents = (uint64_t)documents, .token_bytes = token_bytes};
    for (int d = 0; d < documents; d++) file.tokens += (uint64_t)length[d];
    file.bytes = documents_mask_at(&file, file.tokens);
    file.at = calloc(1, file.bytes);
    const uint32_t version = 1;
    memcpy(file.at, "rematdoc", 8);
    memcpy(file.at + 8, &version, 4);
    memcpy(file.at + 12, &token_bytes, 4);
    memcpy(file.at + 16, &file.documents, 8);
    memcpy(file.at + 24, &file.tokens, 8);
    uint64_t at = 0;
    for (int d = 0; d < documents; d++) {
        memcpy(file.at + 64 + 8 * d, &at, 8);
        for (int i = 0; i < length[d]; i++, at++) {
            const uint32_t value = token(d, i);
            memcpy(file.at + documents_token_at(&file, at), &value, token_bytes);
            file.at[documents_mask_at(&file, at)] = (unsigned char)mask(d, i);
        }
    }
    documents_seal(file.at, file.bytes);
    return file;
}

#endif
