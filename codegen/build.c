/* Builds an emitted folder by running its own Makefile: what a user would do by hand. Where that fails for
 * want of a program, says which and how to get it. */
#include "codegen/emit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first word of the variable that names a program for make, or what its Makefile takes without it. */
static const char *named_program(const char *variable, const char *otherwise, Arena *arena) {
    const char *command = getenv(variable);
    if (command) command += strspn(command, " \t");
    if (!command || !*command) return otherwise;
    return arena_strndup(arena, command, strcspn(command, " \t"));
}

/* As a shell finds it. */
static bool is_there(const char *program, Arena *arena) {
    if (strchr(program, '/')) return access(program, X_OK) == 0;
    const char *path = getenv("PATH");
    for (; path && *path; path += *path == ':') {
        size_t length = strcspn(path, ":");
        if (access(arena_printf(arena, "%.*s/%s", (int)length, path, program), X_OK) == 0) return true;
        path += length;
    }
    return false;
}

/* What is not there of the programs that the Makefile calls: a message and a line of help, or false. */
static bool find_missing(bool cuda, BuildFailure *failure, Arena *arena) {
    static const char install[] =
        "on Debian and Ubuntu `apt install build-essential`, on Fedora `dnf install gcc "
        "make`, on Arch `pacman -S base-devel`";
    const char *cc = named_program("CC", "cc", arena), *nvcc = named_program("NVCC", "nvcc", arena);
    if (!is_there("make", arena)) {
        failure->error = "there is no `make`, which builds the program";
        failure->help = arena_printf(arena, "install one: %s", install);
    } else if (!is_there(cc, arena)) {
        failure->error = arena_printf(arena, "there is no C compiler `%s`", cc);
        failure->help = arena_printf(
            arena, "install one (%s), or name the one you have: CC=gcc-13 rematc build ...", install);
    } else if (cuda && !is_there(nvcc, arena)) {
        failure->error = arena_printf(arena, "there is no CUDA compiler `%s`", nvcc);
        failure->help = "install the CUDA toolkit and put its bin folder into PATH, or name the compiler: "
                        "NVCC=/usr/local/cuda/bin/nvcc; or build for the processor: --target host";
    }
    return failure->error != NULL;
}

static bool fail(BuildFailure *failure, int code, const char *error) {
    failure->code = code;
    failure->error = error;
    return false;
}

bool build_program(const char *dir, bool cuda, bool quiet, Arena *arena, BuildFailure *failure) {
    enum { EXIT_ENVIRONMENT = 5, EXIT_IO = 6 };
    *failure = (BuildFailure){.code = EXIT_ENVIRONMENT};
    if (!is_there("make", arena)) {
        find_missing(cuda, failure, arena);
        return false;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return fail(failure, EXIT_IO, arena_printf(arena, "cannot start make: %s", strerror(errno)));
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
        if (errno != EINTR)
            return fail(failure, EXIT_IO, arena_printf(arena, "cannot wait for make: %s", strerror(errno)));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    /* only now: a program that is built already needs no compiler */
    if (find_missing(cuda, failure, arena)) return false;
    return fail(failure, EXIT_ENVIRONMENT, arena_printf(arena, "building %s failed", dir));
}
