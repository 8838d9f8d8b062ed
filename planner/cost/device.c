/* Known devices: the host, and the cards of planner/cost/devices/ as rows that device_rows made of them. */
#include "planner/cost/device.h"

#include <string.h>

#define TERA 1e12
#define GIGA 1e9

static const Device device_table[] = {
    /* Two cores with AVX2; bf16 is converted to f32 in tiles on its way into the product. */
    {.name = "host",
     .about = "this computer",
     .flops_per_second = {[DT_F32] = 0.2 * TERA, [DT_BF16] = 0.15 * TERA},
     .bytes_per_second = 15 * GIGA,
     .copy_bytes_per_second = 15 * GIGA,
     .launch_seconds = 2e-6},
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
