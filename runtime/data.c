/* Training data: a text file's bytes, raw 16 or 32 bit tokens, or llm.c's shards, cut into windows of T+1
 * tokens, T apart, each read when it is wanted: a file that is cut short meanwhile is an error, not a fault
 * of the memory it would be mapped to. A window is found by a counter alone: epoch = position / count picks
 * the key of a permutation of [0, count), so a data cursor is one number and resuming needs no history. Every
 * token handed out is below the vocabulary. Little-endian files on little-endian machines. What is not cut
 * into windows but into documents is read by documents.c. */
#include "internal.h"
#include "documents_format.h"
#include "../kernels/random.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* llm.c's header: 256 int32: magic, version, tokens, zeros. GPT-2 shards hold uint16, Llama-3 shards uint32.
 */
enum { LLMC_HEADER_BYTES = 1024, LLMC_GPT2 = 20240520, LLMC_LLAMA3 = 20240801 };
enum { LLMC_GPT2_VERSION = 1, LLMC_LLAMA3_VERSION = 7 };
static const int64_t scan_tokens = INT64_C(1) << 28; /* checked at the start; the rest when handed out */
enum { SCAN_BLOCK = RT_DATA_BLOCK / 4 };             /* tokens */

/* Shards stay open, but for so many that descriptors could run out: data and validation take a
 * quarter each of what the process may have. */
static int64_t most_open(void) {
    enum { MOST_OPEN = 200 };
    long allowed = sysconf(_SC_OPEN_MAX);
    return allowed > 3 && allowed / 4 < MOST_OPEN ? allowed / 4 : MOST_OPEN;
}

static _Noreturn void cannot_read(const RtShard *shard, const RtError *error) {
    rt_fail(RT_EXIT_IO, "data: '%s': %s", shard->path, error->text);
}

/* Opens a shard, again where it was closed meanwhile: then it must be the same file. */
static void open_file(RtData *data, RtShard *shard) {
    struct stat status;
    RtError error;
    shard->fd = rt_open_regular(shard->path, &status, &error);
    if (shard->fd < 0) rt_fail(RT_EXIT_IO, "data: cannot open '%s': %s", shard->path, error.text);
    if (shard->bytes && (status.st_dev != shard->device || status.st_ino != shard->inode))
        rt_fail(RT_EXIT_IO, "data: '%s' was replaced by another file while it was read", shard->path);
    shard->device = status.st_dev;
    shard->inode = status.st_ino;
    if (!shard->bytes) shard->bytes = status.st_size;
    RtShard **slot = &data->open[data->opened++ % data->most_open];
    if (*slot) {
        close((*slot)->fd);
        (*slot)->fd = -1;
    }
    *slot = shard;
}

void rt_data_reopen(RtData *data, RtShard *shard) {
    if (shard->fd < 0) open_file(data, shard);
}

void rt_data_read(RtData *data, RtShard *shard, int64_t offset, int64_t bytes) {
    RtError error;
    rt_data_reopen(data, shard);
    if (rt_read_at(shard->fd, data->buffer, bytes, offset, &error)) return;
    if (error.reason) cannot_read(shard, &error);
    rt_fail(RT_EXIT_IO, "data: '%s' had %lld bytes and was cut short while it was read", shard->path,
            (long long)shard->bytes);
}

/* A program that masks nothing, and lets tokens of one document see another, would train on the wrong thing.
 */
static void refuse_documents(RtData *data, RtShard *shard) {
    if (shard->bytes < DOCUMENTS_MAGIC_BYTES) return;
    rt_data_read(data, shard, 0, DOCUMENTS_MAGIC_BYTES);
    if (documents_magic(data->buffer))
        rt_fail(
            RT_EXIT_IO,
            "data: '%s' holds documents, and this program was not made for them: write data { train \"..\" "
            "documents } and compile again",
            shard->path);
}

/* llm.c by its magic, then by the name: .bin and .u16 are raw uint16 (uint32 where the vocabulary needs it),
 * .u32 is raw uint32, anything else is bytes. */
static int guess_format(RtData *data, RtShard *shard) {
    int32_t magic = 0;
    if (shard->bytes >= LLMC_HEADER_BYTES) {
        rt_data_read(data, shard, 0, sizeof magic);
        memcpy(&magic, data->buffer, sizeof magic);
    }
    if (magic == LLMC_GPT2 || magic == LLMC_LLAMA3) return RT_LLMC;
    if (rt_ends_in(shard->path, ".u32")) return RT_U32;
    if (rt_ends_in(shard->path, ".u16") || rt_ends_in(shard->path, ".bin"))
        return data->vocab > 65536 ? RT_U32 : RT_U16;
    return RT_BYTES;
}

static void read_llmc(RtData *data, RtShard *shard) {
    int32_t header[3] = {0, 0, 0};
    if (shard->bytes < LLMC_HEADER_BYTES)
        rt_fail(RT_EXIT_IO, "data: '%s' is too short for the header of llm.c's format", shard->path);
    rt_data_read(data, shard, 0, sizeof header);
    memcpy(header, data->buffer, sizeof header);
    int gpt2 = header[0] == LLMC_GPT2 && header[1] == LLMC_GPT2_VERSION;
    int llama3 = header[0] == LLMC_LLAMA3 && header[1] == LLMC_LLAMA3_VERSION;
    if (!gpt2 && !llama3)
        rt_fail(RT_EXIT_IO, "data: '%s' is not of llm.c's format: magic %d version %d", shard->path,
                header[0], header[1]);
    shard->token_bytes = gpt2 ? 2 : 4;
    shard->first_byte = LLMC_HEADER_BYTES;
    shard->tokens = header[2];
    int64_t held = (shard->bytes - LLMC_HEADER_BYTES) / shard->token_bytes;
    if (shard->tokens < 0 || shard->tokens > held)
        rt_fail(RT_EXIT_IO, "data: '%s' promises %lld tokens but holds %lld: is it cut short?", shard->path,
                (long long)shard->tokens, (long long)held);
}

static int64_t token_at(const unsigned char *from, int token_bytes, int64_t index) {
    if (token_bytes == 1) return from[index];
    if (token_bytes == 2) {
        uint16_t token;
        memcpy(&token, from + 2 * index, sizeof token);
        return token;
    }
    uint32_t token;
    memcpy(&token, from + 4 * index, sizeof token);
    return token;
}

/* A loop for each size, so that it is a few instructions for many tokens. */
static int64_t largest_token(const unsigned char *from, int token_bytes, int64_t count) {
    uint32_t largest = 0;
    if (token_bytes == 2) {
        const uint16_t *token = (const uint16_t *)(const void *)from;
        uint16_t most = 0;
        for (int64_t i = 0; i < count; i++) most = token[i] > most ? token[i] : most;
        return most;
    }
    if (token_bytes == 4) {
        const uint32_t *token = (const uint32_t *)(const void *)from;
        for (int64_t i = 0; i < count; i++) largest = token[i] > largest ? token[i] : largest;
        return largest;
    }
    for (int64_t i = 0; i < count; i++) largest = from[i] > largest ? from[i] : largest;
    return largest;
}

int64_t rt_data_token(const RtData *data, const RtShard *shard, int64_t index) {
    return token_at(data->buffer, shard->token_bytes, index);
}

void rt_data_check_tokens(const RtData *data, const RtShard *shard, int64_t begin, int64_t count) {
    int size = shard->token_bytes;
    if (data->vocab >= INT64_C(1) << (8 * size)) return;
    if (largest_token(data->buffer, size, count) < data->vocab) return;
    int64_t at = 0;
    while (token_at(data->buffer, size, at) < data->vocab) at++;
    rt_fail(RT_EXIT_IO, "data: '%s': token %lld at position %lld is outside the vocabulary of %lld",
            shard->path, (long long)token_at(data->buffer, size, at), (long long)(begin + at),
            (long long)data->vocab);
}

void rt_data_read_tokens(RtData *data, RtShard *shard, int64_t begin, int64_t count) {
    int size = shard->token_bytes;
    rt_data_read(data, shard, shard->first_byte + begin * size, count * size);
    rt_data_check_tokens(data, shard, begin, count);
}

/* At the start, as far as that is quick; the rest is checked when it is handed out. */
static void check_tokens(RtData *data, RtShard *shard) {
    if (data->vocab >= INT64_C(1) << (8 * shard->token_bytes)) return;
    int64_t count = shard->tokens < scan_tokens ? shard->tokens : scan_tokens;
    for (int64_t begin = 0; begin < count; begin += SCAN_BLOCK)
        rt_data_read_tokens(data, shard, begin, begin + SCAN_BLOCK < count ? SCAN_BLOCK : count - begin);
}

static void open_shard(RtData *data, RtShard *shard, char *path, int format) {
    *shard = (RtShard){.path = path, .fd = -1};
    open_file(data, shard);
    if (!shard->bytes) rt_fail(RT_EXIT_IO, "data: '%s' is empty", path);
    if (format != RT_DOCUMENTS && format != RT_TEXT) refuse_documents(data, shard);
    int chosen = format == RT_AUTO ? guess_format(data, shard) : format;
    if (data->format != RT_AUTO && data->format != chosen)
        rt_fail(RT_EXIT_IO, "data: '%s' has another format than '%s'", path, data->shard[0].path);
    data->format = chosen;
    if (chosen == RT_DOCUMENTS) {
        rt_documents_open(data, shard);
        return;
    }
    if (chosen == RT_LLMC) {
        read_llmc(data, shard);
    } else if (chosen == RT_TEXT) {
        rt_documents_open(data, shard);
    } else {
        shard->token_bytes = chosen == RT_BYTES ? 1 : chosen == RT_U16 ? 2 : 4;
        shard->tokens = shard->bytes / shard->token_bytes;
        if (shard->bytes % shard->token_bytes)
            rt_fail(RT_EXIT_IO, "data: '%s' has %lld bytes, no whole number of %d-byte tokens", path,
                    (long long)shard->bytes, shard->token_bytes);
    }
    if (chosen != RT_TEXT) check_tokens(data, shard); /* else all of them were */
    shard->windows = shard->tokens > data->context ? (shard->tokens - 1) / data->context : 0;
    data->windows += shard->windows;
}

/* The files of a pattern, or the one that is called so. */
static char **find_paths(const char *path, int *count) {
    glob_t found = {0};
    int pattern = access(path, F_OK) != 0 && strpbrk(path, "*?[") != NULL;
    int answer = pattern ? glob(path, 0, NULL, &found) : 0;
    if (answer == GLOB_NOMATCH) rt_fail(RT_EXIT_IO, "data: no file matches '%s'", path);
    if (answer) rt_fail(RT_EXIT_IO, "data: the files of '%s' cannot be listed", path);
    *count = pattern ? (int)found.gl_pathc : 1;
    char **paths = rt_allocate((size_t)*count * sizeof *paths);
    for (int i = 0; i < *count; i++) paths[i] = rt_text("%s", pattern ? found.gl_pathv[i] : path);
    if (pattern) globfree(&found);
    return paths;
}

void rt_data_open(RtData *data, const char *path, int format, int64_t batch, int64_t context, int64_t vocab) {
    *data = (RtData){.context = context, .vocab = vocab, .format = RT_AUTO};
    char **paths = find_paths(path, &data->shards);
    int64_t window = 4 * (context + 1), block = RT_DATA_BLOCK;
    data->shard = rt_allocate((size_t)data->shards * sizeof *data->shard);
    data->most_open = most_open();
    data->open = rt_allocate((size_t)data->most_open * sizeof *data->open);
    data->buffer = rt_allocate((size_t)(window > block ? window : block));
    for (int i = 0; i < data->shards; i++) open_shard(data, &data->shard[i], paths[i], format);
    free(paths);
    data->count = data->windows;
    if (data->format == RT_DOCUMENTS) {
        if (!data->windows) rt_fail(RT_EXIT_IO, "data: '%s' has no document of two tokens or more", path);
    } else if (data->windows < batch) {
        int64_t tokens = 0;
        for (int i = 0; i < data->shards; i++) tokens += data->shard[i].tokens;
        rt_fail(RT_EXIT_IO, "data: '%s' has %lld tokens; a batch of %lld rows of %lld needs at least %lld",
                path, (long long)tokens, (long long)batch, (long long)context,
                (long long)(batch * context + 1));
    }
}

void rt_data_split(RtData *train, RtData *validate, double fraction, int64_t batch) {
    int64_t held = (int64_t)((double)train->windows * fraction + 0.5);
    int documents = train->format == RT_DOCUMENTS;
    if (held < 1) held = 1;
    if (documents && train->windows - held < 1)
        rt_fail(RT_EXIT_IO, "data: '%s' has %lld documents: too few to hold %g of them back",
                train->shard[0].path, (long long)train->windows, fraction);
    if (!documents && train->windows - held < batch)
        rt_fail(RT_EXIT_IO,
                "data: '%s' has %lld windows of %lld tokens: too few to hold %g of them back and fill a "
                "batch of %lld",
                train->shard[0].path, (long long)train->windows, (long long)train->context, fraction,
                (long long)batch);
    rt_documents_close(train, 1); /* rows were those of the whole */
    *validate = *train;
    train->count = train->windows - held;
    validate->first = train->count;
    validate->count = held;
}

void rt_data_close(RtData *data) {
    rt_documents_close(data, data->first > 0);
    if (data->first > 0) return; /* the files are those of what it was split off */
    for (int i = 0; i < data->shards; i++) {
        if (data->shard[i].fd >= 0) close(data->shard[i].fd);
        free(data->shard[i].path);
    }
    free(data->shard);
    free(data->open);
    free(data->buffer);
    *data = (RtData){0};
}

int rt_data_holds(const RtData *data, uint64_t device, uint64_t inode) {
    for (int i = 0; i < data->shards; i++)
        if (data->shard[i].device == device && data->shard[i].inode == inode) return 1;
    return 0;
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

void rt_data_window(RtData *data, int64_t window, int32_t *tokens, int32_t *targets) {
    RtShard *shard = data->shard;
    for (window += data->first; window >= shard->windows; shard++) window -= shard->windows;
    rt_data_read_tokens(data, shard, window * data->context, data->context + 1);
    for (int64_t i = 0; i <= data->context; i++) {
        int32_t token = (int32_t)token_at(data->buffer, shard->token_bytes, i);
        if (i < data->context) tokens[i] = token;
        if (i > 0) targets[i - 1] = token;
    }
}
