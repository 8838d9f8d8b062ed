/* In: a planned program for the host. Out: what its process takes beside the arena. */
#include "codegen/emit.h"

#include "kernels/packed.h"
#include "runtime/sizes.h"

/* The program and its libraries, in pages of their files: 2.9 MiB were seen. */
enum { PROGRAM_BYTES = 3 << 20 };

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

int64_t process_bytes(const EmitRequest *request) {
    const Graph *g = request->train.graph;
    const Type *logits = &request->sample.graph->value.at[request->sample.graph->logits].type;
    const bool merges = request->spec->merged_path != NULL;
    /* at a time: a row of logits with the tokens before it, or a matrix in 4 bits on its way in or out */
    int64_t transient = (int64_t)sizeof(float) * logits->dim[logits->rank - 1] + 8 * g->context;
    for (uint32_t p = 0; p < g->param.count; p++) {
        const Type *type = &g->value.at[g->param.at[p].value].type;
        const KPacking packing = k_packing((int)type->dtype);
        if (!packing.code_bits) continue;
        const int64_t elements = type_elements(type), blocks = k_sections(packing, elements).blocks;
        const int64_t scales = blocks * (int64_t)(sizeof(float) + 1);
        const int64_t whole =
            2 * (int64_t)sizeof(float) * elements + elements / 2; /* in f32, as it was, and codes */
        transient = larger(transient, scales + (merges ? whole : 0));
    }
    const int files = request->data.validate_path ? 2 : 1;
    return PROGRAM_BYTES + RT_CHUNK_BYTES + files * larger(RT_DATA_BLOCK, 4 * (g->context + 1)) + transient;
}
