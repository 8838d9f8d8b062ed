/* publish CHECKPOINT FOLDER SHARDS [PREFIX]: the weights of a trainer's checkpoint as a published model has
 * them: names with a prefix, GPT-2's matrices as [in, out], in model.safetensors, or in shards with an index
 * where there are several. */
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Weights number `shard`, `shard` + `shards`, .. of the checkpoint. Frees `path`. */
static void write_shard(const StFile *file, char *path, int shard, int shards, const char *prefix) {
    char *header = NULL;
    size_t header_bytes = 0;
    FILE *text = open_memstream(&header, &header_bytes), *to = fopen(path, "wb");
    if (!text || !to) rt_fail(1, "cannot write %s", path);
    fprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    int64_t at = 0;
    for (int i = 0, n = 0; i < file->tensors; i++) {
        const StTensor *tensor = &file->tensor[i];
        if (!is_weight(tensor->name) || n++ % shards != shard) continue;
        int64_t dim[K_MAX_RANK], bytes = tensor->end - tensor->begin;
        char shape[128];
        memcpy(dim, tensor->dim, (size_t)tensor->rank * sizeof *dim);
        if (is_conv1d(tensor)) dim[0] = tensor->dim[1], dim[1] = tensor->dim[0];
        st_shape_text(shape, sizeof shape, tensor->rank, dim);
        fprintf(text, ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}", prefix,
                tensor->name, tensor->dtype, shape, (long long)at, (long long)(at + bytes));
        at += bytes;
    }
    fprintf(text, "}");
    fclose(text);
    for (int i = 0; i < 8; i++) fputc((int)(header_bytes >> 8 * i & 255), to);
    fwrite(header, 1, header_bytes, to);
    for (int i = 0, n = 0; i < file->tensors; i++) {
        const StTensor *tensor = &file->tensor[i];
        if (!is_weight(tensor->name) || n++ % shards != shard) continue;
        char *data = read_turned(file, tensor);
        fwrite(data, 1, (size_t)(tensor->end - tensor->begin), to);
        free(data);
    }
    if (ferror(to) || fclose(to) != 0) rt_fail(1, "cannot write %s", path);
    free(header);
    free(path);
}

int main(int argc, char **argv) {
    StFile file;
    RtError error;
    int shards = argc > 3 ? atoi(argv[3]) : 0;
    const char *prefix = argc > 4 ? argv[4] : "";
    if (shards < 1) rt_fail(2, "publish CHECKPOINT FOLDER SHARDS [PREFIX]");
    if (!st_open(&file, argv[1], &error)) rt_fail(1, "%s: %s", argv[1], error.text);
    if (shards == 1) {
        write_shard(&file, rt_text("%s/model.safetensors", argv[2]), 0, 1, prefix);
        st_close(&file);
        return 0;
    }
    char *path = rt_text("%s/model.safetensors.index.json", argv[2]);
    FILE *index = fopen(path, "w");
    if (!index) rt_fail(1, "cannot write %s", path);
    free(path);
    fprintf(index, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {",
            (long long)file.data_bytes);
    for (int i = 0, n = 0; i < file.tensors; i++) {
        if (!is_weight(file.tensor[i].name)) continue;
        fprintf(index, "%s\n    \"%s%s\": \"model-%05d-of-%05d.safetensors\"", n ? "," : "", prefix,
                file.tensor[i].name, n % shards + 1, shards);
        n++;
    }
    fprintf(index, "\n  }\n}\n");
    fclose(index);
    for (int i = 0; i < shards; i++)
        write_shard(&file, rt_text("%s/model-%05d-of-%05d.safetensors", argv[2], i + 1, shards), i, shards,
                    prefix);
    st_close(&file);
    return 0;
}
