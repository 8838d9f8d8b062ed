/* See documents_writer.h. */
#include "frontend/text/documents_writer.h"

#include "runtime/atomic_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STARTS, TOKENS, LOSSES, PARTS, BLOCK = 1 << 16 };

struct DocumentsWriter {
    Arena *arena;
    const char *path;
    FILE *part[PARTS];
    const char *name[PARTS]; /* that a part still has; NULL: none */
    uint32_t token_bytes;
    uint64_t documents, tokens;
    int failed; /* errno; 0: nothing has */
};

/* A file that has no name any more, in the folder of `path`: there is the room that is needed in the end. */
static bool open_part(DocumentsWriter *w, int i) {
    char *name = arena_printf(w->arena, "%s.XXXXXX", w->path);
    const int fd = mkstemp(name);
    if (fd < 0) return false;
    if (unlink(name) != 0) w->name[i] = name;
    w->part[i] = fdopen(fd, "w+b");
    if (!w->part[i]) close(fd);
    return w->part[i] != NULL;
}

DocumentsWriter *documents_begin(Arena *arena, const char *path, uint32_t token_bytes) {
    DocumentsWriter *w = NEW(arena, DocumentsWriter);
    w->arena = arena;
    w->path = path;
    w->token_bytes = token_bytes;
    for (int i = 0; i < PARTS; i++)
        if (!open_part(w, i)) {
            const int why = errno;
            documents_abandon(w);
            errno = why;
            return NULL;
        }
    return w;
}

static void put(DocumentsWriter *w, int part, const void *bytes, size_t count) {
    if (w->failed || !count || fwrite(bytes, 1, count, w->part[part]) == count) return;
    w->failed = errno ? errno : EIO;
}

void documents_start(DocumentsWriter *w) {
    put(w, STARTS, &w->tokens, sizeof w->tokens);
    w->documents++;
}

void documents_add(DocumentsWriter *w, const uint32_t *token, const uint8_t *loss, uint32_t count) {
    if (w->token_bytes == sizeof *token) {
        put(w, TOKENS, token, sizeof *token * (size_t)count);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            const uint16_t narrow = (uint16_t)token[i];
            put(w, TOKENS, &narrow, sizeof narrow);
        }
    }
    put(w, LOSSES, loss, count);
    w->tokens += count;
}

typedef struct Target {
    AtomicFile file;
    Crc crc;
} Target;

static bool append(Target *target, const void *bytes, size_t count) {
    crc_add(&target->crc, bytes, (int64_t)count);
    return atomic_file_write(&target->file, bytes, (int64_t)count);
}

static bool append_part(Target *target, FILE *part) {
    char block[BLOCK];
    if (fflush(part) != 0 || fseek(part, 0, SEEK_SET) != 0) return false;
    for (size_t count; (count = fread(block, 1, sizeof block, part)) > 0;)
        if (!append(target, block, count)) return false;
    return !ferror(part);
}

/* Known last, stands in the header. */
static bool put_checksum(const Target *target) {
    const uint32_t checksum = crc_value(&target->crc);
    const ssize_t wrote = pwrite(target->file.fd, &checksum, sizeof checksum, DOCUMENTS_CHECKSUM_AT);
    if (wrote >= 0 && wrote < (ssize_t)sizeof checksum) errno = EIO;
    return wrote == (ssize_t)sizeof checksum;
}

bool documents_commit(DocumentsWriter *w, DocumentsHead *head, const void *vocabulary,
                      size_t vocabulary_bytes) {
    unsigned char bytes[DOCUMENTS_HEADER_BYTES];
    Target *target = NEW(w->arena, Target);
    int failed = w->failed;
    head->version = DOCUMENTS_VERSION;
    head->token_bytes = w->token_bytes;
    head->checksum = 0;
    head->documents = w->documents;
    head->tokens = w->tokens;
    head->vocabulary_bytes = vocabulary_bytes;
    documents_put_head(head, bytes);
    crc_begin(&target->crc);
    if (!failed && !atomic_file_open(&target->file, w->path)) failed = errno;
    if (!failed) {
        bool good = append(target, bytes, sizeof bytes);
        for (int i = 0; good && i < PARTS; i++) good = append_part(target, w->part[i]);
        good = good && append(target, vocabulary, vocabulary_bytes) && put_checksum(target);
        if (!good) {
            failed = errno ? errno : EIO;
            atomic_file_abandon(&target->file);
        } else if (!atomic_file_commit(&target->file)) {
            failed = errno;
        }
    }
    documents_abandon(w);
    errno = failed;
    return !failed;
}

void documents_abandon(DocumentsWriter *w) {
    for (int i = 0; w && i < PARTS; i++) {
        if (w->part[i]) fclose(w->part[i]);
        if (w->name[i]) unlink(w->name[i]);
        w->part[i] = NULL;
        w->name[i] = NULL;
    }
}
