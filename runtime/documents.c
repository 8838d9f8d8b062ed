/* Documents with a loss mask, packed into rows; documents_file.c reads them.
 *
 * A document of n tokens takes n - 1 places of a row, in each a token and its target, the next one: its last
 * token predicts nothing, and its first is no target. Every epoch puts all documents into rows of T places by
 * first fit, in an order that follows from seed and epoch alone; so what row a position holds does, too, and
 * a data cursor is one number. Of a longer one the first T + 1 tokens are used. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

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
        row[i] = data->rows_apart ? i : rows_fit(&rows, data->document[data->first + order[i]].tokens - 1);
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

int32_t *rt_documents_prompt(RtData *data, int64_t *count) {
    const RtDocument *document = &data->document[data->first];
    RtShard *shard = &data->shard[document->shard];
    *count = 1;
    rt_data_read(data, shard, shard->mask_byte + document->start, document->tokens);
    while (*count < (int64_t)document->tokens - 1 && !data->buffer[*count]) ++*count;
    int32_t *token = rt_allocate((size_t)*count * sizeof *token);
    rt_data_read_tokens(data, shard, document->start, *count);
    for (int64_t i = 0; i < *count; i++) token[i] = (int32_t)rt_data_token(data, shard, i);
    return token;
}

void rt_documents_close(RtData *data, int borrowed) {
    forget_epochs(data);
    if (!borrowed) free(data->document);
}
