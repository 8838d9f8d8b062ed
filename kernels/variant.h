/* Which variant of a kernel does an operation (variant.def). `tune` measures them all and writes the fastest
 * into the profile; calls of programs planned with the profile name it (KCtx.variant), and of the rest only
 * the families' first are compiled. Operands alone decide, so that one profile means one set of bits at every
 * budget. A variant needs the workspace that the others need. */
#ifndef REMAT_VARIANT_H
#define REMAT_VARIANT_H

#include "cuda_sizes.h"
#include "packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum KFamily {
    K_FAMILY_NONE,
#define FAMILY(family, ...) K_FAMILY_##family,
#include "variant.def"
} KFamily;

typedef enum KVariant {
    K_VARIANT_NONE, /* the family's first */
#define VARIANT(family, name) K_VARIANT_##name,
#include "variant.def"
    K_VARIANTS
} KVariant;

/* ---- which there are ---- */

static inline const char *k_variant_name(int variant) {
    static const char *const name[] = {
        "",
#define VARIANT(family, name) #name,
#include "variant.def"
    };
    return variant > 0 && variant < K_VARIANTS ? name[variant] : name[0];
}
static inline KFamily k_variant_family(int variant) {
    static const KFamily of[] = {
        K_FAMILY_NONE,
#define VARIANT(family, name) K_FAMILY_##family,
#include "variant.def"
    };
    return variant > 0 && variant < K_VARIANTS ? of[variant] : K_FAMILY_NONE;
}
static inline const char *k_family_name(int family) {
    static const char *const name[] = {
        "NONE",
#define FAMILY(family, ...) #family,
#include "variant.def"
    };
    return name[family];
}
/* K_VARIANT_NONE where there is none of that name. */
static inline int k_variant_find(const char *name) {
    int variant = K_VARIANTS - 1;
    while (variant > 0 && strcmp(k_variant_name(variant), name) != 0) variant--;
    return variant;
}
static inline int k_variant_is_first(int variant) {
    return variant > 0 && k_variant_family(variant) != k_variant_family(variant - 1);
}

/* Of a product with a packed weight: that this is dequantised apart, by an operation of its own. */
static inline int k_variant_is_apart(int variant) {
#define WEIGHT_APART(family, name)                                                                           \
    if (variant == K_VARIANT_##name) return 1;
#include "variant.def"
    return 0;
}

/* ---- whose operands they take ---- */

/* The tensor of an attention, forwards or backwards, whose last two dimensions are the heads'. */
static inline const KTensor *k_variant_heads(const KTensor *out, const KTensor *in) {
    return out->rank == 4 ? out : in;
}
static inline int k_takes_all(const KTensor *out, const KTensor *in) {
    (void)out, (void)in;
    return 1;
}
/* Of a product, whose second operand is the weight. */
static inline int k_takes_packed_weight(const KTensor *out, const KTensor *in) {
    (void)out;
    return k_is_packed(in[1].dtype);
}
/* Of those, on CUDA: rows of bf16 that begin at multiples of 16 bytes, in both ways, and rows of the weight
 * that begin with a block. */
static inline int k_takes_packed_product(const KTensor *out, const KTensor *in) {
    const KTensor *w = &in[1];
    return k_packing(w->dtype).code_bits == 4 && in->dtype == K_BF16 && out->dtype == K_BF16 &&
           w->dim[1] % k_packing(w->dtype).block == 0 && w->dim[0] % 8 == 0 && k_pitch(in) % 8 == 0 &&
           k_pitch(out) % 8 == 0;
}
static inline int k_takes_heads_64(const KTensor *out, const KTensor *in) {
    const KTensor *x = k_variant_heads(out, in);
    return k_cuda_attend_tensor_cores(x->dtype, k_last(x)) && k_last(x) <= 64;
}
static inline int k_takes_heads_128(const KTensor *out, const KTensor *in) {
    const KTensor *x = k_variant_heads(out, in);
    return k_cuda_attend_tensor_cores(x->dtype, k_last(x)) && k_last(x) > 64;
}
static inline int k_takes_short_rows(const KTensor *out, const KTensor *in) {
    (void)out;
    return k_cuda_norm_warp_packs(k_last(in)) > 0;
}

static inline int k_variant_is_one_of(const char *operation, const char *const *of, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(of[i], operation) == 0) return 1;
    return 0;
}
/* The family that has variants of an operation; K_FAMILY_NONE: there is one kernel for it. */
static inline KFamily k_variant_family_of(KTarget target, const char *operation, const KTensor *out,
                                          const KTensor *in) {
#define FAMILY(family, TARGET, takes, ...)                                                                   \
    {                                                                                                        \
        static const char *const of[] = {__VA_ARGS__};                                                       \
        if (target == K_##TARGET && k_variant_is_one_of(operation, of, sizeof of / sizeof *of) &&            \
            k_takes_##takes(out, in))                                                                        \
            return K_FAMILY_##family;                                                                        \
    }
#include "variant.def"
    return K_FAMILY_NONE;
}

/* ---- within a kernel ---- */

/* Whether a row's variant is compiled: the first of a family is, one that K_WITH_NAME names, defined to be 1,
 * and with K_ALL_VARIANTS all are. */
#define K_HAS(when, name)  K_HAS_##when(name)
#define K_HAS_ALWAYS(name) 1
#ifdef K_ALL_VARIANTS
#define K_HAS_CHOSEN(name) 1
#else
#define K_HAS_CHOSEN(name)            K_IS_SET(K_WITH_##name)
#define K_IS_SET(value)               K_IS_SET_(value)
#define K_IS_SET_(value)              K_SECOND(K_SET_##value)
#define K_SET_1                       0,
#define K_SECOND(set_or_not)          K_SECOND_(set_or_not 1, 0, 0)
#define K_SECOND_(first, second, ...) second
#endif
/* Whether a call wants a row's variant. */
#define K_WANTS(when, name, variant) ((variant) == K_VARIANT_##name || (!(variant) && K_FIRST_##when))
#define K_FIRST_ALWAYS               1
#define K_FIRST_CHOSEN               0

/* A call that wants a variant that is not compiled, or of another kernel. */
static inline void k_variant_missing(const char *operation, int variant) {
    fprintf(stderr, "train: error: %s: its variant '%s' is not in this program\n", operation,
            k_variant_name(variant));
    exit(70);
}

#ifdef __cplusplus
}
#endif
#endif
