/* Every tensor of the base, with what was trained in its place: shards under the base's names, and their
 * index. */
#include "export.h"

#include <stdlib.h>

static const int64_t SHARD_BYTES = INT64_C(5000000000);

static const char *type_name(RtElement type) {
    return type == RT_ELEMENT_F32 ? "F32" : type == RT_ELEMENT_BF16 ? "BF16" : "F16";
}

/* Where the shard that begins with tensor `first` ends. */
static int shard_end(ExportTensor **order, int count, int first, int64_t most_bytes) {
    int64_t bytes = order[first]->bytes;
    int end = first + 1;
    while (end < count && bytes + order[end]->bytes <= most_bytes) bytes += order[end++]->bytes;
    return end;
}

static void put_shard(const Export *ex, ModelFolder *folder, const char *name, ExportTensor **order,
                      int first, int end) {
    char *header = NULL;
    size_t length = 0;
    int64_t at = 0;
    FILE *text = rt_text_open(&header, &length);
    fputs(export_metadata, text);
    for (int i = first; i < end; i++) {
        const ExportTensor *out = order[i];
        const StTensor *base = out->base.tensor;
        int copied = out->type == RT_ELEMENT_NONE;
        st_add_entry(text, base->name, copied ? base->dtype : type_name(out->type),
                     copied ? base->rank : out->rank, copied ? base->dim : out->dim, at, at + out->bytes);
        at += out->bytes;
    }
    st_close_header(text, &header);
    ExportFile to;
    export_file_begin(&to, folder, name, header, length);
    for (int i = first; i < end; i++) export_put_tensor(ex, order[i], &to);
    export_file_end(&to);
    free(header);
}

int64_t export_merged(const Export *ex, ModelFolder *folder, int64_t shard_bytes) {
    const int64_t most_bytes = shard_bytes ? shard_bytes : SHARD_BYTES;
    int count, shards = 0, shard = 0;
    int64_t sum = 0;
    char *index = NULL;
    size_t length = 0;
    ExportTensor **order = export_order(ex, &count);
    for (int i = 0; i < count; i++) sum += order[i]->bytes;
    for (int first = 0; first < count; shards++) first = shard_end(order, count, first, most_bytes);
    FILE *text = rt_text_open(&index, &length);
    fprintf(text, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {", (long long)sum);
    for (int first = 0, end; first < count; first = end) {
        end = shard_end(order, count, first, most_bytes);
        char *name = shards == 1 ? rt_text("model.safetensors")
                                 : rt_text("model-%05d-of-%05d.safetensors", ++shard, shards);
        put_shard(ex, folder, name, order, first, end);
        for (int i = first; i < end; i++) {
            char *quoted = rt_json_string(order[i]->base.tensor->name);
            fprintf(text, "%s\n    %s: \"%s\"", i ? "," : "", quoted, name);
            free(quoted);
        }
        free(name);
    }
    fprintf(text, "\n  }\n}\n");
    rt_text_close(text, &index);
    if (shards > 1) model_folder_put(folder, "model.safetensors.index.json", index, length);
    free(index), free(order);
    return sum;
}
