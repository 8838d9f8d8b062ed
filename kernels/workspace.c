/* Bytes of workspace each kernel needs. In: an operation's name and operand shapes; out: bytes, 0 for most.
 * Pure arithmetic: the planner calls it when it plans, the kernels carve what was planned. */
#include "attention.h"
#include "cuda_sizes.h"
#include "packed.h"

/* Partial sums over the rows of `x`. */
static size_t lanes_bytes(const KTensor *out, const KTensor *x) {
    const int64_t width = k_count(out), rows = width ? k_count(x) / width : 0;
    return (size_t)(k_row_lanes(rows, width) * width) * sizeof(real);
}

static size_t host_bytes(const char *name, int nout, const KTensor *out, const KTensor *in) {
    if (strcmp(name, "attend_bwd") == 0) return k_attend_bwd_bytes(&out[1]);
    if (strcmp(name, "attend_packed_bwd") == 0) return k_attend_packed_bwd_bytes(out, in);
    if (strcmp(name, "layernorm_bwd_g") == 0 || strcmp(name, "rmsnorm_bwd_g") == 0 ||
        strcmp(name, "sum_leading") == 0)
        return lanes_bytes(out, in);
    if (strcmp(name, "layernorm_bwd_sums") == 0 || strcmp(name, "rmsnorm_bwd_sums") == 0 ||
        strcmp(name, "bias_gelu_bwd_sums") == 0)
        return (size_t)(nout - 1) * lanes_bytes(&out[1], in);
    if (strcmp(name, "swiglu_bwd_sums") == 0) return 2 * lanes_bytes(&out[2], in);
    if (strcmp(name, "cross_entropy_both") == 0) return (size_t)k_rows(in) * sizeof(double);
    if (strcmp(name, "embed_bwd") == 0) return 2 * (size_t)k_count(&in[1]) * sizeof(int32_t);
    return 0;
}

static size_t cuda_bytes(const char *name, int nout, const KTensor *out, int nin, const KTensor *in) {
    if (strncmp(name, "linear", strlen("linear")) == 0 && k_is_packed(in[1].dtype)) return 0;
    if (strcmp(name, "linear") == 0 || strcmp(name, "linear_bwd_x") == 0 || strcmp(name, "linear_bwd_w") == 0)
        return k_cuda_product_bytes(in, strcmp(name, "linear_bwd_w") == 0, nout, out);
    if (strcmp(name, "attend_bwd") == 0 || strcmp(name, "attend_packed_bwd") == 0)
        return (size_t)k_rows(&in[0]) * sizeof(float); /* f32 [B, H, T] */
    if (strcmp(name, "layernorm_bwd_g") == 0 || strcmp(name, "rmsnorm_bwd_g") == 0 ||
        strcmp(name, "sum_leading") == 0) {
        const int64_t width = k_count(out);
        return width ? k_cuda_row_lanes_bytes(k_count(in) / width, width) : 0;
    }
    if (strcmp(name, "layernorm_bwd_sums") == 0 || strcmp(name, "rmsnorm_bwd_sums") == 0)
        return k_cuda_norm_sums_bytes(k_rows(in), k_last(in), nout - 1);
    if (strcmp(name, "bias_gelu_bwd_sums") == 0) return k_cuda_sum_lanes_bytes(k_rows(in), k_last(in), 1);
    if (strcmp(name, "swiglu_bwd_sums") == 0) return k_cuda_sum_lanes_bytes(k_rows(in), k_last(in), 2);
    if (strcmp(name, "embed_bwd") == 0) return k_cuda_sort_bytes(k_count(&in[1]));
    if (strcmp(name, "cross_entropy") == 0 || strcmp(name, "cross_entropy_both") == 0)
        return (size_t)k_rows(in) * sizeof(double);
    if (strcmp(name, "square_norm") == 0) {
        int64_t blocks = 0;
        for (int i = 0; i + 1 < nin; i++) blocks += k_cuda_square_blocks(k_count(&in[i]));
        return blocks > 1 ? (size_t)blocks * sizeof(double) : 0;
    }
    return 0;
}

size_t k_workspace(KTarget target, const char *name, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr) {
    (void)attr;
    return target == K_HOST ? host_bytes(name, nout, out, in) : cuda_bytes(name, nout, out, nin, in);
}
