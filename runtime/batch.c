/* The rows of a micro-step: filled on the host, brought into the arena. In: data, and a position that counts
 * rows through all epochs; windows of tokens all have targets that count, of documents the loss mask says
 * which. */
#include "internal.h"

#include <stdlib.h>

void rt_batch_open(RtRows *batch, const RtProgram *program) {
    size_t places = (size_t)(program->batch * program->context);
    *batch = (RtRows){.tokens = rt_allocate(places * sizeof *batch->tokens),
                      .targets = rt_allocate(places * sizeof *batch->targets),
                      .mask = rt_allocate(places * sizeof *batch->mask)};
    for (size_t i = 0; i < places; i++) batch->mask[i] = 1;
    if (program->format != RT_DOCUMENTS) return;
    batch->first_key = rt_allocate(places * sizeof *batch->first_key);
    batch->last_query = rt_allocate(places * sizeof *batch->last_query);
    batch->positions = rt_allocate(places * sizeof *batch->positions);
}

void rt_batch_close(RtRows *batch) {
    free(batch->tokens);
    free(batch->targets);
    free(batch->mask);
    free(batch->first_key);
    free(batch->last_query);
    free(batch->positions);
    *batch = (RtRows){0};
}

static RtRows row_of(const RtRows *batch, int64_t row, int64_t context) {
    const int64_t at = row * context;
    if (!batch->first_key) return (RtRows){.tokens = batch->tokens + at, .targets = batch->targets + at};
    return (RtRows){batch->tokens + at,    batch->targets + at,    batch->mask + at,
                    batch->first_key + at, batch->last_query + at, batch->positions + at};
}

static void upload(const RtRun *run, int64_t offset, const void *from, int64_t bytes) {
    if (offset >= 0) rt_device_upload(run->arena + offset, from, bytes);
}

static void upload_rows(const RtRows *batch, const RtRun *run, const RtProgram *program) {
    const RtDocumentInputs *documents = program->documents;
    const int64_t bytes = program->batch * program->context * 4;
    upload(run, program->tokens_offset, batch->tokens, bytes);
    upload(run, program->targets_offset, batch->targets, bytes);
    upload(run, program->mask_offset, batch->mask, bytes);
    if (!documents) return;
    upload(run, documents->first_key_offset, batch->first_key, bytes);
    upload(run, documents->last_query_offset, batch->last_query, bytes);
    upload(run, documents->positions_offset, batch->positions, bytes);
}

void rt_batch_train(RtRows *batch, const RtRun *run, const RtProgram *program, RtData *data, uint64_t seed,
                    int64_t position) {
    for (int64_t i = 0; i < program->batch; i++) {
        const RtRows row = row_of(batch, i, program->context);
        if (data->document)
            rt_documents_row(data, seed, position + i, &row);
        else
            rt_data_window(data, rt_data_shuffle(seed, position + i, data->count), row.tokens, row.targets);
    }
    upload_rows(batch, run, program);
}

int64_t rt_batch_validate(RtRows *batch, const RtRun *run, const RtProgram *program, RtData *data,
                          int64_t position, int64_t rows) {
    const int64_t all = rt_batch_rows(data);
    int64_t targets = 0;
    for (int64_t i = 0; i < program->batch; i++) {
        const RtRows row = row_of(batch, i, program->context);
        const int64_t at = (position + i) % rows * all / rows;
        if (data->document) {
            targets += rt_documents_row_in_order(data, at, &row);
        } else {
            rt_data_window(data, at, row.tokens, row.targets);
            targets += data->context;
        }
    }
    upload_rows(batch, run, program);
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
