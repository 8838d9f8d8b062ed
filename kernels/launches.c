/* See launches.h. The conditions are those by which the kernels choose their ways; ninja bench_launches holds
 * the counts of a program's operations against what the program issues. */
#include "launches.h"

#include "cuda_sizes.h"
#include "packed.h"

#include <string.h>

static int ceil_of(int64_t count, int each) {
    return (int)k_cuda_ceil(count, each);
}

/* The product; what stores its result apart; a bias of another type than the result, put there before it. */
static int of_product(const KTensor *in, const KTensor *bias, int parts, const KTensor *out) {
    const int apart = k_cuda_product_is_apart(in, parts, out);
    return 1 + apart + (bias && bias->dtype != (apart ? K_F32 : out->dtype));
}

/* A fill, unless it adds; three launches for each digit of the vocabulary, by which positions are sorted; the
 * sums. */
static int of_embed_bwd(const KTensor *out, int adds) {
    int launches = !adds + 1;
    for (int shift = 0; shift == 0 || out->dim[0] >> shift > 0; shift += K_CUDA_SORT_BITS) launches += 3;
    return launches;
}

int k_launches(const char *name, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr,
               int first_micro_step) {
    const KCtx cx = {.micro = !first_micro_step};
    const int adds = k_adds(&cx, attr);
    if (strncmp(name, "linear", strlen("linear")) == 0 && k_is_packed(in[1].dtype)) return 1;
    if (strcmp(name, "linear") == 0) return of_product(in, k_bias_of(nin, in, out), 1, out);
    if (strcmp(name, "linear_bwd_x") == 0) return of_product(in, NULL, 1, out);
    if (strcmp(name, "linear_bwd_w") == 0) return of_product(in, NULL, nout, out);
    if (strcmp(name, "attend_bwd") == 0 || strcmp(name, "attend_packed_bwd") == 0)
        return k_cuda_attend_tensor_cores(in[0].dtype, k_last(&in[0])) ? 2 : 3;
    if (strcmp(name, "cross_entropy") == 0 || strcmp(name, "cross_entropy_both") == 0) return 2;
    if (strcmp(name, "layernorm_bwd_sums") == 0 || strcmp(name, "rmsnorm_bwd_sums") == 0)
        return k_cuda_norm_sums_at_once(k_last(in)) ? 1 + (k_cuda_sum_lanes(k_count(in) / k_last(in)) > 1)
                                                    : nout;
    if (strcmp(name, "bias_gelu_bwd_sums") == 0 || strcmp(name, "swiglu_bwd_sums") == 0)
        return 1 + (k_cuda_sum_lanes(k_count(in) / k_last(in)) > 1);
    if (strcmp(name, "embed_bwd") == 0) return of_embed_bwd(out, nin > 2 && adds);
    if (strcmp(name, "join_rows") == 0) return nin;
    if (strcmp(name, "cast") == 0 || strcmp(name, "dequantize") == 0) {
        int cleared = 0;
        for (int i = 0; i < nout; i++) cleared += out[i].room > 0;
        return ceil_of(nin, K_CUDA_MOST_CAST) + cleared;
    }
    if (strcmp(name, "square_norm") == 0) return ceil_of(nin - 1, K_CUDA_MOST_NORMED);
    if (strcmp(name, "adamw") == 0 || strcmp(name, "adamw8bit") == 0)
        return ceil_of(k_tensors(attr), K_CUDA_MOST_UPDATED);
    return 1;
}
