/* Memory of the host: what is free, by what the kernel says is available, or less where a control group
 * limits it; and what of it this process has. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

int64_t rt_read_number(const char *path, const char *key) {
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

int rt_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

int64_t rt_process_peak_bytes(void) {
    int64_t kilobytes = rt_read_number("/proc/self/status", "VmHWM:");
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

int64_t rt_host_free_bytes(void) {
    int64_t kilobytes = rt_read_number("/proc/meminfo", "MemAvailable:");
    int64_t free_bytes = kilobytes < 0 ? -1 : kilobytes * 1024;
    int64_t limit = rt_read_number("/sys/fs/cgroup/memory.max", "");
    int64_t used = rt_read_number("/sys/fs/cgroup/memory.current", "");
    if (limit >= 0 && used >= 0) {
        int64_t cache = rt_read_number("/sys/fs/cgroup/memory.stat", "inactive_file ");
        int64_t left = limit - used + (cache > 0 ? cache : 0);
        if (left < 0) left = 0;
        if (free_bytes < 0 || left < free_bytes) free_bytes = left;
    }
    return free_bytes;
}
