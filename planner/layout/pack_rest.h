/* Packing what lives where memory is not short, once the rest is placed. */
#ifndef REMAT_LAYOUT_PACK_REST_H
#define REMAT_LAYOUT_PACK_REST_H

#include "planner/layout/pack.h"

/* Items in order of birth: those with an offset are placed, those with -1 take the lowest that is free beside
 * what is placed by then, unless they would end above `height`: these keep their -1, and so do all from where
 * it takes too long on. How many do. */
uint32_t pack_rest(PackItem *item, uint32_t count, int64_t height, Arena *scratch);

#endif
