/* The host as a device: the arena is one aligned allocation, and so is what stands for pinned memory;
 * transfers are copies, nothing runs in the background. In poison mode an OFFLOAD or a FETCH fills where it
 * goes with NaN and is done by its WAIT, as late as it may be: a wait that is missing or misplaced shows in
 * the numbers. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* libgomp reads its waiting policy before main, and by default a thread that waits spins for milliseconds:
 * beside any other work it takes the time of the very thread it waits for, and a step becomes ten times
 * slower. A short spin costs nothing on an idle machine. Starting again is the only way to set it; what the
 * user set stands. */
void rt_device_prepare(char **argv) {
#ifdef _OPENMP
    static const char *const chosen[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"};
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        if (getenv(chosen[i])) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) || setenv("KMP_BLOCKTIME", "0", 1)) return;
    execv("/proc/self/exe", argv); /* where it cannot, the program goes on as it is */
#else
    (void)argv;
#endif
}

void rt_device_open(RtRun *run, const char *target) {
    if (strcmp(target, "host") != 0)
        rt_fail(RT_EXIT_DEVICE, "this program was built for the host but its plan is for '%s'", target);
    run->cx.stream = NULL;
    run->cx.blas = NULL;
    run->cx.now = NULL;
    run->verdict = rt_allocate(sizeof *run->verdict);
}

void rt_device_libraries(char *text, size_t size) {
    if (size) *text = 0;
}

void rt_device_products(const KChoice *choice, int count, const char *libraries) {
    (void)choice, (void)count, (void)libraries;
}

int64_t rt_device_free_bytes(void) {
    return rt_host_free_bytes();
}

const char *rt_device_name(void) {
    return "host";
}

/* A step passes over the whole arena, so it lies in huge pages where the system lends them: with small ones a
 * third of the time of a copy goes into finding out where they are. */
static char *allocate(int64_t bytes, const char *what) {
    enum { HUGE = 2 << 20 };
    const size_t align = bytes < HUGE ? K_ALIGN : HUGE, size = ((size_t)bytes + align - 1) / align * align;
    char *arena = aligned_alloc(align, size ? size : align);
    if (!arena) rt_fail(RT_EXIT_MEMORY, "%s of %lld bytes cannot be allocated", what, (long long)bytes);
#ifdef MADV_HUGEPAGE
    if (align == HUGE) (void)madvise(arena, size, MADV_HUGEPAGE);
#endif
    return arena;
}

char *rt_device_alloc(int64_t bytes) {
    return allocate(bytes, "the arena");
}

/* ---- copies to what stands for pinned memory ---- */

typedef struct LateCopy {
    char *to;
    const char *from; /* NULL: done */
    size_t bytes;
} LateCopy;
static LateCopy *late; /* by ticket; NULL: copies are done when they are issued */

char *rt_device_alloc_host(int64_t bytes, int copies, int poison) {
    if (poison) late = rt_allocate((size_t)copies * sizeof *late);
    return allocate(bytes, "host memory for copies");
}

static void copy(int ticket, char *to, const char *from, int64_t bytes) {
    if (late) {
        memset(to, 0xff, (size_t)bytes);
        late[ticket] = (LateCopy){to, from, (size_t)bytes};
    } else {
        memcpy(to, from, (size_t)bytes);
    }
}
void rt_device_offload(int ticket, char *to, const char *from, int64_t bytes) {
    copy(ticket, to, from, bytes);
}
void rt_device_fetch(int ticket, char *to, const char *from, int64_t bytes) {
    copy(ticket, to, from, bytes);
}
void rt_device_wait(int ticket) {
    if (!late || !late[ticket].from) return;
    memcpy(late[ticket].to, late[ticket].from, late[ticket].bytes);
    late[ticket].from = NULL;
}

char *rt_device_alloc_slots(int64_t bytes) {
    return rt_allocate((size_t)bytes);
}
void rt_device_free_slots(char *slots) {
    free(slots);
}
void rt_device_send(char *to, const void *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_sent(int slot) {
    (void)slot;
}
void rt_device_wait_sent(int slot) {
    (void)slot;
}

void rt_device_bring(void *to, const char *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_brought(int slot) {
    (void)slot;
}
void rt_device_wait_brought(int slot) {
    (void)slot;
}

int rt_device_beside(void) {
    return 0;
}
int rt_device_judge(RtRun *run, const char *loss_sum, double spread) {
    float sum;
    memcpy(&sum, loss_sum, sizeof sum);
    k_judge(run->verdict, spread, sum, run->cx.targets);
    return run->verdict->passes != 0;
}

void rt_device_record_begin(void) {
    rt_fail(RT_EXIT_DEVICE, "the host records nothing");
}
int64_t rt_device_record_end(int recording) {
    (void)recording;
    rt_device_record_begin();
    return 0;
}
void rt_device_replay(int recording) {
    (void)recording;
    rt_device_record_begin();
}

void rt_device_upload(char *to, const void *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_download(void *to, const char *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_upload_rows(char *to, int64_t pitch, const void *from, int64_t row_bytes, int64_t rows) {
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * pitch, (const char *)from + i * row_bytes, (size_t)row_bytes);
}
void rt_device_fill(char *to, int value, int64_t bytes) {
    memset(to, value, (size_t)bytes);
}
void rt_device_sync(void) {}

int64_t rt_device_used_bytes(void) {
    int64_t kilobytes = rt_read_number("/proc/self/status", "VmRSS:");
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

void rt_device_close(RtRun *run) {
    free(run->arena);
    free(run->host);
    free(late);
    free(run->verdict);
    run->arena = run->host = NULL;
    late = NULL;
}
