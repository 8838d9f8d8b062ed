/* The JSON lines in the file that --log names. It never holds a step twice: resuming cuts what lies beyond
 * the checkpoint, a half-written last line included. Only a log is ever cut: a file that holds anything else
 * is refused. A fresh run writes to PATH.new as long as an earlier run's lines stand in PATH and it has saved
 * nothing: folder.c says when the two change places. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char line_begin[] = "{\"step\":";
enum { FIRST_ROOM = 1 << 16, MOST_WAITING = 1 << 24 }; /* bytes of lines that wait to be written */

/* One pass over a file, a character at a time, so that no line needs memory. */
typedef struct Scan {
    int64_t step;                        /* lines up to this one are kept */
    int64_t at, kept;                    /* bytes read; bytes of the whole lines that are kept */
    int64_t number, last_step, farthest; /* steps: of the line, of the last line kept, of any line */
    int column, last;                    /* of the line; the character before */
    int digits, foreign, cut;
} Scan;

static void end_line(Scan *scan) {
    if (!scan->digits || scan->last != '}') scan->foreign = 1;
    /* steps ascend within a run: a smaller one begins another run's lines */
    if (scan->number > scan->step || scan->number < scan->last_step) scan->cut = 1;
    if (!scan->cut) scan->kept = scan->at, scan->last_step = scan->number;
    if (scan->number > scan->farthest) scan->farthest = scan->number;
    scan->column = scan->digits = 0;
    scan->number = 0;
}

static void scan_character(Scan *scan, int c) {
    int begin = (int)sizeof line_begin - 1;
    scan->at++;
    if (c == '\n') {
        end_line(scan);
    } else if (scan->column < begin) {
        scan->foreign |= c != line_begin[scan->column++];
    } else if (scan->column == begin && c >= '0' && c <= '9' && scan->digits < 18) {
        scan->number = scan->number * 10 + (c - '0');
        scan->digits++;
    } else if (scan->column == begin) {
        scan->foreign |= !scan->digits || c != ',';
        scan->column++;
    }
    scan->last = c;
}

/* 1, or 0 with errno; says whether the file is a log, and how many bytes of it belong to steps up to `step`.
 */
static int scan_file(int fd, int64_t step, Scan *scan) {
    char block[65536];
    *scan = (Scan){.step = step, .last = '\n'};
    for (int64_t at = 0; !scan->foreign;) {
        ssize_t got = pread(fd, block, sizeof block, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 0;
        if (got == 0) break;
        for (ssize_t i = 0; i < got; i++) scan_character(scan, (unsigned char)block[i]);
        at += got;
    }
    return 1;
}

static int open_as(const char *path, int flags) {
    int fd;
    do fd = open(path, flags | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Only a file is read. A pipe is not, or this trainer would be its reader and never learn that the other has
 * gone; a FIFO that has none yet can be opened in no other way. Neither is waited for (write_waiting). */
static int open_log(const char *path, int flags) {
    struct stat there;
    int other = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    int fd = open_as(path, flags | (other ? O_WRONLY : O_RDWR));
    return fd < 0 && errno == ENXIO ? open_as(path, flags | O_RDWR) : fd;
}

static _Noreturn void cannot(const char *what, const char *path) {
    rt_fail(RT_EXIT_IO, "cannot %s the log '%s': %s", what, path, strerror(errno));
}

static void attach(RtLogFile *file, int fd, const char *path) {
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) cannot("write", path);
    file->regular = S_ISREG(status.st_mode);
    file->device = status.st_dev;
    file->inode = status.st_ino;
    file->to = fdopen(fd, "a");
    if (!file->to) cannot("write", path);
}

void rt_log_file_open(RtLogFile *file, const char *path) {
    *file = (RtLogFile){0};
    if (!path) return;
    attach(file, open_log(path, O_CREAT), path);
    file->waiting = rt_allocate(FIRST_ROOM); /* a line needs no memory once the run has begun */
    file->waiting_room = FIRST_ROOM;
    char *resolved = file->regular ? realpath(path, NULL) : NULL;
    file->path = resolved ? resolved : rt_text("%s", path);
    Scan scan;
    if (!file->regular) return;
    if (!scan_file(fileno(file->to), 0, &scan)) cannot("read", path);
    if (scan.foreign)
        rt_fail(RT_EXIT_IO,
                "'%s' is not empty and holds no log: it is left as it is; name another file for --log", path);
}

static int64_t size_of(FILE *to) {
    struct stat status;
    return fstat(fileno(to), &status) == 0 ? status.st_size : -1;
}

static void close_now(RtLogFile *file) {
    if (fclose(file->to) != 0 && !file->lost) file->lost = errno;
    file->to = NULL;
}

/* Whether a file of this name holds lines of a log; what a user keeps there is none of a trainer's business.
 */
static int is_log(const char *path) {
    struct stat status;
    RtError error;
    Scan scan;
    int fd = rt_open_regular(path, &status, &error);
    int good = fd >= 0 && scan_file(fd, 0, &scan) && !scan.foreign;
    if (fd >= 0) close(fd);
    return good;
}

/* PATH.new is the fresh run's alone from its beginning on: whoever finishes it takes what is there. */
static void clear_pending(const RtLogFile *file) {
    char *pending = rt_text("%s.new", file->path);
    struct stat there;
    if (lstat(pending, &there) == 0) { /* of a fresh run that never saved */
        if (!is_log(pending))
            rt_fail(RT_EXIT_IO, "'%s' is in the way of the log and holds none: it is left as it is", pending);
        char *aside = rt_set_aside(pending, "old");
        if (!aside) cannot("rename", pending);
        free(aside);
    }
    free(pending);
}

/* Earlier lines keep their name until the fresh run's come for it. */
static void begin_pending(RtLogFile *file) {
    file->pending = rt_text("%s.new", file->path);
    close_now(file);
    attach(file, open_log(file->pending, O_CREAT | O_EXCL), file->pending);
}

/* The whole file under another name, and its first `kept` bytes under its own. */
static void keep_all_aside(RtLogFile *file, int64_t kept) {
    char block[65536], *aside = rt_set_aside(file->path, "old");
    FILE *from = file->to;
    RtError error;
    if (!aside) cannot("rename", file->path);
    rt_warn("the log '%s' goes on beyond this run: all of it is '%s' now", file->path, aside);
    free(aside);
    attach(file, open_log(file->path, O_CREAT | O_EXCL), file->path);
    for (int64_t at = 0; at < kept;) {
        int64_t part = kept - at < (int64_t)sizeof block ? kept - at : (int64_t)sizeof block;
        if (!rt_read_at(fileno(from), block, part, at, &error))
            rt_fail(RT_EXIT_IO, "the log: %s", error.text);
        if (fwrite(block, 1, (size_t)part, file->to) != (size_t)part || fflush(file->to))
            cannot("write", file->path);
        at += part;
    }
    fclose(from);
}

void rt_log_file_begin(RtLogFile *file, int64_t step, int64_t save_every, int fresh) {
    Scan scan;
    if (!file->to || !file->regular) return;
    int64_t bytes = size_of(file->to);
    if (bytes < 0) cannot("look at", file->path);
    if (fresh) clear_pending(file);
    if (bytes == 0) return;
    if (fresh) {
        begin_pending(file);
    } else if (step > 0) {
        if (!scan_file(fileno(file->to), step, &scan)) cannot("read", file->path);
        /* a killed run's lines end before the checkpoint after its last one: what goes on is another run's */
        if (save_every > 0 && scan.farthest > step + save_every)
            keep_all_aside(file, scan.kept);
        else if (scan.kept < bytes && ftruncate(fileno(file->to), scan.kept) != 0)
            cannot("cut", file->path);
    } else {
        char *aside = rt_set_aside(file->path, "old");
        if (!aside) cannot("rename", file->path);
        free(aside);
        close_now(file);
        attach(file, open_log(file->path, O_CREAT | O_EXCL), file->path);
    }
}

int rt_log_file_hand_over(RtLogFile *file, RtError *error) {
    struct stat there;
    if (!file->path || !file->regular) return 1;
    char *pending = rt_text("%s.new", file->path), *aside = NULL;
    int good = 1;
    if (lstat(pending, &there) == 0 && (file->pending || is_log(pending))) {
        if (file->to && !file->pending) close_now(file); /* of the lines that now go */
        if (lstat(file->path, &there) == 0) {
            if (there.st_size > 0) aside = rt_set_aside(file->path, "old");
            good = there.st_size == 0 || aside != NULL;
        }
        good = good && rename(pending, file->path) == 0;
        if (!good) rt_error(error, "cannot rename the log '%s': %s", pending, strerror(errno));
        if (good && !file->to) attach(file, open_log(file->path, 0), file->path);
    } else if (lstat(pending, &there) != 0 && errno != ENOENT) {
        good = rt_error(error, "cannot look at the log '%s': %s", pending, strerror(errno));
    }
    free(aside);
    free(pending);
    free(file->pending);
    file->pending = NULL;
    return good;
}

/* As much as the file takes of what it has not got yet. A reader of a pipe has a second to make room; after
 * that the run goes on without waiting for it, until it has caught up. */
static void write_waiting(RtLogFile *file, int patient) {
    enum { PATIENCE = 1000 };
    struct pollfd room = {.fd = fileno(file->to), .events = POLLOUT};
    while (file->waiting_bytes) {
        ssize_t done = write(fileno(file->to), file->waiting, file->waiting_bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0 && errno == EAGAIN && patient) {
            patient = poll(&room, 1, PATIENCE) > 0;
            continue;
        }
        if (done <= 0) {
            int reason = done < 0 ? errno : EIO;
            if (!file->lost) rt_warn("cannot write the log: %s; its lines wait", strerror(reason));
            file->lost = reason;
            return;
        }
        file->waiting_bytes -= (size_t)done;
        memmove(file->waiting, file->waiting + done, file->waiting_bytes);
    }
    file->lost = 0;
}

/* Room for `bytes` that wait; 0 where there is none. */
static int make_room(RtLogFile *file, size_t bytes) {
    if (bytes <= file->waiting_room) return 1;
    char *grown = bytes <= MOST_WAITING || !file->waiting_bytes ? realloc(file->waiting, 2 * bytes) : NULL;
    if (!grown) return 0;
    file->waiting = grown;
    file->waiting_room = 2 * bytes;
    return 1;
}

/* A write that fails once, or a disk that is full for a while, costs no line: they wait for the next write.
 */
void rt_log_file_write(RtLogFile *file, const char *line) {
    if (!file->to) return;
    size_t length = strlen(line), whole = file->waiting_bytes + length + 1;
    if (!make_room(file, whole)) {
        rt_warn("too many lines wait for the log: it ends here");
        if (!file->lost) file->lost = ENOMEM;
        fclose(file->to);
        file->to = NULL;
        return;
    }
    memcpy(file->waiting + file->waiting_bytes, line, length);
    file->waiting[whole - 1] = '\n';
    file->waiting_bytes = whole;
    write_waiting(file, !file->lost);
}

void rt_log_file_close(RtLogFile *file) {
    if (file->to) write_waiting(file, 1);
    if (file->to) close_now(file);
    free(file->waiting);
    file->waiting = NULL;
    free(file->path);
    free(file->pending);
    file->path = file->pending = NULL;
}
