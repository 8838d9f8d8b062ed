/* Buffers to pack, as comma-separated values (the format of minimalloc).
 *
 *     id,lower,upper,size[,alignment][,gaps][,offset]
 *     b1,0,9,4096,512,3-5 7-8,
 *
 * Columns in any order. A lifetime is half-open [lower, upper); a column named `end` instead of `upper` is
 * inclusive, and so are the ends of gaps then. Also read: `start` and `begin` for lower, `buffer` and
 * `buffer_id` for id. Gaps are spans of the lifetime during which the buffer holds nothing. An offset is
 * where the buffer must lie; empty: anywhere. */
#ifndef REMAT_CSV_H
#define REMAT_CSV_H

#include "ir/base.h"

typedef struct BufferGap {
    int64_t lower, upper; /* half-open */
} BufferGap;

typedef struct BufferRow {
    const char *id;
    int64_t lower, upper; /* half-open */
    int64_t bytes, alignment;
    int64_t offset;     /* -1: anywhere */
    VEC(BufferGap) gap; /* ascending, disjoint, inside the lifetime */
    uint32_t line;
    const char *text; /* the row as read, without an offset */
} BufferRow;

typedef struct BufferTable {
    const char *header; /* without an offset */
    VEC(BufferRow) row;
} BufferTable;

/* NULL, or what is wrong and in which line (0: in none). */
const char *csv_read(BufferTable *table, const char *text, size_t length, uint32_t *line, Arena *arena);
/* The rows as they were, with the column `offset` last. */
void csv_write(const BufferTable *table, const int64_t *offset, Text *out);

#endif
