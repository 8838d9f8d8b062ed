/* on_terminal COMMAND...: runs it with a terminal as standard output, and copies what that terminal receives.
 * For the pipeline tests. Exits with the command's status. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int outer = posix_openpt(O_RDWR | O_NOCTTY);
    if (argc < 2 || outer < 0 || grantpt(outer) || unlockpt(outer)) return 125;
    int inner = open(ptsname(outer), O_RDWR | O_NOCTTY);
    if (inner < 0) return 125;
    pid_t child = fork();
    if (child < 0) return 125;
    if (child == 0) {
        dup2(inner, STDOUT_FILENO);
        close(inner);
        close(outer);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    close(inner); /* reading ends when the child's is closed too */
    char bytes[4096];
    for (ssize_t got; (got = read(outer, bytes, sizeof bytes)) > 0;)
        if (write(STDOUT_FILENO, bytes, (size_t)got) != got) return 125;
    int status;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 125;
    return WEXITSTATUS(status);
}
