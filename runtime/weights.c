/* Pretrained weights: every parameter of the program is found in a safetensors file, or in exactly one of the
 * files of a directory, with its shape, and converted to its own dtype; masters take the unrounded source. A
 * name may differ by a leading "model." or "transformer." where only one tensor fits. What the file holds
 * under the other name of a tied weight must be equal to it; what the program has no use for is named. */
#include "safetensors.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Source {
    StFile *file;
    char **path, **used; /* one flag a tensor of each file */
    int files;
} Source;

typedef struct Found {
    int file; /* -1: nowhere */
    const StTensor *tensor;
} Found;

/* Every weights file in a folder: what its own name holds of *, ? or [ stands for itself. */
static char *pattern_of(const char *folder) {
    static const char tail[] = "/*.safetensors";
    char *pattern = rt_allocate(2 * strlen(folder) + sizeof tail), *to = pattern;
    for (; *folder; *to++ = *folder++)
        if (strchr("*?[]\\", *folder)) *to++ = '\\';
    memcpy(to, tail, sizeof tail);
    return pattern;
}

static void open_source(Source *source, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) rt_fail(RT_EXIT_IO, "weights: cannot open '%s': %s", path, strerror(errno));
    glob_t found = {0};
    int folder = S_ISDIR(status.st_mode);
    char *pattern = pattern_of(path);
    int answer = folder ? glob(pattern, 0, NULL, &found) : 0;
    if (answer == GLOB_NOMATCH) rt_fail(RT_EXIT_IO, "weights: no .safetensors file in '%s'", path);
    if (answer) rt_fail(RT_EXIT_IO, "weights: the folder '%s' cannot be read", path);
    source->files = folder ? (int)found.gl_pathc : 1;
    source->file = rt_allocate((size_t)source->files * sizeof *source->file);
    source->path = rt_allocate((size_t)source->files * sizeof *source->path);
    source->used = rt_allocate((size_t)source->files * sizeof *source->used);
    for (int i = 0; i < source->files; i++) {
        RtError error;
        source->path[i] = rt_text("%s", folder ? found.gl_pathv[i] : path);
        if (!st_open(&source->file[i], source->path[i], &error))
            rt_fail(RT_EXIT_IO, "weights: '%s': %s", source->path[i], error.text);
        source->used[i] = rt_allocate((size_t)source->file[i].tensors);
    }
    if (folder) globfree(&found);
    free(pattern);
}

static void close_source(Source *source) {
    for (int i = 0; i < source->files; i++) {
        st_close(&source->file[i]);
        free(source->path[i]);
        free(source->used[i]);
    }
    free(source->file);
    free(source->path);
    free(source->used);
}

static Found find_exact(const Source *source, const char *name) {
    Found found = {-1, NULL};
    for (int i = 0; i < source->files; i++) {
        const StTensor *tensor = st_find(&source->file[i], name);
        if (tensor && found.tensor)
            rt_fail(RT_EXIT_IO, "weights: '%s' is both in '%s' and in '%s'", name, source->path[found.file],
                    source->path[i]);
        if (tensor) found = (Found){i, tensor};
    }
    return found;
}

static Found find_tensor(const Source *source, const char *name) {
    static const char *const prefixes[] = {"model.", "transformer."};
    Found found = find_exact(source, name);
    if (found.tensor) return found;
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        char *longer = rt_text("%s%s", prefixes[i], name);
        const char *spelling[2] = {longer, strncmp(name, prefixes[i], length) ? NULL : name + length};
        for (int k = 0; k < 2; k++) {
            Found other = spelling[k] ? find_exact(source, spelling[k]) : (Found){-1, NULL};
            if (other.tensor && found.tensor)
                rt_fail(RT_EXIT_IO, "weights: '%s' could be '%s' or '%s'", name, found.tensor->name,
                        other.tensor->name);
            if (other.tensor) found = other;
        }
        free(longer);
    }
    return found;
}

static void mark_used(const Source *source, Found found) {
    source->used[found.file][found.tensor - source->file[found.file].tensor] = 1;
}

static int is_weight(const RtTensor *tensor) {
    return tensor->kind == RT_PARAM || tensor->kind == RT_FROZEN;
}

/* Finds all before reading any; one message counts what is missing and names the first. */
static void match_all(const Source *source, const RtProgram *program, const char *path, Found *found) {
    int missing = 0;
    const char *first = NULL;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_weight(tensor)) continue;
        found[i] = find_tensor(source, tensor->name);
        const StTensor *have = found[i].tensor;
        if (!have) {
            if (!missing++) first = tensor->name;
            continue;
        }
        mark_used(source, found[i]);
        char a[128], b[128];
        st_shape_text(a, sizeof a, have->rank, have->dim);
        st_shape_text(b, sizeof b, tensor->rank, tensor->dim);
        int transposed = have->rank == 2 && tensor->rank == 2 && have->dim[0] == tensor->dim[1] &&
                         have->dim[1] == tensor->dim[0];
        if (strcmp(a, b) != 0)
            rt_fail(RT_EXIT_IO, "weights: '%s' is %s in '%s' where the model has %s%s", have->name, a,
                    source->path[found[i].file], b, transposed ? " (the file's is transposed)" : "");
        if (strcmp(have->dtype, "F32") != 0 && strcmp(have->dtype, "BF16") != 0 &&
            strcmp(have->dtype, "F16") != 0)
            rt_fail(RT_EXIT_IO, "weights: '%s' is stored as %s; F32, BF16 and F16 can be read", have->name,
                    have->dtype);
    }
    if (missing)
        rt_fail(RT_EXIT_IO, "weights: '%s' lacks %d of the model's tensors; the first is '%s'", path, missing,
                first);
}

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

static void read_elements(const Source *source, const Found *found, int64_t begin, int64_t count, void *to) {
    int64_t size = found->tensor->element_bytes;
    RtError error;
    if (!st_read(&source->file[found->file], found->tensor, begin * size, to, count * size, &error))
        rt_fail(RT_EXIT_IO, "weights: '%s': %s", source->path[found->file], error.text);
}

/* `from` and `to` are halves of the transfer buffer. */
static void load_tensor(RtRun *run, const RtTensor *tensor, const Source *source, const Found *found,
                        void *chunk) {
    int64_t count = rt_tensor_count(tensor), most = RT_CHUNK_BYTES / 2 / 4,
            bytes = rt_dtype_bytes(tensor->dtype);
    char *from = chunk, *to = from + RT_CHUNK_BYTES / 2;
    char kind = kind_of(found->tensor);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        read_elements(source, found, begin, part, from);
        for (int64_t i = 0; i < part; i++) {
            float value = element(from, kind, i);
            if (tensor->dtype == K_BF16)
                ((uint16_t *)to)[i] = rt_to_bf16(value);
            else
                ((float *)to)[i] = value;
        }
        rt_device_upload(run->arena + tensor->offset + begin * bytes, to, part * bytes);
    }
}

/* Exits where two tensors of the files differ that the program has one of. */
static void compare_tied(const Source *source, const Found *one, const Found *other, void *chunk) {
    const StTensor *a = one->tensor, *b = other->tensor;
    int64_t count = 1, most = RT_CHUNK_BYTES / 2 / 8;
    int same = a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
    char *left = chunk, *right = left + RT_CHUNK_BYTES / 2, kind = kind_of(a);
    for (int i = 0; i < a->rank; i++) count *= a->dim[i];
    same &= !strcmp(b->dtype, "F32") || !strcmp(b->dtype, "BF16") || !strcmp(b->dtype, "F16");
    for (int64_t begin = 0; same && begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        read_elements(source, one, begin, part, left);
        read_elements(source, other, begin, part, right);
        for (int64_t i = 0; same && i < part; i++)
            same = element(left, kind, i) == element(right, kind_of(b), i);
    }
    if (!same)
        rt_fail(
            RT_EXIT_IO,
            "weights: '%s' in '%s' differs from '%s', but the program ties the two: take the tie out of it "
            "to train both",
            b->name, source->path[other->file], a->name);
}

static void check_ties(const Source *source, const RtProgram *program, const Found *found, void *chunk,
                       int quiet) {
    for (int i = 0; i < program->ties; i++) {
        const Found *one = &found[program->tie[i].of];
        Found other = find_tensor(source, program->tie[i].name);
        if (!other.tensor || other.tensor == one->tensor) continue;
        mark_used(source, other);
        compare_tied(source, one, &other, chunk);
        if (!quiet)
            rt_say(stderr, "weights: '%s' is equal to '%s', as the program ties them\n", other.tensor->name,
                   one->tensor->name);
    }
}

/* A file that holds more than the program has is not the program's in full: what is left out is named. */
static void name_unused(const Source *source) {
    enum { NAMED = 4 };
    char text[512] = "";
    int unused = 0;
    size_t length = 0;
    for (int i = 0; i < source->files; i++)
        for (int k = 0; k < source->file[i].tensors; k++) {
            if (source->used[i][k] || ++unused > NAMED) continue;
            length += (size_t)snprintf(text + length, sizeof text - length, "%s'%.80s'", length ? ", " : "",
                                       source->file[i].tensor[k].name);
        }
    if (unused > NAMED) snprintf(text + length, sizeof text - length, " and %d more", unused - NAMED);
    if (unused) rt_warn("weights: the program has no use for %s", text);
}

void rt_weights_load(RtRun *run, const RtProgram *program, const char *path, int frozen_only, void *chunk,
                     int quiet) {
    Source source;
    open_source(&source, path);
    Found *found = rt_allocate((size_t)program->tensors * sizeof *found);
    match_all(&source, program, path, found);
    check_ties(&source, program, found, chunk, quiet);
    int loaded = 0, held = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_weight(tensor) && tensor->kind != RT_MASTER) continue;
        if (frozen_only && tensor->kind != RT_FROZEN) continue;
        load_tensor(run, tensor, &source, is_weight(tensor) ? &found[i] : &found[tensor->of], chunk);
        loaded += is_weight(tensor);
    }
    for (int i = 0; i < source.files; i++) held += source.file[i].tensors;
    if (!quiet) rt_say(stderr, "weights: %d of the %d tensors in %s\n", loaded, held, path);
    name_unused(&source);
    free(found);
    close_source(&source);
}
