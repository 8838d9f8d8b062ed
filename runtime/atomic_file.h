/* A file that is there whole or not at all: every file that the compiler and a trainer write goes through
 * here.
 *
 * What is written goes to a new file with an unpredictable name in the folder of the target, is synced, takes
 * the target's place by rename(2), and the folder is synced. A reader, or a kill or a power cut at any
 * moment, finds the old file or the new one. Symbolic links are followed and stay links; a file that is
 * replaced hands its mode (and its owner, where that is allowed) on. A device, a FIFO or a socket is written
 * to, not replaced.
 *
 * Knows nothing of the compiler and nothing of the trainer: both link it. Answers are 1, or 0 with errno. */
#ifndef REMAT_ATOMIC_FILE_H
#define REMAT_ATOMIC_FILE_H

#include <stdint.h>

typedef struct AtomicFile {
    int fd;       /* for those who seek: pwrite(2) */
    char *target; /* links followed */
    char *aside;  /* NULL: written to directly */
} AtomicFile;

/* Files left by a kill are called .NAME.0123456789abcdef.tmp: NAME is the target's (its first 200 bytes). */
#define ATOMIC_FILE_SUFFIX ".tmp"
enum { ATOMIC_FILE_DIGITS = 16 };

int atomic_file_open(AtomicFile *file, const char *path);
int atomic_file_write(AtomicFile *file, const void *bytes, int64_t count);
/* Ends the file either way: committed, or abandoned with errno saying why. */
int atomic_file_commit(AtomicFile *file);
/* Removes what was written; errno stays as it was. */
void atomic_file_abandon(AtomicFile *file);

/* All of it at once. */
int atomic_file_put(const char *path, const void *bytes, int64_t count);

/* Syncs the folder itself, so that a rename or a removal in it is on the disk. */
int atomic_file_sync_folder(const char *path);

#endif
