/* One operation of an emitted step: rt_call notes how high in the arena it reaches, hands over the workspace,
 * and calls the kernel; with a profile it also waits and takes the time. Copies to host memory and back are
 * handed to the device. rt_free and the fills serve poison mode, where every byte that no live buffer holds
 * is NaN. Small helpers of all files are here too. */
#include "internal.h"
#include "printable.h"
#include "../kernels/packed.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t rt_dtype_bytes(int dtype) {
    return k_storage_bytes(dtype, 1);
}

int64_t rt_tensor_count(const RtTensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->dim[i];
    return count;
}

int64_t rt_tensor_bytes(const RtTensor *tensor) {
    return k_storage_bytes(tensor->dtype, rt_tensor_count(tensor));
}

/* ---- messages ---- */

/* Names, paths and texts of files stand in messages: nothing of them steers the terminal. An escape takes at
 * most four times the bytes of what it stands for. */
static void say(FILE *to, const char *keep, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = malloc(size), *shown = malloc(4 * size);
    if (text && shown && length >= 0) {
        vsnprintf(text, size, format, again);
        printable(shown, 4 * size, text, size - 1, keep);
        fputs(shown, to);
    } else {
        fputs(format, to); /* out of memory: the words alone */
    }
    va_end(again);
    free(text);
    free(shown);
}

void rt_say(FILE *to, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(to, "\n\t", format, arguments);
    va_end(arguments);
}

const char *rt_called = "train";
int rt_memory_exit = RT_EXIT_MEMORY;

static void message(const char *kind, const char *format, va_list arguments) {
    fflush(stdout);
    fprintf(stderr, "%s%s: %s: ", isatty(STDERR_FILENO) ? "\r\033[K" : "", rt_called, kind);
    say(stderr, "", format, arguments);
    fputc('\n', stderr);
}

void rt_fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    message("error", format, arguments);
    va_end(arguments);
    exit(code == RT_EXIT_MEMORY ? rt_memory_exit : code);
}

void rt_warn(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    message("warning", format, arguments);
    va_end(arguments);
}

int rt_error(RtError *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->reason = 0;
    return 0;
}

int rt_error_errno(RtError *error, const char *what) {
    int reason = errno;
    rt_error(error, "%s%s%s", what, *what ? ": " : "", strerror(reason));
    error->reason = reason;
    return 0;
}

void *rt_allocate(size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) rt_fail(RT_EXIT_MEMORY, "out of memory for %zu bytes", bytes);
    return memory;
}

char *rt_text(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) rt_fail(RT_EXIT_MEMORY, "a text is too long");
    char *text = rt_allocate((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

int rt_ends_in(const char *name, const char *tail) {
    size_t length = strlen(name), ending = strlen(tail);
    return length >= ending && !strcmp(name + length - ending, tail);
}

double rt_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Levenshtein's. */
int rt_distance(const char *a, const char *b) {
    enum { LONGEST = 256 };
    int row[LONGEST + 1];
    size_t width = strlen(b);
    if (width > LONGEST || strlen(a) > LONGEST) return 999;
    for (size_t j = 0; j <= width; j++) row[j] = (int)j;
    for (int i = 0; a[i]; i++) {
        int corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            int best = corner + (a[i] != b[j]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            corner = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[width];
}

/* ---- operations ---- */

void rt_raise_to(int64_t *high_water_bytes, int64_t end) {
    end = rt_aligned(end, K_ALIGN);
    if (end > *high_water_bytes) *high_water_bytes = end;
}

static void note_end(RtRun *run, int64_t end) {
    rt_raise_to(&run->high_water_bytes, end);
}

static void note_tensors(RtRun *run, int count, const KTensor *tensor) {
    for (int i = 0; i < count; i++)
        note_end(run, (const char *)tensor[i].data - run->arena +
                          k_storage_bytes(tensor[i].dtype, k_room(&tensor[i])));
}

static void profile_add(RtProfile *profile, const char *name, double seconds) {
    int capacity = (int)(sizeof profile->entry / sizeof *profile->entry), i = 0;
    while (i < profile->entries && profile->entry[i].name != name &&
           strcmp(profile->entry[i].name, name) != 0)
        i++;
    if (i == capacity) return;
    if (i == profile->entries) profile->entry[profile->entries++].name = name;
    profile->entry[i].seconds += seconds;
    profile->entry[i].calls++;
}

static double profile_begin(const RtRun *run) {
    if (!run->profile) return 0;
    rt_device_sync();
    return rt_seconds();
}

static void profile_end(const RtRun *run, const char *name, double begin) {
    if (!run->profile) return;
    rt_device_sync();
    profile_add(run->profile, name, rt_seconds() - begin);
}

void rt_call(RtRun *run, const char *kernel_name, KFunction *kernel, int nout, const KTensor *out, int nin,
             const KTensor *in, const KAttr *attr, int64_t workspace_offset, int64_t workspace_bytes) {
    note_tensors(run, nout, out);
    note_tensors(run, nin, in);
    run->cx.workspace = NULL;
    run->cx.workspace_bytes = (size_t)workspace_bytes;
    if (workspace_bytes > 0) {
        note_end(run, workspace_offset + workspace_bytes);
        run->cx.workspace = run->arena + workspace_offset;
        if (run->poison) rt_device_fill(run->arena + workspace_offset, 0xff, workspace_bytes);
    }
    if (run->choose) run->cx.variant = run->choose(run);
    double begin = run->called ? rt_seconds() : profile_begin(run);
    kernel(&run->cx, nout, out, nin, in, attr);
    if (run->called) run->called(run, rt_seconds() - begin);
    profile_end(run, kernel_name, begin);
    run->cx.variant = K_VARIANT_NONE;
}

void rt_free(RtRun *run, int64_t offset, int64_t bytes) {
    if (run->poison) rt_device_fill(run->arena + offset, 0xff, bytes);
}

void rt_offload(RtRun *run, int ticket, int64_t offset, int64_t host_offset, int64_t bytes) {
    note_end(run, offset + bytes);
    rt_raise_to(&run->host_high_water_bytes, host_offset + bytes);
    double begin = profile_begin(run);
    rt_device_offload(ticket, run->host + host_offset, run->arena + offset, bytes);
    profile_end(run, "offload", begin);
}

void rt_fetch(RtRun *run, int ticket, int64_t offset, int64_t host_offset, int64_t bytes) {
    note_end(run, offset + bytes);
    rt_raise_to(&run->host_high_water_bytes, host_offset + bytes);
    if (run->poison) rt_device_fill(run->arena + offset, 0xff, bytes);
    double begin = profile_begin(run);
    rt_device_fetch(ticket, run->arena + offset, run->host + host_offset, bytes);
    profile_end(run, "fetch", begin);
}

void rt_wait(RtRun *run, int ticket) {
    double begin = profile_begin(run);
    rt_device_wait(ticket);
    profile_end(run, "wait for a copy", begin);
}

static int by_offset(const void *left, const void *right) {
    const RtTensor *a = *(const RtTensor *const *)left, *b = *(const RtTensor *const *)right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

void rt_poison_transient(RtRun *run, const RtProgram *program) {
    if (run->host) memset(run->host, 0xff, (size_t)program->host_bytes);
    const RtTensor **order = rt_allocate((size_t)program->tensors * sizeof *order);
    int kept = 0;
    for (int i = 0; i < program->tensors; i++)
        if (program->tensor[i].kind != RT_ACCUMULATOR) order[kept++] = &program->tensor[i];
    qsort(order, (size_t)kept, sizeof *order, by_offset);
    int64_t begin = 0;
    for (int i = 0; i < kept; i++) {
        if (order[i]->offset > begin) rt_device_fill(run->arena + begin, 0xff, order[i]->offset - begin);
        int64_t end = order[i]->offset + rt_tensor_bytes(order[i]);
        if (end > begin) begin = end;
    }
    if (program->arena_bytes > begin) rt_device_fill(run->arena + begin, 0xff, program->arena_bytes - begin);
    free(order);
}

void rt_clear_room(RtRun *run, const RtProgram *program) {
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        int64_t begin = rt_tensor_bytes(tensor), end = k_storage_bytes(tensor->dtype, tensor->room);
        if (end > begin) rt_device_fill(run->arena + tensor->offset + begin, 0, end - begin);
    }
}

static int by_seconds(const void *left, const void *right) {
    double a = ((const RtProfileEntry *)left)->seconds, b = ((const RtProfileEntry *)right)->seconds;
    return (a < b) - (a > b);
}

void rt_profile_print(const RtProfile *profile, FILE *to) {
    RtProfile sorted = *profile;
    double total = 0;
    for (int i = 0; i < sorted.entries; i++) total += sorted.entry[i].seconds;
    qsort(sorted.entry, (size_t)sorted.entries, sizeof *sorted.entry, by_seconds);
    fprintf(to, "%-20s %10s %12s %8s\n", "operation", "calls", "seconds", "share");
    for (int i = 0; i < sorted.entries; i++)
        fprintf(to, "%-20s %10lld %12.4f %7.1f%%\n", sorted.entry[i].name, (long long)sorted.entry[i].calls,
                sorted.entry[i].seconds, total > 0 ? 100 * sorted.entry[i].seconds / total : 0);
}
