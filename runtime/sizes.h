/* Bytes that a trainer holds beside the arena; plans for the host count them (codegen/process.c). */
#ifndef REMAT_RT_SIZES_H
#define REMAT_RT_SIZES_H

enum {
    RT_CHUNK_BYTES = 4 << 20,  /* transfers go through one buffer of this size; checksums are per chunk */
    RT_DATA_BLOCK = 1 << 18,   /* a window of a data file is read into so much, or more for a long context */
    RT_THREAD_BYTES = 1 << 19, /* of a thread's stack, what kernels touch: 0.51 to 0.53 MiB seen */
};

#endif
