/* The numbers of a tensor, made of the checkpoint and the base in parts where it is large, and the files that
 * they are written into. */
#include "export.h"

#include "quantize.h"
#include "saved_nf4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PART_ELEMENTS = 1 << 20 }; /* at a time, of what need not be whole */

/* ---- numbers ---- */

static void read_checkpoint(const Export *ex, const StTensor *tensor, int64_t begin, int64_t count,
                            void *to) {
    RtError error;
    int64_t size = tensor->element_bytes;
    if (!st_read(ex->checkpoint, tensor, begin * size, to, count * size, &error))
        rt_fail(RT_EXIT_IO, "the checkpoint: %s", error.text);
}

static float *read_floats(const Export *ex, const StTensor *tensor) {
    RtElement type = elements_named(tensor->dtype);
    float *to = rt_allocate((size_t)(tensor->elements + 1) * sizeof *to);
    char *raw = rt_allocate((size_t)(tensor->elements * elements_bytes(type) + 1));
    read_checkpoint(ex, tensor, 0, tensor->elements, raw);
    elements_convert(to, RT_ELEMENT_F32, raw, type, tensor->elements);
    free(raw);
    return to;
}

static float *turned(float *from, int64_t rows, int64_t columns) {
    float *to = rt_allocate((size_t)(rows * columns + 1) * sizeof *to);
    elements_turn(to, RT_ELEMENT_F32, from, RT_ELEMENT_F32, rows, columns, columns);
    free(from);
    return to;
}

/* What adapters add to a matrix [rows, columns] as the base has it: scale * left [rows, rank] right [rank,
 * columns]. */
typedef struct Delta {
    float *left, *right;
    int64_t rank, columns;
    float scale;
} Delta;

static Delta read_delta(const Export *ex, const ExportTensor *out) {
    const StTensor *a, *b;
    export_factors(ex, out, &a, &b);
    int64_t rows = out->dim[out->transposed], columns = out->dim[!out->transposed]; /* [out, in] */
    Delta delta = {.rank = a->dim[0], .columns = out->dim[1], .scale = (float)rt_model_scale(ex->model)};
    delta.left = read_floats(ex, out->transposed ? a : b);
    delta.right = read_floats(ex, out->transposed ? b : a);
    if (out->transposed) { /* A^T [in, rank], B^T [rank, out] */
        delta.left = turned(delta.left, delta.rank, columns);
        delta.right = turned(delta.right, rows, delta.rank);
    }
    return delta;
}

/* Rows [first, first + rows). Products are exact in double, so that a compiler that merges them with the sum
 * makes the same bits. */
static void add_delta(const Delta *delta, float *w, int64_t first, int64_t rows) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float *to = w + row * delta->columns;
        for (int64_t begin = 0; begin < delta->columns; begin += 256) {
            double sum[256] = {0};
            int64_t wide = delta->columns - begin < 256 ? delta->columns - begin : 256;
            for (int64_t k = 0; k < delta->rank; k++) {
                double factor = (double)delta->left[(first + row) * delta->rank + k];
                const float *right = delta->right + k * delta->columns + begin;
                for (int64_t i = 0; i < wide; i++) sum[i] += factor * (double)right[i];
            }
            for (int64_t i = 0; i < wide; i++) to[begin + i] += (float)((double)delta->scale * sum[i]);
        }
    }
}

/* A quantised matrix of the base as f32 in the base's order: what is saved in it, or what was made of it on
 * the way into the program. */
static float *read_quantised(const Export *ex, const ExportTensor *out) {
    int64_t count = 1;
    for (int d = 0; d < out->rank; d++) count *= out->dim[d];
    float *x = rt_allocate((size_t)(count + 1) * sizeof *x);
    if (saved_nf4(&ex->files, out->base)) {
        saved_nf4_read(&ex->files, out->base, x);
        return x;
    }
    RtElement type = elements_named(out->base.tensor->dtype);
    char *raw = rt_allocate((size_t)(count * elements_bytes(type) + 1));
    weight_files_read(&ex->files, out->base, 0, count, raw);
    elements_convert(x, RT_ELEMENT_F32, raw, type, count);
    free(raw);
    if (out->transposed) x = turned(x, out->dim[0], out->dim[1]);
    rt_nf4_round(x, count, out->packed);
    return out->transposed ? turned(x, out->dim[1], out->dim[0]) : x;
}

/* ---- writing ---- */

static void put(ExportFile *to, const void *bytes, int64_t count) {
    if (atomic_file_write(&to->file, bytes, count)) return;
    model_folder_fail(to->folder, to->name, strerror(errno));
}

void export_file_begin(ExportFile *to, ModelFolder *folder, const char *name, const char *header,
                       size_t length) {
    *to = (ExportFile){.folder = folder, .name = rt_text("%s", name)};
    char *path = model_folder_file(folder, name);
    if (!atomic_file_open(&to->file, path)) model_folder_fail(folder, name, strerror(errno));
    free(path);
    unsigned char bytes[ST_LENGTH_BYTES];
    st_length_bytes(bytes, length);
    put(to, bytes, sizeof bytes);
    put(to, header, (int64_t)length);
}

void export_file_end(ExportFile *to) {
    if (!atomic_file_commit(&to->file)) model_folder_fail(to->folder, to->name, strerror(errno));
    free(to->name);
}

static void put_floats(ExportFile *to, const float *x, RtElement type, int64_t count) {
    char *part = rt_allocate((size_t)(PART_ELEMENTS * elements_bytes(type)));
    for (int64_t begin = 0; begin < count; begin += PART_ELEMENTS) {
        int64_t some = count - begin < PART_ELEMENTS ? count - begin : PART_ELEMENTS;
        elements_convert(part, type, x + begin, RT_ELEMENT_F32, some);
        put(to, part, some * elements_bytes(type));
    }
    free(part);
}

static void put_copy(const Export *ex, const ExportTensor *out, ExportFile *to) {
    const WeightFile *from = &ex->files.at[out->base.file];
    char *part = rt_allocate(RT_CHUNK_BYTES);
    for (int64_t at = 0; at < out->bytes; at += RT_CHUNK_BYTES) {
        RtError error;
        int64_t some = out->bytes - at < RT_CHUNK_BYTES ? out->bytes - at : RT_CHUNK_BYTES;
        if (!st_read(&from->file, out->base.tensor, at, part, some, &error))
            rt_fail(RT_EXIT_IO, "'%s': %s", from->path, error.text);
        put(to, part, some);
    }
    free(part);
}

void export_put_value(const Export *ex, const StTensor *value, int is_transposed, RtElement type,
                      ExportFile *to) {
    RtElement from = elements_named(value->dtype);
    if (is_transposed) {
        float *x = turned(read_floats(ex, value), value->dim[0], value->dim[1]);
        put_floats(to, x, type, value->elements);
        free(x);
        return;
    }
    char *raw = rt_allocate(PART_ELEMENTS * 4), *part = rt_allocate(PART_ELEMENTS * 4);
    for (int64_t begin = 0; begin < value->elements; begin += PART_ELEMENTS) {
        int64_t some = value->elements - begin < PART_ELEMENTS ? value->elements - begin : PART_ELEMENTS;
        read_checkpoint(ex, value, begin, some, raw);
        elements_convert(part, type, raw, from, some);
        put(to, part, some * elements_bytes(type));
    }
    free(raw), free(part);
}

static void put_trained(const Export *ex, const ExportTensor *out, ExportFile *to) {
    export_put_value(ex, export_value(ex, out->name), out->transposed, out->type, to);
}

static void put_adapted(const Export *ex, const ExportTensor *out, ExportFile *to) {
    RtElement from = elements_named(out->base.tensor->dtype);
    Delta delta = read_delta(ex, out);
    int64_t rows = out->dim[0], columns = out->dim[1], high = PART_ELEMENTS / columns + 1;
    char *raw = rt_allocate((size_t)(high * columns) * 4);
    float *x = rt_allocate((size_t)(high * columns) * sizeof *x);
    for (int64_t row = 0; row < rows; row += high) {
        int64_t some = rows - row < high ? rows - row : high;
        weight_files_read(&ex->files, out->base, row * columns, some * columns, raw);
        elements_convert(x, RT_ELEMENT_F32, raw, from, some * columns);
        add_delta(&delta, x, row, some);
        put_floats(to, x, out->type, some * columns);
    }
    free(raw), free(x), free(delta.left), free(delta.right);
}

static void put_quantised(const Export *ex, const ExportTensor *out, ExportFile *to) {
    float *x = read_quantised(ex, out);
    if (out->adapted) {
        Delta delta = read_delta(ex, out);
        add_delta(&delta, x, 0, out->dim[0]);
        free(delta.left), free(delta.right);
    }
    put_floats(to, x, out->type, out->bytes / elements_bytes(out->type));
    free(x);
}

void export_put_tensor(const Export *ex, const ExportTensor *out, ExportFile *to) {
    if (out->trained)
        put_trained(ex, out, to);
    else if (out->packed >= 0)
        put_quantised(ex, out, to);
    else if (out->adapted)
        put_adapted(ex, out, to);
    else
        put_copy(ex, out, to);
}
