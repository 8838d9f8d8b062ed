/* Linear layers on CUDA through cuBLASLt: y = x w^T + bias or what is added, dx = dy w (+ add), dw (+)= dy^T
 * x, in full f32 arithmetic (no TF32) over f32 or bf16 operands.
 *
 * cuBLASLt is column-major: a row-major matrix [rows, width] is its matrix of width rows and `rows` columns
 * with leading dimension `width`. So a row-major C = op(A) op(B) is the column-major C' = op(B') op(A'), and
 * the bias, one a column of y, is one a row of y' as its epilogue wants. The first call with a set of shapes
 * makes descriptors and takes the algorithm that was chosen for them (product.h), or else the first of the
 * heuristic under the planned workspace; later calls use them again. Buffers are always K_ALIGN-aligned, so
 * the choice, and with it the bits, never depends on where they lie; partial results of a split depth are
 * kept in f32. A weight in 4 bits is for matmul_packed.cu.
 *
 * Where rows of logits lie further apart than they are wide, the product is over their whole pitch and the
 * rows behind the weight's last (kernels.h). A leading dimension alone would not help: the library has fast
 * kernels only for extents that are multiples of 16 bytes, too. */
#include "blocks.cuh"
#include "matmul_packed.h"
#include "packed.h"
#include "product.h"

#include <cublasLt.h>

enum { ROUND_THREADS = 256 };

/* C[rows, columns] (+)= op(A) op(B), all row-major; A is stored [depth, rows] when transposed, B [columns,
 * depth]. */
struct Product {
    KShape shape;
    size_t workspace_bytes;
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t a, b, c; /* as cuBLASLt sees them: a is our B */
    cublasLtMatmulAlgo_t candidate[K_MOST_CANDIDATES];
    int candidates, taken; /* candidates: 0 where the only one was chosen */
};

static struct {
    const KChoice *choice;
    int choices, most; /* most: candidates of a new product */
    Product *at;       /* grows: a program has some for each width of a matrix */
    int count, room;
    int last, asked; /* the product that was called last, -1 once it was asked for; that one */
} products = {NULL, 0, 1, NULL, 0, 0, -1, 0};

static void check(cublasStatus_t status, const char *what, const KShape *s) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fprintf(
        stderr, "train: error: cuBLASLt: %s: %s (product of %s operands into %s, [%lld, %lld] over %lld)\n",
        what, cublasLtGetStatusString(status), s->operands == K_F32 ? "f32" : "bf16",
        s->result == K_F32 ? "f32" : "bf16", (long long)s->rows, (long long)s->columns, (long long)s->depth);
    exit(status == CUBLAS_STATUS_ALLOC_FAILED ? K_EXIT_MEMORY : K_EXIT_DEVICE);
}

static cudaDataType_t blas_type(int64_t dtype) {
    return dtype == K_F32 ? CUDA_R_32F : CUDA_R_16BF;
}
static cublasOperation_t blas_operation(int64_t transpose) {
    return transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
}

/* The heuristic's, best first. */
static void list_candidates(Product *p, cublasLtHandle_t blas) {
    const KShape *s = &p->shape;
    cublasLtMatmulPreference_t preference;
    check(cublasLtMatmulPreferenceCreate(&preference), "preference", s);
    const uint64_t bytes = p->workspace_bytes;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                               sizeof bytes),
          "workspace limit", s);
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                               &reductions, sizeof reductions),
          "reduction schemes", s);
    cublasLtMatmulHeuristicResult_t found[K_MOST_CANDIDATES];
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(blas, p->matmul, p->a, p->b, p->c, p->c, preference, products.most,
                                         found, &count),
          "no algorithm", s);
    for (int i = 0; i < count; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS && found[i].workspaceSize <= p->workspace_bytes)
            p->candidate[p->candidates++] = found[i].algo;
    if (p->candidates == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm", s);
    check(cublasLtMatmulPreferenceDestroy(preference), "preference", s);
}

static const KAlgorithm *chosen_for(const KShape *shape) {
    for (int i = 0; i < products.choices; i++)
        if (k_product_same(&products.choice[i].shape, shape)) return &products.choice[i].algorithm;
    return NULL;
}

/* The algorithm of that configuration: refused where this library has it not, or not for this product. */
static void take_chosen(Product *p, cublasLtHandle_t blas, const KAlgorithm *chosen) {
    const KShape *s = &p->shape;
    cublasLtMatmulAlgo_t *algorithm = &p->candidate[0];
    const cudaDataType_t operand = blas_type(s->operands), result = blas_type(s->result);
    static const char *const refused = "the algorithm that was chosen when it was measured is refused; plan "
                                       "without the profile, or run `rematc tune` again";
    check(cublasLtMatmulAlgoInit(blas, CUBLAS_COMPUTE_32F, CUDA_R_32F, operand, operand, result, result,
                                 (int)chosen->id, algorithm),
          refused, s);
#define ALGORITHM(name, ATTRIBUTE, type)                                                                     \
    if (CUBLASLT_ALGO_CONFIG_##ATTRIBUTE != CUBLASLT_ALGO_CONFIG_ID) {                                       \
        const type value = (type)chosen->name;                                                               \
        check(cublasLtMatmulAlgoConfigSetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_##ATTRIBUTE, &value,      \
                                                   sizeof value),                                            \
              refused, s);                                                                                   \
    }
#include "product.def"
    cublasLtMatmulHeuristicResult_t found;
    check(cublasLtMatmulAlgoCheck(blas, p->matmul, p->a, p->b, p->c, p->c, algorithm, &found), refused, s);
    check(found.state, refused, s);
    if (found.workspaceSize > p->workspace_bytes) check(CUBLAS_STATUS_NOT_SUPPORTED, refused, s);
}

static void make_product(Product *p, cublasLtHandle_t blas, const void *bias) {
    const KShape *s = &p->shape;
    const cudaDataType_t operand = blas_type(s->operands), result = blas_type(s->result);
    check(cublasLtMatmulDescCreate(&p->matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor", s);
    const cublasOperation_t first = blas_operation(s->transpose_b), second = blas_operation(s->transpose_a);
    check(cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first),
          "transposition", s);
    check(cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second),
          "transposition", s);
    if (s->bias) {
        const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        check(cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                             sizeof epilogue),
              "epilogue", s);
        check(
            cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
            "bias", s);
    }
    /* stored [columns, depth] when B is transposed, else [depth, columns]; A likewise */
    const int64_t b_width = s->transpose_b ? s->depth : s->columns;
    const int64_t b_rows = s->transpose_b ? s->columns : s->depth;
    const int64_t a_width = s->transpose_a ? s->rows : s->depth, a_rows = s->transpose_a ? s->depth : s->rows;
    check(cublasLtMatrixLayoutCreate(&p->a, operand, (uint64_t)b_width, (uint64_t)b_rows, b_width), "layout",
          s);
    check(cublasLtMatrixLayoutCreate(&p->b, operand, (uint64_t)a_width, (uint64_t)a_rows, a_width), "layout",
          s);
    check(cublasLtMatrixLayoutCreate(&p->c, result, (uint64_t)s->columns, (uint64_t)s->rows, s->columns),
          "layout", s);
    const KAlgorithm *chosen = chosen_for(s);
    if (chosen)
        take_chosen(p, blas, chosen);
    else
        list_candidates(p, blas);
}

static Product *find_product(cublasLtHandle_t blas, const KShape *shape, const void *bias) {
    for (products.last = 0; products.last < products.count; products.last++)
        if (k_product_same(&products.at[products.last].shape, shape)) return &products.at[products.last];
    if (products.count == products.room) {
        products.room = products.room ? 2 * products.room : 64;
        products.at = (Product *)realloc(products.at, (size_t)products.room * sizeof *products.at);
        if (!products.at) {
            fprintf(stderr, "train: error: out of memory for %d matrix products\n", products.room);
            exit(K_EXIT_INTERNAL);
        }
    }
    Product *p = &products.at[products.count++];
    *p = Product();
    p->shape = *shape;
    p->workspace_bytes = k_cuda_blas_bytes(shape->rows, shape->columns);
    make_product(p, blas, bias);
    return p;
}

void k_products_choose(const KChoice *choice, int count) {
    products.choice = choice;
    products.choices = count;
}
void k_products_list(int most) {
    products.most = (int)k_cuda_clamp(most, 1, K_MOST_CANDIDATES);
}
int k_product_candidates(void) {
    const int last = products.last;
    products.last = -1;
    return last < 0 ? 0 : products.at[products.asked = last].candidates;
}
KChoice k_product_take(int candidate, int for_good) {
    Product *p = &products.at[products.asked];
    p->taken = candidate;
    KChoice choice = {p->shape, {}};
    size_t written;
#define ALGORITHM(name, ATTRIBUTE, type)                                                                     \
    type name = 0;                                                                                           \
    check(cublasLtMatmulAlgoConfigGetAttribute(&p->candidate[candidate], CUBLASLT_ALGO_CONFIG_##ATTRIBUTE,   \
                                               &name, sizeof name, &written),                                \
          "what an algorithm is", &p->shape);                                                                \
    choice.algorithm.name = (int64_t)name;
#include "product.def"
    if (for_good) {
        p->candidate[0] = p->candidate[candidate];
        p->candidates = p->taken = 0;
    }
    return choice;
}

/* add: what is added, where c is perhaps; NULL: nothing */
static void multiply(const KCtx *cx, const KShape *shape, const void *a, const void *b, const void *bias,
                     float factor, const void *add, void *c) {
    const cublasLtHandle_t blas = (cublasLtHandle_t)cx->blas;
    const Product *p = find_product(blas, shape, bias);
    if (bias)
        check(
            cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
            "bias", shape);
    const float beta = add ? 1.0f : 0.0f;
    check(cublasLtMatmul(blas, p->matmul, &factor, b, p->a, a, p->b, &beta, add ? add : c, p->c, c, p->c,
                         &p->candidate[p->taken], cx->workspace, p->workspace_bytes,
                         (cudaStream_t)cx->stream),
          "product", shape);
}

/* y[i] = adds ? y[i] + x[i] : x[i], x f32 */
__global__ void round_kernel(KView y, const float *x, int64_t count, int adds) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride)
        k_put(y, i, adds ? k_get(y, i) + x[i] : x[i]);
}
/* y[r, i] = bias[i] */
__global__ void repeat_kernel(KView y, KView bias, int64_t width, int64_t count) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride)
        k_put(y, i, k_get(bias, i % width));
}
static dim3 element_grid(int64_t count) {
    return k_grid(k_cuda_clamp(k_cuda_ceil(count, ROUND_THREADS), 1, 1 << 16));
}

/* factor: of the product; 0: 1. add: NULL, or what may be added, and `adds` whether it is this time. */
static void product(const KCtx *cx, const KTensor *a, int transpose_a, const KTensor *b, int transpose_b,
                    const KTensor *bias, double factor, const KTensor *add, int adds, const KTensor *c) {
    const KProduct p = k_cuda_product(a, transpose_a, c);
    const KShape s = k_product_shape(a, transpose_a, transpose_b, bias, add != NULL, 1, c);
    const void *old = adds ? add->data : NULL;
    const int64_t count = p.rows * p.columns;
    if (count == 0) return;
    if (a->dtype != b->dtype) {
        fprintf(stderr, "train: error: a product of f32 and bf16 operands: cast one of them first\n");
        exit(K_EXIT_INTERNAL);
    }
    if (k_cuda_product_is_apart(a, 1,
                                c)) { /* f32 operands, bf16 result: of weights' gradients, added in place */
        if (old && old != c->data) {
            fprintf(stderr, "train: error: a product of f32 operands cannot be added to bf16 elsewhere\n");
            exit(K_EXIT_INTERNAL);
        }
        float *scratch = (float *)((char *)cx->workspace + k_cuda_blas_bytes(p.rows, p.columns));
        KTensor wide = *c;
        wide.data = scratch;
        wide.dtype = K_F32;
        product(cx, a, transpose_a, b, transpose_b, bias, factor, NULL, 0, &wide);
        K_LAUNCH(round_kernel, element_grid(count), ROUND_THREADS, 0, cx->stream, k_view(c),
                 (const float *)scratch, count, old != NULL);
        return;
    }
    if (bias && !s.bias) { /* the epilogue takes a bias of the result's type only */
        K_LAUNCH(repeat_kernel, element_grid(count), ROUND_THREADS, 0, cx->stream, k_view(c), k_view(bias),
                 s.columns, count);
        bias = NULL;
        old = c->data;
    }
    multiply(cx, &s, a->data, b->data, bias ? bias->data : NULL, factor != 0 ? (float)factor : 1.0f, old,
             c->data);
}

void k_linear(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout;
    const KTensor *bias = k_bias_of(nin, in, out), *add = k_added_to(nin, in, out);
    if (k_is_packed(in[1].dtype))
        k_product_packed(cx, &in[0], &in[1], 0, bias, attr->factor, add, &out[0]);
    else
        product(cx, &in[0], 0, &in[1], 1, bias, attr->factor, add, add != NULL, &out[0]);
}
void k_linear_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)nout;
    const KTensor *add = k_added_to(nin, in, out);
    if (k_is_packed(in[1].dtype))
        k_product_packed(cx, &in[0], &in[1], 1, NULL, attr->factor, add, &out[0]);
    else
        product(cx, &in[0], 0, &in[1], 0, NULL, attr->factor, add, add != NULL, &out[0]);
}

/* Rows of x, f32, that belong to several tensors of one type. */
struct Parts {
    const float *x[K_CUDA_MOST_PARTS];
    void *y[K_CUDA_MOST_PARTS];
    int64_t count[K_CUDA_MOST_PARTS];
    Blocks<K_CUDA_MOST_PARTS> blocks;
};
template <class A, int N> static __device__ inline void store_part(A *y, const float *x, bool adds) {
    const KPack<float, N> made = k_load_pack<N>(x);
    float sum[N] = {};
    if (adds) {
        const KPack<A, N> old = k_load_pack<N>((const A *)y);
#pragma unroll
        for (int j = 0; j < N; j++) sum[j] = old.get(j);
    }
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] = adds ? sum[j] + made.get(j) : made.get(j);
    k_store_pack<A, N>(y, sum);
}
/* y = adds ? y + x : x; N divides the counts. */
template <class A, int N> __global__ void parts_kernel(const __grid_constant__ Parts p, int adds) {
    const int t = p.blocks.tensor_of(blockIdx.x);
    const int64_t i = ((int64_t)(blockIdx.x - p.blocks.first[t]) * ROUND_THREADS + threadIdx.x) * N;
    if (i < p.count[t]) store_part<A, N>((A *)p.y[t] + i, p.x[t] + i, adds);
}
template <int N>
static void store_parts(const KCtx *cx, const float *x, int parts, const KTensor *out, int adds) {
    Parts p = {};
    for (int t = 0; t < parts; t++) {
        p.x[t] = x;
        p.y[t] = out[t].data;
        p.count[t] = k_count(&out[t]);
        p.blocks.add(k_cuda_ceil(p.count[t], ROUND_THREADS * N));
        x += p.count[t];
    }
    k_by_type(out[0].dtype, [&](auto a) {
        K_LAUNCH((parts_kernel<decltype(a), N>), k_grid(p.blocks.count), ROUND_THREADS, 0, cx->stream, p,
                 adds);
    });
}

/* dy [.., sum O_i], x [.., I], acc of each? -> dw_i [O_i, I] */
void k_linear_bwd_w(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    const int adds = nin > 2 && k_adds(cx, attr);
    if (nout == 1) {
        product(cx, &in[0], 1, &in[1], 0, NULL, 0, nin > 2 ? &out[0] : NULL, adds, &out[0]);
        return;
    }
    const KProduct p = k_cuda_product(&in[0], 1, &out[0]);
    if (p.rows * p.columns == 0) return;
    KTensor all = {
        (char *)cx->workspace + k_cuda_blas_bytes(p.rows, p.columns), K_F32, 2, {p.rows, p.columns}, 0};
    product(cx, &in[0], 1, &in[1], 0, NULL, 0, NULL, 0, &all);
    if (p.columns % K_PACK == 0)
        store_parts<K_PACK>(cx, (const float *)all.data, nout, out, adds);
    else
        store_parts<1>(cx, (const float *)all.data, nout, out, adds);
}
