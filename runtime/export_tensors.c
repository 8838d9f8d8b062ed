/* What becomes of each tensor of the base: whether it is copied, or what of the checkpoint takes its place,
 * under which name, in which type; and whether the two fit each other. All of it before a byte is written. */
#include "export.h"

#include "saved_nf4.h"

#include <stdlib.h>
#include <string.h>

static ExportTensor *out_of(const Export *ex, Found found) {
    return &ex->of[found.file][found.tensor - ex->files.at[found.file].file.tensor];
}

/* The tensor of the base that has what the program calls `name`. */
static ExportTensor *need(const Export *ex, const char *name) {
    Found found = weight_files_find(&ex->files, name);
    if (!found.tensor)
        rt_fail(RT_EXIT_IO, "the model was trained from another one: '%s' has no '%s'", ex->files.path, name);
    return out_of(ex, found);
}

/* What the program calls the weight. */
static void name_out(const Export *ex, ExportTensor *out, const char *name) {
    free(out->name);
    out->name = rt_text("%s", name);
    out->transposed = rt_names_find(&ex->model->transposed, name) >= 0;
}

/* A weight that is trained, an adapter, or nothing that a model has. */
void export_weight(Export *ex, const char *name) {
    if (rt_ends_in(name, export_b_tail)) return;
    int adapted = rt_ends_in(name, export_a_tail);
    char *weight =
        adapted ? rt_text("%.*s%s", (int)(strlen(name) - strlen(export_a_tail)), name, export_weight_tail)
                : rt_text("%s", name);
    ExportTensor *out = need(ex, weight);
    name_out(ex, out, weight);
    out->adapted |= adapted;
    out->trained |= !adapted;
    free(weight);
}

static void add_ties(Export *ex) {
    const RtModel *model = ex->model;
    for (int i = 0; i < model->tie.count; i++) {
        Found other = weight_files_find(&ex->files, model->tie.at[i]);
        ExportTensor *of = need(ex, model->tied_to.at[i]);
        if (!other.tensor || other.tensor == of->base.tensor || !of->trained) continue;
        ExportTensor *out = out_of(ex, other);
        name_out(ex, out, of->name);
        out->trained = 1;
    }
}

static void add_saved(Export *ex, ExportTensor *out) {
    RtTensor tensor;
    size_t length = strlen(out->base.tensor->name);
    out->type = saved_nf4_type(&ex->files, out->base, &tensor);
    out->packed = tensor.dtype;
    out->rank = tensor.rank;
    memcpy(out->dim, tensor.dim, sizeof out->dim);
    for (int i = 0; i < ex->files.count; i++)
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) {
            const char *name = ex->files.at[i].file.tensor[k].name;
            if (!strncmp(name, out->base.tensor->name, length) && name[length] == '.')
                ex->of[i][k].left_out = 1;
        }
}

static void add_quantised(Export *ex) {
    const RtModel *model = ex->model;
    for (int i = 0; i < ex->files.count; i++)
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) {
            ExportTensor *out = &ex->of[i][k];
            if (!saved_nf4(&ex->files, out->base)) continue;
            if (ex->unquantised)
                rt_fail(RT_EXIT_IO,
                        "'%s' is quantised in '%s': name the folder of the model as it was before",
                        out->base.tensor->name, ex->files.path);
            add_saved(ex, out);
        }
    for (int i = 0; i < model->packed.count && !ex->unquantised; i++) {
        ExportTensor *out = need(ex, model->packed.at[i]);
        if (out->packed >= 0) continue; /* saved so */
        out->packed = model->packed_dtype[i];
        name_out(ex, out, model->packed.at[i]);
    }
}

void export_open(Export *ex, const RtModel *model, const char *base, int unquantised) {
    *ex = (Export){.model = model, .unquantised = unquantised};
    weight_files_open(&ex->files, base);
    ex->of = rt_allocate((size_t)ex->files.count * sizeof *ex->of);
    for (int i = 0; i < ex->files.count; i++) {
        const StFile *file = &ex->files.at[i].file;
        ex->of[i] = rt_allocate((size_t)file->tensors * sizeof **ex->of);
        for (int k = 0; k < file->tensors; k++)
            ex->of[i][k] = (ExportTensor){.base = {i, &file->tensor[k]}, .packed = -1};
    }
    add_quantised(ex);
}

void export_sizes(Export *ex) {
    add_ties(ex);
    for (int i = 0; i < ex->files.count; i++)
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) {
            ExportTensor *out = &ex->of[i][k];
            const StTensor *base = out->base.tensor;
            int changes = out->trained || out->adapted || out->packed >= 0;
            out->bytes = base->end - base->begin;
            if (!changes || out->left_out) continue;
            if (out->type == RT_ELEMENT_NONE) { /* not saved quantised */
                out->type = elements_named(base->dtype);
                out->rank = base->rank;
                if (out->type == RT_ELEMENT_NONE || base->rank > K_MAX_RANK)
                    rt_fail(RT_EXIT_IO, "'%s' is %s in '%s': it cannot be trained", base->name, base->dtype,
                            ex->files.path);
                memcpy(out->dim, base->dim, (size_t)base->rank * sizeof *base->dim);
            }
            out->bytes = elements_bytes(out->type);
            for (int d = 0; d < out->rank; d++) out->bytes *= out->dim[d];
        }
}

void export_close(Export *ex) {
    for (int i = 0; i < ex->files.count; i++) {
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) free(ex->of[i][k].name);
        free(ex->of[i]);
    }
    free(ex->of);
    weight_files_close(&ex->files);
}

/* ---- does the checkpoint fit? ---- */

const StTensor *export_value(const Export *ex, const char *name) {
    char *master = rt_text("master.%s", name);
    const StTensor *tensor = st_find(ex->checkpoint, master);
    free(master);
    if (!tensor) tensor = st_find(ex->checkpoint, name);
    if (!tensor || elements_named(tensor->dtype) == RT_ELEMENT_NONE)
        rt_fail(RT_EXIT_IO, "the checkpoint has no '%s' that can be read", name);
    return tensor;
}

void export_factors(const Export *ex, const ExportTensor *out, const StTensor **a, const StTensor **b) {
    int stem = (int)(strlen(out->name) - strlen(export_weight_tail));
    char *a_name = rt_text("%.*s%s", stem, out->name, export_a_tail),
         *b_name = rt_text("%.*s%s", stem, out->name, export_b_tail);
    *a = export_value(ex, a_name), *b = export_value(ex, b_name);
    free(a_name), free(b_name);
}

static void check_trained(const Export *ex, const ExportTensor *out) {
    const StTensor *value = export_value(ex, out->name);
    int turn = out->transposed;
    int same = value->rank == out->rank && (!turn || value->rank == 2);
    for (int d = 0; same && d < out->rank; d++) same = value->dim[d] == out->dim[turn ? 1 - d : d];
    if (!same)
        rt_fail(RT_EXIT_IO, "'%s' of the checkpoint has another shape in '%s'", out->name, ex->files.path);
}

static void check_adapted(const Export *ex, const ExportTensor *out) {
    const StTensor *a, *b;
    export_factors(ex, out, &a, &b);
    if (out->rank != 2 || a->rank != 2 || b->rank != 2 || a->dim[1] != out->dim[!out->transposed] ||
        b->dim[0] != out->dim[out->transposed] || a->dim[0] != b->dim[1])
        rt_fail(RT_EXIT_IO, "the adapters of '%s' do not fit it in '%s'", out->name, ex->files.path);
}

void export_check_shapes(const Export *ex) {
    for (int i = 0; i < ex->files.count; i++)
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) {
            const ExportTensor *out = &ex->of[i][k];
            if (out->left_out) continue;
            if (out->trained) check_trained(ex, out);
            if (out->adapted) check_adapted(ex, out);
        }
}

void export_check_frozen(const Export *ex) {
    const RtModel *model = ex->model;
    uint64_t sum = 0;
    void *buffer = rt_allocate(WEIGHT_PART_BYTES);
    for (int i = 0; i < model->frozen.count; i++) {
        Found found = need(ex, model->frozen.at[i])->base;
        sum += saved_nf4(&ex->files, found) ? saved_nf4_sum(&ex->files, found, buffer)
                                            : weight_files_sum(&ex->files, found, buffer);
    }
    free(buffer);
    if (ex->unquantised && model->packed.count)
        rt_warn("%d weights of '%s' are taken as they are there; the checkpoint was trained beside them in 4 "
                "bits",
                model->packed.count, ex->files.path);
    if (!model->frozen.count || sum == model->base) return;
    char *what = rt_text("the frozen weights in '%s' are not those that the checkpoint was trained beside "
                         "(checksum %016llx, not %016llx)",
                         ex->files.path, (unsigned long long)sum, (unsigned long long)model->base);
    if (model->weights && !strcmp(ex->files.path, model->weights)) rt_fail(RT_EXIT_IO, "%s", what);
    rt_warn("%s", what);
    free(what);
}

ExportTensor **export_order(const Export *ex, int *count) {
    int all = 0;
    *count = 0;
    for (int i = 0; i < ex->files.count; i++) all += ex->files.at[i].file.tensors;
    ExportTensor **order = rt_allocate((size_t)(all + 1) * sizeof *order);
    for (int i = 0; i < ex->files.count; i++)
        for (int k = 0; k < ex->files.at[i].file.tensors; k++) {
            ExportTensor *out = &ex->of[i][ex->files.at[i].file.order[k]];
            if (!out->left_out) order[(*count)++] = out;
        }
    return order;
}
