/* K_BOTH marks a function that host and device code call. */
#ifndef REMAT_BOTH_H
#define REMAT_BOTH_H

#ifdef __CUDACC__
#define K_BOTH __host__ __device__
#else
#define K_BOTH
#endif

#endif
