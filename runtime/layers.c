/* The program's list of persistent tensors, spelled out: rows of `tensor` that stand for a tensor in each of
 * some layers (RtLayers) become one row a layer. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* "h.*.ln_1.weight" -> "h.3.ln_1.weight" */
static char *name_in_layer(const char *name, int number) {
    const char *star = strchr(name, '*');
    if (!star) rt_fail(RT_EXIT_USAGE, "the name '%s' is the same in every layer", name);
    return rt_text("%.*s%d%s", (int)(star - name), name, number, star + 1);
}

static RtTensor in_layer(const RtTensor *row, const RtLayers *layers, int layer) {
    RtTensor tensor = *row;
    tensor.name = name_in_layer(row->name, layers->number + layer);
    tensor.offset = row->column[layer * row->apart];
    tensor.of = row->of + layer * layers->parameters;
    tensor.column = NULL;
    return tensor;
}

RtProgram rt_whole(const RtProgram *program) {
    RtProgram whole = *program;
    int count = program->tensors;
    for (int i = 0; i < program->repeats; i++)
        count += program->layers[i].rows * (program->layers[i].layers - 1);
    RtTensor *tensor = rt_allocate((size_t)count * sizeof *tensor);
    whole.tensor = tensor;
    whole.tensors = count;
    whole.repeats = 0;
    const RtLayers *next = program->layers, *end = next + program->repeats;
    for (int i = 0; i < program->tensors;) {
        if (next == end || i < next->first) {
            *tensor++ = program->tensor[i++];
            continue;
        }
        for (int layer = 0; layer < next->layers; layer++)
            for (int row = 0; row < next->rows; row++)
                *tensor++ = in_layer(&program->tensor[i + row], next, layer);
        i += next++->rows;
    }
    return whole;
}

void rt_whole_free(const RtProgram *program, RtProgram *whole) {
    int at = 0, i = 0;
    for (const RtLayers *next = program->layers, *end = next + program->repeats; next < end; next++) {
        at += next->first - i;
        for (int k = 0; k < next->rows * next->layers; k++) free((void *)whole->tensor[at++].name);
        i = next->first + next->rows;
    }
    free((void *)whole->tensor);
    whole->tensor = NULL;
    whole->tensors = 0;
}
