/* Which row of rate.def a call of a kernel has. In: the class of its rates and its operands; out: shares of
 * the device's peaks. Pure arithmetic, as workspace.c: the same conditions by which the kernels choose their
 * ways. */
#include "rate.h"

#include "cuda_sizes.h"
#include "packed.h"

typedef enum Variant {
    ANY,
    UNALIGNED,
    SINGLE,
    GRAPHICS,
    MMA_64,
    MMA_128,
    WHOLE_64,
    WHOLE_128,
    PACKED,
    PACKED_WHOLE,
    NARROW
} Variant;

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

static Variant variant_one(int capability, const KTensor *out, const KTensor *in) {
    (void)capability, (void)out, (void)in;
    return ANY;
}

/* Cards for graphics (sm_86, 89, 120), whose tensor cores sum in f32 at half their rate; and those whose
 * tensor cores mma.sync keeps busy: an H100's and what came after it are only by instructions of their own.
 */
static int is_graphics(int capability) {
    return capability == 86 || capability == 89 || capability == 120;
}
static int mma_is_whole(int capability) {
    return capability < 90 || capability == 120;
}

/* cuBLASLt is fast where rows of both operands and of the result begin at multiples of 16 bytes. A weight in
 * 4 bits is for mma.sync. */
static Variant variant_product(int capability, const KTensor *out, const KTensor *in) {
    const int64_t bf16_pack = 8;
    if (in[0].dtype == K_F32) return SINGLE;
    if (!capability) return ANY;
    if (k_is_packed(in[1].dtype)) return mma_is_whole(capability) ? PACKED_WHOLE : PACKED;
    const int unaligned = in[0].dtype == K_BF16 && (k_pitch(&in[0]) % bf16_pack ||
                                                    k_pitch(&in[1]) % bf16_pack || k_pitch(out) % bf16_pack);
    return unaligned ? UNALIGNED : is_graphics(capability) ? GRAPHICS : ANY;
}

static Variant attention(int capability, const KTensor *heads) {
    if (!capability) return k_last(heads) <= 32 ? NARROW : ANY;
    if (!k_cuda_attend_tensor_cores(heads->dtype, k_last(heads))) return ANY;
    if (mma_is_whole(capability)) return k_last(heads) <= 64 ? WHOLE_64 : WHOLE_128;
    return k_last(heads) <= 64 ? MMA_64 : MMA_128;
}

/* By the heads of the result, or of its gradient. */
static Variant variant_attend(int capability, const KTensor *out, const KTensor *in) {
    (void)in;
    return attention(capability, &out[0]);
}

static Variant variant_attend_bwd(int capability, const KTensor *out, const KTensor *in) {
    (void)out;
    return attention(capability, &in[0]);
}

typedef Variant VariantRule(int capability, const KTensor *out, const KTensor *in);
static VariantRule *const variant_rule[K_RATE_COUNT] = {
#define RATE(NAME, variants) [K_RATE_##NAME] = variant_##variants,
#include "rate.def"
};

KRate k_rate(int capability, KRateClass rates, const KTensor *out, const KTensor *in) {
    const Variant variant = variant_rule[rates](capability, out, in);
    const KTarget target = capability ? K_CUDA : K_HOST;
    const KRate *rate = NULL;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].target == target && row[i].rates == rates &&
            (row[i].variant == variant || (row[i].variant == ANY && !rate)))
            rate = &row[i].rate;
    return *rate; /* every class has one for ANY on each target */
}
