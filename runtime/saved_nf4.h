/* NF4 weights as transformers saves those that bitsandbytes quantised. Beside the codes, under the weight's
 * own name W, U8 [(n + 1) / 2, 1], lie
 *
 *     W.absmax                           scales, F32 [blocks]; with double quantisation their codes,
 *                                        U8 [blocks], and then
 *     W.nested_absmax                    group scales, F32 [groups]
 *     W.nested_quant_map                 what codes of scales stand for, F32 [256]
 *     W.quant_map                        what codes stand for, F32 [16]
 *     W.quant_state.bitsandbytes__nf4    JSON as U8: quant_type, blocksize, shape and dtype of the
 *                                        weight, nested_blocksize, nested_offset
 *
 * and go to the arena as they are. Ends the program with exit code 6 where they are not as they must be. */
#ifndef REMAT_SAVED_NF4_H
#define REMAT_SAVED_NF4_H

#include "elements.h"
#include "weight_files.h"

int saved_nf4(const WeightFiles *files, Found found); /* is this such a weight? */
/* Whether all is there, fits the tensor and means what we mean by it; marks what is as used. */
void saved_nf4_check(const WeightFiles *files, Found found, const RtTensor *tensor);
/* The shape and the packed type of one as its state has them, checked; the type its values had. */
RtElement saved_nf4_type(const WeightFiles *files, Found found, RtTensor *tensor);
/* Of what was checked: the checksums of the codes and of what lies beside them (weight_files_sum). */
uint64_t saved_nf4_sum(const WeightFiles *files, Found found, void *buffer);
/* Of what was checked: as the values they stand for. */
void saved_nf4_read(const WeightFiles *files, Found found, float *x);
/* Of what was checked. */
void saved_nf4_load(const WeightFiles *files, Found found, const RtRun *run, const RtTensor *tensor,
                    void *buffer, int64_t buffer_bytes);

#endif
