/* Pretrained weights: every parameter of the program but adapters is found in the files (weight_files.h),
 * with its shape or, where the program says so, transposed, and converted to its own dtype; masters take the
 * unrounded source, a packed type takes it through quantize.h, or as another program quantised it
 * (saved_nf4.h). What the files hold under the other name of a tied weight must be equal to it; what the
 * program has no use for is named. Nothing but the transfer buffer is needed: a tensor goes through it part
 * by part, and of one that is quantised a number for each block stays until its end. */
#include "quantize.h"
#include "saved_nf4.h"
#include "weight_files.h"

#include <stdlib.h>
#include <string.h>

enum { HALF_BYTES = RT_CHUNK_BYTES / 2 }; /* of the transfer buffer: one is read into, one written from */

static int is_weight(const RtTensor *tensor) {
    return tensor->kind == RT_PARAM || tensor->kind == RT_FROZEN;
}

static int is_transposed(const RtProgram *program, int parameter) {
    for (int i = 0; i < program->transposed_count; i++)
        if (program->transposed[i] == parameter) return 1;
    return 0;
}

/* ---- what is there ---- */

static int can_read(const StTensor *tensor) {
    return !strcmp(tensor->dtype, "F32") || !strcmp(tensor->dtype, "BF16") || !strcmp(tensor->dtype, "F16");
}

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
        if (!can_read(have))
            rt_fail(RT_EXIT_IO, "weights: '%s' is stored as %s; F32, BF16 and F16 can be read", have->name,
                    have->dtype);
    }
    if (!missing) return;
    const char *nearest = weight_files_nearest(files, first);
    rt_fail(RT_EXIT_IO, "weights: '%s' lacks %d of the model's tensors; the first is '%.200s'%s%.200s%s",
            files->path, missing, first, nearest ? "; did you mean '" : "", nearest ? nearest : "",
            nearest ? "'?" : "");
}

/* ---- elements ---- */

static float from_f16(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ff,
             word;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    if (exponent == 31)
        word = sign | 0x7f800000u | fraction << 13;
    else
        word = sign | (exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static float element(const void *source, char kind, int64_t i) {
    if (kind == 'F') return ((const float *)source)[i];
    if (kind == 'B') return rt_from_bf16(((const uint16_t *)source)[i]);
    return from_f16(((const uint16_t *)source)[i]);
}

static char kind_of(const StTensor *tensor) {
    return !strcmp(tensor->dtype, "F32") ? 'F' : tensor->dtype[0] == 'B' ? 'B' : 'H';
}

static void put(void *to, int dtype, int64_t i, float value) {
    if (dtype == K_BF16)
        ((uint16_t *)to)[i] = rt_to_bf16(value);
    else
        ((float *)to)[i] = value;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

typedef struct Load {
    RtRun *run;
    const WeightFiles *files;
    char *from, *to;        /* HALF_BYTES each */
    RtQuantizer *quantizer; /* what is in `to` is f32 and goes through it; NULL: it is as it is stored */
} Load;

static void upload(const Load *load, const RtTensor *tensor, int64_t begin, int64_t count) {
    if (load->quantizer) {
        rt_quantize_add(load->quantizer, (const float *)(const void *)load->to, count);
        return;
    }
    int64_t bytes = rt_dtype_bytes(tensor->dtype);
    rt_device_upload(load->run->arena + tensor->offset + begin * bytes, load->to, count * bytes);
}

static void load_as_is(const Load *load, const RtTensor *tensor, Found found) {
    int64_t count = rt_tensor_count(tensor), most = HALF_BYTES / 4;
    char kind = kind_of(found.tensor);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t part = smaller(count - begin, most);
        weight_files_read(load->files, found, begin, part, load->from);
        for (int64_t i = 0; i < part; i++) put(load->to, tensor->dtype, i, element(load->from, kind, i));
        upload(load, tensor, begin, part);
    }
}

/* [O, I] from a file that holds [I, O]: as many whole rows as the buffer has room for, or a part of one; of
 * the file's rows, each of which has one element for each of ours, the piece for these is read. */
static void load_transposed(const Load *load, const RtTensor *tensor, Found found) {
    int64_t rows = tensor->dim[0], columns = tensor->dim[1], most = HALF_BYTES / 4;
    int64_t wide = smaller(columns, most), high = wide ? most / wide : 1;
    int64_t size = found.tensor->element_bytes;
    char kind = kind_of(found.tensor);
    for (int64_t row = 0; row < rows; row += high)
        for (int64_t column = 0; column < columns; column += wide) {
            int64_t r = smaller(rows - row, high), c = smaller(columns - column, wide);
            for (int64_t k = 0; k < c; k++)
                weight_files_read(load->files, found, (column + k) * rows + row, r,
                                  load->from + k * r * size);
            for (int64_t i = 0; i < r; i++)
                for (int64_t k = 0; k < c; k++)
                    put(load->to, tensor->dtype, i * c + k, element(load->from, kind, k * r + i));
            upload(load, tensor, row * columns + column, r * c);
        }
}

/* What was read is no longer needed once it is converted: codes are made in its place. */
static void load_quantized(Load load, const RtTensor *tensor, Found found, int transposed) {
    _Static_assert(HALF_BYTES / 4 <= RT_QUANTIZE_MOST, "as many elements as are read at once");
    RtQuantizer quantizer;
    load.quantizer = &quantizer;
    rt_quantize_begin(&quantizer, load.run, tensor, load.from);
    (transposed ? load_transposed : load_as_is)(&load, tensor, found);
    rt_quantize_end(&quantizer);
}

static void load_tensor(const Load *load, const RtTensor *tensor, Found found, int transposed) {
    if (!k_packing(tensor->dtype).code_bits)
        (transposed ? load_transposed : load_as_is)(load, tensor, found);
    else if (saved_nf4(load->files, found))
        saved_nf4_load(load->files, found, load->run, tensor, load->from, HALF_BYTES);
    else
        load_quantized(*load, tensor, found, transposed);
}

/* ---- ties ---- */

/* Exits where two tensors of the files differ that the program has one of. */
static void compare_tied(const WeightFiles *files, Found one, Found other, void *chunk) {
    const StTensor *a = one.tensor, *b = other.tensor;
    int64_t count = 1, most = HALF_BYTES / 4;
    int same = a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
    char *left = chunk, *right = left + HALF_BYTES, kind = kind_of(a);
    for (int i = 0; i < a->rank; i++) count *= a->dim[i];
    same &= can_read(b);
    for (int64_t begin = 0; same && begin < count; begin += most) {
        int64_t part = smaller(count - begin, most);
        weight_files_read(files, one, begin, part, left);
        weight_files_read(files, other, begin, part, right);
        for (int64_t i = 0; same && i < part; i++)
            same = element(left, kind, i) == element(right, kind_of(b), i);
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

void rt_weights_load(RtRun *run, const RtProgram *program, const char *path, int frozen_only, void *chunk,
                     int quiet) {
    WeightFiles files;
    weight_files_open(&files, path);
    Found *found = rt_allocate((size_t)program->tensors * sizeof *found);
    match_all(&files, program, found);
    check_ties(&files, program, found, chunk, quiet);
    const Load load = {run, &files, chunk, (char *)chunk + HALF_BYTES, NULL};
    int loaded = 0, held = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_weight(tensor) && tensor->kind != RT_MASTER) continue;
        if (frozen_only && tensor->kind != RT_FROZEN) continue;
        int parameter = is_weight(tensor) ? i : tensor->of;
        if (program->tensor[parameter].kind == RT_ADAPTER) continue;
        load_tensor(&load, tensor, found[parameter], is_transposed(program, parameter));
        loaded += is_weight(tensor);
    }
    for (int i = 0; i < files.count; i++) held += files.at[i].file.tensors;
    if (!quiet) rt_say(stderr, "weights: %d of the %d tensors in %s\n", loaded, held, path);
    weight_files_name_unused(&files);
    free(found);
    weight_files_close(&files);
}
