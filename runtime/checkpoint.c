/* Checkpoints: DIR/step-000250.safetensors holds parameters, optimizer states, masters and, as metadata, the
 * counters that make the rest of the run a pure function of it. A file appears under its name only complete
 * and synced, and is believed only when its checksum (over header and data) says so; the directory is locked
 * while a trainer saves into it. Frozen weights and gradient sums are not saved: the former are loaded anew,
 * the latter are dead between steps.
 *
 *     .step-000250.safetensors.tmp --write, fsync--> rename --fsync(DIR)--> step-000250.safetensors */
#include "safetensors.h"
#include "../kernels/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char checksum_key[] = "\"checksum\":\"";
enum { CHECKSUM_DIGITS = 16 };

static int is_saved(const RtTensor *tensor) {
    return tensor->kind != RT_FROZEN && tensor->kind != RT_ACCUMULATOR;
}

/* Four lanes of multiply and rotate over 32 bytes at a time, then the finaliser of random.h. */
static uint64_t checksum(uint64_t seed, const void *data, int64_t bytes) {
    const unsigned char *at = data;
    uint64_t lane[4] = {seed, seed ^ 1, seed ^ 2, seed ^ 3}, word;
    int64_t i = 0;
    for (; i + 32 <= bytes; i += 32)
        for (int k = 0; k < 4; k++) {
            memcpy(&word, at + i + 8 * k, 8);
            lane[k] = (lane[k] ^ word) * 0x9e3779b97f4a7c15u;
            lane[k] = lane[k] << 29 | lane[k] >> 35;
        }
    for (; i < bytes; i++) lane[i & 3] = (lane[i & 3] ^ at[i]) * 0xbf58476d1ce4e5b9u;
    uint64_t sum = k_mix(seed ^ (uint64_t)bytes);
    for (int k = 0; k < 4; k++) sum = k_mix(sum ^ lane[k]) + 0x9e3779b97f4a7c15u;
    return sum;
}

/* ---- the directory ---- */

static int sync_directory(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

static void make_directories(const char *dir) {
    char *path = rt_text("%s", dir);
    for (char *at = path + 1; *path && *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            rt_fail(RT_EXIT_IO, "cannot make the folder '%s': %s", path, strerror(errno));
        *at = '/';
    }
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        rt_fail(RT_EXIT_IO, "cannot make the folder '%s': %s", path, strerror(errno));
    free(path);
}

/* The N of "step-N.safetensors", or -1. */
static int64_t step_of(const char *name) {
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
    char *end;
    errno = 0;
    long long step = strtoll(name + 5, &end, 10);
    return errno || strcmp(end, ".safetensors") != 0 ? -1 : step;
}

static int is_leftover(const char *name) {
    size_t length = strlen(name);
    return !strncmp(name, ".step-", 6) && length > 16 && !strcmp(name + length - 16, ".safetensors.tmp");
}

int rt_checkpoint_directory(const char *dir) {
    make_directories(dir);
    int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) rt_fail(RT_EXIT_IO, "cannot save into '%s': %s", dir, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        rt_fail(RT_EXIT_IO, "another trainer is saving into '%s'", dir);
    DIR *listing = opendir(dir);
    if (!listing) rt_fail(RT_EXIT_IO, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (struct dirent *entry; (entry = readdir(listing));)
        if (is_leftover(entry->d_name)) unlinkat(lock, entry->d_name, 0);
    closedir(listing);
    const char *probe = ".step-probe.safetensors.tmp";
    int fd = openat(lock, probe, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) rt_fail(RT_EXIT_IO, "cannot save into '%s': %s", dir, strerror(errno));
    close(fd);
    unlinkat(lock, probe, 0);
    return lock;
}

static int descending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

/* Steps of the checkpoints in dir, newest first; the caller frees them. */
static int64_t *list_steps(const char *dir, int *count) {
    int64_t *steps = NULL;
    int capacity = *count = 0;
    DIR *listing = opendir(dir);
    if (!listing) return NULL;
    for (struct dirent *entry; (entry = readdir(listing));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            int64_t *grown = realloc(steps, (size_t)capacity * sizeof *steps);
            if (!grown) rt_fail(RT_EXIT_MEMORY, "out of memory listing '%s'", dir);
            steps = grown;
        }
        steps[(*count)++] = step;
    }
    closedir(listing);
    if (*count) qsort(steps, (size_t)*count, sizeof *steps, descending);
    return steps;
}

static char *path_of(const char *dir, int64_t step) {
    return rt_text("%s/step-%06lld.safetensors", dir, (long long)step);
}

static void put_aside(const char *dir, int64_t step, const char *suffix) {
    char *path = path_of(dir, step), *aside = rt_text("%s.%s", path, suffix);
    if (rename(path, aside) != 0) rt_warn("cannot rename '%s': %s", path, strerror(errno));
    free(path);
    free(aside);
}

int64_t rt_checkpoint_newest(const char *dir, int set_aside) {
    int count;
    int64_t *steps = list_steps(dir, &count), newest = count ? steps[0] : -1;
    for (int i = 0; set_aside && i < count; i++) put_aside(dir, steps[i], "old");
    free(steps);
    return newest;
}

/* ---- writing ---- */

typedef struct Text {
    char *at;
    size_t length, capacity;
} Text;

static void put(Text *text, const char *piece, size_t length) {
    if (text->length + length + 1 > text->capacity) {
        text->capacity = 2 * (text->length + length + 1);
        char *grown = realloc(text->at, text->capacity);
        if (!grown) rt_fail(RT_EXIT_MEMORY, "out of memory for a checkpoint's header");
        text->at = grown;
    }
    memcpy(text->at + text->length, piece, length);
    text->length += length;
    text->at[text->length] = 0;
}

static void put_quoted(Text *text, const char *string) {
    put(text, "\"", 1);
    for (; *string; string++) {
        char escape[8];
        int length = *string == '"' || *string == '\\' ? snprintf(escape, sizeof escape, "\\%c", *string)
                     : (unsigned char)*string < 0x20   ? snprintf(escape, sizeof escape, "\\u%04x", *string)
                                                       : snprintf(escape, sizeof escape, "%c", *string);
        put(text, escape, (size_t)length);
    }
    put(text, "\"", 1);
}

static void build_header(Text *text, const RtProgram *program, const RtState *state) {
    char line[512], shape[128];
    int length =
        snprintf(line, sizeof line,
                 "{\"__metadata__\":{%s0000000000000000\",\"format\":\"pt\",\"remat_checkpoint\":\"1\","
                 "\"step\":\"%lld\",\"cursor\":\"%lld\",\"seed\":\"%llu\",\"windows\":\"%lld\",\"model\":",
                 checksum_key, (long long)state->step, (long long)state->cursor,
                 (unsigned long long)state->seed, (long long)state->windows);
    put(text, line, (size_t)length);
    put_quoted(text, program->model);
    put(text, "}", 1);
    int64_t begin = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_saved(tensor)) continue;
        int64_t end = begin + rt_tensor_bytes(tensor);
        put(text, ",", 1);
        put_quoted(text, tensor->name);
        st_shape_text(shape, sizeof shape, tensor->rank, tensor->dim);
        length = snprintf(line, sizeof line, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}",
                          st_dtype_name(tensor->dtype), shape, (long long)begin, (long long)end);
        put(text, line, (size_t)length);
        begin = end;
    }
    put(text, "}", 1);
    while (text->length % 8) put(text, " ", 1);
}

static int write_all(int fd, const void *from, int64_t bytes) {
    const char *at = from;
    while (bytes > 0) {
        ssize_t done = write(fd, at, (size_t)bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return 0;
        at += done;
        bytes -= done;
    }
    return 1;
}

static int write_tensors(int fd, const RtRun *run, const RtProgram *program, uint64_t *sum, void *chunk) {
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_saved(tensor)) continue;
        int64_t bytes = rt_tensor_bytes(tensor);
        for (int64_t at = 0; at < bytes; at += RT_CHUNK_BYTES) {
            int64_t part = bytes - at < RT_CHUNK_BYTES ? bytes - at : RT_CHUNK_BYTES;
            rt_device_download(chunk, run->arena + tensor->offset + at, part);
            *sum = checksum(*sum, chunk, part);
            if (!write_all(fd, chunk, part)) return 0;
        }
    }
    return 1;
}

static int write_file(const char *path, const RtRun *run, const RtProgram *program, const RtState *state,
                      void *chunk) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return 0;
    Text header = {0};
    build_header(&header, program, state);
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(header.length >> (8 * i));
    uint64_t sum = checksum(0, header.at, (int64_t)header.length);
    int good = write_all(fd, length, 8) && write_all(fd, header.at, (int64_t)header.length) &&
               write_tensors(fd, run, program, &sum, chunk);
    char digits[CHECKSUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)sum);
    off_t place = 8 + (strstr(header.at, checksum_key) - header.at) + (off_t)strlen(checksum_key);
    good = good && pwrite(fd, digits, CHECKSUM_DIGITS, place) == CHECKSUM_DIGITS && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && good) good = 0, reason = errno;
    free(header.at);
    errno = reason;
    return good;
}

static void remove_oldest(const char *dir, int64_t keep) {
    int count;
    int64_t *steps = list_steps(dir, &count);
    for (int64_t i = keep; keep > 0 && i < count; i++) {
        char *path = path_of(dir, steps[i]);
        if (unlink(path) != 0) rt_warn("cannot remove the old checkpoint '%s': %s", path, strerror(errno));
        free(path);
    }
    free(steps);
}

int rt_checkpoint_save(RtRun *run, const RtProgram *program, const char *dir, const RtState *state,
                       int64_t keep, void *chunk, RtError *error) {
    char *path = path_of(dir, state->step);
    char *aside = rt_text("%s/.step-%06lld.safetensors.tmp", dir, (long long)state->step);
    int good =
        write_file(aside, run, program, state, chunk) && rename(aside, path) == 0 && sync_directory(dir) == 0;
    if (!good) {
        rt_error(error, "cannot save the checkpoint '%s': %s; earlier checkpoints are untouched", path,
                 strerror(errno));
        unlink(aside);
    } else {
        remove_oldest(dir, keep);
    }
    free(path);
    free(aside);
    return good;
}

/* ---- reading ---- */

static int read_counter(const StFile *file, const char *key, uint64_t *value, RtError *error) {
    const char *text = st_metadata(file, key);
    char *end = NULL;
    errno = 0;
    if (text && *text >= '0' && *text <= '9') *value = strtoull(text, &end, 10);
    return (end && !*end && !errno) || rt_error(error, "its metadata lacks '%s'", key);
}

static int read_state(const StFile *file, RtState *state, RtError *error) {
    uint64_t step, cursor, windows;
    if (!read_counter(file, "remat_checkpoint", &step, error) || !read_counter(file, "step", &step, error) ||
        !read_counter(file, "cursor", &cursor, error) || !read_counter(file, "windows", &windows, error) ||
        !read_counter(file, "seed", &state->seed, error))
        return 0;
    state->step = (int64_t)step;
    state->cursor = (int64_t)cursor;
    state->windows = (int64_t)windows;
    return (state->step >= 0 && state->cursor >= 0 && state->windows >= 0) ||
           rt_error(error, "a counter is too large");
}

/* Where each of the file's tensors belongs in the arena; 0 with the first difference. */
static int match_tensors(const StFile *file, const RtRun *run, const RtProgram *program, char **place,
                         RtError *error) {
    int saved = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_saved(tensor)) continue;
        saved++;
        const StTensor *found = st_find(file, tensor->name);
        if (!found) return rt_error(error, "it has no tensor '%s'", tensor->name);
        char have[128], want[128];
        st_shape_text(have, sizeof have, found->rank, found->dim);
        st_shape_text(want, sizeof want, tensor->rank, tensor->dim);
        const char *dtype = st_dtype_name(tensor->dtype);
        if (strcmp(have, want) != 0 || strcmp(found->dtype, dtype) != 0)
            return rt_error(error, "its tensor '%s' is %s %s where the program has %s %s", tensor->name,
                            found->dtype, have, dtype, want);
        place[found - file->tensor] = run->arena + tensor->offset;
    }
    for (int i = 0; saved < file->tensors && i < file->tensors; i++)
        if (!place[i]) return rt_error(error, "the program has no tensor '%.200s'", file->tensor[i].name);
    return 1;
}

/* All data in file order, each tensor to its place where it has one; 0 unless the checksum is right. */
static int read_tensors(const StFile *file, char *const *place, void *chunk, RtError *error) {
    char *digits = strstr(file->raw, checksum_key);
    if (!digits || strlen(digits) < strlen(checksum_key) + CHECKSUM_DIGITS)
        return rt_error(error, "it has no checksum");
    digits += strlen(checksum_key);
    char written[CHECKSUM_DIGITS + 1] = {0}, computed[CHECKSUM_DIGITS + 1];
    memcpy(written, digits, CHECKSUM_DIGITS);
    memset(digits, '0', CHECKSUM_DIGITS);
    uint64_t sum = checksum(0, file->raw, file->header_bytes);
    memcpy(digits, written, CHECKSUM_DIGITS);
    for (int k = 0; k < file->tensors; k++) {
        const StTensor *tensor = &file->tensor[file->order[k]];
        int64_t bytes = tensor->end - tensor->begin;
        for (int64_t at = 0; at < bytes; at += RT_CHUNK_BYTES) {
            int64_t part = bytes - at < RT_CHUNK_BYTES ? bytes - at : RT_CHUNK_BYTES;
            if (!st_read(file, tensor, at, chunk, part, error)) return 0;
            sum = checksum(sum, chunk, part);
            if (place[file->order[k]]) rt_device_upload(place[file->order[k]] + at, chunk, part);
        }
    }
    snprintf(computed, sizeof computed, "%016llx", (unsigned long long)sum);
    return !strcmp(written, computed) || rt_error(error, "its checksum does not match its contents");
}

/* 1 loaded, 0 damaged. Exits where the file is sound but of another program. */
static int load_one(RtRun *run, const RtProgram *program, const char *path, RtState *state, void *chunk,
                    RtError *error) {
    StFile file;
    if (!st_open(&file, path, error)) return 0;
    char **place = rt_allocate((size_t)file.tensors * sizeof *place);
    RtError difference;
    int matches = match_tensors(&file, run, program, place, &difference);
    if (!matches) memset(place, 0, (size_t)file.tensors * sizeof *place);
    int good = read_state(&file, state, error) && read_tensors(&file, place, chunk, error);
    if (good && !matches)
        rt_fail(RT_EXIT_IO, "the checkpoint '%s' is of another program: %s; --fresh starts over", path,
                difference.text);
    free(place);
    st_close(&file);
    return good;
}

int rt_checkpoint_load(RtRun *run, const RtProgram *program, const char *dir, RtState *state, void *chunk) {
    int count, chosen = -1;
    int64_t *steps = list_steps(dir, &count);
    for (int i = 0; i < count && chosen < 0; i++) {
        RtError error = {{0}};
        char *path = path_of(dir, steps[i]);
        if (load_one(run, program, path, state, chunk, &error))
            chosen = i;
        else
            rt_warn("the checkpoint '%s' is damaged: %s%s", path, error.text,
                    i + 1 < count ? "; trying the one before" : "");
        free(path);
    }
    if (count && chosen < 0)
        rt_fail(RT_EXIT_IO, "no checkpoint in '%s' can be read; --fresh starts over and leaves them as *.old",
                dir);
    for (int i = 0; i < chosen; i++) put_aside(dir, steps[i], "damaged");
    free(steps);
    return chosen >= 0;
}
