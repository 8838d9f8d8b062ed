/* See model_out.h. What becomes of each tensor of the base is known before a byte is written (plan_*); then
 * one after the other is made, in parts where it is large, and written. */
#include "model_out.h"

#include "model_plan.h"
#include "quantize.h"
#include "saved_nf4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PART_ELEMENTS = 1 << 20 }; /* at a time, of what need not be whole */
static const int64_t SHARD_BYTES = INT64_C(5000000000);

/* ---- planning ---- */

static Out *out_of(const Plan *plan, Found found) {
    return &plan->of[found.file][found.tensor - plan->files.at[found.file].file.tensor];
}

/* The tensor of the base that has what the program calls `name`. */
static Out *need(const Plan *plan, const char *name) {
    Found found = weight_files_find(&plan->files, name);
    if (!found.tensor)
        rt_fail(RT_EXIT_IO, "the model was trained from another one: '%s' has no '%s'", plan->files.path,
                name);
    return out_of(plan, found);
}

/* What the program calls the weight. */
static void name_out(const Plan *plan, Out *out, const char *name) {
    free(out->name);
    out->name = rt_text("%s", name);
    out->transposed = rt_names_find(&plan->model->transposed, name) >= 0;
}

/* A weight that is trained, an adapter, or nothing that a model has. */
static void plan_weight(Plan *plan, const char *name) {
    if (rt_ends_in(name, plan_b_tail)) return;
    int adapted = rt_ends_in(name, plan_a_tail);
    char *weight = adapted
                       ? rt_text("%.*s%s", (int)(strlen(name) - strlen(plan_a_tail)), name, plan_weight_tail)
                       : rt_text("%s", name);
    Out *out = need(plan, weight);
    name_out(plan, out, weight);
    out->adapted |= adapted;
    out->trained |= !adapted;
    free(weight);
}

static void plan_ties(Plan *plan) {
    const RtModel *model = plan->model;
    for (int i = 0; i < model->tie.count; i++) {
        Found other = weight_files_find(&plan->files, model->tie.at[i]);
        Out *of = need(plan, model->tied_to.at[i]);
        if (!other.tensor || other.tensor == of->base.tensor || !of->trained) continue;
        Out *out = out_of(plan, other);
        name_out(plan, out, of->name);
        out->trained = 1;
    }
}

static void plan_saved(Plan *plan, Out *out) {
    RtTensor tensor;
    size_t length = strlen(out->base.tensor->name);
    out->type = saved_nf4_type(&plan->files, out->base, &tensor);
    out->packed = tensor.dtype;
    out->rank = tensor.rank;
    memcpy(out->dim, tensor.dim, sizeof out->dim);
    for (int i = 0; i < plan->files.count; i++)
        for (int k = 0; k < plan->files.at[i].file.tensors; k++) {
            const char *name = plan->files.at[i].file.tensor[k].name;
            if (!strncmp(name, out->base.tensor->name, length) && name[length] == '.')
                plan->of[i][k].left_out = 1;
        }
}

/* Everything of the base; weights are planned after that. */
static void plan_base(Plan *plan, const RtModel *model, const char *base) {
    *plan = (Plan){.model = model};
    weight_files_open(&plan->files, base);
    plan->of = rt_allocate((size_t)plan->files.count * sizeof *plan->of);
    for (int i = 0; i < plan->files.count; i++) {
        const StFile *file = &plan->files.at[i].file;
        plan->of[i] = rt_allocate((size_t)file->tensors * sizeof **plan->of);
        for (int k = 0; k < file->tensors; k++)
            plan->of[i][k] = (Out){.base = {i, &file->tensor[k]}, .packed = -1};
    }
    for (int i = 0; i < plan->files.count; i++)
        for (int k = 0; k < plan->files.at[i].file.tensors; k++)
            if (saved_nf4(&plan->files, plan->of[i][k].base)) plan_saved(plan, &plan->of[i][k]);
    for (int i = 0; i < model->packed.count; i++) {
        Out *out = need(plan, model->packed.at[i]);
        if (out->packed >= 0) continue; /* saved so */
        out->packed = model->packed_dtype[i];
        name_out(plan, out, model->packed.at[i]);
    }
}

/* Types and sizes, once it is known what becomes of each. */
static void plan_sizes(Plan *plan) {
    plan_ties(plan);
    for (int i = 0; i < plan->files.count; i++)
        for (int k = 0; k < plan->files.at[i].file.tensors; k++) {
            Out *out = &plan->of[i][k];
            const StTensor *base = out->base.tensor;
            int changes = out->trained || out->adapted || out->packed >= 0;
            out->bytes = base->end - base->begin;
            if (!changes || out->left_out) continue;
            if (out->type == RT_ELEMENT_NONE) { /* not saved quantised */
                out->type = elements_named(base->dtype);
                out->rank = base->rank;
                if (out->type == RT_ELEMENT_NONE || base->rank > K_MAX_RANK)
                    rt_fail(RT_EXIT_IO, "'%s' is %s in '%s': it cannot be trained", base->name, base->dtype,
                            plan->files.path);
                memcpy(out->dim, base->dim, (size_t)base->rank * sizeof *base->dim);
            }
            out->bytes = elements_bytes(out->type);
            for (int d = 0; d < out->rank; d++) out->bytes *= out->dim[d];
        }
}

static void free_plan(Plan *plan) {
    for (int i = 0; i < plan->files.count; i++) {
        for (int k = 0; k < plan->files.at[i].file.tensors; k++) free(plan->of[i][k].name);
        free(plan->of[i]);
    }
    free(plan->of);
    weight_files_close(&plan->files);
}

/* ---- numbers ---- */

static void read_checkpoint(const Plan *plan, const StTensor *tensor, int64_t begin, int64_t count,
                            void *to) {
    RtError error;
    int64_t size = tensor->element_bytes;
    if (!st_read(plan->checkpoint, tensor, begin * size, to, count * size, &error))
        rt_fail(RT_EXIT_IO, "the checkpoint: %s", error.text);
}

/* A weight's unrounded value where the checkpoint has one. */
const StTensor *plan_value(const Plan *plan, const char *name) {
    char *master = rt_text("master.%s", name);
    const StTensor *tensor = st_find(plan->checkpoint, master);
    free(master);
    if (!tensor) tensor = st_find(plan->checkpoint, name);
    if (!tensor || elements_named(tensor->dtype) == RT_ELEMENT_NONE)
        rt_fail(RT_EXIT_IO, "the checkpoint has no '%s' that can be read", name);
    return tensor;
}

static float *read_floats(const Plan *plan, const StTensor *tensor) {
    RtElement type = elements_named(tensor->dtype);
    float *to = rt_allocate((size_t)(tensor->elements + 1) * sizeof *to);
    char *raw = rt_allocate((size_t)(tensor->elements * elements_bytes(type) + 1));
    read_checkpoint(plan, tensor, 0, tensor->elements, raw);
    elements_convert(to, RT_ELEMENT_F32, raw, type, tensor->elements);
    free(raw);
    return to;
}

static float *turned(float *from, int64_t rows, int64_t columns) {
    float *to = rt_allocate((size_t)(rows * columns + 1) * sizeof *to);
    elements_turn(to, RT_ELEMENT_F32, from, RT_ELEMENT_F32, rows, columns, columns);
    free(from);
    return to;
}

/* What adapters add to a matrix [rows, columns] as the base has it: scale * left [rows, rank] right [rank,
 * columns]. */
typedef struct Delta {
    float *left, *right;
    int64_t rank, columns;
    float scale;
} Delta;

/* The factors of what is added to it, A [rank, in] and B [out, rank]. */
static void find_factors(const Plan *plan, const Out *out, const StTensor **a, const StTensor **b) {
    int stem = (int)(strlen(out->name) - strlen(plan_weight_tail));
    char *a_name = rt_text("%.*s%s", stem, out->name, plan_a_tail),
         *b_name = rt_text("%.*s%s", stem, out->name, plan_b_tail);
    *a = plan_value(plan, a_name), *b = plan_value(plan, b_name);
    free(a_name), free(b_name);
}

static Delta read_delta(const Plan *plan, const Out *out) {
    const StTensor *a, *b;
    find_factors(plan, out, &a, &b);
    int64_t rows = out->dim[out->transposed], columns = out->dim[!out->transposed]; /* [out, in] */
    Delta delta = {.rank = a->dim[0], .columns = out->dim[1], .scale = (float)rt_model_scale(plan->model)};
    delta.left = read_floats(plan, out->transposed ? a : b);
    delta.right = read_floats(plan, out->transposed ? b : a);
    if (out->transposed) { /* A^T [in, rank], B^T [rank, out] */
        delta.left = turned(delta.left, delta.rank, columns);
        delta.right = turned(delta.right, rows, delta.rank);
    }
    return delta;
}

static void check_trained(const Plan *plan, const Out *out) {
    const StTensor *value = plan_value(plan, out->name);
    int turn = out->transposed;
    int same = value->rank == out->rank && (!turn || value->rank == 2);
    for (int d = 0; same && d < out->rank; d++) same = value->dim[d] == out->dim[turn ? 1 - d : d];
    if (!same)
        rt_fail(RT_EXIT_IO, "'%s' of the checkpoint has another shape in '%s'", out->name, plan->files.path);
}

static void check_adapted(const Plan *plan, const Out *out) {
    const StTensor *a, *b;
    find_factors(plan, out, &a, &b);
    if (out->rank != 2 || a->rank != 2 || b->rank != 2 || a->dim[1] != out->dim[!out->transposed] ||
        b->dim[0] != out->dim[out->transposed] || a->dim[0] != b->dim[1])
        rt_fail(RT_EXIT_IO, "the adapters of '%s' do not fit it in '%s'", out->name, plan->files.path);
}

/* Whether the checkpoint has what is to be written, in the shapes of the base. */
static void check_shapes(const Plan *plan) {
    for (int i = 0; i < plan->files.count; i++)
        for (int k = 0; k < plan->files.at[i].file.tensors; k++) {
            const Out *out = &plan->of[i][k];
            if (out->left_out) continue;
            if (out->trained) check_trained(plan, out);
            if (out->adapted) check_adapted(plan, out);
        }
}

/* Are the frozen weights of the base those that the rest was trained beside? Another base, which was asked
 * for, may hold them in other types. */
static void check_frozen(const Plan *plan) {
    const RtModel *model = plan->model;
    uint64_t sum = 0;
    void *buffer = rt_allocate(WEIGHT_PART_BYTES);
    for (int i = 0; i < model->frozen.count; i++) {
        Found found = need(plan, model->frozen.at[i])->base;
        sum += saved_nf4(&plan->files, found) ? saved_nf4_sum(&plan->files, found, buffer)
                                              : weight_files_sum(&plan->files, found, buffer);
    }
    free(buffer);
    if (!model->frozen.count || sum == model->base) return;
    char *what = rt_text("the frozen weights in '%s' are not those that the checkpoint was trained beside "
                         "(checksum %016llx, not %016llx)",
                         plan->files.path, (unsigned long long)sum, (unsigned long long)model->base);
    if (!strcmp(plan->files.path, model->weights)) rt_fail(RT_EXIT_IO, "%s", what);
    rt_warn("%s", what);
    free(what);
}

/* Rows [first, first + rows). Products are exact in double, so that a compiler that merges them with the sum
 * makes the same bits. */
static void add_delta(const Delta *delta, float *w, int64_t first, int64_t rows) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float *to = w + row * delta->columns;
        for (int64_t begin = 0; begin < delta->columns; begin += 256) {
            double sum[256] = {0};
            int64_t wide = delta->columns - begin < 256 ? delta->columns - begin : 256;
            for (int64_t k = 0; k < delta->rank; k++) {
                double factor = (double)delta->left[(first + row) * delta->rank + k];
                const float *right = delta->right + k * delta->columns + begin;
                for (int64_t i = 0; i < wide; i++) sum[i] += factor * (double)right[i];
            }
            for (int64_t i = 0; i < wide; i++) to[begin + i] += (float)((double)delta->scale * sum[i]);
        }
    }
}

/* A quantised matrix of the base as f32 in the base's order: what is saved in it, or what was made of it on
 * the way into the program. */
static float *read_quantised(const Plan *plan, const Out *out) {
    int64_t count = 1;
    for (int d = 0; d < out->rank; d++) count *= out->dim[d];
    float *x = rt_allocate((size_t)(count + 1) * sizeof *x);
    if (saved_nf4(&plan->files, out->base)) {
        saved_nf4_read(&plan->files, out->base, x);
        return x;
    }
    RtElement type = elements_named(out->base.tensor->dtype);
    char *raw = rt_allocate((size_t)(count * elements_bytes(type) + 1));
    weight_files_read(&plan->files, out->base, 0, count, raw);
    elements_convert(x, RT_ELEMENT_F32, raw, type, count);
    free(raw);
    if (out->transposed) x = turned(x, out->dim[0], out->dim[1]);
    rt_nf4_round(x, count, out->packed);
    return out->transposed ? turned(x, out->dim[1], out->dim[0]) : x;
}

/* ---- writing ---- */

static void put(Writer *to, const void *bytes, int64_t count) {
    if (atomic_file_write(&to->file, bytes, count)) return;
    model_folder_fail(to->folder, to->name, strerror(errno));
}

void writer_begin(Writer *to, ModelFolder *folder, const char *name, const char *header, size_t length) {
    *to = (Writer){.folder = folder, .name = rt_text("%s", name)};
    char *path = model_folder_file(folder, name);
    if (!atomic_file_open(&to->file, path)) model_folder_fail(folder, name, strerror(errno));
    free(path);
    unsigned char bytes[ST_LENGTH_BYTES];
    st_length_bytes(bytes, length);
    put(to, bytes, sizeof bytes);
    put(to, header, (int64_t)length);
}

void writer_end(Writer *to) {
    if (!atomic_file_commit(&to->file)) model_folder_fail(to->folder, to->name, strerror(errno));
    free(to->name);
}

static void put_floats(Writer *to, const float *x, RtElement type, int64_t count) {
    char *part = rt_allocate((size_t)(PART_ELEMENTS * elements_bytes(type)));
    for (int64_t begin = 0; begin < count; begin += PART_ELEMENTS) {
        int64_t some = count - begin < PART_ELEMENTS ? count - begin : PART_ELEMENTS;
        elements_convert(part, type, x + begin, RT_ELEMENT_F32, some);
        put(to, part, some * elements_bytes(type));
    }
    free(part);
}

static void put_copy(const Plan *plan, const Out *out, Writer *to) {
    const WeightFile *from = &plan->files.at[out->base.file];
    char *part = rt_allocate(RT_CHUNK_BYTES);
    for (int64_t at = 0; at < out->bytes; at += RT_CHUNK_BYTES) {
        RtError error;
        int64_t some = out->bytes - at < RT_CHUNK_BYTES ? out->bytes - at : RT_CHUNK_BYTES;
        if (!st_read(&from->file, out->base.tensor, at, part, some, &error))
            rt_fail(RT_EXIT_IO, "'%s': %s", from->path, error.text);
        put(to, part, some);
    }
    free(part);
}

/* A weight of the checkpoint, as files of weights have it. */
void plan_put_value(const Plan *plan, const StTensor *value, int is_transposed, RtElement type, Writer *to) {
    RtElement from = elements_named(value->dtype);
    if (is_transposed) {
        float *x = turned(read_floats(plan, value), value->dim[0], value->dim[1]);
        put_floats(to, x, type, value->elements);
        free(x);
        return;
    }
    char *raw = rt_allocate(PART_ELEMENTS * 4), *part = rt_allocate(PART_ELEMENTS * 4);
    for (int64_t begin = 0; begin < value->elements; begin += PART_ELEMENTS) {
        int64_t some = value->elements - begin < PART_ELEMENTS ? value->elements - begin : PART_ELEMENTS;
        read_checkpoint(plan, value, begin, some, raw);
        elements_convert(part, type, raw, from, some);
        put(to, part, some * elements_bytes(type));
    }
    free(raw), free(part);
}

static void put_trained(const Plan *plan, const Out *out, Writer *to) {
    plan_put_value(plan, plan_value(plan, out->name), out->transposed, out->type, to);
}

static void put_adapted(const Plan *plan, const Out *out, Writer *to) {
    RtElement from = elements_named(out->base.tensor->dtype);
    Delta delta = read_delta(plan, out);
    int64_t rows = out->dim[0], columns = out->dim[1], high = PART_ELEMENTS / columns + 1;
    char *raw = rt_allocate((size_t)(high * columns) * 4);
    float *x = rt_allocate((size_t)(high * columns) * sizeof *x);
    for (int64_t row = 0; row < rows; row += high) {
        int64_t some = rows - row < high ? rows - row : high;
        weight_files_read(&plan->files, out->base, row * columns, some * columns, raw);
        elements_convert(x, RT_ELEMENT_F32, raw, from, some * columns);
        add_delta(&delta, x, row, some);
        put_floats(to, x, out->type, some * columns);
    }
    free(raw), free(x), free(delta.left), free(delta.right);
}

static void put_quantised(const Plan *plan, const Out *out, Writer *to) {
    float *x = read_quantised(plan, out);
    if (out->adapted) {
        Delta delta = read_delta(plan, out);
        add_delta(&delta, x, 0, out->dim[0]);
        free(delta.left), free(delta.right);
    }
    put_floats(to, x, out->type, out->bytes / elements_bytes(out->type));
    free(x);
}

static void put_tensor(const Plan *plan, const Out *out, Writer *to) {
    if (out->trained)
        put_trained(plan, out, to);
    else if (out->packed >= 0)
        put_quantised(plan, out, to);
    else if (out->adapted)
        put_adapted(plan, out, to);
    else
        put_copy(plan, out, to);
}

/* ---- headers, shards and the index ---- */

static const char *type_name(RtElement type) {
    return type == RT_ELEMENT_F32 ? "F32" : type == RT_ELEMENT_BF16 ? "BF16" : "F16";
}

/* All that is written, in the order of the base. */
Out **plan_order(const Plan *plan, int *count) {
    int all = 0;
    *count = 0;
    for (int i = 0; i < plan->files.count; i++) all += plan->files.at[i].file.tensors;
    Out **order = rt_allocate((size_t)(all + 1) * sizeof *order);
    for (int i = 0; i < plan->files.count; i++)
        for (int k = 0; k < plan->files.at[i].file.tensors; k++) {
            Out *out = &plan->of[i][plan->files.at[i].file.order[k]];
            if (!out->left_out) order[(*count)++] = out;
        }
    return order;
}

/* Where the shard that begins with tensor `first` ends. */
static int shard_end(Out **order, int count, int first) {
    int64_t bytes = order[first]->bytes;
    int end = first + 1;
    while (end < count && bytes + order[end]->bytes <= SHARD_BYTES) bytes += order[end++]->bytes;
    return end;
}

static void put_shard(const Plan *plan, ModelFolder *folder, const char *name, Out **order, int first,
                      int end) {
    char *header = NULL;
    size_t length = 0;
    int64_t at = 0;
    FILE *text = rt_text_open(&header, &length);
    fputs(plan_metadata, text);
    for (int i = first; i < end; i++) {
        const Out *out = order[i];
        const StTensor *base = out->base.tensor;
        int copied = out->type == RT_ELEMENT_NONE;
        st_add_entry(text, base->name, copied ? base->dtype : type_name(out->type),
                     copied ? base->rank : out->rank, copied ? base->dim : out->dim, at, at + out->bytes);
        at += out->bytes;
    }
    st_close_header(text);
    Writer to;
    writer_begin(&to, folder, name, header, length);
    for (int i = first; i < end; i++) put_tensor(plan, order[i], &to);
    writer_end(&to);
    free(header);
}

static int64_t put_merged(const Plan *plan, ModelFolder *folder) {
    int count, shards = 0, shard = 0;
    int64_t sum = 0;
    char *index = NULL;
    size_t length = 0;
    Out **order = plan_order(plan, &count);
    for (int i = 0; i < count; i++) sum += order[i]->bytes;
    for (int first = 0; first < count; shards++) first = shard_end(order, count, first);
    FILE *text = rt_text_open(&index, &length);
    fprintf(text, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {", (long long)sum);
    for (int first = 0, end; first < count; first = end) {
        end = shard_end(order, count, first);
        char *name = shards == 1 ? rt_text("model.safetensors")
                                 : rt_text("model-%05d-of-%05d.safetensors", ++shard, shards);
        put_shard(plan, folder, name, order, first, end);
        for (int i = first; i < end; i++) {
            char *quoted = rt_json_string(order[i]->base.tensor->name);
            fprintf(text, "%s\n    %s: \"%s\"", i ? "," : "", quoted, name);
            free(quoted);
        }
        free(name);
    }
    fprintf(text, "\n  }\n}\n");
    rt_text_close(text);
    if (shards > 1) model_folder_put(folder, "model.safetensors.index.json", index, length);
    free(index), free(order);
    return sum;
}

/* ---- all of it ---- */

static void need_kind(const RtModel *model, RtOutKind kind, const char *base) {
    struct stat status;
    if (!base) rt_fail(RT_EXIT_IO, "it was not trained from a published model: name the folder of one");
    if (kind == RT_OUT_ADAPTER && !model->rank) rt_fail(RT_EXIT_IO, "no adapters were trained");
    if (stat(base, &status) != 0) rt_fail(RT_EXIT_IO, "the base model '%s': %s", base, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        rt_fail(RT_EXIT_IO, "the base model '%s' is no folder: other tools need its config.json", base);
}

int64_t rt_model_out_check(const RtProgram *program, const char *out, RtOutKind kind) {
    RtModel model = rt_model_of(program, 0);
    Plan plan;
    need_kind(&model, kind, model.weights);
    model_folder_check(out, model.weights);
    plan_base(&plan, &model, model.weights);
    int64_t bytes = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (tensor->kind != RT_PARAM && tensor->kind != RT_ADAPTER) continue;
        plan_weight(&plan, tensor->name);
        if (kind == RT_OUT_ADAPTER) bytes += rt_tensor_count(tensor) * 4;
    }
    plan_sizes(&plan);
    if (kind == RT_OUT_MERGED) {
        int count;
        Out **order = plan_order(&plan, &count);
        for (int i = 0; i < count; i++) bytes += order[i]->bytes;
        bytes += model_folder_carry_over(NULL, model.weights);
        free(order);
    }
    free_plan(&plan);
    rt_model_free(&model);
    return bytes;
}

/* Moments and masters are called PREFIX.NAME after a weight that is there (rt.h, RtTensor). */
static int is_state(const StFile *file, const char *name) {
    static const char *const prefix[] = {"m.", "v.", "master."};
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(prefix[i]);
        if (!strncmp(name, prefix[i], length) && st_find(file, name + length)) return 1;
    }
    return 0;
}

int64_t rt_model_out(const char *checkpoint, const char *base, const char *out, RtOutKind kind) {
    StFile file;
    RtModel model;
    RtError error;
    Plan plan;
    ModelFolder folder;
    if (!rt_checkpoint_check(checkpoint, &error) || !st_open(&file, checkpoint, &error) ||
        !rt_model_parse(&model, st_metadata(&file, "model_text"), &error))
        rt_fail(RT_EXIT_IO, "the checkpoint '%s': %s", checkpoint, error.text);
    if (!base) base = model.weights;
    need_kind(&model, kind, base);
    model_folder_check(out, base);
    plan_base(&plan, &model, base);
    plan.checkpoint = &file;
    for (int i = 0; i < file.tensors; i++)
        if (!is_state(&file, file.tensor[i].name)) plan_weight(&plan, file.tensor[i].name);
    plan_sizes(&plan);
    check_shapes(&plan);
    check_frozen(&plan);
    model_folder_begin(&folder, out);
    int64_t bytes = kind == RT_OUT_ADAPTER ? plan_put_adapter(&plan, &folder) : put_merged(&plan, &folder);
    if (kind == RT_OUT_MERGED) bytes += model_folder_carry_over(&folder, base);
    model_folder_commit(&folder);
    free_plan(&plan);
    rt_model_free(&model);
    st_close(&file);
    return bytes;
}
