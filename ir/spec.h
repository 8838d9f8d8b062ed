/* What the file says besides the model: how to train, on what data, where to save, on which device.
 * Lowering fills it from the syntax tree with every default resolved; later stages only read it. */
#ifndef REMAT_SPEC_H
#define REMAT_SPEC_H

#include "ir/pin.h"

typedef enum ScheduleKind { SCHEDULE_CONSTANT, SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_WSD } ScheduleKind;
typedef enum DataFormat {
    DATA_AUTO,
    DATA_BYTES,
    DATA_U16,
    DATA_U32,
    DATA_LLMC,
    DATA_DOCUMENTS,
    DATA_TEXT,  /* from here on: text, of which tokens are made before a program reads them */
    DATA_JSONL, /* lines with "text", or "prompt" and "completion" */
    DATA_CHAT,  /* lines with "messages" */
    DATA_FORMATS
} DataFormat;
static inline bool data_is_prepared(DataFormat format) {
    return format >= DATA_TEXT;
}
/* Rows hold documents, which know nothing of each other, and a loss mask; else windows of one long text. */
static inline bool data_has_documents(DataFormat format) {
    return format == DATA_DOCUMENTS || format == DATA_JSONL || format == DATA_CHAT;
}
/* Which tokens of text have loss. As usual: completions where the text knows them, else all. */
typedef enum LossOn { LOSS_AS_USUAL, LOSS_COMPLETIONS, LOSS_ALL } LossOn;

/* Low-rank adapters beside frozen weights (Hu et al. 2021, LoRA): y = W x + scale B A x, of which A [rank,
 * in] and B [out, rank] are trained. */
typedef struct Adapt {
    int64_t rank; /* 0: none, and every weight is trained */
    double alpha, dropout;
    bool rank_stabilized; /* scale is alpha / sqrt(rank), not alpha / rank (Kalajdzievski 2023) */
    const char *on;       /* pattern of the linear layers; NULL: all but the one that makes the logits */
    const char *train;    /* pattern of weights that are trained themselves; NULL: none */
    Span on_span, train_span;
} Adapt;

typedef struct Spec {
    const char *path;  /* of the source, as given */
    const char *model; /* name after `model` */
    VEC(struct {
        const char *name;
        int64_t value;
    })
    dim;
    bool batch_auto; /* B = auto(lo..hi): the planner picks; the graph is lowered for one B */
    int64_t batch_low, batch_high;
    int64_t tokens_per_step; /* 0: one micro-step a step */

    DType compute, trained, gradient, moment;
    DType frozen, frozen_matrix; /* frozen weights; those that only linear layers read, but for the logits' */
    bool moments_8bit;           /* adamw8bit: `moment` is that of small tensors alone */

    int64_t steps;  /* 0: epochs */
    int64_t epochs; /* 0: steps; the trainer counts what they come to */
    double learning_rate, beta1, beta2, eps, decay, clip_norm; /* clip_norm 0: none */
    ScheduleKind schedule;
    int64_t warmup_steps;
    double floor;        /* final learning rate as a fraction of the peak */
    double decay_part;   /* SCHEDULE_WSD: the fraction of the steps, the last ones, in which it falls */
    double guard_spread; /* a step is passed over whose loss lies so many deviations above recent ones; 0:
                            none */
    uint64_t seed;

    const char *train_path; /* NULL: no data section (plan and emit still work) */
    DataFormat train_format;
    const char *tokenizer_path; /* data_is_prepared: the folder or file of its tokenizer; else NULL */
    LossOn loss_on;
    bool rows_apart;           /* data_has_documents: a row for each, padded; else packed */
    const char *validate_path; /* NULL: take validate_fraction of the training data */
    Span train_span, validate_span;
    double validate_fraction; /* 0: no validation */
    int64_t validate_every_steps, validate_batches;

    const char *save_dir;     /* NULL: nothing is saved */
    int64_t save_every_steps; /* 0: at the end only */
    int64_t save_keep;

    const char *weights_path;               /* NULL: initialised from the seed */
    const char *adapter_path, *merged_path; /* folders to write when training is done; NULL: not */
    Span adapter_span, merged_span;
    bool merged_unquantised; /* what is merged is added to weights as they are in a published folder ... */
    const char *merged_onto_path; /* .. this one; NULL: that of weights_path */
    Span onto_span;
    Adapt adapt;

    const char *device; /* "host", "rtx4090", ... */
    Span device_span;
    int64_t device_memory_bytes; /* that it is taken to have; 0: its own */
    int64_t budget_bytes;        /* 0: what the device has */
    Span budget_span;
    int64_t host_bytes; /* pinned host memory that offload may take; 0: none */
    Pins pin;
} Spec;

#endif
