/* A part of fuse.c: attention reads queries, keys and values where one layer left them side by side. */
#ifndef REMAT_FUSE_ATTEND_H
#define REMAT_FUSE_ATTEND_H

#include "ir/passes/fuse.h"

void fuse_attend(Fuse *f, NodeId attend);

#endif
