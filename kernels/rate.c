/* Which row of rate.def a call of a kernel has. In: an operation's name and operands; out: shares of the
 * device's peaks. Pure arithmetic, as workspace.c: the same conditions by which the kernels choose their
 * ways. */
#include "cuda_sizes.h"

#include <string.h>

typedef enum Variant { ANY, UNALIGNED, SINGLE, MMA_64, MMA_128 } Variant;

static const struct {
    const char *name;
    Variant variant;
    KRate rate;
} row[] = {
#define RATE(operation, variant, unit, arithmetic, memory, source)                                           \
    {operation, variant, {K_UNIT_##unit, arithmetic, memory, source}},
#include "rate.def"
#undef RATE
};

/* cuBLASLt is fast where rows of both operands and of the result begin at multiples of 16 bytes. */
static int product_unaligned(const KTensor *out, const KTensor *in) {
    const int64_t bf16_pack = 8;
    return in[0].dtype == K_BF16 &&
           (k_pitch(&in[0]) % bf16_pack || k_pitch(&in[1]) % bf16_pack || k_pitch(out) % bf16_pack);
}

static Variant variant_of(const char *name, const KTensor *out, const KTensor *in) {
    if (strncmp(name, "linear", strlen("linear")) == 0)
        return in[0].dtype == K_F32 ? SINGLE : product_unaligned(out, in) ? UNALIGNED : ANY;
    const int forward = strcmp(name, "attend") == 0;
    if (!forward && strcmp(name, "attend_bwd") != 0) return ANY;
    const KTensor *q = &in[forward ? 0 : 1];
    if (!k_cuda_attend_tensor_cores(q->dtype, k_last(q))) return ANY;
    return k_last(q) <= 64 ? MMA_64 : MMA_128;
}

KRate k_rate(KTarget target, const char *name, const KTensor *out, const KTensor *in) {
    const int matrix =
        strncmp(name, "linear", strlen("linear")) == 0 || strncmp(name, "attend", strlen("attend")) == 0;
    if (target == K_HOST) return (KRate){matrix ? K_UNIT_MATRIX : K_UNIT_F32, 1, 1, "the device's figures"};
    const Variant variant = variant_of(name, out, in);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].variant == variant && strcmp(row[i].name, name) == 0) return row[i].rate;
    return row[0].rate; /* that of "" */
}
