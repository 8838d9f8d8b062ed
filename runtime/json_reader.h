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

int json_utf8(JsonReader *reader);                  /* first of all: what is left is UTF-8 */
int json_bad(JsonReader *reader, const char *what); /* always 0 */
int json_accept(JsonReader *reader, char c);        /* 1 where this was next; no error else */
int json_expect(JsonReader *reader, char c, const char *what);
/* A NUL in it is \xc0\x80, which nothing else in UTF-8 is. */
int json_string(JsonReader *reader, const char **string);
int json_whole(JsonReader *reader, uint64_t *value); /* a whole number from 0 */
int json_count(JsonReader *reader, int64_t *value);  /* the same, up to INT64_MAX */
int json_counts(JsonReader *reader, int64_t *value, int most, int *count);
int json_number(JsonReader *reader, double *value);
int json_null(JsonReader *reader); /* 1 where null was next; no error else */
int json_skip(JsonReader *reader); /* any value */
int json_end(JsonReader *reader);  /* nothing but blanks is left */

#endif
