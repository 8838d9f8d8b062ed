/* How many launches the CUDA kernels take, for what a plan says of itself: no emitted program has this. */
#ifndef REMAT_LAUNCHES_H
#define REMAT_LAUNCHES_H

#include "kernels.h"

/* Kernels, products, fills and copies that a call of the kernel of `name` issues on CUDA with these operands
 * (data pointers unused), in the first micro-step of a step or in a later one. Pure arithmetic. */
int k_launches(const char *name, int nout, const KTensor *out, int nin, const KTensor *in, const KAttr *attr,
               int first_micro_step);

#endif
