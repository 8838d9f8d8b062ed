/* publish CHECKPOINT FOLDER SHARDS [PREFIX [nf4|nf4_double]]: the weights of a trainer's checkpoint as a
 * published model has them: names with a prefix, GPT-2's matrices as [in, out], in model.safetensors, or in
 * shards with an index where there are several; Llama's matrices in 4 bits as bitsandbytes saves them. */
#include "runtime/quantize.h"
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Piece { /* of what is written */
    char *name, *shape;
    const char *dtype;
    void *data;
    int64_t bytes;
    int shard;
} Piece;

typedef struct Pieces {
    Piece at[4096];
    int count;
} Pieces;

static void add(Pieces *all, int shard, char *name, const char *dtype, char *shape, void *data,
                int64_t bytes) {
    if (all->count == (int)(sizeof all->at / sizeof *all->at)) rt_fail(1, "too many tensors");
    all->at[all->count++] = (Piece){name, shape, dtype, data, bytes, shard};
}

/* Of the kinds of a checkpoint's tensors, which are weights? */
static int is_weight(const char *name) {
    static const char *const state[] = {"m.", "v.", "master."};
    for (int i = 0; i < 3; i++)
        if (!strncmp(name, state[i], strlen(state[i]))) return 0;
    return 1;
}

static int is_conv1d(const StTensor *tensor) {
    static const char *const part[] = {".c_attn.weight", ".c_proj.weight", ".c_fc.weight"};
    for (int i = 0; i < 3; i++)
        if (tensor->rank == 2 && strstr(tensor->name, part[i])) return 1;
    return 0;
}

static char *read_turned(const StFile *file, const StTensor *tensor) {
    int64_t bytes = tensor->end - tensor->begin, size = tensor->element_bytes;
    char *data = rt_allocate((size_t)bytes + 1);
    RtError error;
    if (!st_read(file, tensor, 0, data, bytes, &error)) rt_fail(1, "%s", error.text);
    if (!is_conv1d(tensor)) return data;
    char *turned = rt_allocate((size_t)bytes + 1);
    for (int64_t r = 0; r < tensor->dim[0]; r++)
        for (int64_t c = 0; c < tensor->dim[1]; c++)
            memcpy(turned + (c * tensor->dim[0] + r) * size, data + (r * tensor->dim[1] + c) * size,
                   (size_t)size);
    free(data);
    return turned;
}

static char *shape_of(int rank, const int64_t *dim) {
    char shape[128];
    st_shape_text(shape, sizeof shape, rank, dim);
    return rt_text("%s", shape);
}

static void add_plain(Pieces *all, int shard, const char *prefix, const StFile *file,
                      const StTensor *tensor) {
    int64_t dim[K_MAX_RANK];
    memcpy(dim, tensor->dim, (size_t)tensor->rank * sizeof *dim);
    if (is_conv1d(tensor)) dim[0] = tensor->dim[1], dim[1] = tensor->dim[0];
    add(all, shard, rt_text("%s%s", prefix, tensor->name), tensor->dtype, shape_of(tensor->rank, dim),
        read_turned(file, tensor), tensor->end - tensor->begin);
}

static float *copy_of(const float *from, int count) {
    float *to = rt_allocate((size_t)count * sizeof *to);
    memcpy(to, from, (size_t)count * sizeof *to);
    return to;
}

/* See runtime/saved_nf4.h. */
static void add_nf4(Pieces *all, int shard, const char *prefix, const StFile *file, const StTensor *tensor,
                    int is_double) {
    static const float value[K_NF4_CODES] = K_NF4_VALUES;
    const int64_t count = tensor->elements, packed = (count + 1) / 2, blocks = (count + 63) / 64,
                  groups = (blocks + 255) / 256;
    char *x = read_turned(file, tensor), *name = rt_text("%s%s", prefix, tensor->name),
         *shape = shape_of(tensor->rank, tensor->dim), *nested = rt_text("%s", "");
    unsigned char *codes = rt_allocate((size_t)packed), *scale_codes = rt_allocate((size_t)blocks);
    float *scale = rt_allocate((size_t)blocks * sizeof *scale),
          *group_scale = rt_allocate((size_t)groups * sizeof *group_scale), map[256];
    if (strcmp(tensor->dtype, "F32") != 0) rt_fail(1, "%s is not F32", name);
    rt_nf4_quantize((const float *)(const void *)x, count, codes, scale);
    const float offset = rt_nf4_offset(scale, blocks);
    add(all, shard, rt_text("%s", name), "U8", rt_text("[%lld,1]", (long long)packed), codes, packed);
    add(all, shard, rt_text("%s.quant_map", name), "F32", rt_text("[16]"), copy_of(value, 16), 64);
    if (is_double) {
        rt_nf4_group(scale, blocks, offset, scale_codes, group_scale);
        for (int c = 0; c < 256; c++) map[c] = k_dynamic_value(1, c);
        add(all, shard, rt_text("%s.absmax", name), "U8", rt_text("[%lld]", (long long)blocks), scale_codes,
            blocks);
        add(all, shard, rt_text("%s.nested_absmax", name), "F32", rt_text("[%lld]", (long long)groups),
            group_scale, groups * 4);
        add(all, shard, rt_text("%s.nested_quant_map", name), "F32", rt_text("[256]"), copy_of(map, 256),
            1024);
        free(nested);
        nested =
            rt_text(", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": %.17g",
                    (double)offset);
        free(scale);
    } else {
        add(all, shard, rt_text("%s.absmax", name), "F32", rt_text("[%lld]", (long long)blocks), scale,
            blocks * 4);
        free(scale_codes), free(group_scale);
    }
    char *state =
        rt_text("{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float32\", \"shape\": %s%s}",
                shape, nested);
    add(all, shard, rt_text("%s.quant_state.bitsandbytes__nf4", name), "U8", rt_text("[%zu]", strlen(state)),
        state, (int64_t)strlen(state));
    free(x), free(name), free(shape), free(nested);
}

/* Frees `path`. */
static void write_shard(const Pieces *all, char *path, int shard) {
    char *header = NULL;
    size_t header_bytes = 0;
    FILE *text = open_memstream(&header, &header_bytes), *to = fopen(path, "wb");
    if (!text || !to) rt_fail(1, "cannot write %s", path);
    fprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    int64_t at = 0;
    for (int i = 0; i < all->count; i++) {
        const Piece *piece = &all->at[i];
        if (piece->shard != shard) continue;
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}", piece->name,
                piece->dtype, piece->shape, (long long)at, (long long)(at + piece->bytes));
        at += piece->bytes;
    }
    fprintf(text, "}");
    fclose(text);
    for (int i = 0; i < 8; i++) fputc((int)(header_bytes >> 8 * i & 255), to);
    fwrite(header, 1, header_bytes, to);
    for (int i = 0; i < all->count; i++)
        if (all->at[i].shard == shard) fwrite(all->at[i].data, 1, (size_t)all->at[i].bytes, to);
    if (ferror(to) || fclose(to) != 0) rt_fail(1, "cannot write %s", path);
    free(header);
    free(path);
}

static void write_index(const Pieces *all, const char *folder, int shards) {
    int64_t bytes = 0;
    for (int i = 0; i < all->count; i++) bytes += all->at[i].bytes;
    char *path = rt_text("%s/model.safetensors.index.json", folder);
    FILE *index = fopen(path, "w");
    if (!index) rt_fail(1, "cannot write %s", path);
    free(path);
    fprintf(index, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {", (long long)bytes);
    for (int i = 0; i < all->count; i++)
        fprintf(index, "%s\n    \"%s\": \"model-%05d-of-%05d.safetensors\"", i ? "," : "", all->at[i].name,
                all->at[i].shard + 1, shards);
    fprintf(index, "\n  }\n}\n");
    fclose(index);
}

int main(int argc, char **argv) {
    StFile file;
    RtError error;
    Pieces *all = rt_allocate(sizeof *all);
    int shards = argc > 3 ? atoi(argv[3]) : 0, next = 0;
    const char *prefix = argc > 4 ? argv[4] : "", *packed = argc > 5 ? argv[5] : "";
    if (shards < 1) rt_fail(2, "publish CHECKPOINT FOLDER SHARDS [PREFIX [nf4|nf4_double]]");
    if (!st_open(&file, argv[1], &error)) rt_fail(1, "%s: %s", argv[1], error.text);
    for (int i = 0; i < file.tensors; i++) {
        const StTensor *tensor = &file.tensor[i];
        if (!is_weight(tensor->name)) continue;
        int shard = next++ % shards;
        if (*packed && strstr(tensor->name, "_proj.weight"))
            add_nf4(all, shard, prefix, &file, tensor, !strcmp(packed, "nf4_double"));
        else
            add_plain(all, shard, prefix, &file, tensor);
    }
    if (shards > 1) write_index(all, argv[2], shards);
    for (int i = 0; i < shards; i++)
        write_shard(all,
                    shards == 1 ? rt_text("%s/model.safetensors", argv[2])
                                : rt_text("%s/model-%05d-of-%05d.safetensors", argv[2], i + 1, shards),
                    i);
    for (int i = 0; i < all->count; i++) free(all->at[i].name), free(all->at[i].shape), free(all->at[i].data);
    free(all);
    st_close(&file);
    return 0;
}
