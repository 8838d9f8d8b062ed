/* See saved_nf4.h. */
#include "saved_nf4.h"

#include "json_reader.h"
#include "../kernels/codes.h"
#include "quantize.h"
#include "../kernels/packed.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_STATE_BYTES = 1 << 16 };
static const char state_key[] = "quant_state.bitsandbytes__nf4";

static Found beside(const WeightFiles *files, Found weight, const char *key) {
    char *name = rt_text("%s.%s", weight.tensor->name, key);
    Found found = weight_files_find(files, name);
    free(name);
    return found;
}

int saved_nf4(const WeightFiles *files, Found found) {
    return beside(files, found, state_key).tensor != NULL;
}

_Noreturn static void refuse(const WeightFiles *files, Found weight, const char *what) {
    rt_fail(RT_EXIT_IO, "weights: '%s' in '%s' is saved in NF4, but %s", weight.tensor->name,
            files->at[weight.file].path, what);
}

/* What stands beside the weight under `key`. */
static Found need(const WeightFiles *files, Found weight, const char *key, const char *dtype, int64_t count) {
    Found found = beside(files, weight, key);
    if (!found.tensor || strcmp(found.tensor->dtype, dtype) != 0 || found.tensor->elements != count) {
        char *what = rt_text("lacks '.%s' of %lld in %s", key, (long long)count, dtype);
        refuse(files, weight, what);
    }
    weight_files_use(files, found);
    return found;
}

typedef struct State { /* what the JSON says */
    const char *quant_type, *dtype;
    int64_t block, group; /* 0: it does not say */
    int64_t dim[K_MAX_RANK];
    int rank, has_offset;
    double offset;
} State;

static int read_state(JsonReader *reader, State *state) {
    if (!reader_utf8(reader) || !reader_expect(reader, '{', "an object should stand here")) return 0;
    do {
        const char *key;
        if (!reader_string(reader, &key) || !reader_expect(reader, ':', "':' should stand here")) return 0;
        int good = !strcmp(key, "quant_type")         ? reader_string(reader, &state->quant_type)
                   : !strcmp(key, "dtype")            ? reader_string(reader, &state->dtype)
                   : !strcmp(key, "blocksize")        ? reader_count(reader, &state->block)
                   : !strcmp(key, "nested_blocksize") ? reader_count(reader, &state->group)
                   : !strcmp(key, "nested_offset")
                       ? (state->has_offset = reader_number(reader, &state->offset))
                   : !strcmp(key, "shape") ? reader_counts(reader, state->dim, K_MAX_RANK, &state->rank)
                                           : reader_skip(reader);
        if (!good) return 0;
    } while (reader_accept(reader, ','));
    return reader_expect(reader, '}', "an object should end here") && reader_end(reader);
}

/* `text` is what the state's strings point into: the caller frees it. */
static State state_of(const WeightFiles *files, Found weight, char **text) {
    RtError error;
    State state = {0};
    Found found = beside(files, weight, state_key);
    const int64_t bytes = found.tensor->end - found.tensor->begin;
    if (strcmp(found.tensor->dtype, "U8") != 0 || bytes > MOST_STATE_BYTES)
        refuse(files, weight, "its quant_state is no text");
    weight_files_use(files, found);
    *text = rt_allocate((size_t)bytes + 1);
    weight_files_read(files, found, 0, bytes, *text);
    JsonReader reader = {*text, *text + bytes, *text, "quant_state", &error};
    if (!read_state(&reader, &state)) refuse(files, weight, error.text);
    return state;
}

/* Codes stand for other numbers in a file of another version. */
static void check_map(const WeightFiles *files, Found weight, const char *key, const float *wanted,
                      int count) {
    float map[256];
    weight_files_read(files, need(files, weight, key, "F32", count), 0, count, map);
    for (int c = 0; c < count; c++)
        if (map[c] != wanted[c]) {
            char *what = rt_text("its '.%s' is not the one this program has", key);
            refuse(files, weight, what);
        }
}

void saved_nf4_check(const WeightFiles *files, Found found, const RtTensor *tensor) {
    static const float value[K_NF4_CODES] = K_NF4_VALUES;
    const KPacking packing = k_packing(tensor->dtype);
    const int64_t count = rt_tensor_count(tensor);
    const KSections at = k_sections(packing, count);
    char *text, have[128], wanted[128];
    const State state = state_of(files, found, &text);
    st_shape_text(have, sizeof have, state.rank, state.dim);
    st_shape_text(wanted, sizeof wanted, tensor->rank, tensor->dim);
    if (strcmp(have, wanted) != 0) {
        char *what = rt_text("of shape %s where the model has %s", have, wanted);
        refuse(files, found, what);
    }
    if (!state.quant_type || strcmp(state.quant_type, "nf4") != 0)
        refuse(files, found, "its quant_type is not nf4");
    if (state.block != packing.block) refuse(files, found, "not in blocks of 64");
    if ((state.group != 0) != (packing.group != 0))
        refuse(files, found,
               packing.group ? "without double quantisation, which the model has"
                             : "with double quantisation, which the model has not");
    if (state.group != packing.group || state.has_offset != (packing.group != 0))
        refuse(files, found, "its scales are not in groups of 256 with an offset");
    free(text);
    if (!found.tensor->element_bytes || found.tensor->end - found.tensor->begin != (count + 1) / 2)
        refuse(files, found, "it has not a byte for every two elements");
    check_map(files, found, "quant_map", value, K_NF4_CODES);
    need(files, found, "absmax", packing.group ? "U8" : "F32", at.blocks);
    if (!packing.group) return;
    float map[256];
    for (int c = 0; c < 256; c++) map[c] = k_dynamic_value(1, c);
    check_map(files, found, "nested_quant_map", map, 256);
    need(files, found, "nested_absmax", "F32", at.groups);
}

typedef struct Copy {
    const WeightFiles *files;
    char *to, *buffer;
    int64_t buffer_bytes;
} Copy;

static void copy_whole(const Copy *copy, Found from, int64_t to) {
    const int64_t size = from.tensor->element_bytes, count = (from.tensor->end - from.tensor->begin) / size,
                  most = copy->buffer_bytes / size;
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t part = count - begin < most ? count - begin : most;
        weight_files_read(copy->files, from, begin, part, copy->buffer);
        rt_device_upload(copy->to + to + begin * size, copy->buffer, part * size);
    }
}

void saved_nf4_load(const WeightFiles *files, Found found, const RtRun *run, const RtTensor *tensor,
                    void *buffer, int64_t buffer_bytes) {
    const KPacking packing = k_packing(tensor->dtype);
    const KSections at = k_sections(packing, rt_tensor_count(tensor));
    const Copy copy = {files, run->arena + tensor->offset, buffer, buffer_bytes};
    copy_whole(&copy, found, 0);
    copy_whole(&copy, beside(files, found, "absmax"), at.scales);
    if (!packing.group) return;
    char *text;
    const float offset = (float)state_of(files, found, &text).offset;
    free(text);
    copy_whole(&copy, beside(files, found, "nested_absmax"), at.group_scales);
    rt_device_upload(copy.to + at.group_scales + at.groups * (int64_t)sizeof offset, &offset, sizeof offset);
}

uint64_t saved_nf4_sum(const WeightFiles *files, Found found, void *buffer) {
    uint64_t sum = weight_files_sum(files, found, buffer);
    size_t length = strlen(found.tensor->name);
    for (int i = 0; i < files->count; i++)
        for (int k = 0; k < files->at[i].file.tensors; k++) {
            const StTensor *near = &files->at[i].file.tensor[k];
            if (!files->at[i].used[k]) continue;
            if (strncmp(near->name, found.tensor->name, length) != 0 || near->name[length] != '.') continue;
            sum += weight_files_sum(files, (Found){i, near}, buffer);
        }
    return sum;
}

RtElement saved_nf4_type(const WeightFiles *files, Found found, RtTensor *tensor) {
    char *text;
    const State state = state_of(files, found, &text);
    RtElement type = !state.dtype || !strcmp(state.dtype, "bfloat16") ? RT_ELEMENT_BF16
                     : !strcmp(state.dtype, "float16")                ? RT_ELEMENT_F16
                                                                      : RT_ELEMENT_F32;
    *tensor = (RtTensor){.dtype = state.group ? K_NF4 : K_NF4_F32, .rank = state.rank};
    memcpy(tensor->dim, state.dim, sizeof tensor->dim);
    free(text);
    saved_nf4_check(files, found, tensor);
    return type;
}

void saved_nf4_read(const WeightFiles *files, Found found, float *x) {
    RtTensor tensor;
    saved_nf4_type(files, found, &tensor);
    const int64_t count = rt_tensor_count(&tensor);
    const KPacking packing = k_packing(tensor.dtype);
    const KSections at = k_sections(packing, count);
    unsigned char *codes = rt_allocate((size_t)(count + 1) / 2 + 1);
    float *scale = rt_allocate((size_t)(at.blocks + 1) * sizeof *scale);
    weight_files_read(files, found, 0,
                      (found.tensor->end - found.tensor->begin) / found.tensor->element_bytes, codes);
    if (packing.group) {
        unsigned char *code = rt_allocate((size_t)at.blocks + 1);
        float *group_scale = rt_allocate((size_t)(at.groups + 1) * sizeof *group_scale);
        char *text;
        const float offset = (float)state_of(files, found, &text).offset;
        free(text);
        weight_files_read(files, beside(files, found, "absmax"), 0, at.blocks, code);
        weight_files_read(files, beside(files, found, "nested_absmax"), 0, at.groups, group_scale);
        rt_nf4_scales(code, group_scale, offset, at.blocks, scale);
        free(code), free(group_scale);
    } else {
        weight_files_read(files, beside(files, found, "absmax"), 0, at.blocks, scale);
    }
    rt_nf4_values(codes, scale, count, x);
    free(codes), free(scale);
}
