/* Where times of the host are taken: its processor and how many threads, its kernel, the compiler and the
 * vectors it was told to use. Any host is "host". */
#include "internal.h"
#include "tune.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#if defined(__AVX512F__)
#define VECTORS "avx512"
#elif defined(__AVX2__)
#define VECTORS "avx2"
#elif defined(__aarch64__)
#define VECTORS "aarch64"
#else
#define VECTORS "plain"
#endif

/* The value of the first line of /proc/cpuinfo that begins with `key`; false when there is none. */
static int processor_line(const char *key, char *out, size_t size) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512];
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key))) continue;
        char *value = colon + 1, *end = value + strlen(value);
        while (isspace((unsigned char)*value)) value++;
        while (end > value && isspace((unsigned char)end[-1])) *--end = 0;
        found = *value != 0;
        snprintf(out, size, "%s", value);
    }
    if (file) fclose(file);
    return found;
}

void rt_tune_place(RtTunePlace *place) {
    struct utsname system;
    char processor[160] = "unknown processor";
    const int threads = rt_threads();
    processor_line("model name", processor, sizeof processor);
    snprintf(place->card, sizeof place->card, "%s, %d thread%s", processor, threads, threads == 1 ? "" : "s");
    int known = uname(&system) == 0;
    snprintf(place->driver, sizeof place->driver, "%.32s %.64s", known ? system.sysname : "unknown",
             known ? system.release : "");
    int64_t kilohertz = rt_read_number("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "");
    if (kilohertz > 0)
        snprintf(place->clocks, sizeof place->clocks, "%lld", (long long)(kilohertz / 1000));
    else
        snprintf(place->clocks, sizeof place->clocks, "unknown");
#if defined(__clang__)
    snprintf(place->compiler, sizeof place->compiler, "clang-%d.%d-" VECTORS, __clang_major__,
             __clang_minor__);
#else
    snprintf(place->compiler, sizeof place->compiler, "gcc-%d.%d-" VECTORS, __GNUC__, __GNUC_MINOR__);
#endif
}

void rt_tune_products(const KChoice *choice, int count) {
    (void)choice, (void)count;
}

int rt_tune_candidates(void) {
    return 0;
}

void rt_tune_take(int candidate, int for_good, KChoice *choice) {
    (void)candidate, (void)for_good, (void)choice;
}

const char *rt_tune_other_device(const RtTuner *tuner, char *text, size_t size) {
    (void)tuner, (void)text, (void)size;
    return NULL;
}
