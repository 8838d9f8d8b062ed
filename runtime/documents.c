/* Documents with a loss mask, packed into rows. The file, little-endian:
 *
 *      0  "rematdoc"
 *      8  u32 version, 1
 *     12  u32 bytes of a token, 2 or 4
 *     16  u64 documents
 *     24  u64 tokens of all of them
 *     32  u32 CRC-32 of the whole file, these four bytes as zeros
 *     36  zeros
 *     64  u64 [documents]: which token begins each; the first is 0
 *         tokens
 *         u8 [tokens]: 1 where the token counts as a target, 0 where it does not
 *
 * A document of n tokens takes n - 1 places of a row, in each a token and its target, the next one: its last
 * token predicts nothing, and its first is no target. Every epoch puts all documents into rows of T places by
 * first fit, in an order that follows from seed and epoch alone; so what row a position holds does, too, and
 * a data cursor is one number. Of a longer one the first T + 1 tokens are used. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'r', 'e', 'm', 'a', 't', 'd', 'o', 'c'};
enum { HEADER_BYTES = 64, VERSION = 1, AT_CHECKSUM = 32, AT_ZEROS = 36, START_BYTES = 8 };

/* ---- the file ---- */

/* CRC-32 as zlib, PNG and gzip have it, eight bytes at a time (Kounavis and Berry 2005, "slicing by 8"). */
typedef struct Crc {
    uint32_t table[8][256], value;
} Crc;

static void crc_begin(Crc *crc) {
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

static void crc_add(Crc *crc, const unsigned char *at, int64_t bytes) {
    uint32_t c = crc->value;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low ^= c;
        c = crc->table[7][low & 255] ^ crc->table[6][low >> 8 & 255] ^ crc->table[5][low >> 16 & 255] ^
            crc->table[4][low >> 24] ^ crc->table[3][high & 255] ^ crc->table[2][high >> 8 & 255] ^
            crc->table[1][high >> 16 & 255] ^ crc->table[0][high >> 24];
    }
    for (; bytes > 0; bytes--, at++) c = c >> 8 ^ crc->table[0][(c ^ *at) & 255];
    crc->value = c;
}

int rt_documents_magic(const void *bytes) {
    return memcmp(bytes, magic, sizeof magic) == 0;
}

typedef struct File {
    RtData *data;
    RtShard *shard;
    int64_t documents;
    int64_t *start; /* [documents + 1] */
    uint32_t checksum;
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

static void read_header(File *file) {
    RtShard *shard = file->shard;
    unsigned char header[HEADER_BYTES];
    uint32_t version, token_bytes;
    uint64_t documents, tokens, held;
    if (shard->bytes < HEADER_BYTES) malformed(file, "it is too short for the header of documents");
    rt_data_read(file->data, shard, 0, HEADER_BYTES);
    memcpy(header, file->data->buffer, HEADER_BYTES);
    memcpy(&version, header + 8, 4);
    memcpy(&token_bytes, header + 12, 4);
    memcpy(&documents, header + 16, 8);
    memcpy(&tokens, header + 24, 8);
    memcpy(&file->checksum, header + AT_CHECKSUM, 4);
    if (!rt_documents_magic(header))
        malformed(file, "it holds no documents: it does not begin with 'rematdoc'");
    if (version != VERSION)
        rt_fail(RT_EXIT_IO, "data: '%s': documents of version %u; this program reads version %d", shard->path,
                version, VERSION);
    if (token_bytes != 2 && token_bytes != 4)
        rt_fail(RT_EXIT_IO, "data: '%s': tokens of %u bytes; they have 2 or 4", shard->path, token_bytes);
    for (int i = AT_ZEROS; i < HEADER_BYTES; i++)
        if (header[i]) malformed(file, "bytes 36 to 63 must be zero");
    held = (uint64_t)shard->bytes - HEADER_BYTES;
    if (documents > INT32_MAX) malformed(file, "it promises more than 2147483647 documents");
    if (documents > held / START_BYTES || tokens > held || /* then nothing below overflows */
        documents * START_BYTES + tokens * (token_bytes + 1) != held)
        rt_fail(
            RT_EXIT_IO,
            "data: '%s' promises %llu documents of %llu tokens, which are no %lld bytes: is it cut short?",
            shard->path, (unsigned long long)documents, (unsigned long long)tokens, (long long)shard->bytes);
    memset(header + AT_CHECKSUM, 0, 4);
    crc_begin(&file->crc);
    crc_add(&file->crc, header, HEADER_BYTES);
    file->documents = (int64_t)documents;
    shard->tokens = (int64_t)tokens;
    shard->token_bytes = (int)token_bytes;
    shard->first_byte = HEADER_BYTES + file->documents * START_BYTES;
    shard->mask_byte = shard->first_byte + shard->tokens * shard->token_bytes;
}

static void read_starts(File *file) {
    int64_t end = file->shard->first_byte, count = 0, before = 0;
    file->start = rt_allocate((size_t)(file->documents + 1) * sizeof *file->start);
    for (int64_t at = HEADER_BYTES, bytes; at < end; at += bytes) {
        bytes = take(file, at, end);
        for (int64_t i = 0; i < bytes; i += START_BYTES, count++) {
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
    if (!file->documents && file->shard->tokens) malformed(file, "its tokens belong to no document");
    file->start[file->documents] = file->shard->tokens;
}

static void read_all_tokens(File *file) {
    RtShard *shard = file->shard;
    for (int64_t at = shard->first_byte, bytes; at < shard->mask_byte; at += bytes) {
        bytes = take(file, at, shard->mask_byte);
        rt_data_check_tokens(file->data, shard, (at - shard->first_byte) / shard->token_bytes,
                             bytes / shard->token_bytes);
    }
}

/* Which documents there is something to learn from, and how many targets each has. */
static void read_mask(File *file, RtDocument *kept) {
    RtData *data = file->data;
    int64_t document = -1, token = 0, end = file->shard->bytes;
    RtDocument *now = NULL; /* of `document`, where it is used */
    for (int64_t at = file->shard->mask_byte, bytes; at < end; at += bytes) {
        bytes = take(file, at, end);
        for (int64_t i = 0; i < bytes; i++, token++) {
            if (data->buffer[i] > 1)
                rt_fail(RT_EXIT_IO, "data: '%s': the mask of token %lld is %d, not 0 or 1", file->shard->path,
                        (long long)token, data->buffer[i]);
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
    int64_t usable = 0, most = data->context + 1, before = data->windows;
    for (int64_t d = 0; d < file->documents; d++) usable += file->start[d + 1] - file->start[d] > 1;
    RtDocument *all = rt_allocate((size_t)(before + usable + 1) * sizeof *all), *next = all + before;
    if (before) memcpy(all, data->document, (size_t)before * sizeof *all);
    free(data->document);
    data->document = all;
    for (int64_t d = 0; d < file->documents; d++) {
        int64_t tokens = file->start[d + 1] - file->start[d];
        if (tokens < 2) continue;
        *next++ = (RtDocument){.start = file->start[d],
                               .tokens = (uint32_t)(tokens < most ? tokens : most),
                               .shard = (uint32_t)(file->shard - data->shard)};
        data->cut_documents += tokens > most;
        data->cut_tokens += tokens > most ? tokens - most : 0;
    }
    data->short_documents += file->documents - usable;
    data->windows += usable;
    if (data->windows > INT32_MAX) malformed(file, "with it, there are more than 2147483647 documents");
    return all + before;
}

void rt_documents_open(RtData *data, RtShard *shard) {
    File file = {.data = data, .shard = shard};
    read_header(&file);
    read_starts(&file);
    RtDocument *added = add_documents(&file);
    read_all_tokens(&file);
    read_mask(&file, added);
    if ((file.crc.value ^ 0xffffffffu) != file.checksum)
        malformed(&file, "its checksum is wrong: it was damaged, or is not written to its end");
    free(file.start);
}

void rt_documents_look(const RtData *data, const char *path, int quiet) {
    int64_t tokens = 0, targets = 0;
    for (int64_t d = 0; d < data->count; d++) {
        tokens += data->document[data->first + d].tokens;
        targets += data->document[data->first + d].targets;
    }
    if (!targets) rt_fail(RT_EXIT_IO, "data: by the loss mask, nothing in '%s' is to be learnt", path);
    if (quiet) return;
    rt_say(stderr, "%s: %lld documents, %lld tokens, loss on %.1f%%\n", path, (long long)data->count,
           (long long)tokens, 100.0 * (double)targets / (double)tokens);
    if (data->cut_documents)
        rt_say(
            stderr,
            "%s: %lld of its documents are longer than %lld tokens and cut there; %lld tokens are left out\n",
            path, (long long)data->cut_documents, (long long)data->context + 1, (long long)data->cut_tokens);
    if (data->short_documents)
        rt_say(stderr, "%s: %lld of its documents have fewer than two tokens and are left out\n", path,
               (long long)data->short_documents);
}

/* ---- packing ---- */

/* Rows by the places left in them, for first fit: a tree whose node has the most of its two children; leaf i
 * is row i, and rows that nothing is in yet have all T. */
typedef struct Rows {
    uint32_t *left; /* [2 size], node 1 the root */
    uint32_t size;  /* of the leaves, a power of two */
    uint32_t places;
} Rows;

static void rows_grow(Rows *rows) {
    uint32_t size = rows->size ? 2 * rows->size : 64, *left = rt_allocate(2 * (size_t)size * sizeof *left);
    for (uint32_t i = 0; i < size; i++)
        left[size + i] = i < rows->size ? rows->left[rows->size + i] : rows->places;
    for (uint32_t i = size; i-- > 1;) left[i] = left[2 * i] > left[2 * i + 1] ? left[2 * i] : left[2 * i + 1];
    free(rows->left);
    rows->left = left;
    rows->size = size;
}

/* The first row with room for so many. */
static uint32_t rows_fit(Rows *rows, uint32_t places) {
    while (!rows->size || rows->left[1] < places) rows_grow(rows);
    uint32_t at = 1;
    while (at < rows->size) at = rows->left[2 * at] >= places ? 2 * at : 2 * at + 1;
    uint32_t row = at - rows->size;
    for (rows->left[at] -= places; at > 1; at /= 2) {
        uint32_t other = rows->left[at ^ 1];
        rows->left[at / 2] = rows->left[at] > other ? rows->left[at] : other;
    }
    return row;
}

static void pack_free(RtPack *pack) {
    free(pack->member);
    free(pack->begin);
    *pack = (RtPack){0};
}

/* Document i of the split in an epoch's order; without shuffling in the order of the files. */
static uint32_t in_order(const RtData *data, int64_t epoch, int64_t i) {
    return data->shuffled ? (uint32_t)rt_data_shuffle(data->seed, epoch * data->count + i, data->count)
                          : (uint32_t)i;
}

/* Rows in the order in which first fit begins them, documents in a row in that in which it puts them there.
 */
static void pack_epoch(const RtData *data, RtPack *pack, int64_t epoch) {
    const uint32_t count = (uint32_t)data->count;
    Rows rows = {.places = (uint32_t)data->context};
    uint32_t *order = rt_allocate((size_t)count * sizeof *order),
             *row = rt_allocate((size_t)count * sizeof *row);
    uint32_t used = 0;
    pack_free(pack);
    for (uint32_t i = 0; i < count; i++) {
        order[i] = in_order(data, epoch, i);
        row[i] = rows_fit(&rows, data->document[data->first + order[i]].tokens - 1);
        used = row[i] >= used ? row[i] + 1 : used;
    }
    free(rows.left);
    uint32_t *begin = rt_allocate(((size_t)used + 2) * sizeof *begin);
    pack->member = rt_allocate((size_t)count * sizeof *pack->member);
    for (uint32_t i = 0; i < count; i++) begin[row[i] + 2]++;
    for (uint32_t r = 0; r < used; r++) begin[r + 2] += begin[r + 1];
    for (uint32_t i = 0; i < count; i++) pack->member[begin[row[i] + 1]++] = order[i];
    free(order);
    free(row);
    pack->begin = begin;
    pack->rows = used;
    pack->epoch = epoch;
}

static void forget_epochs(RtData *data) {
    for (int i = 0; i < RT_PACKS; i++) pack_free(&data->pack[i]);
    free(data->rows_before);
    data->rows_before = NULL;
    data->epochs = data->epoch = 0;
}

/* The pack of an epoch, all of those before it having been packed once. */
static const RtPack *pack_of(RtData *data, int64_t epoch) {
    RtPack *pack = &data->pack[epoch % RT_PACKS];
    if (!pack->begin || pack->epoch != epoch) pack_epoch(data, pack, epoch);
    if (epoch < data->epochs) return pack;
    if ((epoch & (epoch + 1)) == 0) { /* room for twice as many: rows_before[epoch + 1] comes next */
        int64_t *more = rt_allocate(2 * (size_t)(epoch + 1) * sizeof *more);
        if (epoch) memcpy(more, data->rows_before, (size_t)(epoch + 1) * sizeof *more);
        free(data->rows_before);
        data->rows_before = more;
    }
    data->rows_before[epoch + 1] = data->rows_before[epoch] + pack->rows;
    data->epochs = epoch + 1;
    return pack;
}

/* The row at a position of all epochs' rows, one after the other, and the pack that it is of. */
static int64_t seek(RtData *data, uint64_t seed, int64_t position, const RtPack **pack) {
    if (!data->epochs || !data->shuffled || data->seed != seed) {
        forget_epochs(data);
        data->seed = seed;
        data->shuffled = 1;
    }
    if (!data->epochs) pack_of(data, 0);
    while (position >= data->rows_before[data->epoch + 1])
        if (++data->epoch == data->epochs) pack_of(data, data->epoch);
    while (position < data->rows_before[data->epoch]) data->epoch--;
    *pack = pack_of(data, data->epoch);
    return position - data->rows_before[data->epoch];
}

int64_t rt_documents_rows(RtData *data, uint64_t seed, int64_t epochs) {
    const RtPack *pack;
    seek(data, seed, 0, &pack);
    while (data->epochs < epochs) pack_of(data, data->epochs);
    return data->rows_before[epochs];
}

static const RtPack *pack_in_order(RtData *data) {
    if (data->epochs && !data->shuffled) return pack_of(data, 0);
    forget_epochs(data);
    data->shuffled = 0;
    return pack_of(data, 0);
}

int64_t rt_documents_rows_in_order(RtData *data) {
    return pack_in_order(data)->rows;
}

int64_t rt_documents_targets(RtData *data, uint64_t seed, int64_t position) {
    const RtPack *pack;
    int64_t row = seek(data, seed, position, &pack), targets = 0;
    for (uint32_t i = pack->begin[row]; i < pack->begin[row + 1]; i++)
        targets += data->document[data->first + pack->member[i]].targets;
    return targets;
}

/* ---- rows ---- */

/* A document from place `at` of a row on: each token sees those of its document up to itself. */
static void fill_document(RtData *data, const RtDocument *document, int64_t at, const RtRows *row) {
    RtShard *shard = &data->shard[document->shard];
    const int64_t places = document->tokens - 1;
    int64_t targets = 0;
    rt_data_read(data, shard, shard->mask_byte + document->start, document->tokens);
    for (int64_t i = 0; i < places; i++) {
        const unsigned char counts = data->buffer[i + 1];
        targets += counts > 1 ? INT32_MAX : counts;
        row->mask[at + i] = counts;
    }
    if (targets != document->targets)
        rt_fail(RT_EXIT_IO, "data: '%s' was written to while it was read", shard->path);
    rt_data_read_tokens(data, shard, document->start, document->tokens);
    for (int64_t i = 0; i <= places; i++) {
        int32_t token = (int32_t)rt_data_token(data, shard, i);
        if (i < places) row->tokens[at + i] = token;
        if (i > 0) row->targets[at + i - 1] = token;
    }
    for (int64_t i = 0; i < places; i++) {
        row->first_key[at + i] = (int32_t)at;
        row->last_query[at + i] = (int32_t)(at + places - 1);
        row->positions[at + i] = (int32_t)i;
    }
}

/* What is left of a row sees itself and has no loss. */
static void fill_padding(int64_t at, int64_t end, const RtRows *row) {
    for (; at < end; at++) {
        row->tokens[at] = row->targets[at] = row->positions[at] = 0;
        row->first_key[at] = row->last_query[at] = (int32_t)at;
        row->mask[at] = 0;
    }
}

static void fill_row(RtData *data, const RtPack *pack, int64_t row, const RtRows *to) {
    int64_t at = 0;
    for (uint32_t i = pack->begin[row]; i < pack->begin[row + 1]; i++) {
        const RtDocument *document = &data->document[data->first + pack->member[i]];
        fill_document(data, document, at, to);
        at += document->tokens - 1;
    }
    fill_padding(at, data->context, to);
}

void rt_documents_row(RtData *data, uint64_t seed, int64_t position, const RtRows *to) {
    const RtPack *pack;
    int64_t row = seek(data, seed, position, &pack);
    fill_row(data, pack, row, to);
}

int64_t rt_documents_row_in_order(RtData *data, int64_t row, const RtRows *to) {
    int64_t targets = 0;
    fill_row(data, pack_in_order(data), row, to);
    for (int64_t i = 0; i < data->context; i++) targets += to->mask[i] > 0;
    return targets;
}

void rt_documents_close(RtData *data, int borrowed) {
    forget_epochs(data);
    if (!borrowed) free(data->document);
}
