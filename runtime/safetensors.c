/* Reads safetensors files. In: bytes that anyone may have written. Out: a table of tensors, sorted by name,
 * whose ranges lie inside the file, do not overlap and match their shapes; or one message that says what is
 * wrong. The header is decoded in place in a copy, so its length bounds every allocation. */
#include "safetensors.h"

#include "json_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    int bits;
} dtypes[] = {{"F64", 64},    {"F32", 32},    {"F16", 16}, {"BF16", 16},       {"C64", 64},
              {"I64", 64},    {"I32", 32},    {"I16", 16}, {"I8", 8},          {"U64", 64},
              {"U32", 32},    {"U16", 16},    {"U8", 8},   {"BOOL", 8},        {"F8_E4M3", 8},
              {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F4", 4},   {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
              {"F6_E2M3", 6}, {"F6_E3M2", 6}};

const char *st_dtype_name(int dtype) {
    return dtype == K_F32 ? "F32" : dtype == K_BF16 ? "BF16" : dtype == K_I32 ? "I32" : "U8";
}

void st_shape_text(char *text, size_t size, int rank, const int64_t *dim) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

static int no_memory(RtError *error) {
    errno = ENOMEM;
    return rt_error_errno(error, "no room for the header");
}

/* ---- the header's JSON: objects of strings, and of tensors ---- */

/* Into file->dim; a tensor's `dim` is set when all of them are there. */
static int read_shape(JsonReader *reader, StFile *file, StTensor *tensor) {
    uint64_t dim, elements = 1;
    int countable = 1;
    tensor->rank = 0;
    if (!reader_expect(reader, '[', "a list should stand here")) return 0;
    if (!reader_accept(reader, ']')) {
        do {
            if (!reader_whole(reader, &dim)) return 0;
            if (file->dims == file->dims_room) {
                file->dims_room = file->dims_room ? 2 * file->dims_room : 256;
                int64_t *grown = realloc(file->dim, (size_t)file->dims_room * sizeof *grown);
                if (!grown) return no_memory(reader->error);
                file->dim = grown;
            }
            file->dim[file->dims++] = dim < INT64_MAX ? (int64_t)dim : INT64_MAX;
            tensor->rank++;
            countable &= !__builtin_mul_overflow(elements, dim, &elements);
        } while (reader_accept(reader, ','));
        if (!reader_expect(reader, ']', "a list should end here")) return 0;
    }
    tensor->elements = countable && elements <= INT64_MAX ? (int64_t)elements : -1;
    return 1;
}

static int read_offset(JsonReader *reader, int64_t *offset) {
    uint64_t whole = 0;
    if (!reader_whole(reader, &whole)) return 0;
    *offset = whole < INT64_MAX ? (int64_t)whole : INT64_MAX; /* behind the end of any file */
    return 1;
}

static int read_range(JsonReader *reader, StTensor *tensor) {
    return reader_expect(reader, '[', "a list should stand here") && read_offset(reader, &tensor->begin) &&
           reader_expect(reader, ',', "two data_offsets should stand here") &&
           read_offset(reader, &tensor->end) &&
           reader_expect(reader, ']', "two data_offsets should stand here");
}

/* "F32", or as Rust spells a choice without contents, {"F32": null}. */
static int read_dtype(JsonReader *reader, StTensor *tensor) {
    if (!reader_accept(reader, '{')) return reader_string(reader, &tensor->dtype);
    return reader_string(reader, &tensor->dtype) && reader_expect(reader, ':', "':' should stand here") &&
           (reader_null(reader) || reader_bad(reader, "null should stand here")) &&
           reader_expect(reader, '}', "one dtype should stand here");
}

/* {"dtype": .., "shape": .., "data_offsets": ..}, or their values alone in a list. */
static int read_tensor(JsonReader *reader, StFile *file, StTensor *tensor) {
    unsigned seen = 0;
    if (reader_accept(reader, '['))
        return read_dtype(reader, tensor) && reader_expect(reader, ',', "a shape should follow") &&
               read_shape(reader, file, tensor) && reader_expect(reader, ',', "data_offsets should follow") &&
               read_range(reader, tensor) &&
               reader_expect(reader, ']', "a tensor's description should end here");
    if (!reader_expect(reader, '{', "a tensor's description should stand here")) return 0;
    do {
        const char *key;
        if (!reader_string(reader, &key) || !reader_expect(reader, ':', "':' should stand here")) return 0;
        unsigned which = !strcmp(key, "dtype")          ? 1u
                         : !strcmp(key, "shape")        ? 2u
                         : !strcmp(key, "data_offsets") ? 4u
                                                        : 0u;
        if (seen & which) return reader_bad(reader, "a repeated key in a tensor's description");
        seen |= which;
        int read = !which       ? reader_skip(reader) /* of a later version, say */
                   : which == 1 ? read_dtype(reader, tensor)
                   : which == 2 ? read_shape(reader, file, tensor)
                                : read_range(reader, tensor);
        if (!read) return 0;
    } while (reader_accept(reader, ','));
    if (!reader_expect(reader, '}', "a tensor's description should end here")) return 0;
    return seen == 7 || reader_bad(reader, "a tensor without dtype, shape or data_offsets");
}

static int read_metadata(JsonReader *reader, StFile *file) {
    int capacity = 0;
    if (!reader_expect(reader, '{', "an object should stand here")) return 0;
    if (reader_accept(reader, '}')) return 1;
    do {
        if (file->pairs == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            StPair *grown = realloc(file->pair, (size_t)capacity * sizeof *grown);
            if (!grown) return no_memory(reader->error);
            file->pair = grown;
        }
        StPair *pair = &file->pair[file->pairs];
        if (!reader_string(reader, &pair->key) || !reader_expect(reader, ':', "':' should stand here") ||
            !reader_string(reader, &pair->value))
            return 0;
        file->pairs++;
    } while (reader_accept(reader, ','));
    return reader_expect(reader, '}', "an object should end here");
}

static int read_header(JsonReader *reader, StFile *file) {
    int capacity = 0, metadata = 0;
    if (!reader_utf8(reader)) return 0;
    if (!reader_expect(reader, '{', "an object should stand here")) return 0;
    if (!reader_accept(reader, '}')) {
        do {
            const char *name;
            if (!reader_string(reader, &name) || !reader_expect(reader, ':', "':' should stand here"))
                return 0;
            if (!strcmp(name, "__metadata__")) {
                if (metadata++) return reader_bad(reader, "two __metadata__");
                if (!reader_null(reader) && !read_metadata(reader, file)) return 0;
                continue;
            }
            if (file->tensors == capacity) {
                capacity = capacity ? 2 * capacity : 64;
                StTensor *grown = realloc(file->tensor, (size_t)capacity * sizeof *grown);
                if (!grown) return no_memory(reader->error);
                file->tensor = grown;
            }
            StTensor *tensor = &file->tensor[file->tensors];
            *tensor = (StTensor){.name = name};
            if (!read_tensor(reader, file, tensor)) return 0;
            file->tensors++;
        } while (reader_accept(reader, ','));
        if (!reader_expect(reader, '}', "the header should end here")) return 0;
    }
    return reader_end(reader);
}

/* ---- what the table must hold ---- */

static int dtype_bits(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, name)) return dtypes[i].bits;
    return 0;
}

static int check_dtype(StTensor *tensor, RtError *error) {
    tensor->element_bytes = dtype_bits(tensor->dtype) / 8;
    return dtype_bits(tensor->dtype) ||
           rt_error(error, "tensor '%.200s' has the unknown dtype '%.40s'", tensor->name, tensor->dtype);
}

static int check_tensor(const StTensor *tensor, int64_t data_bytes, RtError *error) {
    int64_t bits = 0;
    if (tensor->begin > tensor->end || tensor->end > data_bytes)
        return rt_error(error, "tensor '%.200s' lies at bytes %lld to %lld of %lld: is the file cut short?",
                        tensor->name, (long long)tensor->begin, (long long)tensor->end,
                        (long long)data_bytes);
    if (tensor->elements < 0 || __builtin_mul_overflow(tensor->elements, dtype_bits(tensor->dtype), &bits))
        return rt_error(error, "the shape of tensor '%.200s' is too large", tensor->name);
    int64_t bytes = bits / 8;
    if (bits % 8) return rt_error(error, "tensor '%.200s' ends within a byte", tensor->name);
    if (bytes != tensor->end - tensor->begin)
        return rt_error(error, "tensor '%.200s' has %lld bytes where its shape needs %lld", tensor->name,
                        (long long)(tensor->end - tensor->begin), (long long)bytes);
    return 1;
}

/* Those of one name in the order of the header. */
static int by_name(const void *left, const void *right) {
    const StTensor *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->name > b->name) - (a->name < b->name);
}

static int is_called(const void *name, const void *tensor) {
    return strcmp(name, ((const StTensor *)tensor)->name);
}

/* Sorts, and keeps the last of those of one name. */
static void sort_tensors(StFile *file) {
    int kept = 0;
    if (file->tensors) qsort(file->tensor, (size_t)file->tensors, sizeof *file->tensor, by_name);
    for (int i = 0; i < file->tensors; i++) {
        if (i + 1 < file->tensors && !strcmp(file->tensor[i].name, file->tensor[i + 1].name)) continue;
        file->tensor[kept++] = file->tensor[i];
    }
    file->tensors = kept;
}

typedef struct Range {
    int64_t begin, end;
    int index;
} Range;

static int by_begin(const void *left, const void *right) {
    const Range *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

static int check_ranges(StFile *file, RtError *error) {
    Range *range = malloc((size_t)(file->tensors + 1) * sizeof *range);
    file->order = malloc((size_t)(file->tensors + 1) * sizeof *file->order);
    int good = range && file->order ? 1 : no_memory(error);
    for (int i = 0; good && i < file->tensors; i++)
        range[i] = (Range){file->tensor[i].begin, file->tensor[i].end, i};
    if (good) qsort(range, (size_t)file->tensors, sizeof *range, by_begin);
    int64_t end = 0;
    for (int i = 0; good && i < file->tensors; i++) {
        const char *name = file->tensor[range[i].index].name;
        if (range[i].begin < end)
            good = rt_error(error, "tensor '%.200s' overlaps another", name);
        else if (range[i].begin > end)
            good = rt_error(error, "there is a hole before tensor '%.200s'", name);
        end = range[i].end;
        file->order[i] = range[i].index;
    }
    if (good && end != file->data_bytes)
        good = rt_error(error, "the tensors end at byte %lld but the file holds %lld", (long long)end,
                        (long long)file->data_bytes);
    free(range);
    return good;
}

static int check_table(StFile *file, RtError *error) {
    const int64_t *dim = file->dim;
    for (int i = 0; i < file->tensors; i++) {
        if (!check_dtype(&file->tensor[i], error)) return 0;
        file->tensor[i].dim = dim;
        dim += file->tensor[i].rank;
    }
    sort_tensors(file);
    for (int i = 0; i < file->tensors; i++)
        if (!check_tensor(&file->tensor[i], file->data_bytes, error)) return 0;
    return check_ranges(file, error);
}

int st_parse(StFile *file, const char *header, int64_t header_bytes, int64_t data_bytes, RtError *error) {
    *file = (StFile){
        .fd = -1, .header_bytes = header_bytes, .data_offset = 8 + header_bytes, .data_bytes = data_bytes};
    file->raw = malloc((size_t)header_bytes + 1);
    file->text = malloc((size_t)header_bytes + 1);
    int good = file->raw && file->text ? 1 : no_memory(error);
    if (good) {
        memcpy(file->raw, header, (size_t)header_bytes);
        memcpy(file->text, header, (size_t)header_bytes);
        file->raw[header_bytes] = file->text[header_bytes] = 0;
        JsonReader reader = {file->text, file->text + header_bytes, file->text, "header", error};
        good = read_header(&reader, file) && check_table(file, error);
    }
    if (!good) st_close(file);
    return good;
}

/* ---- files ---- */

static int read_file(StFile *file, int fd, int64_t file_bytes, RtError *error) {
    unsigned char length[8];
    if (file_bytes < 8) return rt_error(error, "only %lld bytes long", (long long)file_bytes);
    if (!rt_read_at(fd, length, 8, 0, error)) return 0;
    uint64_t header_bytes = 0;
    for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | length[i];
    if (header_bytes > ST_MAX_HEADER_BYTES || (int64_t)header_bytes > file_bytes - 8)
        return rt_error(error, "no safetensors file, or cut short: a header of %llu bytes in a file of %lld",
                        (unsigned long long)header_bytes, (long long)file_bytes);
    char *header = malloc((size_t)header_bytes + 1);
    if (!header) return no_memory(error);
    int good = rt_read_at(fd, header, (int64_t)header_bytes, 8, error) &&
               st_parse(file, header, (int64_t)header_bytes, file_bytes - 8 - (int64_t)header_bytes, error);
    free(header);
    return good;
}

int st_open(StFile *file, const char *path, RtError *error) {
    struct stat status;
    int fd = rt_open_regular(path, &status, error);
    if (fd < 0) return 0;
    if (!read_file(file, fd, status.st_size, error)) {
        close(fd);
        return 0;
    }
    file->fd = fd;
    return 1;
}

void st_close(StFile *file) {
    if (file->fd >= 0) close(file->fd);
    free(file->raw);
    free(file->text);
    free(file->dim);
    free(file->tensor);
    free(file->order);
    free(file->pair);
    *file = (StFile){.fd = -1};
}

const StTensor *st_find(const StFile *file, const char *name) {
    if (!file->tensors) return NULL;
    return bsearch(name, file->tensor, (size_t)file->tensors, sizeof *file->tensor, is_called);
}

const char *st_metadata(const StFile *file, const char *key) {
    for (int i = 0; i < file->pairs; i++)
        if (!strcmp(file->pair[i].key, key)) return file->pair[i].value;
    return NULL;
}

int st_read(const StFile *file, const StTensor *tensor, int64_t offset, void *to, int64_t bytes,
            RtError *error) {
    return rt_read_at(file->fd, to, bytes, file->data_offset + tensor->begin + offset, error);
}

/* ---- writing ---- */

void st_add_entry(FILE *header, const char *name, const char *dtype, int rank, const int64_t *dim,
                  int64_t begin, int64_t end) {
    char *quoted = rt_json_string(name);
    fprintf(header, ",%s:{\"dtype\":\"%s\",\"shape\":[", quoted, dtype);
    for (int d = 0; d < rank; d++) fprintf(header, "%s%lld", d ? ", " : "", (long long)dim[d]);
    fprintf(header, "],\"data_offsets\":[%lld,%lld]}", (long long)begin, (long long)end);
    free(quoted);
}

void st_close_header(FILE *header, char *const *text) {
    fputc('}', header);
    while (ftell(header) % 8) fputc(' ', header);
    rt_text_close(header, text);
}

void st_length_bytes(unsigned char *to, size_t header_bytes) {
    for (int i = 0; i < ST_LENGTH_BYTES; i++) to[i] = (unsigned char)(header_bytes >> (8 * i));
}
