/* The safetensors container: 8 bytes of header length, a JSON header naming every tensor's type, shape and
 * byte range, then the bytes. Reading trusts nothing: every length, range and name is checked before use, and
 * a file whose bytes are not exactly its tensors (torn, padded, overlapping) is refused. What is accepted is
 * what the library of that name accepts; of tensors of one name the last counts, as there. */
#ifndef REMAT_SAFETENSORS_H
#define REMAT_SAFETENSORS_H

#include "internal.h"

enum { ST_MAX_HEADER_BYTES = 100000000 };

typedef struct StTensor {
    const char *name, *dtype; /* dtype as written: "F32", "BF16", "F16" ... */
    int element_bytes, rank;  /* element_bytes 0: less than one */
    const int64_t *dim;       /* of more than INT64_MAX in a shape without elements: that */
    int64_t elements;         /* -1: more than can be counted */
    int64_t begin, end;       /* bytes after the header */
} StTensor;

typedef struct StPair {
    const char *key, *value;
} StPair;

typedef struct StFile {
    int fd;
    char *raw, *text; /* the header as it is, and decoded in place: names point into it */
    int64_t header_bytes, data_offset, data_bytes;
    int64_t *dim; /* of all tensors, one after the other */
    int64_t dims, dims_room;
    StTensor *tensor; /* sorted by name */
    int *order;       /* indices of tensor[] by begin */
    int tensors;
    StPair *pair; /* __metadata__ */
    int pairs;
} StFile;

/* 1, or 0 with an error and nothing to close. */
int st_open(StFile *file, const char *path, RtError *error);
/* The header alone, of a file with data_bytes after it; st_close frees it. */
int st_parse(StFile *file, const char *header, int64_t header_bytes, int64_t data_bytes, RtError *error);
void st_close(StFile *file);
const StTensor *st_find(const StFile *file, const char *name); /* NULL: not there */
const char *st_metadata(const StFile *file, const char *key);  /* NULL: not there */
/* Bytes [offset, offset + bytes) of a tensor. */
int st_read(const StFile *file, const StTensor *tensor, int64_t offset, void *to, int64_t bytes,
            RtError *error);
const char *st_dtype_name(int dtype); /* of a KDType; a packed one is bytes */
void st_shape_text(char *text, size_t size, int rank, const int64_t *dim); /* "[4, 8]" */

/* ---- writing a header: {"__metadata__":{..}, which the caller writes, then ---- */
void st_add_entry(FILE *header, const char *name, const char *dtype, int rank, const int64_t *dim,
                  int64_t begin, int64_t end);
/* Blanks behind it, so that the data begin at a multiple of 8 bytes. */
void st_close_header(FILE *header, char *const *text);
/* What the file begins with, before the header. */
enum { ST_LENGTH_BYTES = 8 };
void st_length_bytes(unsigned char *to, size_t header_bytes);

#endif
