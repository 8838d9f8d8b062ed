/* What the trainer's files share: regular files opened without ever waiting for one, reads that are whole or
 * say why, names that are set aside without overwriting another, JSON strings, and checksums. */
#include "internal.h"
#include "printable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int rt_open_regular(const char *path, struct stat *status, RtError *error) {
    int fd; /* not blocking: a FIFO or a device would let its opener wait for a writer */
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        rt_error_errno(error, "");
        return -1;
    }
    if (fstat(fd, status) != 0) {
        rt_error_errno(error, "");
    } else if (S_ISREG(status->st_mode)) {
        return fd;
    } else {
        rt_error(error, "it is %s, not a regular file",
                 S_ISDIR(status->st_mode)    ? "a folder"
                 : S_ISFIFO(status->st_mode) ? "a FIFO"
                                             : "a device or a socket");
        error->reason = S_ISDIR(status->st_mode) ? EISDIR : EINVAL;
    }
    close(fd);
    return -1;
}

int rt_read_at(int fd, void *to, int64_t bytes, int64_t offset, RtError *error) {
    enum { MOST = 1 << 30 };
    char *at = to;
    while (bytes > 0) {
        ssize_t got = pread(fd, at, bytes > MOST ? MOST : (size_t)bytes, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return rt_error_errno(error, "cannot read it");
        if (got == 0) return rt_error(error, "the file ends early");
        at += got;
        bytes -= got;
        offset += got;
    }
    return 1;
}

char *rt_set_aside(const char *path, const char *suffix) {
    struct stat there;
    for (int number = 0;; number++) {
        char *aside = number ? rt_text("%s.%s.%d", path, suffix, number) : rt_text("%s.%s", path, suffix);
        if (lstat(aside, &there) == 0) {
            free(aside);
            continue;
        }
        if (errno == ENOENT && rename(path, aside) == 0) return aside;
        int reason = errno;
        free(aside);
        errno = reason;
        return NULL;
    }
}

char *rt_json_string(const char *text) {
    char *quoted = rt_allocate(6 * strlen(text) + 3), *to = quoted;
    size_t left = strlen(text);
    *to++ = '"';
    while (left) {
        unsigned code;
        size_t size = printable_decode(text, left, &code);
        if (!size)
            to += sprintf(to, "\\ufffd"); /* no UTF-8: what JSON has for it */
        else if (code < 0x20 || code == 0x7f)
            to += sprintf(to, "\\u%04x", code);
        else if (code == '"' || code == '\\')
            *to++ = '\\', *to++ = (char)code;
        else
            memcpy(to, text, size), to += size;
        if (!size) size = 1;
        text += size;
        left -= size;
    }
    *to++ = '"';
    return quoted;
}

void rt_names_add(RtNames *names, const char *name) {
    if (names->count == names->room) {
        names->room = names->room ? 2 * names->room : 32;
        char **grown = realloc(names->at, (size_t)names->room * sizeof *grown);
        if (!grown) rt_fail(RT_EXIT_MEMORY, "out of memory for names");
        names->at = grown;
    }
    names->at[names->count++] = rt_text("%s", name);
}

int rt_names_find(const RtNames *names, const char *name) {
    for (int i = 0; i < names->count; i++)
        if (!strcmp(names->at[i], name)) return i;
    return -1;
}

void rt_names_free(RtNames *names) {
    for (int i = 0; i < names->count; i++) free(names->at[i]);
    free(names->at);
    *names = (RtNames){0};
}

FILE *rt_text_open(char **text, size_t *length) {
    FILE *to = open_memstream(text, length);
    if (!to) rt_fail(RT_EXIT_MEMORY, "out of memory for a text");
    return to;
}

void rt_text_close(FILE *to, char *const *text) {
    /* glibc's fclose is content where it had no memory for the text's last piece, and there is no text then
     */
    const int failed = ferror(to);
    if (fclose(to) != 0 || failed || !*text) rt_fail(RT_EXIT_MEMORY, "out of memory for a text");
}

/* The path, or the nearest folder above it that is there. */
static char *nearest_there(const char *path) {
    struct stat status;
    char *at = rt_text("%s", path);
    while (stat(at, &status) != 0) {
        char *slash = strrchr(at, '/');
        if (!slash || slash == at) {
            free(at);
            return rt_text("%s", slash ? "/" : ".");
        }
        *slash = 0;
    }
    return at;
}

void rt_need_space(const char *const *path, const int64_t *bytes, int count) {
    for (int i = 0; i < count; i++) {
        struct stat one, other;
        struct statvfs space;
        int64_t needed = 0;
        char *at = nearest_there(path[i]);
        if (stat(at, &one) == 0 && statvfs(at, &space) == 0) {
            for (int k = 0; k < count; k++) {
                char *beside = nearest_there(path[k]);
                if (stat(beside, &other) == 0 && other.st_dev == one.st_dev) needed += bytes[k];
                free(beside);
            }
            int64_t left = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
            if (left < needed)
                rt_fail(RT_EXIT_IO,
                        "what will be saved takes %.2f GiB, and where '%s' is to lie %.2f GiB are free",
                        (double)needed / (1 << 30), path[i], (double)left / (1 << 30));
        }
        free(at);
    }
}
