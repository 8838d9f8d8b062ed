/* Known devices. In: a name; out: the figures that cost and budgets are computed from.
 *
 * Memory is as the driver reports it; `reserved_bytes` is what a CUDA context and library workspaces take, an
 * assumption (the upper end of the 0.3-0.6 GiB seen) that a trainer checks against free memory before it
 * loads. Matrix rates are dense with f32 accumulation; f32 is the rate without TF32. Copy rates are about 80%
 * of the link: PCIe 3.0 12 GB/s, 4.0 25 GB/s, 5.0 50 GB/s one way. */
#include "plan.h"

#include <string.h>

#define MIB       ((int64_t)1 << 20)
#define TERA      1e12
#define GIGA      1e9
#define PCIE3     (12 * GIGA)
#define PCIE4     (25 * GIGA)
#define PCIE5     (50 * GIGA)
#define CUDA_HELD (614 * MIB) /* 0.6 GiB */
#define CUDA(NAME, MEMORY_MIB, F32, BF16, GB_PER_SECOND, LINK, CAPABILITY)                                   \
    {                                                                                                        \
        .name = NAME, .cuda = true, .memory_bytes = MEMORY_MIB * MIB, .reserved_bytes = CUDA_HELD,           \
        .flops_per_second = {[DT_F32] = (F32)*TERA, [DT_BF16] = (BF16)*TERA},                                \
        .bytes_per_second = (GB_PER_SECOND)*GIGA, .copy_bytes_per_second = LINK, .copies_beside = true,      \
        .launch_seconds = 4e-6, .capability = CAPABILITY                                                     \
    }

static const Device device_table[] = {
    /* Two cores with AVX2; bf16 is converted to f32 in tiles on its way into the product. */
    {.name = "host",
     .flops_per_second = {[DT_F32] = 0.2 * TERA, [DT_BF16] = 0.15 * TERA},
     .bytes_per_second = 15 * GIGA,
     .copy_bytes_per_second = 15 * GIGA,
     .launch_seconds = 2e-6},
    CUDA("t4", 15360, 8.1, 0, 320, PCIE3, 75),
    CUDA("rtx3090", 24576, 35.6, 71, 936, PCIE4, 86),
    CUDA("rtx4090", 24564, 82.6, 165, 1008, PCIE4, 89),
    CUDA("rtx5090", 32607, 104.8, 209.5, 1792, PCIE5, 120),
    CUDA("a10g", 23028, 31.2, 70, 600, PCIE4, 86),
    CUDA("l4", 23034, 30.3, 121, 300, PCIE4, 89),
    CUDA("l40s", 46068, 91.6, 362, 864, PCIE4, 89),
    CUDA("a100-40", 40960, 19.5, 312, 1555, PCIE4, 80),
    CUDA("a100-80", 81920, 19.5, 312, 2039, 24.8 * GIGA, 80),
    CUDA("h100-pcie", 81559, 51, 756, 2000, PCIE5, 90),
    CUDA("h100", 81559, 67, 989, 3350, PCIE5, 90),
    CUDA("h200", 143771, 67, 989, 4800, PCIE5, 90),
    CUDA("b200", 182600, 75, 2250, 7672, PCIE5, 100),
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
