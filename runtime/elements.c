/* See elements.h. */
#include "elements.h"

#include <string.h>

/* Matrices are turned in squares, which the caches hold both as they are read and as they are written. */
enum { SIDE = 32 };

RtElement elements_named(const char *dtype) {
    return !strcmp(dtype, "F32")    ? RT_ELEMENT_F32
           : !strcmp(dtype, "BF16") ? RT_ELEMENT_BF16
           : !strcmp(dtype, "F16")  ? RT_ELEMENT_F16
                                    : RT_ELEMENT_NONE;
}

RtElement elements_of(int dtype) {
    return dtype == K_F32 ? RT_ELEMENT_F32 : dtype == K_BF16 ? RT_ELEMENT_BF16 : RT_ELEMENT_NONE;
}

int64_t elements_bytes(RtElement type) {
    return type == RT_ELEMENT_F32 ? 4 : 2;
}

/* ---- half precision: 1 bit of sign, 5 of exponent, 10 of fraction ---- */

/* Without branches, so that loops over it are vectorised. Below 2^-14 the fraction counts units of 2^-24,
 * which are the last bits of numbers from 0.5 on. */
static inline float from_f16(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
    uint32_t normal = (magnitude << 13) + (magnitude >= 0x7c00 ? 0x70000000 : 0x38000000);
    uint32_t small = rt_word_of(rt_float_of(0x3f000000 | magnitude) - 0.5f);
    return rt_float_of(sign | (magnitude < 0x400 ? small : normal));
}

/* To the nearest, ties to even; infinite from 65520 on. */
static inline uint16_t to_f16(float value) {
    uint32_t sign = rt_word_of(value) >> 16 & 0x8000, magnitude = rt_word_of(value) & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000)
        return (uint16_t)(sign | (rt_word_of(rt_float_of(magnitude) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

float elements_get(const void *from, RtElement type, int64_t i) {
    if (type == RT_ELEMENT_F32) return ((const float *)from)[i];
    if (type == RT_ELEMENT_BF16) return rt_from_bf16(((const uint16_t *)from)[i]);
    return from_f16(((const uint16_t *)from)[i]);
}

/* ---- as they lie ---- */

#define PAIR(to, from) ((to)*4 + (from))

void elements_convert(void *to, RtElement to_type, const void *from, RtElement from_type, int64_t count) {
    const uint16_t *half = from;
    const float *word = from;
    uint16_t *narrow = to;
    float *wide = to;
    switch (PAIR(to_type, from_type)) {
    case PAIR(RT_ELEMENT_F32, RT_ELEMENT_BF16):
        for (int64_t i = 0; i < count; i++) wide[i] = rt_from_bf16(half[i]);
        return;
    case PAIR(RT_ELEMENT_F32, RT_ELEMENT_F16):
        for (int64_t i = 0; i < count; i++) wide[i] = from_f16(half[i]);
        return;
    case PAIR(RT_ELEMENT_BF16, RT_ELEMENT_F32):
        for (int64_t i = 0; i < count; i++) narrow[i] = rt_to_bf16(word[i]);
        return;
    case PAIR(RT_ELEMENT_BF16, RT_ELEMENT_F16):
        for (int64_t i = 0; i < count; i++) narrow[i] = rt_to_bf16(from_f16(half[i]));
        return;
    case PAIR(RT_ELEMENT_F16, RT_ELEMENT_F32):
        for (int64_t i = 0; i < count; i++) narrow[i] = to_f16(word[i]);
        return;
    case PAIR(RT_ELEMENT_F16, RT_ELEMENT_BF16):
        for (int64_t i = 0; i < count; i++) narrow[i] = to_f16(rt_from_bf16(half[i]));
        return;
    default: memcpy(to, from, (size_t)(count * elements_bytes(to_type)));
    }
}

/* ---- turned ---- */

/* A square of a matrix: [rows, columns] as converted, `square`, to columns of `to`, whose rows are `pitch`
 * long. */
static void put_square(char *to, int64_t pitch, const void *square, int64_t rows, int64_t columns,
                       int64_t bytes) {
    for (int64_t c = 0; c < columns; c++) {
        char *at = to + c * pitch * bytes;
        if (bytes == 4)
            for (int64_t r = 0; r < rows; r++) ((uint32_t *)at)[r] = ((const uint32_t *)square)[r * SIDE + c];
        else
            for (int64_t r = 0; r < rows; r++) ((uint16_t *)at)[r] = ((const uint16_t *)square)[r * SIDE + c];
    }
}

void elements_turn(void *to, RtElement to_type, const void *from, RtElement from_type, int64_t rows,
                   int64_t columns, int64_t pitch) {
    int64_t to_bytes = elements_bytes(to_type), from_bytes = elements_bytes(from_type);
    for (int64_t column = 0; column < columns; column += SIDE) {
        uint32_t square[SIDE * SIDE];
        int64_t wide = columns - column < SIDE ? columns - column : SIDE;
        for (int64_t row = 0; row < rows; row += SIDE) {
            int64_t high = rows - row < SIDE ? rows - row : SIDE;
            for (int64_t r = 0; r < high; r++)
                elements_convert((char *)square + r * SIDE * to_bytes, to_type,
                                 (const char *)from + ((row + r) * pitch + column) * from_bytes, from_type,
                                 wide);
            put_square((char *)to + (column * rows + row) * to_bytes, rows, square, high, wide, to_bytes);
        }
    }
}
