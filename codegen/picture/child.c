/* See child.h. What the child writes comes through a pipe; how it ended, by its exit status. */
#define _GNU_SOURCE
#include "codegen/picture/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_REFUSED = 3 }; /* not 1: libraries leave with that when memory runs out */

void child_write(int fd, const void *bytes, size_t count) {
    const char *at = bytes;
    while (count > 0) {
        ssize_t done = write(fd, at, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) _exit(EXIT_REFUSED + 1); /* nobody reads any more */
        at += done;
        count -= (size_t)done;
    }
}

static ChildEnd broken(Text *out, const char *what, int reason) {
    text_add(out, "%s: %s", what, strerror(reason));
    return CHILD_BROKEN;
}

static int read_all(int fd, Text *out) {
    char chunk[1 << 16];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got > 0) text_add_n(out, chunk, (size_t)got);
        if (got == 0) return 0;
        if (got < 0 && errno != EINTR) return errno;
    }
}

ChildEnd child_run(ChildWork *work, void *context, unsigned most_seconds, Text *out) {
    int ends[2], status = 0;
    text_add_n(out, "", 0);
    if (pipe2(ends, O_CLOEXEC)) return broken(out, "no pipe", errno);
    fflush(NULL); /* what waits to be written is written once */
    pid_t child = fork();
    if (child < 0) {
        int reason = errno;
        close(ends[0]);
        close(ends[1]);
        return broken(out, "no process", reason);
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        static const int ends_it[] = {SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP};
        for (size_t i = 0; i < COUNT_OF(ends_it); i++) signal(ends_it[i], SIG_DFL);
        alarm(most_seconds);
        /* libraries that give up say so there: an answer is no place for it */
        dup2(STDERR_FILENO, STDOUT_FILENO);
        bool done = work(context, ends[1]);
        _exit(done ? EXIT_DONE : EXIT_REFUSED);
    }
    close(ends[1]);
    int unread = read_all(ends[0], out);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return broken(out, "no end", errno);
    if (!unread && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE) return CHILD_DONE;
    if (!unread && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSED) return CHILD_REFUSED;
    out->length = 0;
    if (unread) return broken(out, "its result cannot be read", unread);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        text_add(out, "no answer within %u seconds", most_seconds);
    else if (WIFSIGNALED(status))
        text_add(out, "ended by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        text_add(out, "ended with exit code %d", WEXITSTATUS(status));
    return CHILD_BROKEN;
}
