/* Which algorithm of cuBLASLt a product takes. The library's heuristic names some and ranks them; `tune`
 * measures those and writes the fastest into the profile, in the text form below; programs planned with the
 * profile take it. Shapes alone decide, so that one profile means one set of bits at every budget. */
#ifndef REMAT_PRODUCT_H
#define REMAT_PRODUCT_H

#include "cuda_sizes.h"
#include "packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct KShape {
#define SHAPE(name) int64_t name;
#include "product.def"
} KShape;

typedef struct KAlgorithm {
#define ALGORITHM(name, ATTRIBUTE, type) int64_t name;
#include "product.def"
} KAlgorithm;

typedef struct KChoice {
    KShape shape;
    KAlgorithm algorithm;
} KChoice;

/* C = op(A) op(B) + bias, which may be NULL, and `adds` to something, as it is asked of the library: f32, and
 * added later, where the result is stored apart, and a bias through the epilogue only where it has the
 * result's type. */
static inline KShape k_product_shape(const KTensor *a, int transpose_a, int transpose_b, const KTensor *bias,
                                     int adds, int parts, const KTensor *c) {
    const KProduct p = k_cuda_product(a, transpose_a, c);
    const int apart = k_cuda_product_is_apart(a, parts, c);
    KShape s = {p.rows, p.columns, p.depth, transpose_a, transpose_b, a->dtype, c->dtype, 0, adds && !apart};
    if (apart) s.result = K_F32;
    s.bias = bias && bias->dtype == s.result;
    return s;
}
/* The library's product of an operation; false where it has none. */
static inline int k_product_of(const char *name, int nout, const KTensor *out, int nin, const KTensor *in,
                               KShape *shape) {
    if (nin > 1 && k_is_packed(in[1].dtype)) return 0;
    if (strcmp(name, "linear") == 0)
        *shape = k_product_shape(&in[0], 0, 1, k_bias_of(nin, in, out), k_added_to(nin, in, out) != NULL, 1,
                                 &out[0]);
    else if (strcmp(name, "linear_bwd_x") == 0)
        *shape = k_product_shape(&in[0], 0, 0, NULL, nin > 2, 1, &out[0]);
    else if (strcmp(name, "linear_bwd_w") == 0)
        *shape = k_product_shape(&in[0], 1, 0, NULL, nin > 2, nout, &out[0]);
    else
        return 0;
    return shape->rows * shape->columns > 0;
}
static inline int k_product_same(const KShape *x, const KShape *y) {
    return 1
#define SHAPE(name) &&x->name == y->name
#include "product.def"
        ;
}

/* ---- as text: "rows=1024 columns=3072 .. : id=66 tile=20 .." ---- */

enum { K_CHOICE_TEXT = 512 }; /* bytes that are always enough */
static inline void k_choice_print(const KChoice *choice, char text[K_CHOICE_TEXT]) {
    char *at = text;
#define SHAPE(name)                                                                                          \
    at += snprintf(at, (size_t)(text + K_CHOICE_TEXT - at), #name "=%lld ", (long long)choice->shape.name);
#include "product.def"
    at += snprintf(at, (size_t)(text + K_CHOICE_TEXT - at), ":");
#define ALGORITHM(name, ATTRIBUTE, type)                                                                     \
    at += snprintf(at, (size_t)(text + K_CHOICE_TEXT - at), " " #name "=%lld",                               \
                   (long long)choice->algorithm.name);
#include "product.def"
}
/* What follows "NAME=NUMBER" at `at`, and blanks before it; NULL where something else stands there. */
static inline const char *k_choice_number(const char *at, const char *name, int64_t *number) {
    const size_t length = strlen(name);
    while (*at == ' ') at++;
    if (strncmp(at, name, length) != 0 || at[length] != '=' || at[length + 1] < '0' || at[length + 1] > '9')
        return NULL;
    char *end;
    const long long read = strtoll(at + length + 1, &end, 10);
    *number = read;
    return (*end && *end != ' ') || read > INT64_C(1) << 40 ? NULL : end;
}
/* NULL; or the name of the first part of the text that is missing or wrong. */
static inline const char *k_choice_read(const char *at, KChoice *choice) {
#define SHAPE(name)                                                                                          \
    if (!(at = k_choice_number(at, #name, &choice->shape.name))) return #name;
#include "product.def"
    while (*at == ' ') at++;
    if (*at++ != ':') return ":";
#define ALGORITHM(name, ATTRIBUTE, type)                                                                     \
    if (!(at = k_choice_number(at, #name, &choice->algorithm.name)) ||                                       \
        choice->algorithm.name != (type)choice->algorithm.name)                                              \
        return #name;
#include "product.def"
    while (*at == ' ') at++;
    return *at ? at : NULL;
}

/* ---- on CUDA (matmul.cu) ---- */

/* Before the first product: those of these shapes take these algorithms, others the heuristic's first. The
 * array stays where it is. A product whose algorithm the library refuses ends the program, with exit code 5.
 */
void k_products_choose(const KChoice *choice, int count);
/* For `tune`: products that are first called from now on, and for which nothing is chosen, have so many
 * candidates at most, the heuristic's. */
enum { K_MOST_CANDIDATES = 8 };
void k_products_list(int most);
/* How many candidates the product has that was called last since this was last asked; 0: none was, or it is
 * chosen. */
int k_product_candidates(void);
/* That product takes one of them; for good, and it has no others any more. What it is. */
KChoice k_product_take(int candidate, int for_good);

#ifdef __cplusplus
}
#endif
#endif
