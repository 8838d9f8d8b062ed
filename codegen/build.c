/* Builds an emitted folder by running its own Makefile: what a user would do by hand. */
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_ENVIRONMENT = 5, EXIT_IO = 6 };

int build_program(const char *dir, bool quiet) {
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "rematc: cannot start make: %s\n", strerror(errno));
        return EXIT_IO;
    }
    if (child == 0) {
        if (quiet) {
            int null = open("/dev/null", O_WRONLY);
            if (null >= 0) dup2(null, STDOUT_FILENO);
        } else {
            dup2(STDERR_FILENO, STDOUT_FILENO);
        }
        execlp("make", "make", "-j2", "--no-print-directory", "-C", dir, (char *)NULL);
        fprintf(stderr, "rematc: cannot run make: %s\n", strerror(errno));
        _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return EXIT_IO;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    fprintf(stderr, "rematc: building %s failed\n", dir);
    return EXIT_ENVIRONMENT;
}
