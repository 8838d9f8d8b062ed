/* A part of fuse.c: sums over rows join what makes or reads those rows. After what joins nodes one by one. */
#ifndef REMAT_FUSE_SUMS_H
#define REMAT_FUSE_SUMS_H

#include "ir/passes/fuse.h"

void fuse_sums(Fuse *f);

#endif
