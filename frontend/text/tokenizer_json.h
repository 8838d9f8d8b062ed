/* JSON while it is read: a value with the path that leads to it, for messages that name file and key. The
 * first thing that is wrong stays. */
#ifndef REMAT_TOKENIZER_JSON_H
#define REMAT_TOKENIZER_JSON_H

#include "frontend/text/tokenizer_parts.h"

#include <jansson.h>

typedef struct JsonFile {
    Arena *arena; /* of what is kept: strings, messages */
    const char *path;
    const char *text; /* in the scratch arena */
    size_t length;
    const char *error;
} JsonFile;
typedef struct Node {
    JsonFile *file;
    json_t *value;    /* NULL: absent or null */
    const char *path; /* "pre_tokenizer.pretokenizers[1]"; "" for the whole */
    bool null;        /* it is there, and null */
} Node;

/* Reads and parses it, with flags of jansson beside those of all; NULL after an error, which for a file that
 * is not there is "...: No such file...". The caller gives the tree back by json_decref. */
json_t *json_file_read(JsonFile *file, Arena *arena, Arena *scratch, const char *path, size_t flags);

Node node_key(Node node, const char *key);
Node node_item(Node node, size_t index);
/* Each false after an error. */
bool node_wrong(Node node, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool node_unsupported(Node node);                 /* "...: VALUE is not supported" */
bool node_is_object(Node node, const char *keys); /* and has none but these, given as " a b c " */
bool node_is_array(Node node);
bool node_text(Node node, Bytes *out); /* must be there; copied */
bool node_not_null(Node node);         /* may be absent */
bool node_flag(Node node, bool *out);  /* must be there */
bool node_flag_or(Node node, bool otherwise, bool *out);
bool node_number(Node node, uint32_t most, uint32_t *out);
bool text_is(Bytes text, const char *word);
/* The value as JSON, shortened. */
const char *node_shown(Node node);

#endif
