/* One checkpoint: parameters, optimizer states, masters and, as metadata, the counters that make the rest of
 * the run a pure function of it. Written whole or not at all (atomic_file.h), and believed only when its
 * checksum, over header and data, says so. Frozen weights and gradient sums are not saved: the former are
 * loaded anew, the latter are dead between steps. folder.c says which files there are and what becomes of
 * them. */
#include "atomic_file.h"
#include "model.h"
#include "safetensors.h"
#include "../kernels/packed.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char checksum_key[] = "\"checksum\":\"";
enum { CHECKSUM_DIGITS = 16 };

static int is_saved(const RtTensor *tensor) {
    return tensor->kind != RT_FROZEN && tensor->kind != RT_ACCUMULATOR;
}

/* ---- writing ---- */

/* What stands in the header for its shape: a tensor of a packed type is saved as the bytes it has. */
static int shape_of(const RtTensor *tensor, const int64_t **dim, int64_t *bytes) {
    *bytes = rt_tensor_bytes(tensor);
    int packed = k_packing(tensor->dtype).code_bits > 0;
    *dim = packed ? bytes : tensor->dim;
    return packed ? 1 : tensor->rank;
}

static void build_header(char **text, size_t *length, const RtProgram *program, const RtState *state) {
    char *quoted = rt_json_string(program->model);
    FILE *header = rt_text_open(text, length);
    fprintf(header,
            "{\"__metadata__\":{%s0000000000000000\",\"format\":\"pt\",\"remat_checkpoint\":\"1\","
            "\"step\":\"%lld\",\"cursor\":\"%lld\",\"seed\":\"%llu\",\"windows\":\"%lld\",\"model\":%s",
            checksum_key, (long long)state->step, (long long)state->cursor, (unsigned long long)state->seed,
            (long long)state->windows, quoted);
    if (state->passed_over) fprintf(header, ",\"passed_over\":\"%lld\"", (long long)state->passed_over);
    if (program->guard_spread > 0)
        fprintf(header, ",\"guard\":\"%a %a %lld %lld\"", state->guard.mean, state->guard.variance,
                (long long)state->guard.seen, (long long)state->guard.in_a_row);
    RtModel model = rt_model_of(program, state->base);
    char *about = rt_model_text(&model), *quoted_about = rt_json_string(about);
    if (*about) fprintf(header, ",\"model_text\":%s", quoted_about);
    free(quoted), free(about), free(quoted_about);
    rt_model_free(&model);
    fputc('}', header);
    int64_t begin = 0, bytes;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_saved(tensor)) continue;
        const int64_t *dim;
        int rank = shape_of(tensor, &dim, &bytes);
        st_add_entry(header, tensor->name, st_dtype_name(tensor->dtype), rank, dim, begin, begin + bytes);
        begin += bytes;
    }
    st_close_header(header, text);
}

static int write_tensors(AtomicFile *file, const RtRun *run, const RtProgram *program, uint64_t *sum,
                         void *chunk) {
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (!is_saved(tensor)) continue;
        int64_t bytes = rt_tensor_bytes(tensor);
        for (int64_t at = 0; at < bytes; at += RT_CHUNK_BYTES) {
            int64_t part = bytes - at < RT_CHUNK_BYTES ? bytes - at : RT_CHUNK_BYTES;
            rt_device_download(chunk, run->arena + tensor->offset + at, part);
            *sum = rt_checksum(*sum, chunk, part);
            if (!atomic_file_write(file, chunk, part)) return 0;
        }
    }
    return 1;
}

/* The checksum is known last and stands first: its digits are written over zeros. */
static int write_digits(AtomicFile *file, uint64_t sum, off_t place) {
    char digits[CHECKSUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)sum);
    for (int done = 0; done < CHECKSUM_DIGITS;) {
        ssize_t wrote = pwrite(file->fd, digits + done, (size_t)(CHECKSUM_DIGITS - done), place + done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote == 0) errno = EIO;
        if (wrote <= 0) return 0;
        done += (int)wrote;
    }
    return 1;
}

int rt_checkpoint_write(const char *path, const RtRun *run, const RtProgram *program, const RtState *state,
                        void *chunk) {
    AtomicFile file;
    if (!atomic_file_open(&file, path)) return 0;
    if (!file.aside) { /* what is no file cannot hold a checkpoint */
        atomic_file_abandon(&file);
        errno = EEXIST;
        return 0;
    }
    size_t length = 0;
    char *header = NULL;
    build_header(&header, &length, program, state);
    unsigned char begin[ST_LENGTH_BYTES];
    st_length_bytes(begin, length);
    uint64_t sum = rt_checksum(0, header, (int64_t)length);
    off_t place = ST_LENGTH_BYTES + (strstr(header, checksum_key) - header) + (off_t)strlen(checksum_key);
    int good = atomic_file_write(&file, begin, sizeof begin) &&
               atomic_file_write(&file, header, (int64_t)length) &&
               write_tensors(&file, run, program, &sum, chunk) && write_digits(&file, sum, place);
    free(header);
    if (good) return atomic_file_commit(&file);
    atomic_file_abandon(&file);
    return 0;
}

/* ---- reading ---- */

static int read_counter(const StFile *file, const char *key, uint64_t *value, RtError *error) {
    const char *text = st_metadata(file, key);
    char *end = NULL;
    errno = 0;
    if (text && *text >= '0' && *text <= '9') *value = strtoull(text, &end, 10);
    return (end && !*end && !errno) || rt_error(error, "its metadata lacks '%s'", key);
}

/* Of a run without a guard there is nothing. */
static int read_guard(const StFile *file, KGuard *guard, RtError *error) {
    const char *text = st_metadata(file, "guard");
    long long seen, in_a_row;
    int end = 0;
    *guard = (KGuard){0};
    if (!text) return 1;
    if (sscanf(text, "%la %la %lld %lld%n", &guard->mean, &guard->variance, &seen, &in_a_row, &end) != 4 ||
        text[end] || !isfinite(guard->mean) || !(guard->variance >= 0 && isfinite(guard->variance)) ||
        seen < 0 || in_a_row < 0)
        return rt_error(error, "its metadata 'guard' is malformed");
    guard->seen = seen;
    guard->in_a_row = in_a_row;
    return 1;
}

static int read_state(const StFile *file, RtState *state, RtError *error) {
    uint64_t step = 0, cursor = 0, windows = 0, passed_over = 0;
    if (!read_counter(file, "remat_checkpoint", &step, error) || !read_counter(file, "step", &step, error) ||
        !read_counter(file, "cursor", &cursor, error) || !read_counter(file, "windows", &windows, error) ||
        !read_counter(file, "seed", &state->seed, error))
        return 0;
    if (st_metadata(file, "passed_over") && !read_counter(file, "passed_over", &passed_over, error)) return 0;
    if (!read_guard(file, &state->guard, error)) return 0;
    state->passed_over = (int64_t)passed_over;
    state->step = (int64_t)step;
    state->cursor = (int64_t)cursor;
    state->windows = (int64_t)windows;
    RtModel model;
    if (!rt_model_parse(&model, st_metadata(file, "model_text"), error)) return 0;
    state->base = model.base;
    rt_model_free(&model);
    const uint64_t most = UINT64_C(1) << 60; /* no run gets there, and what is added to it stays a number */
    return (step <= most && cursor <= most && windows <= most && passed_over <= step) ||
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
        const int64_t *dim;
        int64_t bytes;
        int rank = shape_of(tensor, &dim, &bytes);
        st_shape_text(have, sizeof have, found->rank, found->dim);
        st_shape_text(want, sizeof want, rank, dim);
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
    uint64_t sum = rt_checksum(0, file->raw, file->header_bytes);
    memcpy(digits, written, CHECKSUM_DIGITS);
    for (int k = 0; k < file->tensors; k++) {
        const StTensor *tensor = &file->tensor[file->order[k]];
        int64_t bytes = tensor->end - tensor->begin;
        for (int64_t at = 0; at < bytes; at += RT_CHUNK_BYTES) {
            int64_t part = bytes - at < RT_CHUNK_BYTES ? bytes - at : RT_CHUNK_BYTES;
            if (!st_read(file, tensor, at, chunk, part, error)) return 0;
            sum = rt_checksum(sum, chunk, part);
            if (place[file->order[k]]) rt_device_upload(place[file->order[k]] + at, chunk, part);
        }
    }
    snprintf(computed, sizeof computed, "%016llx", (unsigned long long)sum);
    return !strcmp(written, computed) || rt_error(error, "its checksum does not match its contents");
}

int rt_checkpoint_step(const char *path, int64_t *step, RtError *error) {
    StFile file;
    RtState state;
    if (!st_open(&file, path, error)) return 0;
    int good = read_state(&file, &state, error);
    if (good) *step = state.step;
    st_close(&file);
    return good;
}

int rt_checkpoint_check(const char *path, RtError *error) {
    StFile file;
    RtState state;
    if (!st_open(&file, path, error)) return 0;
    char **nowhere = rt_allocate((size_t)file.tensors * sizeof *nowhere);
    void *chunk = rt_allocate(RT_CHUNK_BYTES);
    int good = read_state(&file, &state, error) && read_tensors(&file, nowhere, chunk, error);
    free(nowhere), free(chunk);
    st_close(&file);
    return good;
}

int rt_checkpoint_read(RtRun *run, const RtProgram *program, const char *path, RtState *state, void *chunk,
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

int64_t rt_checkpoint_bytes(const RtProgram *program) {
    enum { HEADER_OF_A_TENSOR = 256 }; /* a generous line in the header */
    int64_t bytes = 0;
    for (int i = 0; i < program->tensors; i++)
        bytes +=
            HEADER_OF_A_TENSOR + (is_saved(&program->tensor[i]) ? rt_tensor_bytes(&program->tensor[i]) : 0);
    return bytes;
}
