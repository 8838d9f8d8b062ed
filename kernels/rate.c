/* Which row of rate.def a call of a kernel has. In: the class of its rates and its operands; out: shares of
 * the device's peaks. Pure arithmetic, as workspace.c: the same conditions by which the kernels choose their
 * ways. */
#include "rate.h"

#include "cuda_sizes.h"

typedef enum Variant { ANY, UNALIGNED, SINGLE, MMA_64, MMA_128 } Variant;

static const struct {
    KRateClass rates;
    Variant variant;
    KRate rate;
} row[] = {
#define RATE(NAME, variants, host, unit, arithmetic, memory, source)                                         \
    {K_RATE_##NAME, ANY, {K_UNIT_##unit, arithmetic, memory, source}},
#define RATE_WHERE(NAME, variant, unit, arithmetic, memory, source)                                          \
    {K_RATE_##NAME, variant, {K_UNIT_##unit, arithmetic, memory, source}},
#include "rate.def"
};

static const KUnit host_unit[K_RATE_COUNT] = {
#define RATE(NAME, variants, host, ...) [K_RATE_##NAME] = K_UNIT_##host,
#include "rate.def"
};

/* ---- which kernel takes these operands ---- */

static Variant variant_one(const KTensor *out, const KTensor *in) {
    (void)out, (void)in;
    return ANY;
}

/* cuBLASLt is fast where rows of both operands and of the result begin at multiples of 16 bytes. */
static Variant variant_product(const KTensor *out, const KTensor *in) {
    const int64_t bf16_pack = 8;
    if (in[0].dtype == K_F32) return SINGLE;
    const int unaligned = in[0].dtype == K_BF16 && (k_pitch(&in[0]) % bf16_pack ||
                                                    k_pitch(&in[1]) % bf16_pack || k_pitch(out) % bf16_pack);
    return unaligned ? UNALIGNED : ANY;
}

static Variant attention(const KTensor *heads) {
    if (!k_cuda_attend_tensor_cores(heads->dtype, k_last(heads))) return ANY;
    return k_last(heads) <= 64 ? MMA_64 : MMA_128;
}

/* By the heads of the result, or of its gradient. */
static Variant variant_attend(const KTensor *out, const KTensor *in) {
    (void)in;
    return attention(&out[0]);
}

static Variant variant_attend_bwd(const KTensor *out, const KTensor *in) {
    (void)out;
    return attention(&in[0]);
}

typedef Variant VariantRule(const KTensor *out, const KTensor *in);
static VariantRule *const variant_rule[K_RATE_COUNT] = {
#define RATE(NAME, variants, ...) [K_RATE_##NAME] = variant_##variants,
#include "rate.def"
};

KRate k_rate(KTarget target, KRateClass rates, const KTensor *out, const KTensor *in) {
    if (target == K_HOST) return (KRate){host_unit[rates], 1, 1, "the device's figures"};
    const Variant variant = variant_rule[rates](out, in);
    const KRate *rate = NULL;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].rates == rates && (row[i].variant == variant || (row[i].variant == ANY && !rate)))
            rate = &row[i].rate;
    return *rate; /* every class has one for ANY */
}
