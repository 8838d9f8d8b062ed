/* Launches that take many tensors: their addresses are arguments, and each has blocks of its own. */
#ifndef REMAT_BLOCKS_CUH
#define REMAT_BLOCKS_CUH

#include "cuda.cuh"

/* Which blocks of a launch are for which of its tensors: those of tensor t begin at first[t]. */
template <int MOST> struct Blocks {
    int tensors;
    unsigned count, first[MOST];

    bool full() const { return tensors == MOST; }
    void add(int64_t blocks) {
        first[tensors++] = count;
        count += (unsigned)k_cuda_clamp(blocks, 0, INT32_MAX - (int64_t)count);
    }
    /* The last that begins at `block` or before; those without blocks begin where the next does. */
    __device__ int tensor_of(unsigned block) const {
        int low = 0, high = tensors;
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (first[middle] <= block)
                low = middle;
            else
                high = middle;
        }
        return low;
    }
};

#endif
