/* Where times of a CUDA device are taken: its own name, the driver, its highest clocks, the versions of CUDA
 * and cuBLASLt; and which algorithms that has for a product. */
#include "internal.h"
#include "tune.h"

#include <cuda_runtime.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void check(cudaError_t status, const char *what) {
    if (status != cudaSuccess) rt_fail(RT_EXIT_DEVICE, "CUDA: %s: %s", what, cudaGetErrorString(status));
}

static int attribute(enum cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0), "attributes of device 0");
    return value;
}

/* "580.159.04" of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  ..."; else what the driver
 * says it supports. */
static void driver_version(char *out, size_t size) {
    char line[256] = "";
    FILE *file = fopen("/proc/driver/nvidia/version", "r");
    if (file && !fgets(line, sizeof line, file)) *line = 0;
    if (file) fclose(file);
    for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
        if (isdigit((unsigned char)*word) && strchr(word, '.')) {
            snprintf(out, size, "%s", word);
            return;
        }
    int version = 0;
    check(cudaDriverGetVersion(&version), "the driver's version");
    snprintf(out, size, "cuda-%d.%d", version / 1000, version % 1000 / 10);
}

void rt_tune_place(RtTunePlace *place) {
    snprintf(place->card, sizeof place->card, "%s", rt_device_name());
    driver_version(place->driver, sizeof place->driver);
    snprintf(place->clocks, sizeof place->clocks, "%d/%d", attribute(cudaDevAttrClockRate) / 1000,
             attribute(cudaDevAttrMemoryClockRate) / 1000);
    rt_device_libraries(place->compiler, sizeof place->compiler);
}

void rt_tune_products(const KChoice *choice, int count) {
    k_products_choose(choice, count);
    k_products_list(K_MOST_CANDIDATES);
}

int rt_tune_candidates(void) {
    return k_product_candidates();
}

void rt_tune_take(int candidate, int for_good, KChoice *choice) {
    *choice = k_product_take(candidate, for_good);
}

const char *rt_tune_other_device(const RtTuner *tuner, char *text, size_t size) {
    size_t free_bytes = 0, all_bytes = 0;
    int capability =
        10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
    int multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "memory");
    double more = tuner->memory_bytes ? (double)all_bytes / (double)tuner->memory_bytes : 1;
    if ((!tuner->capability || capability == tuner->capability) &&
        (!tuner->multiprocessors || multiprocessors == tuner->multiprocessors) && more > 0.97 && more < 1.03)
        return NULL;
    snprintf(text, size, "%s (capability %d.%d, %d multiprocessors, %zu MiB)", rt_device_name(),
             capability / 10, capability % 10, multiprocessors, all_bytes >> 20);
    return text;
}
