/* Writes a file of documents (runtime/documents_format.h), one document after the other, whatever their
 * number: what comes later in the file waits in files without a name beside it. */
#ifndef REMAT_DOCUMENTS_WRITER_H
#define REMAT_DOCUMENTS_WRITER_H

#include "ir/base.h"
#include "runtime/documents_format.h"

typedef struct DocumentsWriter DocumentsWriter;

/* `token_bytes` 2 or 4. NULL with errno where the folder of `path` cannot be written. */
DocumentsWriter *documents_begin(Arena *arena, const char *path, uint32_t token_bytes);
/* Here the next document begins. What goes wrong is told by documents_commit. */
void documents_start(DocumentsWriter *writer);
/* More of it; loss[i]: 0 or 1. */
void documents_add(DocumentsWriter *writer, const uint32_t *token, const uint8_t *loss, uint32_t count);
/* `head` has the fingerprints; the rest of it is filled in. The file is there whole, or false with errno.
 * Either way the writer has ended. */
bool documents_commit(DocumentsWriter *writer, DocumentsHead *head, const void *vocabulary,
                      size_t vocabulary_bytes);
void documents_abandon(DocumentsWriter *writer); /* NULL is none */

#endif
