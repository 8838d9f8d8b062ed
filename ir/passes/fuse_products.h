/* See fuse_products.c; part of fuse.c, after what joins nodes one by one. */
#ifndef REMAT_FUSE_PRODUCTS_H
#define REMAT_FUSE_PRODUCTS_H

#include "ir/passes/fuse.h"

void fuse_products(Fuse *f);

#endif
