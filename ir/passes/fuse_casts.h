/* A part of fuse.c: casts of small weights. After what joins nodes one by one. */
#ifndef REMAT_FUSE_CASTS_H
#define REMAT_FUSE_CASTS_H

#include "ir/passes/fuse.h"

void fuse_casts(Fuse *f);

#endif
