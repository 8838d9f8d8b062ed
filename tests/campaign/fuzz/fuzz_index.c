/* A model.safetensors.index.json beside two shards: the weights of a small model from the folder. */
#include "exits.h"
#include "folder.h"
#include "runtime/internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const RtTensor tensor[] = {
    {.name = "a", .kind = RT_PARAM, .dtype = K_F32, .rank = 1, .dim = {1}, .offset = 0, .of = 0},
    {.name = "b", .kind = RT_PARAM, .dtype = K_F32, .rank = 2, .dim = {2, 1}, .offset = 256, .of = 1},
};
static const int transposed[] = {1};
static const RtProgram program = {.model = "tiny",
                                  .target = "host",
                                  .arena_bytes = 512,
                                  .tensor = tensor,
                                  .tensors = 2,
                                  .transposed = transposed,
                                  .transposed_count = 1};
static char arena[512], chunk[RT_CHUNK_BYTES];

static void load(void *path) {
    RtRun run = {.arena = arena};
    rt_weights_load(&run, &program, path, 0, chunk, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static int shards;
    if (!shards++) folder_put_shards();
    folder_put("model.safetensors.index.json", bytes, count);
    memset(arena, 0, sizeof arena);
    int code = run_to_exit(load, (void *)folder_path());
    MUST(code == -1 || code == RT_EXIT_IO);
    float one;
    memcpy(&one, "xxxx", sizeof one);
    MUST(code != -1 || !memcmp(arena, &one, sizeof one)); /* what is accepted is the shards' */
    return 0;
}
