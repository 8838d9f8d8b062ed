/* The host as a device: the arena is one aligned allocation, transfers are copies, nothing runs in the
 * background. Free memory is what the kernel says is available, or less where a control group limits it. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number after `key` in a file of "key value" lines, or a bare number when key is ""; -1: not there. */
static int64_t read_number(const char *path, const char *key) {
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    char line[256];
    int64_t value = -1;
    size_t length = strlen(key);
    while (value < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0) continue;
        char *end;
        long long number = strtoll(line + length, &end, 10);
        if (end != line + length && number >= 0) value = number;
    }
    fclose(file);
    return value;
}

/* libgomp reads its waiting policy before main, and by default a thread that waits spins for milliseconds: beside
 * any other work it takes the time of the very thread it waits for, and a step becomes ten times slower. A short
 * spin costs nothing on an idle machine. Starting again is the only way to set it; what the user set stands. */
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
}

int64_t rt_device_free_bytes(void) {
    int64_t kilobytes = read_number("/proc/meminfo", "MemAvailable:");
    int64_t free_bytes = kilobytes < 0 ? -1 : kilobytes * 1024;
    int64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    int64_t used = read_number("/sys/fs/cgroup/memory.current", "");
    if (limit >= 0 && used >= 0) {
        int64_t cache = read_number("/sys/fs/cgroup/memory.stat", "inactive_file ");
        int64_t left = limit - used + (cache > 0 ? cache : 0);
        if (left < 0) left = 0;
        if (free_bytes < 0 || left < free_bytes) free_bytes = left;
    }
    return free_bytes;
}

const char *rt_device_name(void) {
    return "host";
}

char *rt_device_alloc(int64_t bytes) {
    size_t size = ((size_t)bytes + K_ALIGN - 1) / K_ALIGN * K_ALIGN;
    char *arena = aligned_alloc(K_ALIGN, size ? size : K_ALIGN);
    if (!arena) rt_fail(RT_EXIT_MEMORY, "the arena of %lld bytes cannot be allocated", (long long)bytes);
    return arena;
}

void rt_device_upload(char *to, const void *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_download(void *to, const char *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}
void rt_device_fill(char *to, int value, int64_t bytes) {
    memset(to, value, (size_t)bytes);
}
void rt_device_sync(void) {}

int64_t rt_device_used_bytes(void) {
    int64_t kilobytes = read_number("/proc/self/status", "VmRSS:");
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

void rt_device_close(RtRun *run) {
    free(run->arena);
    run->arena = NULL;
}
