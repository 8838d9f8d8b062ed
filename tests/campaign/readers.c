/* What our readers say of files that a script makes: answers, one byte each, to records on standard input.
 *
 *     record   kind, 4 bytes of length (little-endian), so many bytes
 *     kind     s: a safetensors file
 *              i: model.safetensors.index.json beside two shards of a small model
 *              c: a config.json
 *     answer   y: accepted; n: refused, with a message
 *
 * Whatever else happens ends the process: an exit code that is no answer, a sanitizer's report. With -v the
 * messages go to standard error. */
#include "tests/campaign/fuzz/exits.h"
#include "tests/campaign/fuzz/folder.h"
#include "frontend/import/import.h"
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>

static const RtTensor tensor[] = {
    {.name = "a", .kind = RT_PARAM, .dtype = K_F32, .rank = 1, .dim = {1}, .offset = 0, .of = 0},
    {.name = "b", .kind = RT_PARAM, .dtype = K_F32, .rank = 2, .dim = {1, 2}, .offset = 256, .of = 1},
};
static const RtProgram program = {.model = "tiny", .target = "host", .tensor = tensor, .tensors = 2};
static char arena[512], chunk[RT_CHUNK_BYTES];

static void load(void *path) {
    RtRun run = {.arena = arena};
    rt_weights_load(&run, &program, path, 0, chunk, 1);
}

typedef struct Case {
    const char *bytes;
    size_t count;
    bool accepted, talks;
} Case;

static void read_header(void *argument) {
    Case *at = argument;
    StFile file;
    RtError error;
    at->accepted = st_open(&file, folder_file("case.safetensors"), &error);
    if (at->accepted) {
        for (int i = 0; i < file.tensors; i++) MUST(st_find(&file, file.tensor[i].name) == &file.tensor[i]);
        st_close(&file);
    } else {
        MUST(error.text[0]);
        if (at->talks) rt_say(stderr, "%s\n", error.text);
    }
}

static void read_config(void *argument) {
    Case *at = argument;
    Arena *scratch = arena_new();
    Import made;
    at->accepted = import_config(at->bytes, at->count, "m", "m", scratch, &made);
    MUST(at->accepted ? made.text && !made.error : !made.text && made.error);
    if (!at->accepted && at->talks) rt_say(stderr, "%s\n", made.error);
    arena_free(scratch);
}

static bool answer(char kind, Case *at) {
    if (kind == 's') {
        folder_put("case.safetensors", (const uint8_t *)at->bytes, at->count);
        MUST(run_to_exit(read_header, at) == -1);
        return at->accepted;
    }
    if (kind == 'c') {
        MUST(run_to_exit(read_config, at) == -1);
        return at->accepted;
    }
    folder_put("model.safetensors.index.json", (const uint8_t *)at->bytes, at->count);
    int code = run_to_exit(load, (void *)folder_path());
    MUST(code == -1 || code == RT_EXIT_IO);
    return code == -1;
}

static bool read_all(void *to, size_t bytes) {
    return fread(to, 1, bytes, stdin) == bytes;
}

int main(int argc, char **argv) {
    bool talks = argc > 1 && !strcmp(argv[1], "-v");
    unsigned char head[5];
    if (!talks && !freopen("/dev/null", "w", stderr)) return 1;
    folder_put_shards();
    while (read_all(head, sizeof head)) {
        size_t count = head[1] | head[2] << 8 | head[3] << 16 | (size_t)head[4] << 24;
        char *bytes = malloc(count + 1);
        if (!bytes || !read_all(bytes, count)) return 1;
        Case at = {.bytes = bytes, .count = count, .talks = talks};
        putchar(answer((char)head[0], &at) ? 'y' : 'n');
        fflush(stdout);
        free(bytes);
    }
    return 0;
}
