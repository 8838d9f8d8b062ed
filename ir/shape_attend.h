/* The shape rules of attention (op.def, `shape`). */
#ifndef REMAT_SHAPE_ATTEND_H
#define REMAT_SHAPE_ATTEND_H

#include "ir/shape.h"

ShapeRule shape_attend, shape_cache_rows, shape_attend_cached, shape_attend_bwd, shape_attend_packed,
    shape_attend_packed_bwd;

#endif
