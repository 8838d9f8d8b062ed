/* How fast the kernels are, for the planner's costs: no emitted program has this. */
#ifndef REMAT_RATE_H
#define REMAT_RATE_H

#include "kernels.h"

typedef enum KRateClass {
#define RATE(NAME, variants) K_RATE_##NAME,
#include "rate.def"
    K_RATE_COUNT
} KRateClass;

typedef enum KUnit { K_UNIT_MATRIX, K_UNIT_F32 } KUnit; /* MATRIX: products of the first operand's type */
typedef struct KRate {
    KUnit unit;
    double arithmetic, memory; /* shares, above 0, at most 1 */
    const char *source;
} KRate;

/* What share of a device's peaks the kernels of a class reach with these operands (data pointers unused): the
 * arithmetic of their unit, and the memory's bandwidth. `capability`: 90 of an sm_90 device; 0: the host.
 * Pure arithmetic. */
KRate k_rate(int capability, KRateClass rates, const KTensor *out, const KTensor *in);

#endif
