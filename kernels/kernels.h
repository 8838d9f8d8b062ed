/* The operations' kernels: one calling convention for every operation and both targets.
 *
 *     k_NAME(cx, nout, out, nin, in, attr)
 *
 * Tensors are contiguous, row-major, aligned to K_ALIGN bytes, in the storage type they name (how packed ones lie,
 * packed.h says); on CUDA their storage may have room for more elements (below). Shapes, the order of operands and which of them are optional
 * stand in ir/op.def, one row an operation; optional operands are told apart by nin and nout. The host
 * files (*.c) and the CUDA files (*.cu) implement the same functions; on CUDA they launch on cx->stream and return
 * at once.
 *
 * Every kernel is a pure function of its inputs, attributes and (seed, step, micro): the same bits every time,
 * wherever the buffers lie and however many threads run. Sums accumulate in f32 or wider; partial sums are cut
 * into K_LANES fixed lanes, never by the number of threads. Stores to bf16 round to nearest even.
 * Scratch comes from cx->workspace (k_workspace says how much) or a bounded stack array, never from malloc.
 *
 * An output may be the same storage as an input in two cases only: the last outputs that write over the last
 * inputs (accumulators, AdamW's state; the kernel reads the old contents through `out`), and the first output of
 * an op that op.def says runs INPLACE, which may share any one input of the same element size and count, or ONTO,
 * which may share the one that is added.
 *
 * NaN. Memory that nobody has written holds bytes of 0xff in tests and in a trainer's poison mode: fresh outputs,
 * the workspace before each call, buffers that died, copies that are still on their way. That is NaN in every float
 * type and -1 in i32, so a plan that reads dead memory prints NaN, if kernels do their part:
 *   - A NaN that is read reaches an output. Of most operations one in any element of any input does (KEEPS in op.def);
 *     of the others (PICKS) one in what they read, while what is dropped, masked or in another row counts as not read.
 *     So comparisons are written for NaN to take the side that keeps it: x < 0 ? 0 : x, never x > 0 ? x : 0 nor fmax,
 *     which drop it. A maximum that is only subtracted again may: the exponential of the NaN remains.
 *   - Rounding to bf16 keeps a NaN one.
 *   - What is written over without being read leaves no trace of what it held: outputs, the workspace, accumulators
 *     with acc = 0 or in the first micro-step of acc = 2, weights beside their master copy.
 *   - A token outside the vocabulary (-1, too) makes a row of NaN, and no gradient. A negative target is a masked one.
 *     A negative position or first key makes a row of NaN; so does a position past a cache's end.
 *   - The norm of clip_scale: NaN makes NaN, infinity makes 0.
 *
 * Tests compile the host files with -DK_REAL=double: then K_F32 tensors hold doubles and every
 * formula is exact enough for central differences. */
#ifndef REMAT_KERNELS_H
#define REMAT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef K_REAL
#define K_REAL float
#endif

enum { K_ALIGN = 256, K_LANES = 16, K_MAX_RANK = 4 };
enum { K_PRODUCT_ROWS = 256 }; /* of a product on the host that a tile has, about (matmul.c) */
enum {
#define LIMIT(NAME, most, what) K_MOST_##NAME = most,
#include "limits.def"
#undef LIMIT
};

typedef enum KDType {
#define DTYPE(name, NAME, bytes) K_##NAME,
#include "dtype.def"
#undef DTYPE
    K_DTYPE_COUNT
} KDType;

/* `room`, on CUDA: where a matrix product is to run over P > V columns of logits or of their gradient [.., V],
 * their rows lie P elements apart (k_pitch), the weight [V, D] and its gradient have room for P rows and the bias
 * for P numbers, behind what they hold. The padding of the weight, of the bias and of the logits' gradient is
 * zero: cross_entropy_bwd and _both write the last. That of the logits and of the weight's gradient is anything. */
typedef struct KTensor {
    void *data;
    int dtype; /* KDType */
    int rank;
    int64_t dim[K_MAX_RANK];
    int64_t room; /* elements the storage has room for; 0: those of dim */
} KTensor;

typedef struct KAttr {
#define ATTR_F(name) double name;
#define ATTR_I(name) int64_t name;
#include "attr.def"
#undef ATTR_F
#undef ATTR_I
} KAttr;

typedef struct KCtx {
    void *workspace;         /* K_ALIGN-aligned; contents undefined */
    size_t workspace_bytes;
    int variant;             /* of the kernel, KVariant (variant.h); 0: its first */
    void *stream;            /* cudaStream_t; NULL on the host */
    void *blas;              /* cublasLtHandle_t; NULL on the host */
    uint64_t seed;
    int64_t step;            /* optimizer step, from 0 */
    int64_t passed_over;     /* steps before it that changed nothing: bias correction does not count them */
    int unheard;             /* the step before may be one of them: the device knows (guard.h) */
    int64_t micro;           /* micro-step within the step, from 0 */
    float learning_rate;     /* this step's */
    double targets;          /* unmasked tokens of the whole batch */
    float loss_scale;        /* 1 / targets: cross_entropy_bwd multiplies by it */
    const struct KStep *now; /* on CUDA: k_step (step.h) of these numbers, in the device's memory. Kernels read them
                                there, so that launches that were recorded once do every step; only whether micro
                                is 0 is part of a launch. NULL on the host */
} KCtx;

typedef void KFunction(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr);

/* forward */
KFunction k_embed;         /* y[.., d] = w[token, d]; w and y may differ in dtype */
KFunction k_positions;     /* y = the first T rows of w, T = y.dim[0] */
KFunction k_cast;          /* of any number of tensors, each as if by itself; an output with more rows than its input has
                              those of the next ones too, one after the other */
KFunction k_dequantize;    /* nf4[code] * scale in f32, stored as f32 or rounded to bf16 (packed.h) */
KFunction k_split;         /* out[i] = the next columns of the last dimension, as many as it is wide */
KFunction k_concat;        /* the reverse */
KFunction k_slice_rows;    /* rows [begin, begin + n) of the first dimension; any storage type */
KFunction k_join_rows;     /* the reverse: pieces one after the other */
KFunction k_linear;        /* y = x w^T (+ bias), or factor * x w^T, with something to add that plus this, rounded once. A
                              packed w counts as what dequantize stores of it in x's type; so in linear_bwd_x */
KFunction k_layernorm;     /* y = (x - mean) rstd g + b; population variance; rstd = 1/sqrt(var + eps) */
KFunction k_rmsnorm;       /* y = x rstd g; rstd = 1/sqrt(mean x^2 + eps) */
KFunction k_gelu;          /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
KFunction k_silu;          /* x / (1 + exp(-x)) */
KFunction k_add;
KFunction k_add_broadcast; /* x[.., s] + b[s] */
KFunction k_mul;
KFunction k_scale;         /* x * factor */
KFunction k_rope;          /* x [B, T, H, E]: pairs (i, i + E/2) rotated by t / theta^(2i/E), t the token's place or what
                              positions [B, T] say; Llama-3 frequency scaling when rope_factor > 0; inverse rotates
                              backwards */
KFunction k_attend;        /* o = softmax(q k^T / sqrt(E)) v over keys (causal: 0..t); head h reads kv head h / (H/K);
                              lse = log sum exp of the scaled scores. No T x T matrix in memory. With first_key and
                              last_query [B, T], token t sees keys first_key[t]..t if causal, else ..last_query[t], and
                              queries t, else first_key[t], ..last_query[t] see it: the two say the same. Each token
                              sees itself */
KFunction k_cache_rows;    /* rows of k and v [B, n, K, E] become those of the caches [B, T, K, E] that positions [B, n] say,
                              no two the same; a position that is none of a row changes nothing */
KFunction k_attend_cached; /* attend of one query [B, 1, H, E] over rows 0..position [B, 1] of the caches, causally; on
                              the host with the bits that attend gives to that row */
KFunction k_dropout;       /* x keep / (1 - p), keep = k_random(..., attr.rng, attr.element + i) >= p; its own
                              backward */
KFunction k_cross_entropy; /* lse = log sum exp(logits); loss += sum mask (lse - logits[target]), always
                              added: the caller zeroes it before a step. A negative target counts as masked */
/* backward */
KFunction k_embed_bwd;     /* dw[token] += dy, in an order that follows from the tokens alone: deterministic */
KFunction k_positions_bwd;
KFunction k_sum_leading;
KFunction k_linear_bwd_x;  /* dx = dy w, or factor * dy w; with a gradient to add, that plus this, rounded once */
KFunction k_linear_bwd_w;  /* dw (+)= dy^T x; of several weights, each by the next columns of dy, as many as it has rows */
KFunction k_layernorm_bwd_x;
KFunction k_layernorm_bwd_g; /* dg (+)= sum over rows of dy (x - mean) rstd */
KFunction k_rmsnorm_bwd_x;
KFunction k_rmsnorm_bwd_g;
KFunction k_gelu_bwd;
KFunction k_silu_bwd;
KFunction k_attend_bwd;
KFunction k_cross_entropy_bwd; /* (exp(logits - lse) - onehot) mask loss_scale */
/* update */
KFunction k_square_norm;   /* sum (+)= |g|^2 of each gradient */
KFunction k_clip_scale;
KFunction k_adamw;         /* decoupled weight decay, bias-corrected by cx->step + 1 - cx->passed_over; g is multiplied by scale if given;
                              with a master copy, the master is updated and w is its rounding. One call may update
                              attr.tensors weights of the same storage types, each as if by itself; the decay is for
                              the first attr.decayed of them */
KFunction k_adamw8bit;     /* the same with m in dynamic8, v in udynamic8; the decay multiplies the updated weight */
/* fused */
KFunction k_swiglu;
KFunction k_swiglu_bwd;
KFunction k_add_scaled;    /* b * factor is rounded to its storage type before it is added, as the unfused pair does */
KFunction k_bias_gelu;
KFunction k_bias_gelu_bwd;
KFunction k_attend_packed;     /* attend of q, k and v side by side in the rows of one tensor (heads.h) */
KFunction k_attend_packed_bwd;
KFunction k_cross_entropy_both; /* the loss, and dlogits; a masked row is not read */
KFunction k_bias_gelu_bwd_sums; /* and the bias's gradient, the sum of dx over rows */
KFunction k_swiglu_bwd_sums;    /* and the sums of dg and of du over rows */
KFunction k_layernorm_bwd_sums; /* the three of layernorm; where there is one more output, the sum of dx over rows */
KFunction k_rmsnorm_bwd_sums;   /* the same of rmsnorm. Where these add, all sums do */
KFunction k_add_layernorm; /* s is rounded to its storage type before it is normalised, as the unfused pair does */
KFunction k_add_rmsnorm;

/* Bytes of workspace the kernel of `name` ("linear") needs for these operands (data pointers unused).
 * Pure arithmetic, shared with the planner; 0 for most. Source: kernels/workspace.c. */
typedef enum KTarget { K_HOST, K_CUDA } KTarget;
size_t k_workspace(KTarget target, const char *name, int nout, const KTensor *out, int nin, const KTensor *in,
                   const KAttr *attr);

static inline int64_t k_count(const KTensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}
/* The third operand of `linear` and `linear_bwd_x`, NULL where it is not that: a bias has one dimension, what is added
 * as many as the result. */
static inline const KTensor *k_bias_of(int nin, const KTensor *in, const KTensor *out) {
    return nin > 2 && in[2].rank != out->rank ? &in[2] : NULL;
}
static inline const KTensor *k_added_to(int nin, const KTensor *in, const KTensor *out) {
    return nin > 2 && in[2].rank == out->rank ? &in[2] : NULL;
}
static inline int64_t k_last(const KTensor *t) { return t->rank ? t->dim[t->rank - 1] : 1; }
static inline int64_t k_room(const KTensor *t) { return t->room ? t->room : k_count(t); }
/* attr.acc: does this call add to what the accumulator holds? */
static inline int k_adds(const KCtx *cx, const KAttr *attr) { return attr->acc == 1 || (attr->acc == 2 && cx->micro != 0); }
/* How many weights a call of adamw updates, and of how many of them it decays. */
static inline int k_tensors(const KAttr *attr) { return attr->tensors > 1 ? (int)attr->tensors : 1; }
static inline int k_decayed(const KAttr *attr) { return attr->tensors > 1 ? (int)attr->decayed : 1; }
/* Elements from a row of logits to the next. */
static inline int64_t k_pitch(const KTensor *t) {
    return t->room ? t->room / (k_count(t) / k_last(t)) : k_last(t);
}

#ifdef __cplusplus
}
#endif
#endif
