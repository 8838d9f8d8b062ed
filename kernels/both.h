/* K_BOTH marks a function that host and device code call, K_CONSTEXPR one that C++ may call while it
 * compiles. */
#ifndef REMAT_BOTH_H
#define REMAT_BOTH_H

#ifdef __CUDACC__
#define K_BOTH __host__ __device__
#else
#define K_BOTH
#endif

#ifdef __cplusplus
#define K_CONSTEXPR constexpr
#else
#define K_CONSTEXPR
#endif

#endif
