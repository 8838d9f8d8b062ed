/* A model on its way out (model_out.h): what becomes of each tensor of a published one, and how it is
 * written.
 *
 *     model_out.c         from a checkpoint and a base to a folder; what a program will need
 *     export_tensors.c    what becomes of each tensor, and whether checkpoint and base fit each other
 *     export_write.c      the numbers of one tensor, and the file they go to
 *     export_merged.c     all of them, in shards
 *     export_adapter.c    the adapters alone
 *
 * Everything here ends the program with exit code 6 where it cannot be done. */
#ifndef REMAT_EXPORT_H
#define REMAT_EXPORT_H

#include "atomic_file.h"
#include "elements.h"
#include "model.h"
#include "model_folder.h"
#include "weight_files.h"

static const char export_a_tail[] = ".lora_A.weight", export_b_tail[] = ".lora_B.weight",
                  export_weight_tail[] = ".weight";
/* How a header begins. */
static const char export_metadata[] = "{\"__metadata__\":{\"format\":\"pt\",\"" MODEL_FOLDER_KEY "\":\"1\"}";

typedef struct ExportTensor { /* a tensor of the base, and what becomes of it */
    Found base;
    char *name;                       /* of the weight in the program; NULL: the program has none */
    int trained, adapted, transposed; /* in the checkpoint as it is; as its adapters; [in, out] in the base */
    int packed;                       /* the type it is frozen in, or saved in; -1: none */
    int left_out;                     /* lies beside a saved quantised weight */
    RtElement type;                   /* NONE: its bytes are copied */
    int rank;
    int64_t dim[K_MAX_RANK], bytes;
} ExportTensor;

typedef struct Export {
    const RtModel *model;
    WeightFiles files;
    ExportTensor **of; /* by file: an ExportTensor for each of its tensors */
    const StFile *checkpoint;
    int unquantised; /* RtOutRequest */
} Export;

/* ---- export_tensors.c ---- */
/* Everything of the base, as it is; then come the weights and adapters that were trained, by the names they
 * have in the program; then types and sizes. */
void export_open(Export *ex, const RtModel *model, const char *base, int unquantised);
void export_weight(Export *ex, const char *name);
void export_sizes(Export *ex);
void export_close(Export *ex);
/* With a checkpoint: whether it has what is to be written, in the shapes of the base. */
void export_check_shapes(const Export *ex);
/* Whether the frozen weights of the base are those that the rest was trained beside. Others, which were asked
 * for, are warned of: another base may hold them in other types, and weights may be wanted as they were
 * before they were quantised. */
void export_check_frozen(const Export *ex);
/* All that is written, in the order of the base; from rt_allocate. */
ExportTensor **export_order(const Export *ex, int *count);
/* A weight's unrounded value where the checkpoint has one. */
const StTensor *export_value(const Export *ex, const char *name);
/* The factors of what is added to it, A [rank, in] and B [out, rank]. */
void export_factors(const Export *ex, const ExportTensor *out, const StTensor **a, const StTensor **b);

/* ---- export_write.c ---- */
typedef struct ExportFile {
    ModelFolder *folder;
    AtomicFile file;
    char *name;
} ExportFile;

void export_file_begin(ExportFile *to, ModelFolder *folder, const char *name, const char *header,
                       size_t length);
void export_file_end(ExportFile *to);
void export_put_tensor(const Export *ex, const ExportTensor *out, ExportFile *to);
/* A weight of the checkpoint, as files of weights have it. */
void export_put_value(const Export *ex, const StTensor *value, int is_transposed, RtElement type,
                      ExportFile *to);

/* ---- export_merged.c, export_adapter.c: the bytes ---- */
int64_t export_merged(const Export *ex, ModelFolder *folder, int64_t shard_bytes); /* RtOutRequest */
int64_t export_adapter(const Export *ex, ModelFolder *folder);

#endif
