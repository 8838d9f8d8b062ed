/* Known devices: the host, and the cards of planner/cost/devices/ as rows that device_rows made of them. */
#include "planner/cost/device.h"

#include <string.h>

#define TERA 1e12
#define GIGA 1e9

/* Two cores of a server with such instructions. What large products reach on an Intel Xeon whose cores have
 * them all, by programs compiled for each kind; without AMX, bf16 is converted to f32 in tiles on its way
 * into the product. AVX512-BF16 is of an AMD EPYC: its products reach 0.20 in f32 and 0.41 in bf16, but all
 * else is nearer to the Xeon's than rate.def's shares of so little would be; these figures lie between, as
 * the whole steps of tests/campaign/fidelity.py do. */
#define HOST(name_, about_, f32, bf16)                                                                       \
    {                                                                                                        \
        .name = name_, .about = about_,                                                                      \
        .flops_per_second = {[DT_F32] = (f32)*TERA, [DT_BF16] = (bf16)*TERA}, .bytes_per_second = 50 * GIGA, \
        .copy_bytes_per_second = 7 * GIGA, .launch_seconds = 2e-6                                            \
    }

static const Device device_table[] = {
    HOST("host", "this computer", 0.21, 0.20),
    HOST("host-avx2", "a computer of two cores with AVX2", 0.21, 0.20),
    HOST("host-avx512", "a computer of two cores with AVX-512", 0.30, 0.28),
    HOST("host-avx512bf16", "a computer of two cores with AVX512-BF16", 0.25, 0.45),
    HOST("host-amx", "a computer of two cores with AVX-512 and AMX", 0.30, 2.5),
#include "device_rows.inc"
};

const Device *device_list(uint32_t *count) {
    *count = COUNT_OF(device_table);
    return device_table;
}

int64_t device_block_bytes(const Device *device) {
    switch (device->capability) {
    case 0: return INT64_MAX;
    case 75: return 64 << 10;
    case 80: return 163 << 10;
    case 86:
    case 89:
    case 120: return 99 << 10;
    default: return 227 << 10; /* 90, 100 */
    }
}

const Device *device_find(const char *name) {
    for (uint32_t i = 0; i < COUNT_OF(device_table); i++)
        if (strcmp(device_table[i].name, name) == 0) return &device_table[i];
    return NULL;
}

const char *device_text(const Device *device, Arena *arena) {
    char memory[24];
    if (!device->memory_pretended) return device->name;
    return arena_printf(arena, "%s (pretended memory: %s)", device->name,
                        format_bytes(device->memory_bytes, memory));
}
