/* See model.h. */
#include "model.h"

#include "../kernels/packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const packed_name[K_DTYPE_COUNT] = {
#define DTYPE(name, NAME, bytes)
#define PACKED(name, NAME, ...) [K_##NAME] = #name,
#include "../kernels/dtype.def"
#undef DTYPE
};

/* Weights are quantised to the types of 4 bits (quantize.h). */
static int is_of_weights(int dtype) {
    return k_packing(dtype).code_bits == 4;
}

static void add_packed(RtModel *model, const char *name, int dtype) {
    rt_names_add(&model->packed, name);
    int *grown = realloc(model->packed_dtype, (size_t)model->packed.room * sizeof *grown);
    if (!grown) rt_fail(RT_EXIT_MEMORY, "out of memory for names");
    model->packed_dtype = grown;
    model->packed_dtype[model->packed.count - 1] = dtype;
}

/* ---- of a program ---- */

RtModel rt_model_of(const RtProgram *program, uint64_t base) {
    RtModel model = {.base = base};
    if (program->weights_path) model.weights = rt_text("%s", program->weights_path);
    model.rank = program->adapter_rank;
    model.alpha = program->adapter_alpha;
    model.dropout = program->adapter_dropout;
    model.rank_stabilized = program->adapter_rank_stabilized;
    for (int i = 0; i < program->transposed_count; i++)
        rt_names_add(&model.transposed, program->tensor[program->transposed[i]].name);
    for (int i = 0; i < program->ties; i++) {
        rt_names_add(&model.tie, program->tie[i].name);
        rt_names_add(&model.tied_to, program->tensor[program->tie[i].of].name);
    }
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (tensor->kind != RT_FROZEN) continue;
        if (model.weights) rt_names_add(&model.frozen, tensor->name);
        if (is_of_weights(tensor->dtype)) add_packed(&model, tensor->name, tensor->dtype);
    }
    return model;
}

/* ---- as text ---- */

char *rt_model_text(const RtModel *model) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = rt_text_open(&text, &length);
    if (model->weights)
        fprintf(out, "weights %s\nbase %016llx\n", model->weights, (unsigned long long)model->base);
    if (model->rank)
        fprintf(out, "adapt %lld %.17g %.17g %d\n", (long long)model->rank, model->alpha, model->dropout,
                model->rank_stabilized);
    for (int i = 0; i < model->transposed.count; i++)
        fprintf(out, "transposed %s\n", model->transposed.at[i]);
    for (int i = 0; i < model->tie.count; i++)
        fprintf(out, "tie %s\nof %s\n", model->tie.at[i], model->tied_to.at[i]);
    for (int i = 0; i < model->frozen.count; i++) fprintf(out, "frozen %s\n", model->frozen.at[i]);
    for (int i = 0; i < model->packed.count; i++)
        fprintf(out, "%s %s\n", packed_name[model->packed_dtype[i]], model->packed.at[i]);
    rt_text_close(out, &text);
    return text;
}

/* What stands behind a word and a blank; NULL where the line begins with another word. */
static const char *after(const char *line, const char *word) {
    size_t length = strlen(word);
    return !strncmp(line, word, length) && line[length] == ' ' ? line + length + 1 : NULL;
}

static int read_line(RtModel *model, const char *line) {
    const char *rest;
    long long rank;
    int read = 0;
    if ((rest = after(line, "weights"))) {
        free(model->weights);
        model->weights = rt_text("%s", rest);
    } else if ((rest = after(line, "base"))) {
        char *end;
        model->base = strtoull(rest, &end, 16);
        return !*end && end == rest + 16;
    } else if ((rest = after(line, "adapt"))) {
        if (sscanf(rest, "%lld %lf %lf %d%n", &rank, &model->alpha, &model->dropout, &model->rank_stabilized,
                   &read) != 4)
            return 0;
        model->rank = rank;
        return !rest[read] && rank > 0 && isfinite(model->alpha) && model->dropout >= 0 && model->dropout < 1;
    } else if ((rest = after(line, "transposed"))) {
        rt_names_add(&model->transposed, rest);
    } else if ((rest = after(line, "tie"))) {
        rt_names_add(&model->tie, rest);
    } else if ((rest = after(line, "frozen"))) {
        rt_names_add(&model->frozen, rest);
    } else if ((rest = after(line, "of"))) {
        rt_names_add(&model->tied_to, rest);
    } else {
        for (int type = 0; type < K_DTYPE_COUNT && !rest; type++)
            if (is_of_weights(type) && (rest = after(line, packed_name[type]))) add_packed(model, rest, type);
        return rest != NULL;
    }
    return 1;
}

int rt_model_parse(RtModel *model, const char *text, RtError *error) {
    *model = (RtModel){0};
    if (!text) return 1;
    char *lines = rt_text("%s", text);
    int good = 1;
    for (char *next = lines, *line; good && (line = strsep(&next, "\n"));)
        if (*line) good = read_line(model, line);
    free(lines);
    if (good && model->tie.count == model->tied_to.count) return 1;
    rt_model_free(model);
    return rt_error(error, "what it says of its model is not understood: it is of another version");
}

void rt_model_free(RtModel *model) {
    free(model->weights);
    rt_names_free(&model->transposed);
    rt_names_free(&model->tie);
    rt_names_free(&model->tied_to);
    rt_names_free(&model->frozen);
    rt_names_free(&model->packed);
    free(model->packed_dtype);
    *model = (RtModel){0};
}

double rt_model_scale(const RtModel *model) {
    double rank = (double)model->rank;
    return model->alpha / (model->rank_stabilized ? sqrt(rank) : rank);
}
