/* What model_out.c and model_adapter.c share: what becomes of each tensor of a published model, and how it is
 * written. */
#ifndef REMAT_MODEL_PLAN_H
#define REMAT_MODEL_PLAN_H

#include "atomic_file.h"
#include "elements.h"
#include "model.h"
#include "model_folder.h"
#include "weight_files.h"

static const char plan_a_tail[] = ".lora_A.weight", plan_b_tail[] = ".lora_B.weight",
                  plan_weight_tail[] = ".weight";
/* How a header begins. */
static const char plan_metadata[] = "{\"__metadata__\":{\"format\":\"pt\",\"" MODEL_FOLDER_KEY "\":\"1\"}";

typedef struct Out { /* a tensor of the base, and what becomes of it */
    Found base;
    char *name;                       /* of the weight in the program; NULL: the program has none */
    int trained, adapted, transposed; /* in the checkpoint as it is; as its adapters; [in, out] in the base */
    int packed;                       /* the type it is frozen in, or saved in; -1: none */
    int left_out;                     /* lies beside a saved quantised weight */
    RtElement type;                   /* NONE: its bytes are copied */
    int rank;
    int64_t dim[K_MAX_RANK], bytes;
} Out;

typedef struct Plan {
    const RtModel *model;
    WeightFiles files;
    Out **of; /* by file: an Out for each of its tensors */
    const StFile *checkpoint;
} Plan;

/* All that is written, in the order of the base; from rt_allocate. */
Out **plan_order(const Plan *plan, int *count);
/* A weight's unrounded value where the checkpoint has one. Exits 6. */
const StTensor *plan_value(const Plan *plan, const char *name);

typedef struct Writer {
    ModelFolder *folder;
    AtomicFile file;
    char *name;
} Writer;

void writer_begin(Writer *to, ModelFolder *folder, const char *name, const char *header, size_t length);
void writer_end(Writer *to);
/* A weight of the checkpoint, as files of weights have it. */
void plan_put_value(const Plan *plan, const StTensor *value, int is_transposed, RtElement type, Writer *to);

/* ---- model_adapter.c ---- */
int64_t plan_put_adapter(const Plan *plan, ModelFolder *folder); /* the bytes */

#endif
