/* Training data: a text file's bytes, raw 16 or 32 bit tokens, or llm.c's shards, mapped read-only and cut
 * into windows of T+1 tokens, T apart. A window is found by a counter alone: epoch = position / count picks
 * the key of a permutation of [0, count), so a data cursor is one number and resuming needs no history. Every
 * token handed out is below the vocabulary. Little-endian files on little-endian machines. */
#include "internal.h"
#include "../kernels/random.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* llm.c's header: 256 int32: magic, version, tokens, zeros. GPT-2 shards hold uint16, Llama-3 shards uint32.
 */
enum { LLMC_HEADER_BYTES = 1024, LLMC_GPT2 = 20240520, LLMC_LLAMA3 = 20240801 };
enum { LLMC_GPT2_VERSION = 1, LLMC_LLAMA3_VERSION = 7 };
static const int64_t scan_tokens = INT64_C(1) << 28; /* checked at the start; the rest when handed out */

static void map_file(RtShard *shard, char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) rt_fail(RT_EXIT_IO, "data: cannot open '%s': %s", path, strerror(errno));
    struct stat status;
    if (fstat(fd, &status) != 0) rt_fail(RT_EXIT_IO, "data: '%s': %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode)) rt_fail(RT_EXIT_IO, "data: '%s' is not a regular file", path);
    if (status.st_size == 0) rt_fail(RT_EXIT_IO, "data: '%s' is empty", path);
    shard->path = path;
    shard->map_bytes = status.st_size;
    shard->map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (shard->map == MAP_FAILED) rt_fail(RT_EXIT_IO, "data: cannot map '%s': %s", path, strerror(errno));
    close(fd);
}

static int has_suffix(const char *path, const char *suffix) {
    size_t length = strlen(path), tail = strlen(suffix);
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

/* llm.c by its magic, then by the name: .bin and .u16 are raw uint16 (uint32 where the vocabulary needs it),
 * .u32 is raw uint32, anything else is bytes. */
static int guess_format(const RtShard *shard, int64_t vocab) {
    int32_t magic = 0;
    if (shard->map_bytes >= LLMC_HEADER_BYTES) memcpy(&magic, shard->map, sizeof magic);
    if (magic == LLMC_GPT2 || magic == LLMC_LLAMA3) return RT_LLMC;
    if (has_suffix(shard->path, ".u32")) return RT_U32;
    if (has_suffix(shard->path, ".u16") || has_suffix(shard->path, ".bin"))
        return vocab > 65536 ? RT_U32 : RT_U16;
    return RT_BYTES;
}

static void read_llmc(RtShard *shard) {
    int32_t header[3] = {0, 0, 0};
    if (shard->map_bytes < LLMC_HEADER_BYTES)
        rt_fail(RT_EXIT_IO, "data: '%s' is too short for the header of llm.c's format", shard->path);
    memcpy(header, shard->map, sizeof header);
    int gpt2 = header[0] == LLMC_GPT2 && header[1] == LLMC_GPT2_VERSION;
    int llama3 = header[0] == LLMC_LLAMA3 && header[1] == LLMC_LLAMA3_VERSION;
    if (!gpt2 && !llama3)
        rt_fail(RT_EXIT_IO, "data: '%s' is not of llm.c's format: magic %d version %d", shard->path,
                header[0], header[1]);
    shard->token_bytes = gpt2 ? 2 : 4;
    shard->data = (const unsigned char *)shard->map + LLMC_HEADER_BYTES;
    shard->tokens = header[2];
    int64_t held = (shard->map_bytes - LLMC_HEADER_BYTES) / shard->token_bytes;
    if (shard->tokens < 0 || shard->tokens > held)
        rt_fail(RT_EXIT_IO, "data: '%s' promises %lld tokens but holds %lld: is it cut short?", shard->path,
                (long long)shard->tokens, (long long)held);
}

static int64_t token_at(const RtShard *shard, int64_t index) {
    if (shard->token_bytes == 1) return shard->data[index];
    if (shard->token_bytes == 2) {
        uint16_t token;
        memcpy(&token, shard->data + 2 * index, sizeof token);
        return token;
    }
    uint32_t token;
    memcpy(&token, shard->data + 4 * index, sizeof token);
    return token;
}

static _Noreturn void token_too_large(const RtShard *shard, int64_t index, int64_t vocab) {
    rt_fail(RT_EXIT_IO, "data: '%s': token %lld at position %lld is outside the vocabulary of %lld",
            shard->path, (long long)token_at(shard, index), (long long)index, (long long)vocab);
}

static void check_tokens(const RtShard *shard, int64_t vocab) {
    if (vocab >= INT64_C(1) << (8 * shard->token_bytes)) return;
    int64_t count = shard->tokens < scan_tokens ? shard->tokens : scan_tokens;
    for (int64_t begin = 0; begin < count; begin += 65536) {
        int64_t end = begin + 65536 < count ? begin + 65536 : count, largest = 0;
        for (int64_t i = begin; i < end; i++) {
            int64_t token = token_at(shard, i);
            largest = token > largest ? token : largest;
        }
        if (largest < vocab) continue;
        for (int64_t i = begin; i < end; i++)
            if (token_at(shard, i) >= vocab) token_too_large(shard, i, vocab);
    }
}

static void open_shard(RtData *data, RtShard *shard, char *path, int format) {
    map_file(shard, path);
    int chosen = format == RT_AUTO ? guess_format(shard, data->vocab) : format;
    if (data->format != RT_AUTO && data->format != chosen)
        rt_fail(RT_EXIT_IO, "data: '%s' has another format than '%s'", path, data->shard[0].path);
    data->format = chosen;
    if (chosen == RT_LLMC) {
        read_llmc(shard);
    } else {
        shard->token_bytes = chosen == RT_BYTES ? 1 : chosen == RT_U16 ? 2 : 4;
        shard->data = shard->map;
        shard->tokens = shard->map_bytes / shard->token_bytes;
        if (shard->map_bytes % shard->token_bytes)
            rt_fail(RT_EXIT_IO, "data: '%s' has %lld bytes, no whole number of %d-byte tokens", path,
                    (long long)shard->map_bytes, shard->token_bytes);
    }
    check_tokens(shard, data->vocab);
    shard->windows = shard->tokens > data->context ? (shard->tokens - 1) / data->context : 0;
    data->windows += shard->windows;
}

void rt_data_open(RtData *data, const char *path, int format, int64_t batch, int64_t context, int64_t vocab) {
    *data = (RtData){.context = context, .vocab = vocab, .format = RT_AUTO};
    glob_t found = {0};
    int pattern = access(path, F_OK) != 0 && strpbrk(path, "*?[") != NULL;
    if (pattern && glob(path, 0, NULL, &found) != 0) rt_fail(RT_EXIT_IO, "data: no file matches '%s'", path);
    data->shards = pattern ? (int)found.gl_pathc : 1;
    data->shard = rt_allocate((size_t)data->shards * sizeof *data->shard);
    for (int i = 0; i < data->shards; i++)
        open_shard(data, &data->shard[i], rt_text("%s", pattern ? found.gl_pathv[i] : path), format);
    if (pattern) globfree(&found);
    data->count = data->windows;
    if (data->windows < batch) {
        int64_t tokens = 0;
        for (int i = 0; i < data->shards; i++) tokens += data->shard[i].tokens;
        rt_fail(RT_EXIT_IO, "data: '%s' has %lld tokens; a batch of %lld rows of %lld needs at least %lld",
                path, (long long)tokens, (long long)batch, (long long)context,
                (long long)(batch * context + 1));
    }
}

void rt_data_split(RtData *train, RtData *validate, double fraction, int64_t batch) {
    int64_t held = (int64_t)((double)train->windows * fraction + 0.5);
    if (held < 1) held = 1;
    if (train->windows - held < batch)
        rt_fail(RT_EXIT_IO,
                "data: '%s' has %lld windows of %lld tokens: too few to hold %g of them back and fill a "
                "batch of %lld",
                train->shard[0].path, (long long)train->windows, (long long)train->context, fraction,
                (long long)batch);
    *validate = *train;
    train->count = train->windows - held;
    validate->first = train->count;
    validate->count = held;
}

void rt_data_close(RtData *data) {
    for (int i = 0; i < data->shards; i++) {
        munmap(data->shard[i].map, (size_t)data->shard[i].map_bytes);
        free(data->shard[i].path);
    }
    free(data->shard);
    *data = (RtData){0};
}

/* A balanced Feistel network over the next even power of two, walked until it lands inside the range
 * (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). */
static int64_t permute(uint64_t key, int64_t index, int64_t count) {
    int half = 1;
    while ((INT64_C(1) << (2 * half)) < count) half++;
    uint64_t mask = (UINT64_C(1) << half) - 1, value = (uint64_t)index;
    do {
        uint64_t left = value >> half, right = value & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint64_t next = left ^ (k_mix(key ^ (round << 58) ^ right) & mask);
            left = right;
            right = next;
        }
        value = left << half | right;
    } while (value >= (uint64_t)count);
    return (int64_t)value;
}

int64_t rt_data_shuffle(uint64_t seed, int64_t position, int64_t count) {
    enum { STREAM = 0x64617461 };
    return permute(k_random_key(seed, position / count, 0, STREAM), position % count, count);
}

void rt_data_window(const RtData *data, int64_t window, int32_t *tokens, int32_t *targets) {
    const RtShard *shard = data->shard;
    for (window += data->first; window >= shard->windows; shard++) window -= shard->windows;
    int64_t begin = window * data->context;
    for (int64_t i = 0; i <= data->context; i++) {
        int64_t token = token_at(shard, begin + i);
        if (token >= data->vocab) token_too_large(shard, begin + i, data->vocab);
        if (i < data->context) tokens[i] = (int32_t)token;
        if (i > 0) targets[i - 1] = (int32_t)token;
    }
}
