/* Which row of rate.def a call of a kernel has. In: the class of its rates and its operands; out: shares of
 * the device's peaks. Pure arithmetic, as workspace.c: the same conditions by which the kernels choose their
 * ways. */
#include "rate.h"

#include "cuda_sizes.h"

typedef enum Variant { ANY, UNALIGNED, SINGLE, MMA_64, MMA_128, NARROW } Variant;

static const struct {
    KTarget target;
    KRateClass rates;
    Variant variant;
    KRate rate;
} row[] = {
#define SHARE(target, NAME, variant, unit, arithmetic, memory, source)                                       \
    {K_##target, K_RATE_##NAME, variant, {K_UNIT_##unit, arithmetic, memory, source}},
#include "rate.def"
};

/* ---- which kernel takes these operands ---- */

static Variant variant_one(KTarget target, const KTensor *out, const KTensor *in) {
    (void)target, (void)out, (void)in;
    return ANY;
}

/* cuBLASLt is fast where rows of both operands and of the result begin at multiples of 16 bytes. */
static Variant variant_product(KTarget target, const KTensor *out, const KTensor *in) {
    const int64_t bf16_pack = 8;
    if (in[0].dtype == K_F32) return SINGLE;
    if (target == K_HOST) return ANY;
    const int unaligned = in[0].dtype == K_BF16 && (k_pitch(&in[0]) % bf16_pack ||
                                                    k_pitch(&in[1]) % bf16_pack || k_pitch(out) % bf16_pack);
    return unaligned ? UNALIGNED : ANY;
}

static Variant attention(KTarget target, const KTensor *heads) {
    if (target == K_HOST) return k_last(heads) <= 32 ? NARROW : ANY;
    if (!k_cuda_attend_tensor_cores(heads->dtype, k_last(heads))) return ANY;
    return k_last(heads) <= 64 ? MMA_64 : MMA_128;
}

/* By the heads of the result, or of its gradient. */
static Variant variant_attend(KTarget target, const KTensor *out, const KTensor *in) {
    (void)in;
    return attention(target, &out[0]);
}

static Variant variant_attend_bwd(KTarget target, const KTensor *out, const KTensor *in) {
    (void)out;
    return attention(target, &in[0]);
}

typedef Variant VariantRule(KTarget target, const KTensor *out, const KTensor *in);
static VariantRule *const variant_rule[K_RATE_COUNT] = {
#define RATE(NAME, variants) [K_RATE_##NAME] = variant_##variants,
#include "rate.def"
};

KRate k_rate(KTarget target, KRateClass rates, const KTensor *out, const KTensor *in) {
    const Variant variant = variant_rule[rates](target, out, in);
    const KRate *rate = NULL;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].target == target && row[i].rates == rates &&
            (row[i].variant == variant || (row[i].variant == ANY && !rate)))
            rate = &row[i].rate;
    return *rate; /* every class has one for ANY on each target */
}
