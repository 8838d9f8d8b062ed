/* A set of files written into a folder that may already hold things: what rematc did not write, or what was
 * changed since, is named and nothing is touched.
 *
 * A manifest in the folder lists what rematc wrote, with a hash of each file's bytes. Before anything else is
 * written it lists the new files beside the old ones, so that after a kill or on a full disk every file in
 * the folder is a listed one, and the next call completes what this one began. */
#ifndef REMAT_FOLDER_H
#define REMAT_FOLDER_H

#include "ir/base.h"

#define FOLDER_MANIFEST "rematc.manifest"

typedef struct FolderFile {
    const char *path; /* in the folder: "kernels/elem.c" */
    const char *bytes;
    size_t length;
    bool undated; /* new ones get the same time in every folder, so that objects made of one serve all */
} FolderFile;

typedef struct FolderRequest {
    const char *dir;   /* made when missing */
    const char *input; /* a file that is never written over, whatever `force` says; NULL: none */
    bool force;        /* files that are not ours are replaced */
    const FolderFile *file;
    uint32_t files;
    const char *const *made; /* names that others make from the files, as `make` does; NULL at the end */
} FolderRequest;

typedef enum FolderAnswer {
    FOLDER_WRITTEN,
    FOLDER_REFUSED,  /* it has files that are not ours; nothing was touched */
    FOLDER_IS_INPUT, /* the input would be written over; nothing was touched */
    FOLDER_FAILED,   /* I/O */
} FolderAnswer;

/* A file whose content is right already is left alone, so that make rebuilds little. What an earlier call
 * wrote and this one does not is removed. But for FOLDER_WRITTEN, `error` is a message in the arena. */
FolderAnswer folder_write(const FolderRequest *request, Arena *arena, const char **error);

#endif
