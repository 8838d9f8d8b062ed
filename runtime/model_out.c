/* See model_out.h. What becomes of each tensor of the base is known before a byte is written
 * (export_tensors.c). */
#include "model_out.h"

#include "export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void need_kind(const RtModel *model, RtOutKind kind, const char *base) {
    struct stat status;
    if (!base) rt_fail(RT_EXIT_IO, "it was not trained from a published model: name the folder of one");
    if (kind == RT_OUT_ADAPTER && !model->rank) rt_fail(RT_EXIT_IO, "no adapters were trained");
    if (stat(base, &status) != 0) rt_fail(RT_EXIT_IO, "the base model '%s': %s", base, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        rt_fail(RT_EXIT_IO, "the base model '%s' is no folder: other tools need its config.json", base);
}

/* The folder goes neither into the one it is made of nor into that of the weights it was trained from. */
static void check_places(const RtModel *model, const RtOutRequest *request, const char *base) {
    model_folder_check(request->folder, base);
    if (model->weights && access(model->weights, F_OK) == 0)
        model_folder_check(request->folder, model->weights);
}

int64_t rt_model_out_check(const RtProgram *program, const RtOutRequest *request) {
    const RtOutKind kind = request->kind;
    RtModel model = rt_model_of(program, 0);
    const char *base = request->base ? request->base : model.weights;
    Export ex;
    need_kind(&model, kind, base);
    check_places(&model, request, base);
    export_open(&ex, &model, base, request->unquantised);
    int64_t bytes = 0;
    for (int i = 0; i < program->tensors; i++) {
        const RtTensor *tensor = &program->tensor[i];
        if (tensor->kind != RT_PARAM && tensor->kind != RT_ADAPTER) continue;
        export_weight(&ex, tensor->name);
        if (kind == RT_OUT_ADAPTER) bytes += rt_tensor_count(tensor) * 4;
    }
    export_sizes(&ex);
    if (kind == RT_OUT_MERGED) {
        int count;
        ExportTensor **order = export_order(&ex, &count);
        for (int i = 0; i < count; i++) bytes += order[i]->bytes;
        bytes += model_folder_carry_over(NULL, base);
        free(order);
    }
    export_close(&ex);
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

int64_t rt_model_out(const char *checkpoint, const RtOutRequest *request) {
    const RtOutKind kind = request->kind;
    StFile file;
    RtModel model;
    RtError error;
    Export ex;
    ModelFolder folder;
    if (!rt_checkpoint_check(checkpoint, &error) || !st_open(&file, checkpoint, &error) ||
        !rt_model_parse(&model, st_metadata(&file, "model_text"), &error))
        rt_fail(RT_EXIT_IO, "the checkpoint '%s': %s", checkpoint, error.text);
    const char *base = request->base ? request->base : model.weights;
    need_kind(&model, kind, base);
    check_places(&model, request, base);
    export_open(&ex, &model, base, request->unquantised);
    ex.checkpoint = &file;
    for (int i = 0; i < file.tensors; i++)
        if (!is_state(&file, file.tensor[i].name)) export_weight(&ex, file.tensor[i].name);
    export_sizes(&ex);
    export_check_shapes(&ex);
    export_check_frozen(&ex);
    model_folder_begin(&folder, request->folder);
    int64_t bytes = kind == RT_OUT_ADAPTER ? export_adapter(&ex, &folder)
                                           : export_merged(&ex, &folder, request->shard_bytes);
    if (kind == RT_OUT_MERGED) bytes += model_folder_carry_over(&folder, base);
    model_folder_commit(&folder);
    export_close(&ex);
    rt_model_free(&model);
    st_close(&file);
    return bytes;
}
