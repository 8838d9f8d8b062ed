/* Numbers as files of weights and the arena hold them: converted from one type to another, and matrices
 * turned on the way. Values are those of f32, rounded to the nearest where a type is narrower; equal types
 * keep their bits. */
#ifndef REMAT_ELEMENTS_H
#define REMAT_ELEMENTS_H

#include "internal.h"

typedef enum RtElement { RT_ELEMENT_NONE, RT_ELEMENT_F32, RT_ELEMENT_BF16, RT_ELEMENT_F16 } RtElement;

/* "F32" of a safetensors file; NONE: one that is not converted. */
RtElement elements_named(const char *dtype);
RtElement elements_of(int dtype); /* of a KDType */
int64_t elements_bytes(RtElement type);
float elements_get(const void *from, RtElement type, int64_t i);
/* to[i] = from[i]; the two do not overlap. */
void elements_convert(void *to, RtElement to_type, const void *from, RtElement from_type, int64_t count);
/* from [rows, columns], a row `pitch` elements from the next, to [columns, rows] without gaps. */
void elements_turn(void *to, RtElement to_type, const void *from, RtElement from_type, int64_t rows,
                   int64_t columns, int64_t pitch);

#endif
