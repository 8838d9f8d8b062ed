/* Reads files of documents (documents_format.h): all of one is checked when it is opened, the tokens of a
 * document or a window are read again when they are wanted. Text that is trained in windows comes in such a
 * file as well; then all documents are one run of tokens, and the mask is not asked. */
#include "internal.h"
#include "documents_format.h"

#include <stdlib.h>
#include <string.h>

typedef struct File {
    RtData *data;
    RtShard *shard;
    DocumentsHead head;
    int64_t *start; /* [documents + 1] */
    Crc crc;
} File;

static _Noreturn void malformed(const File *file, const char *what) {
    rt_fail(RT_EXIT_IO, "data: '%s': %s", file->shard->path, what);
}

/* As many bytes as the data's buffer holds at a time, into it and into the checksum; how many. */
static int64_t take(File *file, int64_t offset, int64_t end) {
    int64_t bytes = end - offset < RT_DATA_BLOCK ? end - offset : RT_DATA_BLOCK;
    rt_data_read(file->data, file->shard, offset, bytes);
    crc_add(&file->crc, file->data->buffer, bytes);
    return bytes;
}

/* Files of one pattern are made alike. */
static void check_origin(const File *file) {
    const RtData *data = file->data;
    if (file->shard != data->shard && file->head.encoding != data->encoding)
        rt_fail(RT_EXIT_IO, "data: '%s' was made with another tokenizer, template or options than '%s'",
                file->shard->path, data->shard->path);
}

static void read_header(File *file) {
    RtShard *shard = file->shard;
    RtData *data = file->data;
    DocumentsHead *head = &file->head;
    unsigned char header[DOCUMENTS_HEADER_BYTES];
    if (shard->bytes < DOCUMENTS_HEADER_BYTES) malformed(file, "it is too short for the header of documents");
    rt_data_read(data, shard, 0, DOCUMENTS_HEADER_BYTES);
    memcpy(header, data->buffer, DOCUMENTS_HEADER_BYTES);
    if (!documents_magic(header))
        malformed(file, "it holds no documents: it does not begin with 'rematdoc'; `rematc data SPEC` makes "
                        "such a file of text");
    int zeros = documents_get_head(header, head);
    if (head->version != DOCUMENTS_VERSION)
        rt_fail(RT_EXIT_IO, "data: '%s': documents of version %u; this program reads version %d", shard->path,
                head->version, DOCUMENTS_VERSION);
    if (head->token_bytes != 2 && head->token_bytes != 4)
        rt_fail(RT_EXIT_IO, "data: '%s': tokens of %u bytes; they have 2 or 4", shard->path,
                head->token_bytes);
    if (!zeros) malformed(file, "bytes 36 to 39 must be zero");
    if (head->documents > INT32_MAX) malformed(file, "it promises more than 2147483647 documents");
    if (!documents_is_whole(head, (uint64_t)shard->bytes))
        rt_fail(
            RT_EXIT_IO,
            "data: '%s' promises %llu documents of %llu tokens, which are no %lld bytes: is it cut short?",
            shard->path, (unsigned long long)head->documents, (unsigned long long)head->tokens,
            (long long)shard->bytes);
    check_origin(file);
    data->encoding = head->encoding;
    data->text = shard == data->shard ? head->text : rt_checksum(data->text, &head->text, sizeof head->text);
    memset(header + DOCUMENTS_CHECKSUM_AT, 0, sizeof head->checksum);
    crc_begin(&file->crc);
    crc_add(&file->crc, header, DOCUMENTS_HEADER_BYTES);
    shard->tokens = (int64_t)head->tokens;
    shard->token_bytes = (int)head->token_bytes;
    shard->first_byte = DOCUMENTS_HEADER_BYTES + (int64_t)head->documents * DOCUMENTS_START_BYTES;
    shard->mask_byte = shard->first_byte + shard->tokens * shard->token_bytes;
    shard->vocabulary_byte = shard->mask_byte + shard->tokens;
}

static void read_starts(File *file) {
    int64_t end = file->shard->first_byte, count = 0, before = 0;
    const int64_t documents = (int64_t)file->head.documents;
    file->start = rt_allocate((size_t)(documents + 1) * sizeof *file->start);
    for (int64_t at = DOCUMENTS_HEADER_BYTES, bytes; at < end; at += bytes) {
        bytes = take(file, at, end);
        for (int64_t i = 0; i < bytes; i += DOCUMENTS_START_BYTES, count++) {
            uint64_t start;
            memcpy(&start, file->data->buffer + i, sizeof start);
            if (start < (uint64_t)before || start > (uint64_t)file->shard->tokens || (!count && start))
                rt_fail(RT_EXIT_IO,
                        "data: '%s': document %lld begins at token %llu, the one before it at %lld of %lld",
                        file->shard->path, (long long)count, (unsigned long long)start, (long long)before,
                        (long long)file->shard->tokens);
            file->start[count] = before = (int64_t)start;
        }
    }
    if (!documents && file->shard->tokens) malformed(file, "its tokens belong to no document");
    file->start[documents] = file->shard->tokens;
}

static void read_all_tokens(File *file) {
    RtShard *shard = file->shard;
    for (int64_t at = shard->first_byte, bytes; at < shard->mask_byte; at += bytes) {
        bytes = take(file, at, shard->mask_byte);
        rt_data_check_tokens(file->data, shard, (at - shard->first_byte) / shard->token_bytes,
                             bytes / shard->token_bytes);
    }
}

/* Which documents there is something to learn from, and how many targets each has; `kept` NULL: it is not
 * asked. */
static void read_mask(File *file, RtDocument *kept) {
    RtData *data = file->data;
    int64_t document = -1, token = 0, end = file->shard->vocabulary_byte;
    RtDocument *now = NULL; /* of `document`, where it is used */
    for (int64_t at = file->shard->mask_byte, bytes; at < end; at += bytes) {
        bytes = take(file, at, end);
        for (int64_t i = 0; i < bytes; i++, token++) {
            if (data->buffer[i] > 1)
                rt_fail(RT_EXIT_IO, "data: '%s': the mask of token %lld is %d, not 0 or 1", file->shard->path,
                        (long long)token, data->buffer[i]);
            if (!kept) continue;
            while (document < 0 || token >= file->start[document + 1]) {
                int64_t length = file->start[document + 2] - file->start[document + 1];
                document++;
                now = length > 1 ? kept++ : NULL;
            }
            if (now && token > now->start && token < now->start + now->tokens)
                now->targets += data->buffer[i];
        }
    }
}

/* The usable documents of a file behind those of the files before it. */
static RtDocument *add_documents(File *file) {
    RtData *data = file->data;
    const int64_t documents = (int64_t)file->head.documents;
    int64_t usable = 0, most = data->context + 1, before = data->windows;
    for (int64_t d = 0; d < documents; d++) usable += file->start[d + 1] - file->start[d] > 1;
    RtDocument *all = rt_allocate((size_t)(before + usable + 1) * sizeof *all), *next = all + before;
    if (before) memcpy(all, data->document, (size_t)before * sizeof *all);
    free(data->document);
    data->document = all;
    for (int64_t d = 0; d < documents; d++) {
        int64_t tokens = file->start[d + 1] - file->start[d];
        if (tokens < 2) continue;
        *next++ = (RtDocument){.start = file->start[d],
                               .tokens = (uint32_t)(tokens < most ? tokens : most),
                               .shard = (uint32_t)(file->shard - data->shard)};
        data->cut_documents += tokens > most;
        data->cut_tokens += tokens > most ? tokens - most : 0;
    }
    data->short_documents += documents - usable;
    data->windows += usable;
    if (data->windows > INT32_MAX) malformed(file, "with it, there are more than 2147483647 documents");
    return all + before;
}

/* In the checksum; what is wrong in it is told when it is used (rt_vocabulary_open). */
static void read_vocabulary(File *file) {
    for (int64_t at = file->shard->vocabulary_byte, bytes; at < file->shard->bytes; at += bytes)
        bytes = take(file, at, file->shard->bytes);
}

void rt_documents_open(RtData *data, RtShard *shard) {
    File file = {.data = data, .shard = shard};
    read_header(&file);
    read_starts(&file);
    RtDocument *added = data->format == RT_DOCUMENTS ? add_documents(&file) : NULL;
    read_all_tokens(&file);
    read_mask(&file, added);
    read_vocabulary(&file);
    if (crc_value(&file.crc) != file.head.checksum)
        malformed(&file, "its checksum is wrong: it was damaged, or is not written to its end");
    free(file.start);
}

void rt_documents_look(const RtData *data, const char *path, int quiet) {
    int64_t tokens = 0, targets = 0, without = 0;
    for (int64_t d = 0; d < data->count; d++) {
        tokens += data->document[data->first + d].tokens;
        targets += data->document[data->first + d].targets;
        without += !data->document[data->first + d].targets;
    }
    if (!targets) rt_fail(RT_EXIT_IO, "data: by the loss mask, nothing in '%s' is to be learnt", path);
    if (quiet) return;
    rt_say(stderr, "%s: %lld documents, %lld tokens, loss on %.1f%%\n", path, (long long)data->count,
           (long long)tokens, 100.0 * (double)targets / (double)tokens);
    if (without)
        rt_say(stderr, "%s: %lld of its documents have no token with loss\n", path, (long long)without);
    if (data->cut_documents)
        rt_say(
            stderr,
            "%s: %lld of its documents are longer than %lld tokens and cut there; %lld tokens are left out\n",
            path, (long long)data->cut_documents, (long long)data->context + 1, (long long)data->cut_tokens);
    if (data->short_documents)
        rt_say(stderr, "%s: %lld of its documents have fewer than two tokens and are left out\n", path,
               (long long)data->short_documents);
}

/* ---- the vocabulary ---- */

int rt_vocabulary_open(RtVocabulary *vocabulary, RtData *data) {
    RtShard *shard = data->shard;
    const int64_t bytes = shard->vocabulary_byte ? shard->bytes - shard->vocabulary_byte : 0;
    uint32_t count[2];
    RtError error;
    *vocabulary = (RtVocabulary){0};
    if (!bytes) return 0;
    unsigned char *at = vocabulary->all = rt_allocate((size_t)bytes);
    rt_data_reopen(data, shard);
    if (!rt_read_at(shard->fd, at, bytes, shard->vocabulary_byte, &error))
        rt_fail(RT_EXIT_IO, "data: '%s': %s", shard->path, error.text);
    const uint64_t held = (uint64_t)bytes / 4;
    if (bytes >= 8) memcpy(count, at, sizeof count);
    if (bytes < 8 || count[0] > held || count[1] > held || 2 + (uint64_t)count[0] + count[1] > held)
        rt_fail(RT_EXIT_IO, "data: '%s': its vocabulary is malformed", shard->path);
    vocabulary->tokens = count[0];
    vocabulary->stops = count[1];
    vocabulary->stop = (uint32_t *)(void *)(at + 8);
    vocabulary->end = vocabulary->stop + count[1];
    vocabulary->text = (const char *)(vocabulary->end + count[0]);
    uint64_t before = 0, room = (uint64_t)bytes - 4 * (2 + (uint64_t)count[0] + count[1]);
    for (uint32_t i = 0; i < count[0]; before = vocabulary->end[i++])
        if (vocabulary->end[i] < before || vocabulary->end[i] > room)
            rt_fail(RT_EXIT_IO, "data: '%s': the text of token %u of its vocabulary is malformed",
                    shard->path, i);
    return 1;
}

void rt_vocabulary_close(RtVocabulary *vocabulary) {
    free(vocabulary->all);
    *vocabulary = (RtVocabulary){0};
}
