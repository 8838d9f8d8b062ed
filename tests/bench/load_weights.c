/* How fast weights are loaded: matrices of GPT-2 XL's sizes from a file in the page cache, as they lie and
 * turned, beside reading the same bytes and doing nothing with them.
 *     bench_load_weights [layers]       of 123 MB each in f32; 8 unless given */
#include "runtime/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 1600, MATRICES = 4, MOST = 48 * MATRICES, RUNS = 3 };
static const int64_t shape[MATRICES][2] = {{4800, 1600}, {1600, 1600}, {6400, 1600}, {1600, 6400}};

static RtTensor tensor[MOST];
static int turned[MOST];

/* The tensors of that file, as [in, out] where they are to be turned. Every element is its number, roughly.
 */
static void write_file(const char *path, const char *dtype, int bytes, int turn, int count) {
    char *header = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&header, &length), *file = fopen(path, "wb");
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const int64_t *dim = tensor[i].dim;
        fprintf(text, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%lld,%lld],\"data_offsets\":[%lld,%lld]}",
                i ? "," : "{", tensor[i].name, dtype, (long long)dim[turn], (long long)dim[!turn],
                (long long)at, (long long)(at + dim[0] * dim[1] * bytes));
        at += dim[0] * dim[1] * bytes;
    }
    fputc('}', text);
    fclose(text);
    char *chunk = rt_allocate(RT_CHUNK_BYTES);
    for (int i = 0; i < RT_CHUNK_BYTES / 4; i++) ((float *)chunk)[i] = (float)i;
    for (int i = 0; i < 8; i++) fputc((int)(length >> 8 * i & 255), file);
    fwrite(header, 1, length, file);
    for (; at > 0; at -= RT_CHUNK_BYTES) fwrite(chunk, 1, (size_t)fmin((double)at, RT_CHUNK_BYTES), file);
    if (ferror(file) || fclose(file)) rt_fail(RT_EXIT_IO, "cannot write '%s'", path);
    free(header), free(chunk);
}

static double read_alone(const char *path, void *chunk) {
    StFile file;
    RtError error;
    if (!st_open(&file, path, &error)) rt_fail(RT_EXIT_IO, "%s", error.text);
    double began = rt_seconds();
    for (int64_t at = 0; at < file.data_bytes; at += RT_CHUNK_BYTES / 4)
        if (!rt_read_at(file.fd, chunk, (int64_t)fmin((double)(file.data_bytes - at), RT_CHUNK_BYTES / 4),
                        file.data_offset + at, &error))
            rt_fail(RT_EXIT_IO, "%s", error.text);
    double seconds = rt_seconds() - began;
    st_close(&file);
    return seconds;
}

int main(int argc, char **argv) {
    static const struct {
        const char *dtype;
        int bytes, to;
    } type[] = {{"F32", 4, K_F32}, {"BF16", 2, K_BF16}, {"F16", 2, K_F32}};
    rt_device_prepare(argv);
    int layers = argc > 1 ? atoi(argv[1]) : 8, count = layers * MATRICES;
    if (layers < 1 || count > MOST) rt_fail(RT_EXIT_USAGE, "1 to %d layers", MOST / MATRICES);
    int64_t elements = 0;
    for (int i = 0; i < count; i++) {
        const int64_t *dim = shape[i % MATRICES];
        tensor[i] = (RtTensor){.name = rt_text("h.%d.%d", i / MATRICES, i % MATRICES),
                               .kind = RT_PARAM,
                               .rank = 2,
                               .dim = {dim[0], dim[1]},
                               .offset = elements * 4,
                               .of = i};
        turned[i] = i;
        elements += dim[0] * dim[1];
    }
    RtRun run = {.arena = rt_device_alloc(elements * 4)};
    memset(run.arena, 0, (size_t)(elements * 4));
    char *chunk = rt_allocate(RT_CHUNK_BYTES), path[] = "bench-weights.safetensors";
    for (size_t t = 0; t < sizeof type / sizeof *type; t++) {
        double best[3] = {1e9, 1e9, 1e9}, gigabytes = (double)(elements * type[t].bytes) / 1e9;
        for (int i = 0; i < count; i++) tensor[i].dtype = type[t].to;
        for (int turn = 0; turn < 2; turn++) {
            RtProgram program = {.tensor = tensor,
                                 .tensors = count,
                                 .transposed = turned,
                                 .transposed_count = turn ? count : 0};
            write_file(path, type[t].dtype, type[t].bytes, turn, count);
            for (int i = 0; i < RUNS; i++) {
                double began = rt_seconds();
                rt_weights_load(&run, &program, path, 0, chunk, 1);
                best[turn] = fmin(best[turn], rt_seconds() - began);
                best[2] = fmin(best[2], read_alone(path, chunk));
            }
        }
        printf("%-4s to %s: read %.2f GB/s, as it lies %.2f GB/s, turned %.2f GB/s\n", type[t].dtype,
               type[t].to == K_F32 ? "f32" : "bf16", gigabytes / best[2], gigabytes / best[0],
               gigabytes / best[1]);
    }
    unlink(path);
    return 0;
}
