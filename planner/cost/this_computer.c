/* The device `host`: figures of this computer, by the instructions its cores have and how many they are. The
 * program that is planned for it is compiled for what its compiler finds here too (-march=native). */
#define _GNU_SOURCE
#include "planner/cost/this_computer.h"

#include <sched.h>

#if defined __x86_64__
#include <cpuid.h>

/* Intel 64 manual, volume 2, CPUID: leaf 7 says in EDX bit 22 that there is AMX-BF16; XCR0 says in bits 17
 * and 18 that the kernel saves its tiles. */
static bool has_amx(void) {
    enum { FEATURES = 7, OSXSAVE = 1 << 27, AMX_BF16 = 1 << 22, TILES = 3 << 17 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return false;
    if (!__get_cpuid_count(FEATURES, 0, &a, &b, &c, &d) || !(d & AMX_BF16)) return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & TILES) == TILES;
}

static const char *kind_name(void) {
    if (!__builtin_cpu_supports("avx512bw")) return "host-avx2";
    if (has_amx()) return "host-amx";
    return __builtin_cpu_supports("avx512bf16") ? "host-avx512bf16" : "host-avx512";
}
#else
static const char *kind_name(void) {
    return "host-avx2";
}
#endif

const Device *this_computer_kind(void) {
    return device_find(kind_name());
}

int this_computer_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? DEVICE_HOST_CORES : CPU_COUNT(&set);
}

Device this_computer(const Device *kind, int cores, Arena *arena) {
    Device device = *kind;
    const double times = (double)cores / DEVICE_HOST_CORES;
    const double most_of_memory = 4; /* an assumption: eight cores keep a socket's memory busy */
    device.name = "host";
    device.about = arena_printf(arena, "this computer, %d core%s as those of %s", cores,
                                cores == 1 ? "" : "s", kind->name);
    for (int i = 0; i < DT_COUNT; i++) device.flops_per_second[i] *= times;
    device.bytes_per_second *= times < most_of_memory ? times : most_of_memory;
    return device;
}
