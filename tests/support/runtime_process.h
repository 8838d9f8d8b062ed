/* Helpers of the runtime's tests: a folder of one's own, files, and the trainer in a child process, so that
 * its exit code, its output and its death by signal can be looked at. */
#ifndef REMAT_TESTS_RUNTIME_PROCESS_H
#define REMAT_TESTS_RUNTIME_PROCESS_H

#include "runtime/internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char test_folder[] = "runtime-test-XXXXXX";

static inline int enter_folder(void **state) {
    (void)state;
    return mkdtemp(test_folder) && chdir(test_folder) == 0 ? 0 : -1;
}

static inline int leave_folder(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", test_folder);
    return chdir("..") == 0 && system(command) == 0 ? 0 : -1;
}

static inline void write_bytes(const char *path, const void *from, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(from, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline char *read_text(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = rt_allocate(size + 1);
    assert_int_equal(fread(text, 1, size, file), size);
    fclose(file);
    if (bytes) *bytes = size;
    return text;
}

static inline int exists(const char *path) {
    return access(path, F_OK) == 0;
}

static inline void assert_in_file(const char *path, const char *part) {
    char *text = read_text(path, NULL);
    if (!strstr(text, part)) fail_msg("'%s' is not in %s:\n%s", part, path, text);
    free(text);
}

static inline void assert_same_files(const char *left, const char *right) {
    size_t a, b;
    char *one = read_text(left, &a), *two = read_text(right, &b);
    assert_int_equal(a, b);
    assert_memory_equal(one, two, a);
    free(one);
    free(two);
}

/* The n-th number after "key": in the file's lines; NAN where there are fewer. */
static inline double logged(const char *path, const char *key, int n) {
    char *text = read_text(path, NULL), *at = text;
    double value = NAN;
    for (int i = 0; at && (at = strstr(at, key)); i++) {
        at += strlen(key);
        if (i == n) {
            value = strtod(at, NULL);
            break;
        }
    }
    free(text);
    return value;
}

/* Starts rt_main with words split at spaces; stdout and stderr go to files of these names. */
static inline pid_t start(const RtProgram *program, const char *words, rlim_t file_bytes) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child) return child;
    if (!freopen("stdout", "w", stdout) || !freopen("stderr", "w", stderr)) _exit(99);
    if (file_bytes) setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_bytes, file_bytes});
    char *copy = rt_text("train %s", words), *argv[32];
    int argc = 0;
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    setenv("OMP_WAIT_POLICY", "passive", 1); /* chosen: the trainer does not start itself again */
    int code = rt_main(program, argc, argv);
    fflush(NULL);
    _exit(code);
}

/* The exit code, or 1000 + signal. */
static inline int await(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The exit code of opening data, and of looking through it where it is documents. */
static inline int opens(const char *path, int format, int64_t context, int64_t vocab) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        RtData data;
        if (!freopen("stderr", "w", stderr)) _exit(99);
        rt_data_open(&data, path, format, 2, context, vocab);
        if (data.document) rt_documents_look(&data, path, 0);
        rt_data_close(&data);
        fflush(NULL);
        _exit(0);
    }
    return await(child);
}

static inline int train(const RtProgram *program, const char *words) {
    return await(start(program, words, 0));
}

#endif
