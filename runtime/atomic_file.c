/* See atomic_file.h. */
#define _GNU_SOURCE
#include "atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* "a/b/c" -> length of "a/b/": what comes before the last part of a path. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash + 1 - path) : 0;
}

static char *join(const char *folder, size_t folder_bytes, const char *name) {
    char *path = malloc(folder_bytes + strlen(name) + 1);
    if (!path) return NULL;
    memcpy(path, folder, folder_bytes);
    strcpy(path + folder_bytes, name);
    return path;
}

/* Where the last link of `path` leads, whether or not something is there; NULL and errno on failure. */
static char *follow_links(const char *path) {
    enum { MOST_LINKS = 40 }; /* as the kernel */
    char *at = strdup(path), to[PATH_MAX];
    for (int links = 0; at; links++) {
        ssize_t length = readlink(at, to, sizeof to - 1);
        if (length < 0) {
            if (errno == EINVAL || errno == ENOENT) return at; /* no link; nothing there yet */
            break;
        }
        if (links == MOST_LINKS) {
            errno = ELOOP;
            break;
        }
        to[length] = 0;
        char *next = join(at, to[0] == '/' ? 0 : folder_length(at), to);
        free(at);
        at = next;
    }
    int reason = errno;
    free(at);
    errno = reason;
    return NULL;
}

static int open_retrying(const char *path, int flags, mode_t mode) {
    int fd;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* A new file beside the target, of a name that nobody can have put a link under. */
static int open_aside(AtomicFile *file, mode_t mode) {
    enum { TRIES = 100, LONGEST = 200 };
    size_t folder = folder_length(file->target);
    for (int i = 0; i < TRIES; i++) {
        uint64_t random;
        char name[LONGEST + ATOMIC_FILE_DIGITS + 16];
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return 0;
        snprintf(name, sizeof name, ".%.*s.%016llx%s", (int)LONGEST, file->target + folder,
                 (unsigned long long)random, ATOMIC_FILE_SUFFIX);
        file->aside = join(file->target, folder, name);
        if (!file->aside) return 0;
        file->fd = open_retrying(file->aside, O_RDWR | O_CREAT | O_EXCL, mode);
        if (file->fd >= 0) return 1;
        int reason = errno;
        free(file->aside);
        file->aside = NULL;
        errno = reason;
        if (reason != EEXIST) return 0;
    }
    return 0;
}

int atomic_file_open(AtomicFile *file, const char *path) {
    *file = (AtomicFile){.fd = -1};
    struct stat old;
    int there = stat(path, &old) == 0;
    /* What is no file is not looked for by name: links such as /dev/stdout and /dev/fd/63 lead to things that
     * have none. */
    file->target = !there || S_ISREG(old.st_mode) ? follow_links(path) : strdup(path);
    if (file->target) {
        there = stat(file->target, &old) == 0;
        if (there && S_ISDIR(old.st_mode)) {
            errno = EISDIR;
        } else if (there && !S_ISREG(old.st_mode)) {
            file->fd = open_retrying(file->target, O_WRONLY | O_NOCTTY, 0);
        } else if ((there || errno == ENOENT) && open_aside(file, there ? old.st_mode & 0777 : 0666) &&
                   there) {
            /* From here on it is no wider than the old one; where a file system knows neither, it stays so.
             */
            int same = fchown(file->fd, old.st_uid, old.st_gid) == 0;
            (void)fchmod(file->fd, old.st_mode & (same ? 07777 : 0777));
        }
    }
    if (file->fd >= 0) return 1;
    int reason = errno;
    free(file->target);
    *file = (AtomicFile){.fd = -1};
    errno = reason;
    return 0;
}

int atomic_file_write(AtomicFile *file, const void *bytes, int64_t count) {
    const char *at = bytes;
    while (count > 0) {
        ssize_t done = write(file->fd, at, count > INT_MAX ? INT_MAX : (size_t)count);
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = EIO;
        if (done <= 0) return 0;
        at += done;
        count -= done;
    }
    return 1;
}

static void forget(AtomicFile *file) {
    free(file->target);
    free(file->aside);
    *file = (AtomicFile){.fd = -1};
}

void atomic_file_abandon(AtomicFile *file) {
    int reason = errno;
    if (file->fd >= 0) close(file->fd);
    if (file->aside) unlink(file->aside);
    forget(file);
    errno = reason;
}

int atomic_file_sync_folder(const char *path) {
    int fd = open_retrying(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return 0;
    int good = fsync(fd) == 0 || errno == EINVAL; /* a file system that has no such thing */
    int reason = errno;
    close(fd);
    errno = reason;
    return good;
}

int atomic_file_commit(AtomicFile *file) {
    int fd = file->fd;
    int good = !file->aside || fsync(fd) == 0;
    file->fd = -1;
    if (!good) {
        int reason = errno;
        close(fd);
        errno = reason;
    } else {
        good = close(fd) == 0;
    }
    if (good && file->aside) good = rename(file->aside, file->target) == 0;
    if (!good) {
        atomic_file_abandon(file);
        return 0;
    }
    if (file->aside) {
        size_t folder = folder_length(file->target);
        file->target[folder ? folder - 1 : 0] = 0;
        good = atomic_file_sync_folder(folder > 1 ? file->target : folder ? "/" : ".");
    }
    int reason = errno;
    forget(file);
    errno = reason;
    return good;
}

int atomic_file_put(const char *path, const void *bytes, int64_t count) {
    AtomicFile file;
    if (!atomic_file_open(&file, path)) return 0;
    if (atomic_file_write(&file, bytes, count)) return atomic_file_commit(&file);
    atomic_file_abandon(&file);
    return 0;
}
