/* Running one kernel for the operation tests: operands as doubles, in the storage types of a mode, in a
 * fresh pool with guard bytes after every tensor and after the workspace. The kernels come from two shared
 * modules built from the same sources, one for float and one for double (-DK_REAL=double). */
#ifndef REMAT_OPS_ENGINE_H
#define REMAT_OPS_ENGINE_H

#include "ir/ops.h"
#include "kernels/kernels.h"

#include <stdbool.h>

enum { MAX_OPERANDS = 352, MODE_BF16_ACTIVATION = 1, MODE_BF16_WEIGHT = 2, MODES = 4 };

extern const OpInfo op_row[OP_COUNT]; /* these tests link nothing of the compiler */

typedef struct Library {
    size_t real_bytes;
    bool pads; /* its kernels take tensors with more room than elements (CUDA); others get none */
    KFunction *kernel[OP_COUNT]; /* NULL for views */
    size_t (*workspace)(KTarget, const char *, int, const KTensor *, int, const KTensor *, const KAttr *);
} Library;
extern Library library_float, library_double;
bool library_open(Library *library, const char *path, size_t real_bytes);

/* "a:2x3x8": a letter, an upper bound for i, a '+' or '!' and the shape.
 *   a activation    w weight, parameter gradient or moment    s positive f32    v positive weight type
 *   m f32 mask of zeros and ones    i7 integers in [0, 7)    q nf4    Q nf4_f32    d dynamic8    u udynamic8
 *   f9, l9, p9 [B, T]: first key, last query, position of rows of documents of some 9 tokens, the same for
 * each letter
 *   n7 positions in [0, 7) of a cache of keys    o [B, n] 0 .. n - 1, of each row
 *   + accumulator: the storage of the matching last output; ! the same, but always read
 * "a:2x3x8~16": room for rows of 16 (of w: for 16 rows), of zeros past the elements; ~?16: of anything. */
typedef struct Spec {
    char letter, shared; /* shared: 0, '+', '!' */
    int bound, rank;
    int64_t dim[K_MAX_RANK], count;
    int64_t room; /* elements; 0: count */
    bool anything;
} Spec;

typedef struct Call {
    Op op;
    int nin, nout, mode;
    Spec in[MAX_OPERANDS], out[MAX_OPERANDS];
    double *value[MAX_OPERANDS]; /* of the inputs, already rounded to their storage types */
    /* of those of packed types: their storage, of which `value` is the elements */
    void *packed[MAX_OPERANDS];
    KAttr attr;
    KCtx cx;
} Call;

typedef struct How {
    const Library *library;
    int threads;
    size_t shift_bytes; /* of every buffer: a multiple of K_ALIGN */
    int inplace;        /* input whose storage is the first output's, or -1 */
} How;

typedef struct Result {
    size_t bytes[MAX_OPERANDS];
    const void *raw[MAX_OPERANDS];
    double *value[MAX_OPERANDS];
} Result;

/* All memory comes from one pool; marks are released in reverse order. */
void *pool_alloc(size_t bytes);
size_t pool_mark(void);
void pool_release(size_t mark);

int parse_specs(const char *text, Spec *spec); /* how many */
int spec_dtype(const Spec *spec, int mode);
double round_to(int dtype, double x);
/* The numbers of a case are its own: others, before or beside it, do not change them. */
void random_begin(const char *name, const char *operands);
double unit_random(void);
double *random_values(const Spec *spec, int mode);
void random_operand(Call *call, int i); /* the i-th input */

/* NULL, or which rule the kernel broke (a guard, an input written). */
const char *execute(const Call *call, const How *how, Result *result);
/* NULL, or where the outputs differ. */
const char *same_bits(const Call *call, const Result *a, const Result *b);
const char *close_to(const Spec *spec, const double *got, const double *want, double tolerance);
/* Naive values of the outputs from the formulas of kernels.h; false when the op has none. */
bool reference(const Call *call, double *out[MAX_OPERANDS]);
/* The elements of a tensor of a packed type. */
void unpack(const Spec *spec, const void *storage, double *value);
/* Attention, either way: for each element of an output, the sum of magnitudes of what is added up:
 * probabilities times v, times dout, gradients of scores times k, times q. Zero for lse. */
void attend_terms(const Call *call, double *spread[MAX_OPERANDS]);

#endif
