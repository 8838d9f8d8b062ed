/* A folder with a good checkpoint of step 1 and the input as that of step 2. Either the input is believed,
 * and then its tensors are in the arena, or step 1 comes back bit for bit, or the trainer stops with a
 * message; step 1 is never lost. With REMAT_FUZZ_SEED=FILE: writes a good checkpoint of step 2 there, to
 * start a corpus from. */
#include "exits.h"
#include "folder.h"
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { ARENA_BYTES = 4096 };
static const RtTensor tensor[] = {
    {.name = "wte.weight", .kind = RT_PARAM, .dtype = K_BF16, .rank = 2, .dim = {4, 3}, .offset = 0, .of = 0},
    {.name = "ln.bias", .kind = RT_PARAM, .dtype = K_F32, .rank = 1, .dim = {5}, .offset = 256, .of = 1},
    {.name = "master.wte.weight",
     .kind = RT_MASTER,
     .dtype = K_F32,
     .rank = 2,
     .dim = {4, 3},
     .offset = 512,
     .of = 0},
    {.name = "m.wte.weight",
     .kind = RT_MOMENT1,
     .dtype = K_F32,
     .rank = 2,
     .dim = {4, 3},
     .offset = 768,
     .of = 0},
    {.name = "v.wte.weight",
     .kind = RT_MOMENT2,
     .dtype = K_F32,
     .rank = 2,
     .dim = {4, 3},
     .offset = 1024,
     .of = 0},
    {.name = "m.ln.bias", .kind = RT_MOMENT1, .dtype = K_F32, .rank = 1, .dim = {5}, .offset = 1280, .of = 1},
    {.name = "v.ln.bias", .kind = RT_MOMENT2, .dtype = K_F32, .rank = 1, .dim = {5}, .offset = 1536, .of = 1},
};
enum { TENSORS = sizeof tensor / sizeof *tensor };
static const RtProgram program = {
    .model = "tiny", .target = "host", .arena_bytes = ARENA_BYTES, .tensor = tensor, .tensors = TENSORS};
static char first[ARENA_BYTES], arena[ARENA_BYTES], chunk[RT_CHUNK_BYTES];
static const char *const name_1 = "step-000001.safetensors", *const name_2 = "step-000002.safetensors";

static void save(int64_t step, const char *path) {
    RtRun run = {.arena = arena};
    RtState state = {.step = step, .cursor = 4 * step, .seed = 7, .windows = 100};
    MUST(rt_checkpoint_write(path, &run, &program, &state, chunk));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const char *seed = getenv("REMAT_FUZZ_SEED");
    for (int i = 0; i < ARENA_BYTES; i++) first[i] = arena[i] = (char)(i * 7 + 1);
    if (seed) {
        save(2, seed);
        exit(0);
    }
    save(1, folder_file(name_1));
    return 0;
}

static RtState state;
static int found;

static void load(void *unused) {
    (void)unused;
    RtRun run = {.arena = arena};
    RtFolder folder;
    rt_folder_open(&folder, folder_path(), 0);
    found = rt_folder_load(&folder, &run, &program, &state, chunk);
    rt_folder_close(&folder);
}

/* What the arena holds of the tensors is what the file says. */
static void arena_is_file(void *path) {
    StFile file;
    RtError error = {{0}};
    MUST(st_open(&file, path, &error));
    for (int i = 0; i < TENSORS; i++) {
        const StTensor *in = st_find(&file, tensor[i].name);
        int64_t bytes = rt_tensor_bytes(&tensor[i]);
        MUST(in && in->end - in->begin == bytes && st_read(&file, in, 0, chunk, bytes, &error));
        MUST(memcmp(chunk, arena + tensor[i].offset, (size_t)bytes) == 0);
    }
    st_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    folder_put(name_2, bytes, count);
    memset(arena, 0x55, sizeof arena);
    found = 0;
    int code = run_to_exit(load, NULL);
    MUST(access(folder_file(name_1), R_OK) == 0);
    if (code == -1) {
        MUST(found == 1 && (state.step == 1 || state.step == 2) && state.cursor >= 0 && state.windows >= 0);
        char path[512];
        strcpy(path, folder_file(state.step == 2 ? name_2 : name_1));
        MUST(run_to_exit(arena_is_file, path) == -1);
        for (int i = 0; state.step == 1 && i < TENSORS; i++)
            MUST(!memcmp(first + tensor[i].offset, arena + tensor[i].offset,
                         (size_t)rt_tensor_bytes(&tensor[i])));
        MUST(state.step == 2 || (state.cursor == 4 && state.seed == 7 && state.windows == 100));
    } else {
        MUST(code == RT_EXIT_IO);
    }
    folder_clear(name_1);
    return 0;
}
