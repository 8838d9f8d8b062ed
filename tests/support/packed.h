/* Storage of a packed type (kernels/packed.h) with anything in it that a quantiser could leave there. */
#ifndef REMAT_TESTS_PACKED_H
#define REMAT_TESTS_PACKED_H

#include <stdint.h>

/* `unit` yields numbers in [0, 1) from `state`; scales are about `size`. */
void packed_fill(int dtype, int64_t elements, void *storage, double size, double (*unit)(uint64_t *state),
                 uint64_t *state);

#endif
