/* See packed.h. */
#include "tests/support/packed.h"

#include "kernels/packed.h"

void packed_fill(int dtype, int64_t elements, void *storage, double size, double (*unit)(uint64_t *state),
                 uint64_t *state) {
    const KPacking packing = k_packing(dtype);
    const KSections at = k_sections(packing, elements);
    unsigned char *byte = storage;
    for (int64_t i = 0; i < at.end; i++) byte[i] = (unsigned char)(unit(state) * 256);
    float *scale = (float *)(void *)(byte + (packing.group ? at.group_scales : at.scales));
    const int64_t scales = packing.group ? at.groups : at.blocks;
    for (int64_t i = 0; i < scales; i++) scale[i] = (float)(size * (0.5 + unit(state)));
    if (packing.group) scale[at.groups] = (float)(size * 1.7);
}
