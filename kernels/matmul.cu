/* Linear layers on CUDA through cuBLASLt: y = x w^T + bias, dx = dy w, dw (+)= dy^T x, in full f32 arithmetic
 * (no TF32) over f32 or bf16 operands.
 *
 * cuBLASLt is column-major: a row-major matrix [rows, width] is its matrix of width rows and `rows` columns
 * with leading dimension `width`. So a row-major C = op(A) op(B) is the column-major C' = op(B') op(A'), and
 * the bias, one a column of y, is one a row of y' as its epilogue wants. The first call with a set of shapes
 * makes descriptors and takes the first algorithm of the heuristic under the planned workspace; later calls
 * use them again. Buffers are always K_ALIGN-aligned, so the choice, and with it the bits, never depends on
 * where they lie; partial results of a split depth are kept in f32. */
#include "cuda.cuh"

#include <cublasLt.h>

enum { ROUND_THREADS = 256 };

/* C[rows, columns] (+)= op(A) op(B), all row-major; A is stored [depth, rows] when transposed, B [columns,
 * depth]. */
struct Shape {
    int64_t rows, columns, depth;
    int transpose_a, transpose_b;
    int operand_dtype, result_dtype, bias; /* bias: through the epilogue */
    size_t workspace_bytes;
};
struct Product {
    Shape shape;
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t a, b, c; /* as cuBLASLt sees them: a is our B */
    cublasLtMatmulAlgo_t algorithm;
};

static void check(cublasStatus_t status, const char *what, const Shape *s) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fprintf(stderr,
            "train: error: cuBLASLt: %s: %s (product of %s operands into %s, [%lld, %lld] over %lld)\n", what,
            cublasLtGetStatusString(status), s->operand_dtype == K_F32 ? "f32" : "bf16",
            s->result_dtype == K_F32 ? "f32" : "bf16", (long long)s->rows, (long long)s->columns,
            (long long)s->depth);
    exit(status == CUBLAS_STATUS_ALLOC_FAILED ? K_EXIT_MEMORY : K_EXIT_DEVICE);
}

static cudaDataType_t blas_type(int dtype) {
    return dtype == K_F32 ? CUDA_R_32F : CUDA_R_16BF;
}
static cublasOperation_t blas_operation(int transpose) {
    return transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
}

static void choose_algorithm(Product *p, cublasLtHandle_t blas) {
    const Shape *s = &p->shape;
    cublasLtMatmulPreference_t preference;
    check(cublasLtMatmulPreferenceCreate(&preference), "preference", s);
    const uint64_t bytes = s->workspace_bytes;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                               sizeof bytes),
          "workspace limit", s);
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                               &reductions, sizeof reductions),
          "reduction schemes", s);
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(blas, p->matmul, p->a, p->b, p->c, p->c, preference, 1, &found,
                                         &count),
          "no algorithm", s);
    if (count == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm", s);
    check(found.state, "no algorithm", s);
    p->algorithm = found.algo;
    check(cublasLtMatmulPreferenceDestroy(preference), "preference", s);
}

static void make_product(Product *p, cublasLtHandle_t blas, const void *bias) {
    const Shape *s = &p->shape;
    const cudaDataType_t operand = blas_type(s->operand_dtype), result = blas_type(s->result_dtype);
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
    choose_algorithm(p, blas);
}

static bool same_shape(const Shape *x, const Shape *y) {
    return x->rows == y->rows && x->columns == y->columns && x->depth == y->depth &&
           x->transpose_a == y->transpose_a && x->transpose_b == y->transpose_b &&
           x->operand_dtype == y->operand_dtype && x->result_dtype == y->result_dtype && x->bias == y->bias &&
           x->workspace_bytes == y->workspace_bytes;
}

static Product *find_product(cublasLtHandle_t blas, const Shape *shape, const void *bias) {
    static Product *product; /* grows: a program has some for each width of a matrix */
    static int products, room;
    for (int i = 0; i < products; i++)
        if (same_shape(&product[i].shape, shape)) return &product[i];
    if (products == room) {
        room = room ? 2 * room : 64;
        product = (Product *)realloc(product, (size_t)room * sizeof *product);
        if (!product) {
            fprintf(stderr, "train: error: out of memory for %d matrix products\n", room);
            exit(K_EXIT_INTERNAL);
        }
    }
    Product *p = &product[products++];
    p->shape = *shape;
    make_product(p, blas, bias);
    return p;
}

static void multiply(const KCtx *cx, const Shape *shape, const void *a, const void *b, const void *bias,
                     int adds, void *c) {
    const cublasLtHandle_t blas = (cublasLtHandle_t)cx->blas;
    const Product *p = find_product(blas, shape, bias);
    if (bias)
        check(
            cublasLtMatmulDescSetAttribute(p->matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
            "bias", shape);
    const float alpha = 1, beta = adds ? 1.0f : 0.0f;
    check(cublasLtMatmul(blas, p->matmul, &alpha, b, p->a, a, p->b, &beta, c, p->c, c, p->c, &p->algorithm,
                         cx->workspace, shape->workspace_bytes, (cudaStream_t)cx->stream),
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

static void product(const KCtx *cx, const KTensor *a, int transpose_a, const KTensor *b, int transpose_b,
                    const KTensor *bias, int adds, const KTensor *c) {
    Shape s = {};
    s.columns = k_last(c);
    s.rows = s.columns ? k_count(c) / s.columns : 0;
    s.depth = transpose_a ? k_rows(a) : k_last(a);
    s.transpose_a = transpose_a;
    s.transpose_b = transpose_b;
    s.operand_dtype = a->dtype;
    s.result_dtype = c->dtype;
    s.workspace_bytes = k_cuda_blas_bytes(s.rows, s.columns);
    if (s.rows * s.columns == 0) return;
    if (a->dtype != b->dtype) {
        fprintf(stderr, "train: error: a product of f32 and bf16 operands: cast one of them first\n");
        exit(K_EXIT_INTERNAL);
    }
    if (k_cuda_scratch_bytes(a, c)) { /* f32 operands, bf16 result */
        float *scratch = (float *)((char *)cx->workspace + s.workspace_bytes);
        KTensor wide = *c;
        wide.data = scratch;
        wide.dtype = K_F32;
        product(cx, a, transpose_a, b, transpose_b, bias, 0, &wide);
        K_LAUNCH(round_kernel, element_grid(k_count(c)), ROUND_THREADS, 0, cx->stream, k_view(c),
                 (const float *)scratch, k_count(c), adds);
        return;
    }
    if (bias && bias->dtype != c->dtype) { /* the epilogue takes a bias of the result's type only */
        K_LAUNCH(repeat_kernel, element_grid(k_count(c)), ROUND_THREADS, 0, cx->stream, k_view(c),
                 k_view(bias), s.columns, k_count(c));
        bias = NULL;
        adds = 1;
    }
    s.bias = bias != NULL;
    multiply(cx, &s, a->data, b->data, bias ? bias->data : NULL, adds, c->data);
}

void k_linear(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr) {
    (void)nout, (void)attr;
    product(cx, &in[0], 0, &in[1], 1, nin > 2 ? &in[2] : NULL, 0, &out[0]);
}
void k_linear_bwd_x(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)nout, (void)nin, (void)attr;
    product(cx, &in[0], 0, &in[1], 0, NULL, 0, &out[0]);
}
/* dy [.., O], x [.., I], acc? -> dw [O, I] */
void k_linear_bwd_w(const KCtx *cx, int nout, const KTensor *out, int nin, const KTensor *in,
                    const KAttr *attr) {
    (void)nout;
    product(cx, &in[0], 1, &in[1], 0, NULL, nin > 2 && k_adds(cx, attr), &out[0]);
}
