/* A small exact stand-in for cuBLASLt: products in double, rounded once. It follows the descriptors literally
 * (column-major matrices, their leading dimensions, transpositions, the epilogue's bias down a column) and
 * refuses what the library refuses: type combinations it does not list, shapes that do not fit, leading
 * dimensions under the rows, buffers not aligned as its preference assumes, too little workspace. An
 * algorithm "uses" all the workspace it was promised: it fills it with NaN.
 *
 * It has three algorithms, which its heuristic names in this order: the exact one; one that is as exact, in
 * two stages; one that keeps 12 bits as it adds up. That of the number REMAT_SIM_SLOW_PRODUCT takes a
 * millisecond more. */
#include "cublasLt.h"

#include "cuda_bf16.h"
#include "sim.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <unistd.h>

struct SimMatmul {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t operation_a, operation_b;
    uint32_t epilogue;
    const void *bias;
};
struct SimLayout {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t leading;
};
struct SimPreference {
    uint64_t workspace_bytes;
    uint32_t reductions;
};

enum { ALIGNMENT = 256 }; /* the library's default for all buffers */

size_t cublasLtGetVersion(void) {
    return 130000;
}
const char *cublasLtGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "invalid value";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmul, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    *matmul = new SimMatmul{compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set(void *to, size_t room, const void *value, size_t bytes) {
    if (room != bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t m,
                                              cublasLtMatmulDescAttributes_t attribute, const void *value,
                                              size_t bytes) {
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(&m->operation_a, sizeof m->operation_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(&m->operation_b, sizeof m->operation_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(&m->epilogue, sizeof m->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(&m->bias, sizeof m->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
    *layout = new SimLayout{type, rows, columns, leading};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = new SimPreference{0, 7};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes) {
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(&p->workspace_bytes, sizeof p->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(&p->reductions, sizeof p->reductions, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* The rows of the library's table of types with f32 arithmetic; op(A) [m, k], op(B) [k, n], C and D [m, n].
 */
static cublasStatus_t judge(const SimMatmul *m, const SimLayout *a, const SimLayout *b, const SimLayout *c,
                            const SimLayout *d) {
    const bool listed = (a->type == CUDA_R_32F && d->type == CUDA_R_32F) ||
                        (a->type == CUDA_R_16BF && (d->type == CUDA_R_16BF || d->type == CUDA_R_32F));
    if (m->compute != CUBLAS_COMPUTE_32F || m->scale != CUDA_R_32F || a->type != b->type || !listed ||
        c->type != d->type)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const uint64_t rows = m->operation_a == CUBLAS_OP_N ? a->rows : a->columns;
    const uint64_t depth_a = m->operation_a == CUBLAS_OP_N ? a->columns : a->rows;
    const uint64_t depth_b = m->operation_b == CUBLAS_OP_N ? b->rows : b->columns;
    const uint64_t columns = m->operation_b == CUBLAS_OP_N ? b->columns : b->rows;
    if (depth_a != depth_b || rows != d->rows || columns != d->columns || c->rows != d->rows ||
        c->columns != d->columns)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (const SimLayout *x : {a, b, c, d})
        if (x->leading < (int64_t)x->rows) return CUBLAS_STATUS_INVALID_VALUE;
    const bool biased = m->epilogue == CUBLASLT_EPILOGUE_BIAS;
    if (!biased && m->epilogue != CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (biased && (!m->bias || (uintptr_t)m->bias % 16)) return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

enum { EXACT = 1, STAGED, COARSE, ALGORITHMS = 3 };
static cublasLtMatmulAlgo_t standard(int id) {
    cublasLtMatmulAlgo_t algorithm = {};
    algorithm.config[CUBLASLT_ALGO_CONFIG_ID] = (uint32_t)id;
    algorithm.config[CUBLASLT_ALGO_CONFIG_TILE_ID] = (uint32_t)(10 + id);
    algorithm.config[CUBLASLT_ALGO_CONFIG_SPLITK_NUM] = 1;
    algorithm.config[CUBLASLT_ALGO_CONFIG_STAGES_ID] = id == STAGED ? 2 : 1;
    algorithm.config[CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID] = id == COARSE ? 3 : 0;
    return algorithm;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t matmul,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *result, int *count) {
    *count = 0;
    const cublasStatus_t status = judge(matmul, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    /* parts added in place or in the result's type would round more than once */
    if (wanted < 1 || preference->reductions & ~(uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (; *count < wanted && *count < ALGORITHMS; ++*count) {
        cublasLtMatmulHeuristicResult_t *found = &result[*count];
        *found = {};
        found->algo = standard(EXACT + *count);
        found->algo.workspace_bytes = found->workspaceSize = preference->workspace_bytes;
        found->state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoInit(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t, cudaDataType_t,
                                      cudaDataType_t, cudaDataType_t, cudaDataType_t, int id,
                                      cublasLtMatmulAlgo_t *algorithm) {
    if (id < EXACT || id >= EXACT + ALGORITHMS) return CUBLAS_STATUS_INVALID_VALUE;
    *algorithm = {};
    algorithm->config[CUBLASLT_ALGO_CONFIG_ID] = (uint32_t)id;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t matmul,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result) {
    const cublasStatus_t status = judge(matmul, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const cublasLtMatmulAlgo_t right = standard((int)algorithm->config[CUBLASLT_ALGO_CONFIG_ID]);
    result->state = CUBLAS_STATUS_SUCCESS;
    result->workspaceSize = 0;
    return memcmp(right.config, algorithm->config, sizeof right.config) ? CUBLAS_STATUS_NOT_SUPPORTED
                                                                        : CUBLAS_STATUS_SUCCESS;
}
static size_t config_bytes(cublasLtMatmulAlgoConfigAttributes_t attribute) {
    return attribute >= CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID ? 2 : 4;
}
cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    const void *value, size_t bytes) {
    if (attribute == CUBLASLT_ALGO_CONFIG_ID) return CUBLAS_STATUS_INVALID_VALUE;
    return set(&algorithm->config[attribute], config_bytes(attribute), value, bytes);
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void *value, size_t bytes, size_t *written) {
    *written = config_bytes(attribute);
    return set(value, bytes, &algorithm->config[attribute], *written);
}

static double load(const void *data, cudaDataType_t type, int64_t i) {
    if (type == CUDA_R_32F) return ((const float *)data)[i];
    return __uint_as_float((uint32_t)((const uint16_t *)data)[i] << 16);
}
static void store(void *data, cudaDataType_t type, int64_t i, double x) {
    if (type == CUDA_R_32F)
        ((float *)data)[i] = (float)x;
    else
        ((uint16_t *)data)[i] = __float2bfloat16_rn((float)x).bits;
}
static size_t bytes_of(const SimLayout *x) {
    return (size_t)x->leading * x->columns * (x->type == CUDA_R_32F ? 4 : 2);
}
static bool apart(const void *x, size_t x_bytes, const void *y, size_t y_bytes) {
    return (const char *)x + x_bytes <= (const char *)y || (const char *)y + y_bytes <= (const char *)x;
}

/* op(X) in row-major doubles */
static double *unpack(const void *data, const SimLayout *x, int32_t operation) {
    double *values = (double *)malloc(sizeof(double) * x->rows * x->columns + 1);
    for (uint64_t r = 0; r < x->rows; r++)
        for (uint64_t c = 0; c < x->columns; c++)
            values[operation == CUBLAS_OP_N ? r * x->columns + c : c * x->rows + r] =
                load(data, x->type, (int64_t)(c * (uint64_t)x->leading + r));
    return values;
}

struct Product { /* as it was called */
    SimMatmul matmul;
    SimLayout a_layout, b_layout, c_layout, d_layout;
    const void *a, *b, *c;
    void *d, *workspace;
    size_t workspace_bytes;
    double by, keep;
    int algorithm;
};

/* 12 bits of it */
static double coarse(double x) {
    int exponent;
    const double part = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(part, 12)), exponent - 12);
}

static void multiply(const Product &p) {
    const SimMatmul *m = &p.matmul;
    static const char *const slow = getenv("REMAT_SIM_SLOW_PRODUCT");
    if (slow && atoi(slow) == p.algorithm) usleep(1000);
    memset(p.workspace, 0xff, p.workspace_bytes);
    sim_compute();
    const int64_t rows = (int64_t)p.d_layout.rows, columns = (int64_t)p.d_layout.columns;
    const int64_t depth = (int64_t)(m->operation_a == CUBLAS_OP_N ? p.a_layout.columns : p.a_layout.rows);
    double *left = unpack(p.a, &p.a_layout, m->operation_a);   /* [rows, depth] */
    double *right = unpack(p.b, &p.b_layout, !m->operation_b); /* [columns, depth] */
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++) {
            double sum = 0;
            const double *x = left + i * depth, *y = right + j * depth;
            for (int64_t k = 0; k < depth; k++) {
                sum += x[k] * y[k];
                if (p.algorithm == COARSE) sum = coarse(sum);
            }
            sum *= p.by;
            if (p.keep != 0) sum += p.keep * load(p.c, p.c_layout.type, j * p.c_layout.leading + i);
            if (m->epilogue == CUBLASLT_EPILOGUE_BIAS) sum += load(m->bias, p.d_layout.type, i);
            store(p.d, p.d_layout.type, j * p.d_layout.leading + i, sum);
        }
    free(left);
    free(right);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t m, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algorithm,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream) {
    const cublasStatus_t status = judge(m, a_layout, b_layout, c_layout, d_layout);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    for (const void *x : {a, b, c, (const void *)d, (const void *)workspace})
        if ((uintptr_t)x % ALIGNMENT) return CUBLAS_STATUS_INVALID_VALUE;
    if (algorithm->workspace_bytes > workspace_bytes || (workspace_bytes && !workspace) ||
        !apart(d, bytes_of(d_layout), a, bytes_of(a_layout)) ||
        !apart(d, bytes_of(d_layout), b, bytes_of(b_layout)) ||
        !apart(d, bytes_of(d_layout), workspace, workspace_bytes))
        return CUBLAS_STATUS_INVALID_VALUE;
    /* C is added where it is not zero: it is D, and lies as D does, or lies apart */
    if (*(const float *)beta != 0 && !apart(d, bytes_of(d_layout), c, bytes_of(c_layout)) &&
        (c != d || c_layout->leading != d_layout->leading))
        return CUBLAS_STATUS_INVALID_VALUE;
    const Product product = {*m,
                             *a_layout,
                             *b_layout,
                             *c_layout,
                             *d_layout,
                             a,
                             b,
                             c,
                             d,
                             workspace,
                             workspace_bytes,
                             *(const float *)alpha,
                             *(const float *)beta,
                             (int)algorithm->config[CUBLASLT_ALGO_CONFIG_ID]};
    if (!sim_captured(stream, SIM_NODE, [=] { multiply(product); })) multiply(product);
    return CUBLAS_STATUS_SUCCESS;
}
