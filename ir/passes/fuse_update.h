/* A part of fuse.c: the update as few nodes. Requires that no update may stand among the gradients. */
#ifndef REMAT_FUSE_UPDATE_H
#define REMAT_FUSE_UPDATE_H

#include "ir/passes/fuse.h"

void fuse_update(Fuse *f);

#endif
