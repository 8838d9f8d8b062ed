/* Reads the JSON that files of weights have in them, a value at a time, as the caller expects it. In: bytes
 * that anyone may have written, in a buffer of the caller's with a NUL behind its end; strings are decoded
 * where they stand. Each function returns 1, or 0 with the byte and what is wrong there in the error. */
#ifndef REMAT_JSON_READER_H
#define REMAT_JSON_READER_H

#include "internal.h"

enum { JSON_DEEPEST = 125 }; /* of values that are skipped: as serde_json, with the two levels around them */

typedef struct JsonReader {
    char *at, *end;
    const char *start;
    const char *what; /* that is read, for messages: "header" */
    RtError *error;
} JsonReader;

int reader_utf8(JsonReader *reader);                  /* first of all: what is left is UTF-8 */
int reader_bad(JsonReader *reader, const char *what); /* always 0 */
int reader_accept(JsonReader *reader, char c);        /* 1 where this was next; no error else */
int reader_expect(JsonReader *reader, char c, const char *what);
/* A NUL in it is \xc0\x80, which nothing else in UTF-8 is. */
int reader_string(JsonReader *reader, const char **string);
int reader_whole(JsonReader *reader, uint64_t *value); /* a whole number from 0 */
int reader_count(JsonReader *reader, int64_t *value);  /* the same, up to INT64_MAX */
int reader_counts(JsonReader *reader, int64_t *value, int most, int *count);
int reader_number(JsonReader *reader, double *value);
int reader_null(JsonReader *reader); /* 1 where null was next; no error else */
int reader_skip(JsonReader *reader); /* any value */
int reader_end(JsonReader *reader);  /* nothing but blanks is left */

#endif
