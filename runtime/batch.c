/* The rows of a micro-step: filled on the host, in one of two slots, and fetched from there into the arena.
 * In: data, and a position that counts rows through all epochs; windows of tokens all have targets that
 * count, of documents the loss mask says which. While the device computes with the rows of one slot, the
 * other is filled. */
#include "internal.h"

#include <string.h>

enum { PAGE = 4096 }; /* slots share none, so that what is on its way can be told from what is not */

void rt_batch_open(RtBatch *batch, const RtProgram *program) {
    const int documents = program->format == RT_DOCUMENTS;
    const int64_t places = program->batch * program->context, part = rt_aligned(places * 4, K_ALIGN);
    const int64_t bytes = rt_aligned(K_ALIGN + (documents ? 6 : 3) * part, PAGE);
    *batch = (RtBatch){.slots = rt_device_alloc_slots(RT_SLOTS * bytes)};
    for (int i = 0; i < RT_SLOTS; i++) {
        char *at = batch->slots + i * bytes, *rows = at + K_ALIGN;
        memset(at, 0, (size_t)bytes);
        batch->slot[i] = (RtSlot){.step = (KStep *)(void *)at, .position = -1};
        batch->slot[i].rows = (RtRows){.tokens = (int32_t *)(void *)rows,
                                       .targets = (int32_t *)(void *)(rows + part),
                                       .mask = (float *)(void *)(rows + 2 * part)};
        for (int64_t k = 0; k < places; k++) batch->slot[i].rows.mask[k] = 1;
        if (!documents) continue;
        batch->slot[i].rows.first_key = (int32_t *)(void *)(rows + 3 * part);
        batch->slot[i].rows.last_query = (int32_t *)(void *)(rows + 4 * part);
        batch->slot[i].rows.positions = (int32_t *)(void *)(rows + 5 * part);
    }
}

void rt_batch_close(RtBatch *batch) {
    if (batch->slots) rt_device_free_slots(batch->slots);
    *batch = (RtBatch){0};
}

static RtRows row_of(const RtRows *batch, int64_t row, int64_t context) {
    const int64_t at = row * context;
    if (!batch->first_key) return (RtRows){.tokens = batch->tokens + at, .targets = batch->targets + at};
    return (RtRows){batch->tokens + at,    batch->targets + at,    batch->mask + at,
                    batch->first_key + at, batch->last_query + at, batch->positions + at};
}

static void send(const RtRun *run, int64_t offset, const void *from, int64_t bytes) {
    if (offset >= 0) rt_device_send(run->arena + offset, from, bytes);
}

/* The next slot's; the other one is next then. */
static void send_slot(RtBatch *batch, const RtRun *run, const RtProgram *program) {
    const RtDocumentInputs *documents = program->documents;
    const int64_t bytes = program->batch * program->context * 4;
    RtSlot *slot = &batch->slot[batch->next];
    const RtRows *rows = &slot->rows;
    if (run->cx.now) {
        *slot->step = k_step(&run->cx, program->beta1, program->beta2);
        rt_device_send((char *)run->cx.now, slot->step, sizeof *slot->step);
    }
    send(run, program->tokens_offset, rows->tokens, bytes);
    send(run, program->targets_offset, rows->targets, bytes);
    send(run, program->mask_offset, rows->mask, bytes);
    if (documents) {
        send(run, documents->first_key_offset, rows->first_key, bytes);
        send(run, documents->last_query_offset, rows->last_query, bytes);
        send(run, documents->positions_offset, rows->positions, bytes);
    }
    rt_device_sent(batch->next);
    slot->position = -1;
    batch->next = (batch->next + 1) % RT_SLOTS;
}

/* The slot to be sent next, which nothing is read from any more. */
static RtSlot *next_slot(RtBatch *batch) {
    rt_device_wait_sent(batch->next);
    return &batch->slot[batch->next];
}

void rt_batch_prepare(RtBatch *batch, const RtProgram *program, RtData *data, uint64_t seed,
                      int64_t position) {
    if (batch->slot[batch->next].position == position) return;
    RtSlot *slot = next_slot(batch);
    for (int64_t i = 0; i < program->batch; i++) {
        const RtRows row = row_of(&slot->rows, i, program->context);
        if (data->document)
            rt_documents_row(data, seed, position + i, &row);
        else
            rt_data_window(data, rt_data_shuffle(seed, position + i, data->count), row.tokens, row.targets);
    }
    slot->position = position;
}

void rt_batch_train(RtBatch *batch, const RtRun *run, const RtProgram *program, RtData *data, uint64_t seed,
                    int64_t position) {
    rt_batch_prepare(batch, program, data, seed, position);
    send_slot(batch, run, program);
}

int64_t rt_batch_validate(RtBatch *batch, const RtRun *run, const RtProgram *program, RtData *data,
                          int64_t position, int64_t rows) {
    const int64_t all = rt_batch_rows(data);
    const RtSlot *slot = next_slot(batch);
    int64_t targets = 0;
    for (int64_t i = 0; i < program->batch; i++) {
        const RtRows row = row_of(&slot->rows, i, program->context);
        const int64_t at = (position + i) % rows * all / rows;
        if (data->document) {
            targets += rt_documents_row_in_order(data, at, &row);
        } else {
            rt_data_window(data, at, row.tokens, row.targets);
            targets += data->context;
        }
    }
    send_slot(batch, run, program);
    return targets;
}

int64_t rt_batch_targets(RtData *data, uint64_t seed, int64_t position, int64_t rows) {
    int64_t targets = 0;
    if (!data->document) return rows * data->context;
    for (int64_t i = 0; i < rows; i++) targets += rt_documents_targets(data, seed, position + i);
    return targets;
}

int64_t rt_batch_epochs(RtData *data, uint64_t seed, int64_t epochs) {
    return data->document ? rt_documents_rows(data, seed, epochs) : epochs * data->count;
}

int64_t rt_batch_rows(RtData *data) {
    return data->document ? rt_documents_rows_in_order(data) : data->count;
}
