/* What tensor cores and asynchronous copies need and CUDA C++ has no portable name for, as inline functions
 * over PTX, from sm_80 on. Tests that run kernels on the CPU define K_TENSOR_CORE and functions of their own.
 *
 * Operands of k_mma lie across a warp: with g = lane / 4, c = 2 (lane % 4), a register holds two bf16 beside
 * each other and
 *     a[0] = A[g][c, c + 1]    a[1] = A[g + 8][c, c + 1]    a[2] = A[g][c + 8, c + 9]    a[3] = A[g + 8][c +
 * 8, c + 9] b0 = B[c, c + 1][g]      b1 = B[c + 8, c + 9][g] d[0], d[1] = D[g][c], D[g][c + 1] d[2], d[3] =
 * D[g + 8][c], D[g + 8][c + 1] so two D tiles beside each other, rounded to bf16, are an A operand as they
 * stand. Addresses in shared memory are 32-bit (k_shared_address). */
#ifndef REMAT_TENSOR_CORE_CUH
#define REMAT_TENSOR_CORE_CUH

#include "cuda.cuh"

#ifndef K_TENSOR_CORE

/* Older devices have no bf16 on tensor cores, and no plan for them has any bf16. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define K_PTX(...) __trap()
#else
#define K_PTX(...) __VA_ARGS__
#endif

static __device__ inline uint32_t k_shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* D [16, 8] += A [16, 16] B [16, 8]: bf16 operands, f32 sums. The whole warp calls it. */
static __device__ inline void k_mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    K_PTX(asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)));
}

/* Four matrices of 8 rows of 16 bytes: lane 8 i + j gives the address of row j of matrix i, and r[i] becomes
 * elements c, c + 1 of row g of matrix i; of its column g, transposed. The whole warp calls it. */
static __device__ inline void k_ldmatrix(uint32_t (&r)[4], uint32_t row) {
    K_PTX(asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                       : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                       : "r"(row)
                       : "memory"));
}
static __device__ inline void k_ldmatrix_transposed(uint32_t (&r)[4], uint32_t row) {
    K_PTX(asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                       : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                       : "r"(row)
                       : "memory"));
}

/* 16 bytes from global to shared memory, beside the computation; zeros, and nothing read, if not there. The
 * target is undefined until this thread has waited for the group, for others until a barrier after that. */
static __device__ inline void k_copy_async(uint32_t to, const void *from, bool there) {
    K_PTX(asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                       "l"(__cvta_generic_to_global(from)), "r"(there ? 16 : 0)
                       : "memory"));
}
/* What this thread has copied since the last commit is a group. */
static __device__ inline void k_copy_commit(void) {
    K_PTX(asm volatile("cp.async.commit_group;" ::: "memory"));
}
/* Until all groups of this thread but the last PENDING are there. */
template <int PENDING> static __device__ inline void k_copy_wait(void) {
    K_PTX(asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory"));
}

/* Two bf16 in a register, the first one low, rounded to nearest even. */
static __device__ inline uint32_t k_pack_bf16(float low, float high) {
    uint32_t pair = 0;
    K_PTX(asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low)));
    return pair;
}

/* 2^x to about 2 units in the last place; results below 2^-126 are zero. */
static __device__ inline float k_exp2(float x) {
    float y = 0;
    K_PTX(asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)));
    return y;
}

#endif
#endif
