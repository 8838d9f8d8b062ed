/* Adapters as PEFT has them: adapter_config.json, which says where they belong, and
 * adapter_model.safetensors, always F32. Layers are called as transformers calls them in the model it builds.
 */
#include "export.h"

#include <stdlib.h>
#include <string.h>

/* Where the layer is in the model as transformers builds it, whatever the files of the base leave out. */
static char *module_of(const ExportTensor *out, const char *root) {
    const char *name = out->base.tensor->name, *dot = strrchr(name, '.');
    int stem = (int)(dot ? dot - name : (long)strlen(name));
    int whole =
        !strncmp(name, "model.", 6) || !strncmp(name, "transformer.", 12) || !strncmp(name, "lm_head.", 8);
    return rt_text("%s%.*s", whole ? "" : root, stem, name);
}

static const char *last_part(const char *module) {
    const char *dot = strrchr(module, '.');
    return dot ? dot + 1 : module;
}

/* Whether all matrices of the base whose layer's name ends so are adapted: then that says it all. */
static int says_it_all(ExportTensor **order, int count, const char *part) {
    char *tail = rt_text(".%s%s", part, export_weight_tail);
    int all = 1;
    for (int i = 0; i < count; i++)
        all &= order[i]->adapted || !rt_ends_in(order[i]->base.tensor->name, tail);
    free(tail);
    return all;
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void put_names(FILE *out, const char *key, const RtNames *names) {
    if (names->count) qsort(names->at, (size_t)names->count, sizeof *names->at, by_name);
    fprintf(out, "  \"%s\": ", key);
    if (!names->count) {
        fprintf(out, "null,\n");
        return;
    }
    for (int i = 0; i < names->count; i++) {
        char *quoted = rt_json_string(names->at[i]);
        fprintf(out, "%s\n    %s", i ? "," : "[", quoted);
        free(quoted);
    }
    fprintf(out, "\n  ],\n");
}

/* As short as it reads back the same. */
static void put_number(FILE *out, const char *key, double value) {
    char text[32];
    int digits = 1, whole = value > -1e15 && value < 1e15 && value == (double)(long long)value;
    do snprintf(text, sizeof text, whole ? "%.*f" : "%.*g", whole ? 0 : digits, value);
    while (strtod(text, NULL) != value && ++digits < 18);
    fprintf(out, "  \"%s\": %s,\n", key, text);
}

static void put_adapter_config(const Export *ex, ModelFolder *folder, ExportTensor **order, int count,
                               const char *root) {
    const RtModel *model = ex->model;
    RtNames targets = {0}, saved = {0}, parts = {0};
    int short_names = 1, turned_layers = 0;
    for (int i = 0; i < count; i++) {
        char *module = module_of(order[i], root);
        if (order[i]->adapted) {
            rt_names_add(&targets, module);
            turned_layers |= order[i]->transposed;
            if (rt_names_find(&parts, last_part(module)) < 0) rt_names_add(&parts, last_part(module));
        }
        if (order[i]->trained && rt_names_find(&saved, module) < 0) rt_names_add(&saved, module);
        free(module);
    }
    for (int i = 0; i < parts.count; i++) short_names &= says_it_all(order, count, parts.at[i]);
    char *text = NULL, *base = rt_json_string(ex->files.path);
    size_t length = 0;
    FILE *out = rt_text_open(&text, &length);
    fprintf(out, "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n");
    fprintf(out, "  \"base_model_name_or_path\": %s,\n  \"r\": %lld,\n", base, (long long)model->rank);
    put_number(out, "lora_alpha", model->alpha);
    put_number(out, "lora_dropout", model->dropout);
    put_names(out, "target_modules", short_names ? &parts : &targets);
    put_names(out, "modules_to_save", &saved);
    fprintf(
        out,
        "  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s,\n  \"use_rslora\": %s,\n  \"use_dora\": false,\n"
        "  \"init_lora_weights\": true,\n  \"inference_mode\": true,\n  \"rank_pattern\": {},\n"
        "  \"alpha_pattern\": {}\n}\n",
        turned_layers ? "true" : "false", model->rank_stabilized ? "true" : "false");
    rt_text_close(out, &text);
    model_folder_put(folder, "adapter_config.json", text, length);
    rt_names_free(&targets), rt_names_free(&saved), rt_names_free(&parts);
    free(text), free(base);
}

typedef struct Piece { /* of adapter_model.safetensors */
    const StTensor *value;
    int transposed;
} Piece;

static void add_piece(const Export *ex, FILE *text, char *key, const char *name, const ExportTensor *out,
                      int64_t *at, Piece *piece) {
    int turn = out->trained && out->transposed && rt_ends_in(name, export_weight_tail);
    const StTensor *value = export_value(ex, name);
    int64_t dim[K_MAX_RANK];
    for (int d = 0; d < value->rank; d++) dim[d] = value->dim[turn ? 1 - d : d];
    st_add_entry(text, key, "F32", value->rank, dim, *at, *at + value->elements * 4);
    *at += value->elements * 4;
    *piece = (Piece){value, turn};
    free(key);
}

int64_t export_adapter(const Export *ex, ModelFolder *folder) {
    int count, pieces = 0;
    int64_t at = 0;
    size_t length = 0;
    ExportTensor **order = export_order(ex, &count);
    char *header = NULL, *type = model_folder_config(ex->files.path, "model_type");
    const char *root = type && !strcmp(type, "gpt2") ? "transformer." : "model.";
    Piece *piece = rt_allocate((size_t)(2 * count + 1) * sizeof *piece);
    FILE *text = rt_text_open(&header, &length);
    fputs(export_metadata, text);
    for (int i = 0; i < count; i++) {
        const ExportTensor *out = order[i];
        if (!out->adapted && !out->trained) continue;
        char *module = module_of(out, root);
        const char *dot = strrchr(out->base.tensor->name, '.');
        if (out->trained)
            add_piece(ex, text, rt_text("base_model.model.%s%s", module, dot ? dot : ""), out->name, out, &at,
                      &piece[pieces++]);
        for (int b = 0; out->adapted && b < 2; b++) {
            const char *tail = b ? export_b_tail : export_a_tail;
            char *name =
                rt_text("%.*s%s", (int)(strlen(out->name) - strlen(export_weight_tail)), out->name, tail);
            add_piece(ex, text, rt_text("base_model.model.%s%s", module, tail), name, out, &at,
                      &piece[pieces++]);
            free(name);
        }
        free(module);
    }
    st_close_header(text, &header);
    ExportFile to;
    export_file_begin(&to, folder, "adapter_model.safetensors", header, length);
    for (int i = 0; i < pieces; i++)
        export_put_value(ex, piece[i].value, piece[i].transposed, RT_ELEMENT_F32, &to);
    export_file_end(&to);
    put_adapter_config(ex, folder, order, count, root);
    free(order), free(header), free(type), free(piece);
    return at;
}
