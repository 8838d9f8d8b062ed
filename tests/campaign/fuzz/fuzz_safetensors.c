/* A safetensors file: its header, every tensor that it claims to have, and the weights of a small model from
 * it. */
#include "exits.h"
#include "folder.h"
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const RtTensor tensor[] = {
    {.name = "wte.weight", .kind = RT_PARAM, .dtype = K_F32, .rank = 2, .dim = {4, 3}, .offset = 0, .of = 0},
    {.name = "ln.bias", .kind = RT_PARAM, .dtype = K_BF16, .rank = 1, .dim = {5}, .offset = 256, .of = 1},
    {.name = "master.ln.bias",
     .kind = RT_MASTER,
     .dtype = K_F32,
     .rank = 1,
     .dim = {5},
     .offset = 512,
     .of = 1},
};
static const RtProgram program = {
    .model = "tiny", .target = "host", .arena_bytes = 1024, .tensor = tensor, .tensors = 3};
static char arena[1024], chunk[RT_CHUNK_BYTES];

static void read_all(void *path) {
    StFile file;
    RtError error;
    if (!st_open(&file, path, &error)) {
        MUST(error.text[0]);
        return;
    }
    for (int i = 0; i < file.tensors; i++) {
        const StTensor *one = &file.tensor[i];
        MUST(st_find(&file, one->name) != NULL);
        MUST(one->begin >= 0 && one->begin <= one->end && one->end <= file.data_bytes);
        MUST(file.order[i] >= 0 && file.order[i] < file.tensors);
        char shape[64];
        st_shape_text(shape, sizeof shape, one->rank, one->dim);
        for (int64_t at = 0, bytes = one->end - one->begin; at < bytes; at += RT_CHUNK_BYTES) {
            int64_t part = bytes - at < RT_CHUNK_BYTES ? bytes - at : RT_CHUNK_BYTES;
            MUST(st_read(&file, one, at, chunk, part, &error));
        }
    }
    for (int i = 0; i < file.pairs; i++) MUST(st_metadata(&file, file.pair[i].key) != NULL);
    st_close(&file);
}

static void load(void *path) {
    RtRun run = {.arena = arena};
    rt_weights_load(&run, &program, path, 0, chunk, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    folder_put("model.safetensors", bytes, count);
    char path[512];
    strcpy(path, folder_file("model.safetensors"));
    MUST(run_to_exit(read_all, path) == -1);
    int code = run_to_exit(load, path);
    MUST(code == -1 || code == RT_EXIT_IO);
    return 0;
}
