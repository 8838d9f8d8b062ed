/* Pretrained weights: every parameter of the program but adapters is found in the files (weight_files.h),
 * with its shape or, where the program says so, transposed, and converted to its own dtype; masters take the
 * unrounded source, a packed type takes it through quantize.h, or as another program quantised it
 * (saved_nf4.h). What the files hold under the other name of a tied weight must be equal to it; what the
 * program has no use for is named. Nothing but the transfer buffer is needed: every tensor is read from its
 * first byte to its last, once, and goes through the buffer part by part (one that is turned and quantised is
 * read again, across its rows), and of one that is quantised a number for each block stays until its end. */
#include "elements.h"
#include "quantize.h"
#include "saved_nf4.h"
#include "weight_files.h"

#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = WEIGHT_PART_BYTES }; /* at a time, into the first quarter of the transfer buffer */

static int is_weight(const RtTensor *tensor) {
    return tensor->kind == RT_PARAM || tensor->kind == RT_FROZEN;
}

static int is_transposed(const RtProgram *program, int parameter) {
    for (int i = 0; i < program->transposed_count; i++)
        if (program->transposed[i] == parameter) return 1;
    return 0;
}

/* ---- what is there ---- */

static void check_shape(const WeightFiles *files, Found found, const RtTensor *tensor, int transposed) {
    const StTensor *have = found.tensor;
    char a[128], b[128];
    RtTensor wanted = *tensor;
    if (transposed) wanted.dim[0] = tensor->dim[1], wanted.dim[1] = tensor->dim[0];
    st_shape_text(a, sizeof a, have->rank, have->dim);
    st_shape_text(b, sizeof b, wanted.rank, wanted.dim);
    if (!strcmp(a, b)) return;
    int turned =
        have->rank == 2 && wanted.rank == 2 && have->dim[0] == wanted.dim[1] && have->dim[1] == wanted.dim[0];
    rt_fail(
        RT_EXIT_IO, "weights: '%s' is %s in '%s' where the %s%s%s", have->name, a, files->at[found.file].path,
        transposed ? "program, which reads it transposed, has " : "model has ", b,
        turned && !transposed ? " (the file's is transposed: `weights` takes `transposed \"PATTERN\"`)" : "");
}

/* Finds all before reading any; one message counts what is missing and names the first. */
static void match_all(const WeightFiles *files, const RtProgram *program, Found *found) {
    int missing = 0;
    const char *first = NULL;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_weight(tensor)) continue;
        found[i] = weight_files_find(files, tensor->name);
        const StTensor *have = found[i].tensor;
        if (!have) {
            if (!missing++) first = tensor->name;
            continue;
        }
        weight_files_use(files, found[i]);
        if (k_packing(tensor->dtype).code_bits && saved_nf4(files, found[i])) {
            saved_nf4_check(files, found[i], tensor);
            continue;
        }
        check_shape(files, found[i], tensor, is_transposed(program, i));
        if (elements_named(have->dtype) == RT_ELEMENT_NONE)
            rt_fail(RT_EXIT_IO, "weights: '%s' is stored as %s; F32, BF16 and F16 can be read", have->name,
                    have->dtype);
    }
    if (!missing) return;
    const char *nearest = weight_files_nearest(files, first);
    rt_fail(RT_EXIT_IO, "weights: '%s' lacks %d of the model's tensors; the first is '%.200s'%s%.200s%s",
            files->path, missing, first, nearest ? "; did you mean '" : "", nearest ? nearest : "",
            nearest ? "'?" : "");
}

/* ---- one tensor ---- */

typedef struct Load {
    RtRun *run;
    const WeightFiles *files;
    char *from, *to, *codes; /* READ_BYTES, and as many elements of any type; of as many, half a byte each */
} Load;

/* A rectangle of the file's matrix [columns, rows], of which ours is the transpose: file rows
 * [first, first + high), columns [column, column + wide) of each. */
static void upload_turned(const Load *load, const RtTensor *tensor, const char *from, RtElement type,
                          int64_t first, int64_t high, int64_t column, int64_t wide) {
    int64_t bytes = rt_dtype_bytes(tensor->dtype), pitch = tensor->dim[1];
    elements_turn(load->to, elements_of(tensor->dtype), from, type, high, wide, wide);
    rt_device_upload_rows(load->run->arena + tensor->offset + (column * pitch + first) * bytes, pitch * bytes,
                          load->to, high * bytes, wide);
}

/* Elements [begin, begin + count) of the file's tensor, which are in load->from, to their places. Turned,
 * they are the end of a row of the file, whole rows, and the beginning of another. */
static void upload(const Load *load, const RtTensor *tensor, RtElement type, int transposed, int64_t begin,
                   int64_t count) {
    int64_t bytes = rt_dtype_bytes(tensor->dtype), wide = transposed ? tensor->dim[0] : 0;
    if (!transposed) {
        int same = elements_of(tensor->dtype) == type;
        if (!same) elements_convert(load->to, elements_of(tensor->dtype), load->from, type, count);
        rt_device_upload(load->run->arena + tensor->offset + begin * bytes, same ? load->from : load->to,
                         count * bytes);
        return;
    }
    for (int64_t done = 0; done < count;) {
        int64_t row = (begin + done) / wide, column = (begin + done) % wide, left = count - done;
        int64_t high = column == 0 && left >= wide ? left / wide : 1;
        int64_t width = left < wide - column ? left : wide - column;
        upload_turned(load, tensor, load->from + done * elements_bytes(type), type, row, high, column, width);
        done += high * width;
    }
}

/* Into a parameter and its master, if it has one. */
static uint64_t load_plain(const Load *load, const RtTensor *tensor, const RtTensor *master, int transposed,
                           Found found) {
    RtElement type = elements_named(found.tensor->dtype);
    int64_t count = rt_tensor_count(tensor), most = READ_BYTES / elements_bytes(type);
    uint64_t sum = weight_files_begin_sum(found.tensor);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        weight_files_read(load->files, found, begin, part, load->from);
        sum = rt_checksum(sum, load->from, part * elements_bytes(type));
        upload(load, tensor, type, transposed, begin, part);
        if (master) upload(load, master, type, transposed, begin, part);
    }
    return sum;
}

static uint64_t load_quantized(const Load *load, const RtTensor *tensor, Found found) {
    _Static_assert(READ_BYTES / 2 <= RT_QUANTIZE_MOST, "as many elements as are read at once");
    RtElement type = elements_named(found.tensor->dtype);
    int64_t count = rt_tensor_count(tensor), most = READ_BYTES / elements_bytes(type);
    uint64_t sum = weight_files_begin_sum(found.tensor);
    RtQuantizer quantizer;
    rt_quantize_begin(&quantizer, load->run, tensor, load->codes);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        weight_files_read(load->files, found, begin, part, load->from);
        sum = rt_checksum(sum, load->from, part * elements_bytes(type));
        elements_convert(load->to, RT_ELEMENT_F32, load->from, type, part);
        rt_quantize_add(&quantizer, (const float *)(const void *)load->to, part);
    }
    rt_quantize_end(&quantizer);
    return sum;
}

/* Blocks lie along our rows, [O, I], which the file's, [I, O], cross: of as many of ours as there is room
 * for, or of a part of one, the piece in each of the file's rows is read. */
static uint64_t load_quantized_turned(const Load *load, const RtTensor *tensor, Found found) {
    RtElement type = elements_named(found.tensor->dtype);
    int64_t rows = tensor->dim[0], columns = tensor->dim[1], most = READ_BYTES / elements_bytes(type);
    int64_t wide = columns < most ? columns : most, high = most / wide;
    RtQuantizer quantizer;
    rt_quantize_begin(&quantizer, load->run, tensor, load->codes);
    for (int64_t row = 0; row < rows; row += high)
        for (int64_t column = 0; column < columns; column += wide) {
            int64_t r = rows - row < high ? rows - row : high,
                    c = columns - column < wide ? columns - column : wide;
            for (int64_t k = 0; k < c; k++)
                weight_files_read(load->files, found, (column + k) * rows + row, r,
                                  load->from + k * r * elements_bytes(type));
            elements_turn(load->to, RT_ELEMENT_F32, load->from, type, c, r, r);
            rt_quantize_add(&quantizer, (const float *)(const void *)load->to, r * c);
        }
    rt_quantize_end(&quantizer);
    return weight_files_sum(load->files, found, load->from);
}

/* The codes and what lies beside them. */
static uint64_t load_saved(const Load *load, const RtTensor *tensor, Found found) {
    uint64_t sum = saved_nf4_sum(load->files, found, load->from);
    saved_nf4_load(load->files, found, load->run, tensor, load->from, READ_BYTES);
    return sum;
}

/* Returns the checksum of the tensor as the files have it. */
static uint64_t load_tensor(const Load *load, const RtTensor *tensor, const RtTensor *master, int transposed,
                            Found found) {
    if (!k_packing(tensor->dtype).code_bits) return load_plain(load, tensor, master, transposed, found);
    if (saved_nf4(load->files, found)) return load_saved(load, tensor, found);
    return transposed ? load_quantized_turned(load, tensor, found) : load_quantized(load, tensor, found);
}

/* ---- ties ---- */

/* Exits where two tensors of the files differ that the program has one of. */
static void compare_tied(const WeightFiles *files, Found one, Found other, void *chunk) {
    const StTensor *a = one.tensor, *b = other.tensor;
    RtElement type = elements_named(a->dtype), other_type = elements_named(b->dtype);
    int64_t count = 1, most = READ_BYTES / 4;
    int same = a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
    char *left = chunk, *right = left + READ_BYTES;
    for (int i = 0; i < a->rank; i++) count *= a->dim[i];
    same &= other_type != RT_ELEMENT_NONE;
    for (int64_t begin = 0; same && begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        weight_files_read(files, one, begin, part, left);
        weight_files_read(files, other, begin, part, right);
        for (int64_t i = 0; same && i < part; i++)
            same = elements_get(left, type, i) == elements_get(right, other_type, i);
    }
    if (!same)
        rt_fail(
            RT_EXIT_IO,
            "weights: '%s' in '%s' differs from '%s', but the program ties the two: take the tie out of it "
            "to train both",
            b->name, files->at[other.file].path, a->name);
}

static void check_ties(const WeightFiles *files, const RtProgram *program, const Found *found, void *chunk,
                       int quiet) {
    for (int i = 0; i < program->ties; i++) {
        const Found *one = &found[program->tie[i].of];
        Found other = weight_files_find(files, program->tie[i].name);
        if (!other.tensor || other.tensor == one->tensor) continue;
        weight_files_use(files, other);
        compare_tied(files, *one, other, chunk);
        if (!quiet)
            rt_say(stderr, "weights: '%s' is equal to '%s', as the program ties them\n", other.tensor->name,
                   one->tensor->name);
    }
}

/* By parameter: which of the tensors is its master; NULL: none. */
static const RtTensor **masters_of(const RtProgram *program) {
    const RtTensor **master = rt_allocate((size_t)program->tensors * sizeof *master);
    for (int i = 0; i < program->tensors; i++)
        if (program->tensor[i].kind == RT_MASTER) master[program->tensor[i].of] = &program->tensor[i];
    return master;
}

uint64_t rt_weights_load(RtRun *run, const RtProgram *program, const char *path, int frozen_only, void *chunk,
                         int quiet) {
    WeightFiles files;
    weight_files_open(&files, path);
    Found *found = rt_allocate((size_t)program->tensors * sizeof *found);
    const RtTensor **master = masters_of(program);
    match_all(&files, program, found);
    check_ties(&files, program, found, chunk, quiet);
    const Load load = {run, &files, chunk, (char *)chunk + READ_BYTES, (char *)chunk + 3 * READ_BYTES};
    uint64_t all = 0, base = 0;
    int loaded = 0, held = 0, frozen = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_weight(tensor) || (frozen_only && tensor->kind != RT_FROZEN)) continue;
        uint64_t sum = load_tensor(&load, tensor, master[i], is_transposed(program, i), found[i]);
        all += sum;
        loaded++;
        if (tensor->kind != RT_FROZEN) continue;
        base += sum;
        frozen++;
    }
    for (int i = 0; i < files.count; i++) held += files.at[i].file.tensors;
    if (!frozen) base = all;
    if (!quiet)
        rt_say(stderr, "weights: %d of the %d tensors in %s, checksum %016llx\n", loaded, held, path,
               (unsigned long long)base);
    weight_files_name_unused(&files);
    free(master);
    free(found);
    weight_files_close(&files);
    return base;
}
