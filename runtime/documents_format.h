/* A file of documents, as `rematc data` and docs/documents.py write it and a trainer reads it. Little-endian:
 *
 *      0  "rematdoc"
 *      8  u32 version, 1
 *     12  u32 bytes of a token, 2 or 4
 *     16  u64 documents
 *     24  u64 tokens of all of them
 *     32  u32 CRC-32 of the whole file, these four bytes as zeros
 *     36  zeros
 *     40  u64 fingerprint of what made tokens and mask of the text: tokenizer, template, options; 0: not
 * known 48  u64 fingerprint of the text; 0: not known 56  u64 bytes of the vocabulary, at the end of the
 * file; 0: there is none 64  u64 [documents]: which token begins each; the first is 0 tokens u8 [tokens]: 1
 * where the token counts as a target, 0 where it does not the vocabulary, for samples: u32 tokens, u32 how
 * many of them end a sample, u32 [those], u32 [tokens]: where the text of each ends; the text of all, one
 * after the other
 *
 * Knows nothing of the compiler and nothing of the trainer: both link it. */
#ifndef REMAT_DOCUMENTS_FORMAT_H
#define REMAT_DOCUMENTS_FORMAT_H

#include <stdint.h>

enum {
    DOCUMENTS_HEADER_BYTES = 64,
    DOCUMENTS_MAGIC_BYTES = 8,
    DOCUMENTS_VERSION = 1,
    DOCUMENTS_START_BYTES = 8,
    DOCUMENTS_CHECKSUM_AT = 32
};

typedef struct DocumentsHead {
    uint32_t version, token_bytes, checksum;
    uint64_t documents, tokens, encoding, text, vocabulary_bytes;
} DocumentsHead;

/* Do these 8 bytes begin such a file? */
int documents_magic(const void *bytes);
void documents_put_head(const DocumentsHead *head, unsigned char bytes[DOCUMENTS_HEADER_BYTES]);
/* 0 where bytes that must be zero are not; the rest is as it stands there. */
int documents_get_head(const unsigned char bytes[DOCUMENTS_HEADER_BYTES], DocumentsHead *head);
/* Whether its parts are so many bytes together, whatever stands in it. */
int documents_is_whole(const DocumentsHead *head, uint64_t bytes);

/* CRC-32 as zlib, PNG and gzip have it. */
typedef struct Crc {
    uint32_t table[8][256], value;
} Crc;

void crc_begin(Crc *crc);
void crc_add(Crc *crc, const void *bytes, int64_t count);
uint32_t crc_value(const Crc *crc);

#endif
