/* What must be known of a trained model to hand it on, beside its tensors: which published model it began
 * from, what of that was trained, adapted or quantised, and how files of weights have it. A trainer knows it
 * from its program, and writes it into its checkpoints as text, so that these can be handed on without the
 * program:
 *
 *     weights ../SmolLM2-135M              as `weights` names them; where there are any
 *     base 0123456789abcdef                the checksum of what of them is frozen
 *     adapt 16 32 0.05 0                   rank, alpha, dropout; 1: alpha / sqrt(rank) is the scale
 *     transposed h.0.attn.c_attn.weight    a matrix that files of weights hold as [in, out]
 *     tie lm_head.weight                   another name ...
 *     of wte.weight                        ... of this one
 *     frozen h.0.attn.c_attn.weight        is read only: these make the checksum
 *     nf4 h.0.attn.c_attn.weight           is frozen in this packed type */
#ifndef REMAT_MODEL_H
#define REMAT_MODEL_H

#include "internal.h"

typedef struct RtModel {
    char *weights; /* NULL: none */
    uint64_t base;
    int64_t rank; /* 0: no adapters */
    double alpha, dropout;
    int rank_stabilized;
    RtNames transposed, tie, tied_to, frozen, packed;
    int *packed_dtype;
} RtModel;

RtModel rt_model_of(const RtProgram *program, uint64_t base);
char *rt_model_text(const RtModel *model);
/* 0 with an error. NULL is a model that began from the seed. */
int rt_model_parse(RtModel *model, const char *text, RtError *error);
void rt_model_free(RtModel *model);
double rt_model_scale(const RtModel *model); /* of what an adapter adds */

#endif
