/* See fuse_packed.c; part of fuse.c. */
#ifndef REMAT_FUSE_PACKED_H
#define REMAT_FUSE_PACKED_H

#include "ir/passes/fuse.h"
#include "ir/passes/passes.h"

void fuse_packed(Fuse *f, const PackedRule *rule);

#endif
